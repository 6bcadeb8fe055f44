"""Many small pictures as one: filters, prototypes, samples."""

from collections.abc import Sequence

import numpy as np

from dreamjax.errors import require
from dreamjax.figures.panels import stretched


def tiled(
    pictures: Sequence[np.ndarray], *, columns: int, gap: int = 2, zoom: int = 1
) -> np.ndarray:
    """Returns pictures side by side on white, each stretched to its own full contrast.

    Args:
      pictures: [N, H, W] or [N, H, W, C], of any range.
      columns: of the mosaic.
      gap: pixels between them, before the zoom.
      zoom: pixels of the result for one of a picture, so that pixels stay squares.

    Returns:
      [rows (H + gap) - gap, columns (W + gap) - gap, …] in [0, 1], times the zoom.
    """
    pictures = np.asarray(pictures, np.float32)
    require(pictures.ndim in (3, 4), "pictures", pictures.shape, "[N, H, W] or … C]")
    count, height, width, *rest = pictures.shape
    rows = -(-count // columns)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap, *rest)
    whole = np.ones(size, np.float32)
    for number, picture in enumerate(pictures):
        y = number // columns * (height + gap)
        x = number % columns * (width + gap)
        whole[y : y + height, x : x + width] = stretched(picture, 0)
    return whole.repeat(zoom, axis=0).repeat(zoom, axis=1)
