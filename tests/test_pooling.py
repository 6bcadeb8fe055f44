"""Pools and local response normalization against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models import pooling
from dreamjax.models.pooling import (
    adaptive_avg_pool,
    avg_pool,
    ceil_padding,
    local_response_norm,
    max_pool,
)

SIZE = (8, 11)
NONE = ((0, 0), (0, 0))
# (kernel, stride, padding)
POOLS = {
    "caffe": (3, 2, ceil_padding(*SIZE, 3, 2)),
    "inner": (3, 1, ((1, 1), (1, 1))),
    "vgg": (2, 2, NONE),
    "resnet": (3, 2, ((1, 1), (1, 1))),
    "big": (5, 3, ((0, 1), (2, 0))),
}


def windows(x, kernel, stride, padding, value):
    """Yields (row, column, top, left, window [N, k, k, C]) of the padded array."""
    wide = np.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)
    for r in range((wide.shape[1] - kernel) // stride + 1):
        for c in range((wide.shape[2] - kernel) // stride + 1):
            top, left = r * stride, c * stride
            yield r, c, top, left, wide[:, top : top + kernel, left : left + kernel]


def out_shape(x, kernel, stride, padding):
    rows, columns = (
        (n + sum(pad) - kernel) // stride + 1
        for n, pad in zip(x.shape[1:3], padding, strict=True)
    )
    return x.shape[0], rows, columns, x.shape[3]


def max_by_loops(x, g, kernel, stride, padding):
    """Maxima, and the gradient, which goes to the first of equal values."""
    out = np.zeros(out_shape(x, kernel, stride, padding))
    wide = np.zeros(np.pad(x, ((0, 0), *padding, (0, 0))).shape)
    for r, c, top, left, seen in windows(x, kernel, stride, padding, -np.inf):
        flat = seen.reshape(x.shape[0], -1, x.shape[3])
        out[:, r, c] = flat.max(axis=1)
        first = flat.argmax(axis=1)  # [N, C]
        for n, channel in np.ndindex(first.shape):
            i, j = divmod(first[n, channel], kernel)
            wide[n, top + i, left + j, channel] += g[n, r, c, channel]
    (top, _), (left, _) = padding
    return out, wide[:, top : top + x.shape[1], left : left + x.shape[2]]


def avg_by_loops(x, kernel, stride, padding, count_padding):
    out = np.zeros(out_shape(x, kernel, stride, padding))
    inside = np.ones((1, *x.shape[1:3], 1))
    pairs = zip(
        windows(x, kernel, stride, padding, 0),
        windows(inside, kernel, stride, padding, 0),
        strict=True,
    )
    for (r, c, _, _, seen), (*_, ones) in pairs:
        count = kernel**2 if count_padding else ones.sum()
        out[:, r, c] = seen.sum(axis=(1, 2)) / count
    return out


@pytest.fixture(scope="module")
def pools():
    """One program: every pool in both formulations, values and gradients."""
    random = np.random.default_rng(0)
    x = np.round(random.normal(size=(2, *SIZE, 3)), 1).astype(np.float32)  # has ties
    x = np.maximum(x, 0)
    g = {n: random.normal(size=out_shape(x, *p)) for n, p in POOLS.items()}
    g = {n: a.astype(np.float32) for n, a in g.items()}

    def all_of_them(x, g):
        found = {}
        for name, (kernel, stride, padding) in POOLS.items():
            options = {"kernel": kernel, "stride": stride, "padding": padding}
            out, pull = jax.vjp(lambda x, o=options: max_pool(x, *o.values()), x)
            found["public", name] = out, pull(g[name])[0]
            found["xla", name] = (
                pooling._xla_max(x, **options),
                pooling._xla_max_vjp(x, g[name], **options),
            )
            for count in (True, False):
                found[f"avg{count}", name] = avg_pool(
                    x, kernel, stride, padding, count_padding=count
                )
        return found

    return x, g, jax.jit(all_of_them)(x, g)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("formulation", ["public", "xla"])
def test_max_pool(pools, formulation, name):
    x, g, found = pools
    wanted = max_by_loops(x, g[name], *POOLS[name])
    for array, by_hand in zip(found[formulation, name], wanted, strict=True):
        np.testing.assert_allclose(array, by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("count_padding", [True, False])
def test_avg_pool(pools, name, count_padding):
    x, _, found = pools
    wanted = avg_by_loops(x, *POOLS[name], count_padding)
    np.testing.assert_allclose(
        found[f"avg{count_padding}", name], wanted, rtol=1e-5, atol=1e-6
    )


def test_a_nan_is_seen():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2, 0].set(jnp.nan)
    pooled = max_pool(x, 2, 2, NONE)[0, :, :, 0]
    assert jnp.isnan(pooled).tolist() == [[False, True], [False, False]]


def test_ceil_padding():
    """Caffe's sizes: 224 -> 112 -> 56 -> 28 -> 14 -> 7 under a pool of 3 by 2."""
    for size, out in ((112, 56), (56, 28), (28, 14), (14, 7), (113, 56), (111, 55)):
        (top, bottom), _ = ceil_padding(size, size, 3, 2)
        assert top == 0
        assert (size + bottom - 3) // 2 + 1 == out
    # PyTorch: MaxPool2d(2, 2, ceil_mode=True) of 5 gives 3; MaxPool2d(3, 2, 1, True)
    # of 6 gives 4, the last window holding one pixel and the padding.
    assert ceil_padding(5, 4, 2, 2) == ((0, 1), (0, 0))
    assert ceil_padding(6, 7, 3, 2, 1) == ((1, 2), (1, 1))
    # Of 3 with pool 1 by 3, a second window would begin outside: none is added.
    assert ceil_padding(3, 4, 1, 3) == ((0, 0), (0, 0))
    assert ceil_padding(2, 3, 1, 3, 1) == ((1, 0), (1, 0))


