"""The page of a sweep: one static `index.html` to filter, sort, group and look closer.

It needs no server and no network: styles, script and data are inside it, and pictures
are named by relative paths. Without JavaScript the pictures and a table remain.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamjax import files
from dreamjax.errors import require
from dreamjax.report import embed, values
from dreamjax.report.values import Row


def check_own_page(folder: Path, beside: str) -> None:
    """Raises ValueError where a folder has a page that is not ours to replace.

    Args:
      folder: where a page is to be written.
      beside: the file that is always written beside it.
    """
    foreign = (folder / "index.html").exists() and not (folder / beside).exists()
    allowed = f"it has an index.html and no {beside}; give an empty or a new folder"
    require(not foreign, "out", str(folder), allowed)


def write_page(
    path: str | Path,
    rows: Sequence[Row],
    title: str,
    notes: Sequence[str] = (),
    aspect: float = 1.0,
    sections: Sequence[tuple[str, str]] = (),
) -> Path:
    """Writes the page; whole or not at all.

    Args:
      path: where to, usually `index.html` in the run folder.
      rows: summary rows (`dreamjax.report.values`). "image" is a path relative to the
        folder of the page, or absolute, or None for a run without a picture. Of a
        comparison they also have "sweep" and "sweep_run", where a run comes from.
      title: the heading.
      notes: paragraphs under it: what was swept, what the score is.
      aspect: width / height of the pictures, so that the page does not jump while
        they load.
      sections: (title, HTML) of what stands folded under the notes.

    Returns:
      The path.

    Raises:
      ValueError: for rows with the same "run".
    """
    path = Path(path)
    text = render(rows, title, notes, aspect, path.parent, sections)
    return files.write_text(path, text)


def render(
    rows: Sequence[Row],
    title: str,
    notes: Sequence[str],
    aspect: float,
    folder: Path,
    sections: Sequence[tuple[str, str]] = (),
) -> str:
    """Returns the HTML of the page; arguments as in `write_page`."""
    runs = [row["run"] for row in rows]
    if len(set(runs)) < len(runs):
        raise ValueError(f"rows must have different runs, but they are {runs[:40]}.")
    varying = values.varying(rows)
    paths = [embed.from_folder(row.get("image"), folder) for row in rows]
    records = [
        {
            "run": row["run"],
            "hparams": row["hparams"],
            "metrics": row["metrics"],
            "status": row.get("status", "alive"),
            "image": None if path is None else embed.url(path),
            "path": path,
            **{name: row[name] for name in ("sweep", "sweep_run") if name in row},
        }
        for row, path in zip(rows, paths, strict=True)
    ]
    parts = {
        "title": html.escape(title),
        "notes": embed.paragraphs(notes),
        "sections": "\n".join(_section(*section) for section in sections),
        "aspect": f"{aspect:.6g}",
        "tiles": "\n".join(_tile(i, r, varying) for i, r in enumerate(records)),
        "table": _table(records, values.names(rows)),
        "data": embed.json_text({"varying": varying, "rows": records}),
    }
    return embed.fill("page.html", parts)


def _section(title: str, inside: str) -> str:
    summary = f"<summary>{html.escape(title)}</summary>"
    return f'<details class="section">{summary}\n{inside}</details>'


def _tile(index: int, record: Mapping[str, Any], varying: Sequence[str]) -> str:
    status = record["status"]
    shown = ", ".join(values.parts(record, varying))
    picture = '<span class="none">no picture</span>'
    if record["image"]:
        alt = html.escape(f"run {record['run']}: {shown}", quote=True)
        source = html.escape(record["image"], quote=True)
        picture = (
            f'<a href="{source}" title="{alt}">'
            f'<img src="{source}" alt="{alt}" loading="lazy"></a>'
        )
    alive = status == "alive"
    score = values.short(values.score_of(record))
    head = f'<b><span class="word">score </span>{score}</b>'
    if not alive:
        head = f'<span class="bad">{html.escape(status)}</span>'
    return (
        f'<figure id="r{index}"{"" if alive else " class=bad"}>{picture}<figcaption>'
        f'{head}<span class="key"></span>'
        f'<div class="set">{html.escape(shown)}</div></figcaption></figure>'
    )


def _table(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    metrics = list(dict.fromkeys(name for r in records for name in r["metrics"]))
    heads = ["run", "status", *names, *metrics]
    lines = [
        [
            str(r["run"]),
            r["status"],
            *(values.short(values.get(r, name), 6) for name in names),
            *(values.short(r["metrics"].get(m, values.MISSING), 6) for m in metrics),
        ]
        for r in records
    ]
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in line) + "</tr>"
        for line in lines
    )
    return f'<table class="all"><tr>{head}</tr>\n{body}</table>'
