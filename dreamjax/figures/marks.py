"""A table of marks: which of some things each of some others has."""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

from dreamjax.errors import require
from dreamjax.report.plots import GRID, INK, STYLE

ROW, COLUMN = 0.32, 1.5  # inches
LETTER = 0.075  # inches of a letter of a row's name


def marks(
    table: Mapping[str, Mapping[str, str]], *, columns: Sequence[str], title: str = ""
) -> Figure:
    """Draws a table with a dot, and what is written beside it, where there is a mark.

    Args:
      table: row -> column -> what to write beside the dot, or "".
      columns: all columns, from the left.
      title: over all.

    Raises:
      ValueError: no rows, or a mark in a column that there is not.
    """
    require(len(table) > 0 and len(columns) > 0, "table", table, "rows and columns")
    for name, row in table.items():
        unknown = set(row) - set(columns)
        require(not unknown, f"table[{name!r}]", sorted(unknown), f"of {columns}")
    names = LETTER * max(len(name) for name in table) + 0.2
    width = names + COLUMN * len(columns)
    height = ROW * (len(table) + 1) + 0.5 * bool(title)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        top = height - 0.5 * bool(title) - ROW / 2
        if title:
            axes.text(0.15, height - 0.25, title, va="center", fontsize=11)
        for j, column in enumerate(columns):
            axes.text(names + j * COLUMN, top, column, va="center", weight="bold")
        for i, (name, row) in enumerate(table.items()):
            y = top - ROW * (i + 1)
            axes.plot((0.15, width - 0.15), (y + ROW / 2,) * 2, color=GRID, lw=0.5)
            axes.text(0.15, y, name, va="center")
            for column, said in row.items():
                x = names + columns.index(column) * COLUMN
                axes.plot((x + 0.08,), (y,), "o", color=INK, markersize=6)
                axes.text(x + 0.22, y, said, va="center", fontsize=8)
    return figure
