"""Levels about the mean; Yosinski's and Simonyan's ascent by hand, one step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.ascent import ascend
from dreamjax.centered import (
    centered,
    centered_range,
    centered_taps,
    training_mean,
    uncentered,
)
from dreamjax.figures.kept import kept
from dreamjax.figures.panels import about_gray
from dreamjax.hparams import Hparam
from dreamjax.models import Record
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import CAFFE_INPUT, preprocess
from dreamjax.objectives import logit
from dreamjax.toolbox import (
    PLAIN_ASCENT,
    TABLE_1,
    high_energy,
    toolbox_hparams,
    toolbox_info,
    toolbox_pieces,
    zeroed,
)
from tests.tiny import RECORD, tiny_model

CAFFE = Record("caffe.test", "tests", **CAFFE_INPUT)
SIZE = (20, 20)


def test_a_caffe_network_sees_levels_about_its_mean():
    images = np.random.default_rng(0).uniform(size=(2, 4, 5, 3)).astype(np.float32)
    x = centered(images, CAFFE)
    np.testing.assert_allclose(x[..., ::-1], preprocess(images, CAFFE), atol=1e-3)
    np.testing.assert_allclose(uncentered(x, CAFFE), images, atol=1e-6)
    np.testing.assert_allclose(training_mean(CAFFE) * 255, [123, 117, 104], rtol=1e-6)
    low, high = centered_range(CAFFE)
    np.testing.assert_allclose(low, [-123, -117, -104], rtol=1e-6)
    np.testing.assert_allclose(high - low, 255, rtol=1e-6)


def test_any_network_sees_the_same_picture_in_levels():
    model = tiny_model()
    images = np.random.default_rng(1).uniform(size=(1, 16, 16, 3)).astype(np.float32)
    wanted = model.taps(model.variables, images, PLAIN)["logits"]
    x = centered(images, RECORD)
    found = centered_taps(model)(model.variables, jnp.asarray(x), PLAIN)["logits"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_zero_is_shown_as_gray():
    x = np.zeros((10, 10, 3))
    assert (about_gray(x) == 0.5).all()
    x[0, 0] = (4.0, -2.0, 0.0)  # alone beyond the percentile
    np.testing.assert_allclose(about_gray(x, 100)[0, 0], [1.0, 0.25, 0.5])
    assert (about_gray(x, 100)[1:] == 0.5).all()


@pytest.fixture(scope="module")
def climbed():
    """Table 1, none, and a bound on the rate: one program, two steps."""
    model = tiny_model()
    runs = [
        {"class": 1.0, **setting}
        for setting in ({}, *TABLE_1.values(), {"rate": 50.0, "progress": 1e30})
    ]
    pieces, variables = toolbox_pieces(model, logit(Hparam("class")), SIZE)
    hp = toolbox_hparams(runs, model.record)
    found = ascend(pieces, variables, hp, steps=2, snapshots=(0, 1))
    taps = centered_taps(model)

    @jax.jit
    def slope(x):
        return jax.grad(lambda x: taps(variables, x[None], PLAIN)["logits"][0, 1])(x)

    return found, slope


def test_the_plain_ascent_follows_the_gradient(climbed):
    found, slope = climbed
    assert np.isfinite(found.images).all() and found.alive.all()
    start = found.snapshots[0][0, 0]
    assert np.std(start) == pytest.approx(10, rel=0.1)
    g = np.asarray(slope(jnp.asarray(start)))
    wanted = np.clip(start + 100 * g, -127.5, 127.5)
    np.testing.assert_allclose(found.snapshots[1][0, 0], wanted, rtol=1e-3, atol=1e-2)
    bounded = found.snapshots[1][5, 0]
    wanted = np.clip(start + 50 * g, -127.5, 127.5)
    np.testing.assert_allclose(bounded, wanted, rtol=1e-3, atol=1e-2)


def test_table_1_zeroes_the_pixels_that_it_says(climbed):
    images = climbed[0].images[:, 0]
    assert zeroed(images[0]) == zeroed(images[3]) == 0
    # Of 400 pixels, those strictly below a percentile between two of them.
    assert [zeroed(images[i]) for i in (1, 2, 4)] == pytest.approx([0.5, 0.2, 0.9])


def test_a_gain_per_step_is_what_the_score_gains(climbed):
    found, slope = climbed
    start = found.snapshots[0][1, 0]
    g = np.asarray(slope(jnp.asarray(start)))
    rate = min(100.0, 2.0 / float(np.sum(g**2)))
    moved = np.clip(start + rate * g, -127.5, 127.5)
    # Setting 1 blurs by half a pixel and zeroes the fainter half.
    after = found.snapshots[1][1, 0]
    assert zeroed(after) == pytest.approx(0.5)
    left = ~np.all(after == 0, axis=-1)
    assert np.corrcoef(after[left].ravel(), moved[left].ravel())[0, 1] > 0.9


def test_high_energy_of_a_stripe_and_of_noise():
    columns = np.arange(32)
    fine = np.tile(np.cos(np.pi * columns)[None, :, None], (32, 1, 3))
    coarse = np.tile(np.cos(2 * np.pi * columns / 16)[None, :, None], (32, 1, 3))
    assert high_energy(fine) == pytest.approx(1)
    assert high_energy(coarse) == pytest.approx(0, abs=1e-9)
    assert high_energy(coarse + fine * (1, -1, 0)) == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(0).normal(size=(128, 128, 3))
    assert high_energy(noise) == pytest.approx(1 - np.pi / 16, abs=0.01)


def test_the_toolboxs_own_fields():
    text = toolbox_info(PLAIN_ASCENT, np.array([1.0, 3.0, 2.0]), np.ones((2, 2, 3)), 1)
    lines = dict(
        line.strip().split(": ", 1) for line in text.splitlines() if ": " in line
    )
    assert lines["best_ii"] == "1" and lines["last_obj"] == "2.0"
    assert lines["majority_obj"] == "3.0" and lines["decay"] == "0.0"
    assert "majority success" in text
    never = toolbox_info(PLAIN_ASCENT, np.ones(3), np.ones((2, 2, 3)), float("nan"))
    assert "majority failure" in never


def test_what_is_kept_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"x": np.arange(3)}

    path = tmp_path / "deep" / "a.npz"
    for _ in range(2):
        found = kept(path, {"steps": 3, "runs": ({"a": 1.0},)}, make)
        np.testing.assert_array_equal(found["x"], [0, 1, 2])
    assert len(made) == 1 and set(found) == {"x"}
    kept(path, {"steps": 4}, make)
    assert len(made) == 2
