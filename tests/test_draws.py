"""Distributions as quantile functions, and the known properties of the designs."""

import math
import statistics

import numpy as np
import pytest
from scipy.stats import qmc

from dreamjax import draws
from dreamjax.build import check_numbers
from dreamjax.config import base_config

UNIT = {"a": "uniform(0, 1)", "b": "uniform(0, 1)", "c": "uniform(0, 1)"}


def sample(drawn, samples, design="random", seed=0):
    return draws.draw(drawn, samples=samples, seed=seed, design=design)


def points(samples, design, seed=0, drawn=UNIT):
    rows = sample(drawn, samples, design, seed)
    return np.array([[row[name] for name in sorted(drawn)] for row in rows])


# Distributions

QUANTILES = {  # text -> the values at u = 0, 1/4, 1/2, 3/4
    "uniform(2, 6)": (2, 3, 4, 5),
    "log_uniform(1e-4, 1)": (1e-4, 1e-3, 1e-2, 1e-1),
    "normal(3, 2)": (None, 3 - 2 * 0.6744898, 3, 3 + 2 * 0.6744898),
    "log_normal(0.1, 10)": (None, 0.1 / 10**0.6744898, 0.1, 0.1 * 10**0.6744898),
    "choice(1, 2, 6)": (1, 1, 2, 6),
    "choice(0, 0, 0, 30)": (0, 0, 0, 30),
    "choice('a', 'b')": ("a", "a", "b", "b"),
    "integers(3, 6)": (3, 4, 5, 6),
    "integers(-1, 0)": (-1, -1, 0, 0),
}


def parse(text):
    name, _, inside = text.rstrip(")").partition("(")
    arguments = [s.strip("' ") for s in inside.split(",")]
    numbers = [s if s.isalpha() else float(s) for s in arguments]
    if name == "integers":
        numbers = [int(n) for n in numbers]
    return draws.DISTRIBUTIONS[name](*numbers)


def test_every_distribution_has_a_case():
    assert {text.partition("(")[0] for text in QUANTILES} == set(draws.DISTRIBUTIONS)


@pytest.mark.parametrize("text", QUANTILES)
def test_quantiles(text):
    quantile = parse(text).quantile
    for u, expected in zip((0, 0.25, 0.5, 0.75), QUANTILES[text], strict=True):
        if isinstance(expected, str):
            assert quantile(u) == expected
        elif expected is None:
            assert math.isfinite(quantile(u))
        else:
            assert quantile(u) == pytest.approx(expected, rel=1e-6)
    last = quantile(draws.BELOW_ONE)
    assert isinstance(last, str) or math.isfinite(last)


def test_bounds_are_kept_to_the_last_bit():
    same = draws.log_uniform(0.1, 0.1).quantile
    assert [same(u) for u in (0.0, 0.3, draws.BELOW_ONE)] == [0.1] * 3
    assert draws.choice(*range(7)).quantile(draws.BELOW_ONE) == 6
    assert draws.integers(1, 10**6).quantile(draws.BELOW_ONE) == 10**6


def test_normal_is_the_standard_librarys():
    quantile, other = draws.normal(-1, 0.5).quantile, statistics.NormalDist(-1, 0.5)
    for u in (1e-6, 0.01, 0.3, 0.9, 1 - 1e-9):
        assert quantile(u) == pytest.approx(other.inv_cdf(u), rel=1e-9)


def test_values_are_plain_and_drawn_ones_are_what_numpy_draws():
    """Independent draws are `Generator.uniform` and `integers` of the name's stream."""
    drawn = {"lr": "log_uniform(1e-3, 1)", "n": "integers(0, 9)", "tv": "uniform(2, 5)"}
    rows = sample(drawn, 50, seed=7)
    assert [type(v) for v in rows[0].values()] == [float, int, float]
    stream = draws._stream(7, "tv")
    assert [r["tv"] for r in rows] == [stream.uniform(2, 5) for _ in range(50)]
    stream = draws._stream(7, "n")
    assert [r["n"] for r in rows] == [int(stream.integers(10)) for _ in range(50)]
    stream = draws._stream(7, "lr")
    logs = [stream.uniform(math.log(1e-3), 0) for _ in range(50)]
    assert [r["lr"] for r in rows] == [math.exp(x) for x in logs]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normal(0, -1)", "std >= 0"),
        ("log_normal(0, 2)", "median > 0"),
        ("log_normal(1, 0.5)", "factor >= 1"),
        ("integers(3, 2)", "low <= high"),
        ("integers(0, 1.5)", "whole number"),
        ("nromal(0, 1)", 'Did you mean "normal"'),
    ],
)
def test_numbers_that_a_distribution_cannot_have(text, message):
    with pytest.raises(ValueError, match=message):
        sample({"x": text}, 2)


