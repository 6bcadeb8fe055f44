"""Depthwise convolution against a loop in NumPy and XLA's own; nonlinearities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models import layers, platform
from dreamjax.models.layers import PLAIN, depthwise, redirected, same_padding

EVEN_ODD, ODD_EVEN = (8, 11), (9, 6)
# (kernel, stride, size) -> padding.
CASES = {
    (kernel, stride, size): same_padding(*size, kernel, stride)
    for kernel, stride, size in (
        (3, 1, EVEN_ODD),
        (3, 1, ODD_EVEN),
        (3, 2, EVEN_ODD),
        (3, 2, ODD_EVEN),
        (5, 1, EVEN_ODD),
        (5, 2, EVEN_ODD),
        (5, 2, ODD_EVEN),
        (7, 1, ODD_EVEN),
        (7, 2, EVEN_ODD),
    )
} | {
    (3, 2, (8, 10)): ((1, 1), (1, 1)),  # PyTorch's padding 1: a last row is unused
    (3, 1, (5, 4)): ((0, 0), (2, 0)),
}
PUBLIC = ((3, 1, EVEN_ODD), (3, 2, ODD_EVEN))


def inputs(kernel, stride, size, padding):
    random = np.random.default_rng([kernel, stride, *size])
    x = random.normal(size=(2, *size, 3)).astype(np.float32)
    weights = random.normal(size=(kernel, kernel, 3)).astype(np.float32)
    out = [
        (n + sum(pad) - kernel) // stride + 1
        for n, pad in zip(size, padding, strict=True)
    ]
    return x, weights, random.normal(size=(2, *out, 3)).astype(np.float32)


def by_loops(x, weights, g, stride, padding):
    """The convolution, and the gradients of sum(g * it), written as sums."""
    k = weights.shape[0]
    x = np.pad(x.astype(np.float64), ((0, 0), *padding, (0, 0)))
    out, grad_x = np.zeros(g.shape), np.zeros(x.shape)
    grad_weights = np.zeros(weights.shape)
    for i, j in np.ndindex(k, k):
        rows = slice(i, i + (g.shape[1] - 1) * stride + 1, stride)
        columns = slice(j, j + (g.shape[2] - 1) * stride + 1, stride)
        out += x[:, rows, columns] * weights[i, j]
        grad_x[:, rows, columns] += g * weights[i, j]
        grad_weights[i, j] = np.sum(g * x[:, rows, columns], axis=(0, 1, 2))
    (top, bottom), (left, right) = padding
    height, width = x.shape[1] - bottom, x.shape[2] - right
    return out, grad_x[:, top:height, left:width], grad_weights


@pytest.fixture(scope="module")
def formulations():
    """One program: every case in XLA's formulation, the shifted one and the public."""

    def one(name, case, x, weights, g):
        options = {"stride": case[1], "padding": CASES[case]}
        if name == "public":
            out, pull = jax.vjp(
                lambda x, w: depthwise(x, w, *options.values()), x, weights
            )
            return out, *pull(g)
        forward = getattr(layers, f"_depthwise_{name}")
        backward = getattr(layers, f"_depthwise_{name}_vjp")
        return forward(x, weights, **options), *backward(x, weights, g, **options)

    arrays = {case: inputs(*case, padding) for case, padding in CASES.items()}
    found = jax.jit(
        lambda arrays: {
            (name, case): one(name, case, *arrays[case])
            for case in CASES
            for name in ("xla", "shifted", *(["public"] if case in PUBLIC else []))
        },
        compiler_options={"xla_backend_optimization_level": 0},  # half the time
    )(arrays)
    wanted = {
        case: by_loops(*arrays[case], case[1], padding)
        for case, padding in CASES.items()
    }
    return found, wanted


@pytest.mark.parametrize(
    "name, case",
    [(name, case) for name in ("xla", "shifted") for case in CASES]
    + [("public", case) for case in PUBLIC],
)
def test_depthwise(formulations, name, case):
    found, wanted = formulations
    for array, by_hand in zip(found[name, case], wanted[case], strict=True):
        assert np.all(np.isfinite(array))
        assert array.shape == by_hand.shape
        np.testing.assert_allclose(array, by_hand, rtol=1e-4, atol=1e-4)


def test_the_platform_decides_the_formulation(monkeypatch):
    x, weights = jnp.zeros((1, 4, 5, 3)), jnp.zeros((3, 3, 3))

    def program():
        one = jax.jit(lambda x, w: depthwise(x, w, 1, ((1, 1), (1, 1))))
        return str(one.trace(x, weights).jaxpr)

    assert "conv_general_dilated" not in program()
    with jax.default_device("cpu"):
        assert platform.on_cpu()
    monkeypatch.setattr(platform, "on_cpu", lambda: False)
    assert "conv_general_dilated" in program()


