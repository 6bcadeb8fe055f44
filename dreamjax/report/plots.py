"""Plots for pages and papers: scatters and curves as SVG text or PNG bytes.

A function draws a `matplotlib.figure.Figure`; `svg` and `png` write it out. The same
numbers give the same bytes. What cannot be drawn (NaN, infinities, on a logarithmic
axis also 0 and below, numbers beyond 1e300) is left out; where nothing remains the
figure says "no data".

    write_text("lr.svg", svg(scatter(lr, score, x_label="learning rate",
                                     y_label="score", log_x=True)))
"""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from dreamjax.errors import printable, require

WIDTH, HEIGHT = 6.4, 4.0  # inches: 640 × 400 px of a PNG
CELL = (3.2, 2.6)  # inches, one plot of a grid
DPI = 100
INK, GRID = "#222222", "#9a9a9a"
COLORS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c6d31",
    "#000000",
)
"""Okabe and Ito's colors, told apart by the color-blind too."""

MARKERS = "os^Dvp*X"
FARTHEST = 1e300
"""Numbers beyond are left out: Matplotlib could not tell how long an axis is."""

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 10,
    "grid.alpha": 0.3,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "path.simplify": False,
    "svg.fonttype": "none",  # text stays text: searched, read aloud, edited
    "svg.hashsalt": "dreamjax",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 9,
    "ytick.color": INK,
    "ytick.labelsize": 9,
}


class Curve(NamedTuple):
    """One line of `curves`.

    Attributes:
      label: in the legend; "" for none.
      x: [N].
      y: [N].
      low: [N], the lower end of the spread; None for no spread.
      high: [N], its upper end.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def scatter(
    x: Sequence[float],
    y: Sequence[float],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
    groups: Sequence[str] | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> Figure:
    """Draws points.

    Args:
      x: [N].
      y: [N].
      x_label: with the unit: "learning rate", "time [s]".
      y_label: the same.
      title: above, at the left.
      groups: [N], the group of each point: a color and a place in the legend.
      log_x: a logarithmic x axis.
      log_y: a logarithmic y axis.

    Raises:
      ValueError: for x, y and groups of different lengths.
    """
    with matplotlib.rc_context(STYLE):
        figure = _figure((WIDTH, HEIGHT), title)
        axes = figure.add_subplot()
        _label(axes, x_label, y_label, title)
        drawn = _points(axes, x, y, groups, (log_x, log_y))
        _close(figure, axes, drawn, (log_x, log_y))
    return figure


def curves(
    lines: Sequence[Curve],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
    marks: bool = False,
    ticks: Mapping[float, str] | None = None,
) -> Figure:
    """Draws lines, each with its spread as a band where it has one.

    Args:
      lines: one after another in color; gaps where a value cannot be drawn.
      x_label: with the unit.
      y_label: the same.
      title: above, at the left.
      log_x: a logarithmic x axis.
      log_y: a logarithmic y axis.
      marks: also a marker at each point.
      ticks: x -> its text, instead of numbers; written upright where there are many.

    Raises:
      ValueError: for parts of a line of different lengths.
    """
    with matplotlib.rc_context(STYLE):
        figure = _figure((WIDTH, HEIGHT), title)
        axes = figure.add_subplot()
        _label(axes, x_label, y_label, title)
        drawn = False
        for number, line in enumerate(lines):
            drawn |= _line(axes, number, line, (log_x, log_y), marks)
        if ticks and drawn:
            upright = len(ticks) > 8 or max(map(len, ticks.values())) > 8
            axes.set_xticks(
                list(ticks),
                list(map(literal, ticks.values())),
                rotation=90 if upright else 0,
            )
        _close(figure, axes, drawn, (log_x, log_y), numbered=not ticks)
    return figure


def scatter_grid(
    columns: Mapping[str, Sequence[Any]],
    y: Sequence[float],
    *,
    y_label: str,
    title: str = "",
    groups: Sequence[str] | None = None,
    log_x: Sequence[str] = (),
    log_y: bool = False,
    per_row: int = 3,
) -> Figure:
    """Draws a metric against each hyperparameter, one small scatter for each.

    Args:
      columns: hyperparameter, with its unit -> [N] values; texts become categories.
      y: [N], the metric.
      y_label: its name, with the unit.
      title: above all.
      groups: [N], the group of each point: a color and a place in the legend.
      log_x: the hyperparameters with a logarithmic axis.
      log_y: a logarithmic metric.
      per_row: plots side by side.

    Raises:
      ValueError: for a column whose length is not that of y, or an unknown name in
        log_x.
    """
    unknown = [name for name in log_x if name not in columns]
    require(not unknown, "log_x", list(log_x), f"names of {list(columns)}")
    with matplotlib.rc_context(STYLE):
        figure, wide, cells = _small_plots(len(columns), per_row, title)
        named = zip(cells, columns.items(), strict=True)
        for number, (axes, (name, values)) in enumerate(named):
            _label(axes, name, y_label if number % wide == 0 else "", "")
            log = (name in log_x, log_y)
            drawn = _points(axes, _numbers(axes, values), y, groups, log)
            legend = groups is not None and number == wide - 1
            _close(figure, axes, drawn, log, numbered=_numeric(values), legend=legend)
    return figure


def histograms(
    values: Mapping[str, Sequence[float]],
    *,
    bins: Sequence[float],
    x_label: str,
    title: str = "",
    per_row: int = 3,
) -> Figure:
    """Draws how values are distributed, a small plot for each name, on equal axes.

    Args:
      values: name -> [N].
      bins: [n + 1], edges, ascending; what lies outside is counted at the ends.
      x_label: under the lowest row, with the unit.
      title: above all.
      per_row: plots side by side.

    Raises:
      ValueError: for edges that do not ascend.
    """
    edges = np.asarray(bins, np.float64)
    ascending = edges.ndim == 1 and len(edges) > 1 and bool((np.diff(edges) > 0).all())
    require(ascending, "bins", list(edges.ravel()[:4]), "two or more ascending edges")
    with matplotlib.rc_context(STYLE):
        figure, wide, cells = _small_plots(len(values), per_row, title)
        named = zip(cells, values.items(), strict=True)
        for number, (axes, (name, given)) in enumerate(named):
            below = number + wide >= len(values)
            left = number % wide == 0
            _label(axes, x_label if below else "", "share" if left else "", name)
            array = np.asarray(given, np.float64)
            array = np.clip(array[np.isfinite(array)], edges[0], edges[-1])
            if len(array):
                axes.hist(
                    array,
                    edges,
                    weights=np.full(len(array), 1 / len(array)),
                    color=COLORS[number // wide % len(COLORS)],
                )
            axes.set_xlim(edges[0], edges[-1])
            _close(figure, axes, len(array) > 0, (False, False), legend=False)
    return figure


def bars(
    groups: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    y_label: str,
    title: str = "",
) -> Figure:
    """Draws bars in groups, each with its spread as a whisker.

    Args:
      groups: under the axis -> in the legend -> (height, spread); a spread of 0 has no
        whisker. Groups may lack some.
      y_label: with the unit.
      title: above, at the left.
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    width = 0.8 / max(1, len(names))
    with matplotlib.rc_context(STYLE):
        figure = _figure((WIDTH, HEIGHT), title)
        axes = figure.add_subplot()
        _label(axes, "", y_label, title)
        drawn = False
        for number, name in enumerate(names):
            places, heights, spreads = [], [], []
            for place, group in enumerate(groups.values()):
                if name in group and np.isfinite(group[name]).all():
                    places.append(place + (number - (len(names) - 1) / 2) * width)
                    heights.append(group[name][0])
                    spreads.append(group[name][1])
            if places:
                axes.bar(
                    places,
                    heights,
                    width,
                    yerr=spreads if any(spreads) else None,
                    color=COLORS[number % len(COLORS)],
                    ecolor=INK,
                    capsize=3,
                    label=name or None,
                )
                drawn = True
        if drawn:
            axes.set_xticks(range(len(groups)), list(map(literal, groups)))
            axes.grid(axis="x", visible=False)
        _close(figure, axes, drawn, (False, False), numbered=False)
    return figure


