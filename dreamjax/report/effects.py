"""How metrics follow hyperparameters over the runs of a sweep: rank correlations.

Spearman's ρ is the correlation of the ranks: 1 where a metric rises with the
hyperparameter, however steeply, -1 where it falls, 0 where it does neither (or rises
and falls). Runs that came to no end, such as frozen ones, are not counted: their
metrics are of another number of steps.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from dreamjax.errors import choose
from dreamjax.report import values
from dreamjax.report.values import Row

COUNTED = ("alive", "zero gradient")
"""The statuses of runs that made all their steps."""

LOG_RANGE = 30  # a positive hyperparameter that spans more gets a logarithmic axis


class Effect(NamedTuple):
    """How one metric follows one hyperparameter.

    Attributes:
      hyperparameter: its name.
      metric: its name.
      correlation: Spearman's ρ; NaN where one of the two is constant.
      runs: how many were counted.
    """

    hyperparameter: str
    metric: str
    correlation: float
    runs: int


def counted(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows of runs that made all their steps."""
    return [row for row in rows if row["status"] in COUNTED]


def effects(rows: Sequence[Row], within: Sequence[str] = ()) -> list[Effect]:
    """Returns the effect of every varying number on every varying metric.

    Args:
      rows: summary rows.
      within: hyperparameters whose values are kept apart, such as the unit: runs are
        ranked among those of the same values, and of these groups' correlations the
        mean is taken, weighted by their runs. Where scores of units differ in scale,
        ranking all runs together would drown the effect.

    Raises:
      ValueError: `within` names a hyperparameter that no run has.
    """
    rows = counted(rows)
    for name in within:
        choose("within", name, values.names(rows))
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        key = tuple(values.key_of(values.get(row, name)) for name in within)
        groups.setdefault(key, []).append(row)
    metrics = metrics_of(rows)
    found = []
    for name in swept_numbers(rows):
        if name in within:
            continue
        for metric in metrics:
            parts = [_pairs(group, name, metric) for group in groups.values()]
            correlation, runs = _weighted([rank_correlation(*part) for part in parts])
            found.append(Effect(name, metric, correlation, runs))
    return found


def rank_correlation(x: np.ndarray, y: np.ndarray) -> tuple[float, int]:
    """Returns Spearman's ρ and the number of pairs [N] with two finite numbers.

    ρ is NaN for fewer than 3 pairs, or where x or y is constant.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if len(x) < 3 or (x == x[0]).all() or (y == y[0]).all():
        return math.nan, len(x)
    return float(spearmanr(x, y).statistic), len(x)


def swept_numbers(rows: Sequence[Row]) -> list[str]:
    """Returns the varying hyperparameters with at least two different numbers."""
    return [
        name
        for name in values.varying(rows)
        if len(set(filter(math.isfinite, hparam_column(rows, name)))) > 1
    ]


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Returns the metrics with at least two different finite numbers."""
    names = dict.fromkeys(name for row in rows for name in row["metrics"])
    return [
        name
        for name in names
        if len(set(filter(math.isfinite, metric_column(rows, name)))) > 1
    ]


def hparam_column(rows: Sequence[Row], name: str) -> np.ndarray:
    """Returns a hyperparameter as [R] numbers, NaN where it is none."""
    return np.array([values.number(values.get(row, name)) for row in rows])


def metric_column(rows: Sequence[Row], name: str) -> np.ndarray:
    """Returns a metric as [R] numbers, NaN where a run has none."""
    return np.array([values.number(row["metrics"].get(name)) for row in rows])


def is_logarithmic(x: np.ndarray) -> bool:
    """Tells whether numbers [N] are better seen on a logarithmic axis."""
    x = x[np.isfinite(x)]
    return len(x) > 0 and x.min() > 0 and x.max() / LOG_RANGE >= x.min()


def effects_csv(tables: Mapping[str, Sequence[Effect]]) -> str:
    """Returns effects as a table, the strongest of each metric first.

    Args:
      tables: label -> effects; with one label only the column of labels is left out.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["hyperparameter", "metric", "rank_correlation", "n"]
    writer.writerow(head if len(tables) == 1 else ["sweep", *head])
    for label, table in tables.items():
        order = list(dict.fromkeys(effect.metric for effect in table))
        for effect in sorted(table, key=lambda e: (order.index(e.metric), *_weak(e))):
            line = [
                effect.hyperparameter,
                effect.metric,
                "" if math.isnan(effect.correlation) else f"{effect.correlation:.4f}",
                effect.runs,
            ]
            writer.writerow(line if len(tables) == 1 else [label, *line])
    return text.getvalue()


def _weak(effect: Effect) -> tuple[bool, float]:
    return math.isnan(effect.correlation), -abs(effect.correlation)


def _pairs(rows: Sequence[Row], name: str, metric: str) -> tuple[np.ndarray, ...]:
    return hparam_column(rows, name), metric_column(rows, metric)


def _weighted(parts: Sequence[tuple[float, int]]) -> tuple[float, int]:
    known = [(rho, n) for rho, n in parts if not math.isnan(rho)]
    if not known:
        return math.nan, sum(n for _, n in parts)
    runs = sum(n for _, n in known)
    return sum(rho * n for rho, n in known) / runs, runs
