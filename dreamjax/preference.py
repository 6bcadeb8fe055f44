"""Preferences between pictures as a ranking: the model of Bradley and Terry.

Each item i has a strength s_i, and is preferred to j with the probability
`1 / (1 + exp(s_j - s_i))` (Bradley and Terry 1952). Strengths are the mode of the
posterior under a normal prior N(0, prior²): without it an item that was never beaten
would have the strength infinity. A tie counts as half a win for each of the two, as if
the judge had tossed a coin; Davidson's model (1970) gives ties a parameter of its own.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from dreamjax.errors import require

PRIOR = 2.0
MAX_STEPS = 100
TOLERANCE = 1e-10
CANDIDATES = 400  # items among which a pair is sought: 0.1 s a pair


class Judgment(NamedTuple):
    """One comparison.

    Attributes:
      first: index of an item.
      second: index of another.
      first_wins: 1 where the first is preferred, 0 where the second is, 0.5 for a tie.
    """

    first: int
    second: int
    first_wins: float


class Ranking(NamedTuple):
    """Strengths of N items.

    Attributes:
      strength: [N], logits, with mean 0.
      error: [N], standard errors of the strengths against their mean: from the
        curvature of the posterior at its mode.
      covariance: [N, N], their squares on its diagonal.
      wins: [N], of each item's comparisons; half a win for a tie.
      judgments: [N], its comparisons.
    """

    strength: np.ndarray
    error: np.ndarray
    covariance: np.ndarray
    wins: np.ndarray
    judgments: np.ndarray


def rank(items: int, judgments: Sequence[Judgment], prior: float = PRIOR) -> Ranking:
    """Fits strengths to judgments, by Newton's method.

    The logarithm of the posterior is strictly concave, so that there is one mode; a
    step that does not raise it is halved.

    Args:
      items: N.
      judgments: comparisons of items 0 … N - 1, none with itself.
      prior: standard deviation of the strengths, logits. 2: of two random items the
        stronger one wins 9 of 10 times.

    Raises:
      ValueError: no items, a prior that is not above 0, or an impossible judgment.
    """
    require(items >= 1, "items", items, "at least 1")
    require(prior > 0, "prior", prior, "above 0")
    for judgment in judgments:
        first, second, won = judgment
        inside = 0 <= first < items and 0 <= second < items and first != second
        allowed = f"two of the items 0 … {items - 1}, and a win from 0 to 1"
        require(inside and 0 <= won <= 1, "judgment", tuple(judgment), allowed)
    i = np.array([j.first for j in judgments], int)
    j = np.array([j.second for j in judgments], int)
    y = np.array([j.first_wins for j in judgments], float)
    strength = np.zeros(items)
    value = _log_posterior(strength, i, j, y, prior)
    for _ in range(MAX_STEPS):
        slope = _slope(strength, i, j, y, prior)
        if np.max(np.abs(slope)) < TOLERANCE:
            break
        step = np.linalg.solve(_curvature(strength, i, j, prior), slope)
        size = 1.0
        while size > 1e-6:
            moved = strength + size * step
            new = _log_posterior(moved, i, j, y, prior)
            if new >= value:
                break
            size /= 2
        else:
            break  # rounding: no step is better
        strength, value = moved, new
    # A comparison says nothing about the mean of all: as good as known to 1, then out.
    pinned = _curvature(strength, i, j, prior) + 1 / items
    covariance = np.linalg.inv(pinned) - 1 / (items * (1 + prior**-2))
    wins = np.bincount(i, y, items) + np.bincount(j, 1 - y, items)
    return Ranking(
        strength=strength - strength.mean(),
        error=np.sqrt(np.maximum(np.diag(covariance), 0)),
        covariance=covariance,
        wins=wins,
        judgments=np.bincount(i, minlength=items) + np.bincount(j, minlength=items),
    )


def _log_posterior(
    s: np.ndarray, i: np.ndarray, j: np.ndarray, y: np.ndarray, prior: float
) -> float:
    apart = s[i] - s[j]
    likelihood = np.sum(y * apart - np.logaddexp(0, apart))
    return float(likelihood - np.sum(s**2) / (2 * prior**2))


def _slope(
    s: np.ndarray, i: np.ndarray, j: np.ndarray, y: np.ndarray, prior: float
) -> np.ndarray:
    surprise = y - expit(s[i] - s[j])
    return (
        np.bincount(i, surprise, len(s))
        - np.bincount(j, surprise, len(s))
        - (s / prior**2)
    )


def _curvature(s: np.ndarray, i: np.ndarray, j: np.ndarray, prior: float) -> np.ndarray:
    """Returns minus the second derivatives [N, N] of the log posterior."""
    p = expit(s[i] - s[j])
    weight = p * (1 - p)
    found = np.eye(len(s)) / prior**2
    np.add.at(found, (i, i), weight)
    np.add.at(found, (j, j), weight)
    np.add.at(found, (i, j), -weight)
    np.add.at(found, (j, i), -weight)
    return found


def next_pair(
    ranking: Ranking,
    judged: Collection[tuple[int, int]],
    random: np.random.Generator,
    skipped: Collection[tuple[int, int]] = (),
) -> tuple[int, int] | None:
    """Returns the pair of items whose comparison would tell most, in random order.

    A judgment of i and j narrows the posterior by `log(1 + p (1 - p) v)`, with p the
    chance that i wins and v the variance of `s_i - s_j`: pairs that are close and not
    yet known. Until all items hang together only pairs are taken that join two groups,
    which gives a random spanning tree; no pair is asked twice.

    Args:
      ranking: from the judgments so far.
      judged: pairs that were compared, in either order.
      random: decides between equals and which picture stands left.
      skipped: pairs that the judge would not compare, in either order.

    Returns:
      Two indices, or None where every pair is done.
    """
    items = len(ranking.strength)
    among = np.arange(items)
    if items > CANDIDATES:  # the least known ones
        order = np.argsort(-ranking.error + 1e-9 * random.random(items))
        among = np.sort(order[:CANDIDATES])
    place = {int(item): k for k, item in enumerate(among)}
    s, covariance = ranking.strength[among], ranking.covariance[np.ix_(among, among)]
    p = expit(s[:, None] - s[None, :])
    own = np.diag(covariance)
    variance = own[:, None] + own[None, :] - 2 * covariance
    gain = np.log1p(p * (1 - p) * np.maximum(variance, 0))
    gain += 1e-9 * random.random(gain.shape)
    gain[np.tril_indices(len(among))] = -1
    for one, other in (*judged, *skipped):
        if one in place and other in place:
            low, high = sorted((place[one], place[other]))
            gain[low, high] = -1
    group = _groups(items, judged)[among]
    joining = np.where(group[:, None] != group[None, :], gain, -1)
    gain = joining if joining.max() >= 0 else gain
    if gain.max() < 0:
        return None
    pair = among[list(np.unravel_index(int(np.argmax(gain)), gain.shape))].tolist()
    left = int(random.integers(2))
    return pair[left], pair[1 - left]


def _groups(items: int, judged: Collection[tuple[int, int]]) -> np.ndarray:
    """Returns the number [N] of the group that each item hangs together with."""
    pairs = np.array(list(judged), int).reshape(-1, 2)
    links = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(items, items))
    return connected_components(links, directed=False)[1]
