"""Small image filters: Gaussian blur, 3x3 median, Lucid's blur, binomial pyramid.

They are shared by the penalties, the projections and the gradient transforms. All
take images [B, H, W, C] of any size and work channel by channel.

None of them is a convolution: on CPU a grouped convolution costs 10 to 100 times a
sum of shifted arrays.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import require
from dreamjax.types import Array

_HIGHEST = jax.lax.Precision.HIGHEST
"""A GPU multiplies float32 matrices with 10 bits of mantissa unless told not to: then
not even the identity matrix gives the image back."""

_MIN_SIGMA = 0.05
"""exp(-1 / (2 * 0.05^2)) is exactly 0 in float32, so that a smaller width changes no
entry of the matrix, and no division by zero is left."""


def require_images(argument: str, images: Array) -> None:
    """Raises ValueError unless `images` has the four axes [B, H, W, C]."""
    require(jnp.ndim(images) == 4, argument, jnp.shape(images), "[B, H, W, C]")


def gaussian_matrix(size: int, sigma: Array | float) -> Array:
    """Returns the matrix that blurs a line of `size` pixels.

    `M[i, j] = exp(-(i-j)² / 2σ²) / Σ_j exp(-(i-j)² / 2σ²)`: no truncation, and what
    the kernel would take from outside the line is given to the pixels inside, so that
    a constant stays constant.

    Args:
      size: pixels, at least 1.
      sigma: scalar, standard deviation in pixels; may be traced. 0.05 and less is
        exactly the identity.

    Returns:
      [size, size], each row sums to 1.

    Raises:
      ValueError: size below 1.
    """
    require(size >= 1, "size", size, "at least 1 pixel")
    offsets = np.arange(size, dtype=np.float32)
    squares = np.square(offsets[:, None] - offsets[None, :])
    sigma = jnp.maximum(jnp.asarray(sigma, jnp.float32), _MIN_SIGMA)
    weights = jnp.exp(-squares / (2 * jnp.square(sigma)))
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def gaussian_blur(images: Array, sigma: Array | float) -> Array:
    """Returns the images blurred by a Gaussian of any width.

    Two matrix products, `M_H x M_Wᵀ` with `gaussian_matrix`, for the width may be
    traced and then no kernel size is known.

    Args:
      images: [B, H, W, C].
      sigma: scalar, standard deviation in pixels; may be traced.

    Returns:
      [B, H, W, C].

    Raises:
      ValueError: images without four axes.
    """
    require_images("images", images)
    rows = gaussian_matrix(images.shape[1], sigma)
    columns = gaussian_matrix(images.shape[2], sigma)
    # Channels first: a product with 3 columns would leave the CPU's lanes empty
    # (1.3 ms an image of 224² against 1.9).
    x = jnp.transpose(images, (0, 3, 1, 2))  # [B, C, H, W]
    x = jnp.einsum("bchw,vw->bchv", x, columns, precision=_HIGHEST)
    x = jnp.einsum("uh,bchv->bcuv", rows, x, precision=_HIGHEST)
    return jnp.transpose(x, (0, 2, 3, 1))  # [B, H, W, C]


def _sort3(a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    """Returns the smallest, the middle and the largest, element by element."""
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    middle = jnp.maximum(low, jnp.minimum(high, c))
    return jnp.minimum(low, c), middle, jnp.maximum(high, c)


def median3(images: Array) -> Array:
    """Returns the median of every 3x3 neighborhood, the edge pixels being repeated.

    The columns of the neighborhood are sorted; the median of nine is then the median
    of (the largest minimum, the median of the medians, the smallest maximum). It is
    exact, and takes 0.5 ms an image of 224² on CPU where a sort takes 100.

    Args:
      images: [B, H, W, C].

    Returns:
      [B, H, W, C].

    Raises:
      ValueError: images without four axes.
    """
    require_images("images", images)
    x = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    low, middle, high = _sort3(x[:, :-2], x[:, 1:-1], x[:, 2:])

    def columns(z):
        return z[:, :, :-2], z[:, :, 1:-1], z[:, :, 2:]

    low = _sort3(*columns(low))[2]
    middle = _sort3(*columns(middle))[1]
    high = _sort3(*columns(high))[0]
    return _sort3(low, middle, high)[1]


def _box_sum(x: Array, radius: int, axis: int) -> Array:
    """Returns the sums over 2 * radius + 1 neighbors, zero beyond the border."""
    if radius == 0:
        return x
    padding = [(radius, radius) if a == axis else (0, 0) for a in range(x.ndim)]
    size = x.shape[axis]
    padded = jnp.pad(x, padding)
    return sum(
        jax.lax.slice_in_dim(padded, k, k + size, axis=axis)
        for k in range(2 * radius + 1)
    )


def lucid_blur(images: Array, width: int) -> Array:
    """Returns the images under Lucid's blur, whose rim weighs half.

    The kernel of width x width pixels is 1 inside and 1/2 on its outermost ring (sum
    5 for width 3, sum 17 for width 5), divided by the part of it that lies inside the
    image. It is half a box of that width plus half a box that is two pixels smaller.

    Args:
      images: [B, H, W, C].
      width: of the kernel in pixels, odd, at least 3.

    Returns:
      [B, H, W, C].

    Raises:
      ValueError: an even or too small width, images without four axes.
    """
    require_images("images", images)
    require(width >= 3 and width % 2 == 1, "width", width, "an odd number >= 3")

    def kernel(x):
        outer = _box_sum(_box_sum(x, width // 2, 1), width // 2, 2)
        inner = _box_sum(_box_sum(x, width // 2 - 1, 1), width // 2 - 1, 2)
        return 0.5 * outer + 0.5 * inner

    inside = kernel(jnp.ones((1, *images.shape[1:3], 1), images.dtype))
    return kernel(images) / jnp.broadcast_to(inside, images.shape)


_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def _same_padding(size: int) -> tuple[int, int]:
    """Returns TensorFlow's 'SAME' padding for 5 taps of stride 2."""
    return (1, 2) if size % 2 == 0 else (2, 2)


