"""Names the best settings of a search, over all its neurons, and draws them.

    python -m experiments.winners results/runs/regularizer_search
    python -m experiments.winners RUN --by=transfer_score,slope_distance \
        --distinct=4 --beside=results/runs/table1 --out=results/regularizer_search \
        --publish

Each neuron ranks the settings by each metric of --by; a setting's mark is the mean of
its ranks. --distinct takes so many of the best tenth that are unlike each other.
--beside shows all settings of other runs with the same neurons below them. Written are
winners.csv, winners.jpg (stretched in contrast, as gradient ascent on pixels leaves
pictures faint), and a page, index.html, with copies of the pictures as they are.
"""

import csv
import io
from pathlib import Path

from absl import flags

from dreamjax.cli import launch, path_flag
from dreamjax.figures.figure import jpeg
from dreamjax.figures.panels import Panel, draw, stretched
from dreamjax.files import write_bytes, write_text
from dreamjax.images import load_image
from dreamjax.paths import given_path
from dreamjax.published import refuse_published
from dreamjax.report.page import check_own_page, write_page
from dreamjax.report.summary import read_summary
from dreamjax.report.values import get, short
from dreamjax.report.winners import Setting, distinct, settings
from dreamjax.workdir import locked

BY = flags.DEFINE_list("by", ["score"], "Metrics to rank by.")
DISTINCT = flags.DEFINE_integer("distinct", 4, "How many winners, unlike each other.")
AMONG = flags.DEFINE_float(
    "among", 0.1, "The part of the settings that is good enough."
)
WITHIN = flags.DEFINE_list("within", ["unit", "seed"], "What runs are compared within.")
BESIDE = flags.DEFINE_multi_string("beside", [], "Other runs, shown with the winners.")
OUT = path_flag("out", None, "Folder; RUN/winners if not given.")
PUBLISH = flags.DEFINE_bool("publish", False, "Let the folder be one of results/.")
SHOWN = ("score", "transfer_score", "spectral_slope", "high_frequency")


def main(arguments: list[str]) -> int:
    """Ranks, prints, writes; returns the exit status."""
    if len(arguments) != 1:
        raise ValueError("give one run: python -m experiments.winners RUN")
    workdir = given_path("RUN", arguments[0])
    out = OUT.value or workdir / "winners"
    if not PUBLISH.value:
        refuse_published("out", out)
    check_own_page(out, "winners.csv")
    found = settings(read_summary(workdir), BY.value, WITHIN.value)
    chosen = distinct(found, DISTINCT.value, AMONG.value)
    lines = [(f"winner {i + 1}", workdir, s) for i, s in enumerate(chosen)]
    for other in (given_path("--beside", text) for text in BESIDE.value):
        beside = settings(read_summary(other), ["score"], WITHIN.value)
        beside.sort(key=lambda setting: setting.rows[0]["run"])
        lines += [(f"{other.name} {i + 1}", other, s) for i, s in enumerate(beside)]
    for name, _, setting in lines:
        print(f"{name}: mark {setting.mark:.3f}, {told(setting)}")
    with locked(out):
        for path in (
            write_text(out / "winners.csv", table(lines)),
            write_bytes(out / "winners.jpg", jpeg(drawn(lines))),
            page(out, lines),
        ):
            print(path)
    return 0


def told(setting: Setting) -> str:
    """Returns a setting in one line."""
    return ", ".join(f"{name}={short(v)}" for name, v in setting.hparams.items())


def table(lines: list[tuple[str, Path, Setting]]) -> str:
    """Returns a line per setting: mark, hyperparameters, mean metrics."""
    names = list(dict.fromkeys(n for _, _, s in lines for n in s.hparams))
    metrics = list(dict.fromkeys(n for _, _, s in lines for n in s.metrics))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["setting", "mark", *names, *metrics, "runs"])
    for name, _, setting in lines:
        first = setting.rows[0]
        writer.writerow(
            [
                name,
                f"{setting.mark:.4f}",
                *(get(first, n) for n in names),
                *(f"{setting.metrics.get(m, float('nan')):.6g}" for m in metrics),
                " ".join(str(row["run"]) for row in setting.rows),
            ]
        )
    return text.getvalue()


def page(out: Path, lines: list[tuple[str, Path, Setting]]) -> Path:
    """Writes a page of all these runs, with copies of their pictures beside it."""
    rows = []
    for name, workdir, setting in lines:
        for row in setting.rows:
            number = len(rows)
            copy = out / "pictures" / f"{number:03d}.png"
            write_bytes(copy, (workdir / row["image"]).read_bytes())
            hparams = {"setting": name, **row["hparams"]}
            image = str(copy.relative_to(out))
            rows.append({**row, "run": number, "hparams": hparams, "image": image})
    notes = [f"Settings ranked by {', '.join(BY.value)}; {len(rows)} runs."]
    return write_page(out / "index.html", rows, "The best settings", notes)


def drawn(lines: list[tuple[str, Path, Setting]]):
    """Returns the figure: a row per setting, a column per neuron."""
    panels, labels = [], []
    for name, workdir, setting in lines:
        panels.append([panel(workdir, row) for row in setting.rows])
        settings_ = told(setting).replace(", ", "\n")
        labels.append(f"{name}\n{settings_}")
    columns = [
        ", ".join(str(get(row, n)) for n in WITHIN.value if n in row["hparams"])
        for row in lines[0][2].rows
    ]
    return draw(panels, rows=labels, columns=columns, side=1.5)


def panel(workdir: Path, row: dict) -> Panel:
    """Returns a run's picture, stretched, with what was measured."""
    metrics = row["metrics"]
    said = [f"{n} {short(metrics[n])}" for n in SHOWN if n in metrics]
    image = stretched(load_image(workdir / row["image"]))
    return Panel(image, "\n".join(said))


if __name__ == "__main__":
    launch(main)
