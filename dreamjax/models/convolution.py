"""Dense convolution, in the formulation that is fast for its shape where it runs.

On GPU and TPU that is XLA's own. On CPU, where XLA's runs at best at the speed of a
matmul of as many multiplications, a formulation with fewer of them, or a matmul without
a detour, is faster:

    1×1                                 a matmul                        1–2.5×
    3×3, many channels                  `winograd`                      up to 2×
    3×3 of colors                       a sum of 27 products, no matmul 1.5–4.7×
    gradient in colors                  a matmul, then shifted sums     1.4–1.8×

`platform` picks when a program is traced, so callers never ask where they are. Padding
is always explicit. Reverse mode only, and twice if need be.
"""

import functools
import math
from functools import partial

import jax
import jax.numpy as jnp

from dreamjax.models import winograd
from dreamjax.models.layers import (
    Padding,
    by_place,
    padded,
    sum_of_shifts,
    widened,
    window,
)
from dreamjax.models.platform import by_platform
from dreamjax.types import Array

FEW = 4  # input channels: colors
SHORT = 36  # products of a number that are summed one by one; a 7×7 filter has 147
PIXELS = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


def conv(x: Array, kernel: Array, *, stride: int = 1, padding: Padding) -> Array:
    """Dense convolution.

    Args:
      x: [N, H, W, C].
      kernel: [k, k, C, K].
      stride: pixels, the same both ways.
      padding: pixels of zeros on each side.

    Returns:
      [N, H', W', K].
    """
    if kernel.shape[:2] == (1, 1) and stride == 1 and padding == ((0, 0), (0, 0)):
        return by_platform(x, kernel, cpu=_matmul, default=_pointwise)
    return _dense(x, kernel, stride, padding)


def _matmul(x: Array, kernel: Array) -> Array:
    _, _, inputs, outputs = kernel.shape
    flat = kernel.reshape(inputs, outputs)
    return jax.lax.dot_general(x, flat, (((3,), (0,)), ((), ())))


def _pointwise(x: Array, kernel: Array) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", **PIXELS)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _dense(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    where = {"stride": stride, "padding": padding}
    return by_platform(
        x, kernel, cpu=partial(_on_cpu, **where), default=partial(_by_xla, **where)
    )


def _dense_forward(x, kernel, stride, padding):
    return _dense(x, kernel, stride, padding), (x, kernel)


def _dense_backward(stride, padding, saved, g):
    x, kernel = saved
    where = {"stride": stride, "padding": padding}
    in_x = by_platform(
        kernel,
        g,
        cpu=partial(_transposed_on_cpu, shape=x.shape, **where),
        default=partial(_transposed_by_xla, shape=x.shape, **where),
    )
    in_kernel = jax.vjp(lambda kernel: _by_xla(x, kernel, **where), kernel)[1](g)[0]
    return in_x, in_kernel


_dense.defvjp(_dense_forward, _dense_backward)


def _by_xla(x: Array, kernel: Array, *, stride: int, padding: Padding) -> Array:
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **PIXELS)


def _transposed_by_xla(kernel, g, *, shape, stride, padding):
    x = jax.ShapeDtypeStruct(shape, g.dtype)
    apply = partial(_by_xla, kernel=kernel, stride=stride, padding=padding)
    return jax.linear_transpose(apply, x)(g)[0]


def _fits_winograd(shape, kernel: Array, stride: int, padding: Padding) -> bool:
    return (
        kernel.shape[:2] == (3, 3)
        and stride == 1
        and max(*padding[0], *padding[1]) <= 2
        and kernel.dtype in (jnp.float32, jnp.float64)  # fewer bits lose too much
        and winograd.wins(*shape[1:3], *kernel.shape[2:])
    )


def _on_cpu(x: Array, kernel: Array, *, stride: int, padding: Padding) -> Array:
    if _fits_winograd(x.shape, kernel, stride, padding):
        return winograd.convolve(x, kernel, padding)
    if kernel.shape[2] <= FEW and math.prod(kernel.shape[:3]) <= SHORT:
        return _one_by_one(x, kernel, stride=stride, padding=padding)
    return _by_xla(x, kernel, stride=stride, padding=padding)


def _one_by_one(x: Array, kernel: Array, *, stride: int, padding: Padding) -> Array:
    """Sum over places and input channels of one plane times one weight per output."""
    rows, columns, few, _ = kernel.shape
    wide = padded(widened(x), padding)
    height = (wide.shape[1] - rows) // stride + 1
    width = (wide.shape[2] - columns) // stride + 1
    planes = jax.lax.split(wide, (1,) * few, axis=3)
    parts = []
    for n, weight in enumerate(by_place(widened(kernel))):
        place, color = divmod(n, few)
        seen = window(planes[color], *divmod(place, columns), height, width, stride)
        parts.append(seen * weight)
    return functools.reduce(jax.lax.add, parts).astype(x.dtype)


def _transposed_on_cpu(kernel, g, *, shape, stride, padding):
    if _fits_winograd(shape, kernel, stride, padding):
        return winograd.transposed(g, kernel, padding)
    if kernel.shape[2] <= FEW and kernel.shape[0] == kernel.shape[1]:
        return _spread(kernel, g, shape=shape, stride=stride, padding=padding)
    return _transposed_by_xla(kernel, g, shape=shape, stride=stride, padding=padding)


def _spread(kernel, g, *, shape, stride, padding):
    """What each window gives back, by one matmul, and the sum of what overlaps."""
    k, _, few, outputs = kernel.shape
    flat = kernel.reshape(k * k * few, outputs)
    given = jax.lax.dot_general(g, flat, (((3,), (1,)), ((), ())))

    def of_place(i: int, j: int, given: Array) -> Array:
        first = (i * k + j) * few
        return jax.lax.slice_in_dim(given, first, first + few, axis=3)

    return sum_of_shifts(
        of_place,
        (given,),
        shape,
        kernel=k,
        stride=stride,
        padding=padding,
    )
