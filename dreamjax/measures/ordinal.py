"""Order patterns of a signal: permutation entropy and statistical complexity.

Every `order` samples, `delay` apart, have one of order! rank patterns. With p the share
of each pattern, permutation entropy is H = -Σ p log p / log order!, in [0, 1]. The
statistical complexity is C = H · D / D_max, D the Jensen-Shannon divergence from p to
the uniform distribution: 0 for order and for randomness, large between. (H, C) is a
point of the entropy-complexity plane.

Equal samples rank in the order in which they come, so a constant signal counts as a
ramp: H = C = 0.

References: Bandt and Pompe 2002, "Permutation entropy", Phys. Rev. Lett. 88; Lamberti
et al. 2004, "Intensive entropic non-triviality measure", Physica A 334; Rosso et al.
2007, "Distinguishing noise from chaos", Phys. Rev. Lett. 99.
"""

import math

import numpy as np

from dreamjax.errors import require
from dreamjax.measures.signal import checked


def pattern_shares(signal: np.ndarray, order: int = 4, delay: int = 1) -> np.ndarray:
    """Returns the share of each rank pattern, [order!], summing to 1.

    Args:
      signal: [N]; N should be well above order!, or the entropy is too low by about
        (order! - 1) / (2 N log order!).
      order: samples per pattern, 2 to 8.
      delay: distance of the samples.
    """
    require(2 <= order <= 8, "order", order, "2 to 8 samples per pattern")
    require(delay >= 1, "delay", delay, "at least 1 sample")
    signal = checked(signal, (order - 1) * delay + 1)
    span = len(signal) - (order - 1) * delay
    index = np.arange(span)[:, None] + delay * np.arange(order)[None, :]
    ranks = np.argsort(signal[index], axis=1, kind="stable")  # [span, order]
    # The number of a permutation (Lehmer code): for each place, how many later
    # entries are smaller, times the factorial of the places left.
    code = np.zeros(span, np.int64)
    for place in range(order - 1):
        smaller = (ranks[:, place + 1 :] < ranks[:, place : place + 1]).sum(axis=1)
        code += smaller * math.factorial(order - 1 - place)
    return np.bincount(code, minlength=math.factorial(order)) / span


def permutation_entropy(signal: np.ndarray, order: int = 4, delay: int = 1) -> float:
    """Returns H in [0, 1]: 0 for ramps and constants, about 1 for white noise."""
    shares = pattern_shares(signal, order, delay)
    return _entropy(shares) / math.log(shares.size)


def statistical_complexity(signal: np.ndarray, order: int = 4, delay: int = 1) -> float:
    """Returns C in [0, 1): 0 for ramps and constants, about 0 for white noise."""
    shares = pattern_shares(signal, order, delay)
    n = shares.size
    divergence = _entropy((shares + 1 / n) / 2) - (_entropy(shares) + math.log(n)) / 2
    # D of one pattern alone, the largest there is.
    largest = (2 * math.log(2 * n) - math.log(n) - (n + 1) / n * math.log(n + 1)) / 2
    complexity = divergence / largest * _entropy(shares) / math.log(n)
    return max(0.0, complexity)  # rounding of the difference


def _entropy(shares: np.ndarray) -> float:
    """Returns -Σ p log p in nats; never -0."""
    p = shares[shares > 0]
    return max(0.0, float(-(p * np.log(p)).sum()))