def svg(figure: Figure, *, inline: bool = False) -> str:
    """Returns a figure as SVG text; its text is text.

    Args:
      figure: of this module, or of your own.
      inline: for inside an HTML page: no XML header, transparent, and ink in the
        page's own text color, so that it is right on dark pages too.
    """
    _show_literally(figure)
    file = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Title": _title(figure)}
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format="svg", metadata=metadata, transparent=inline)
    text = re.sub(r'<g id="[^"]*">', "<g>", file.getvalue())  # equal in every figure
    text = re.sub(r"[ \t]+\n", "\n", text)
    if not inline:
        return text
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("<svg ", '<svg role="img" ', 1)


def png(figure: Figure, *, dpi: int = 2 * DPI, colors: int | None = None) -> bytes:
    """Returns a figure as a PNG on white; 200 dpi are 1280 px for a single plot.

    With `colors` it has a palette of so many, which makes a plot three times as small.
    """
    _show_literally(figure)
    file = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    if colors is None:
        return file.getvalue()
    small = io.BytesIO()
    picture = Image.open(file).convert("RGB").quantize(colors, dither=Image.Dither.NONE)
    picture.save(small, format="PNG", optimize=True)
    return small.getvalue()


def literal(text: str) -> str:
    """Returns a text to be put along an axis, so that it is shown as it is.

    Matplotlib takes what is between two `$` as mathematics.
    """
    return printable(text, keep="\n").replace("$", r"\$")


def _show_literally(figure: Figure) -> None:
    """Makes all texts of a figure be shown as they are, but those along its axes.

    These may be numbers that Matplotlib writes as mathematics; see `literal`.
    """
    along: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            along |= {text for text in axis.findobj(Text) if text is not axis.label}
    for text in figure.findobj(Text):
        if text not in along:
            text.set_parse_math(False)
            text.set_text(printable(text.get_text(), keep="\n"))


