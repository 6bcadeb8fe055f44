"""Runs in a grid of any two hyperparameters, many numbers gathered into ranges."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from dreamjax.errors import choose, require
from dreamjax.images import load_image, to_uint8
from dreamjax.report import values
from dreamjax.report.sheet import MAX_TILES, Layout
from dreamjax.report.values import Row, number

LINES = 12  # more different numbers than this become ranges
MAX_COLUMNS = 2 * LINES  # of a sheet
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
    for low, high in itertools.pairwise(edges):
        inside = np.flatnonzero((column >= low) & (column < high))
        ends = float(column[inside].min()), float(column[inside].max())
        label = " … ".join(values.shorts(sorted(set(ends))))
        found.append((label, inside.tolist()))
    return found


def best_of_cells(
    rows: Sequence[Row], down: str, across: str
) -> tuple[list[int], Layout]:
    """Returns the best run of each cell of a grid, and the grid of these runs.

    The best has the highest score; a run that is not alive is taken where its cell has
    no other.

    Args:
      rows: summary rows.
      down: the hyperparameter of the grid's rows.
      across: that of its columns.

    Raises:
      ValueError: a name that no run has, the same twice, or too many columns.
    """
    for argument, name in (("rows", down), ("columns", across)):
        choose(argument, name, values.names(rows))
    require(across != down, "columns", across, f"another one than rows={down!r}")
    columns, found = lines(rows, across), lines(rows, down)
    allowed = f"at most {MAX_COLUMNS} columns, not {len(columns)}; swap them"
    require(len(columns) <= MAX_COLUMNS, "columns", across, allowed)
    kept = found[: MAX_TILES // len(columns)]
    sets = [set(where) for _, where in columns]
    best: list[int] = []
    cells = []
    for _, here in kept:
        line: list[int | None] = []
        for there in sets:
            cell = [i for i in here if i in there]
            line.append(len(best) if cell else None)
            best += [max(cell, key=lambda i: _merit(rows[i]))] if cell else []
        cells.append(tuple(line))
    plan = Layout(
        cells=tuple(cells),
        row_labels=tuple(f"{down}={label}" for label, _ in kept),
        column_labels=tuple((f"{across}={label}",) for label, _ in columns),
        captions=((),) * len(best),
        hidden=0,
    )
    return best, plan


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
