"""Pooling and normalization as the frameworks of the papers define them.

Caffe rounds the size of a pooled map up, PyTorch down; TensorFlow averages only what
lies inside the image; Caffe's and TensorFlow's local response normalization differ in
how alpha is divided. Padding is explicit everywhere, as in `layers`.

On CPU, the gradient of XLA's max pooling (select-and-scatter) is many times slower than
a sum over the k·k shifts, as for the depthwise convolution; `max_pool` picks when a
program is traced.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.layers import Padding, depthwise, sum_of_shifts, widened
from dreamjax.models.platform import by_platform
from dreamjax.types import Array


def ceil_padding(
    height: int, width: int, kernel: int, stride: int, padding: int = 0
) -> Padding:
    """Returns the padding of a pool whose output size is rounded up.

    Caffe's rule, and PyTorch's with `ceil_mode=True`: one more window wherever pixels
    are left over, unless that window would begin outside the image and its top or left
    padding.
    """

    def one(size: int) -> tuple[int, int]:
        out = -(-(size + 2 * padding - kernel) // stride) + 1
        if (out - 1) * stride >= size + padding:
            out -= 1
        return padding, max((out - 1) * stride + kernel - size - padding, 0)

    return one(height), one(width)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: Array, kernel: int, stride: int, padding: Padding) -> Array:
    """Largest value of each window; the padding never wins.

    The gradient goes to the first of several equal values, row by row, as in PyTorch
    and Caffe.

    Args:
      x: [N, H, W, C].
      kernel, stride: pixels, the same both ways.
      padding: pixels of minus infinity on each side.

    Returns:
      [N, H', W', C], H' = (H + top + bottom - kernel) // stride + 1.
    """
    return by_platform(
        x,
        cpu=lambda x: _shifted_max(x, kernel, stride, padding)[0],
        default=partial(_xla_max, kernel=kernel, stride=stride, padding=padding),
    )


def _max_forward(x, kernel, stride, padding):
    return max_pool(x, kernel, stride, padding), x


def _max_backward(kernel, stride, padding, x, g):
    options = {"kernel": kernel, "stride": stride, "padding": padding}
    return (
        by_platform(
            x,
            g,
            cpu=partial(_shifted_max_vjp, **options),
            default=partial(_xla_max_vjp, **options),
        ),
    )


max_pool.defvjp(_max_forward, _max_backward)


def _xla_max(x: Array, *, kernel: int, stride: int, padding: Padding) -> Array:
    return jax.lax.reduce_window(
        x,
        -jnp.inf,
        jax.lax.max,
        (1, kernel, kernel, 1),
        (1, stride, stride, 1),
        ((0, 0), *padding, (0, 0)),
    )


def _xla_max_vjp(x, g, **options):
    return jax.vjp(partial(_xla_max, **options), x)[1](g)[0]


def _pad(x: Array, padding: Padding, value: float) -> Array:
    return jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=value)


def _windows(x: Array, kernel: int, stride: int):
    """Yields (shift number, [N, H', W', C]): what each place of a window sees of x."""
    height = (x.shape[1] - kernel) // stride + 1
    width = (x.shape[2] - kernel) // stride + 1
    for i in range(kernel):
        for j in range(kernel):
            rows = slice(i, i + (height - 1) * stride + 1, stride)
            columns = slice(j, j + (width - 1) * stride + 1, stride)
            yield i * kernel + j, x[:, rows, columns]


def _shifted_max(
    x: Array, kernel: int, stride: int, padding: Padding
) -> tuple[Array, Array]:
    """Returns the maxima, and the place in the window where each was found first."""
    best, place = None, None
    for number, seen in _windows(_pad(x, padding, -jnp.inf), kernel, stride):
        if best is None:
            best, place = seen, jnp.zeros(seen.shape, jnp.int8)
        else:
            place = jnp.where(seen > best, jnp.int8(number), place)
            best = jnp.maximum(best, seen)
    return best, place


def _shifted_max_vjp(x, g, *, kernel, stride, padding):
    place = _shifted_max(x, kernel, stride, padding)[1]

    return sum_of_shifts(
        lambda i, j, g, place: jnp.where(place == i * kernel + j, g, 0),
        (g, place),
        x.shape,
        kernel=kernel,
        stride=stride,
        padding=padding,
    )


def avg_pool(
    x: Array, kernel: int, stride: int, padding: Padding, *, count_padding: bool
) -> Array:
    """Mean of each window.

    Args:
      x: [N, H, W, C].
      kernel, stride: pixels, the same both ways.
      padding: pixels of zeros on each side.
      count_padding: divide by kernel² everywhere (PyTorch's and Caffe's default); else
        by the number of pixels of the window that lie in the image (TensorFlow).

    Returns:
      [N, H', W', C].
    """
    ones = jnp.ones((kernel, kernel, x.shape[-1]), x.dtype)
    total = depthwise(x, ones, stride, padding)
    if count_padding or padding == ((0, 0), (0, 0)):
        return total / kernel**2
    inside = np.pad(np.ones((1, *x.shape[1:3], 1)), ((0, 0), *padding, (0, 0)))
    count = sum(seen for _, seen in _windows(inside, kernel, stride))
    return total / jnp.asarray(count, x.dtype)


def adaptive_avg_pool(x: Array, size: tuple[int, int]) -> Array:
    """PyTorch's adaptive mean: [N, H, W, C] -> [N, *size, C] for any H and W.

    Output row i is the mean of the input rows from floor(i H / h) up to
    ceil((i + 1) H / h), so rows are shared where H is no multiple of h.
    """

    def weights(n: int, out: int) -> Array:
        matrix = np.zeros((out, n), np.float32)
        for i in range(out):
            start, stop = i * n // out, -(-(i + 1) * n // out)
            matrix[i, start:stop] = 1 / (stop - start)
        return jnp.asarray(matrix)

    if x.shape[1:3] == size:
        return x
    rows, columns = weights(x.shape[1], size[0]), weights(x.shape[2], size[1])
    return jnp.einsum("ih,nhwc,jw->nijc", rows, x, columns).astype(x.dtype)


def local_response_norm(
    x: Array, *, size: int, alpha: float, beta: float, k: float
) -> Array:
    """Local response normalization across channels (Krizhevsky et al. 2012).

        y_c = x_c / (k + alpha * sum of x_j² over |j - c| <= size // 2) ^ beta

    Args:
      x: [N, H, W, C].
      size: number of channels of a window, odd.
      alpha: of the formula. Caffe and PyTorch divide theirs by `size` first: give
        alpha / size. TensorFlow uses it as it is.
    """
    return _normalized(x, size, alpha, beta, k)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _normalized(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    return _normalized_forward(x, size, alpha, beta, k)[0]


def _normalized_forward(x, size, alpha, beta, k):
    wide = widened(x)
    total = k + alpha * _among_neighbors(wide * wide, size)
    weight = _inverse_power(total, beta)
    y = wide * weight
    return y.astype(x.dtype), (wide, weight, y / total)


def _normalized_backward(size, alpha, beta, k, saved, g):
    """∂y_c/∂x_j = weight_c [c = j] - 2 α β x_j y_c / total_c: a window sum again.

    By autodiff the powers are taken several times over, 40 % of GoogLeNet's gradient.
    """
    wide, weight, ratio = saved
    wide_g = widened(g)
    pushed = _among_neighbors(wide_g * ratio, size)
    return ((wide_g * weight - (2 * alpha * beta) * wide * pushed).astype(g.dtype),)


_normalized.defvjp(_normalized_forward, _normalized_backward)


def _among_neighbors(x: Array, size: int) -> Array:
    """Returns for each channel the sum over those at most size // 2 away."""
    reach, channels = size // 2, x.shape[-1]
    x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (reach, reach)))
    return sum(x[..., i : i + channels] for i in range(size))


def _inverse_power(x: Array, beta: float) -> Array:
    """Returns x^-beta, x > 0, by square roots where they do: ten times as fast."""
    if beta == 0.5:
        return 1 / jnp.sqrt(x)
    if beta == 0.75:
        root = jnp.sqrt(x)
        return 1 / (root * jnp.sqrt(root))
    return x**-beta
