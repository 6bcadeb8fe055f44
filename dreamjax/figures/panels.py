"""Panels of a figure as one picture: a grid with labels and a caption under each."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from dreamjax.errors import require
from dreamjax.report.plots import STYLE

SIDE = 1.6  # inches of a panel
LETTER = 0.068  # inches of a row label's letter
SMALL = 0.056  # inches of a caption's letter


class Panel(NamedTuple):
    """One picture of a figure.

    Attributes:
      image: [H, W, 3] or [H, W] in [0, 1], or None for an empty place.
      caption: under it: an error, an activation.
    """

    image: np.ndarray | None
    caption: str = ""


def draw(
    panels: Sequence[Sequence[Panel]],
    *,
    title: str = "",
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    side: float = SIDE,
    aspect: float = 1.0,
) -> Figure:
    """Draws a grid of panels.

    Args:
      panels: rows of panels; rows may be of unequal length.
      title: over all; says which network.
      rows: a label for each row, or none.
      columns: a label for each column, or none.
      side: inches of a panel's width.
      aspect: height over width of the panels, so that wide ones leave no gaps.

    Raises:
      ValueError: no panels, or labels that are not as many as rows or columns.
    """
    height, width = len(panels), max((len(row) for row in panels), default=0)
    require(height > 0 and width > 0, "panels", panels, "at least one")
    for name, labels, count in (("rows", rows, height), ("columns", columns, width)):
        require(len(labels) in (0, count), name, tuple(labels), f"{count} labels")
    panels = [
        [p._replace(caption=_wrapped(p.caption, side)) for p in r] for r in panels
    ]
    captions = max(
        (panel.caption.count("\n") + 1) * bool(panel.caption)
        for row in panels
        for panel in row
    )
    letters = max((len(t) for text in rows for t in text.splitlines()), default=0)
    size = (
        width * side + 0.15 + LETTER * letters,
        height * (side * aspect + (0.17 * captions + 0.1) * bool(captions))
        + 0.45 * bool(title)
        + 0.3 * bool(columns),
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        figure.set_gid(title)
        if title:
            figure.suptitle(title, fontsize=10)
        grid = figure.subplots(height, width, squeeze=False)
        for i in range(height):
            for j in range(width):
                axes = grid[i, j]
                axes.set_axis_off()
                panel = panels[i][j] if j < len(panels[i]) else Panel(None)
                if i == 0 and columns:
                    axes.set_title(columns[j], fontsize=8, loc="center")
                if j == 0 and rows:
                    axes.text(
                        *(-0.06, 0.5, rows[i]),
                        transform=axes.transAxes,
                        ha="right",
                        va="center",
                        fontsize=8,
                    )
                if panel.image is not None:
                    _show(axes, panel)
    return figure


def _wrapped(caption: str, side: float) -> str:
    """Returns a caption in lines as wide as its panel; wider ones would shrink it."""
    letters = max(8, int(side / SMALL))
    return "\n".join(textwrap.fill(line, letters) for line in caption.splitlines())


def _show(axes, panel: Panel) -> None:
    image = np.clip(np.asarray(panel.image, np.float32), 0, 1)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
    if panel.caption:
        axes.text(
            *(0.5, -0.04, panel.caption),
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=7,
        )


def stretched(image: np.ndarray, percentile: float = 0.5) -> np.ndarray:
    """Returns an image [H, W, C] with its contrast stretched to [0, 1].

    All channels together, between `percentile` and 100 - `percentile`; for pictures
    whose amplitudes are far below a photo's. A constant image becomes mid-gray.
    """
    low, high = np.percentile(image, (percentile, 100 - percentile))
    if high <= low:
        return np.full(image.shape, 0.5, np.float32)
    return np.clip((image - low) / (high - low), 0, 1).astype(np.float32)


def boxed(
    image: np.ndarray,
    boxes: Sequence[tuple[int, int, int, int]],
    color: Sequence[float] = (1.0, 0.0, 0.0),
) -> np.ndarray:
    """Returns an image [H, W, 3] with the outlines of boxes, one pixel wide.

    Args:
      image: in [0, 1].
      boxes: (top, left, bottom, right), the latter two past the end, all inside.
      color: RGB.
    """
    drawn = np.array(image, np.float32)
    for top, left, bottom, right in boxes:
        for line in (
            drawn[top, left:right],
            drawn[bottom - 1, left:right],
            drawn[top:bottom, left],
            drawn[top:bottom, right - 1],
        ):
            line[:] = color
    return drawn


def standardized(image: np.ndarray, spread: float = 0.1) -> np.ndarray:
    """Returns an image [H, W, C] with mean 0.5 and a standard deviation of `spread`.

    How the TensorFlow notebook of 2016 shows pictures that know no range.
    """
    deviation = max(float(image.std()), 1e-4)
    shown = (image - image.mean()) / deviation * spread + 0.5
    return np.clip(shown, 0, 1).astype(np.float32)


def about_gray(image: np.ndarray, percentile: float = 99.5) -> np.ndarray:
    """Returns values of either sign [..., C] as a picture with 0 at mid-gray.

    The percentile of the absolute values is black or white, so that what has a photo's
    amplitudes and what has far less are shown alike. (Yosinski et al. 2015 show it so,
    by the largest value.) Where the percentile is 0 the largest value is taken.
    """
    top = np.percentile(np.abs(image), percentile) or np.abs(image).max() or 1.0
    return np.clip(0.5 + np.asarray(image) / (2 * top), 0, 1).astype(np.float32)


def enlarged(image: np.ndarray, side: int) -> np.ndarray:
    """Returns a small map [h, w, C] at about `side` pixels, positions as squares."""
    times = max(1, round(side / max(image.shape[:2])))
    return image.repeat(times, axis=0).repeat(times, axis=1)