@pytest.mark.parametrize(
    "size, kernel, stride, padding",
    [
        (224, 3, 2, (0, 1)),  # TensorFlow: the odd pixel goes behind
        (225, 3, 2, (1, 1)),
        (7, 5, 1, (2, 2)),
        (7, 5, 2, (2, 2)),
        (8, 5, 2, (1, 2)),
        (5, 1, 1, (0, 0)),
        (5, 1, 2, (0, 0)),
        (1, 3, 2, (1, 1)),
    ],
)
def test_same_padding(size, kernel, stride, padding):
    found = same_padding(size, 9, kernel, stride)
    assert found[0] == padding
    assert (size + sum(padding) - kernel) // stride + 1 == -(-size // stride)
    assert same_padding(9, size, kernel, stride) == (found[1], found[0])


# Nonlinearities. Cotangents are of a loss: the step goes along minus the gradient.


def pulled(function, x, g):
    value, pull = jax.vjp(function, jnp.asarray(x, jnp.float32))
    return np.asarray(value), np.asarray(pull(jnp.asarray(g, jnp.float32))[0])


def test_plain_slopes_as_in_torch():
    x = [-1.0, 0.0, 0.5, 6.0, 7.0, np.nan]
    value, slope = pulled(PLAIN.relu, x, np.ones(6))
    np.testing.assert_array_equal(value, [0, 0, 0.5, 6, 7, np.nan])
    np.testing.assert_array_equal(slope[:5], [0, 0, 1, 1, 1])
    value, slope = pulled(PLAIN.relu6, x, np.ones(6))
    np.testing.assert_array_equal(value, [0, 0, 0.5, 6, 6, np.nan])
    np.testing.assert_array_equal(slope[:5], [0, 0, 1, 0, 0])


@pytest.mark.parametrize(
    "name, x, g, slope",
    [
        # All off: a push up (g < 0) passes, a push further down does not.
        ("relu", [-1, -2, -3], [-1, 2, 0], [-1, 0, 0]),
        ("relu6", [-1, -2, -3], [-1, 2, 0], [-1, 0, 0]),
        # Above 6 it is the other way round, and only for relu6.
        ("relu6", [7, 8, -1], [-1, 2, -3], [0, 2, -3]),
        ("relu", [7, -8, -1], [-1, 2, -3], [-1, 0, 0]),
        # One live unit with a gradient: the plain gradient.
        ("relu", [1, -2, -3], [0.5, -1, 2], [0.5, 0, 0]),
        ("relu6", [1, -2, 9], [0.5, -1, 2], [0.5, 0, 0]),
        # A live unit that gets no gradient lets nothing through either.
        ("relu", [1, -2, -3], [0, -1, 2], [0, -1, 0]),
        ("relu6", [1, 8, -3], [0, 1, 2], [0, 1, 0]),
        # On the edge nothing is outside: passed both ways once redirected.
        ("relu6", [0, 0, 6], [1, -1, -1], [1, -1, -1]),
    ],
)
def test_redirected_as_in_lucid(name, x, g, slope):
    x, g = np.reshape(x, (1, 1, 3, 1)), np.reshape(g, (1, 1, 3, 1))
    value, found = pulled(getattr(redirected(jnp.array(True)), name), x, g)
    np.testing.assert_array_equal(value, pulled(getattr(PLAIN, name), x, g)[0])
    np.testing.assert_array_equal(found.ravel(), slope)
    _, off = pulled(getattr(redirected(jnp.array(False)), name), x, g)
    np.testing.assert_array_equal(off, pulled(getattr(PLAIN, name), x, g)[1])


def test_redirected_for_each_image_apart():
    x = np.reshape([[-1, -2], [-1, 2]], (2, 1, 2, 1))
    g = np.reshape([[-1, 1], [-1, 1]], (2, 1, 2, 1))
    _, slope = pulled(redirected(jnp.array(True)).relu, x, g)
    np.testing.assert_array_equal(slope.reshape(2, 2), [[-1, 0], [0, 1]])


def test_redirected_with_a_traced_switch():
    """Lucid switches it off after some steps: no other program, other gradients."""
    x, g = jnp.full((1, 2), -1.0), jnp.full((1, 2), -1.0)
    slope = jax.jit(lambda on: jax.vjp(redirected(on).relu6, x)[1](g)[0])
    np.testing.assert_array_equal(slope(True), [[-1, -1]])
    np.testing.assert_array_equal(slope(False), [[0, 0]])
    assert slope._cache_size() == 1


def test_redirected_keeps_nan():
    x = jnp.array([[jnp.nan, 1.0]])
    assert np.isnan(redirected(jnp.array(True)).relu6(x)[0, 0])
