"""What the networks are trained on: handwritten digits, and patches of photos."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreamjax.errors import require
from dreamjax.paths import given_variable

MNIST = "mnist_63000.npz"
WHITEN = 0.1
"""Added to the variances of whitened patches, as part of the largest: without it the
finest, faintest details are blown up to noise."""


class Data(NamedTuple):
    """Examples to train on.

    Attributes:
      name: "mnist", "digits" or "patches".
      images: [N, H, W] float32.
    """

    name: str
    images: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The images as rows, [N, H · W]."""
        return self.images.reshape(len(self.images), -1)

    @property
    def radius(self) -> float:
        """Mean norm of an image: that of the sphere to climb on."""
        return float(np.mean(np.linalg.norm(self.rows, axis=1)))


def data_folder() -> Path | None:
    """Returns the folder that DREAMJAX_DATA names, or None.

    Raises:
      ValueError: it names something that is not a folder.
    """
    folder = given_variable("DREAMJAX_DATA")
    if folder is not None:
        require(folder.is_dir(), "DREAMJAX_DATA", str(folder), "a folder")
    return folder


def digits(count: int | None = None) -> Data:
    """Returns handwritten digits, [N, H, W] in [0, 1].

    MNIST, 28 × 28, if the folder that DREAMJAX_DATA names has `mnist_63000.npz` (with
    "images", uint8 [N, 28, 28]); else scikit-learn's 1797 digits, 8 × 8.

    Args:
      count: at most so many, the first ones.

    Raises:
      ValueError: neither is there, or the file is another.
    """
    folder = data_folder()
    if folder is not None and (folder / MNIST).is_file():
        with np.load(folder / MNIST) as file:
            require("images" in file, MNIST, file.files, "an array named images")
            images = file["images"][:count]
        shaped = images.ndim == 3 and images.dtype == np.uint8
        require(shaped, MNIST, (images.shape, images.dtype), "uint8 [N, H, W]")
        return Data("mnist", images.astype(np.float32) / 255)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ValueError(
            "Digits need scikit-learn: pip install -r requirements-figures.txt; or let"
            f" DREAMJAX_DATA name a folder with {MNIST}."
        ) from error
    return Data("digits", load_digits().images[:count].astype(np.float32) / 16)


def patches(
    photos: Sequence[np.ndarray], *, side: int, count: int, seed: int
) -> tuple[Data, np.ndarray]:
    """Returns whitened gray patches of photos, and the matrix that whitened them.

    Means are taken off, and every direction's variance v is divided by v + 0.1 of the
    largest one (ZCA); then all values have variance 1 together.

    Args:
      photos: [H, W, 3] in [0, 1] each.
      side: of a patch, in pixels.
      count: patches, evenly from all photos.
      seed: of their places.

    Returns:
      (patches [count, side, side], the matrix [side², side²] that whitens a patch).
    """
    random, found = np.random.default_rng(seed), []
    for number in range(count):
        gray = photos[number % len(photos)]
        y, x = (random.integers(0, n - side + 1) for n in gray.shape[:2])
        found.append(gray[y : y + side, x : x + side].mean(axis=2).ravel())
    rows = np.asarray(found, np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    rows -= rows.mean(axis=0)
    values, vectors = np.linalg.eigh(rows.T @ rows / count)
    scale = 1 / np.sqrt(np.maximum(values, 0) + WHITEN * values.max())
    matrix = vectors * scale @ vectors.T
    white = rows @ matrix.T
    size = white.std()
    images = (white / size).astype(np.float32).reshape(count, side, side)
    return Data("patches", images), (matrix / size).astype(np.float32)
