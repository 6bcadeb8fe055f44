"""Measures of images, clips and signals: known answers, by hand and as published."""

import math

import numpy as np
import pytest
from scipy.special import erf

from dreamjax.measures import (
    histogram,
    lempel_ziv,
    light,
    motion,
    ordinal,
    sample_entropy,
    spectrum,
)

N, RATE = 2500, 250  # samples, and per second
SECONDS = np.arange(N) / RATE
SINE = np.sin(2 * np.pi * 10 * SECONDS)


def noise(power, seed=0):
    """A signal whose power falls as 1/f^power."""
    f = np.fft.rfftfreq(N)
    f[0] = 1.0
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=N)) * f ** (
        -power / 2
    )
    spectrum[0] = 0.0
    return np.fft.irfft(spectrum, N)


def noise_plane(height, width, power, seed=0):
    """A plane whose power falls as 1/f^power in every direction."""
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    f[0, 0] = 1.0
    white = np.random.default_rng(seed).normal(size=(height, width))
    return np.fft.ifft2(np.fft.fft2(white) * f ** (-power / 2)).real


def flat(value, shape=(16, 16)):
    return np.full((*shape, 3), value, np.float32)


# Light.


def test_luminance_of_the_primaries_and_of_middle_gray():
    image = np.eye(3, dtype=np.float32)[None]  # one red, one green, one blue pixel
    np.testing.assert_allclose(light.luminance(image), [[0.2126, 0.7152, 0.0722]])
    # ((.5 + .055) / 1.055)^2.4, and 10/255 on the straight part of the curve.
    np.testing.assert_allclose(light.mean_luminance(flat(0.5)), 0.21404, atol=1e-5)
    np.testing.assert_allclose(
        light.mean_luminance(flat(10 / 255)), 10 / 255 / 12.92, rtol=1e-6
    )


def test_srgb_is_inverted():
    x = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(light.encode_srgb(light.decode_srgb(x)), x, atol=2e-7)


def test_contrast_of_halves_and_of_constants():
    image = flat(0.0)
    image[:, :4] = 1.0  # a quarter is white: sd = sqrt(1/4 · 3/4)
    assert light.mean_luminance(image) == pytest.approx(0.25)
    assert light.rms_contrast(image) == pytest.approx(math.sqrt(3) / 4)
    for value in (0.0, 0.3, 1.0):
        assert light.rms_contrast(flat(value)) == pytest.approx(0.0, abs=1e-12)


# Spectrum.


@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_slope_of_colored_noise(power, window):
    for shape in ((256, 256), (121, 300)):
        planes = [noise_plane(*shape, power, seed) for seed in range(4)]
        slopes = [spectrum.spectral_slope(plane, window=window) for plane in planes]
        assert np.mean(slopes) == pytest.approx(-power, abs=0.06)


def test_window_keeps_borders_from_looking_like_detail():
    # A ramp's jump at the border gives 1/f^2 along one axis; in the ring average 1/f^3.
    ramp = np.tile(np.arange(128) / 128.0, (128, 1))
    assert spectrum.spectral_slope(ramp, window=False) == pytest.approx(-3.0, abs=0.25)
    assert spectrum.spectral_slope(ramp) < -5.0
    unwindowed = spectrum.high_frequency(ramp, window=False)
    assert spectrum.high_frequency(ramp) < unwindowed / 1000


def test_high_frequency_of_noise_and_gratings():
    white = [spectrum.high_frequency(noise_plane(256, 256, 0, i)) for i in range(4)]
    assert np.mean(white) == pytest.approx(1 - math.pi / 16, abs=0.01)
    x = np.tile(np.arange(100.0), (100, 1))
    fine, coarse = (np.sin(2 * np.pi * f * x) for f in (0.3, 0.2))
    for window in (True, False):
        assert spectrum.high_frequency(fine, window=window) > 1 - 1e-4
        assert spectrum.high_frequency(coarse, window=window) < 1e-4
    # Powers add: a coarse grating of twice the amplitude has four times the power.
    share = spectrum.high_frequency(fine + 2 * coarse, window=False)
    assert share == pytest.approx(1 / 5)
    assert spectrum.high_frequency(fine, above=0.35) < 1e-4


def test_radial_power_of_a_grating_is_in_its_ring():
    x = np.tile(np.arange(64.0), (64, 1))
    frequency, power = spectrum.radial_power(
        np.cos(2 * np.pi * 10 / 64 * x), window=False
    )
    assert frequency.shape == (32,) and int(power.argmax()) == 9  # ring 10
    assert frequency[9] == pytest.approx(10 / 64, abs=0.5 / 64)
    in_ring = int((spectrum.rings(64, 64) == 10).sum())
    # Two coefficients of amplitude N^2 / 2.
    assert power[9] == pytest.approx(2 * (64 * 64 / 2) ** 2 / in_ring)
    assert np.delete(power, 9).max() < 1e-12 * power[9]


