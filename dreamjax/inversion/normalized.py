"""Errors of inversions in units of how far apart different photos' features are."""

from typing import NamedTuple

import numpy as np

from dreamjax.errors import require


class Normalized(NamedTuple):
    """Errors of N inversions, each [N].

    Attributes:
      squared: `‖Φ - Φ₀‖² / mean_ij ‖Φ₀ᵢ - Φ₀ⱼ‖²`, as Mahendran & Vedaldi's code has it;
        the mean is over all pairs, i = j among them.
      plain: `‖Φ - Φ₀‖ / mean_i≠j ‖Φ₀ᵢ - Φ₀ⱼ‖`, as their text reads.
    """

    squared: np.ndarray
    plain: np.ndarray


def normalized(found: np.ndarray, wanted: np.ndarray) -> Normalized:
    """Returns the errors of features `found` [N, ...] of photos' features `wanted`.

    Raises:
      ValueError: fewer than two photos, or photos whose features are the same.
    """
    count = len(wanted)
    require(count >= 2, "wanted", count, "features of at least two photos")
    a, b = (np.asarray(x, np.float64).reshape(count, -1) for x in (found, wanted))
    gram = b @ b.T
    sizes = np.diag(gram)
    squares = np.maximum(sizes[:, None] + sizes[None] - 2 * gram, 0)
    np.fill_diagonal(squares, 0)
    require(bool(squares.any()), "wanted", "equal features", "different photos")
    errors = np.sum(np.square(a - b), axis=1)
    apart = np.sqrt(squares).sum() / (count * (count - 1))
    return Normalized(errors / squares.mean(), np.sqrt(errors) / apart)
