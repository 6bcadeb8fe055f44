"""Metrics of pictures, on pictures with a known answer."""

import math

import numpy as np
import pytest

from dreamjax.metrics import picture
from dreamjax.metrics.picture import gray_share, picture_metrics
from dreamjax.params.color import COLOR_SQRT
from tests.test_measures import noise_plane

NAMES = {
    *("spectral_slope", "slope_distance", "high_frequency"),
    *("color_distance", "colorfulness", "saturation", "total_variation"),
}


def in_range(plane):
    """Returns a plane as a gray picture [1, H, W, 3] about 0.5, clipping nothing."""
    scaled = 0.5 + 0.4 * plane / np.abs(plane).max()
    return np.repeat(scaled[None, :, :, None], 3, axis=-1)


def colored_noise(covariance_root, size=96, seed=0):
    """Returns [1, H, W, 3] of color covariance root rootᵀ / 400, to rounding."""
    white = np.random.default_rng(seed).normal(size=(size * size, 3))
    white -= white.mean(axis=0)
    values, vectors = np.linalg.eigh(white.T @ white / len(white))
    white = white @ (vectors / np.sqrt(values)) @ vectors.T  # exactly uncorrelated
    return (0.5 + white @ covariance_root.T / 20).reshape(1, size, size, 3)


def test_names_follow_from_the_shape():
    noise = np.random.default_rng(0).uniform(size=(2, 24, 20, 3))
    assert set(picture_metrics(noise)) == NAMES
    gray = NAMES - {"color_distance", "colorfulness"}
    for channels in (1, 2, 4):
        assert set(picture_metrics(noise[..., :1].repeat(channels, -1))) == gray
    small = gray - {"spectral_slope", "slope_distance"}
    assert set(picture_metrics(noise[:, :5, :5, :1])) == small
    with pytest.raises(ValueError, match=r"\[B, H, W, C\]"):
        picture_metrics(noise[0])


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.5])
def test_slope_of_noise_whose_amplitude_falls_as_a_power(exponent):
    image = in_range(noise_plane(128, 128, 2 * exponent))
    found = picture_metrics(image)
    assert found["spectral_slope"] == pytest.approx(-exponent, abs=0.08)
    assert found["slope_distance"] == pytest.approx(abs(1 - exponent), abs=0.08)


def test_high_frequency_of_waves_below_and_above():
    """A Hann window spreads a whole number of waves to its two neighbors only."""
    x = np.arange(64)
    for cycles, share in ((4, 0.0), (14, 0.0), (18, 1.0), (28, 1.0)):
        wave = np.broadcast_to(np.sin(2 * np.pi * cycles * x / 64), (64, 64))
        found = picture_metrics(in_range(wave))["high_frequency"]
        assert found == pytest.approx(share, abs=1e-9)
    # Of two waves, of amplitudes 2 and 1, the powers are as 4 to 1.
    two = 2 * np.sin(2 * np.pi * 8 * x / 64) + np.sin(2 * np.pi * 24 * x / 64)
    image = in_range(np.broadcast_to(two, (64, 64)))
    assert picture_metrics(image)["high_frequency"] == pytest.approx(0.2, abs=1e-9)


def test_channels_share_one_spectrum():
    x = np.arange(64)
    low, high = (np.sin(2 * np.pi * n * x / 64) / 4 for n in (8, 24))
    planes = [np.broadcast_to(p + 0.5, (64, 64)) for p in (low, low, high)]
    found = picture_metrics(np.stack(planes, axis=-1)[None])
    assert found["high_frequency"] == pytest.approx(1 / 3, abs=1e-9)


