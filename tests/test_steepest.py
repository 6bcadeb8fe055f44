"""Steepest directions: against explicit matrices, and by their own definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.params import color
from dreamjax.params.spatial import fourier
from dreamjax.steepest import METRICS, metric, steepest

SHAPE = (2, 5, 6, 3)  # odd and even: the Fourier transform has both kinds of ends
HP = {"decay_power": 1.0, "init_std": 1.0}


@pytest.fixture(scope="module")
def gradient():
    return jnp.asarray(np.random.default_rng(0).normal(size=SHAPE), jnp.float32)


@pytest.fixture(scope="module")
def find():
    return jax.jit(lambda g: {name: steepest(g, name, HP) for name in METRICS})


@pytest.fixture(scope="module")
def directions(find, gradient):
    return jax.device_get(find(gradient))


def matrix(decorrelated):
    """The parametrization of one image as a matrix [pixels, params]."""
    space = fourier((1, *SHAPE[1:]))

    def apply(params):
        raw = space.apply(params, HP)
        return color.to_rgb(raw) if decorrelated else raw

    start = jax.eval_shape(lambda: space.init(jax.random.key(0), HP))
    columns = jax.jacobian(apply)(jnp.zeros(start.shape))
    return np.asarray(columns).reshape(np.prod(SHAPE[1:]), -1).astype(np.float64)


@pytest.mark.parametrize("name", ["spatial", "full"])
def test_the_decorrelated_directions_are_k_k_transposed(name, gradient, directions):
    k = matrix(name == "full")
    wanted = np.asarray(gradient, np.float64).reshape(2, -1) @ (k @ k.T)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(directions[name].reshape(2, -1), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["spatial", "full"])
def test_the_length_is_that_of_the_shortest_parameters(name, gradient):
    k = np.linalg.pinv(matrix(name == "full"))
    wanted = np.linalg.norm(np.asarray(gradient).reshape(2, -1) @ k.T, axis=1)
    found = metric(name, SHAPE, HP).length(gradient)
    np.testing.assert_allclose(found, wanted, 1e-4)


def test_the_plain_directions_by_hand(gradient, directions):
    g = np.asarray(gradient).reshape(2, -1)
    flat = {name: d.reshape(2, -1) for name, d in directions.items()}
    np.testing.assert_allclose(flat["linf"], np.sign(g) / 90**0.5, atol=1e-6)
    np.testing.assert_allclose(
        flat["l2"], g / np.linalg.norm(g, axis=1, keepdims=True), atol=1e-6
    )
    for direction in flat.values():
        np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1, 1e-5)


def test_each_is_the_steepest_in_its_own_metric(gradient, directions):
    """Of the four, and of 50 random ones near to it."""
    random = np.random.default_rng(1)
    for name in METRICS:
        length = metric(name, SHAPE, HP).length

        def rise(step, length=length):
            return np.asarray(jnp.sum(gradient * step, axis=(1, 2, 3)) / length(step))

        own = rise(directions[name])
        assert np.isfinite(own).all() and (own > 0).all()
        for other in directions.values():
            assert (rise(other) <= own * (1 + 1e-5)).all()
        for _ in range(50):
            away = 0.05 * random.normal(size=SHAPE)
            near = directions[name] + away.astype(np.float32)
            assert (rise(near) < own * (1 + 1e-5)).all()


def test_no_gradient_no_direction(find):
    still = jax.device_get(find(jnp.zeros(SHAPE)))
    assert all((direction == 0).all() for direction in still.values())
    with pytest.raises(ValueError, match="metric='l1'"):
        metric("l1", SHAPE, HP)
