"""Color decorrelation: axes along which the colors of photos do not vary together.

The matrix is the square root of the color covariance of ImageNet, as in Lucid (and, to
the digit, Lucent, Captum and torch-dreams). Divided by its largest column norm it maps
decorrelated values to RGB, `rgb = values @ COLOR.T`.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import require
from dreamjax.json_file import listed, number, read_json, record
from dreamjax.paths import given_path
from dreamjax.types import Array

COLOR_SQRT = np.array(
    [[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float64
)
COLOR = COLOR_SQRT / np.linalg.norm(COLOR_SQRT, axis=0).max()
COLOR_INVERSE = np.linalg.inv(COLOR)
COLOR_MEAN = np.array([0.48, 0.46, 0.41], np.float32)
"""Mean color of ImageNet; added where no sigmoid sets the center."""


class ColorSpace(NamedTuple):
    """Axes of color that vary apart, of some set of photos.

    Attributes:
      matrix: [3, 3], `rgb = values @ matrix.T`; its largest column norm is 1.
      mean: [3], their mean color.
    """

    matrix: np.ndarray
    mean: np.ndarray


IMAGENET = ColorSpace(COLOR, COLOR_MEAN)
ROW = listed(number, least=3, most=3)
SCHEMA = record({"root": listed(ROW, least=3, most=3), "mean": ROW})
MOST = 1_000_000  # bytes of a file of colors


def color_space(root: np.ndarray, mean: np.ndarray) -> ColorSpace:
    """Returns the color space of a root of a covariance, with Lucid's normalization.

    Args:
      root: [3, 3] with `root @ root.T` the covariance of RGB in [0, 1].
      mean: [3] in [0, 1].

    Raises:
      ValueError: another shape, a value that is not finite, no inverse.
    """
    root, mean = np.asarray(root, np.float64), np.asarray(mean, np.float64)
    shaped = root.shape == (3, 3) and mean.shape == (3,)
    require(shaped, "root, mean", (root.shape, mean.shape), "give [3, 3] and [3]")
    finite = bool(np.isfinite(root).all() and np.isfinite(mean).all())
    require(finite, "root, mean", (root.tolist(), mean.tolist()), "finite numbers")
    matrix = root / max(np.linalg.norm(root, axis=0).max(), 1e-12)
    allowed = "three axes that are independent (gray photos have one)"
    require(abs(np.linalg.det(matrix)) > 1e-6, "root", root.tolist(), allowed)
    return ColorSpace(matrix, mean.astype(np.float32))


def read_color_space(path: str | Path) -> ColorSpace:
    """Returns the color space of a JSON file, as `experiments.colors` writes it.

    Raises:
      ValueError: no such file, or not one with "root" and "mean".
    """
    try:
        path = given_path("color", path)
        found = read_json(path, "color file", schema=SCHEMA, most=MOST)
    except FileNotFoundError:
        raise ValueError(f"color={str(path)!r} does not exist.") from None
    return color_space(found["root"], found["mean"])


def to_rgb(values: Array, space: ColorSpace = IMAGENET) -> Array:
    """Maps decorrelated values [..., 3] to RGB [..., 3], still centered on 0."""
    return _mixed(values, space.matrix)


def from_rgb(rgb: Array, space: ColorSpace = IMAGENET) -> Array:
    """The inverse of `to_rgb`."""
    return _mixed(rgb, np.linalg.inv(space.matrix))


def _mixed(values: Array, matrix: np.ndarray) -> Array:
    """Returns `values @ matrix.T` [..., 3], exactly and with no matmul.

    A matmul of three columns is a pass over the image of its own on CPU, five times as
    long as the arithmetic, and on a GPU it is rounded to TF32.
    """

    @jax.custom_vjp
    def mix(values):
        shape = (*(1,) * (values.ndim - 1), 3)
        return sum(
            values[..., i : i + 1]
            * jnp.asarray(matrix[:, i], values.dtype).reshape(shape)
            for i in range(3)
        )

    mix.defvjp(lambda values: (mix(values), None), lambda _, g: (_mixed(g, matrix.T),))
    return mix(values)
