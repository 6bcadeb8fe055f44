"""Octaves: the sizes at which a picture is dreamed, and how it passes between them."""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from dreamjax.errors import choose, require

RESIZES = ("corner", "smooth")
LEAST = 16  # pixels of the short side; smaller octaves are left out


def octave_sizes(
    size: tuple[int, int], count: int, scale: float, *, circle: int = 0
) -> list[tuple[int, int]]:
    """Returns the sizes (H, W) of the octaves, the smallest first.

    Each is the next larger one divided by `scale` and rounded, as in the 2015 notebook:
    575 × 1024 by 1.4 gives 411 × 731, 294 × 522, 210 × 373.

    Args:
      size: (H, W) of the last octave.
      count: octaves; those with a side under `LEAST` pixels are left out.
      scale: above 1.
      circle: of a panorama, the step of its widths; heights are half of these.

    Raises:
      ValueError: a count below 1, a scale not above 1.
    """
    require(count >= 1, "octaves", count, "at least 1")
    require(scale > 1, "octave_scale", scale, "above 1")
    sizes = [size]
    while len(sizes) < count:
        height, width = (round(n / scale) for n in sizes[-1])
        if circle:
            width = max(circle, round(width / circle) * circle)
            height = width // 2
        if min(height, width) < LEAST:
            break
        sizes.append((height, width))
    return sizes[::-1]


class Resize(NamedTuple):
    """How a picture [H, W, C] changes its size.

    Attributes:
      kind: "corner" is linear interpolation that keeps the corner pixels in place,
        without antialiasing: `scipy.ndimage.zoom` of order 1, as in 2015. "smooth" is a
        triangle filter as wide as the reduction asks for.
      wraps: the width is a circle.
    """

    kind: str
    wraps: bool = False

    def __call__(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if image.shape[:2] == tuple(size):
            return image
        if self.wraps:
            return _wrapped(self._replace(wraps=False), image, size)
        if self.kind == "corner":
            factors = (size[0] / image.shape[0], size[1] / image.shape[1], 1)
            return ndimage.zoom(image, factors, order=1)
        planes = [
            np.asarray(
                Image.fromarray(image[..., c].astype(np.float32), mode="F").resize(
                    size[::-1], Image.Resampling.BILINEAR
                )
            )
            for c in range(image.shape[2])
        ]
        return np.stack(planes, axis=-1)


def resizer(kind: str, *, wraps: bool = False) -> Resize:
    """Returns a `Resize`.

    Raises:
      ValueError: an unknown kind; one that has corners for a circle.
    """
    choose("resize", kind, RESIZES)
    require(not (wraps and kind == "corner"), "resize", kind, "a panorama is 'smooth'")
    return Resize(kind, wraps)


def _wrapped(resize: Resize, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a picture whose width is a circle: a piece more on both sides, then cut.

    The piece is a whole number of pixels before and after.
    """
    step = int(np.gcd(image.shape[1], size[1]))
    before, after = image.shape[1] // step, size[1] // step
    turns = -(-4 // min(before, after))
    old, new = before * turns, after * turns
    columns = np.arange(-old, image.shape[1] + old) % image.shape[1]
    wide = resize(image[:, columns], (size[0], size[1] + 2 * new))
    return wide[:, new : new + size[1]]
