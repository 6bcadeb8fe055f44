"""HOG and DSIFT as networks: the shallow representations that one can dream with.

Mahendran & Vedaldi 2015, section 4: both are a few convolutions with a normalization,
so they have gradients and can be inverted like any other network. They have no weights.

    gray → directional derivatives → orientation bins → cells → blocks, normalized → …

`hog` is the HOG of Dalal & Triggs 2005 in the variant of Felzenszwalb et al. 2010
(UoCTTI), as VLFeat's vl_hog computes it, without the four texture components;
`hogb` assigns orientations bilinearly; `dsift` is Lowe's SIFT on a dense grid. Each is
a `Model`: `models.load("dreamjax.models.hog:hog")`.

Where the network differs from vl_hog: at the image's border it takes derivatives
against mid-gray, where vl_hog takes none, and the outermost cells lack the blocks that
reach beyond the image, where vl_hog repeats cells. Inside they are the same to 1e-5.
DSIFT is vl_dsift's with a flat window, but for its cells' centers (between pixels
here), and a last normalization that is left out: correlation 0.998.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import require
from dreamjax.models.layers import Rules
from dreamjax.models.model import Model, Record, from_network
from dreamjax.types import Array, Taps

LUMA = (0.298936, 0.587043, 0.114021)  # of sRGB, as in Matlab's rgb2gray
CLAMP = 0.2
FLOOR = 1e-6
GAUSSIAN = 1.5  # cells, the standard deviation of DSIFT's window
_HIGHEST = jax.lax.Precision.HIGHEST


def hog(*, cell: int = 8, orientations: int = 9, channels: int = 3) -> Model:
    """Returns UoCTTI's HOG: each gradient belongs to the nearest direction.

    Taps, for an image of H × W pixels, h × w cells and O orientations: "gray"
    [B, H, W, 1], "derivatives" and "bins" [B, H, W, 2 O], "cells" [B, h, w, 2 O],
    "blocks", "normalized" and "clamped" [B, h - 1, w - 1, 12 O], "hog" [B, h, w, 3 O]:
    2 O directions and O orientations of each cell.

    Args:
      cell: pixels a side, even.
      orientations: O, between 0 and π.
      channels: of the images; 1 where gray ones are to be made.
    """
    return _hog("hog.uoctti", cell, orientations, channels, soft=False)


def hogb(*, cell: int = 8, orientations: int = 9, channels: int = 3) -> Model:
    """Returns HOG with each gradient shared by the two nearest directions (`hog`)."""
    return _hog("hogb.uoctti", cell, orientations, channels, soft=True)


def dsift(
    *, cell: int = 5, stride: int = 3, orientations: int = 4, channels: int = 3
) -> Model:
    """Returns dense SIFT: descriptors of 4 × 4 cells on a grid.

    Taps: "gray", "derivatives", "bins", "cells" as in `hog` (no padding: derivatives
    are of the inner H - 2 × W - 2 pixels), "blocks" and "normalized" and "dsift"
    [B, h', w', 32 O], at every `stride`-th cell.

    Args:
      cell: pixels a side.
      stride: cells between descriptors.
      orientations: O, between 0 and π; SIFT has 8 directions.
      channels: of the images.
    """
    require(cell >= 1, "cell", cell, "at least 1 pixel")
    require(stride >= 1, "stride", stride, "at least 1 cell")
    record = _record("dsift.vlfeat", "Lowe 2004", 2004, 2 + 5 * cell, channels)

    def network(variables: dict, x: Array, rules: Rules) -> Taps:
        del variables, rules
        taps = _cells(x, orientations, cell, soft=True, border=0, padding=0)
        blocks = _windows(taps["cells"], stride)
        squares = jnp.sum(jnp.square(blocks), axis=-1, keepdims=True)
        normalized = blocks / jnp.sqrt(squares + FLOOR)
        taps |= {"blocks": blocks, "normalized": normalized}
        return taps | {"dsift": _clamped(normalized)}

    return from_network(network, {}, record)


def _hog(
    name: str, cell: int, orientations: int, channels: int, *, soft: bool
) -> Model:
    require(cell >= 2 and cell % 2 == 0, "cell", cell, "an even number of pixels")
    record = _record(name, "Felzenszwalb et al. 2010", 2010, 2 * cell, channels)
    count = orientations

    def network(variables: dict, x: Array, rules: Rules) -> Taps:
        del variables, rules
        taps = _cells(x, count, cell, soft=soft, border=1, padding=cell // 2)
        cells = taps["cells"]
        # A cell's directions, and with the opposite ones added its orientations.
        whole = [cells, cells[..., :count] + cells[..., count:]]
        blocks = _pairs(jnp.concatenate(whole, axis=-1))  # [N, h - 1, w - 1, 12 O]
        parts = blocks.reshape(*blocks.shape[:3], 4, 3 * count)[..., 2 * count :]
        squares = jnp.sum(jnp.square(parts), axis=(3, 4))[..., None]
        normalized = blocks / jnp.sqrt(jnp.maximum(squares, FLOOR**2))
        clamped = _clamped(normalized)
        taps |= {"blocks": blocks, "normalized": normalized, "clamped": clamped}
        return taps | {"hog": _apart(clamped)}

    return from_network(network, {}, record)


def _record(name: str, paper: str, year: int, least: int, channels: int) -> Record:
    require(channels in (1, 3), "channels", channels, "1 or 3")
    return Record(
        name=name,
        source="formula",
        year=year,
        paper=paper,
        scale=255.0,
        mean=(128.0,),
        channels=channels,
        min_size=least,
    )


def gray(x: Array) -> Array:
    """Returns the luma [N, H, W, 1] of x [N, H, W, 3]; one channel stays as it is."""
    if x.shape[-1] == 1:
        return x
    return jnp.sum(x * jnp.asarray(LUMA, x.dtype)[None, None, None], -1, keepdims=True)


def _cells(
    x: Array, count: int, cell: int, *, soft: bool, border: int, padding: int
) -> dict[str, Array]:
    """Returns the taps up to the cells' histograms of 2 `count` directions.

    Args:
      x: [N, H, W, 3 or 1].
      count: orientations between 0 and π.
      cell: pixels a side.
      soft: share a gradient among the two nearest directions.
      border: pixels of zeros (mid-gray) around the image.
      padding: pixels of zeros around the bins.
    """
    values = gray(x)
    around = ((0, 0), (border, border), (border, border))
    v = jnp.pad(values[..., 0], around)  # [N, H + 2 border, W + 2 border]
    right = (v[:, 1:-1, 2:] - v[:, 1:-1, :-2]) / 2
    down = (v[:, 2:, 1:-1] - v[:, :-2, 1:-1]) / 2
    angles = np.pi / count * np.arange(2 * count, dtype=np.float32)
    derivatives = (
        right[..., None] * np.cos(angles)[None, None, None]
        + down[..., None] * np.sin(angles)[None, None, None]
    )  # [N, H', W', 2 O]

    # Both roots and angles have no gradient at 0; there it is 0, in any direction.
    squares = jnp.square(right) + jnp.square(down)
    some = squares > 0
    length = jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)
    if soft:
        angle = jnp.arctan2(jnp.where(some, down, 0), jnp.where(some, right, 1))
        apart = angle[..., None] - angles[None, None, None]  # -3π … π
        apart = jnp.abs(jnp.where(apart < -np.pi, apart + 2 * np.pi, apart))
        weights = jnp.maximum(1 - apart * (count / np.pi), 0)
    else:
        nearest = jnp.argmax(derivatives, axis=-1)
        weights = jax.nn.one_hot(nearest, 2 * count, dtype=length.dtype)
    bins = length[..., None] * weights

    rows = _pooling(bins.shape[1], cell, padding)
    columns = _pooling(bins.shape[2], cell, padding)
    cells = jnp.einsum("hy,nywk->nhwk", rows, bins, precision=_HIGHEST)
    cells = jnp.einsum("wx,nhxk->nhwk", columns, cells, precision=_HIGHEST)
    return {"gray": values, "derivatives": derivatives, "bins": bins, "cells": cells}


def _pooling(size: int, cell: int, padding: int) -> np.ndarray:
    """Returns [cells, size]: how much of each pixel goes to each cell, bilinearly."""
    count = (size + 2 * padding - 2 * cell) // cell + 1
    centers = cell * np.arange(count) + cell - 0.5 - padding
    apart = np.abs(np.arange(size)[None] - centers[:, None]) / cell
    return np.maximum(1 - apart, 0).astype(np.float32)


def _clamped(x: Array) -> Array:
    return jnp.where(x > CLAMP, CLAMP, x)


_PLACES = ((0, 0), (1, 0), (0, 1), (1, 1))
"""Cells of a block, (row, column), in the order in which they are stacked."""


def _pairs(cells: Array) -> Array:
    """Stacks cells [N, h, w, K] into blocks of 2 × 2, [N, h - 1, w - 1, 4 K]."""
    h, w = cells.shape[1] - 1, cells.shape[2] - 1
    return jnp.concatenate([cells[:, i : i + h, j : j + w] for i, j in _PLACES], -1)


def _apart(blocks: Array) -> Array:
    """Takes blocks [N, h - 1, w - 1, 4 K] apart: half the sum of a cell's four places.

    Returns:
      [N, h, w, K]; a cell at the border is in fewer than four blocks.
    """
    h, w = blocks.shape[1] + 1, blocks.shape[2] + 1
    wide = jnp.pad(blocks, ((0, 0), (1, 1), (1, 1), (0, 0)))  # [N, h + 1, w + 1, 4 K]
    parts = jnp.split(wide, 4, axis=-1)
    # The cell is at place (i, j) of the block that starts i rows above it.
    seen = [
        part[:, 1 - i : 1 - i + h, 1 - j : 1 - j + w]
        for part, (i, j) in zip(parts, _PLACES, strict=True)
    ]
    return 0.5 * sum(seen)


def _windows(cells: Array, stride: int) -> Array:
    """Stacks 4 × 4 cells under a Gaussian window, at every `stride`-th cell.

    Args:
      cells: [N, h, w, K].

    Returns:
      [N, h', w', 16 K], rows of a window first.
    """
    h = (cells.shape[1] - 4) // stride * stride + 1
    w = (cells.shape[2] - 4) // stride * stride + 1
    parts = []
    for i in range(4):
        for j in range(4):
            squares = (i - 1.5) ** 2 + (j - 1.5) ** 2
            weight = float(np.exp(-0.5 * squares / GAUSSIAN**2))
            parts.append(weight * cells[:, i : i + h : stride, j : j + w : stride])
    return jnp.concatenate(parts, axis=-1)
