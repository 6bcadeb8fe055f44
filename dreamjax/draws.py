"""Drawn hyperparameters: distributions in text, and designs of their samples.

A distribution is its quantile function, from u in [0, 1) to a value; a design says
which u the samples of each hyperparameter get. So every distribution works in every
design: independent draws, a Latin hypercube, or a Sobol sequence.

Names are taken in alphabetical order, and what is random about a name's samples comes
from a stream of its own, seeded by the seed and the name. Adding a hyperparameter
changes no draw of another one, but for Sobol: there it takes a dimension of the
sequence, and names that sort after it move to the next.

SciPy is imported where it is asked for: it takes as long as all else that a start
imports, and most sweeps draw nothing.
"""

import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dreamjax.errors import choose, require
from dreamjax.text import parse_call

BELOW_ONE = math.nextafter(1.0, 0.0)
TINY = 2.0**-54  # stands for u = 0, where a normal quantile is -inf


class Distribution(NamedTuple):
    """What a hyperparameter is drawn from.

    Attributes:
      quantile: u in [0, 1) -> value, not decreasing in the order of the values.
      bits: of u in independent draws. 32 for whole numbers and choices: those are
        what NumPy's `Generator.integers` gives, where 53 would give other values.
    """

    quantile: Callable[[float], Any]
    bits: int = 53


def uniform(low: float, high: float) -> Distribution:
    """Even between low and high: `low + (high - low) u`."""
    require(low <= high, "uniform", (low, high), "low <= high")
    return Distribution(lambda u: float(low + (high - low) * u))


def log_uniform(low: float, high: float) -> Distribution:
    """Even in the logarithm between low and high, both above 0."""
    require(0 < low <= high, "log_uniform", (low, high), "0 < low <= high")
    first, last = math.log(low), math.log(high)

    def quantile(u: float) -> float:  # rounding may lead out of the bounds
        return float(min(max(math.exp(first + (last - first) * u), low), high))

    return Distribution(quantile)


def normal(mean: float, std: float) -> Distribution:
    """Normal: `mean + std Φ⁻¹(u)`. It has no bounds; 1 in 370 is 3 std away."""
    from scipy.special import ndtri

    require(std >= 0, "normal", (mean, std), "std >= 0")
    return Distribution(lambda u: float(mean + std * ndtri(max(u, TINY))))


def log_normal(median: float, factor: float) -> Distribution:
    """Normal in the logarithm: `median · factor^Φ⁻¹(u)`.

    Two thirds of the values lie within a factor of `factor` of the median.
    """
    from scipy.special import ndtri

    allowed = "median > 0 and factor >= 1"
    require(median > 0 and factor >= 1, "log_normal", (median, factor), allowed)
    return Distribution(lambda u: float(median * factor ** ndtri(max(u, TINY))))


def choice(*values: Any) -> Distribution:
    """One of the values, each entry as likely: `values[⌊n u⌋]`.

    A value that is written several times is as many times as likely:
    `choice(0, 0, 0, 30)` is 30 in a quarter of the runs.
    """
    require(len(values) > 0, "choice", values, "at least one value")
    return Distribution(lambda u: values[int(u * len(values))], bits=32)


def integers(low: int, high: int) -> Distribution:
    """A whole number from low to high, both included: `low + ⌊(high - low + 1) u⌋`."""
    require(low <= high, "integers", (low, high), "low <= high")
    return Distribution(lambda u: low + int(u * (high - low + 1)), bits=32)


DISTRIBUTIONS = {
    "uniform": uniform,
    "log_uniform": log_uniform,
    "normal": normal,
    "log_normal": log_normal,
    "choice": choice,
    "integers": integers,
}

Design = Callable[[Sequence[Distribution], int, Sequence[np.random.Generator]], Any]
"""(distributions, samples, a stream for each) -> u [samples, distributions]."""


def random(
    among: Sequence[Distribution], samples: int, streams: Sequence[np.random.Generator]
) -> np.ndarray:
    """Independent draws: the first n of more samples are the same."""
    columns = [
        stream.integers(2**32, size=samples, dtype=np.uint32) / 2**32
        if distribution.bits == 32
        else stream.random(samples)
        for distribution, stream in zip(among, streams, strict=True)
    ]
    return np.stack(columns, axis=1)


def latin(
    among: Sequence[Distribution], samples: int, streams: Sequence[np.random.Generator]
) -> np.ndarray:
    """A Latin hypercube: of n samples each n-th of each distribution has exactly one.

    Each hyperparameter alone is spread as evenly as it can be; pairs are not. It cannot
    be extended: other samples are another design, every one of its points different.
    McKay, Beckman and Conover 1979.
    """
    from scipy.stats import qmc

    columns = [qmc.LatinHypercube(1, seed=s).random(samples)[:, 0] for s in streams]
    return np.stack(columns, axis=1)


def sobol(
    among: Sequence[Distribution], samples: int, streams: Sequence[np.random.Generator]
) -> np.ndarray:
    """A scrambled Sobol sequence: evenly spread in every few hyperparameters together.

    It can be extended: the first n of more samples are the same points. Balanced are
    powers of two: of the first 2^m samples each 2^m-th of each distribution has
    exactly one. Sobol 1967 with the scrambles of Matoušek 1998 and the direction
    numbers of Joe and Kuo 2008, all SciPy's.

    Dimension i belongs to the i-th name and is scrambled by that name's own stream:
    a name that sorts last changes no other.
    """
    from scipy.stats import qmc

    most = qmc.Sobol.MAXDIM
    require(len(among) <= most, "draws", "sobol", f"at most {most} drawn names")
    power = math.ceil(math.log2(samples))  # a shorter call warns of lost balance
    columns = [
        qmc.Sobol(i + 1, seed=stream).random_base2(power)[:samples, i]
        for i, stream in enumerate(streams)
    ]
    return np.stack(columns, axis=1)


DESIGNS: dict[str, Design] = {"random": random, "latin": latin, "sobol": sobol}


def is_drawn(values: Sequence[Any]) -> bool:
    """Tells whether a hyperparameter's values are one distribution in text."""
    text = values[0] if len(values) == 1 else None
    return isinstance(text, str) and re.fullmatch(r"\w+\(.*\)", text) is not None


def draw(
    drawn: Mapping[str, str], *, samples: int, seed: int, design: str
) -> list[dict[str, Any]]:
    """Returns the samples of drawn hyperparameters, each a dict of one value per name.

    Args:
      drawn: name -> distribution in text, such as "log_uniform(1e-4, 1)".
      samples: how many.
      seed: of the streams; at least 0.
      design: "random", "latin" or "sobol".

    Raises:
      ValueError: an unknown design or distribution, or numbers that it cannot have.
    """
    points = DESIGNS[choose("draws", design, DESIGNS)]
    names = sorted(drawn)
    if not names:
        return [{} for _ in range(samples)]
    require(seed >= 0, "seed", seed, "at least 0")
    among = [_parse(name, drawn[name]) for name in names]
    u = np.clip(points(among, samples, [_stream(seed, n) for n in names]), 0, BELOW_ONE)
    return [
        {
            name: _value(name, distribution, x)
            for name, distribution, x in zip(names, among, row, strict=True)
        }
        for row in u.tolist()
    ]


def _value(name: str, distribution: Distribution, u: float) -> Any:
    try:
        value = distribution.quantile(u)
        finite = isinstance(value, str) or math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError(f"hparams.{name}: its distribution gives no finite numbers.")
    return value


def _parse(name: str, text: str) -> Distribution:
    return parse_call(text, argument=f"hparams.{name}", functions=DISTRIBUTIONS)


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
