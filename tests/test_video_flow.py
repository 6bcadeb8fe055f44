"""Flow, warp, consistency, cuts: against motions that are known exactly."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from dreamjax.images import load_image
from dreamjax.video.carry import carry, motion
from dreamjax.video.cuts import COLORS, CONSISTENT, color_change, is_cut
from dreamjax.video.flow import (
    METHODS,
    consistency,
    flow_picture,
    optical_flow,
    pair_error,
    temporal_error,
    warp,
)
from dreamjax.video.synthetic import moving_photo

ASSETS = Path(__file__).parent.parent / "dreamjax" / "assets"
SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "images" / "video"
SIZE = (144, 192)


@pytest.fixture(scope="module")
def photos():
    return {name: load_image(ASSETS / f"{name}.png") for name in ("chelsea", "coffee")}


@pytest.fixture
def cv2():
    return pytest.importorskip("cv2", reason="OpenCV is not installed")


def both_flows(before, after, method="dis", wrap=False):
    how = {"method": method, "wrap": wrap}
    return optical_flow(before, after, **how), optical_flow(after, before, **how)


def mask_of(before, after):
    return consistency(*both_flows(before, after))


def uniform(size, down, right):
    return np.broadcast_to(np.float32([down, right]), (*size, 2))


# Synthetic motion.


def test_moving_photo_pans_over_the_photos_own_pixels(photos):
    photo = photos["coffee"]  # 400 × 600
    clip = moving_photo(photo, 3, (100, 200), pan=(4, -10))
    for t, (top, left) in enumerate([(146, 210), (150, 200), (154, 190)]):
        crop = photo[top : top + 100, left : left + 200]
        np.testing.assert_allclose(clip.frames[t], crop, atol=1e-4)
    np.testing.assert_allclose(
        clip.forward, np.broadcast_to([-4, 10], (2, 100, 200, 2))
    )
    np.testing.assert_allclose(clip.backward, -clip.forward)


def test_moving_photo_turns_and_zooms_about_the_middle(photos):
    clip = moving_photo(photos["coffee"], 2, (101, 101), turn=np.pi / 2, zoom=2.0)
    y, x = 10, 20  # from the center, in frame 1: R(90°)(10, 20) / 2 = (-10, 5)
    forward = clip.forward[0, 50 - 10, 50 + 5]
    np.testing.assert_allclose(forward, [y + 10, x - 5], atol=1e-4)
    np.testing.assert_allclose(
        clip.frames[1, 50 + y, 50 + x], clip.frames[0, 50 - 10, 50 + 5], atol=1e-3
    )
    np.testing.assert_allclose(clip.backward[0, 60, 70], [-20, -15], atol=1e-4)


def test_moving_photo_refuses_to_look_beyond_the_photo(photos):
    with pytest.raises(ValueError, match=r"frame 0 .* beyond the photo"):
        moving_photo(photos["chelsea"], 40, SIZE, pan=(0, 10))
    with pytest.raises(ValueError, match="zoom=0"):
        moving_photo(photos["chelsea"], 1, SIZE, zoom=0)


# Flow.

MOTIONS = [
    {"pan": (0.0, 3.0)},
    {"pan": (2.3, -3.7)},
    {"turn": 0.02},
    {"pan": (1.0, 2.0), "turn": 0.01, "zoom": 1.01},
]


@pytest.mark.parametrize("given", MOTIONS, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_end_point_error_is_under_a_third_of_a_pixel(cv2, photos, given, method):
    clip = moving_photo(photos["chelsea"], 2, SIZE, **given)
    forward, backward = both_flows(*clip.frames, method)
    for found, true in ((forward, clip.forward[0]), (backward, clip.backward[0])):
        assert np.mean(np.linalg.norm(found - true, axis=-1)) < 0.3
    assert np.mean(np.linalg.norm(clip.forward[0], axis=-1)) > 0.9


def test_dis_is_right_where_farneback_is_not(cv2, photos):
    clip = moving_photo(photos["coffee"], 2, SIZE, pan=(0, 12))
    error = {
        method: np.linalg.norm(
            optical_flow(*clip.frames, method=method) - clip.forward[0], axis=-1
        ).mean()
        for method in METHODS
    }
    assert error["dis"] < 0.5 < 2 < error["farneback"]


def test_flow_wraps_around_a_panorama(cv2, photos):
    half = photos["chelsea"][80:208, 100:300]
    panorama = np.concatenate([half, half[:, ::-1]], axis=1)  # its ends meet
    rolled = np.roll(panorama, 8, axis=1)
    edge = np.r_[0:12, 388:400]
    for method in METHODS:
        around = optical_flow(panorama, rolled, method=method, wrap=True)
        assert np.linalg.norm(around - [0, 8], axis=-1)[:, edge].mean() < 0.5
    forward, backward = both_flows(panorama, rolled, wrap=True)
    assert consistency(forward, backward, wrap=True)[:, edge].mean() > 0.9
    assert mask_of(panorama, rolled)[:, :8].mean() < 0.1
    np.testing.assert_allclose(
        warp(panorama, uniform((128, 400), 0, -8), wrap=True), rolled, atol=1e-6
    )


def test_flow_refuses_what_it_cannot_see():
    image = np.zeros((20, 20, 3), np.float32)
    with pytest.raises(ValueError, match=r'method=.*Did you mean "dis"'):
        optical_flow(image, image, method="diss")
    with pytest.raises(ValueError, match=r"after\.shape"):
        optical_flow(image, image[:18], method="dis")
    with pytest.raises(ValueError, match="at least 16"):
        optical_flow(image[:8], image[:8], method="dis")


def test_missing_opencv_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    image = np.zeros((20, 20, 3), np.float32)
    with pytest.raises(ValueError, match=r"requirements-video\.txt"):
        optical_flow(image, image, method="dis")


def test_smallest_frames_have_a_flow(cv2):
    image = np.random.default_rng(0).random((16, 16, 3), np.float32)
    for method in METHODS:
        for wrap in (False, True):
            flow = optical_flow(image, image, method=method, wrap=wrap)
            assert flow.shape == (16, 16, 2) and np.abs(flow).max() < 0.1


# Warp.


def test_warp_by_whole_pixels_is_exact(photos):
    image = photos["chelsea"][:60, :80]
    moved = warp(image, uniform((60, 80), 5, -7))
    np.testing.assert_array_equal(moved[:55, 7:], image[5:, :-7])
    np.testing.assert_array_equal(moved[:55, :7], image[5:, :1].repeat(7, axis=1))
    np.testing.assert_array_equal(warp(image, uniform((60, 80), 0, 0)), image)
    around = warp(image, uniform((60, 80), 0, -7), wrap=True)
    np.testing.assert_array_equal(around, np.roll(image, 7, axis=1))


def test_warp_between_pixels_by_hand():
    image = np.array([[0, 10], [20, 40]], np.float32)
    flow = np.zeros((2, 2, 2), np.float32)
    flow[0, 0] = 0.25, 0.5  # .75 (5) + .25 (30)
    flow[1, 1] = -0.5, -1.0  # between 0 and 20
    np.testing.assert_allclose(warp(image, flow), [[11.25, 10], [20, 10]])
    flow[0, 1] = 0, 0.5  # round the seam: half of 10, half of 0
    flow[0, 0] = 0, -1e-20  # a place that rounds to the width itself
    np.testing.assert_allclose(warp(image, flow, wrap=True)[0], [0, 5], atol=1e-6)


def test_warp_agrees_with_scipy(photos):
    from scipy import ndimage

    image = photos["coffee"][:70, :90]
    flow = np.random.default_rng(0).normal(0, 6, (70, 90, 2)).astype(np.float32)
    places = np.moveaxis(np.stack(np.mgrid[:70, :90], axis=-1) + flow, -1, 0)
    expected = [
        ndimage.map_coordinates(image[..., c], places, order=1, mode="nearest")
        for c in range(3)
    ]
    np.testing.assert_allclose(warp(image, flow), np.stack(expected, -1), atol=2e-6)


# Consistency.


def test_consistency_by_hand():
    """|w + w~|² against .01 (|w|² + |w~|²) + .5, at the two sides of equality."""
    forward = np.zeros((4, 8, 2), np.float32)
    backward = np.zeros_like(forward)
    forward[..., 1] = 2
    backward[..., 1] = [-1, -2, -2.8, -2.8, -2.6, -9, -2, -2]
    mask = consistency(forward, backward)
    # Column 0 and 1 come from beyond the left edge; at 2 the source is .8 beyond; at 3
    # the gap is .64 against .01 (7.84 + 4) + .5 = .6184; at 4 it is .36; 5 is wrong.
    np.testing.assert_array_equal(mask[0], [0, 0, 0, 0, 1, 0, 1, 1])
    still = consistency(np.zeros_like(forward), np.zeros_like(forward))
    np.testing.assert_array_equal(still, 1)


def test_what_appears_is_not_consistent(cv2, photos):
    """A square moves right over a still photo by 12 and uncovers what was behind."""
    frames = np.stack([moving_photo(photos["coffee"], 1, SIZE).frames[0]] * 2)
    square = photos["chelsea"][100:150, 200:250]
    frames[0, 50:100, 60:110] = square
    frames[1, 50:100, 72:122] = square
    mask = mask_of(*frames)
    assert mask[55:95, 62:70].mean() < 0.2  # uncovered
    assert mask[55:95, 78:118].mean() > 0.9  # on the square
    assert mask[:40].mean() > 0.97 and mask[110:].mean() > 0.97


def test_what_comes_into_the_picture_is_not_consistent(cv2, photos):
    clip = moving_photo(photos["coffee"], 2, SIZE, pan=(0, 8))
    mask = mask_of(*clip.frames)
    assert mask[:, -8:].mean() < 0.1 < 0.95 < mask[:, :-12].mean()


# Temporal error.


def test_pair_error_by_hand():
    before, after = np.zeros((2, 4, 4, 3), np.float32)
    after[:, 1] = 0.5
    after[0, 0] = 1.0  # masked out
    mask = np.ones((4, 4), np.float32)
    mask[0, 0] = 0
    still = np.zeros((4, 4, 2), np.float32)
    expected = 255 * 0.5 * 4 / 15
    assert pair_error(before, after, still, mask) == pytest.approx(expected)
    moved = uniform((4, 4), 0, -1)
    before[:, 0] = 0.5  # moves to where it is seen
    after[:, 0] = 0.5  # and what comes in repeats the border
    assert pair_error(before, after, moved, mask) == pytest.approx(0)
    assert np.isnan(pair_error(before, after, still, 0 * mask))


def test_temporal_error_of_the_frames_is_small_and_of_noise_is_not(cv2, photos):
    frames = moving_photo(photos["chelsea"], 3, SIZE, pan=(0, 3)).frames
    own = temporal_error(frames, frames, method="dis")
    assert own.shape == (2,) and np.all(own < 2)
    noise = np.random.default_rng(0).normal(0, 0.1, frames.shape)
    noisy = temporal_error(frames + noise, frames, method="dis")
    # |N(0, σ² + σ²)| has the mean 2σ/√π; a whole step is no interpolation.
    np.testing.assert_allclose(noisy, 255 * 0.2 / np.sqrt(np.pi), rtol=0.1)


# Cuts.


def test_cuts_between_photos_are_found(cv2, photos):
    views = [moving_photo(photo, 1, SIZE).frames[0] for photo in photos.values()]
    for before, after in (views, views[::-1]):
        assert is_cut(before, after, mask_of(before, after))


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_what_is_fast_but_no_cut(cv2, photos, name):
    photo = photos[name]
    pairs = [
        moving_photo(photo, 2, SIZE, pan=pan).frames
        for pan in [(0, 20), (0, 60), (0, 90), (40, 40)]
    ]
    pairs += [moving_photo(photo, 2, SIZE, turn=0.3).frames]
    pairs += [moving_photo(photo, 2, SIZE, zoom=1.4).frames]
    before, after = moving_photo(photo, 2, SIZE, pan=(0, 3)).frames
    pairs += [(before, np.clip(1.5 * after + 0.2, 0, 1)), (before, 0.6 * after)]
    for before, after in pairs:
        assert not is_cut(before, after, mask_of(before, after))


def test_either_sign_alone_is_no_cut(cv2, photos):
    before, after = moving_photo(photos["chelsea"], 2, SIZE, pan=(0, 3)).frames
    flash = np.clip(1.5 * after + 0.2, 0, 1)
    assert color_change(before, flash) > COLORS
    fast = moving_photo(photos["chelsea"], 2, SIZE, pan=(40, 60)).frames
    assert mask_of(*fast).mean() < CONSISTENT


def test_color_change_by_hand():
    gray = np.full((4, 4, 3), 0.5, np.float32)
    half = gray.copy()
    half[:2] = 0.9
    assert color_change(gray, gray) == 0
    assert color_change(gray, half) == 0.5
    assert color_change(gray, 0 * gray + 1) == 1


def test_the_cut_between_two_real_clips_is_the_only_one(cv2):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    if not SHARED.is_dir():
        pytest.skip("the shared clips are not here")
    frames = []
    for name in ("cockatoo.mp4", "realshort.mp4"):
        with av.open(str(SHARED / name)) as container:
            decoded = container.decode(video=0)
            first = itertools.islice(decoded, 12)
            small = [frame.reformat(192, 144, "rgb24") for frame in first]
            frames += [np.float32(frame.to_ndarray()) / 255 for frame in small]
    found = [
        is_cut(before, after, mask_of(before, after))
        for before, after in itertools.pairwise(frames)
    ]
    assert [t for t, cut in enumerate(found, start=1) if cut] == [12]


# Carry.

BLENDS = {"blend_moving": 0.8, "blend_static": 0.25, "moving": 1.0}


def scene(right):
    """Returns (frame, frame_before, dream_before, flow_back) of a uniform motion."""
    rng = np.random.default_rng(0)
    before = rng.uniform(0.3, 0.7, (24, 24, 3)).astype(np.float32)
    dream = before + rng.uniform(-0.2, 0.2, before.shape).astype(np.float32)
    frame = np.roll(before, right, axis=1)
    return frame, before, dream, uniform((24, 24), 0, -right)


def test_blends_of_zero_give_the_frame_to_the_bit():
    frame, *rest = scene(3)
    got = carry(
        *(frame, *rest), np.ones((24, 24)), blend_moving=0, blend_static=0, moving=1
    )
    np.testing.assert_array_equal(got, frame)
    assert got.dtype == np.float32


def test_detail_moves_along_with_what_moves():
    frame, before, dream, flow = scene(3)
    got = carry(frame, before, dream, flow, np.ones((24, 24)), **BLENDS)
    expected = frame + 0.8 * np.roll(dream - before, 3, axis=1)
    np.testing.assert_allclose(got[:, 3:], expected[:, 3:], atol=1e-6)


def test_the_last_dream_shines_through_what_stands():
    frame, before, dream, flow = scene(0)
    got = carry(frame, before, dream, flow, np.ones((24, 24)), **BLENDS)
    np.testing.assert_allclose(got, 0.75 * frame + 0.25 * dream, atol=1e-6)


def test_nothing_is_carried_where_the_flows_disagree():
    frame, before, dream, flow = scene(3)
    mask = np.ones((24, 24), np.float32)
    mask[10:] = 0
    got = carry(frame, before, dream, flow, mask, **BLENDS)
    np.testing.assert_array_equal(got[10:], frame[10:])
    assert np.abs(got[:10] - frame[:10]).mean() > 0.05


def test_the_start_stays_in_the_range_of_pixels():
    frame, before, dream, flow = scene(3)
    got = carry(frame, before, 9 * dream - 4, flow, np.ones((24, 24)), **BLENDS)
    assert got.min() == 0 and got.max() == 1


def test_motion_is_a_length_in_pixels_not_a_share_of_the_frames_own():
    noise = np.random.default_rng(0).normal(0, 0.1, (24, 24, 2))
    assert motion(noise, 1.0).max() < 0.02
    speeds = [motion(uniform((24, 24), 0, s), 1.0)[12, 12] for s in (0.5, 1.0, 1.5, 9)]
    np.testing.assert_allclose(speeds, [0, 0.5, 1, 1], atol=1e-6)
    assert motion(0 * noise, 0).min() == 1


def test_motion_has_smooth_edges():
    flow = np.zeros((24, 24, 2), np.float32)
    flow[:, 12:] = 5
    across = motion(flow, 1.0)[12]
    assert across[0] < 0.01 and across[-1] > 0.99
    assert np.abs(np.diff(across)).max() < 0.25


@pytest.mark.parametrize(
    "bad", [{"blend_moving": 1.1}, {"blend_static": -0.1}, {"moving": -1.0}], ids=str
)
def test_carry_refuses_blends_without_a_meaning(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        carry(*scene(1), np.ones((24, 24)), **{**BLENDS, **bad})


# Pictures of flows.


def test_flow_picture_by_hand():
    flow = np.zeros((1, 4, 2), np.float32)
    flow[0, 1] = 0, 4  # right
    flow[0, 2] = 0, -4  # left
    flow[0, 3] = 0, 2
    picture = flow_picture(flow)
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[0, 1].tolist() == [255, 0, 0]
    np.testing.assert_allclose(picture[0, 2], [0, 255, 255], atol=4)
    np.testing.assert_allclose(picture[0, 3], [255, 127, 127], atol=2)
    assert flow_picture(flow, 8.0)[0, 1, 1] == pytest.approx(127, abs=2)