def test_an_image_means_its_luminance():
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(32, 40, 3)).astype(np.float32)
    plane = light.luminance(image)
    for measure in (spectrum.spectral_slope, spectrum.high_frequency):
        assert measure(image) == measure(plane)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1.0])
def test_flat_images_have_no_spectrum(value):
    for window in (True, False):
        assert spectrum.spectral_slope(flat(value), window=window) == 0.0
        assert spectrum.high_frequency(flat(value), window=window) == 0.0


def test_spectrum_refuses_what_it_cannot_measure():
    plane = noise_plane(16, 16, 0)
    with pytest.raises(ValueError, match="three rings"):
        spectrum.spectral_slope(plane, low=0.2, high=0.25)
    with pytest.raises(ValueError, match="three rings"):
        spectrum.spectral_slope(plane[:4, :4])
    for low, high in ((0.0, 0.3), (0.3, 0.2), (0.1, 0.6)):
        with pytest.raises(ValueError, match="low, high"):
            spectrum.spectral_slope(plane, low, high)
    with pytest.raises(ValueError, match="above"):
        spectrum.high_frequency(plane, above=0.5)
    with pytest.raises(ValueError, match="finite"):
        spectrum.high_frequency(plane * np.nan)
    with pytest.raises(ValueError, match=r"\[H, W\]"):
        spectrum.high_frequency(plane[0])


# Histograms.


def test_entropy_by_hand():
    assert histogram.shannon_entropy([1, 1, 1, 1]) == pytest.approx(2.0)
    assert histogram.shannon_entropy([3, 1]) == pytest.approx(0.8112781)
    for counts in ([], [7], [0, 5, 0]):
        assert histogram.shannon_entropy(counts) == 0.0


def test_gray_entropy_counts_stored_levels():
    levels = np.repeat(np.arange(256, dtype=np.float32)[:, None] / 255, 3, axis=1)
    assert histogram.gray_entropy(levels.reshape(16, 16, 3)) == pytest.approx(8.0)
    halves = flat(0.2)
    halves[:8] = 0.9
    assert histogram.gray_entropy(halves) == pytest.approx(1.0)
    halves[:8] = 0.2004  # the same level of 8 bits
    assert histogram.gray_entropy(halves) == 0.0
    assert (
        histogram.gray_entropy(flat(0.7)) == histogram.color_entropy(flat(0.7)) == 0.0
    )


def test_color_entropy_sees_what_gray_does_not():
    # Two colors of one gray level: luma .2126 as red, and as gray.
    image = flat(0.2126)
    image[:, :8] = (1.0, 0.0, 0.0)
    assert histogram.gray_entropy(image) == 0.0
    assert histogram.color_entropy(image) == pytest.approx(1.0)
    cube = np.stack(np.meshgrid(*[np.arange(4) / 3] * 3), axis=-1).reshape(8, 8, 3)
    assert histogram.color_entropy(cube, levels=4) == pytest.approx(6.0)
    assert histogram.color_entropy(cube, levels=1) == 0.0


# Lempel-Ziv.


def phrases_by_hand(bits):
    """The textbook form, with strings."""
    known, current = set(), ""
    for bit in "".join("01"[int(b)] for b in bits):
        if current + bit in known:
            current += bit
        else:
            known.add(current + bit)
            current = bit
    return len(known)


def test_phrases_of_short_strings():
    # Of 0101010: learn 0, 01, 10, 010.
    expected = {"": 0, "0": 1, "00": 2, "000": 2, "0000": 3, "01": 2, "0101010": 4}
    for text, count in expected.items():
        bits = [c == "1" for c in text]
        assert lempel_ziv.phrases(bits) == count, text
    rng = np.random.default_rng(0)
    for share in (0.5, 0.1, 0.02):
        bits = rng.random(500) < share
        assert lempel_ziv.phrases(bits) == phrases_by_hand(bits)


# The published procedure's values (its author's program at N = 2500, 250 Hz), with the
# spread of single draws; the signals without a random part are exact to a shuffle.
MODULATED = (1 + 0.5 * np.sin(2 * np.pi * 0.5 * SECONDS)) * SINE


@pytest.mark.parametrize(
    ("signals", "expected", "tolerance"),
    [
        ([noise(0, seed) for seed in range(4)], 0.966, 0.01),
        ([noise(1, seed) for seed in range(4)], 0.88, 0.03),
        ([noise(2, seed) for seed in range(8)], 0.38, 0.05),
        ([SINE], 0.52, 0.02),
        ([MODULATED], 0.26, 0.02),
    ],
    ids=["white", "pink", "brown", "sine", "modulated"],
)
def test_published_lempel_ziv(signals, expected, tolerance):
    values = [lempel_ziv.lz_single(signal, seed=i) for i, signal in enumerate(signals)]
    assert np.mean(values) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("shift", [0.0, 5.0, -1e3])
