"""How the gradients of a picture point: whether it has the orientations of photos.

Mahendran & Vedaldi 2016 measure how natural a picture is by its histogram of gradient
orientations, weighted by magnitude, against that of photos.
"""

import numpy as np

from dreamjax.errors import require

BINS = 18


def gradient_histogram(plane: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Returns the shares of gradient orientations -180° … 180°, [bins], summing to 1.

    Gradients are differences across two pixels, inside the border; each counts with its
    length. All 0 for a flat plane.

    Args:
      plane: [H, W].
      bins: of 360/bins degrees.

    Raises:
      ValueError: no plane of at least 3 × 3.
    """
    plane = np.asarray(plane, np.float64)
    shaped = plane.ndim == 2 and min(plane.shape) >= 3
    require(shaped, "plane", plane.shape, "[H, W] of at least 3 × 3")
    down = (plane[2:, 1:-1] - plane[:-2, 1:-1]) / 2
    right = (plane[1:-1, 2:] - plane[1:-1, :-2]) / 2
    length, angle = np.hypot(down, right), np.arctan2(down, right)
    place = np.floor((angle + np.pi) / (2 * np.pi) * bins).astype(int) % bins
    found = np.bincount(place.ravel(), weights=length.ravel(), minlength=bins)
    return found / max(found.sum(), 1e-30)


def intersection(first: np.ndarray, second: np.ndarray) -> float:
    """Returns `Σ min(p, q)` of histograms of sum 1: 1 for the same, 0 for disjoint."""
    return float(np.minimum(first, second).sum())
