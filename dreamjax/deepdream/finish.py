"""After the dream: how much of it, where, and in whose colors."""

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of R'G'B', Rec. 601


def keep_color(dream: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Returns the photo's color at the dream's brightness.

    `photo + Y(dream) - Y(photo)` in all three channels, which leaves the color
    differences R - Y and B - Y the photo's; clipped to [0, 1].

    Args:
      dream, photo: [..., H, W, 3] in [0, 1].
    """
    lighter = (dream - photo) @ LUMA
    return np.clip(photo + lighter[..., None], 0, 1).astype(np.float32)


def blended(dream: np.ndarray, photo: np.ndarray, strength: float) -> np.ndarray:
    """Returns `(1 - strength) photo + strength dream`; 1 is the dream itself."""
    if strength == 1:
        return dream
    return ((1 - strength) * photo + strength * dream).astype(np.float32)
