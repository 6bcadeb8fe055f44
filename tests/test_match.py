"""Matching: what is measured afterwards is what was asked for."""

import numpy as np
import pytest

from dreamjax import match
from dreamjax.measures.light import luminance, mean_luminance, rms_contrast
from dreamjax.measures.spectrum import radial_power, spectral_slope


def picture(seed=0, shape=(24, 31), smooth=True):
    """A colored random picture in [0.1, 0.9], whose channels are correlated."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :])
    falling = 1 / np.maximum(f, 0.02) if smooth else np.ones(shape)
    mix = rng.normal(size=(3, 3)) * 0.4 + 1.0
    planes = np.fft.fft2(rng.normal(size=(*shape, 3)), axes=(0, 1)) * falling[..., None]
    image = np.fft.ifft2(planes, axes=(0, 1)).real @ mix
    image = (image - image.min()) / np.ptp(image)
    return (0.1 + 0.8 * image).astype(np.float32)


def clip_of(count, **options):
    return np.stack([picture(seed, **options) for seed in range(count)])


def amplitude(image):
    return np.abs(np.fft.fft2(image.astype(np.float64), axes=(-3, -2)))


# Luminance and contrast.


@pytest.mark.parametrize(
    "reference",
    [
        picture(5, (10, 50)),
        0.3 * picture(6),
        np.clip((picture(7) - 0.5) * 4 + 0.4, 0, 1),  # much of it is clipped already
        np.full((4, 4, 3), 0.6, np.float32),  # no contrast
    ],
    ids=["other", "dark", "harsh", "flat"],
)
def test_clip_gets_the_references_light(reference):
    for source in (picture(0), 0.05 * picture(1), clip_of(3)):
        got = match.match_luminance_contrast(source, reference)
        assert got.frames.shape == source.shape and got.frames.dtype == np.float32
        assert got.frames.min() >= 0.0 and got.frames.max() <= 1.0
        assert got.reached.tolist() == [True]
        assert abs(mean_luminance(got.frames) - mean_luminance(reference)) <= 1e-3
        assert abs(rms_contrast(got.frames) - rms_contrast(reference)) <= 1e-3
        assert got.luminance[0] == mean_luminance(got.frames)
        assert got.contrast[0] == rms_contrast(got.frames)


def test_a_match_with_itself_changes_nothing():
    image = picture(0)
    got = match.match_luminance_contrast(image, image)
    np.testing.assert_allclose(got.frames, image, atol=1e-4)


def test_gain_above_one_keeps_color_differences():
    image = picture(0) * 0.2 + 0.4
    got = match.match_luminance_contrast(image, picture(3) * 0.6 + 0.2).frames
    luma = np.array([0.2126, 0.7152, 0.0722])
    before, after = (x - (x @ luma)[..., None] for x in (image, got))
    assert (image @ luma).std() < 0.7 * (got @ luma).std()
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_per_frame_and_per_clip():
    clip, reference = clip_of(3), clip_of(3) ** 1.5
    for goal in (reference, reference[:1], reference[0]):
        got = match.match_luminance_contrast(clip, goal, per_frame=True)
        assert got.reached.tolist() == [True] * 3
        goals = np.broadcast_to(goal, clip.shape)
        for frame, target in zip(got.frames, goals, strict=True):
            assert abs(mean_luminance(frame) - mean_luminance(target)) <= 1e-3
            assert abs(rms_contrast(frame) - rms_contrast(target)) <= 1e-3
    whole = match.match_luminance_contrast(clip, reference[0])
    means = [mean_luminance(frame) for frame in whole.frames]
    assert np.ptp(means) > 0.01  # the frames still differ
    with pytest.raises(ValueError, match="give 1 or 3"):
        match.match_luminance_contrast(clip, reference[:2], per_frame=True)


def test_what_cannot_be_reached_is_said():
    uniform = np.full((6, 6, 3), 0.3, np.float32)
    got = match.match_luminance_contrast(uniform, picture(0))
    assert got.reached.tolist() == [False] and got.contrast[0] < 1e-6
    assert got.luminance[0] == pytest.approx(mean_luminance(picture(0)), abs=1e-3)
    # Three white pixels of 36 cannot be made into half of the light.
    lonely = np.zeros((6, 6, 3), np.float32)
    lonely[0, :3] = 1.0
    board = np.repeat((np.indices((6, 6)).sum(0) % 2)[..., None], 3, axis=2)
    got = match.match_luminance_contrast(lonely, board.astype(np.float32))
    assert got.reached.tolist() == [False]
    mixed = match.match_luminance_contrast(
        np.stack([uniform, picture(0, (6, 6))]), picture(1), per_frame=True
    )
    assert mixed.reached.tolist() == [False, True]


# Spectra.


def test_amplitudes_of_the_reference_phases_of_the_image():
    image, reference = picture(0), picture(1, smooth=False)
    got = match.match_spectrum(image, reference)
    np.testing.assert_allclose(amplitude(got), amplitude(reference), atol=1e-3)
    product = np.fft.fft2(got, axes=(0, 1)) * np.fft.fft2(image, axes=(0, 1)).conj()
    np.testing.assert_allclose(np.angle(product[1:, 1:]), 0.0, atol=1e-2)
    np.testing.assert_allclose(got.mean((0, 1)), reference.mean((0, 1)), atol=1e-6)


def test_luma_only_keeps_the_colors():
    image, reference = picture(0), picture(1, smooth=False)
    got = match.match_spectrum(image, reference, channels="luma")
    luma = np.array([0.2126, 0.7152, 0.0722])
    change = got - image
    np.testing.assert_allclose(change, change[..., :1].repeat(3, -1), atol=1e-6)
    np.testing.assert_allclose(
        amplitude((got @ luma)[..., None]),
        amplitude((reference @ luma)[..., None]),
        atol=1e-3,
    )


@pytest.mark.parametrize("shape", [(24, 31), (32, 32), (9, 64)])
def test_rings_of_the_reference(shape):
    image, reference = picture(0, shape), picture(1, shape, smooth=False)
    got = match.match_spectrum(image, reference, radial=True)
    for c in range(3):
        mine = radial_power(got[..., c], window=False)[1]
        theirs = radial_power(reference[..., c], window=False)[1]
        np.testing.assert_allclose(mine, theirs, rtol=1e-4)
        slopes = [spectral_slope(x[..., c], window=False) for x in (got, reference)]
        assert slopes[0] == pytest.approx(slopes[1], abs=1e-3)
    ratio = amplitude(got)[1:, 1:] / amplitude(image)[1:, 1:]
    assert ratio.std() > 0.1  # a gain per ring, not one for all
    assert np.abs(amplitude(got) - amplitude(reference)).max() > 1.0


def test_a_clip_is_matched_frame_by_frame():
    clip, reference = clip_of(3), clip_of(6)[3:]
    for options in ({}, {"channels": "luma"}, {"radial": True}):
        got = match.match_spectrum(clip, reference, **options)
        for i in range(3):
            alone = match.match_spectrum(clip[i], reference[i], **options)
            np.testing.assert_allclose(got[i], alone, atol=1e-6)
        one = match.match_spectrum(clip, reference[0], **options)
        np.testing.assert_allclose(one[0], got[0], atol=1e-6)


def test_a_match_of_spectra_with_itself_changes_nothing():
    image = picture(0)
    for options in ({}, {"channels": "luma"}, {"radial": True}):
        got = match.match_spectrum(image, image, **options)
        np.testing.assert_allclose(got, image, atol=1e-6)


def test_flat_pictures_are_no_error():
    gray = np.full((12, 12, 3), 0.5, np.float32)
    for radial in (True, False):
        got = match.match_spectrum(picture(0, (12, 12)), gray, radial=radial)
        np.testing.assert_allclose(got, 0.5, atol=1e-6)
    assert np.isfinite(match.match_spectrum(gray, picture(0, (12, 12)))).all()
    # Nothing to give a gain to: only the mean can follow.
    ringed = match.match_spectrum(gray, picture(0, (12, 12)), radial=True)
    np.testing.assert_allclose(ringed.std((0, 1)), 0.0, atol=1e-6)
    np.testing.assert_allclose(match.phase_scrambled(gray), gray, atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 31), (32, 32), (1, 9)])
def test_scrambled_keeps_amplitudes_and_colors(shape):
    image = picture(0, shape)
    got = match.phase_scrambled(image, seed=3)
    np.testing.assert_allclose(amplitude(got), amplitude(image), atol=1e-3)
    covariance = [np.cov(x.reshape(-1, 3).T.astype(np.float64)) for x in (got, image)]
    np.testing.assert_allclose(*covariance, atol=1e-6)
    np.testing.assert_allclose(got.mean((0, 1)), image.mean((0, 1)), atol=1e-6)
    assert abs(np.corrcoef(got[..., 1].ravel(), image[..., 1].ravel())[0, 1]) < 0.9
    np.testing.assert_array_equal(got, match.phase_scrambled(image, seed=3))
    assert np.abs(got - match.phase_scrambled(image, seed=4)).max() > 0.01


def test_scrambled_has_uniform_phases_and_nothing_of_the_image():
    image = picture(0, (64, 64))
    got = match.phase_scrambled(image)
    turn = np.fft.fft2(got[..., 0]) / np.fft.fft2(image[..., 0].astype(float))
    angles = np.angle(turn).ravel()[1:]
    quarters = np.histogram(angles, bins=4, range=(-np.pi, np.pi))[0] / angles.size
    np.testing.assert_allclose(quarters, 0.25, atol=0.03)


def test_a_still_clip_stays_still():
    clip = np.stack([picture(0)] * 3)
    got = match.phase_scrambled(clip)
    np.testing.assert_array_equal(got[0], got[2])
    np.testing.assert_allclose(got[0], match.phase_scrambled(clip[0]), atol=1e-6)


def test_into_range_is_one_factor_for_all():
    wild = (0.5 + 2 * (picture(0) - 0.5)).astype(np.float32)
    calm = picture(1) * 0.2 + 0.4
    (first, second), factor = match.into_range(wild, calm)
    assert 0 < factor < 1 and first.min() >= 0 and first.max() <= 1
    assert min(first.min(), 1 - first.max()) == pytest.approx(0.0, abs=1e-6)
    for before, after in ((wild, first), (calm, second)):
        mean = before.mean((0, 1))
        expected = mean + factor * (before - mean)
        np.testing.assert_allclose(after, expected, atol=1e-6)
    (same,), factor = match.into_range(calm)
    assert factor == 1.0
    np.testing.assert_allclose(same, calm, atol=1e-6)
    with pytest.raises(ValueError, match="mean color"):
        match.into_range(calm + 2)


def test_black_and_white_need_no_factor():
    for value in (0.0, 1.0):
        (same,), factor = match.into_range(np.full((3, 3, 3), value, np.float32))
        assert factor == 1.0
        np.testing.assert_array_equal(same, value)


# Blends and arguments.


def test_graded_is_a_blend():
    control, dream = clip_of(2)
    got = match.graded(control, dream, (0, 0.25, 1))
    np.testing.assert_array_equal(got[0], control)
    np.testing.assert_array_equal(got[2], dream)
    np.testing.assert_allclose(got[1], 0.75 * control + 0.25 * dream, atol=1e-7)
    distance = [float(np.abs(x - control).mean()) for x in got]
    assert distance[1] == pytest.approx(0.25 * distance[2], rel=1e-4)
    assert all(x.dtype == np.float32 for x in got)
    with pytest.raises(ValueError, match=r"strength=1\.5"):
        match.graded(control, dream, (0.5, 1.5))
    with pytest.raises(ValueError, match=r"dream\.shape"):
        match.graded(control, dream[:4], (0.5,))


def test_arguments_are_checked():
    image = picture(0)
    with pytest.raises(ValueError, match=r"reference\.shape"):
        match.match_spectrum(image, picture(1, (8, 8)))
    with pytest.raises(ValueError, match=r"channels='lumma'.*luma"):
        match.match_spectrum(image, image, channels="lumma")
    with pytest.raises(ValueError, match="tolerance"):
        match.match_luminance_contrast(image, image, tolerance=0)
    for call in (
        lambda x: match.match_luminance_contrast(x, image),
        lambda x: match.match_spectrum(x, image),
        match.phase_scrambled,
        match.into_range,
    ):
        with pytest.raises(ValueError, match="shape"):
            call(image[..., :2])
        with pytest.raises(ValueError, match="finite"):
            call(image * np.nan)


def test_luminance_is_what_was_matched_not_the_stored_mean():
    # Half black, half white has luminance .5; its stored match in gray is .735.
    board = np.zeros((4, 4, 3), np.float32)
    board[:2] = 1.0
    gray = np.full((4, 4, 3), 0.2, np.float32)
    got = match.match_luminance_contrast(gray, board)
    np.testing.assert_allclose(got.frames, 0.7354, atol=1e-3)
    np.testing.assert_allclose(luminance(got.frames), 0.5, atol=1e-3)
