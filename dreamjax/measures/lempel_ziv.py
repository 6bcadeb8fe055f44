"""Lempel-Ziv complexity of signals: how many phrases a dictionary coder needs.

A signal becomes a string of bits: its linear trend is removed, the instantaneous
amplitude |Hilbert transform| is taken and compared with its own mean. The string is
coded by LZW, and the number of phrases is divided by that of the same bits in random
order. Random strings have 1, predictable ones tend to 0. (The z-scoring that is usual
before the transform changes nothing, since every channel has a threshold of its own.)

At N = 2500 samples and 250 Hz: white noise about .97, pink .88, brown .39 (with a
spread of .06 between draws), a sine of 10 Hz .52 to .54 (its amplitude is constant but
for the ends and what the removed trend leaves), the same sine with its amplitude
modulated at 0.5 Hz .26.

References: Welch 1984, "A technique for high-performance data compression";
Schartner et al. 2015, "Complexity of multi-dimensional spontaneous EEG decreases
during propofol induced general anaesthesia", PLoS ONE 10(8) (LZc; one shuffled string,
where here `shuffles` are averaged).
"""

from collections.abc import Sequence

import numpy as np
from scipy.signal import detrend, hilbert

from dreamjax.errors import require
from dreamjax.measures.signal import checked, is_constant


def binarized(signal: np.ndarray) -> np.ndarray:
    """Returns where the amplitude of the detrended signal exceeds its mean, bool [N].

    All False for a constant and for a straight line: there is no amplitude.
    """
    signal = checked(signal, 2)
    rest = detrend(signal)
    scale = float(np.abs(signal).max())
    if is_constant(rest, scale):
        return np.zeros(signal.shape, bool)
    amplitude = np.abs(hilbert(rest))
    if is_constant(amplitude, scale):
        return np.zeros(signal.shape, bool)
    return amplitude > amplitude.mean()


def phrases(bits: np.ndarray) -> int:
    """Returns the number of phrases that LZW learns from a string of bits.

    Read the longest phrase that is known (one bit always is), learn it with the next
    bit added, go on from that bit. The first bit counts as a phrase.
    """
    string = np.asarray(bits, bool).ravel().tolist()
    if not string:
        return 0
    # A phrase is a number; its children are the phrases one bit longer. 0 and 1 are
    # the phrases of one bit.
    children: dict[tuple[int, bool], int] = {}
    phrase, count = int(string[0]), 2
    for bit in string[1:]:
        longer = children.get((phrase, bit))
        if longer is None:
            children[phrase, bit] = count
            count += 1
            phrase = int(bit)
        else:
            phrase = longer
    return count - 1


def relative_phrases(bits: np.ndarray, seed: int = 0, shuffles: int = 1) -> float:
    """Returns `phrases` over the mean of it for the same bits in random order.

    Args:
      bits: a string of bits; other shapes are read row by row.
      seed: of the random orders.
      shuffles: how many random orders are averaged, at least 1.

    Returns:
      About 1 for random bits, 0 where all bits are equal (their order is no
      information; without this rule the ratio would be 1).
    """
    require(shuffles >= 1, "shuffles", shuffles, "at least 1")
    bits = np.asarray(bits, bool).ravel()
    if bits.size < 2 or bits.all() or not bits.any():
        return 0.0
    rng = np.random.default_rng(seed)
    shuffled = [phrases(rng.permutation(bits)) for _ in range(shuffles)]
    return float(phrases(bits) / np.mean(shuffled))


def lz_single(signal: np.ndarray, seed: int = 0, shuffles: int = 1) -> float:
    """Returns LZs, the relative number of phrases of one signal [N]; 0 if constant."""
    return relative_phrases(binarized(signal), seed, shuffles)


def lz_channels(
    signals: np.ndarray | Sequence[np.ndarray], seed: int = 0, shuffles: int = 1
) -> float:
    """Returns LZc, the relative number of phrases of several signals together.

    The bits of all channels at the first sample, then all at the second, and so on:
    phrases are shared patterns across channels first, in time second.

    Args:
      signals: [C, N], one row per channel.
      seed, shuffles: as in `relative_phrases`.
    """
    signals = np.asarray(signals, np.float64)
    shaped = signals.ndim == 2 and signals.size > 0
    require(shaped, "signals.shape", signals.shape, "give [C, N]")
    bits = np.stack([binarized(signal) for signal in signals])
    return relative_phrases(bits.T, seed, shuffles)