def test_lempel_ziv_of_lines_is_zero(shift):
    for slope in (0.0, 1.0, -0.37):
        signal = shift + slope * np.arange(500) / 7
        assert lempel_ziv.lz_single(signal) == 0.0


def test_lempel_ziv_ignores_scale_offset_and_trend():
    signal = noise(1)
    moved = 40.0 + 3.0 * signal + 0.01 * np.arange(N)
    np.testing.assert_array_equal(
        lempel_ziv.binarized(signal), lempel_ziv.binarized(moved)
    )


def test_channels_are_read_sample_by_sample():
    one = noise(0, 1)
    alone = lempel_ziv.lz_single(one)
    assert lempel_ziv.lz_channels(one[None]) == alone
    independent = np.stack([noise(0, seed) for seed in range(4)])
    copies = np.stack([one] * 4)
    assert lempel_ziv.lz_channels(independent) > 0.95
    assert lempel_ziv.lz_channels(copies) < 0.6
    assert lempel_ziv.lz_channels(np.ones((4, 10))) == 0.0


def test_shuffles_are_averaged_and_seeded():
    bits = lempel_ziv.binarized(noise(1))
    one = [lempel_ziv.relative_phrases(bits, seed) for seed in range(6)]
    assert len(set(one)) > 1 and one[0] == lempel_ziv.relative_phrases(bits, 0)
    many = [lempel_ziv.relative_phrases(bits, seed, shuffles=8) for seed in range(6)]
    assert np.std(many) < np.std(one)
    with pytest.raises(ValueError, match="shuffles"):
        lempel_ziv.relative_phrases(bits, shuffles=0)


# Order patterns.


def test_pattern_shares_by_hand():
    # Bandt and Pompe's example: 6 neighbors, 4 rise and 2 fall; H(2) = .918 bits.
    signal = np.array([4, 7, 9, 10, 6, 11, 3.0])
    shares = ordinal.pattern_shares(signal, order=2)
    np.testing.assert_allclose(shares, [4 / 6, 2 / 6])
    assert ordinal.permutation_entropy(signal, order=2) == pytest.approx(
        0.9183, abs=1e-4
    )
    # And order 3: patterns seen twice, twice and once of five; 1.522 bits.
    three = ordinal.pattern_shares(signal, order=3)
    entropy = -(0.4 * math.log2(0.4) * 2 + 0.2 * math.log2(0.2))
    assert sorted(three)[::-1][:3] == pytest.approx([0.4, 0.4, 0.2])
    got = ordinal.permutation_entropy(signal, order=3) * math.log2(6)
    assert got == pytest.approx(entropy)


def test_noise_and_order_have_no_complexity():
    white = np.random.default_rng(0).normal(size=N)
    assert ordinal.permutation_entropy(white) == pytest.approx(1.0, abs=0.01)
    assert ordinal.statistical_complexity(white) == pytest.approx(0.0, abs=0.01)
    for signal in (np.arange(100.0), np.ones(100), -np.arange(100.0)):
        assert ordinal.permutation_entropy(signal) == 0.0
        assert ordinal.statistical_complexity(signal) == 0.0


def test_the_logistic_map_lies_where_rosso_found_it():
    x = np.empty(20_000)
    x[0] = 0.4
    for i in range(1, len(x)):
        x[i] = 4 * x[i - 1] * (1 - x[i - 1])
    # Rosso et al. 2007, figure 1, six samples per pattern.
    assert ordinal.permutation_entropy(x, order=6) == pytest.approx(0.63, abs=0.01)
    assert ordinal.statistical_complexity(x, order=6) == pytest.approx(0.484, abs=0.01)


def test_delay_takes_every_other_sample():
    zigzag = np.tile([0.0, 1.0], 50) + np.arange(100) / 1000
    assert ordinal.permutation_entropy(zigzag, order=3, delay=2) == 0.0
    assert ordinal.permutation_entropy(zigzag, order=3) == pytest.approx(
        math.log(2) / math.log(6), abs=1e-3
    )


