"""Tiles: every unit belongs to one, in which it sees all that it should."""

import numpy as np
import pytest

from dreamjax.deepdream.reach import Reach
from dreamjax.deepdream.tiles import Overlap, cut, fits, folded, overlap_of, tile_shape

OVERLAPS = [Overlap(0, 0, 1), Overlap(4, 8, 4), Overlap(32, 64, 16)]


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("length", [16, 96, 208, 1024])
def test_every_unit_has_one_tile_and_sees_its_surroundings(length, overlap, wraps):
    before, after, align = overlap
    for tile in range(align, 400, align):
        if not fits(length, tile, overlap, wraps=wraps):
            continue
        axis = cut(length, tile, overlap, wraps=wraps)
        owned = []
        for offset, (low, high) in zip(axis.offsets, axis.owned, strict=True):
            assert offset % align == 0 and offset + tile <= len(axis.source)
            units = range(low, high, align)
            owned += [axis.source[offset + unit] for unit in units if unit < tile]
            for unit in (low, high - 1):
                starts = offset == 0 and not wraps
                ends = offset + tile >= length and not wraps
                assert unit - before >= 0 or starts
                assert unit + after <= tile or ends
        assert sorted(owned) == list(range(0, length, align))


def test_the_mirror_and_the_circle():
    axis = cut(5, 8, Overlap(0, 0, 4))
    np.testing.assert_array_equal(axis.source, [0, 1, 2, 3, 4, 3, 2, 1])
    axis = cut(8, 8, Overlap(2, 2, 2), wraps=True)
    np.testing.assert_array_equal(axis.source[:8], [6, 7, 0, 1, 2, 3, 4, 5])


def test_folded_adds_what_lies_beyond_a_circle_and_drops_a_mirror():
    axis = cut(8, 8, Overlap(2, 2, 2), wraps=True)
    ones = np.ones((len(axis.source), 3))
    counts = np.bincount(axis.source, minlength=8)
    np.testing.assert_array_equal(folded(ones, axis, 0), counts[:, None] * np.ones(3))
    axis = cut(5, 8, Overlap(0, 0, 4))
    np.testing.assert_array_equal(folded(np.arange(8.0), axis, 0), np.arange(5.0))


def test_overlap_of_several_taps_is_the_widest():
    reaches = [Reach(4, 8, 12), Reach(16, 20, 10), None]
    assert overlap_of(reaches) == Overlap(32, 16, 16)
    assert overlap_of(reaches, 0) == Overlap(0, 0, 16)
    assert overlap_of([None]) == Overlap(0, 0, 1)


def test_tile_shape_takes_the_fewest_pixels():
    overlap = Overlap(16, 16, 16)
    assert tile_shape([(96, 128)], overlap, most=10**6) == (96, 128)
    height, width = tile_shape([(960, 960)], overlap, most=256 * 256)
    assert height * width <= 256 * 256
    counts = [len(cut(960, n, overlap).offsets) for n in (height, width)]
    work = counts[0] * counts[1] * height * width
    for side in (64, 96, 128, 256):
        other = len(cut(960, side, overlap).offsets) ** 2 * side**2
        assert work <= other


def test_a_tile_too_small_says_what_would_do():
    with pytest.raises(ValueError, match=r"tile=64.* at least 112"):
        cut(500, 64, Overlap(32, 64, 16))
    with pytest.raises(ValueError, match=r"tile=50.*multiple of 16"):
        cut(500, 50, Overlap(32, 64, 16))
