"""Cutting a picture into tiles so that the gradient comes out as if it were whole.

The units of a layer are shared out: each belongs to one tile, in which everything that
it sees is present. A tile's gradient is that of its own units alone, in all of its
pixels; where tiles overlap their gradients add up. So the sum over tiles is the
gradient of the whole, with an overlap of one receptive field, and a program for one
size of tile serves pictures of every size.

The first tile begins where the picture does, so that the network pads with zeros there
as it would without tiles. What a tile holds beyond the last pixel is the picture
mirrored; an axis that wraps (the longitude of a panorama) has no ends.
"""

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dreamjax.deepdream.reach import Reach
from dreamjax.errors import require
from dreamjax.types import Array


class Overlap(NamedTuple):
    """What the tiles of a set of taps must respect; all in pixels.

    Attributes:
      before, after: at least the reach of every tap, multiples of `align`.
      align: the largest stride; tiles begin at its multiples.
    """

    before: int
    after: int
    align: int


class Axis(NamedTuple):
    """One axis of a picture, cut into tiles of one length.

    Positions are counted along the picture as the tiles see it, extended at its ends.

    Attributes:
      length: pixels of the picture.
      tile: pixels of a tile.
      source: [extended] int, the pixel that each position shows.
      offsets: where each tile begins.
      owned: (first, end) of each tile's own units, in pixels from its begin.
      wraps: the last pixel is followed by the first.
    """

    length: int
    tile: int
    source: np.ndarray
    offsets: tuple[int, ...]
    owned: tuple[tuple[int, int], ...]
    wraps: bool


def overlap_of(reaches: Sequence[Reach | None], given: int = -1) -> Overlap:
    """Returns the overlap that the taps of an objective need.

    Args:
      reaches: of the taps; those that see everything (None) ask for nothing, since no
        overlap would do.
      given: pixels on either side instead, rounded up; -1 takes the reach. Less than
        the reach is faster, and seams are then hidden only by jitter.
    """
    known = [reach for reach in reaches if reach is not None]
    align = max((reach.stride for reach in known), default=1)
    before = max((reach.before for reach in known), default=0)
    after = max((reach.after for reach in known), default=0)
    if given >= 0:
        before, after = min(given, before), min(given, after)
    return Overlap(_up(before, align), _up(after, align), align)


