"""How many gray levels and colors an image uses: Shannon entropy of histograms.

Values are counted as they are stored in an 8-bit file (sRGB, not linear light):
round(255 x). Entropy is in bits, `-Σ p log2 p`; a uniform image has 0.
"""

import numpy as np

from dreamjax.errors import require

LUMA = np.array([0.2126, 0.7152, 0.0722])
"""Weights of stored red, green and blue in gray (Rec. 709 luma)."""


def shannon_entropy(counts: np.ndarray) -> float:
    """Returns `-Σ p log2 p` in bits of counts of any shape; 0 for no or one class.

    The plug-in estimate, without a correction for few samples: n samples cannot have
    more than log2 n bits.

    Reference: Shannon 1948, "A mathematical theory of communication".
    """
    counts = np.asarray(counts, np.float64).ravel()
    counts = counts[counts > 0]
    if counts.size <= 1:
        return 0.0
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def gray_entropy(image: np.ndarray) -> float:
    """Returns the entropy of the 256 gray levels of an image [..., 3], 0 to 8 bits."""
    gray = np.rint(_pixels(image) @ LUMA * 255.0).astype(np.int64)
    return shannon_entropy(np.bincount(gray, minlength=256))


def color_entropy(image: np.ndarray, levels: int = 16) -> float:
    """Returns the entropy of the color histogram of an image [..., 3].

    Each channel is cut into `levels` equal ranges, which makes levels^3 classes.

    Args:
      image: pixels in [0, 1], RGB.
      levels: 1 to 256 ranges per channel.

    Returns:
      0 to min(3 log2 levels, log2 pixels) bits.
    """
    require(1 <= levels <= 256, "levels", levels, "1 to 256 ranges per channel")
    stored = np.rint(_pixels(image) * 255.0).astype(np.int64)
    part = stored * levels // 256
    code = (part[:, 0] * levels + part[:, 1]) * levels + part[:, 2]
    return shannon_entropy(np.unique(code, return_counts=True)[1])


def _pixels(image: np.ndarray) -> np.ndarray:
    """Returns [pixels, 3] float64 clipped to [0, 1]."""
    image = np.asarray(image, np.float64)
    shaped = image.ndim >= 1 and image.shape[-1] == 3 and image.size > 0
    require(shaped, "image.shape", image.shape, "give [..., 3]")
    finite = bool(np.isfinite(image).all())
    require(finite, "image", "NaN or infinity", "give finite pixels")
    return np.clip(image, 0.0, 1.0).reshape(-1, 3)