def _figure(size: tuple[float, float], title: str) -> Figure:
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.set_gid(printable(title))
    return figure


def _small_plots(
    count: int, per_row: int, title: str
) -> tuple[Figure, int, Iterator[Axes]]:
    """Returns a figure, its plots in a row, and the plots, which share their y axis."""
    wide = max(1, min(per_row, count))
    high = max(1, math.ceil(count / wide))
    figure = _figure((CELL[0] * wide, CELL[1] * high), title)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    if count == 0:
        _close(figure, figure.add_subplot(), False, (False, False))

    def cells() -> Iterator[Axes]:
        first = None
        for number in range(count):
            axes = figure.add_subplot(high, wide, number + 1, sharey=first)
            first = axes if first is None else first
            yield axes

    return figure, wide, cells()


def _title(figure: Figure) -> str:
    """Returns the title; without one what is plotted against what."""
    if figure.get_gid():
        return figure.get_gid()
    named = [a for a in figure.axes if a.get_ylabel() or a.get_xlabel()]
    if not named:
        return "no data"
    across = ", ".join(a.get_xlabel() for a in figure.axes)
    return f"{named[0].get_ylabel()} against {across}"


def _label(axes: Axes, x_label: str, y_label: str, title: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title)


def _array(name: str, values: Sequence[float], length: int) -> np.ndarray:
    array = np.asarray(values, np.float64)
    require(array.shape == (length,), f"len({name})", array.shape, f"{length} numbers")
    return array


def _drawable(values: np.ndarray, log: bool) -> np.ndarray:
    good = np.isfinite(values) & (np.abs(values) <= FARTHEST)
    return good & (values > 0) if log else good


def _points(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    groups: Sequence[str] | None,
    log: tuple[bool, bool],
) -> bool:
    """Draws a scatter; returns whether there was a point to draw."""
    x, y = _array("x", x, len(y)), _array("y", y, len(y))
    good = _drawable(x, log[0]) & _drawable(y, log[1])
    names = [""] * len(y) if groups is None else [str(group) for group in groups]
    require(len(names) == len(y), "len(groups)", len(names), f"{len(y)} names")
    size = 22 if len(y) <= 200 else 10
    for number, name in enumerate(dict.fromkeys(names)):
        here = good & np.asarray([n == name for n in names], bool)
        if here.any():
            axes.scatter(
                x[here],
                y[here],
                s=size,
                alpha=0.75,
                color=COLORS[number % len(COLORS)],
                marker=MARKERS[number % len(MARKERS)],
                linewidths=0,
                label=name or None,
            )
    return bool(good.any())


def _line(
    axes: Axes, number: int, line: Curve, log: tuple[bool, bool], marks: bool
) -> bool:
    """Draws one line and its band; returns whether there was a point to draw."""
    x, y = _array("x", line.x, len(line.y)), _array("y", line.y, len(line.y))
    across, good = _drawable(x, log[0]), _drawable(x, log[0]) & _drawable(y, log[1])
    if not good.any():
        return False
    color = COLORS[number % len(COLORS)]
    alone = np.count_nonzero(good) == 1
    axes.plot(
        x[across],
        np.where(good, y, np.nan)[across],
        color=color,
        linewidth=1.6,
        marker=MARKERS[number % len(MARKERS)] if marks or alone else None,
        markersize=4,
        label=line.label or None,
    )
    if line.low is not None and line.high is not None:
        low = _array("low", line.low, len(x))
        high = _array("high", line.high, len(x))
        both = across & _drawable(low, log[1]) & _drawable(high, log[1])
        axes.fill_between(
            x[across],
            np.where(both, low, np.nan)[across],
            np.where(both, high, np.nan)[across],
            color=color,
            alpha=0.18,
            linewidth=0,
        )
    return True


def _numeric(values: Sequence[Any]) -> bool:
    return all(
        isinstance(v, int | float | np.number) and not isinstance(v, bool)
        for v in values
    )


def _numbers(axes: Axes, values: Sequence[Any]) -> Sequence[float]:
    """Returns numbers as they are; of anything else the number of its category."""
    if _numeric(values):
        return values
    names = sorted({str(value) for value in values})
    shown = list(map(literal, names))
    axes.set_xticks(range(len(names)), shown, rotation=30 if len(names) > 3 else 0)
    axes.set_xlim(-0.5, len(names) - 0.5)
    return [names.index(str(value)) for value in values]


def _close(
    figure: Figure,
    axes: Axes,
    drawn: bool,
    log: tuple[bool, bool],
    *,
    numbered: bool = True,
    legend: bool = True,
) -> None:
    """Sets the scales and the legend, or says that there is nothing to see."""
    if not drawn:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no data", ha="center", va="center", transform=axes.transAxes
        )
        return
    if log[0] and numbered:
        axes.set_xscale("log")
    if log[1]:
        axes.set_yscale("log")
    handles, names = axes.get_legend_handles_labels()
    if names and legend:
        figure.legend(handles, names, loc="outside right upper")
