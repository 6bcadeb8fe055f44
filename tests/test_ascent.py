"""Runs climbed in memory: alone, a few at a time, in a network's own units."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dreamjax.ascent import ascend
from dreamjax.dream import Pieces
from dreamjax.hparams import Hparam
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import postprocess, preprocess
from dreamjax.objectives import channel
from dreamjax.params.raw import raw_param
from dreamjax.transforms import chain
from tests.tiny import RECORD, tiny_model

SHAPE = (1, 16, 16, 3)


@pytest.fixture(scope="module")
def pieces():
    model = tiny_model()
    return Pieces(
        taps=model.network,
        param=raw_param(lambda key, hp: hp["width"] * jax.random.normal(key, SHAPE)),
        transform=chain(),
        objective=channel("b", Hparam("unit")),
        penalties={},
        projections=(),
        optimizer=lambda hp: optax.sgd(hp["rate"]),
        redirect=False,
    ), model.variables


HP = {"unit": [0, 1, 2], "rate": [1.0, 2.0, 3.0], "width": [1.0, 1.0, 1.0]}


def test_runs_do_not_depend_on_how_many_are_climbed_at_once(pieces):
    together = ascend(*pieces, HP, steps=4, snapshots=(0, 2), seeds=(1, 1, 2))
    apart = ascend(*pieces, HP, steps=4, snapshots=(0, 2), seeds=(1, 1, 2), lanes=2)
    assert together.images.shape == (3, *SHAPE) and together.alive.all()
    np.testing.assert_allclose(together.images, apart.images, atol=1e-6)
    np.testing.assert_allclose(together.trace.score, apart.trace.score, atol=1e-6)
    assert together.trace.score.shape == (4, 3, 1)
    assert (together.trace.score[-1] > together.trace.score[0]).all()
    start = together.snapshots[0]
    assert (start[0] == start[1]).all() and not np.allclose(start[1], start[2])
    first = pieces[0].objective(
        pieces[0].taps(pieces[1], jnp.asarray(start[0]), PLAIN),
        {"unit": jnp.asarray(0)},
    )
    np.testing.assert_allclose(together.trace.score[0, 0], first, rtol=1e-4)


def test_a_run_that_diverges_freezes_alone(pieces):
    found = ascend(*pieces, {**HP, "rate": [1.0, np.nan, 1.0]}, steps=2)
    assert found.alive.tolist() == [True, False, True]
    assert np.isfinite(found.images).all()


def test_a10_a_start_that_is_not_finite_is_refused(pieces):
    with pytest.raises(ValueError, match="run 1 starts from a picture that is not fin"):
        ascend(*pieces, {**HP, "width": [1.0, np.inf, 1.0]}, steps=1, lanes=2)


def test_lengths_and_snapshots_are_checked(pieces):
    with pytest.raises(ValueError, match="one length, R"):
        ascend(*pieces, {**HP, "rate": [1.0]}, steps=1)
    with pytest.raises(ValueError, match="snapshots=3"):
        ascend(*pieces, HP, steps=2, snapshots=(3,))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_units_of_the_network_go_back_to_rgb(order):
    record = dataclasses.replace(
        RECORD, channel_order=order, scale=255.0, mean=(104.0, 117.0, 123.0), std=(1.0,)
    )
    images = np.random.default_rng(0).uniform(size=(2, 4, 5, 3)).astype(np.float32)
    units = preprocess(jnp.asarray(images), record)
    np.testing.assert_allclose(postprocess(units, record), images, atol=1e-6)
