"""Dense convolution: every formulation against XLA's own, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models import convolution, winograd
from dreamjax.models.convolution import conv
from dreamjax.models.layers import same_padding

ONE = ((1, 1), (1, 1))


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def close(found, wanted, limit=2e-6):
    """Whether arrays agree to `limit` of the largest value."""
    assert found.shape == wanted.shape
    error = np.max(np.abs(np.asarray(found) - wanted)) / np.max(np.abs(wanted))
    assert error <= limit, error


def test_pointwise_convolution():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 3, 4, 5)).astype(np.float32)
    kernel = random.normal(size=(1, 1, 5, 2)).astype(np.float32)
    wanted = x @ kernel[0, 0]
    none = ((0, 0), (0, 0))
    found = conv(x, kernel, padding=none)
    for one in (
        found,
        convolution._matmul(x, kernel),
        convolution._pointwise(x, kernel),
    ):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda x: jnp.sum(conv(x, kernel, padding=none)))(x)
    np.testing.assert_allclose(
        slope, np.broadcast_to(kernel.sum((0, 1, 3)), x.shape), rtol=1e-5, atol=1e-6
    )


def test_strided_pointwise_and_dense_convolution():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    one = np.full((1, 1, 1, 1), 2.0, np.float32)
    found = conv(x, one, stride=2, padding=((0, 0), (0, 0)))
    np.testing.assert_array_equal(found[0, :, :, 0], [[0, 4], [16, 20]])
    three = np.ones((3, 3, 1, 1), np.float32)
    found = conv(x, three, stride=2, padding=same_padding(4, 4, 3, 2))
    # Rows and columns 0-2, then 2-3 and a zero.
    np.testing.assert_array_equal(found[0, :, :, 0], [[45, 39], [66, 50]])


@pytest.mark.parametrize(
    "size, padding",
    [
        ((6, 8), ONE),
        ((7, 5), ONE),  # half a tile is left over
        ((9, 8), ((0, 0), (0, 0))),  # Inception v3's "VALID"
        ((5, 6), ((2, 0), (1, 2))),
        ((1, 2), ONE),
    ],
)
def test_winograd_is_the_convolution(size, padding):
    x, kernel = normal(2, *size, 5), normal(3, 3, 5, 4, seed=1)
    where = {"stride": 1, "padding": padding}
    wanted, pull = jax.vjp(lambda x: convolution._by_xla(x, kernel, **where), x)
    close(winograd.convolve(x, kernel, padding), np.asarray(wanted))
    g = normal(*wanted.shape, seed=2)
    found = winograd.transposed(g, kernel, padding)
    close(found, np.asarray(pull(g)[0]))


def test_winograd_in_float64_is_exact():
    x, kernel = normal(1, 6, 6, 3, dtype=np.float64), normal(3, 3, 3, 2, seed=1)
    with jax.enable_x64(True):
        kernel = kernel.astype(np.float64)
        found = winograd.convolve(jnp.asarray(x), jnp.asarray(kernel), ONE)
        wanted = convolution._by_xla(x, kernel, stride=1, padding=ONE)
        assert found.dtype == np.float64
        close(found, np.asarray(wanted), limit=1e-14)


# What `conv` takes each shape for; sizes at which Winograd wins are large.
SHAPES = {
    "winograd": ((14, 15, 120), (3, 3, 120, 124), 1, ONE),
    "winograd, no padding": ((16, 16, 128), (3, 3, 128, 120), 1, ((0, 0), (0, 0))),
    "colors": ((11, 9, 3), (3, 3, 3, 8), 2, same_padding(11, 9, 3, 2)),
    "colors, 7x7": ((16, 15, 3), (7, 7, 3, 4), 2, ((3, 3), (3, 3))),
    "colors, wide padding": ((6, 5, 1), (3, 3, 1, 4), 1, ((3, 0), (2, 4))),
    "oblong": ((8, 9, 3), (1, 7, 3, 4), 1, ((0, 0), (3, 3))),
    "plain": ((9, 8, 6), (5, 5, 6, 4), 2, ((2, 2), (2, 2))),
}


@pytest.mark.parametrize("name", SHAPES)
def test_value_and_gradients(name):
    size, shape, stride, padding = SHAPES[name]
    x, kernel = normal(2, *size), normal(*shape, seed=1)
    where = {"stride": stride, "padding": padding}
    wins = convolution._fits_winograd(x.shape, kernel, stride, padding)
    assert wins == name.startswith("winograd")

    def ours(x, kernel):
        return conv(x, kernel, **where)

    wanted, pull = jax.vjp(lambda *xs: convolution._by_xla(*xs, **where), x, kernel)
    found, pull_ours = jax.vjp(ours, x, kernel)
    close(found, np.asarray(wanted))
    g = normal(*wanted.shape, seed=2)
    for mine, theirs in zip(pull_ours(g), pull(g), strict=True):
        close(mine, np.asarray(theirs))
    # What runs elsewhere, and what runs of many images see.
    close(
        convolution._transposed_by_xla(kernel, g, shape=x.shape, **where),
        np.asarray(pull(g)[0]),
    )
    many = jax.vmap(ours, (0, None))(x[:, None], kernel)
    close(many[:, 0], np.asarray(wanted))


def test_bfloat16_is_left_to_xla():
    kernel = jnp.zeros((3, 3, 128, 128), jnp.bfloat16)
    assert not convolution._fits_winograd((1, 32, 32, 128), kernel, 1, ONE)


def test_gradient_of_a_gradient():
    x, kernel = normal(1, 5, 5, 3), normal(3, 3, 3, 2, seed=1)

    def steepness(apply):
        def cost(x):
            return jnp.sum(apply(x) ** 3)

        return jax.grad(lambda x: jnp.sum(jax.grad(cost)(x) ** 2))(x)

    found = steepness(lambda x: conv(x, kernel, padding=ONE))
    wanted = steepness(lambda x: convolution._by_xla(x, kernel, stride=1, padding=ONE))
    close(found, np.asarray(wanted), limit=1e-5)