def test_ordinal_arguments():
    for order in (1, 9):
        with pytest.raises(ValueError, match="order"):
            ordinal.permutation_entropy(SINE, order=order)
    with pytest.raises(ValueError, match="delay"):
        ordinal.permutation_entropy(SINE, delay=0)
    with pytest.raises(ValueError, match="N >= 4"):
        ordinal.permutation_entropy([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="finite"):
        ordinal.permutation_entropy([1.0, np.nan, 3.0, 4.0])


# Sample entropy.


def pairs_by_hand(x, length, radius):
    count = 0
    for i in range(len(x) - 2):
        for j in range(i + 1, len(x) - 2):
            near = [abs(x[i + k] - x[j + k]) <= radius for k in range(length)]
            count += all(near)
    return count


def test_sample_entropy_by_counting():
    x = np.random.default_rng(1).normal(size=120)
    b, a = (pairs_by_hand(x, length, 0.5) for length in (2, 3))
    assert 0 < a < b
    assert sample_entropy.sample_entropy(x, 2, 0.5) == pytest.approx(math.log(b / a))


def test_sample_entropy_of_gaussian_noise_at_every_scale():
    x = np.random.default_rng(0).normal(size=6000)
    got = sample_entropy.multiscale_entropy(x, scales=8)
    expected = -np.log(erf(0.1 * np.sqrt(np.arange(1, 9))))
    np.testing.assert_allclose(got, expected, atol=0.08)
    assert sample_entropy.sample_entropy(x) == got[0]


def test_pink_noise_stays_level_over_scales():
    pink = sample_entropy.multiscale_entropy(noise(1), scales=6)
    white = sample_entropy.multiscale_entropy(noise(0), scales=6)
    assert white[0] > pink[0] and white[5] < pink[5]
    assert np.ptp(pink) < 0.4 * np.ptp(white)


def test_regular_signals_have_no_sample_entropy():
    assert sample_entropy.sample_entropy(np.tile([0.0, 1.0, 5.0], 60)) == pytest.approx(
        0.0, abs=0.02
    )
    for value in (0.0, 0.3, 1e6):
        constant = np.full(60, value)
        assert sample_entropy.sample_entropy(constant) == 0.0
        np.testing.assert_array_equal(
            sample_entropy.multiscale_entropy(constant, scales=4), np.zeros(4)
        )


def test_no_match_gives_the_largest_value():
    squares = np.arange(20.0) ** 2  # no two stretches are alike
    got = sample_entropy.sample_entropy(squares, radius=0.1)
    assert got == pytest.approx(math.log(18 * 17 / 2))


def test_coarse_graining_drops_the_rest():
    got = sample_entropy.coarse_grained(np.arange(8.0), 3)
    np.testing.assert_array_equal(got, [1.0, 4.0])


# Clips.


def test_frame_difference_by_hand():
    clip = np.stack([flat(0.0), flat(1.0), flat(1.0), flat(0.0)])
    clip[3, :8] = 1.0  # half of the last frame stays white
    np.testing.assert_allclose(motion.frame_difference(clip), [1.0, 0.0, 0.5])
    assert motion.frame_difference(clip[:1]).shape == (0,)


def test_flow_magnitude_by_hand():
    flows = np.zeros((3, 4, 6, 2), np.float32)
    flows[1] = (3.0, 4.0)
    flows[2, :2] = (0.0, -2.0)
    np.testing.assert_allclose(motion.flow_magnitude(flows), [0.0, 5.0, 1.0])
    with pytest.raises(ValueError, match=r"\[T - 1, H, W, 2\]"):
        motion.flow_magnitude(flows[0])
    with pytest.raises(ValueError, match="finite"):
        motion.flow_magnitude(flows * np.nan)


def test_pixel_series_takes_the_middle_of_each_part():
    clip = np.zeros((5, 8, 16, 3), np.float32)
    clip[:, 2, 4] = np.linspace(0, 1, 5)[:, None]
    series = motion.pixel_series(clip, grid=2)
    assert series.shape == (4, 5)  # rows 2 and 6, columns 4 and 12
    np.testing.assert_allclose(series[0], light.decode_srgb(np.linspace(0, 1, 5)))
    assert not series[1:].any()
    assert motion.pixel_series(clip[:, :3], grid=4).shape == (12, 5)


def test_pixel_lz_of_noise_and_of_a_still():
    rng = np.random.default_rng(0)
    clip = rng.uniform(size=(40, 16, 16, 3)).astype(np.float32)
    still = np.repeat(clip[:1], 40, axis=0)
    assert motion.pixel_lz(clip) == pytest.approx(1.0, abs=0.05)
    assert motion.pixel_lz(still) == motion.pixel_lz(clip[:1]) == 0.0
    blinking = np.stack([flat(0.2), flat(0.8)] * 20)
    blinking[::5] = 0.5
    assert motion.pixel_lz(blinking) < 0.6


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 4, 3)])
def test_shapes_are_checked(shape):
    with pytest.raises(ValueError, match="shape"):
        motion.frame_difference(np.zeros(shape))
    with pytest.raises(ValueError, match="shape"):
        light.luminance(np.zeros(shape))
    if shape[-1] != 3 or 0 in shape:
        with pytest.raises(ValueError, match="shape"):
            histogram.gray_entropy(np.zeros(shape))
