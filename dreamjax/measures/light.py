"""How bright an image is and how much contrast it has, in linear light.

Pixels are sRGB; their linear light is what a calibrated display emits (IEC 61966-2-1),
and its Rec. 709 weighting is luminance: Y = .2126 R + .7152 G + .0722 B, 0 black,
1 the display's white. A gray of 0.5 has a luminance of .214.
"""

import numpy as np

from dreamjax.errors import require

REC709 = np.array([0.2126, 0.7152, 0.0722])
"""Weights of linear red, green and blue in luminance (ITU-R BT.709); they sum to 1."""


def decode_srgb(images: np.ndarray) -> np.ndarray:
    """Returns linear light in [0, 1] of sRGB values; values outside are clipped first.

    `x / 12.92` up to .04045, `((x + .055) / 1.055)^2.4` above; float64.
    """
    x = np.clip(np.asarray(images, np.float64), 0.0, 1.0)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Returns sRGB values in [0, 1] of linear light; the inverse of `decode_srgb`."""
    y = np.clip(np.asarray(linear, np.float64), 0.0, 1.0)
    return np.where(y <= 0.0031308, 12.92 * y, 1.055 * y ** (1 / 2.4) - 0.055)


def luminance(images: np.ndarray) -> np.ndarray:
    """Returns linear Rec. 709 luminance in [0, 1]: [..., H, W, 3] -> [..., H, W].

    Raises:
      ValueError: where the last axis has no 3 channels or values are not finite.
    """
    images = np.asarray(images)
    shaped = images.ndim >= 3 and images.shape[-1] == 3 and images.size > 0
    require(shaped, "images.shape", images.shape, "give [..., H, W, 3]")
    finite = bool(np.isfinite(images).all())
    require(finite, "images", "NaN or infinity", "give finite pixels")
    return decode_srgb(images) @ REC709


def mean_luminance(images: np.ndarray) -> float:
    """Returns the mean of `luminance` over all pixels (of all frames)."""
    return float(luminance(images).mean())


def rms_contrast(images: np.ndarray) -> float:
    """Returns the standard deviation of `luminance` over all pixels (of all frames).

    0 for a uniform image, at most .5. Divide by `mean_luminance` for the convention
    that is relative to the mean; this one is defined for black images too.

    Reference: Peli 1990, "Contrast in complex images", J. Opt. Soc. Am. A 7(10).
    """
    return float(luminance(images).std())
