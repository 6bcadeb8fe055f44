"""The examples of one channel, read off a ledger, and where in them the unit looked."""

from typing import Any, NamedTuple

import numpy as np

from dreamjax.deepdream.reach import Reach
from dreamjax.errors import choose, require
from dreamjax.mining.ledger import NONE, Ledger
from dreamjax.mining.run import Mined
from dreamjax.mining.windows import Window, look_at, windows

KINDS = ("top", "slightly positive", "random", "slightly negative", "bottom")
SLIGHT = 25.0  # percentile among the positive, or the negative, examples
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


class Example(NamedTuple):
    """A window of a picture that a channel answered to.

    Attributes:
      picture: its name in the folder.
      window: the part of it that was looked at.
      score: what it is ranked by.
      at: position y · w + x of the strongest unit (the weakest in "bottom" and
        "slightly negative").
    """

    picture: str
    window: Window
    score: float
    at: int


class Statistics(NamedTuple):
    """What a channel does over all examples.

    Attributes:
      mean: over examples and positions.
      spread: standard deviation over examples and positions.
      peak: the largest mean over positions that one example has.
      most, least: of any unit in any example (`most` is what Mahendran & Vedaldi 2016
        scale an activation by).
      percentiles: of what examples are ranked by, at `PERCENTILES`, over the sample.
    """

    mean: float
    spread: float
    peak: float
    most: float
    least: float
    percentiles: tuple[float, ...]


def examples(
    mined: Mined, tap: str, channel: int, kind: str, count: int
) -> list[Example]:
    """Returns up to `count` examples of a channel, each of another picture.

    "top" and "bottom" are the strongest and the weakest, in that order. Of the random
    sample: "random" the first ones drawn, the strongest first; "slightly positive"
    those around the 25th percentile of the examples that it answers to with more than
    0, the strongest first; "slightly negative" likewise below 0.

    Raises:
      ValueError: an unknown kind or tap, a channel or count out of range.
    """
    ledger = mined.ledgers[choose("tap", tap, mined.ledgers)]
    channels, keep = ledger.top.score.shape
    require(0 <= channel < channels, "channel", channel, f"0 … {channels - 1}")
    choose("kind", kind, KINDS)
    parts = windows(mined.settings.levels)
    ends = {"top": (ledger.top, 1.0), "bottom": (ledger.bottom, -1.0)}
    if kind in ends:
        require(1 <= count <= keep, "count", count, f"1 … {keep}, what was kept")
        ranked, sign = ends[kind]
        rows = zip(*(part[channel, :count] for part in ranked), strict=True)
        found = [(number, sign * score, at) for score, number, at in rows]
    else:
        found = _of_sample(ledger, channel, kind, count, len(parts))
    return [
        Example(
            mined.pictures[number // len(parts)],
            parts[number % len(parts)],
            float(score),
            int(at),
        )
        for number, score, at in found
        if number != NONE
    ]


def _of_sample(
    ledger: Ledger, channel: int, kind: str, count: int, windows_: int
) -> list[tuple[int, float, int]]:
    sample = ledger.sample
    below = kind == "slightly negative"
    score = (sample.low if below else sample.high)[:, channel]
    at = (sample.low_at if below else sample.high_at)[:, channel]
    there = np.flatnonzero(sample.example != NONE)
    if kind == "random":
        order = there[np.argsort(sample.draw[there], kind="stable")]
    else:
        there = there[(score[there] < 0) if below else (score[there] > 0)]
        ranked = there[np.argsort(np.abs(score[there]), kind="stable")]
        middle = SLIGHT / 100 * (len(ranked) - 1)
        order = ranked[np.argsort(np.abs(np.arange(len(ranked)) - middle))]
    chosen: dict[int, int] = {}  # picture -> place in the sample
    for place in order:
        chosen.setdefault(int(sample.example[place]) // windows_, int(place))
        if len(chosen) == count:
            break
    places = sorted(chosen.values(), key=lambda place: -score[place])
    return [(int(sample.example[p]), float(score[p]), int(at[p])) for p in places]


def statistics(mined: Mined, tap: str, channel: int) -> Statistics:
    """Returns what a channel does over all examples."""
    ledger = mined.ledgers[choose("tap", tap, mined.ledgers)]
    count = max(int(ledger.count[0]), 1)
    mean = ledger.total[channel] / count
    there = ledger.sample.example != NONE
    return Statistics(
        mean=float(mean),
        spread=float(np.sqrt(max(ledger.square[channel] / count - mean**2, 0.0))),
        peak=float(ledger.peak[channel]),
        most=float(ledger.most[channel]),
        least=float(ledger.least[channel]),
        percentiles=tuple(
            np.percentile(ledger.sample.high[there, channel], PERCENTILES).tolist()
        ),
    )


def box(
    example: Example, reach: Reach | None, columns: int, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Returns what an example's unit sees of the window: (top, left, bottom, right).

    Args:
      example: where the unit is.
      reach: of the tap; None sees all.
      columns: w, positions in a row of the tap; 1 in taps [N, K].
      size: (H, W) of the window, pixels.
    """
    height, width = size
    if reach is None:
        return 0, 0, height, width
    y, x = divmod(example.at, columns)
    top, left = (n * reach.stride - reach.before for n in (y, x))
    reached = reach.before + reach.after
    cut = (top, left, top + reached, left + reached)
    return (
        max(cut[0], 0),
        max(cut[1], 0),
        min(cut[2], height),
        min(cut[3], width),
    )


def picture_of(mined: Mined, example: Example) -> np.ndarray:
    """Returns the window of an example, [H, W, 3] in [0, 1], as the network saw it."""
    path = mined.folder / example.picture
    return look_at(path, mined.settings.size, example.window)


def as_record(
    mined: Mined, tap: str, channel: int, count: int, reach: Reach | None, columns: int
) -> dict[str, Any]:
    """Returns statistics and examples of a channel as plain values, for JSON."""

    def one(example: Example) -> dict[str, Any]:
        return {
            "picture": example.picture,
            "window": list(example.window),
            "score": example.score,
            "unit": list(divmod(example.at, columns)),
            "box": list(box(example, reach, columns, mined.settings.size)),
        }

    found = statistics(mined, tap, channel)._asdict()
    found["percentiles"] = dict(
        zip(map(str, PERCENTILES), found["percentiles"], strict=True)
    )
    kinds = {
        kind: [one(e) for e in examples(mined, tap, channel, kind, count)]
        for kind in KINDS
    }
    return {"channel": channel, **found, "examples": kinds}
