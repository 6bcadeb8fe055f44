"""What is looked at of a picture: the whole of it, its quarters, its ninths …

Several windows let a few large photos stand for many small ones, and show a unit the
same thing at several scales.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreamjax.errors import require
from dreamjax.images import load_image


class Window(NamedTuple):
    """One cell of a picture that is cut into level × level cells.

    Attributes:
      level: 1 is the whole picture (the largest cut about the center that has the
        wanted aspect), 2 a quarter of it, 3 a ninth.
      row, column: of the cell, from the top left.
    """

    level: int
    row: int
    column: int


def windows(levels: int) -> list[Window]:
    """Returns the `Σ level²` windows of a picture, the whole one first."""
    require(1 <= levels <= 8, "levels", levels, "1 (the whole picture) … 8")
    return [
        Window(level, row, column)
        for level in range(1, levels + 1)
        for row in range(level)
        for column in range(level)
    ]


def look(path: Path, size: tuple[int, int], levels: int) -> np.ndarray:
    """Returns the windows of a picture in their order, [Σ level², H, W, 3] in [0, 1].

    Each cell of level n is that part of the picture at n times `size`, so a small
    picture is enlarged.

    Raises:
      ValueError: a file that cannot be read.
    """
    found = []
    for level in range(1, levels + 1):
        height, width = size
        large = load_image(path, (level * height, level * width))
        cells = large.reshape(level, height, level, width, 3).swapaxes(1, 2)
        found.append(cells.reshape(-1, height, width, 3))  # [level², H, W, 3]
    return np.concatenate(found)


def look_at(path: Path, size: tuple[int, int], window: Window) -> np.ndarray:
    """Returns one window of a picture, [H, W, 3], as `look` has it."""
    (height, width), level = size, window.level
    large = load_image(path, (level * height, level * width))
    top, left = window.row * height, window.column * width
    return large[top : top + height, left : left + width]
