"""Color decorrelation: axes along which the colors of photos do not vary together.

The matrix is the square root of the color covariance of ImageNet, as in Lucid (and, to
the digit, Lucent, Captum and torch-dreams). Divided by its largest column norm it maps
decorrelated values to RGB, `rgb = values @ COLOR.T`.
"""

import jax.numpy as jnp
import numpy as np

from dreamjax.types import Array

COLOR_SQRT = np.array(
    [[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float64
)
COLOR = COLOR_SQRT / np.linalg.norm(COLOR_SQRT, axis=0).max()
COLOR_INVERSE = np.linalg.inv(COLOR)
COLOR_MEAN = np.array([0.48, 0.46, 0.41], np.float32)
"""Mean color of ImageNet; added where no sigmoid sets the center."""


def to_rgb(values: Array) -> Array:
    """Maps decorrelated values [..., 3] to RGB [..., 3], still centered on 0."""
    return values @ jnp.asarray(COLOR.T, values.dtype)


def from_rgb(rgb: Array) -> Array:
    """The inverse of `to_rgb`."""
    return rgb @ jnp.asarray(COLOR_INVERSE.T, rgb.dtype)
