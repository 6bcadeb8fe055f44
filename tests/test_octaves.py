"""Octaves: published sizes, and resizing that loses nothing it should keep."""

import numpy as np
import pytest
from scipy import ndimage

from dreamjax.deepdream.octaves import octave_sizes, resizer


def test_sizes_of_the_notebook():
    assert octave_sizes((575, 1024), 4, 1.4) == [
        (210, 373),
        (294, 522),
        (411, 731),
        (575, 1024),
    ]
    assert octave_sizes((240, 320), 4, 1.4) == [
        (87, 117),
        (122, 164),
        (171, 229),
        (240, 320),
    ]


def test_small_pictures_have_fewer_octaves():
    assert octave_sizes((30, 40), 4, 1.4) == [(21, 29), (30, 40)]
    assert octave_sizes((1, 1), 4, 1.4) == [(1, 1)]


def test_widths_of_a_circle():
    for height, width in octave_sizes((512, 1024), 4, 1.4, circle=32):
        assert width % 32 == 0 and width == 2 * height


def test_corner_is_scipys_zoom_and_keeps_the_corners():
    image = np.random.default_rng(0).random((20, 30, 3)).astype(np.float32)
    found = resizer("corner")(image, (14, 21))
    expected = ndimage.zoom(image[..., 0], (14 / 20, 21 / 30), order=1)
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-6)
    np.testing.assert_allclose(found[0, 0], image[0, 0], atol=1e-6)
    np.testing.assert_allclose(found[-1, -1], image[-1, -1], atol=1e-6)


@pytest.mark.parametrize("kind", ["corner", "smooth"])
def test_a_constant_stays_and_a_ramp_is_a_ramp(kind):
    resize = resizer(kind)
    flat = np.full((16, 16, 3), 0.3, np.float32)
    np.testing.assert_allclose(resize(flat, (23, 31)), 0.3, atol=1e-6)
    ramp = np.broadcast_to(np.linspace(0, 1, 64)[None, :, None], (8, 64, 1))
    steps = np.diff(resize(ramp.astype(np.float32), (8, 32))[4, 4:-4, 0])
    np.testing.assert_allclose(steps, steps[0], atol=1e-4)


def test_smooth_does_not_alias():
    """A grating beyond what fewer pixels can hold comes out gray, not as stripes."""
    grating = np.tile([0.0, 1.0], 64)[None, :, None] * np.ones((8, 1, 1))
    small = resizer("smooth")(grating.astype(np.float32), (8, 50))
    assert small[:, 5:-5].std() < 0.1
    assert resizer("corner")(grating.astype(np.float32), (8, 50)).std() > 0.25


def test_a_rolled_circle_resizes_to_the_rolled_result():
    image = np.random.default_rng(1).random((16, 32, 3)).astype(np.float32)
    resize = resizer("smooth", wraps=True)
    small = resize(image, (8, 16))
    rolled = resize(np.roll(image, 8, axis=1), (8, 16))
    np.testing.assert_allclose(rolled, np.roll(small, 4, axis=1), atol=1e-6)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"resize='smoth'.*Did you mean"):
        resizer("smoth")
    with pytest.raises(ValueError, match="octave_scale=1"):
        octave_sizes((64, 64), 2, 1)
    with pytest.raises(ValueError, match="octaves=0"):
        octave_sizes((64, 64), 0, 1.4)
    with pytest.raises(ValueError, match="resize='corner'"):
        resizer("corner", wraps=True)
