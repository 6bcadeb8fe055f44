"""The table of all figures: what was expected, what came out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamjax.figures.figure import short
from dreamjax.figures.record import tolerance
from dreamjax.json_file import read_json
from dreamjax.published import why_not_published

HEAD = """# Papers, reproduced

Made by `python -m experiments.figures table --publish` from the records under
`results/figures/`; [figures.md](figures.md) says how figures are made. *Expected* is
judged only where it was published by the authors, measured by an independent run of
their recipe, or derived; what is only reported from memory is shown and judges
nothing. Nor does a number of another network than the one it was measured with.

"""
INDEX = """| figure | shows | network | agree | differ | not judged |
|---|---|---|---|---|---|
"""


def read_records(folder: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Returns the records of all figures under a folder, by name.

    Second comes what is no evidence and therefore not among them: name -> the reason,
    as a quicktest, or another network in place of the paper's own.
    """
    read = [
        read_json(path, "record of a figure", nan=True)
        for path in sorted(folder.glob("*/*.json"))
    ]
    figures = [f for f in read if isinstance(f, dict) and "figure" in f]
    reasons = {f["figure"]: why_not_published(f) for f in figures}
    found = [f for f in figures if not reasons[f["figure"]]]
    return found, {name: reason for name, reason in reasons.items() if reason}


def markdown(figures: Sequence[Mapping[str, Any]], pictures: str) -> str:
    """Returns the page: a section for each paper, a row for each number.

    Args:
      figures: of `read_records`.
      pictures: where the folders of the figures are, from the page.
    """
    parts, paper = [HEAD, _totals(figures), INDEX], None
    parts += [_overview(figure) for figure in figures]
    for figure in figures:
        if figure["paper"] != paper:
            paper = figure["paper"]
            parts.append(f"\n## {paper}\n")
        name = figure["figure"]
        parts.append(
            f"\n### {name}\n\n{figure['shows']}. Network: `{figure['network']}`.\n\n"
            f"`python -m experiments.figures {name}` · {_links(figure, pictures)}\n"
        )
        if figure["records"]:
            parts.append(
                "\n| number | expected | source | obtained | verdict |\n"
                "|---|---|---|---|---|\n"
            )
            parts += [_row(found) for found in figure["records"]]
        parts += [f"\n{note}\n" for note in figure["notes"]]
    return "".join(parts)


def _counts(figure: Mapping[str, Any]) -> tuple[int, int, int]:
    """Returns how many numbers agree, differ, and are judged by nothing."""
    verdicts = [found["verdict"] for found in figure["records"]]
    agree, differ = verdicts.count("agrees"), verdicts.count("differs")
    return agree, differ, len(verdicts) - agree - differ


def _totals(figures: Sequence[Mapping[str, Any]]) -> str:
    agree, differ, rest = (sum(_counts(f)[i] for f in figures) for i in range(3))
    return (
        f"{len(figures)} figures and tables: {agree} numbers agree, {differ} differ,"
        f" {rest} are judged by nothing.\n\n"
    )


def _overview(figure: Mapping[str, Any]) -> str:
    name, counts = figure["figure"], " | ".join(map(str, _counts(figure)))
    link = f"[{name}](#{name.replace('.', '')})"
    return f"| {link} | {figure['shows']} | `{figure['network']}` | {counts} |\n"


def _links(figure: Mapping[str, Any], pictures: str) -> str:
    """Returns links to the pictures of a figure, the figure itself first."""
    name = figure["figure"]
    links = [
        f"[{Path(file).stem.removeprefix(f'{name}_').replace(name, 'picture')}]"
        f"({pictures}/{name}/{file})"
        for file in figure["pictures"]
    ]
    return " · ".join(links)


def _row(found: Mapping[str, Any]) -> str:
    expected = found["expected"]
    said = f"{short(expected['value'])} {tolerance(expected)}" if expected else ""
    verdict = found["verdict"] + (f": {found['why']}" if found["why"] else "")
    cells = [found["name"], said.strip(), expected.get("source", "")]
    cells += [short(found["obtained"]), verdict]
    return "| " + " | ".join(cells) + " |\n"
