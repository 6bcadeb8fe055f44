"""Penalties against values by hand, from ORACLES R1 to R4 and from the formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.filters import gaussian_blur, gaussian_matrix, lucid_blur, median3
from dreamjax.regularizers import REGULARIZERS, total_variation

RAMP = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)[None, :, :, None]
"""R1's image, [1, 2, 2, 1]."""

# Two values of all that a penalty reads; the second row is for vmap.
HPARAMS = {
    "lp_power": [6.0, 1.0],
    "tv_beta": [1.0, 2.0],
    "spectral_power": [1.0, 0.25],
    "boundary_width": [1.0, 2.5],
}
ODD = (2, 5, 7, 3)

# Compiled whole: operation by operation, a test takes ten times as long.
blurred = jax.jit(lucid_blur, static_argnums=1)
gaussian = jax.jit(gaussian_blur)
matrix = jax.jit(gaussian_matrix, static_argnums=0)


def hparams(row, shape):
    hp = {name: jnp.float32(values[row]) for name, values in HPARAMS.items()}
    hp["reference"] = jnp.full(shape[1:], 0.25 * (row + 1), jnp.float32)
    return hp


@pytest.fixture(scope="module")
def all_penalties():
    """One program: every penalty, and the slope of each, for a hp per row."""

    def one(images, hp):
        def penalize(x, name):
            values = REGULARIZERS[name].penalty(x, hp)
            return values.sum(), values

        slope = jax.grad(penalize, has_aux=True)
        return {name: slope(images, name) for name in REGULARIZERS}

    return jax.jit(jax.vmap(one, (None, 0)))


def stacked(shape):
    rows = [hparams(row, shape) for row in (0, 1)]
    return rows, jax.tree.map(lambda *v: jnp.stack(v), *rows)


def random_images():
    return np.random.default_rng(3).uniform(size=ODD).astype(np.float32)


def by_hand(name):
    """Returns images, hp and the value of the penalty, by hand."""
    # Two pixels of two channels: (0, .5) and (1, .75).
    two = np.array([[0.0, 0.5], [1.0, 0.75]], np.float32).reshape(1, 1, 2, 2)
    corner = np.full((1, 3, 3, 1), 0.5, np.float32)
    corner[0, 0, 0, 0] = 1.5
    # Its blur3: .4 there (R3), and at its neighbors, whose own kernels sum to 3.5 amid
    # an edge and to 5 at the center:
    near, far = 0.5 / 3.5, 0.5 / 5
    match name:
        case "l1":
            return two, {}, (0.5 + 0.0 + 0.5 + 0.25) / 2
        case "l2":
            return two, {}, (0.25 + 0.25 + 0.0625) / 2
        case "lp":  # 1 and 1 + .25, to the third
            return two, {"lp_power": 6.0}, (1 + 1.25**3) / 2
        case "tv":
            return RAMP, {"tv_beta": 2.0}, 10 / 4
        case "tv_aniso":
            return RAMP, {}, 6 / 4
        case "spectral":  # a cosine of amplitude .2 at 3 cycles in 12: f = .5
            line = 0.5 + 0.2 * np.cos(2 * np.pi * 3 * np.arange(12) / 12)
            image = np.tile(line, (5, 1))[None, :, :, None]
            return image, {"spectral_power": 1.0}, 0.2**2 / 2 * 0.5**2
        case "boundary":  # all but the center is border
            # 5x5 kernel, cut at the image: a corner pixel sees 4 of weight 1 and 5 of
            # weight .5, a pixel amid an edge 6 and 3.
            rough = (1 / 6.5 - 1) ** 2 + 2 * (1 / 7.5) ** 2
            # The five pixels at distance 2: 3 corners, 2 amid an edge.
            rough += 3 * (0.5 / 6.5) ** 2 + 2 * (0.5 / 7.5) ** 2
            return corner, {"boundary_width": 1.0}, (rough + 0.8) / 9
        case "blur3":
            rough = 0.6**2 + 2 * near**2 + far**2
            return corner, {}, 0.5 * rough / 9
        case "distance":
            reference = np.zeros((1, 2, 2), np.float32)
            return two, {"reference": reference}, (0.25 + 1 + 0.5625) / 2
    raise NotImplementedError(f"a penalty without a test: {name}")


