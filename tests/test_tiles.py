"""Mosaics of small pictures."""

import numpy as np
import pytest

from dreamjax.figures.tiles import tiled


def test_pictures_lie_side_by_side_each_at_full_contrast():
    pictures = np.asarray([[[0.0, 1.0]], [[5.0, 7.0]], [[2.0, 2.0]]])  # [3, 1, 2]
    found = tiled(pictures, columns=2, gap=1)
    expected = [[0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0.5, 0.5, 1, 1, 1]]
    np.testing.assert_allclose(found, expected)
    assert tiled(pictures, columns=3, gap=0, zoom=2).shape == (2, 12)
    colored = tiled(np.zeros((4, 2, 2, 3)), columns=2)
    assert colored.shape == (6, 6, 3)
    with pytest.raises(ValueError, match=r"pictures=\(2, 2\)"):
        tiled(np.zeros((2, 2)), columns=1)
