"""The files of a comparison: page, tables, plots and a sheet of any two axes.

index.html         all runs: filter, sort, grids in any two hyperparameters
comparison.csv     a line per run, with the sweep it comes from
effects.csv        rank correlation of every metric with every hyperparameter
plots/score.svg …  every metric against every hyperparameter
sheet.png          the best run of each cell of two hyperparameters, if asked for
"""

import html
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreamjax.errors import require
from dreamjax.files import write_bytes, write_text
from dreamjax.images import png_bytes
from dreamjax.paths import given_path
from dreamjax.report import embed, grid, plots, values
from dreamjax.report.comparison import Sweep, align
from dreamjax.report.effects import (
    Effect,
    counted,
    effects,
    effects_csv,
    hparam_column,
    is_logarithmic,
    metric_column,
    metrics_of,
)
from dreamjax.report.page import check_own_page, write_page
from dreamjax.report.sheet import contact_sheet
from dreamjax.report.summary import Row, summary_csv
from dreamjax.workdir import locked

ALL = "all"
MAX_MARKS = 5000  # of one SVG; more are a PNG
PLOTTED = 40  # a text with more different values is no axis of categories


def write_comparison(
    sweeps: Sequence[Sweep],
    out: str | Path,
    *,
    notes: Sequence[str] = (),
    axes: tuple[str, str] | None = None,
    within: Sequence[str] = (),
) -> dict[str, Path]:
    """Writes a comparison of one or several sweeps.

    Args:
      sweeps: of `comparison.read_sweeps`.
      out: the folder; made if missing. Pictures stay where they are and are named by
        paths relative to it.
      notes: sentences under the heading.
      axes: hyperparameters of the rows and of the columns of a sheet.
      within: hyperparameters to correlate within, as in `effects.effects`.

    Returns:
      Name -> path of what was written.

    Raises:
      ValueError: `out` is the folder of a sweep or a file, or a hyperparameter that
        no run has.
    """
    out = given_path("out", out).absolute()
    require(not out.exists() or out.is_dir(), "out", str(out), "give a folder")
    taken = (out / "config.json").exists() or (out / "summary.json").exists()
    require(not taken, "out", str(out), "a sweep is in this folder; give another")
    check_own_page(out, "comparison.csv")
    with locked(out):
        return _write_comparison(sweeps, out, notes, axes, within)


def _write_comparison(
    sweeps: Sequence[Sweep],
    out: Path,
    notes: Sequence[str],
    axes: tuple[str, str] | None,
    within: Sequence[str],
) -> dict[str, Path]:
    """Writes a comparison into a folder that is held."""
    rows = align(sweeps)
    files = {}
    if axes is not None:  # first: it finds a name that is misspelt
        files["sheet"] = write_bytes(out / "sheet.png", _sheet(rows, axes))
    tables = effect_tables(rows, within)
    drawn = _draw_plots(rows, tables[ALL], out)
    count = f"{len(rows)} runs of {_count(len(sweeps), 'sweep')}"
    told = (*_about(rows), *notes)
    files["page"] = write_page(
        out / "index.html",
        rows,
        f"{count}: {', '.join(sweep.label for sweep in sweeps)}",
        told,
        _aspect(rows),
        _sections(tables, drawn, out, within),
    )
    origin = ("sweep_run", "image") if len(sweeps) > 1 else ("image",)
    table = summary_csv(_relative(rows, out), origin)
    files["table"] = write_text(out / "comparison.csv", table)
    files["effects"] = write_text(out / "effects.csv", effects_csv(tables))
    return files | ({"plots": out / "plots"} if drawn else {})


def effect_tables(
    rows: Sequence[Row], within: Sequence[str] = ()
) -> dict[str, list[Effect]]:
    """Returns the effects in all runs and, of several sweeps, also in each one."""
    labels = list(dict.fromkeys(row["sweep"] for row in rows))
    tables = {ALL: effects(rows, within)}
    if len(labels) > 1:
        for label in labels:
            inside = [row for row in rows if row["sweep"] == label]
            known = [name for name in within if name in values.names(inside)]
            tables[label] = effects(inside, known)
    return tables


def figure_of(rows: Sequence[Row], metric: str, table: Sequence[Effect]) -> Any:
    """Returns a figure: a metric against each varying hyperparameter.

    Over each plot stands the rank correlation, where the hyperparameter is a number.
    """
    rows = counted(rows)
    varying = [name for name in values.varying(rows) if name != "sweep"]
    numeric = {n: hparam_column(rows, n) for n in varying}
    numeric = {n: x for n, x in numeric.items() if not np.isnan(x).all()}
    texts = {
        n: [values.short(values.get(row, n)) for row in rows]
        for n in varying
        if n not in numeric and len(values.distinct(rows, n)) <= PLOTTED
    }
    names = [name for name in varying if name in numeric or name in texts]
    columns = {name: numeric.get(name, texts.get(name)) for name in names}
    labels = [row["sweep"] for row in rows]
    figure = plots.scatter_grid(
        columns,
        metric_column(rows, metric),
        y_label=metric,
        groups=labels if 1 < len(set(labels)) <= len(plots.COLORS) else None,
        log_x=[n for n, x in numeric.items() if is_logarithmic(x)],
    )
    told = {e.hyperparameter: e for e in table if e.metric == metric}
    for name, panel in zip(columns, figure.axes, strict=False):
        if name in told:
            panel.set_title(_told(told[name]), loc="left", fontsize=9)
    return figure