# Designs


@pytest.mark.parametrize("samples", [1, 7, 64, 300])
def test_latin_has_one_point_in_each_stratum(samples):
    strata = np.floor(points(samples, "latin") * samples).astype(int)
    for column in strata.T:
        assert sorted(column) == list(range(samples))


def test_latin_counts_of_a_weighted_choice_are_exact():
    values = [r["x"] for r in sample({"x": "choice(0, 0, 0, 30)"}, 300, "latin")]
    assert values.count(30) == 75


@pytest.mark.parametrize("seed", range(4))
def test_sobol_is_balanced(seed):
    """Of 64 points, one in each 64th of every axis; and, as the first two dimensions
    are a (0, m, 2)-net, one in every box of 8 × 8, 4 × 16, 2 × 32 …"""
    u = points(64, "sobol", seed)
    for column in u.T:
        assert sorted(np.floor(64 * column)) == list(range(64))
    for power in range(7):
        boxes = np.floor(u[:, :2] * (2**power, 2 ** (6 - power)))
        assert len(np.unique(boxes, axis=0)) == 64


@pytest.mark.parametrize("design", ["random", "sobol"])
def test_the_first_of_more_samples_are_the_same(design):
    more = points(300, design)
    for samples in (1, 5, 64, 299):
        np.testing.assert_array_equal(points(samples, design), more[:samples])


def test_latin_cannot_be_extended():
    assert not np.isin(points(16, "latin"), points(32, "latin")).any()


def test_designs_are_spread_more_evenly_than_independent_draws():
    """Centered discrepancy of 300 points in 3 dimensions, over 8 seeds."""

    def discrepancy(design):
        return [qmc.discrepancy(points(300, design, seed)) for seed in range(8)]

    independent = discrepancy("random")
    assert max(discrepancy("latin")) < np.median(independent)
    assert 10 * max(discrepancy("sobol")) < min(independent)


@pytest.mark.parametrize("design", draws.DESIGNS)
def test_seed_and_name_decide(design):
    first = points(8, design)
    np.testing.assert_array_equal(first, points(8, design))
    assert not np.isin(first, points(8, design, seed=1)).any()
    assert len(np.unique(first)) == first.size  # no two names share their values
    assert ((first >= 0) & (first < 1)).all()


@pytest.mark.parametrize("design", draws.DESIGNS)
def test_another_hyperparameter_moves_as_few_draws_as_it_can(design):
    before = sample(UNIT, 8, design)
    after = sample(UNIT | {"d": "uniform(0, 1)"}, 8, design)
    assert [{n: row[n] for n in "abc"} for row in after] == before
    between = sample(UNIT | {"bb": "uniform(0, 1)"}, 8, design)
    for name in "ab" if design == "sobol" else "abc":
        assert [row[name] for row in between] == [row[name] for row in before]


@pytest.mark.parametrize("design", draws.DESIGNS)
def test_one_design_serves_every_distribution(design):
    drawn = {f"x{i}": text for i, text in enumerate(QUANTILES)}
    rows = sample(drawn, 40, design)
    assert all(list(row) == sorted(drawn) for row in rows)
    assert {row["x6"] for row in rows} == {"a", "b"}


def test_the_config_is_checked():
    config = base_config().to_dict()
    assert config["draws"] == "random"
    with pytest.raises(ValueError, match=r'draws=.sobel.*Did you mean "sobol"'):
        check_numbers(config | {"draws": "sobel"})
    with pytest.raises(ValueError, match="seed=-1"):
        sample(UNIT, 2, seed=-1)
