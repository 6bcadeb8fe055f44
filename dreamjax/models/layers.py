"""Depthwise convolutions and nonlinearities; dense ones are in `convolution`.

On CPU, XLA's grouped convolution is 10–100 times slower than a sum of k·k shifted
products; on GPU and TPU XLA's own convolution wins. `platform` picks when a
program is traced, so callers never ask where they are. Padding is always explicit.

Nonlinearities come as `Rules`: which function stands for each nonlinearity and, with
it, how the gradient passes. `PLAIN` is the network as it was trained; `redirected`
lets gradient through units that are off (Lucid's redirected ReLU); `backward_rules`
makes a DeconvNet of it, or guided backpropagation.
"""

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.models.platform import by_platform
from dreamjax.types import Array

Padding = tuple[tuple[int, int], tuple[int, int]]
"""((top, bottom), (left, right)) pixels of zeros."""


def same_padding(height: int, width: int, kernel: int, stride: int) -> Padding:
    """Returns TensorFlow's 'SAME' padding: the odd pixel goes to the bottom and right.

    PyTorch's `padding=k//2` differs from it wherever the stride is 2.
    """

    def one(size: int) -> tuple[int, int]:
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2

    return one(height), one(width)


def widened(x: Array) -> Array:
    """Returns x as float32 where it has fewer bits; sums of many terms need them."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """Convolution of each channel with its own k×k filter.

    Args:
      x: [N, H, W, C].
      kernel: [k, k, C].
      stride: 1 or 2.
      padding: pixels of zeros on each side.

    Returns:
      [N, H', W', C].
    """
    return by_platform(
        x,
        kernel,
        cpu=partial(_depthwise_shifted, stride=stride, padding=padding),
        default=partial(_depthwise_xla, stride=stride, padding=padding),
    )


def _depthwise_forward(x, kernel, stride, padding):
    return depthwise(x, kernel, stride, padding), (x, kernel)


def _depthwise_backward(stride, padding, saved, g):
    return by_platform(
        *saved,
        g,
        cpu=partial(_depthwise_shifted_vjp, stride=stride, padding=padding),
        default=partial(_depthwise_xla_vjp, stride=stride, padding=padding),
    )


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _depthwise_xla(x: Array, kernel: Array, *, stride: int, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel[:, :, None, :],
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _depthwise_xla_vjp(x, kernel, g, *, stride, padding):
    apply = partial(_depthwise_xla, stride=stride, padding=padding)
    return jax.vjp(apply, x, kernel)[1](g)


def padded(x: Array, padding: Padding) -> Array:
    """Returns [N, H, W, C] with its border of zeros."""
    return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def window(
    x: Array, top: int, left: int, height: int, width: int, stride: int = 1
) -> Array:
    """Returns the [N, height, width, C] of `x` seen by one place of a filter."""
    bottom, right = top + (height - 1) * stride + 1, left + (width - 1) * stride + 1
    start, stop = (0, top, left, 0), (x.shape[0], bottom, right, x.shape[3])
    return jax.lax.slice(x, start, stop, (1, stride, stride, 1))  # fast to trace


def by_place(kernel: Array) -> list[Array]:
    """Returns the weights [1, 1, 1, K] of each place of a kernel [..., K], in order."""
    places = kernel.reshape(-1, 1, 1, kernel.shape[-1])
    return jax.lax.split(places, (1,) * len(places), axis=0)


def interleaved(phases: Sequence[Sequence[Array]]) -> Array:
    """Returns [N, s h, s w, C] whose rows p, s + p, 2s + p … are those of phases[p].

    Args:
      phases: s × s arrays [N, h, w, C], by row and column.
    """
    count, (n, rows, columns, channels) = len(phases), phases[0][0].shape
    lines = [jnp.stack(line, axis=3) for line in phases]  # [N, h, w, s, C]
    whole = jnp.stack(lines, axis=2)  # [N, h, s, w, s, C]
    return whole.reshape(n, count * rows, count * columns, channels)


def _depthwise_shifted(
    x: Array, kernel: Array, *, stride: int, padding: Padding
) -> Array:
    """Sum over the k·k taps of a shifted image times one weight per channel."""
    k = kernel.shape[0]
    x = padded(x, padding)  # [N, H + pad, W + pad, C]
    height = (x.shape[1] - k) // stride + 1
    width = (x.shape[2] - k) // stride + 1
    parts = [
        widened(window(x, *divmod(n, k), height, width, stride)) * weights
        for n, weights in enumerate(by_place(widened(kernel)))
    ]
    return functools.reduce(jax.lax.add, parts).astype(x.dtype)


def sum_of_shifts(
    part: Callable[..., Array],
    outputs: tuple[Array, ...],
    shape: tuple[int, ...],
    *,
    kernel: int,
    stride: int,
    padding: Padding,
) -> Array:
    """Adds up what each place (i, j) of a sliding window gives back to its input.

    The adjoint of a window that slides, with no scatter. A row p of the padded input
    is seen by place i of a window where p - i is a multiple of the stride, so the
    gradient splits into stride² phases; each is a plain sum of shifted arrays, and the
    phases interleave by a reshape. (Autodiff's own answer, a sum of interior-padded
    arrays, was the slow part of a whole network on CPU.)

    Args:
      part: (i, j, *outputs) -> gradient that place (i, j) of each window passes on,
        elementwise; 0 where the first of `outputs` is 0. It is given that one as
        float32 where it has fewer bits.
      outputs: arrays [N, H', W', C] over the windows, the incoming gradient first; of
        other depths where `part` takes its C of them.
      shape: (N, H, W, C) of the input.
      kernel, stride, padding: of the window.

    Returns:
      [N, H, W, C].
    """
    n, height, width, channels = shape
    (top, bottom), (left, right) = padding
    rows = -(-(height + top + bottom) // stride)
    columns = -(-(width + left + right) // stride)
    margin = (kernel - 1) // stride  # places of one phase reach this far back

    def widen(y: Array) -> Array:
        below = max(rows - y.shape[1], 0)
        beyond = max(columns - y.shape[2], 0)
        return jnp.pad(y, ((0, 0), (margin, below), (margin, beyond), (0, 0)))

    wide = [widen(y) for y in outputs]

    def phase(p: int, q: int) -> Array:
        dtype = jnp.promote_types(outputs[0].dtype, jnp.float32)
        total = jnp.zeros((n, rows, columns, channels), dtype)
        for i in range(p, kernel, stride):
            for j in range(q, kernel, stride):
                a, b = margin - i // stride, margin - j // stride
                g, *rest = [window(y, a, b, rows, columns) for y in wide]
                total = total + part(i, j, widened(g), *rest)
        return total.astype(outputs[0].dtype)

    if stride == 1:
        grad = phase(0, 0)
    else:
        grad = interleaved(
            [[phase(p, q) for q in range(stride)] for p in range(stride)]
        )
    return grad[:, top : top + height, left : left + width]


def _depthwise_shifted_vjp(x, kernel, g, *, stride, padding):
    """Gradients of `_depthwise_shifted` in x and kernel."""
    k, weights = kernel.shape[0], by_place(widened(kernel))
    grad_x = sum_of_shifts(
        lambda i, j, g: g * weights[i * k + j],
        (g,),
        x.shape,
        kernel=k,
        stride=stride,
        padding=padding,
    )
    seen = padded(x, padding)
    grad_kernel = jnp.stack(
        [
            jnp.stack(
                [
                    jnp.sum(
                        window(seen, i, j, g.shape[1], g.shape[2], stride) * g,
                        axis=(0, 1, 2),
                    )
                    for j in range(k)
                ]
            )
            for i in range(k)
        ]
    )  # [k, k, C]
    return grad_x, grad_kernel


class Rules(NamedTuple):
    """Which function stands for each nonlinearity of a network.

    Attributes:
      relu: max(x, 0), with the gradient that the rule gives it.
      relu6: min(max(x, 0), 6), likewise.
    """

    relu: Callable[[Array], Array]
    relu6: Callable[[Array], Array]


def _relu(x: Array) -> Array:
    # Slope 0 at 0, as in PyTorch; `jnp.maximum` would give 1/2 there.
    return jax.lax.select(x <= 0, jnp.zeros_like(x), x)


def _relu6(x: Array) -> Array:
    # Slope 0 at 0 and at 6, and NaN stays NaN.
    return jax.lax.select(x >= 6, jnp.full_like(x, 6), _relu(x))


PLAIN = Rules(relu=_relu, relu6=_relu6)


class Passing(NamedTuple):
    """How a gradient passes a nonlinearity, backward; each a bool scalar, traced.

    Attributes:
      by_unit: only through units that are on: below the range, and for ReLU6 above
        it, nothing passes.
      by_gradient: only what is positive.
      redirect: where nothing at all would pass, as if the nonlinearity were not there
        (`redirected`).
    """

    by_unit: Array | bool
    by_gradient: Array | bool
    redirect: Array | bool


RULES = {
    "gradient": Passing(True, False, False),
    "deconv": Passing(False, True, False),
    "guided": Passing(True, True, False),
}
"""Names of backward rules, of a whole network at once. With R what comes from above:

    gradient   R · 1[x > 0]               what it is
    deconv     R · 1[R > 0]               DeconvNet (Zeiler & Fergus 2014)
    guided     R · 1[x > 0] · 1[R > 0]    guided backpropagation (Springenberg 2015)