def _told(effect: Effect) -> str:
    return f"ρ = {_signed(effect.correlation)}, n = {effect.runs}"


def _signed(correlation: float) -> str:
    if math.isnan(correlation):
        return "–"
    return f"{correlation:+.2f}".replace("-", "−")


def _draw_plots(
    rows: Sequence[Row], table: Sequence[Effect], out: Path
) -> dict[str, Path]:
    """Writes a figure for each metric; returns metric -> path."""
    drawn = {}
    for metric in metrics_of(counted(rows)):
        figure = figure_of(rows, metric, table)
        path = out / "plots" / re.sub(r"[^\w.-]+", "_", metric)
        if len(rows) * len(figure.axes) <= MAX_MARKS:
            drawn[metric] = write_text(f"{path}.svg", plots.svg(figure))
        else:
            drawn[metric] = write_bytes(
                f"{path}.png", plots.png(figure, dpi=100, colors=32)
            )
    return drawn


def _sheet(rows: Sequence[Row], axes: tuple[str, str]) -> bytes:
    down, across = axes
    best, plan = grid.best_of_cells(rows, down, across)
    several = f"; of {len(rows)} runs the best of each cell"
    title = f"{down} × {across}{several if len(best) < len(rows) else ''}"
    paths = [rows[i]["image"] for i in best]
    images = grid.pictures([None if path is None else Path(path) for path in paths])
    sheet = contact_sheet(images, [rows[i] for i in best], down, title, plan)
    return png_bytes(np.asarray(sheet))


def _about(rows: Sequence[Row]) -> list[str]:
    lost = sum(row["image"] is None for row in rows)
    uncounted = len(rows) - len(counted(rows))
    said = []
    if lost:
        said.append(f"{_count(lost, 'run')} without a picture.")
    if uncounted:
        said.append(
            f"{_count(uncounted, 'run')} stopped early, and not counted in plots and"
            " correlations."
        )
    return said


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _aspect(rows: Sequence[Row]) -> float:
    """Returns width / height of the first picture."""
    for row in rows:
        if row["image"] is not None:
            with Image.open(row["image"]) as picture:
                return picture.width / picture.height
    return 1.0


def _relative(rows: Sequence[Row], out: Path) -> list[Row]:
    """Returns the rows with paths of pictures as they are from `out`."""
    return [{**row, "image": embed.from_folder(row["image"], out)} for row in rows]


def _sections(
    tables: Mapping[str, Sequence[Effect]],
    drawn: Mapping[str, Path],
    out: Path,
    within: Sequence[str],
) -> list[tuple[str, str]]:
    """Returns the tables of effects and the plots, each as one section of the page."""
    found = []
    shown = {label: table for label, table in tables.items() if table}
    if shown:
        said = f", ranked within {', '.join(within)}" if within else ""
        heads = ["" if len(shown) == 1 else f"<h2>{html.escape(n)}</h2>" for n in shown]
        parts = zip(heads, map(effects_table, shown.values()), strict=True)
        inside = "\n".join(head + table for head, table in parts)
        title = f"Rank correlations of hyperparameters and metrics{said}"
        found.append((title, inside))
    if drawn:
        inside = "\n".join(_plot(metric, path, out) for metric, path in drawn.items())
        found.append(("Plots of metrics against hyperparameters", inside))
    return found


def _plot(metric: str, path: Path, out: Path) -> str:
    source = html.escape(embed.url(path.relative_to(out).as_posix()), quote=True)
    alt = html.escape(f"{metric} against each hyperparameter", quote=True)
    picture = f'<img src="{source}" alt="{alt}" loading="lazy">'
    return f"<h2>{html.escape(metric)}</h2>{picture}"


def effects_table(table: Sequence[Effect]) -> str:
    """Returns effects as an HTML table: a column per metric, shaded by strength."""
    metrics = list(dict.fromkeys(effect.metric for effect in table))
    names = list(dict.fromkeys(effect.hyperparameter for effect in table))
    found = {(e.hyperparameter, e.metric): e.correlation for e in table}
    head = "".join(f"<th>{html.escape(metric)}</th>" for metric in metrics)
    lines = [
        f"<tr><th>{html.escape(name)}</th>"
        + "".join(_shaded(found[name, metric]) for metric in metrics)
        + "</tr>"
        for name in names
    ]
    table_head = f"<tr><th></th>{head}</tr>"
    inside = "\n".join([table_head, *lines])
    return f'<div class="scroll"><table class="effects">{inside}</table></div>'


def _shaded(correlation: float) -> str:
    strength = 0.0 if math.isnan(correlation) else min(abs(correlation), 1.0)
    color = "0, 114, 178" if correlation > 0 else "213, 94, 0"
    style = f"background: rgba({color}, {0.6 * strength:.2f})"
    return f'<td style="{style}">{_signed(correlation)}</td>'
