"""Runs in a grid of any two hyperparameters, many numbers gathered into ranges."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from dreamjax.errors import choose, require
from dreamjax.images import load_image, to_uint8
from dreamjax.report import values
from dreamjax.report.effects import number
from dreamjax.report.values import Row

LINES = 12  # more different numbers than this become ranges
RANGES = 8  # with as many runs in each


def lines(rows: Sequence[Row], name: str) -> list[tuple[str, list[int]]]:
    """Returns the lines of a grid: their label, and the indices of their runs.

    Numbers ascend, texts follow in order of appearance. More than `LINES` different
    numbers are gathered into up to `RANGES` ranges with about as many runs in each.
    """
    found = values.distinct(rows, name)
    texts = [v for v in found if not np.isfinite(number(v))]
    numbers = sorted((v for v in found if np.isfinite(number(v))), key=number)
    keys = [values.key_of(values.get(row, name)) for row in rows]
    if len(numbers) <= LINES:
        ordered = [*numbers, *texts]
        return [
            (label, _where(keys, value))
            for label, value in zip(values.shorts(ordered), ordered, strict=True)
        ]
    ranges = _ranges(np.array([number(values.get(row, name)) for row in rows]))
    return ranges + [(values.short(v), _where(keys, v)) for v in texts]


def _where(keys: Sequence[Any], value: Any) -> list[int]:
    wanted = values.key_of(value)
    return [i for i, key in enumerate(keys) if key == wanted]


def _ranges(column: np.ndarray) -> list[tuple[str, list[int]]]:
    """Returns ranges with about as many runs in each of the finite numbers [R]."""
    finite = np.sort(column[np.isfinite(column)])
    starts = [finite[i * len(finite) // RANGES] for i in range(RANGES)]
    edges = [*sorted(set(starts)), np.inf]
    found = []
    for low, high in zip(edges, edges[1:], strict=False):
        inside = np.flatnonzero((column >= low) & (column < high))
        ends = float(column[inside].min()), float(column[inside].max())
        label = " … ".join(values.shorts(sorted(set(ends))))
        found.append((label, inside.tolist()))
    return found


def best_of_cells(rows: Sequence[Row], across: str, down: str) -> list[Row]:
    """Returns one run for each cell of the grid: the one with the best score.

    The rows have only the two hyperparameters, with their labels for values, and
    "index", their place in `rows`; a run that is not alive is taken where its cell has
    no other. In reading order: down, then across.

    Args:
      rows: summary rows.
      across: the hyperparameter of the columns.
      down: that of the rows.

    Raises:
      ValueError: a name that no run has, or the same twice.
    """
    for argument, name in (("rows", down), ("columns", across)):
        choose(argument, name, values.names(rows))
    require(across != down, "columns", across, f"another one than rows={down!r}")
    columns = [(label, set(where)) for label, where in lines(rows, across)]
    found = []
    for down_label, here in lines(rows, down):
        for across_label, there in columns:
            cell = [i for i in here if i in there]
            if cell:
                best = max(cell, key=lambda i: _merit(rows[i]))
                hparams = {down: down_label, across: across_label}
                found.append({**rows[best], "hparams": hparams, "index": best})
    return found


def _merit(row: Row) -> tuple[bool, bool, float]:
    score = values.score_of(row)
    known = np.isfinite(score)
    return row["status"] == "alive", bool(known), score if known else 0.0


def pictures(paths: Sequence[Path | None]) -> np.ndarray:
    """Returns pictures of different sizes as one array [R, H, W, 3] uint8.

    H and W are the largest; smaller pictures are enlarged until they touch two sides
    and padded with white. A missing picture is gray.
    """
    loaded = [None if p is None else to_uint8(load_image(p)) for p in paths]
    sizes = [picture.shape[:2] for picture in loaded if picture is not None]
    high, wide = np.max(sizes, axis=0).tolist() if sizes else (128, 128)
    empty = np.full((high, wide, 3), 224, np.uint8)
    return np.stack([empty if p is None else _padded(p, high, wide) for p in loaded])


def _padded(picture: np.ndarray, high: int, wide: int) -> np.ndarray:
    if picture.shape[:2] == (high, wide):
        return picture
    return np.asarray(
        ImageOps.pad(
            Image.fromarray(picture),
            (wide, high),
            Image.Resampling.NEAREST,
            color="white",
        )
    )
