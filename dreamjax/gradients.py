"""Gradient transforms for ascent on images: Optax `GradientTransformation`s.

Parameters are pytrees whose leaves all have the images as their first axis. Every
normalization is per image: over all other axes, jointly over the leaves, so that the
update of an image does not depend on its neighbors in the batch. All are odd,
f(-g) = -f(g), so that they take the gradient of a loss as well as that of a score.

A zero gradient gives a zero update. A non-finite one gives a non-finite update, which
is how the caller learns that the run is over.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dreamjax.errors import require
from dreamjax.filters import gaussian_blur, pyramid_down, pyramid_up
from dreamjax.hparams import read
from dreamjax.types import Array, HParams

_TINY = 1e-30
"""Added to a norm: far below any gradient, and yet a normal float32."""


def _check_leaves(tree: Any) -> None:
    """Raises ValueError unless all leaves share their first axis."""
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)}
    allowed = "all leaves have the same first axis, the images"
    require(len(sizes) <= 1 and () not in sizes, "params", sorted(sizes), allowed)


def _sum_per_image(tree: Any) -> Array:
    """Returns the sum over all leaves and all axes but the first, [B]."""
    leaves = jax.tree.leaves(tree)
    return sum(jnp.sum(leaf, axis=tuple(range(1, leaf.ndim))) for leaf in leaves)


def _count_per_image(tree: Any) -> int:
    """Returns how many numbers an image has in all leaves."""
    leaves = jax.tree.leaves(tree)
    return sum(leaf.size // leaf.shape[0] for leaf in leaves)


def _along_images(values: Array, leaf: Array) -> Array:
    """Returns values [B] in the shape of a leaf [B, ...]."""
    values = values.reshape(-1, *(1,) * (leaf.ndim - 1))
    return jnp.broadcast_to(values, leaf.shape)


def _divide(tree: Any, norms: Array) -> Any:
    return jax.tree.map(lambda g: g / _along_images(norms, g), tree)


def _stateless(transform: Callable[[Any], Any]) -> optax.GradientTransformation:
    """Returns the Optax pair of a function of the gradient of all images."""

    def init(params):
        _check_leaves(params)
        return optax.EmptyState()

    def update(updates, state, params=None):
        del params
        _check_leaves(updates)
        return (transform(updates) if jax.tree.leaves(updates) else updates), state

    return optax.GradientTransformation(init, update)


def normalize_mean_abs() -> optax.GradientTransformation:
    """Divides by the mean absolute value, `g / mean|g|`.

    DeepDream 2015 (Caffe), there with a step of 1.5 on images in [0, 255].

    Returns:
      The transform; params and updates are pytrees of [B, ...].
    """

    def transform(g):
        total = _sum_per_image(jax.tree.map(jnp.abs, g))
        return _divide(g, total / _count_per_image(g) + _TINY)

    return _stateless(transform)


def normalize_std() -> optax.GradientTransformation:
    """Divides by the population standard deviation, `g / (std(g) + 1e-8)`.

    TensorFlow's DeepDream tutorial 2016; the mean stays in.

    Returns:
      The transform; params and updates are pytrees of [B, ...].
    """

    def transform(g):
        count = _count_per_image(g)
        mean = _sum_per_image(g) / count
        centered = jax.tree.map(lambda leaf: leaf - _along_images(mean, leaf), g)
        squares = jax.tree.map(lambda leaf: jnp.square(jnp.abs(leaf)), centered)
        return _divide(g, jnp.sqrt(_sum_per_image(squares) / count) + 1e-8)

    return _stateless(transform)


def _max_per_image(tree: Any) -> Array:
    leaves = jax.tree.leaves(tree)
    tops = [jnp.max(jnp.abs(g), axis=tuple(range(1, g.ndim))) for g in leaves]
    return jnp.max(jnp.stack(tops), axis=0)


def _squares_per_image(tree: Any) -> Array:
    return _sum_per_image(jax.tree.map(lambda g: jnp.square(jnp.abs(g)), tree))


def normalize_l2() -> optax.GradientTransformation:
    """Divides by the Euclidean norm, `g / ‖g‖₂`.

    keras-vis, and the L2 steepest ascent of Olah et al. 2017.

    Returns:
      The transform; params and updates are pytrees of [B, ...].
    """

    def transform(g):
        # Scaled to a largest value of 1 first: the squares of 1e-20 are 0 in float32.
        g = _divide(g, _max_per_image(g) + _TINY)
        return _divide(g, jnp.sqrt(_squares_per_image(g)) + _TINY)

    return _stateless(transform)


def progress(
    max_rate: Array | float, desired: Array | float
) -> optax.GradientTransformation:
    """Aims at a constant gain of score per step, `g min(max_rate, desired / ‖g‖²)`.

    Yosinski et al. 2015: to first order, a step of rate η gains η ‖g‖². It replaces a
    learning rate, so follow it with a descent of rate 1.

    Args:
      max_rate: scalar, the largest rate; may be traced.
      desired: scalar, the gain per step, in units of the score; may be traced.

    Returns:
      The transform; params and updates are pytrees of [B, ...].
    """

    def transform(g):
        rate = desired / jnp.maximum(_squares_per_image(g), _TINY)
        rate = jnp.minimum(max_rate, rate)
        return jax.tree.map(lambda leaf: leaf * _along_images(rate, leaf), g)

    return _stateless(transform)


def _check_pixels(name: str, image_shape: tuple[int, ...] | None, tree: Any) -> None:
    """Raises ValueError unless every leaf is a batch of images."""
    for leaf in jax.tree.leaves(tree):
        shape = jnp.shape(leaf)
        fits = len(shape) == 4 and image_shape in (None, shape[1:])
        wanted = "H, W, C" if image_shape is None else ", ".join(map(str, image_shape))
        require(
            fits,
            "params",
            shape,
            f'gradient="{name}" needs param="pixel", whose only leaf is [B, {wanted}]',
        )


def _check_image_shape(image_shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if image_shape is None:
        return None
    require(len(image_shape) == 3, "image_shape", image_shape, "(H, W, C)")
    return tuple(image_shape)


class SmoothState(NamedTuple):
    """The state of `smooth`.

    Attributes:
      count: int32 scalar, completed updates.
    """

    count: Array


def smooth(
    sigma: Array | float,
    *,
    end: Array | float | None = None,
    steps: int | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> optax.GradientTransformation:
    """Blurs the gradient: the mean of three Gaussian blurs of widths σ/2, σ and 2σ.

    Øygard 2015 smooths the gradient; the cascade and the schedule are those of
    Gordić's DeepDream, whose kernels of 9 pixels are not truncated here. With `end`,
    σ goes in equal steps from `sigma` at the first of `steps` updates to `end` at the
    last, and stays there: his .7, .9 … 2.5 is `smooth(.7, end=2.5, steps=10)`.

    Args:
      sigma: scalar in pixels; may be traced; 0 is the identity.
      end: scalar in pixels, the last width; may be traced. None: constant.
      steps: number of updates from `sigma` to `end`. None: constant.
      image_shape: (H, W, C), for a better check. None: any.

    Returns:
      The transform; params and updates are pytrees of [B, H, W, C].

    Raises:
      ValueError: only one of `end` and `steps`, steps below 1, and from `init` and
        `update`: leaves that are not images.
    """
    require((end is None) == (steps is None), "steps", steps, "end and steps, or none")
    if steps is not None:
        require(steps >= 1, "steps", steps, "at least 1")
    shape = _check_image_shape(image_shape)

    def init(params):
        _check_pixels("smooth", shape, params)
        return SmoothState(jnp.zeros((), jnp.int32))

    def width(count):
        if end is None or steps is None:
            return jnp.asarray(sigma, jnp.float32)
        done = jnp.minimum(count / max(steps - 1, 1), 1.0)
        return sigma + (end - sigma) * done

    def update(updates, state, params=None):
        del params
        _check_pixels("smooth", shape, updates)
        w = width(state.count)

        def cascade(g):
            blurred = sum(gaussian_blur(g, w * factor) for factor in (0.5, 1.0, 2.0))
            return jnp.where(w <= 0, g, blurred / 3)

        count = optax.safe_increment(state.count)
        return jax.tree.map(cascade, updates), SmoothState(count)

    return optax.GradientTransformation(init, update)


def normalize_laplacian(
    levels: int, *, image_shape: tuple[int, int, int] | None = None
) -> optax.GradientTransformation:
    """Gives every octave of the gradient the same strength.

    The gradient is split into a Laplacian pyramid (`hi = g - up(down(g))`, `levels`
    times, and what is left), each level is divided by its root mean square (at least
    1e-10), and all are added up again. TensorFlow's DeepDream tutorial 2016, `lapnorm`
    with 4 levels; its batch is one image, so ours is per image.

    Args:
      levels: how often the image is split, at least 1.
      image_shape: (H, W, C), for a better check. None: any.

    Returns:
      The transform; params and updates are pytrees of [B, H, W, C] of any size.

    Raises:
      ValueError: levels below 1, and from `init` and `update`: leaves that are not
        images.
    """
    require(levels >= 1, "levels", levels, "at least 1")
    shape = _check_image_shape(image_shape)

    def normalize(level):
        power = jnp.mean(jnp.square(level), axis=(1, 2, 3))  # [B]
        return level / _along_images(jnp.maximum(jnp.sqrt(power), 1e-10), level)

    def lapnorm(g):
        details = []
        for _ in range(levels):
            low = pyramid_down(g)
            details.append(g - pyramid_up(low, *g.shape[1:3]))
            g = low
        merged = normalize(g)
        for detail in reversed(details):
            merged = pyramid_up(merged, *detail.shape[1:3]) + normalize(detail)
        return merged

    def init(params):
        _check_pixels("laplacian", shape, params)
        return optax.EmptyState()

    def update(updates, state, params=None):
        del params
        _check_pixels("laplacian", shape, updates)
        return jax.tree.map(lapnorm, updates), state

    return optax.GradientTransformation(init, update)


@dataclass(frozen=True)
class GradientEntry:
    """A gradient transform by name.

    Attributes:
      make: (hp, image_shape (H, W, C)) -> GradientTransformation.
      hparams: names of what it reads from `hp`.
      neutral: name -> value that a base configuration gives it.
      doc: one line.
    """

    make: Callable[[HParams, tuple[int, int, int]], optax.GradientTransformation]
    hparams: tuple[str, ...]
    neutral: Mapping[str, float]
    doc: str


GRADIENT_TRANSFORMS: dict[str, GradientEntry] = {
    "mean_abs": GradientEntry(
        lambda hp, shape: normalize_mean_abs(), (), {}, "g / mean|g|, DeepDream"
    ),
    "std": GradientEntry(
        lambda hp, shape: normalize_std(), (), {}, "g / std(g), TensorFlow's tutorial"
    ),
    "l2": GradientEntry(lambda hp, shape: normalize_l2(), (), {}, "g / ‖g‖"),
    "smooth": GradientEntry(
        lambda hp, shape: smooth(read("smooth_sigma", hp), image_shape=shape),
        ("smooth_sigma",),
        {"smooth_sigma": 0.5},
        "mean of three Gaussian blurs",
    ),
    "laplacian": GradientEntry(
        lambda hp, shape: normalize_laplacian(4, image_shape=shape),
        (),
        {},
        "every octave of the same strength",
    ),
    "progress": GradientEntry(
        lambda hp, shape: progress(
            read("progress_max_rate", hp), read("progress_desired", hp)
        ),
        ("progress_max_rate", "progress_desired"),
        {"progress_max_rate": 100.0, "progress_desired": 2.0},
        "a constant gain of score per step, Yosinski et al.",
    ),
}
