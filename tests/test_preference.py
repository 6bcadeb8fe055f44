"""Bradley–Terry strengths: against another fit, by hand, and simulated judges."""

import math

import numpy as np
import pytest
from scipy import optimize
from scipy.stats import spearmanr

from dreamjax.preference import Judgment, next_pair, rank


def judge(strength, pairs, seed=0):
    """Returns what a judge of the model says, with the chances of the model."""
    random = np.random.default_rng(seed)
    chance = [1 / (1 + math.exp(strength[j] - strength[i])) for i, j in pairs]
    return [
        Judgment(i, j, float(random.random() < p))
        for (i, j), p in zip(pairs, chance, strict=True)
    ]


def random_pairs(items, count, seed=0):
    random = np.random.default_rng(seed)
    return [tuple(random.choice(items, 2, replace=False)) for _ in range(count)]


def test_agrees_with_another_fit_of_the_same_likelihood():
    judgments = judge(np.linspace(-2, 2, 8), random_pairs(8, 60))
    judgments += [Judgment(0, 3, 0.5), Judgment(7, 1, 0.5)]

    def loss(s):
        chance = [1 / (1 + np.exp(s[j] - s[i])) for i, j, _ in judgments]
        said = [
            y * np.log(p) + (1 - y) * np.log(1 - p)
            for (_, _, y), p in zip(judgments, chance, strict=True)
        ]
        return -np.sum(said) + np.sum(s**2) / (2 * 1.5**2)

    other = optimize.minimize(loss, np.zeros(8), method="BFGS", tol=1e-9).x
    ours = rank(8, judgments, prior=1.5)
    np.testing.assert_allclose(ours.strength, other, atol=1e-4)
    steps = 1e-3 * np.eye(8)
    curved = [
        [
            (loss(other + a + b) - loss(other + a) - loss(other + b) + loss(other))
            for b in steps
        ]
        for a in steps
    ]
    inverse = np.linalg.inv(np.array(curved) / 1e-6)
    centered = np.eye(8) - 1 / 8
    expected = np.sqrt(np.diag(centered @ inverse @ centered))
    np.testing.assert_allclose(ours.error, expected, rtol=0.01)


def test_two_items_by_hand():
    """3 wins to 1: the difference d solves 3 - 4 p(d) = d / (2 prior²)."""
    judgments = [Judgment(0, 1, 1.0)] * 3 + [Judgment(1, 0, 1.0)]
    wide = rank(2, judgments, prior=1e4)
    assert wide.strength[0] - wide.strength[1] == pytest.approx(math.log(3), rel=1e-6)
    # The information is n p (1 - p) = 4 · 3/16 in d, and s_0 = d / 2.
    assert wide.error[0] == pytest.approx(math.sqrt(16 / 12) / 2, rel=1e-4)
    narrow = rank(2, judgments, prior=1.0)
    d = narrow.strength[0] - narrow.strength[1]
    assert 3 - 4 / (1 + math.exp(-d)) == pytest.approx(d / 2, abs=1e-9)
    np.testing.assert_array_equal(narrow.wins, [3, 1])
    np.testing.assert_array_equal(narrow.judgments, [4, 4])


def test_a_tie_is_half_a_win_for_each():
    tied = rank(3, [Judgment(0, 1, 0.5), Judgment(0, 1, 0.5), Judgment(1, 2, 1.0)])
    split = rank(3, [Judgment(0, 1, 1.0), Judgment(0, 1, 0.0), Judgment(1, 2, 1.0)])
    np.testing.assert_allclose(tied.strength, split.strength, atol=1e-9)
    np.testing.assert_array_equal(tied.wins, [1, 2, 0])


def test_unbeaten_and_unjudged_items_stay_finite():
    ranking = rank(4, [Judgment(0, 1, 1.0)] * 50 + [Judgment(0, 2, 1.0)])
    assert np.isfinite(ranking.strength).all() and np.isfinite(ranking.error).all()
    assert ranking.strength[0] == ranking.strength.max() < 10
    assert np.argmin(ranking.strength) == 1
    assert ranking.error[3] > ranking.error[0]
    np.testing.assert_array_equal(rank(3, []).strength, np.zeros(3))
    assert rank(3, []).error == pytest.approx([2 * math.sqrt(2 / 3)] * 3)


def test_known_strengths_are_recovered_and_errors_are_honest():
    true = np.random.default_rng(5).normal(0, 1.5, 20)
    true -= true.mean()
    inside = []
    for seed in range(10):
        ranking = rank(20, judge(true, random_pairs(20, 400, seed), seed))
        inside += (np.abs(ranking.strength - true) < 1.96 * ranking.error).tolist()
        assert spearmanr(ranking.strength, true).statistic > 0.93
    assert 0.90 < np.mean(inside) < 0.99  # of 200; 95 % if all is well


def session(true, count, seed, choose):
    """Returns the ranking after `count` judgments of pairs that `choose` picks."""
    random = np.random.default_rng(seed)
    judgments = []
    for k in range(count):
        pair = choose(rank(len(true), judgments), judgments, random)
        judgments += judge(true, [pair], seed=1000 * seed + k)
    return rank(len(true), judgments), judgments


def chosen(ranking, judgments, random):
    return next_pair(ranking, {(j.first, j.second) for j in judgments}, random)


def at_random(ranking, judgments, random):
    return tuple(random.choice(len(ranking.strength), 2, replace=False))


def test_chosen_pairs_need_fewer_judgments_than_random_ones():
    agreement = {chosen: [], at_random: []}
    for seed in range(8):
        true = np.random.default_rng(seed).normal(0, 2, 20)
        for choose, found in agreement.items():
            ranking, _ = session(true, 80, seed, choose)
            found.append(spearmanr(ranking.strength, true).statistic)
    assert np.mean(agreement[chosen]) > 0.85
    assert np.mean(agreement[chosen]) > np.mean(agreement[at_random]) + 0.03


def test_first_pairs_span_all_items_and_no_pair_comes_twice():
    _, judgments = session(np.arange(6.0), 15, 0, chosen)
    pairs = [frozenset((j.first, j.second)) for j in judgments]
    assert len(set(pairs)) == 15  # all there are
    assert set().union(*pairs[:5]) == set(range(6))
    assert chosen(rank(6, judgments), judgments, np.random.default_rng(0)) is None
    sides = [j.first < j.second for j in judgments]
    assert any(sides) and not all(sides)
    rest = {tuple(sorted(pair)) for pair in pairs[1:]}
    random = np.random.default_rng(1)
    assert next_pair(rank(6, []), rest, random, skipped=[tuple(pairs[0])]) is None


def test_many_items_are_quick():
    random = np.random.default_rng(0)
    pair = next_pair(rank(1000, []), set(), random)
    assert pair is not None and pair[0] != pair[1]
    assert next_pair(rank(1, []), set(), random) is None


@pytest.mark.parametrize(
    "judgment", [(0, 0, 1.0), (0, 3, 1.0), (-1, 0, 1.0), (0, 1, 2.0), (0, 1, math.nan)]
)
def test_impossible_judgments_are_refused(judgment):
    with pytest.raises(ValueError, match=r"judgment=.*0 … 2"):
        rank(3, [Judgment(*judgment)])
    with pytest.raises(ValueError, match="prior=0"):
        rank(3, [], prior=0)
