"""How unevenly a map treats the places of a regular grid: gradient checkerboards.

A convolution or pool with a stride reads some positions more often than others, and
its gradient shows it as a checkerboard (Olah 2017; Odena, Dumoulin & Olah 2016 for the
same in generators).
"""

import numpy as np

from dreamjax.errors import require


def parity_means(plane: np.ndarray, period: int = 2) -> np.ndarray:
    """Returns the mean over positions of one class each, [period, period].

    Entry (i, j) is the mean of `plane[i::period, j::period]`; rows and columns that no
    whole period holds are left out.

    Args:
      plane: [H, W], values that are not negative, such as |gradient|.
      period: positions; 2 is a checkerboard of single positions.

    Raises:
      ValueError: for another shape, or a map smaller than a period.
    """
    plane = np.asarray(plane, np.float64)
    require(plane.ndim == 2, "plane.shape", plane.shape, "give [H, W]")
    height, width = (n - n % period for n in plane.shape)
    allowed = f"at least one period of {period}"
    require(min(height, width) >= period >= 2, "plane.shape", plane.shape, allowed)
    cells = plane[:height, :width].reshape(
        height // period, period, width // period, period
    )
    return cells.mean(axis=(0, 2))


def parity_contrast(plane: np.ndarray, period: int = 2) -> float:
    """Returns how much the classes of positions differ: their std over their mean.

    0 where every class is treated alike, √(p² - 1) where one class has everything
    (1.73 for a period of 2). A map of 0 has 0.
    """
    means = parity_means(plane, period)
    return float(means.std() / means.mean()) if means.mean() > 0 else 0.0


def parity_by_chance(plane: np.ndarray, period: int = 2) -> float:
    """Returns the contrast to expect of a map without a grid, its values shuffled.

    The means of n / p² values each scatter by σ / √(n / p²): `(σ / μ) p √(1 / n)`
    times √(1 - 1/p²) for taking their own mean.
    """
    plane = np.asarray(plane, np.float64)
    if plane.mean() <= 0:
        return 0.0
    apart = plane.std() / plane.mean()
    return float(apart * period * np.sqrt((1 - period**-2.0) / plane.size))
