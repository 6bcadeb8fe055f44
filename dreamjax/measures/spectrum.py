"""How the contrast of an image is spread over spatial frequencies.

Each function takes an image [H, W, 3], and then means its linear luminance, or a plane
[H, W], which is taken as it stands. The mean is removed. With `window` the plane is
multiplied by a Hann window, so that unequal borders do not look like detail (they
would add power falling as 1/f^2 along the axes).
"""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import fft

from dreamjax.errors import require
from dreamjax.measures.light import luminance

FLAT = 1e-9
"""A plane whose standard deviation is at most this has no spectrum."""

FLOOR = 1e-20
"""Powers below this share of the largest are rounding; they count as this share."""


def plane_of(image: np.ndarray) -> np.ndarray:
    """Returns [H, W] float64: the luminance of an image, or the plane itself.

    Raises:
      ValueError: for another shape, and for values that are not finite.
    """
    image = np.asarray(image)
    if image.ndim == 3:
        return luminance(image)
    require(image.ndim == 2, "image.shape", image.shape, "give [H, W, 3] or [H, W]")
    finite = image.size > 0 and bool(np.isfinite(image).all())
    require(finite, "image", "empty, NaN or infinity", "give finite pixels")
    return image.astype(np.float64)


def frequencies(height: int, width: int) -> np.ndarray:
    """Returns |f| in cycles per pixel of `fft2`, [H, W]: `sqrt(fy^2 + fx^2)`."""
    return np.hypot(fft.fftfreq(height)[:, None], fft.fftfreq(width)[None, :])


def rings(height: int, width: int) -> np.ndarray:
    """Returns the ring of each frequency, [H, W] int: |f| in units of 1/min(H, W).

    Rounded to the nearest, so ring k holds |f| within half a unit of k / min(H, W).
    """
    return np.rint(frequencies(height, width) * min(height, width)).astype(np.int64)


def power(image: np.ndarray, window: bool = True) -> np.ndarray:
    """Returns |fft2|^2 of the plane without its mean, [H, W]; all 0 for a flat plane.

    With `window` the mean removed is the window's own, so nothing of it leaks.
    """
    plane = plane_of(image)
    if plane.std() <= FLAT:
        return np.zeros(plane.shape)
    weight = np.ones(plane.shape)
    if window:
        weight = np.outer(_hann(plane.shape[0]), _hann(plane.shape[1]))
    centered = plane - (weight * plane).sum() / weight.sum()
    return np.abs(fft.fft2(weight * centered)) ** 2


def radial_power(
    image: np.ndarray, window: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the power averaged over each ring of frequencies up to .5.

    Returns:
      (frequency, power), each [K] with K = min(H, W) // 2: the ring's mean frequency
      in cycles per pixel, and its mean power.
    """
    return radial_mean(power(image, window))


def radial_mean(spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a power spectrum [H, W] averaged over rings, as `radial_power` does."""
    ring = rings(*spectrum.shape).ravel()
    top = min(spectrum.shape) // 2
    count = np.bincount(ring)[1 : top + 1]
    total = np.bincount(ring, spectrum.ravel())[1 : top + 1]
    where = np.bincount(ring, frequencies(*spectrum.shape).ravel())[1 : top + 1]
    return where / count, total / count


def spectral_slope(
    image: np.ndarray, low: float = 0.02, high: float = 0.4, window: bool = True
) -> float:
    """Returns the slope of log power against log frequency.

    The least-squares line through (log f, log P(f)) of the rings of `radial_power`
    with low <= f <= high, each ring counting once. White noise has slope 0; photos are
    near -2 (their amplitude falls as 1/f). A flat plane has slope 0.

    Args:
      image: [H, W, 3], meaning its luminance, or a plane [H, W].
      low, high: cycles per pixel. The corners of the spectrum lie above .5; the
        finest rings hold what resizing and JPEG left, hence .4.
      window: whether a Hann window is applied.

    Raises:
      ValueError: unless 0 < low < high <= .5 and at least three rings lie between.

    Reference: Field 1987, "Relations between the statistics of natural images and the
    response properties of cortical cells", J. Opt. Soc. Am. A 4(12).
    """
    require(0 < low < high <= 0.5, "low, high", (low, high), "0 < low < high <= 0.5")
    frequency, mean_power = radial_power(image, window)
    shape = np.shape(image)[:2]
    allowed = f"three rings are needed between {low} and {high} cycles/pixel"
    used = (low <= frequency) & (frequency <= high)
    require(int(used.sum()) >= 3, "image.shape", shape, allowed)
    return slope_of(frequency[used], mean_power[used])


def slope_of(frequency: np.ndarray, mean_power: np.ndarray) -> float:
    """Returns the least-squares slope of log power [K] against log frequency [K].

    Rings below `FLOOR` of the strongest count as that; without any power it is 0.
    """
    if not mean_power.any():
        return 0.0
    x = np.log(frequency)
    y = np.log(np.maximum(mean_power, FLOOR * mean_power.max()))
    x = x - x.mean()
    return float((x * y).sum() / (x * x).sum())


def high_frequency(
    image: np.ndarray, above: float = 0.25, window: bool = True
) -> float:
    """Returns the share of the power at |f| > `above` cycles per pixel, in [0, 1].

    White noise has 1 - π above^2, which is .804 at .25 (the corners count, up to
    |f| = .707). A flat plane has 0.

    Raises:
      ValueError: unless 0 < above < .5.
    """
    require(0 < above < 0.5, "above", above, "0 < above < 0.5 cycles per pixel")
    return share_above(power(image, window), above)


def share_above(spectrum: np.ndarray, above: float) -> float:
    """Returns the share of a power spectrum [H, W] at |f| > `above`; 0 of none."""
    total = spectrum.sum()
    if total == 0.0:
        return 0.0
    return float(spectrum[frequencies(*spectrum.shape) > above].sum() / total)


def band_shares(plane: np.ndarray, edges: Sequence[float]) -> list[float]:
    """Returns the shares of the power of a plane [H, W] in bands of frequency.

    Band i holds edges[i] <= |f| < edges[i + 1], in cycles per pixel. No window is
    applied and the mean stays in the first band; a plane of zeros has shares of 0.

    Raises:
      ValueError: fewer than two edges, or edges that do not ascend.
    """
    pairs = list(itertools.pairwise(edges))
    ascend = len(pairs) > 0 and all(low < high for low, high in pairs)
    require(ascend, "edges", tuple(edges), "two or more, ascending")
    spectrum = np.abs(fft.fft2(np.asarray(plane, np.float64))) ** 2
    radius, total = frequencies(*spectrum.shape), spectrum.sum()
    if total == 0.0:
        return [0.0] * len(pairs)
    return [
        float(spectrum[(radius >= low) & (radius < high)].sum() / total)
        for low, high in pairs
    ]


def _hann(size: int) -> np.ndarray:
    """Returns a Hann window sampled at pixel centers, so it is nowhere 0; [size]."""
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