def cut(length: int, tile: int, overlap: Overlap, *, wraps: bool = False) -> Axis:
    """Returns how `length` pixels are cut into tiles of `tile` pixels.

    Raises:
      ValueError: a tile that is no multiple of `align`, or too short for its overlap; a
        length that wraps and is no multiple of `align`.
    """
    before, after, align = overlap
    require(tile % align == 0 and tile > 0, "tile", tile, f"a multiple of {align}")
    core = tile - before - after
    if not fits(length, tile, overlap, wraps=wraps):
        raise ValueError(
            f"tile={tile} is not possible: units of the objective's layers see"
            f" {before + after} px, so a tile that is not the whole {length} px has at"
            f" least {before + after + align}; or set an overlap of your own."
        )
    if wraps:
        return _around(length, tile, core, overlap)
    last = max(0, _up(length - tile, align))
    count = 1 if last == 0 else 1 + -(-last // core)
    offsets = [_down(i * last // max(count - 1, 1), align) for i in range(count)]
    cuts = [0]
    for here, there in itertools.pairwise(offsets):
        low, high = there + before, here + tile - after
        cuts.append(_down((low + high) // 2, align))
    cuts.append(length)
    source = np.pad(np.arange(length), (0, last + tile - length), mode="reflect")
    owned = [
        (cuts[i] - offset, cuts[i + 1] - offset) for i, offset in enumerate(offsets)
    ]
    return Axis(length, tile, source, tuple(offsets), tuple(owned), False)


def fits(length: int, tile: int, overlap: Overlap, *, wraps: bool = False) -> bool:
    """Tells whether tiles of this length can serve an axis of this length."""
    roomy = tile >= overlap.before + overlap.after + overlap.align
    return roomy or (not wraps and tile >= length)


def _around(length: int, tile: int, core: int, overlap: Overlap) -> Axis:
    before, _, align = overlap
    require(length % align == 0, "width", length, f"a panorama's is {align} · n")
    count = -(-length // core)
    starts = [_down(i * length // count, align) for i in range(count)] + [length]
    owned = [
        (before, before + end - start) for start, end in itertools.pairwise(starts)
    ]
    extended = np.arange(starts[-2] + tile) - before
    return Axis(length, tile, extended % length, tuple(starts[:-1]), tuple(owned), True)


def tile_shape(
    sizes: Sequence[tuple[int, int]],
    overlap: Overlap,
    *,
    most: int,
    circles: Collection[int] = (),
    least: int = 1,
    grid: int = 32,
) -> tuple[int, int]:
    """Returns the (height, width) of tiles that take the fewest pixels in all.

    Args:
      sizes: (H, W) of every picture that is to be made, one after another.
      overlap: of the taps.
      most: pixels of a tile; more are taken only where no tile works with less.
      circles: the widths that are circles.
      least: pixels of a side.
      grid: sides are multiples of it and of `align`.

    Raises:
      ValueError: no tile fits.
    """
    step = int(np.lcm(grid, overlap.align))
    rows = _costs([h for h, _ in sizes], overlap, step, least, ())
    columns = _costs([w for _, w in sizes], overlap, step, least, circles)
    pairs = [(h, w) for h in rows for w in columns]
    small = [pair for pair in pairs if pair[0] * pair[1] <= most]
    if not small:
        small = [min(pairs, key=lambda pair: pair[0] * pair[1])]
    return min(small, key=lambda p: float(rows[p[0]] @ columns[p[1]]) * p[0] * p[1])


def best_tile(
    tiles: Sequence[tuple[int, int]],
    sizes: Sequence[tuple[int, int]],
    overlap: Overlap,
    circles: Collection[int] = (),
) -> tuple[int, int]:
    """Returns the (height, width) among `tiles` that computes the fewest pixels.

    Args:
      tiles: to choose from.
      sizes: (H, W) of the views that it is to serve.
      overlap: of the taps.
      circles: the widths that are circles.

    Raises:
      ValueError: none fits.
    """

    def pixels(tile: tuple[int, int]) -> int:
        rows = [cut(h, tile[0], overlap) for h, _ in sizes]
        columns = [cut(w, tile[1], overlap, wraps=w in circles) for _, w in sizes]
        counts = [
            len(r.offsets) * len(c.offsets) for r, c in zip(rows, columns, strict=True)
        ]
        return sum(counts) * tile[0] * tile[1]

    def serves(tile: tuple[int, int]) -> bool:
        return all(
            fits(h, tile[0], overlap) and fits(w, tile[1], overlap, wraps=w in circles)
            for h, w in sizes
        )

    able = [tile for tile in tiles if serves(tile)]
    if not able:
        return min(tiles, key=pixels)  # raises, and says what would do
    return min(able, key=pixels)


def _costs(
    lengths: Sequence[int],
    overlap: Overlap,
    step: int,
    least: int,
    circles: Collection[int],
) -> dict[int, np.ndarray]:
    """Returns tile length -> number of tiles for each axis length."""
    longest = max(lengths) + (overlap.before + overlap.after if circles else 0)
    first, last = _up(least, step), _up(max(longest, least), step)
    counts = {}
    for tile in range(first, last + 1, step):
        if all(fits(n, tile, overlap, wraps=n in circles) for n in lengths):
            axes = [cut(n, tile, overlap, wraps=n in circles) for n in lengths]
            counts[tile] = np.array([len(axis.offsets) for axis in axes], float)
    return counts


def folded(values: Array, axis: Axis, dim: int) -> Array:
    """Adds what tiles gave to positions beyond the ends to the pixels shown there.

    Args:
      values: an array whose dimension `dim` is `axis`, extended.
      axis: how it was cut.
      dim: 0 or positive.

    Returns:
      The array with dimension `dim` of the picture's length. Mirrored positions are
      dropped: they are the picture's frame, not the picture.
    """
    if not axis.wraps:
        return jnp.take(values, jnp.arange(axis.length), axis=dim)
    lead = int(axis.source[0])  # the pixel of the first position
    trail = -(lead + len(axis.source)) % axis.length
    pad = [(0, 0)] * values.ndim
    pad[dim] = (lead, trail)
    full = jnp.pad(values, pad)
    turns = full.shape[dim] // axis.length
    shape = (*full.shape[:dim], turns, axis.length, *full.shape[dim + 1 :])
    return jnp.sum(full.reshape(shape), axis=dim)


def _up(n: int, step: int) -> int:
    return -(-n // step) * step


def _down(n: int, step: int) -> int:
    return n // step * step
