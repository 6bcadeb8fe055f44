"""Sample entropy of a signal, at one or many time scales.

SampEn = -log(A / B): B counts pairs of stretches of `length` samples that stay within
`radius` of each other, A those that still do one sample later. Regular signals have 0.

References: Richman and Moorman 2000, "Physiological time-series analysis using
approximate entropy and sample entropy", Am. J. Physiol. 278; Costa, Goldberger and
Peng 2002, "Multiscale entropy analysis of complex physiologic time series", Phys. Rev.
Lett. 89.
"""

import math

import numpy as np
from scipy.spatial import KDTree

from dreamjax.errors import require
from dreamjax.measures.signal import checked, is_constant


def sample_entropy(
    signal: np.ndarray, length: int = 2, radius: float | None = None
) -> float:
    """Returns `-log(A / B)` in nats.

    A and B count pairs i < j of the N - length stretches that can be continued, with
    the largest difference of two samples at most `radius`. Gaussian white noise has
    -log erf(radius / (2 sd)), 2.185 at the default radius.

    Args:
      signal: [N], N >= length + 3.
      length: samples per stretch.
      radius: in the signal's units; None means .2 standard deviations.

    Returns:
      0 for a constant. Where no pair matches (A or B is 0) the largest value that a
      match could have given, log of the number of pairs.
    """
    require(length >= 1, "length", length, "at least 1 sample")
    signal = checked(signal, length + 3)
    if is_constant(signal, float(np.abs(signal).max())):
        return 0.0
    if radius is None:
        radius = 0.2 * float(signal.std())
    require(radius >= 0, "radius", radius, "at least 0")
    starts = np.arange(len(signal) - length)
    longer = signal[starts[:, None] + np.arange(length + 1)]  # [N - length, length + 1]
    matches = _pairs(longer[:, :length], radius)
    continued = _pairs(longer, radius)
    if continued == 0:
        return math.log(len(starts) * (len(starts) - 1) / 2)
    return math.log(matches / continued)


def coarse_grained(signal: np.ndarray, scale: int) -> np.ndarray:
    """Returns the means of consecutive stretches of `scale` samples, [N // scale]."""
    require(scale >= 1, "scale", scale, "at least 1 sample")
    signal = checked(signal, scale)
    whole = len(signal) // scale
    return signal[: whole * scale].reshape(whole, scale).mean(axis=1)


def multiscale_entropy(
    signal: np.ndarray, scales: int = 10, length: int = 2, tolerance: float = 0.2
) -> np.ndarray:
    """Returns sample entropy of the signal averaged over 1 to `scales` samples.

    The radius is `tolerance` standard deviations of the signal itself at every scale.
    So white noise falls with the scale s, to -log erf(tolerance sqrt(s) / 2), and 1/f
    noise stays level.

    Args:
      signal: [N], N >= scales (length + 3).
      scales: the largest scale.
      length: samples per stretch.
      tolerance: in standard deviations.

    Returns:
      [scales], nats; zeros for a constant.
    """
    require(scales >= 1, "scales", scales, "at least 1")
    require(tolerance >= 0, "tolerance", tolerance, "at least 0")
    signal = checked(signal, scales * (length + 3))
    if is_constant(signal, float(np.abs(signal).max())):
        return np.zeros(scales)
    radius = tolerance * float(signal.std())
    grained = [coarse_grained(signal, scale) for scale in range(1, scales + 1)]
    return np.array([sample_entropy(part, length, radius) for part in grained])


def _pairs(points: np.ndarray, radius: float) -> int:
    """Returns how many pairs of rows differ by at most `radius` in every column."""
    tree = KDTree(points)
    both_ways = int(tree.count_neighbors(tree, radius, p=np.inf))
    return (both_ways - len(points)) // 2