@pytest.mark.parametrize("name", REGULARIZERS)
def test_value_by_hand(name):
    images, hp, expected = by_hand(name)
    hp = {key: jnp.asarray(value) for key, value in hp.items()}
    got = jax.jit(REGULARIZERS[name].penalty)(jnp.asarray(images, jnp.float32), hp)
    assert got.shape == (1,)
    np.testing.assert_allclose(got[0], expected, rtol=1e-5)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_entry_is_complete(name):
    entry = REGULARIZERS[name]
    assert set(entry.neutral) == set(entry.hparams) - {"reference"}
    assert entry.doc
    for missing in entry.hparams:
        with pytest.raises(ValueError, match=missing):
            jax.eval_shape(entry.penalty, random_images(), {})
    with pytest.raises(ValueError, match=r"\[B, H, W, C\]|reference"):
        entry.penalty(np.zeros((4, 4)), hparams(0, ODD))


@pytest.mark.parametrize(
    ("beta", "expected"), [(1.0, 5.236068), (2.0, 10.0), (6.0, 190.0)]
)
def test_total_variation_r1(beta, expected):
    got = jax.jit(total_variation)(RAMP, beta)
    np.testing.assert_allclose(got, [expected], atol=1e-4)


def test_rows_of_hyperparameters_are_independent(all_penalties):
    images = random_images()
    rows, hp = stacked(ODD)
    got = all_penalties(images, hp)

    @jax.jit
    def alone(images, hp):
        return {name: e.penalty(images, hp) for name, e in REGULARIZERS.items()}

    for row in (0, 1):
        expected = alone(images, rows[row])
        for name, (slope, values) in got.items():
            assert np.isfinite(slope).all() and np.isfinite(values).all(), name
            assert (values > 0).all(), name
            np.testing.assert_allclose(
                values[row], expected[name], rtol=1e-5, err_msg=name
            )


def test_slope_is_finite_where_the_image_is_flat(all_penalties):
    _, hp = stacked(ODD)
    for gray in (0.0, 0.5, 1.0):
        got = all_penalties(jnp.full(ODD, gray, jnp.float32), hp)
        for name, (slope, values) in got.items():
            assert np.isfinite(slope).all(), (name, gray)
            assert (values >= -1e-12).all(), (name, gray)
            if gray == 0.5 and name != "distance":
                np.testing.assert_allclose(values, 0, atol=1e-10, err_msg=name)
                np.testing.assert_allclose(slope, 0, atol=1e-6, err_msg=name)


def test_an_image_does_not_see_its_neighbors(all_penalties):
    images = random_images()
    _, hp = stacked(ODD)
    both = all_penalties(images, hp)
    other = all_penalties(np.stack([images[0], images[1] / 2]), hp)
    for name in REGULARIZERS:
        for a, b in zip(both[name], other[name], strict=True):
            np.testing.assert_array_equal(a[:, 0], b[:, 0], err_msg=name)


@pytest.mark.parametrize("shape", [(1, 4, 6, 2), (1, 5, 7, 1), (1, 4, 7, 1)])
def test_spectral_against_the_full_transform(shape):
    images = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    height, width = shape[1:3]
    f2 = (
        np.fft.fftfreq(height)[:, None] ** 2 + np.fft.fftfreq(width)[None, :] ** 2
    ) * 4
    energy = np.abs(np.fft.fft2(images, axes=(1, 2), norm="ortho")) ** 2
    penalty = jax.jit(REGULARIZERS["spectral"].penalty)
    for power in (0.0, 0.7):
        weights = np.where(f2 > 0, f2**power, 0)[None, :, :, None]
        expected = (weights * energy).sum() / (height * width)
        got = penalty(images, {"spectral_power": jnp.float32(power)})
        np.testing.assert_allclose(got[0], expected, rtol=1e-5)
    variance = images.var(axis=(1, 2)).sum()
    got = penalty(images, {"spectral_power": jnp.float32(0)})
    np.testing.assert_allclose(got[0], variance, rtol=1e-5)


