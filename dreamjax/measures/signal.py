"""What every measure of a signal asks of its argument."""

import numpy as np

from dreamjax.errors import require

CONSTANT = 1e-9
"""A spread of at most this share of the largest value is rounding, not signal."""


def checked(signal: np.ndarray, least: int) -> np.ndarray:
    """Returns a signal as float64 [N].

    Raises:
      ValueError: unless it has one axis, at least `least` samples, all finite.
    """
    signal = np.asarray(signal, np.float64)
    allowed = f"give [N] with N >= {least}"
    shaped = signal.ndim == 1 and signal.size >= least
    require(shaped, "signal.shape", signal.shape, allowed)
    finite = bool(np.isfinite(signal).all())
    require(finite, "signal", "NaN or infinity", "give finite samples")
    return signal


def is_constant(values: np.ndarray, scale: float) -> bool:
    """Returns whether the spread of values is rounding, measured at `scale`."""
    return bool(np.ptp(values) <= CONSTANT * scale)
