"""The gradient of a large picture from tiles without overlap, as in the 2016 notebook.

Its tiles are images of their own: along their borders the gradient is another, which a
new random shift at every step spreads over the picture. `dreamjax.deepdream.tiles` cuts
tiles so that nothing has to be spread; this is what it is compared with.
"""

from collections.abc import Callable

import numpy as np

from dreamjax.errors import require


def tiled_gradient(
    gradient: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: int,
    shift: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Returns the gradient [H, W, C] from square tiles of the shifted picture.

    Args:
      gradient: images [T, tile, tile, C] -> gradients of the same shape.
      image: [H, W, C], H and W multiples of `tile`.
      tile: pixels of a side.
      shift: (down, right); the picture is rolled there and the gradient back.

    Raises:
      ValueError: a size that is no multiple of `tile`.
    """
    height, width, channels = image.shape
    fits = height % tile == width % tile == 0
    require(fits, "image", image.shape, f"sides that are multiples of {tile}")
    rows, columns = height // tile, width // tile
    rolled = np.roll(image, shift, (0, 1))
    cut = rolled.reshape(rows, tile, columns, tile, channels).swapaxes(1, 2)
    found = gradient(cut.reshape(-1, tile, tile, channels))
    found = np.asarray(found).reshape(rows, columns, tile, tile, channels)
    whole = found.swapaxes(1, 2).reshape(image.shape)
    return np.roll(whole, (-shift[0], -shift[1]), (0, 1))


def error_by_distance(wrong: np.ndarray, right: np.ndarray, tile: int) -> np.ndarray:
    """Returns [tile // 2], the error of a gradient by distance from the nearest seam.

    `rms(wrong - right) / rms(right)` over the pixels so far from the inner borders of
    tiles of this size that begin at 0; the picture's own border is no seam.

    Args:
      wrong, right: [H, W, C].
    """
    squares = np.square(wrong - right).mean(axis=2)

    def distance(length: int) -> np.ndarray:
        seams = np.arange(tile, length, tile)
        middles = np.arange(length) + 0.5
        if len(seams) == 0:
            return np.full(length, float(length))
        return np.abs(middles[:, None] - seams[None, :]).min(axis=1)

    height, width = squares.shape
    near = np.minimum(distance(height)[:, None], distance(width)[None, :])
    scale = np.sqrt(np.square(right).mean())
    parts = [squares[(near >= d) & (near < d + 1)] for d in range(tile // 2)]
    errors = [np.sqrt(part.mean()) if part.size else np.nan for part in parts]
    return np.array(errors) / scale
