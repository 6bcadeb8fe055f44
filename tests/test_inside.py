"""Gradients inside a network, by hand and by finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.inside import shifted, tap_gradients
from dreamjax.measures.checkerboard import (
    parity_by_chance,
    parity_contrast,
    parity_means,
)
from dreamjax.models.layers import PLAIN
from tests.tiny import tiny_model

NAMES = ["a/pre", "a", "b"]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).random((2, 12, 10, 3)), jnp.float32)


@pytest.fixture(scope="module")
def found(model, images):
    def gradients(variables, images):
        score = lambda taps: taps["logits"][:, 1]  # noqa: E731
        return tap_gradients(model.taps, score, NAMES, variables, images, PLAIN)

    return jax.device_get(jax.jit(gradients)(model.variables, images))


def test_the_images_gradient_is_the_plain_one(model, images, found):
    def score(images):
        return jnp.sum(model.taps(model.variables, images, PLAIN)["logits"][:, 1])

    np.testing.assert_allclose(found[0], jax.jit(jax.grad(score))(images), atol=1e-7)


def test_the_last_layers_gradient_by_hand(model, found):
    """logit_1 = Σ_k c[k, 1] · mean b: each position has c[k, 1] / 30."""
    wanted = np.asarray(model.variables["c"])[:, 1] / 30
    np.testing.assert_allclose(
        found[1]["b"], np.broadcast_to(wanted, (2, 6, 5, 4)), 1e-5
    )


def test_a_nonlinearity_lies_between_its_two_taps(model, images, found):
    pre = np.asarray(model.taps(model.variables, images, PLAIN)["a/pre"])
    assert 0.1 < (pre > 0).mean() < 0.9
    np.testing.assert_allclose(
        found[1]["a/pre"], np.where(pre > 0, found[1]["a"], 0), atol=1e-8
    )


def test_the_gradient_is_that_of_a_shift(model, images, found):
    run = jax.jit(
        lambda images, shift: shifted(model.taps, ["a"])(
            model.variables, images, PLAIN, {"a": shift}
        )
    )
    step = np.random.default_rng(1).normal(size=(2, 6, 5, 6)).astype(np.float32)
    step *= 1e-1
    plain, moved = run(images, 0 * step), run(images, step)
    np.testing.assert_allclose(moved["a"], plain["a"] + step, atol=1e-5)
    np.testing.assert_array_equal(moved["a/pre"], plain["a/pre"])
    rise = np.asarray(moved["logits"] - plain["logits"])[:, 1]
    np.testing.assert_allclose(rise, (found[1]["a"] * step).sum((1, 2, 3)), atol=1e-5)


def test_a_tap_that_is_not_there(model, images):
    with pytest.raises(ValueError, match='Did you mean "a/pre"'):
        shifted(model.taps, ["a/pr"])(model.variables, images, PLAIN, {})


def test_checkerboards():
    board = np.tile([[1.0, 0.0], [0.0, 0.0]], (5, 4))[:, :7]  # an odd column is left
    np.testing.assert_array_equal(parity_means(board), [[1, 0], [0, 0]])
    assert parity_contrast(board) == pytest.approx(3**0.5)
    assert parity_contrast(np.ones((6, 6))) == 0 == parity_contrast(np.zeros((6, 6)))
    assert parity_contrast(np.tile([3.0, 1.0], (8, 4))) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least one period of 4"):
        parity_means(np.ones((3, 9)), 4)


def test_chance_is_what_shuffled_maps_have():
    random = np.random.default_rng(2)
    maps = random.exponential(size=(200, 16, 16))
    contrasts = [parity_contrast(plane) ** 2 for plane in maps]
    chances = [parity_by_chance(plane) ** 2 for plane in maps]
    assert np.mean(contrasts) == pytest.approx(np.mean(chances), rel=0.15)
