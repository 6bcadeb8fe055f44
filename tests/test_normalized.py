"""Errors in units of photos' distances, by hand."""

import numpy as np
import pytest

from dreamjax.inversion.normalized import normalized


def test_both_readings_by_hand():
    wanted = np.asarray([[[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 8.0]]])  # [3, 1, 2]
    found = wanted + np.asarray([[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, -2.0]]])
    # Distances 5, 8 and 5; the mean of squares counts the three zeros too.
    errors = normalized(found, wanted)
    square = 2 * (25 + 64 + 25) / 9
    np.testing.assert_allclose(errors.squared, np.asarray([1, 0, 4]) / square)
    np.testing.assert_allclose(errors.plain, np.asarray([1, 0, 2]) / 6)


def test_two_different_photos_are_needed():
    with pytest.raises(ValueError, match="at least two"):
        normalized(np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="different photos"):
        normalized(np.ones((2, 3)), np.ones((2, 3)))
