"""Gradient transforms: the published worked examples (ORACLES D1, D4, D7)."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dreamjax import gradients
from dreamjax.filters import pyramid_down, pyramid_up
from dreamjax.gradients import GRADIENT_TRANSFORMS

G = np.array([1.0, -2.0, 3.0, -2.0], np.float32)
"""ORACLES D1 and D4."""

SHAPE = (5, 7, 3)  # of an image: odd and not square
HPARAMS = {
    "smooth_sigma": [0.8, 2.0],
    "progress_max_rate": [100.0, 0.01],
    "progress_desired": [2.0, 1.0],
}


def hparams(row):
    return {name: jnp.float32(values[row]) for name, values in HPARAMS.items()}


def random_gradient(shape=SHAPE):
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, *shape)).astype(np.float32)


def apply(transform, g):
    """Returns the first update of a transform."""
    return jax.jit(lambda g: transform.update(g, transform.init(g))[0])(g)


@pytest.fixture(scope="module")
def apply_all():
    """One program: the first update of every entry, for a hp per row."""

    def one(g, hp):
        updates = {}
        for name, entry in GRADIENT_TRANSFORMS.items():
            transform = entry.make(hp, SHAPE)
            updates[name], _ = transform.update(g, transform.init(g))
        return updates

    program = jax.jit(jax.vmap(one, (None, 0)))
    rows = [hparams(0), hparams(1)]
    stacked = jax.tree.map(lambda *v: jnp.stack(v), *rows)
    return lambda g: jax.tree.map(np.asarray, program(g, stacked))


def cascade_by_hand(g, sigma):
    def matrix(n, s):
        i = np.arange(n)
        weights = np.exp(-((i[:, None] - i[None, :]) ** 2) / (2 * s**2))
        return weights / weights.sum(axis=1, keepdims=True)

    h, w = g.shape[1:3]
    return sum(
        np.einsum("uh,bhwc,vw->buvc", matrix(h, s), g, matrix(w, s))
        for s in (sigma / 2, sigma, 2 * sigma)
    ) / np.float32(3)


def down_by_hand(x, axis):
    """TensorFlow's stride-2 'SAME' convolution with [1,4,6,4,1]/16, as a matrix."""
    n = x.shape[axis]
    before = 1 if n % 2 == 0 else 2
    matrix = np.zeros(((n + 1) // 2, n))
    for i in range(len(matrix)):
        for k, weight in enumerate((1, 4, 6, 4, 1)):
            if 0 <= 2 * i + k - before < n:
                matrix[i, 2 * i + k - before] = weight / 16
    return matrix


def lapnorm_by_hand(g, levels):
    if levels == 0:
        return g / np.sqrt((g**2).mean())
    rows, columns = down_by_hand(g, 0), down_by_hand(g, 1)
    low = np.einsum("ih,hwc,jw->ijc", rows, g, columns)
    high = g - 4 * np.einsum("ih,ijc,jw->hwc", rows, low, columns)
    high = high / np.sqrt((high**2).mean())
    merged = lapnorm_by_hand(low, levels - 1)
    return 4 * np.einsum("ih,ijc,jw->hwc", rows, merged, columns) + high


def by_hand(name, g, row):
    """Returns the update of gradients [B, H, W, C] by NumPy."""
    axes = (1, 2, 3)
    squares = (g**2).sum(axis=axes, keepdims=True)
    match name:
        case "mean_abs":
            return g / np.abs(g).mean(axis=axes, keepdims=True)
        case "std":
            return g / g.std(axis=axes, keepdims=True)
        case "l2":
            return g / np.sqrt(squares)
        case "smooth":
            return cascade_by_hand(g, HPARAMS["smooth_sigma"][row])
        case "laplacian":
            return np.stack([lapnorm_by_hand(x.astype(np.float64), 4) for x in g])
        case "progress":
            most = HPARAMS["progress_max_rate"][row]
            return g * np.minimum(most, HPARAMS["progress_desired"][row] / squares)
    raise NotImplementedError(f"a gradient transform without a test: {name}")


@pytest.mark.parametrize("name", GRADIENT_TRANSFORMS)
def test_against_numpy_and_odd_and_per_image(name, apply_all):
    g = random_gradient()
    g[1] *= 1e3  # must not show in the others
    got, mirrored = apply_all(g)[name], apply_all(-g)[name]
    assert np.isfinite(got).all()
    for row in (0, 1):
        expected = by_hand(name, g, row)
        np.testing.assert_allclose(got[row], expected, rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(mirrored, -got, rtol=1e-6)


@pytest.mark.parametrize("name", GRADIENT_TRANSFORMS)
def test_zero_and_non_finite_images(name, apply_all):
    g = random_gradient()
    usual = apply_all(g)[name]
    g[1] = 0
    g[2, 0, 0, 0] = np.nan
    got = apply_all(g)[name]
    np.testing.assert_array_equal(got[:, 1], 0)
    assert np.isnan(got[:, 2]).any(axis=(1, 2, 3)).all()
    np.testing.assert_allclose(got[:, 0], usual[:, 0], rtol=1e-6)
    g[2, 0, 0, 0] = np.inf
    got = apply_all(g)[name]
    assert (~np.isfinite(got[:, 2])).any(axis=(1, 2, 3)).all()


def test_tiny_gradients_keep_their_direction(apply_all):
    g = random_gradient()
    usual, tiny = apply_all(g), apply_all(g * np.float32(1e-22))
    for name in ("mean_abs", "l2"):
        np.testing.assert_allclose(tiny[name], usual[name], rtol=1e-5)
    assert np.isfinite(tiny["progress"]).all()


@pytest.mark.parametrize("name", GRADIENT_TRANSFORMS)
def test_entry_is_complete(name):
    entry = GRADIENT_TRANSFORMS[name]
    assert set(entry.neutral) == set(entry.hparams) and entry.doc
    for missing in entry.hparams:
        rest = {key: v for key, v in hparams(0).items() if key != missing}
        with pytest.raises(ValueError, match=missing):
            entry.make(rest, SHAPE)


def test_worked_examples_d1_and_d4():
    g = G[None]
    got = 1.5 * np.asarray(apply(gradients.normalize_mean_abs(), g))
    np.testing.assert_allclose(got, [[0.75, -1.5, 2.25, -1.5]], rtol=1e-6)
    got = apply(gradients.normalize_std(), g)
    np.testing.assert_allclose(got, g / np.sqrt(4.5), rtol=1e-6)
    got = apply(gradients.normalize_l2(), g)
    np.testing.assert_allclose(got, g / np.sqrt(18), rtol=1e-6)
    got = apply(gradients.progress(100.0, 2.0), g)  # a rate of 2/18
    np.testing.assert_allclose(got, g / 9, rtol=1e-6)
    got = apply(gradients.progress(0.01, 2.0), g)
    np.testing.assert_allclose(got, g / 100, rtol=1e-6)


def test_leaves_are_normalized_jointly():
    whole = {"pixels": jnp.asarray(G)[None]}
    split = {"a": jnp.asarray(G[:1])[None], "b": jnp.asarray(G[1:]).reshape(1, 3, 1)}
    transforms = (
        gradients.normalize_mean_abs(),
        gradients.normalize_std(),
        gradients.normalize_l2(),
        gradients.progress(100.0, 2.0),
    )
    both = jax.jit(
        lambda *trees: [
            [t.update(tree, t.init(tree))[0] for tree in trees] for t in transforms
        ]
    )(whole, split)
    for expected, got in both:
        assert got["b"].shape == (1, 3, 1)
        joined = np.concatenate([np.ravel(got["a"]), np.ravel(got["b"])])
        np.testing.assert_allclose(joined, expected["pixels"][0], rtol=1e-6)


def test_smooth_schedule_d7():
    transform = gradients.smooth(0.7, end=2.5, steps=10)
    update = jax.jit(transform.update)
    g = np.zeros((1, 9, 9, 1), np.float32)
    g[0, 4, 4] = 1
    state = transform.init(g)
    for i in range(12):
        got, state = update(g, state)
        sigma = min((i + 1) / 10 * 2 + 0.5, 2.5)
        expected = cascade_by_hand(g, sigma)
        np.testing.assert_allclose(got, expected, atol=1e-6, err_msg=str(i))
    assert state.count == 12


def test_smooth_at_0_is_the_identity():
    g = random_gradient()
    np.testing.assert_array_equal(apply(gradients.smooth(0.0), g), g)


@pytest.mark.parametrize("size", [(8, 6), (1, 2)])
def test_laplacian_at_any_size(size):
    g = random_gradient((*size, 2))
    got = apply(gradients.normalize_laplacian(2), g)
    expected = np.stack([lapnorm_by_hand(x.astype(np.float64), 2) for x in g])
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_pyramid_up_is_four_times_the_transpose_of_down():
    size = (8, 7)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, *size, 2)).astype(np.float32)
    y = rng.normal(size=(1, 4, 4, 2)).astype(np.float32)
    down, up = jax.jit(lambda x, y: (pyramid_down(x), pyramid_up(y, *size)))(x, y)
    np.testing.assert_allclose(4 * np.vdot(down, y), np.vdot(x, up), rtol=1e-5)
    with pytest.raises(ValueError, match="images"):
        pyramid_up(y, size[0] + 2, size[1])


def test_it_chains_with_optax():
    transform = optax.chain(
        gradients.smooth(1.0), gradients.normalize_mean_abs(), optax.sgd(0.1)
    )
    g = random_gradient()
    got = apply(transform, g)
    blurred = cascade_by_hand(g, 1.0)
    expected = -0.1 * blurred / np.abs(blurred).mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_what_is_not_possible():
    with pytest.raises(ValueError, match="steps"):
        gradients.smooth(1.0, end=2.0)
    with pytest.raises(ValueError, match="steps=0"):
        gradients.smooth(1.0, end=2.0, steps=0)
    with pytest.raises(ValueError, match="levels=0"):
        gradients.normalize_laplacian(0)
    with pytest.raises(ValueError, match="image_shape"):
        gradients.smooth(1.0, image_shape=(4, 4))
    with pytest.raises(ValueError, match='needs param="pixel"'):
        gradients.smooth(1.0).init(np.zeros((2, 4)))
    with pytest.raises(ValueError, match='needs param="pixel"'):
        entry = GRADIENT_TRANSFORMS["laplacian"].make({}, SHAPE)
        entry.update(np.zeros((2, 5, 4, 6)), optax.EmptyState())
    with pytest.raises(ValueError, match="first axis"):
        gradients.normalize_l2().init({"a": np.zeros((2, 3)), "b": np.zeros((3,))})
    with pytest.raises(ValueError, match="first axis"):
        gradients.normalize_l2().init(np.zeros(()))
