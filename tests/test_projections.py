"""Projections: identities, values by hand, and Yosinski's percentiles (ORACLES R6)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.projections import PROJECTIONS

# Even, so that Yosinski's percentiles cut between two pixels: 100 of them.
SHAPE = (2, 5, 20, 3)

# A value of every hyperparameter at which something happens, at step 4.
ON = {
    "decay": 0.3,
    "blur_width": 1.0,
    "blur_every": 4.0,
    "norm_percentile": 50.0,
    "contribution_percentile": 20.0,
    "contribution_abs_percentile": 90.0,
    "median_every": 2.0,
    "clip_low": 0.2,
    "clip_high": 0.7,
}
OFF = {name: v for entry in PROJECTIONS.values() for name, v in entry.neutral.items()}


def arrays(shape=SHAPE):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=shape).astype(np.float32)
    return images, rng.normal(size=shape).astype(np.float32)


def traced(values):
    return {name: jnp.float32(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def project_all():
    """One program: each projection alone, for every row of hyperparameters."""

    def one(images, gradient, step, hp):
        return {
            name: entry.project(images, gradient, step, hp)
            for name, entry in PROJECTIONS.items()
        }

    return jax.jit(jax.vmap(one, (None, None, None, 0)))


@pytest.fixture(scope="module")
def rows(project_all):
    """Returns what every projection makes of the images: (off, on, off) at step 4."""
    images, gradient = arrays()
    hp = {name: jnp.array([OFF[name], ON[name], OFF[name]]) for name in ON}
    got = project_all(images, gradient, jnp.int32(4), hp)
    return images, gradient, jax.tree.map(np.asarray, got)


def grayed(images, mask):
    return np.where(mask[..., None], np.float32(0.5), images)


def below(values, percentile):
    flat = values.reshape(len(values), -1)
    threshold = np.percentile(flat, percentile, axis=1)
    return values < threshold[:, None, None]


def gaussian_by_hand(images, sigma):
    def matrix(n):
        i = np.arange(n)
        weights = np.exp(-((i[:, None] - i[None, :]) ** 2) / (2 * sigma**2))
        return weights / weights.sum(axis=1, keepdims=True)

    h, w = images.shape[1:3]
    return np.einsum("uh,bhwc,vw->buvc", matrix(h), images, matrix(w))


def by_hand(name, images, gradient):
    x = images - 0.5
    match name:
        case "decay":
            return 0.5 + 0.7 * x
        case "blur":
            return gaussian_by_hand(images, 1.0)
        case "norm_clip":
            return grayed(images, below(np.sqrt((x**2).sum(axis=3)), 50))
        case "contribution_clip":
            return grayed(images, below((x * gradient).sum(axis=3), 20))
        case "contribution_abs_clip":
            return grayed(images, below(np.abs((x * gradient).sum(axis=3)), 90))
        case "median":
            padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
            h, w = images.shape[1:3]
            nine = [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
            return np.median(np.stack(nine), axis=0)
        case "clip":
            return np.clip(images, 0.2, 0.7)
    raise NotImplementedError(f"a projection without a test: {name}")


def test_they_are_applied_in_the_order_of_yosinski():
    assert list(PROJECTIONS) == [
        "decay",
        "blur",
        "norm_clip",
        "contribution_clip",
        "contribution_abs_clip",
        "median",
        "clip",
    ]
    assert set(ON) == set(OFF)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_value_by_hand(name, rows):
    images, gradient, got = rows
    expected = by_hand(name, images, gradient)
    assert np.isfinite(got[name]).all()
    np.testing.assert_allclose(got[name][1], expected, atol=1e-6)
    assert np.abs(expected - images).max() > 0.05


@pytest.mark.parametrize("name", PROJECTIONS)
def test_neutral_is_the_identity_to_the_bit(name, rows):
    images, _, got = rows
    np.testing.assert_array_equal(got[name][0], images)
    np.testing.assert_array_equal(got[name][2], images)


def test_a_row_alone_is_the_same(project_all, rows):
    images, gradient, got = rows
    hp = {name: jnp.float32([value]) for name, value in ON.items()}
    alone = project_all(images, gradient, jnp.int32(4), hp)
    for name in PROJECTIONS:
        np.testing.assert_allclose(alone[name][0], got[name][1], atol=1e-6)


def test_every_counts_from_step_0(project_all):
    images, gradient = arrays()
    # blur_every and median_every per row; the width of row 3 is 0.
    every = jnp.array([1.0, 4.0, 0.0, 1.0])
    width = jnp.array([1.0, 1.0, 1.0, 0.0])
    hp = {name: jnp.full(4, value) for name, value in ON.items()}
    hp = hp | {"blur_every": every, "median_every": every, "blur_width": width}
    for step in (0, 1, 4, 6):
        got = project_all(images, gradient, jnp.int32(step), hp)
        changed = [bool((x != images).any()) for x in got["blur"]]
        assert changed == [True, step % 4 == 0, False, False], step
        changed = [bool((x != images).any()) for x in got["median"]]
        assert changed == [True, step % 4 == 0, False, True], step


# Yosinski's table 1: decay, blur width, blur every, norm, abs contribution, and the
# share of gray pixels that it leaves (ORACLES R6).
YOSINSKI = [
    (0.0, 0.5, 4.0, 50.0, 0.0, 0.5),
    (0.3, 0.0, 0.0, 20.0, 0.0, 0.2),
    (0.0001, 1.0, 4.0, 0.0, 0.0, 0.0),
    (0.0, 0.5, 4.0, 0.0, 90.0, 0.9),
]


def test_gray_share_of_yosinskis_four_settings():
    def one(images, gradient, hp):
        for entry in PROJECTIONS.values():
            images = entry.project(images, gradient, jnp.int32(0), hp)
        return images

    columns = jnp.array(YOSINSKI).T
    names = (
        "decay",
        "blur_width",
        "blur_every",
        "norm_percentile",
        "contribution_abs_percentile",
    )
    hp = {name: jnp.full(4, value) for name, value in OFF.items()}
    hp = hp | dict(zip(names, columns[:5], strict=True))
    images, gradient = arrays()
    got = jax.jit(jax.vmap(one, (None, None, 0)))(images, gradient, hp)
    share = (np.asarray(got) == 0.5).all(axis=-1).mean(axis=(2, 3))  # [4, B]
    expected = np.tile([[row[5]] for row in YOSINSKI], (1, 2))
    np.testing.assert_allclose(share, expected, atol=1e-6)


def test_the_least_helpful_pixels_go():
    # Score Σ g x of three pixels: the first earns 1, the second costs 1, the third is
    # nearly idle. Their loss changes the score by -1, 1 and -.01.
    images = np.array([1.0, 0.0, 0.51], np.float32).reshape(1, 1, 3, 1)
    gradient = np.array([2.0, 2.0, 1.0], np.float32).reshape(1, 1, 3, 1)
    names = ("contribution_percentile", "contribution_abs_percentile")
    hp = traced(dict.fromkeys(names, 50.0))
    expected = {
        "contribution_clip": [1.0, 0.5, 0.51],
        "contribution_abs_clip": [1.0, 0.0, 0.5],
    }
    for name, values in expected.items():
        project = jax.jit(PROJECTIONS[name].project)
        got = np.asarray(project(images, gradient, jnp.int32(0), hp))
        np.testing.assert_allclose(got.ravel(), values)


@pytest.mark.parametrize("shape", [(1, 3, 5, 3), (3, 7, 4, 1)])
def test_percentiles_of_odd_sizes_ties_and_signs(shape):
    images, gradient = arrays(shape)
    images[:, :2] = 0.5  # ties at a contribution of 0 and -0
    contribution = ((images - 0.5) * gradient).sum(axis=3)
    project = jax.jit(PROJECTIONS["contribution_clip"].project)
    for percentile in (1.0, 30.0, 55.0, 100.0):
        hp = traced({"contribution_percentile": percentile})
        got = project(images, gradient, jnp.int32(0), hp)
        expected = grayed(images, below(contribution, percentile))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_left_out_where_it_never_acts(name):
    entry = PROJECTIONS[name]
    assert set(entry.neutral) == set(entry.hparams) and entry.doc
    off = {key: (OFF[key],) for key in entry.hparams}
    assert not entry.active(off)
    assert entry.active({key: (OFF[key], ON[key]) for key in entry.hparams})
    with pytest.raises(ValueError, match=entry.hparams[0]):
        entry.active({})
    with pytest.raises(ValueError, match=entry.hparams[0]):
        entry.project(*arrays(), jnp.int32(0), {})
    with pytest.raises(ValueError, match=r"\[B, H, W, C\]"):
        entry.project(np.zeros((4, 4)), np.zeros((4, 4)), jnp.int32(0), traced(ON))


def test_active_needs_both_blur_values_and_either_clip_value():
    blur, clip = PROJECTIONS["blur"], PROJECTIONS["clip"]
    assert not blur.active({"blur_width": (0.0, 1.0), "blur_every": (0,)})
    assert not blur.active({"blur_width": (0.0,), "blur_every": (0, 4)})
    assert clip.active({"clip_low": (0.1,), "clip_high": (1.0,)})
    assert clip.active({"clip_low": (0.0,), "clip_high": (1.0, 0.9)})
    assert not clip.active({"clip_low": (-1.0,), "clip_high": (2.0,)})


def test_gradient_must_fit():
    images, gradient = arrays()
    with pytest.raises(ValueError, match="gradient"):
        PROJECTIONS["contribution_clip"].project(
            images, gradient[:1], jnp.int32(0), traced(ON)
        )
