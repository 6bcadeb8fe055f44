"""HOG and DSIFT as networks, against what VLFeat's own code says of a photo."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import models
from dreamjax.models.hog import LUMA, dsift, hog, hogb
from dreamjax.models.layers import PLAIN

VLFEAT = np.load(Path(__file__).parent / "vlfeat.npz")
PICTURE = VLFEAT["picture"][None, :, :, None] - 128  # [1, 72, 56, 1]
MODELS = {"hog": hog(), "hogb": hogb(), "dsift": dsift()}
LAST = {"hog": "hog", "hogb": "hog", "dsift": "dsift"}


@pytest.fixture(scope="module")
def looks():
    """Name -> taps of the picture."""
    return {
        name: jax.device_get(
            jax.jit(lambda x, m=model: m.network({}, x, PLAIN))(PICTURE)
        )
        for name, model in MODELS.items()
    }


@pytest.mark.parametrize("name", ["hog", "hogb"])
def test_hog_is_vlfeats_away_from_the_border(looks, name):
    inner = (slice(2, -2), slice(2, -2))
    ours = looks[name]["hog"][0]  # [9, 7, 27]
    theirs = VLFEAT[name][..., :27]  # without the four texture components
    assert ours.shape == theirs.shape == (9, 7, 27)
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=2e-5)
    assert theirs[inner].max() > 0.2


def test_hog_at_the_border_has_fewer_blocks(looks):
    taps = looks["hog"]
    # A corner's cell is at place (0, 0) of the first block and in no other.
    corner = 0.5 * taps["clamped"][0, 0, 0, :27]
    np.testing.assert_allclose(taps["hog"][0, 0, 0], corner, atol=1e-6)
    # Orientations are sums of opposite directions; a block's norm counts those.
    blocks = taps["blocks"][0].reshape(8, 6, 4, 27)
    summed = blocks[..., :9] + blocks[..., 9:18]
    np.testing.assert_allclose(blocks[..., 18:], summed, rtol=1e-5)
    norms = np.sqrt(np.sum(np.square(summed), axis=(2, 3)))
    expected = taps["blocks"][0] / norms[..., None]
    np.testing.assert_allclose(taps["normalized"][0], expected, rtol=1e-4)


def test_dsift_is_nearly_vlfeats(looks):
    ours, theirs = looks["dsift"]["dsift"][0], VLFEAT["dsift"][:, :2]
    assert ours.shape == theirs.shape == (4, 2, 128)
    for a, b in zip(ours.reshape(8, 128), theirs.reshape(8, 128), strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.997


def test_dsift_is_the_formula(looks):
    """One descriptor, summed pixel by pixel."""
    v = PICTURE[0, :, :, 0].astype(np.float64)
    top, left = 15, 15  # the second descriptor of the second row: 3 cells of 5 px
    expected = np.zeros((4, 4, 8))
    for y in range(25):
        for x in range(25):
            a, b = 1 + top + y, 1 + left + x
            gx, gy = (v[a, b + 1] - v[a, b - 1]) / 2, (v[a + 1, b] - v[a - 1, b]) / 2
            turn = np.arctan2(gy, gx) / (np.pi / 4)
            for i in range(4):
                for j in range(4):
                    share = max(0, 1 - abs(y - 5 * i - 4.5) / 5)
                    share *= max(0, 1 - abs(x - 5 * j - 4.5) / 5)
                    for o in range(8):
                        apart = abs((turn - o + 4) % 8 - 4)
                        part = share * max(0, 1 - apart)
                        expected[i, j, o] += part * np.hypot(gx, gy)
    rows = (np.arange(4) - 1.5) ** 2
    expected *= np.exp(-(rows[:, None, None] + rows[None, :, None]) / 2 / 1.5**2)
    expected = np.minimum(expected / np.sqrt(1e-6 + np.sum(expected**2)), 0.2)
    ours = looks["dsift"]["dsift"][0, 1, 1]
    np.testing.assert_allclose(ours, expected.ravel(), atol=1e-5)


@pytest.mark.parametrize("name", list(MODELS))
def test_gradients_are_those_of_the_formula(name):
    """In float64, by a step so small that no gradient changes its bin."""
    with jax.enable_x64():
        picture = PICTURE[:, :32, :32].astype(np.float64)

        @jax.jit
        def value(x):
            last = MODELS[name].network({}, x, PLAIN)[LAST[name]]
            return jnp.sum(last * np.cos(np.arange(last.size)).reshape(last.shape))

        gradient = jax.jit(jax.grad(value))
        direction = np.random.default_rng(0).normal(size=picture.shape)
        slope = (value(picture + 1e-6 * direction) - value(picture)) / 1e-6
        expected = np.sum(gradient(picture) * direction)
        assert float(slope) == pytest.approx(float(expected), rel=1e-3)
        flat = gradient(np.zeros_like(picture))
        assert np.isfinite(flat).all()


def test_they_are_models_like_others():
    model = models.load("dreamjax.models.hog:hog")
    shapes = models.tap_shapes(model, (32, 48))
    assert shapes["hog"] == (1, 4, 6, 27) and shapes["bins"] == (1, 32, 48, 18)
    assert models.tap_shapes(MODELS["dsift"], (27, 27))["dsift"] == (1, 1, 1, 128)
    red = model.taps({}, jnp.zeros((1, 16, 16, 3)).at[..., 0].set(1), PLAIN)["gray"]
    np.testing.assert_allclose(red, 255 * LUMA[0] - 128, rtol=1e-5)
    alone = hog(channels=1).taps({}, jnp.ones((1, 16, 16, 1)), PLAIN)["gray"]
    np.testing.assert_allclose(alone, 255 - 128)
    with pytest.raises(ValueError, match="channels=2"):
        hog(channels=2)
    with pytest.raises(ValueError, match="at least 16 px"):
        models.tap_shapes(model, (8, 32))
    with pytest.raises(ValueError, match="cell=7"):
        hog(cell=7)
