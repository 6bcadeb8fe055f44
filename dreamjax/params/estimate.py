"""The colors of photos: their mean and covariance, and the root of that.

What is decorrelated by `dreamjax.params.color` are the colors of ImageNet; this finds
the axes of any other set of photos. Photos come one at a time, so a folder of any size
will do; each counts the same, whatever its size.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreamjax.errors import choose, require
from dreamjax.inputs import load_images, load_photo


class Colors(NamedTuple):
    """Sums over photos.

    Attributes:
      photos: how many.
      mean: [3], of RGB in [0, 1].
      scatter: [3, 3], photos · covariance.
    """

    photos: int
    mean: np.ndarray
    scatter: np.ndarray


NO_COLORS = Colors(0, np.zeros(3), np.zeros((3, 3)))


def with_photo(colors: Colors, image: np.ndarray) -> Colors:
    """Returns the sums with one more photo [H, W, 3] in [0, 1].

    Chan, Golub & LeVeque's update, which does not lose digits as sums of squares do.
    """
    pixels = np.asarray(image, np.float64).reshape(-1, 3)
    require(len(pixels) > 0, "image.shape", np.shape(image), "give [H, W, 3]")
    mean = pixels.mean(axis=0)
    centered = pixels - mean
    own = centered.T @ centered / len(pixels)
    apart, photos = mean - colors.mean, colors.photos + 1
    return Colors(
        photos,
        colors.mean + apart / photos,
        colors.scatter + own + np.outer(apart, apart) * colors.photos / photos,
    )


def colors_of(
    paths: Iterable[Path], longest: int, report: Callable[[str], None]
) -> Colors:
    """Returns the sums over picture files.

    Args:
      paths: of pictures; those that cannot be read are reported and skipped.
      longest: pixels of the longer side; larger pictures are reduced first.
      report: takes each line of what is said.

    Raises:
      ValueError: none could be read.
    """
    colors = NO_COLORS
    for _, image in load_images(paths, report, partial(load_photo, longest=longest)):
        colors = with_photo(colors, image)
    return colors


def covariance(colors: Colors) -> np.ndarray:
    """Returns the covariance of all pixels, [3, 3]; each photo weighs the same."""
    require(colors.photos > 0, "photos", colors.photos, "at least one")
    return colors.scatter / colors.photos


ROOTS = ("svd", "symmetric", "cholesky")


def square_root(matrix: np.ndarray, form: str = "svd") -> np.ndarray:
    """Returns a root of a covariance: `root @ root.T` is the matrix.

    The forms differ by a rotation of the values that a root is applied to, which
    changes neither the colors that noise has nor the metric that it makes.

    Args:
      matrix: [3, 3] of rank 3.
      form: "svd" is `U √S`: column i is a principal axis, the strongest first, as long
        as colors spread along it, its first entry positive (Lucid's); "symmetric" is
        `U √S Uᵀ`; "cholesky" is lower triangular.

    Raises:
      ValueError: an unknown form, a matrix without three axes.
    """
    choose("form", form, ROOTS)
    values, vectors = np.linalg.eigh(np.asarray(matrix, np.float64))
    allowed = "a covariance of rank 3 (gray photos have one axis)"
    require(values[0] > 1e-12, "matrix", np.asarray(matrix).tolist(), allowed)
    if form == "cholesky":
        return np.linalg.cholesky(matrix)
    if form == "symmetric":
        return (vectors * np.sqrt(values)) @ vectors.T
    axes = vectors[:, ::-1] * np.where(vectors[0, ::-1] < 0, -1.0, 1.0)
    return axes * np.sqrt(values[::-1])