def test_boundary_leaves_the_inside_alone():
    images = np.full((1, 9, 8, 1), 0.5, np.float32)
    images[0, 4, 4, 0] = 1
    penalty = jax.jit(REGULARIZERS["boundary"].penalty)
    # The blur reaches columns and rows 2 to 6, and of these column 6 is border where
    # the border is 2 wide: 5 pixels, to each of which it carries .5 * .5/17. But in
    # column 6 the kernel loses its outer column of .5: there it sums to 17 - 2.5.
    expected = 5 * (0.25 / 14.5) ** 2 / 72
    got = penalty(images, {"boundary_width": jnp.float32(2)})
    np.testing.assert_allclose(got, [expected], rtol=1e-5)
    assert penalty(images, {"boundary_width": jnp.float32(0)})[0] == 0


def test_blur3_slope_r4():
    images = random_images()[:1]
    pixels = images.shape[1] * images.shape[2]
    total = jax.jit(jax.grad(lambda x: REGULARIZERS["blur3"].penalty(x, {}).sum()))
    slope = total(images)
    expected = (images - blurred(images, 3)) / pixels
    np.testing.assert_allclose(slope, expected, atol=1e-7)


def test_reference_must_have_the_shape_of_an_image():
    with pytest.raises(ValueError, match="reference"):
        REGULARIZERS["distance"].penalty(random_images(), {"reference": jnp.ones((3,))})


def test_lucid_blur_r3():
    delta = np.zeros((1, 5, 5, 1), np.float32)
    delta[0, 2, 2] = 1
    got = np.asarray(blurred(delta, 3))[0, :, :, 0]
    expected = np.pad(np.full((3, 3), 0.1), 1)
    expected[2, 2] = 0.2
    np.testing.assert_allclose(got, expected, atol=1e-7)
    corner = np.zeros((1, 3, 3, 1), np.float32)
    corner[0, 0, 0] = 1
    got = np.asarray(blurred(corner, 3))[0, 0, 0, 0]
    np.testing.assert_allclose(got, 0.4, rtol=1e-6)
    wide = np.zeros((1, 9, 9, 1), np.float32)
    wide[0, 4, 4] = 17
    got = np.asarray(blurred(wide, 5))[0, 2:7, 2:7, 0]
    expected = np.pad(np.ones((3, 3)), 1, constant_values=0.5)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="width=4"):
        lucid_blur(jnp.asarray(wide), 4)


def test_gaussian_blur():
    np.testing.assert_array_equal(matrix(4, 0.0), np.eye(4))
    rows = np.asarray(matrix(7, 1.5))
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    offsets = np.arange(-3, 4)
    expected = np.exp(-(offsets**2) / 4.5)
    np.testing.assert_allclose(rows[3], expected / expected.sum(), rtol=1e-5)
    images = random_images()
    np.testing.assert_array_equal(gaussian(images, 0.0), images)
    columns = np.asarray(matrix(5, 1.5))
    expected = np.einsum("uh,bhwc,vw->buvc", columns, images, rows)
    np.testing.assert_allclose(gaussian(images, 1.5), expected, atol=1e-6)
    flat = jnp.full(ODD, 0.3)
    np.testing.assert_allclose(gaussian(flat, 50.0), flat, rtol=1e-6)
    with pytest.raises(ValueError, match="size=0"):
        gaussian_matrix(0, 1.0)
    with pytest.raises(ValueError, match=r"\[B, H, W, C\]"):
        gaussian_blur(images[0], 1.0)


@pytest.mark.parametrize("shape", [ODD, (1, 1, 1, 1), (1, 2, 1, 2)])
def test_median3_is_the_median_of_nine(shape):
    images = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    h, w = shape[1:3]
    nine = [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
    np.testing.assert_array_equal(
        jax.jit(median3)(images), np.median(np.stack(nine), axis=0)
    )
