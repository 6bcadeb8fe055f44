"""Image parametrizations: raw values, then color, then a range of [0, 1].

`image_param` puts the three together into an `ImageParam`. The choice does not change
which images can be reached, only how the optimizer moves among them: it is the
strongest regularizer of all.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import choose, require
from dreamjax.params.color import IMAGENET, ColorSpace, from_rgb, to_rgb
from dreamjax.params.spatial import SPATIAL, Spatial
from dreamjax.types import Array, HParams, ImageParam

COLORS = ("decorrelated", "rgb")
RANGES = ("sigmoid", "clip")
STARTS = ("noise", "gray")

# Inverting a sigmoid at 0 or 1 would need infinite values; an image that starts from a
# photo is off by this much there, under half a step of 8 bits, and its gradient lives.
SIGMOID_MARGIN = 5e-4


@jax.custom_vjp
def clip_inward(x: Array) -> Array:
    """Clips to [0, 1]; the gradient passes unless a step along it leads further out.

    A plain clip has no gradient outside and a pixel that once left never returns.
    """
    return jnp.clip(x, 0, 1)


def _clip_forward(x):
    return jnp.clip(x, 0, 1), x


def _clip_backward(x, g):  # the step goes along -g
    outward = ((x < 0) & (g > 0)) | ((x > 1) & (g < 0))
    return (jnp.where(outward, 0, g),)


clip_inward.defvjp(_clip_forward, _clip_backward)


def _center(space: ColorSpace | None, channels: int) -> Array:
    if space is not None:
        return jnp.asarray(space.mean).reshape(1, 1, 1, 3)
    return jnp.full((1, 1, 1, channels), 0.5)


def image_param(
    spatial: str,
    *,
    size: tuple[int, int],
    batch: int = 1,
    channels: int = 3,
    color: str | ColorSpace = "decorrelated",
    range_: str = "sigmoid",
    start: str | np.ndarray = "noise",
) -> ImageParam:
    """Returns the parametrization of a run's images.

    `images = range(color(spatial(params)))`, with range the sigmoid, or a clip after
    adding the mean color (0.5 for color="rgb").

    Args:
      spatial: "pixel", "fourier", "laplacian" or "lowres-shared".
      size: (H, W) in pixels.
      batch: B, images of one run.
      channels: 1 (gray), 3, or any number; color="decorrelated" needs 3.
      color: "decorrelated", "rgb" (channels as they are), or the colors of one's own
        photos.
      range_: "sigmoid" or "clip".
      start: "noise" (hp["init_std"] wide), "gray", or an image [H, W, C] in [0, 1]
        that every image of the batch starts from, exact to 1e-3.

    Raises:
      ValueError: an unknown choice, or an image of another shape or range.
    """
    choose("param", spatial, SPATIAL)
    palette = color if isinstance(color, ColorSpace) else _named(color)
    choose("range", range_, RANGES)
    require(min(*size, batch, channels) >= 1, "shape", (batch, *size, channels), ">= 1")
    if palette is not None and channels != 3:
        raise ValueError(
            f"color='decorrelated' needs 3 channels, not channels={channels}:"
            " set color='rgb'."
        )
    shape = (batch, *size, channels)
    space = SPATIAL[spatial](shape)
    apply = partial(_apply, space, palette, range_)
    invert = partial(_invert, space, palette, range_)
    if isinstance(start, str):
        choose("start", start, STARTS)
        if start == "noise":
            return ImageParam(space.init, apply, invert)
        images = jnp.full(shape, 0.5)
    else:
        images = _start_images(np.asarray(start, np.float32), shape)
    return ImageParam(lambda key, hp: invert(images, hp), apply, invert)


def _start_images(start: np.ndarray, shape: tuple[int, ...]) -> Array:
    require(
        start.shape == shape[1:], "start", start.shape, f"an image of shape {shape[1:]}"
    )
    require(
        bool(np.all((start >= 0) & (start <= 1))),
        "start",
        f"values {start.min():.3g} … {start.max():.3g}",
        "values lie in [0, 1]",
    )
    return jnp.asarray(np.broadcast_to(start, shape))


def _named(color: str) -> ColorSpace | None:
    return IMAGENET if choose("color", color, COLORS) == "decorrelated" else None


def _apply(
    space: Spatial, color: ColorSpace | None, range_: str, params, hp: HParams
) -> Array:
    raw = space.apply(params, hp)
    if color is not None:
        raw = to_rgb(raw, color)
    if range_ == "sigmoid":
        return jax.nn.sigmoid(raw)
    return clip_inward(raw + _center(color, raw.shape[-1]))


def _invert(
    space: Spatial, color: ColorSpace | None, range_: str, images: Array, hp: HParams
):
    if range_ == "sigmoid":
        kept = jnp.clip(images, SIGMOID_MARGIN, 1 - SIGMOID_MARGIN)
        raw = jnp.log(kept) - jnp.log1p(-kept)
    else:
        raw = images - _center(color, images.shape[-1])
    if color is not None:
        raw = from_rgb(raw, color)
    return space.invert(raw, hp)
