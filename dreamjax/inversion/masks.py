"""Masks on features: which units of a layer are to be matched."""

from collections.abc import Sequence

import numpy as np

from dreamjax.errors import require


def everything(shape: Sequence[int]) -> np.ndarray:
    """Returns ones of the shape of features, [h, w, K] or [K]."""
    return np.ones(tuple(shape), np.float32)


def neighborhood(shape: Sequence[int], side: int) -> np.ndarray:
    """Returns 1 at the side × side positions in the middle of [h, w, K], 0 elsewhere.

    Smaller maps are taken whole (Mahendran & Vedaldi 2015, figure 9: side 5).

    Raises:
      ValueError: features without positions.
    """
    require(len(shape) == 3, "shape", tuple(shape), "[h, w, K], with positions")
    mask = np.zeros(tuple(shape), np.float32)
    (top, bottom), (left, right) = (centered(n, side) for n in shape[:2])
    mask[top:bottom, left:right] = 1
    return mask


def centered(length: int, side: int) -> tuple[int, int]:
    """Returns the first and the end of `side` places in the middle of `length`."""
    require(side >= 1, "side", side, "at least 1")
    first = max((length - side) // 2, 0)
    return first, min(first + side, length)


def filter_group(shape: Sequence[int], group: int, groups: int = 2) -> np.ndarray:
    """Returns 1 for one of `groups` equal parts of the channels, in their order.

    AlexNet's two streams are its first and second half.
    """
    require(0 <= group < groups, "group", group, f"0 … {groups - 1}")
    channels = shape[-1]
    mask = np.zeros(tuple(shape), np.float32)
    ends = np.linspace(0, channels, groups + 1).round().astype(int)
    mask[..., ends[group] : ends[group + 1]] = 1
    return mask
