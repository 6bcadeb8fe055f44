"""Scene cuts: where a dream must not go on."""

import numpy as np

CONSISTENT = 0.2
"""A cut has flows that agree on less than this share of the picture."""

COLORS = 0.4
"""A cut changes more than this share of the color histogram."""

_LEVELS = 8  # per channel


def is_cut(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> bool:
    """Returns whether another scene begins with `after`.

    Both must hold: the flows between the two agree on less than `CONSISTENT` of the
    pixels, and more than `COLORS` of the histogram has changed. A pan or turn too fast
    for the flow keeps its colors; a flash or a fade keeps its flow.

    Args:
      before: [H, W, 3] in [0, 1].
      after: the same shape.
      mask: [H, W], `consistency` of the flows between them.
    """
    return float(np.mean(mask)) < CONSISTENT and color_change(before, after) > COLORS


def color_change(before: np.ndarray, after: np.ndarray) -> float:
    """Returns the share of pixels that must change color to make one the other.

    Half the L1 distance of the two color histograms of 8 × 8 × 8 bins: 0 … 1.

    Args:
      before: [H, W, 3] in [0, 1].
      after: the same shape.
    """
    return 0.5 * float(np.sum(np.abs(_histogram(before) - _histogram(after))))


def _histogram(image: np.ndarray) -> np.ndarray:
    levels = np.clip(image * _LEVELS, 0, _LEVELS - 1).astype(np.intp)
    codes = (levels[..., 0] * _LEVELS + levels[..., 1]) * _LEVELS + levels[..., 2]
    return np.bincount(codes.ravel(), minlength=_LEVELS**3) / codes.size
