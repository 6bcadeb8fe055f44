"""The direction of steepest ascent, which depends on how steps are measured.

Of all small steps d of one length, the one that raises a score most is

    L∞              sign(g)                    every value as far as it may go
    L2              g                          the gradient itself
    decorrelated    K Kᵀ g                     the gradient in θ, image = K θ, seen as
                                               an image: a step of length |K⁻¹ d|

with g the gradient in the image. K = S scales frequencies as photos have them
(spatially decorrelated), K = C S mixes the colors as well (fully). It is where the
noise of a gradient comes from: not from the network alone, but from measuring a step
by its pixels (Olah 2017, "Preconditioning and Parameterization").
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.errors import choose
from dreamjax.params import color
from dreamjax.params.spatial import fourier
from dreamjax.types import Array, HParams

Linear = Callable[[Array], Array]


class Metric(NamedTuple):
    """A way to measure steps [B, H, W, C], for each image apart.

    Attributes:
      steepest: gradients -> the direction of steepest ascent, of any length.
      length: steps -> [B], their lengths.
    """

    steepest: Linear
    length: Linear


def metric(name: str, shape: tuple[int, int, int, int], hp: HParams) -> Metric:
    """Returns a metric for images of `shape` [B, H, W, C].

    Args:
      name: "linf", "l2", "spatial" or "full"; the last needs C = 3.
      shape: of the images.
      hp: hp["decay_power"] of the Fourier parametrization, 1 for photos.
    """
    return METRICS[choose("metric", name, METRICS)](shape, hp)


def steepest(gradient: Array, name: str, hp: HParams) -> Array:
    """Returns the direction of steepest ascent in a metric, [B, H, W, C].

    Each image's direction has an L2 norm of 1 (0 where the gradient is 0).
    """
    direction = metric(name, gradient.shape, hp).steepest(gradient)
    norm = _norm(direction)[:, None, None, None]
    return jnp.where(norm > 0, direction / jnp.where(norm > 0, norm, 1), 0)


def _norm(x: Array) -> Array:
    return jnp.sqrt(jnp.sum(jnp.square(x), axis=tuple(range(1, x.ndim))))


def _linf(shape: tuple[int, ...], hp: HParams) -> Metric:
    return Metric(jnp.sign, lambda step: jnp.max(jnp.abs(step), axis=(1, 2, 3)))


def _l2(shape: tuple[int, ...], hp: HParams) -> Metric:
    return Metric(lambda gradient: gradient, _norm)


def _spatial(shape: tuple[int, ...], hp: HParams) -> Metric:
    space = fourier(shape)
    return _preconditioned(
        lambda params: space.apply(params, hp),
        lambda images: space.invert(images, hp),
        shape,
    )


def _full(shape: tuple[int, ...], hp: HParams) -> Metric:
    space = fourier(shape)
    return _preconditioned(
        lambda params: color.to_rgb(space.apply(params, hp)),
        lambda images: space.invert(color.from_rgb(images), hp),
        shape,
    )


def _preconditioned(apply: Linear, invert: Linear, shape: tuple[int, ...]) -> Metric:
    """Returns the metric of a linear parametrization, image = apply(params).

    `invert` gives the shortest parameters of an image: the Fourier parameters that an
    image has in many ways are those of the columns 0 and W/2, and of these `rfft2`
    gives the symmetric, shortest ones.
    """

    def steep(gradient: Array) -> Array:
        start = jax.eval_shape(invert, jax.ShapeDtypeStruct(shape, gradient.dtype))
        origin = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), start)
        _, transposed = jax.vjp(apply, origin)  # linear: the same at any point
        return apply(transposed(gradient)[0])

    return Metric(steep, lambda step: _norm(invert(step)))


METRICS = {"linf": _linf, "l2": _l2, "spatial": _spatial, "full": _full}
