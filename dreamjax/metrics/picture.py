"""What can be said of a picture without a network: spectrum, color, edges.

NumPy only and cheap (about 2 ms for 128 × 128 px), because a sweep has hundreds of
pictures. Everything is taken of the stored values, as the network sees them, not of
linear light; of the channels' spectra the sum is taken. Flat and gray pictures have
a defined value everywhere.
"""

import numpy as np

from dreamjax.errors import require
from dreamjax.measures import spectrum
from dreamjax.params.color import COLOR_SQRT

NATURAL_SLOPE = -1.0
"""Amplitude of natural images falls as 1/f (Field 1987)."""

SLOPE_RANGE = (0.02, 0.4)
"""Cycles per pixel of the slope's fit, as in `spectrum.spectral_slope`."""

HIGH = 0.25
"""Cycles per pixel from which a frequency is high: features of less than 4 pixels."""

ENDS = (0.5 / 255, 254.5 / 255)
"""Beyond these a value is 0 or 255 in an 8-bit file."""

NATURAL_COVARIANCE = COLOR_SQRT @ COLOR_SQRT.T
"""Of the colors of ImageNet's photos, [3, 3]; the one that decorrelation undoes."""

FLAT_DISTANCE = float(np.sqrt(2.0))


def picture_metrics(images: np.ndarray) -> dict[str, float]:
    """Returns the metrics of pictures, each the mean over B.

    Which names there are depends on the shape alone: without `spectral_slope` and
    `slope_distance` where fewer than three rings of frequencies lie in `SLOPE_RANGE`
    (below about 8 px), without `color_distance` and `colorfulness` unless C is 3. Of
    a picture that is not finite everywhere all are NaN.

    Args:
      images: [B, H, W, C] in [0, 1].

    Raises:
      ValueError: for another shape.
    """
    images = np.asarray(images, np.float64)
    shaped = images.ndim == 4 and images.size > 0
    require(shaped, "images.shape", images.shape, "give [B, H, W, C]")
    each = [_measure(image) for image in images]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def _measure(image: np.ndarray) -> dict[str, float]:
    """Returns the metrics of one picture [H, W, C]."""
    if not np.isfinite(image).all():
        blank = _measure(np.zeros_like(image))
        return dict.fromkeys(blank, float("nan"))
    planes = np.moveaxis(image, -1, 0)
    total = sum(spectrum.power(plane) for plane in planes)  # [H, W]
    found = _slope(total)
    found["high_frequency"] = spectrum.share_above(total, HIGH)
    if image.shape[-1] == 3:
        found["color_distance"] = color_distance(image)
        found["colorfulness"] = colorfulness(image)
    found["saturation"] = saturation(image)
    found["total_variation"] = total_variation(image)
    return found


def _slope(power: np.ndarray) -> dict[str, float]:
    frequency, mean_power = spectrum.radial_mean(power)
    used = (SLOPE_RANGE[0] <= frequency) & (frequency <= SLOPE_RANGE[1])
    if used.sum() < 3:
        return {}
    slope = spectrum.slope_of(frequency[used], mean_power[used]) / 2
    return {"spectral_slope": slope, "slope_distance": abs(slope - NATURAL_SLOPE)}


def color_distance(image: np.ndarray) -> float:
    """Returns how far the covariance of the colors is from that of photos.

    The Bures distance of the two covariances, each divided by its trace, so that
    contrast does not count:

        d² = 2 - 2 tr (A^½ B A^½)^½,  A = cov / tr cov,  B = natural / tr natural

    0 for ImageNet's own covariance, √2 at most; .30 for gray pictures, whose covariance
    has rank 1 (unlike distances of logarithms this one needs no floor for them), .67
    for independent noise in R, G and B. A flat picture has no covariance: √2.

    Args:
      image: [H, W, 3].

    Reference: Bhatia, Jain & Lim 2019, "On the Bures–Wasserstein distance between
    positive definite matrices", Expositiones Mathematicae 37(2).
    """
    colors = image.reshape(-1, 3)
    centered = colors - colors.mean(axis=0)
    covariance = centered.T @ centered / len(colors)
    return covariance_distance(covariance)


def covariance_distance(covariance: np.ndarray) -> float:
    """Returns `color_distance` of a covariance of RGB values, [3, 3]."""
    trace = np.trace(covariance)
    if trace <= spectrum.FLAT**2:
        return FLAT_DISTANCE
    root = _square_root(NATURAL_COVARIANCE / np.trace(NATURAL_COVARIANCE))
    inner = np.linalg.eigvalsh(root @ (covariance / trace) @ root)
    fidelity = np.sqrt(np.maximum(inner, 0.0)).sum()
    return float(np.sqrt(max(0.0, 2.0 - 2.0 * fidelity)))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    """Returns the symmetric root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def colorfulness(image: np.ndarray) -> float:
    """Returns Hasler & Süsstrunk's colorfulness, in their units of 8-bit values.

    `√(σ²_rg + σ²_yb) + .3 √(μ²_rg + μ²_yb)`, rg = R - G, yb = (R + G) / 2 - B. Their
    observers called 0 not, 15 slightly, 33 moderately, 45 averagely, 59 quite, 82
    highly and 109 extremely colorful.

    Args:
      image: [H, W, 3].

    Reference: Hasler & Süsstrunk 2003, "Measuring colourfulness in natural images",
    Proc. SPIE 5007.
    """
    red, green, blue = np.moveaxis(image, -1, 0)
    opponents = np.stack([red - green, (red + green) / 2 - blue])
    spread = np.sqrt(opponents.var(axis=(1, 2)).sum())
    center = np.sqrt(np.square(opponents.mean(axis=(1, 2))).sum())
    return float(255 * (spread + 0.3 * center))


def gray_share(values: np.ndarray) -> float:
    """Returns the part of the energy of [H, W, C] that all its channels share.

    `C Σ mean_c(x)² / Σ x²`: 1 where the channels are equal, 1/C where they are
    independent, 0 where they add up to 0. For directions and differences, which lie
    about 0; of zeros it is 0.
    """
    values = np.asarray(values, np.float64)
    total = np.square(values).sum()
    shared = values.shape[-1] * np.square(values.mean(axis=-1)).sum()
    return float(shared / total) if total > 0 else 0.0


def saturation(image: np.ndarray) -> float:
    """Returns the share of values that are 0 or 255 in an 8-bit file, in [0, 1].

    Clipped values, that is, and not strong colors, which are `colorfulness`.
    """
    return float(np.mean((image < ENDS[0]) | (image > ENDS[1])))


def total_variation(image: np.ndarray) -> float:
    """Returns the absolute steps to the neighbors below and to the right.

    `1/(HWC) Σ |x[i+1, j] - x[i, j]| + |x[i, j+1] - x[i, j]|`: a third of the penalty
    `tv_aniso` of an RGB picture, so that gray pictures of 1 and of 3 channels agree.
    """
    down = np.abs(np.diff(image, axis=0)).sum()
    right = np.abs(np.diff(image, axis=1)).sum()
    return float((down + right) / image.size)
