"""What is kept of everything that a tap answered: the few that matter, and statistics.

An example is one window of one picture; examples are numbered in the order in which
they are looked at. A ledger is the same whether it was shown them one by one or in
batches, which is what makes a long look at a large folder safe to interrupt.
"""

from typing import NamedTuple

import numpy as np

from dreamjax.mining.watch import Response

NONE = -1  # the number of no example


class Ranked(NamedTuple):
    """The strongest examples of each channel, the best first; arrays [K, k].

    No picture appears twice in a channel: of its windows the best one counts.

    Attributes:
      score: -inf where there is none yet.
      example: its number; -1 for none.
      at: the position y · w + x that the score was found at.
    """

    score: np.ndarray
    example: np.ndarray
    at: np.ndarray


class Sample(NamedTuple):
    """A uniform random sample of examples: those with the smallest random numbers.

    Attributes:
      draw: [S] uint64, the examples' random numbers; the largest one where there is no
        example.
      example: [S], their numbers; -1 for none.
      high, low: [S, K], what they are ranked by.
      high_at, low_at: [S, K], where.
    """

    draw: np.ndarray
    example: np.ndarray
    high: np.ndarray
    low: np.ndarray
    high_at: np.ndarray
    low_at: np.ndarray


class Ledger(NamedTuple):
    """All that is kept of one tap.

    Attributes:
      count: examples looked at, [1].
      total, square: [K] float64, the sums of mean and of mean square.
      peak: [K], the largest mean that one example has.
      most, least: [K], of any unit in any example.
      top: ranked by high.
      bottom: ranked by minus low.
      sample: of all examples.
    """

    count: np.ndarray
    total: np.ndarray
    square: np.ndarray
    peak: np.ndarray
    most: np.ndarray
    least: np.ndarray
    top: Ranked
    bottom: Ranked
    sample: Sample


LAST = np.iinfo(np.uint64).max


def empty(channels: int, keep: int, sample: int) -> Ledger:
    """Returns the ledger of a tap that has seen nothing.

    Args:
      channels: K.
      keep: k, examples at either end.
      sample: S, random examples.
    """

    def ranked() -> Ranked:
        return Ranked(
            np.full((channels, keep), -np.inf, np.float32),
            np.full((channels, keep), NONE, np.int64),
            np.zeros((channels, keep), np.int32),
        )

    return Ledger(
        count=np.zeros(1, np.int64),
        total=np.zeros(channels),
        square=np.zeros(channels),
        peak=np.full(channels, -np.inf, np.float32),
        most=np.full(channels, -np.inf, np.float32),
        least=np.full(channels, np.inf, np.float32),
        top=ranked(),
        bottom=ranked(),
        sample=Sample(
            draw=np.full(sample, LAST, np.uint64),
            example=np.full(sample, NONE, np.int64),
            high=np.zeros((sample, channels), np.float32),
            low=np.zeros((sample, channels), np.float32),
            high_at=np.zeros((sample, channels), np.int32),
            low_at=np.zeros((sample, channels), np.int32),
        ),
    )


def add(
    ledger: Ledger,
    numbers: np.ndarray,
    response: Response,
    *,
    by: str,
    windows: int,
    seed: int,
) -> Ledger:
    """Returns the ledger after some more examples.

    Args:
      ledger: of the tap.
      numbers: [n], of the examples.
      response: [n, K], what the tap answered.
      by: "mean" ranks by the mean over positions, "unit" by the strongest unit.
      windows: of one picture; example // windows is the picture.
      seed: of the sample.
    """
    high, low = response.high, response.low
    if by == "mean":
        high = low = response.mean
    sums = [ledger.total, ledger.square]
    for i in range(len(numbers)):  # one by one: the sums are then the batches' business
        sums = [
            sums[0] + response.mean[i].astype(np.float64),
            sums[1] + response.square[i].astype(np.float64),
        ]
    return Ledger(
        count=ledger.count + len(numbers),
        total=sums[0],
        square=sums[1],
        peak=np.maximum(ledger.peak, response.mean.max(axis=0)),
        most=np.maximum(ledger.most, response.high.max(axis=0)),
        least=np.minimum(ledger.least, response.low.min(axis=0)),
        top=_rank(ledger.top, numbers, high, response.high_at, windows),
        bottom=_rank(ledger.bottom, numbers, -low, response.low_at, windows),
        sample=_sampled(
            ledger.sample,
            Sample(
                draws(numbers, seed),
                numbers,
                high,
                low,
                response.high_at,
                response.low_at,
            ),
        ),
    )


def _rank(
    old: Ranked, numbers: np.ndarray, score: np.ndarray, at: np.ndarray, windows: int
) -> Ranked:
    """Returns the best of the old and the new; of equal scores the first example."""
    channels, keep = old.score.shape
    if np.all(score.max(axis=0) <= old.score[:, -1]) and old.example.min() > NONE:
        return old  # what is usual after the first few thousand
    all_ = Ranked(
        np.concatenate([old.score, score.T], axis=1),  # [K, k + n]
        np.concatenate([old.example, np.tile(numbers, (channels, 1))], axis=1),
        np.concatenate([old.at, at.T], axis=1),
    )
    all_ = _ordered(all_)
    picture = np.where(all_.example == NONE, NONE, all_.example // windows)
    same = (picture[:, :, None] == picture[:, None, :]) & (picture >= 0)[:, :, None]
    again = np.tril(same, -1).any(axis=2)  # [K, k + n]: a better window came before
    all_ = Ranked(
        np.where(again, -np.inf, all_.score).astype(np.float32),
        np.where(again, NONE, all_.example),
        all_.at,
    )
    return Ranked(*(part[:, :keep] for part in _ordered(all_)))


def _ordered(ranked: Ranked) -> Ranked:
    number = np.where(ranked.example == NONE, np.iinfo(np.int64).max, ranked.example)
    order = np.lexsort((number, -ranked.score), axis=1)
    return Ranked(*(np.take_along_axis(part, order, axis=1) for part in ranked))


def _sampled(old: Sample, new: Sample) -> Sample:
    size = len(old.draw)
    draw = np.concatenate([old.draw, new.draw])
    number = np.concatenate([old.example, new.example])
    order = np.lexsort((number, draw))[:size]
    order = np.sort(order)  # no change, no copy of order
    if np.array_equal(order, np.arange(size)):
        return old
    return Sample(
        *(np.concatenate([a, b])[order] for a, b in zip(old, new, strict=True))
    )


def draws(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Returns a random uint64 of each example: a hash of its number and the seed.

    SplitMix64 (Steele, Lea & Flood 2014). The examples with the smallest numbers are a
    uniform sample of all, whatever the order that they come in.
    """
    with np.errstate(over="ignore"):
        x = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = x + _mixed(np.full(1, seed, np.uint64) + np.uint64(1))
        return np.minimum(_mixed(x), LAST - np.uint64(1))


def _mixed(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