def _down(x: Array, axis: int) -> Array:
    """Returns every other value of the 5-tap binomial blur along one axis."""
    size = x.shape[axis]
    half = (size + 1) // 2
    padding = [_same_padding(size) if a == axis else (0, 0) for a in range(x.ndim)]
    padded = jnp.pad(x, padding)
    return sum(
        weight * jax.lax.slice_in_dim(padded, k, k + 2 * half - 1, 2, axis)
        for k, weight in enumerate(_BINOMIAL)
    )


def _up(x: Array, size: int, axis: int) -> Array:
    """Returns twice the transpose of `_down` along one axis, of `size` values."""
    half = x.shape[axis]
    w = [2 * weight for weight in _BINOMIAL]

    def shifted(by):  # x[i - by] for i in 0 .. half + 1, zero outside
        padding = [(by, 2 - by) if a == axis else (0, 0) for a in range(x.ndim)]
        return jnp.pad(x, padding)

    # Value i of x reaches padded position 2i + k with weight k: the even positions
    # see the even taps and the odd ones the odd taps, and then they are interleaved.
    even = w[0] * shifted(0) + w[2] * shifted(1) + w[4] * shifted(2)
    odd = w[1] * shifted(0) + w[3] * shifted(1)
    both = jnp.stack([even, odd], axis=axis + 1)
    both = both.reshape(*x.shape[:axis], 2 * (half + 2), *x.shape[axis + 1 :])
    start = _same_padding(size)[0]
    return jax.lax.slice_in_dim(both, start, start + size, axis=axis)


def pyramid_down(images: Array) -> Array:
    """Returns the images blurred and halved, one step down a Gaussian pyramid.

    The convolution with the kernel [1,4,6,4,1] ⊗ [1,4,6,4,1] / 256 at stride 2 and
    TensorFlow's 'SAME' zero padding, as TensorFlow's DeepDream tutorial has it.

    Args:
      images: [B, H, W, C].

    Returns:
      [B, ceil(H/2), ceil(W/2), C].

    Raises:
      ValueError: images without four axes.
    """
    require_images("images", images)
    return _down(_down(images, 1), 2)


def pyramid_up(images: Array, height: int, width: int) -> Array:
    """Returns the images doubled in size: four times the transpose of `pyramid_down`.

    Args:
      images: [B, h, w, C] with h = ceil(height/2) and w = ceil(width/2).
      height: of the result, in pixels.
      width: of the result, in pixels.

    Returns:
      [B, height, width, C].

    Raises:
      ValueError: images without four axes or not half of the size asked for.
    """
    require_images("images", images)
    halves = ((height + 1) // 2, (width + 1) // 2)
    require(images.shape[1:3] == halves, "images", images.shape, f"H, W = {halves}")
    return _up(_up(images, height, 1), width, 2)
