"""The best settings of a search: over all its neurons, by one or several metrics.

A setting is a combination of the hyperparameters that are not what the runs are
compared within (the neuron, the seed). Scores of neurons have different scales, so
each neuron ranks the settings, and a setting's mark is the mean of its ranks over
neurons and metrics: 1 is the best everywhere, 0 the worst.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from dreamjax.errors import choose, require
from dreamjax.metrics import METRICS
from dreamjax.report import values
from dreamjax.report.effects import counted
from dreamjax.report.values import Row

LOG_SPAN = 30  # a positive hyperparameter that spans more counts by its logarithm


class Setting(NamedTuple):
    """One combination of hyperparameters.

    Attributes:
      hparams: those that vary and are not what runs are compared within.
      mark: mean rank in [0, 1], 1 the best.
      metrics: name -> mean over its runs.
      rows: its runs, in the order of the neurons.
    """

    hparams: dict[str, Any]
    mark: float
    metrics: dict[str, float]
    rows: tuple[Row, ...]


def settings(
    rows: Sequence[Row], by: Sequence[str], within: Sequence[str] = ("unit", "seed")
) -> list[Setting]:
    """Returns the settings of a search, best mark first.

    Runs that did not make all their steps, and settings that lack a neuron, are left
    out.

    Args:
      rows: summary rows.
      by: metrics, each of which counts as much; whether more is better is what
        `dreamjax.metrics.METRICS` says, more for any other.
      within: hyperparameters that are compared within, as far as the runs have them.

    Raises:
      ValueError: a metric that no run has, or no setting with all neurons.
    """
    rows = counted(rows)
    have = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    require(len(by) > 0, "by", by, "at least one metric")
    for name in by:
        choose("by", name, have)
    within = [name for name in within if name in values.names(rows)]
    free = [name for name in values.varying(rows) if name not in within]
    groups: dict[tuple, dict[tuple, Row]] = {}
    for row in rows:
        setting = tuple(values.key_of(values.get(row, name)) for name in free)
        neuron = tuple(values.key_of(values.get(row, name)) for name in within)
        groups.setdefault(setting, {})[neuron] = row
    neurons = list(dict.fromkeys(n for group in groups.values() for n in group))
    whole = [group for group in groups.values() if len(group) == len(neurons)]
    require(len(whole) > 0, "rows", len(rows), "no setting has a run of every neuron")
    marks = np.mean(
        [
            _marks([group[neuron] for group in whole], name)
            for neuron in neurons
            for name in by
        ],
        axis=0,
    )
    found = []
    for group, mark in zip(whole, marks, strict=True):
        members = tuple(group[neuron] for neuron in neurons)
        found.append(
            Setting(
                {name: values.get(members[0], name) for name in free},
                float(mark),
                {name: _mean(members, name) for name in have},
                members,
            )
        )
    return sorted(found, key=lambda setting: -setting.mark)


def _marks(rows: Sequence[Row], metric: str) -> np.ndarray:
    """Returns each row's rank in [0, 1], 1 the best; no number is the worst."""
    numbers = np.array([_number(row, metric) for row in rows])
    sign = -1.0 if metric in METRICS and METRICS[metric].better == "lower" else 1.0
    numbers = np.where(np.isfinite(numbers), sign * numbers, -np.inf)
    return (rankdata(numbers) - 1) / max(1, len(rows) - 1)


def _number(row: Row, metric: str) -> float:
    value = row["metrics"].get(metric, np.nan)
    return values.number(value)


def _mean(rows: Sequence[Row], metric: str) -> float:
    return float(np.mean([_number(row, metric) for row in rows]))


def distinct(found: Sequence[Setting], count: int, among: float = 0.1) -> list[Setting]:
    """Returns settings that are both good and unlike each other, the best first.

    Of the best part `among`, the one that is farthest from all chosen so far, as
    Yosinski et al. chose four that complement each other. Numbers are compared by
    their place between the least and the largest value that the search drew, over
    wide spans by their logarithm's; other values are equal or 1 apart.

    Args:
      found: of `settings`.
      count: how many.
      among: the part of them that is good enough; never fewer than `count`.
    """
    require(count >= 1, "count", count, "at least 1")
    require(0 < among <= 1, "among", among, "a part: above 0, at most 1")
    pool = list(found[: max(count, round(among * len(found)))])
    places = {id(s): _place(s.hparams, found) for s in pool}
    chosen = [pool.pop(0)]
    while pool and len(chosen) < count:
        apart = [
            min(np.linalg.norm(places[id(s)] - places[id(c)]) for c in chosen)
            for s in pool
        ]
        chosen.append(pool.pop(int(np.argmax(apart))))
    return chosen


def _place(hparams: Mapping[str, Any], found: Sequence[Setting]) -> np.ndarray:
    coordinates = []
    for name, value in hparams.items():
        column = [setting.hparams[name] for setting in found]
        if all(isinstance(v, int | float) for v in column):
            low, high = min(column), max(column)
            if low > 0 and high > LOG_SPAN * low:
                value, low, high = np.log([value, low, high])
            coordinates.append((value - low) / (high - low) if high > low else 0.0)
        else:
            kinds = list(dict.fromkeys(map(values.key_of, column)))
            one_hot = np.zeros(len(kinds))
            one_hot[kinds.index(values.key_of(value))] = 0.5**0.5
            coordinates += list(one_hot)
    return np.asarray(coordinates)