def test_color_distance_of_known_covariances():
    natural = picture_metrics(colored_noise(COLOR_SQRT))
    assert natural["color_distance"] == pytest.approx(0.0, abs=1e-6)
    # Contrast does not count.
    assert picture_metrics(0.5 + (colored_noise(COLOR_SQRT) - 0.5) / 7)[
        "color_distance"
    ] == pytest.approx(0.0, abs=1e-6)
    # Against A = I / 3: tr (B / 3)^½, B's eigenvalues divided by their sum.
    values = np.linalg.eigvalsh(COLOR_SQRT @ COLOR_SQRT.T)
    fidelity = np.sqrt(values / values.sum() / 3).sum()
    white = picture_metrics(colored_noise(np.eye(3)))["color_distance"]
    assert white == pytest.approx(math.sqrt(2 - 2 * fidelity), abs=1e-9)
    # Gray, A = u uᵀ: the trace is √(uᵀ B u), B's entries summed over 3 tr B.
    gray = picture_metrics(in_range(noise_plane(32, 32, 0)))["color_distance"]
    covariance = COLOR_SQRT @ COLOR_SQRT.T
    overlap = covariance.sum() / 3 / np.trace(covariance)
    assert gray == pytest.approx(math.sqrt(2 - 2 * math.sqrt(overlap)), abs=1e-6)
    assert 0.29 < gray < 0.31 and 0.66 < white < 0.68, "as the docstring says"


def test_color_distance_is_symmetric_and_below_root_2():
    """Noise along the axis of least natural variance is as far as noise can be."""
    vectors = np.linalg.eigh(picture.NATURAL_COVARIANCE)[1]
    odd = np.zeros((3, 3))
    odd[:, 0] = vectors[:, 0]
    far = picture_metrics(colored_noise(odd))["color_distance"]
    assert 1.2 < far < math.sqrt(2)


def test_colorfulness_by_hand():
    image = np.zeros((1, 8, 8, 3))
    image[..., 0] = 1.0  # red: rg = 1, yb = .5, without spread
    expected = 255 * 0.3 * math.sqrt(1 + 0.25)
    assert picture_metrics(image)["colorfulness"] == pytest.approx(expected)
    image[:, :, 4:] = [0.0, 1.0, 0.0]  # half green: rg = ±1, yb = .5
    expected = 255 * (1.0 + 0.3 * 0.5)
    assert picture_metrics(image)["colorfulness"] == pytest.approx(expected)


def test_saturation_counts_values_that_are_0_or_255_in_8_bits():
    levels = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1) / np.float32(255)
    assert picture_metrics(levels)["saturation"] == 2 / 256
    near = np.array([0.0, 0.49, 0.51, 1.0, 254.0, 254.49, 254.51, 255.0]) / 255
    image = np.broadcast_to(near.reshape(1, 1, 8, 1), (1, 8, 8, 1))
    assert picture_metrics(image)["saturation"] == 0.5


def test_tv_of_a_step_edge_by_hand():
    step = np.zeros((1, 4, 8, 1))
    step[:, :, 4:] = 0.5  # 4 steps of .5 over 32 pixels
    assert picture_metrics(step)["total_variation"] == pytest.approx(4 * 0.5 / 32)
    assert picture_metrics(step.repeat(3, -1))["total_variation"] == pytest.approx(
        4 * 0.5 / 32
    )
    point = np.zeros((1, 4, 4, 1))
    point[0, 1, 2] = 1.0  # four steps
    assert picture_metrics(point)["total_variation"] == pytest.approx(4 / 16)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_flat_pictures_are_defined(value, channels):
    found = picture_metrics(np.full((2, 16, 16, channels), value, np.float32))
    assert found["spectral_slope"] == 0.0 and found["slope_distance"] == 1.0
    assert found["high_frequency"] == 0.0 and found["total_variation"] == 0.0
    assert found["saturation"] == float(value != 0.5)
    if channels == 3:
        assert found["color_distance"] == math.sqrt(2) and found["colorfulness"] == 0


def test_metrics_are_means_over_the_images_and_nan_marks_a_broken_one():
    a, b = (np.random.default_rng(i).uniform(size=(1, 16, 16, 3)) for i in (0, 1))
    b = b / 2
    both = picture_metrics(np.concatenate([a, b]))
    for name in NAMES:
        mean = (picture_metrics(a)[name] + picture_metrics(b)[name]) / 2
        assert both[name] == pytest.approx(mean)
    broken = a.copy()
    broken[0, 3, 3, 1] = np.nan
    found = picture_metrics(broken)
    assert set(found) == NAMES and all(map(math.isnan, found.values()))


def test_gray_share_by_hand():
    gray = np.ones((4, 4, 3))
    assert gray_share(gray) == pytest.approx(1)
    assert gray_share(gray * [1, -1, 0]) == 0 == gray_share(0 * gray)
    assert gray_share(gray * [1, 0, 0]) == pytest.approx(1 / 3)