def test_adaptive_avg_pool():
    """5 rows into 3: rows 0-1, 1-3, 3-4; 1 column into 2: the same one twice."""
    x = np.arange(5.0, dtype=np.float32).reshape(1, 5, 1, 1)
    pooled = adaptive_avg_pool(jnp.asarray(x), (3, 2))
    np.testing.assert_allclose(
        pooled[0, :, :, 0], [[0.5, 0.5], [2, 2], [3.5, 3.5]], rtol=1e-6
    )
    same = adaptive_avg_pool(jnp.asarray(x), (5, 1))
    np.testing.assert_array_equal(same, x)


def test_local_response_norm():
    """The formula of Krizhevsky et al., summed by hand over channels c - 2 … c + 2."""
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 7)).astype(np.float32)
    wanted = np.zeros(x.shape)
    for c in range(7):
        total = np.sum(x[..., max(c - 2, 0) : c + 3].astype(float) ** 2, axis=-1)
        wanted[..., c] = x[..., c] / (2 + 0.3 * total) ** 0.75
    found = local_response_norm(jnp.asarray(x), size=5, alpha=0.3, beta=0.75, k=2.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("size, beta", [(5, 0.75), (11, 0.5), (3, 0.6)])
def test_gradient_of_local_response_norm(size, beta):
    """Against autodiff of the formula."""
    x, g = np.random.default_rng(1).normal(size=(2, 2, 3, 2, 9)).astype(np.float32)

    def formula(x):
        near = np.abs(np.arange(9)[:, None] - np.arange(9)) <= size // 2
        total = 1.0 + 0.4 * (x * x) @ jnp.asarray(near, np.float32)
        return x * total**-beta

    def ours(x):
        return local_response_norm(x, size=size, alpha=0.4, beta=beta, k=1.0)

    value, pull = jax.vjp(formula, x)
    np.testing.assert_allclose(ours(x), value, rtol=1e-5, atol=1e-6)
    found = jax.vjp(ours, x)[1](g)[0]
    np.testing.assert_allclose(found, pull(g)[0], rtol=1e-4, atol=1e-5)