Simonyan et al. 2014 showed that a DeconvNet differs from the gradient in nothing else.
The signs are those of the gradient of a score; ReLU6 has x < 6 beside x > 0.
"""


def backward_rules(passing: Passing) -> Rules:
    """Rules that change what passes backward, in every nonlinearity of a network.

    Forward it is the same network. One program serves all rules, also side by side
    under `jax.vmap`, as what passes is an argument of it.

    Args:
      passing: of `RULES`, or of your own.
    """
    return Rules(
        relu=lambda x: _passed(x, passing, 0.0, jnp.inf),
        relu6=lambda x: _passed(x, passing, 0.0, 6.0),
    )


def redirected(on: Array) -> Rules:
    """Rules that let gradient reach units that are off, where none else would pass.

    Lucid's semantics, for each image apart: if the gradient that comes through a
    nonlinearity is zero in every unit of that image, then the gradient is passed as if
    the nonlinearity were not there, except where a step along it would drive a unit
    that is already outside the range further out. (ReLU6 blocks pushes above 6 in the
    same way as pushes below 0.) The signs are those of the gradient of a loss.

    Args:
      on: bool scalar, traced: Lucid redirects in the first 16 steps only.
    """
    return backward_rules(Passing(True, False, on))


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _passed(x: Array, passing: Passing, low: float, high: float) -> Array:
    return jnp.clip(x, low, high)


def _passed_forward(x, passing, low, high):
    return jnp.clip(x, low, high), (x, passing)


def _passed_backward(low, high, saved, g):
    x, (by_unit, by_gradient, redirect) = saved
    passed = jnp.where(jnp.asarray(by_unit) & ~((x > low) & (x < high)), 0, g)
    passed = jnp.where(jnp.asarray(by_gradient) & (g <= 0), 0, passed)
    # As of a loss: the step goes along -g, so g > 0 pushes x down.
    outward = ((x < low) & (g > 0)) | ((x > high) & (g < 0))
    open_ = jnp.where(outward, 0, g)
    axes = tuple(range(1, x.ndim))
    blocked = jnp.all(passed == 0, axis=axes, keepdims=True)
    return jnp.where(jnp.asarray(redirect) & blocked, open_, passed), None


_passed.defvjp(_passed_forward, _passed_backward)
