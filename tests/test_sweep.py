"""Which runs a sweep has, and how they are put into blocks."""

import jax
import jax.numpy as jnp
import pytest

from dreamjax import sweep


def expand(hparams, mode="product", samples=1, seed=0, draws="random"):
    return sweep.expand(hparams, mode=mode, samples=samples, seed=seed, draws=draws)


def test_product_runs_through_every_combination_last_name_fastest():
    runs = expand({"unit": (1, 2, 3), "tv": (0.0, 0.5)})
    assert [(r["tv"], r["unit"]) for r in runs] == [
        (0.0, 1),
        (0.0, 2),
        (0.0, 3),
        (0.5, 1),
        (0.5, 2),
        (0.5, 3),
    ]


def test_order_of_names_does_not_change_the_runs():
    assert expand({"b": (1, 2), "a": (3, 4)}) == expand({"a": (3, 4), "b": (1, 2)})


def test_zip_goes_side_by_side_and_repeats_single_values():
    runs = expand({"a": (1, 2, 3), "b": (4, 5, 6), "c": (7,)}, mode="zip")
    assert runs == [{"a": i, "b": i + 3, "c": 7} for i in (1, 2, 3)]


def test_zip_of_unequal_lengths_is_refused():
    with pytest.raises(ValueError, match=r"hparams\.b.*\(4, 5\).*1 or 3 values"):
        expand({"a": (1, 2, 3), "b": (4, 5)}, mode="zip")


def test_some_names_go_side_by_side_and_the_rest_in_product():
    runs = expand({"tv": (0, 9), "blur": (3, 0), "unit": (5, 6)}, mode="zip(tv, blur)")
    assert [(r["tv"], r["blur"], r["unit"]) for r in runs] == [
        (0, 3, 5),
        (0, 3, 6),
        (9, 0, 5),
        (9, 0, 6),
    ]
    with pytest.raises(ValueError, match=r"name='tvv'.*Did you mean \"tv\""):
        expand({"tv": (0, 9)}, mode="zip(tvv)")


def test_a_file_name_is_no_distribution():
    assert expand({"target": ("photo (1).png",)})[0]["target"] == "photo (1).png"


def test_draws_are_combined_with_plain_values():
    runs = expand({"lr": ("uniform(0, 1)",), "unit": (5, 6)}, samples=3)
    assert [r["unit"] for r in runs] == [5, 5, 5, 6, 6, 6]
    assert [r["lr"] for r in runs[:3]] == [r["lr"] for r in runs[3:]]
    assert len({r["lr"] for r in runs}) == 3


def test_a_name_has_its_own_stream():
    alone = expand({"lr": ("uniform(0, 1)",)}, samples=4)
    both = expand({"lr": ("uniform(0, 1)",), "tv": ("uniform(0, 1)",)}, samples=4)
    assert [r["lr"] for r in alone] == [r["lr"] for r in both]
    assert [r["lr"] for r in both] != [r["tv"] for r in both]
    other = expand({"lr": ("uniform(0, 1)",)}, samples=4, seed=1)
    assert [r["lr"] for r in alone] != [r["lr"] for r in other]


@pytest.mark.parametrize(
    ("hparams", "options", "message"),
    [
        ({"tv": ()}, {}, r"hparams\.tv=\(\).*empty"),
        ({"tv": 0.1}, {}, r"hparams\.tv=0\.1.*tuple"),
        ({"tv": "uniform(0, 1)"}, {}, "tuple"),
        ({"tv": (1,)}, {"samples": 3}, "samples=3 but nothing is drawn"),
        ({"tv": (1,)}, {"samples": 0}, "samples=0"),
        ({"tv": (1,)}, {"mode": "grid"}, "sweep='grid'.*product, zip"),
        ({"tv": ("unifrom(0, 1)",)}, {}, 'Did you mean "uniform"'),
        ({"tv": ("uniform(1, 0)",)}, {}, "low <= high"),
        ({"tv": ("log_uniform(0, 1)",)}, {}, "0 < low"),
        ({"tv": ("uniform(1)",)}, {}, "missing a required argument"),
        ({"tv": ("uniform(0, __import__('os'))",)}, {}, "uniform"),
        ({"tv": ("choice()",)}, {}, "at least one"),
        ({"tv": ("uniform('a', 2)",)}, {}, "uniform"),
        ({"tv": ("uniform(0, 1)",)}, {"draws": "sobel"}, 'Did you mean "sobol"'),
    ],
)
def test_bad_sweeps_are_refused(hparams, options, message):
    with pytest.raises(ValueError, match=message):
        expand(hparams, **options)


@pytest.mark.parametrize(
    ("runs", "limit", "size"),
    [(300, 32, 30), (24, 100, 24), (24, 7, 6), (5, 4, 3), (1, 8, 2), (1, 1, 2)],
)
def test_blocks_are_even_and_have_one_size(runs, limit, size):
    assert sweep.block_size(runs, limit) == size
    assert size <= max(limit, sweep.LEAST)


def test_block_limit_must_be_positive():
    with pytest.raises(ValueError, match="runs_per_call=0"):
        sweep.block_size(3, 0)


def test_runs_that_fit_counts_activations_once():
    shapes = {"a": (1, 10, 10, 8), "b": (1, 100)}
    assert sweep.estimated_runs(shapes, batch=2, memory=8 * 900 * 5) == 5
    assert sweep.estimated_runs(shapes, batch=2, memory=1) == 1


def test_common_noise_gives_one_key_per_seed():
    seeds, ids = jnp.array([3, 3, 4]), jnp.arange(3)
    common = jax.random.key_data(sweep.run_keys(seeds, ids, common=True))
    assert (common[0] == common[1]).all() and (common[0] != common[2]).any()
    apart = jax.random.key_data(sweep.run_keys(seeds, ids, common=False))
    assert (apart[0] != apart[1]).any()
    late = sweep.run_keys(jnp.array([3]), jnp.array([1]), common=False)
    assert (jax.random.key_data(late)[0] == apart[1]).all()


def test_varying_names_only_what_differs():
    assert sweep.varying([{"a": 1, "b": 2}, {"a": 1, "b": 3}]) == ["b"]
    assert sweep.varying([{"a": 1}]) == []
