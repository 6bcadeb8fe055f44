"""Class pictures from noise, held together by blur and by growing in stages.

Øygard 2015 (deepdraw): ascend a class logit on a small canvas, blur it after every step
by a width that falls, enlarge it, go on through random crops of the network's size. The
blur is the prior: with a width of 0 what is left is noise that the network believes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import ndimage

from dreamjax import resample
from dreamjax.ascent import Ascent, ascend
from dreamjax.dream import Pieces
from dreamjax.errors import require
from dreamjax.filters import gaussian_blur
from dreamjax.gradients import normalize_mean_abs
from dreamjax.models.model import Model
from dreamjax.objectives import Objective
from dreamjax.params.raw import raw_param
from dreamjax.types import Array, HParams, Key, Projection, Transform

SPREAD = 0.3  # of the room that a crop has, the standard deviation of its place


class Stage(NamedTuple):
    """One size of the canvas.

    Attributes:
      scale: by which the canvas is enlarged before.
      steps: of this stage.
      sigma: first and last width of the blur in pixels.
      rate: first and last step, of 255, on the gradient over its mean absolute value.
    """

    scale: float
    steps: int
    sigma: tuple[float, float]
    rate: tuple[float, float]


DEEPDRAW = (
    Stage(1.0, 190, (2.5, 0.78), (11.0, 11.0)),
    Stage(1.2, 150, (0.936, 0.78), (6.0, 6.0)),
    Stage(1.2, 150, (0.936, 0.44), (6.0, 3.0)),
    Stage(1.0, 10, (0.44, 0.304), (3.0, 3.0)),
)
"""Øygard's stages. Of the last two he ascends the auxiliary classifiers' logits."""


def normal_crop(size: int) -> Transform:
    """Returns a crop [size, size, C] near the middle: N(½, 0.3) of the room, clipped.

    Raises:
      ValueError: at trace time, for an image that is smaller, or not square.
    """

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        side = image.shape[0]
        fits = image.shape[1] == side and side >= size
        require(fits, "image", image.shape, f"[S, S, C] with S of at least {size}")
        room = side - size
        if room == 0:
            return image
        place = room / 2 + SPREAD * room * jax.random.normal(key, (2,))
        offset = jnp.clip(place, 0, room).astype(jnp.int32)
        return resample.crop_at(image, offset, room)

    return transform


def falling_blur(steps: int) -> Projection:
    """Returns a clip to [0, 1], then a blur from hp["sigma_first"] to "sigma_last".

    The width moves in equal parts from step to step and would reach the last after
    `steps` of them; 0 is no blur.
    """

    def project(images: Array, gradient: Array, step: Array, hp: HParams) -> Array:
        del gradient
        sigma = _between(hp["sigma_first"], hp["sigma_last"], step, steps)
        return gaussian_blur(jnp.clip(images, 0, 1), sigma)

    return project


def draw_classes(
    model: Model,
    objective: Objective,
    start: np.ndarray,
    hp: Mapping[str, Any],
    stages: Sequence[Stage],
    *,
    view: int,
    blur: Sequence[bool],
    seed: int = 0,
    lanes: int = 8,
) -> list[Ascent]:
    """Returns what R runs came to after each stage.

    Args:
      model: the network.
      objective: a class's logit, say.
      start: [R, S, S, 3] in [0, 1], the canvases.
      hp: what the objective reads, name -> [R, ...].
      stages: `DEEPDRAW`, or fewer steps.
      view: pixels of a side that the network sees, at most S times the first scale.
      blur: [R], whether a run has the blur.
      seed: of the crops.
      lanes: runs at once.

    Raises:
      ValueError: a canvas that is not square, or smaller than what is seen.
    """
    runs, side = start.shape[:2]
    shaped = start.ndim == 4 and start.shape[2] == side and len(blur) == runs
    require(shaped, "start", start.shape, f"[{len(blur)}, S, S, 3]")
    images = np.asarray(start, np.float32)[:, None]  # [R, 1, S, S, 3]
    found = []
    for stage in stages:
        if stage.scale != 1:
            factors = (1, 1, stage.scale, stage.scale, 1)
            images = ndimage.zoom(images, factors, order=3).astype(np.float32)
        pieces = Pieces(
            taps=model.taps,
            param=raw_param(lambda key, hp: hp["start"]),
            transform=normal_crop(view),
            objective=objective,
            penalties={},
            projections=(falling_blur(stage.steps),),
            optimizer=_optimizer(stage.steps, (view / images.shape[2]) ** 2),
            redirect=False,
        )
        width = np.asarray(blur, np.float32)
        ones = np.ones(runs, np.float32)
        numbers = {
            "sigma_first": stage.sigma[0] * width,
            "sigma_last": stage.sigma[1] * width,
            "rate_first": stage.rate[0] * ones,
            "rate_last": stage.rate[1] * ones,
        }
        ascent = ascend(
            pieces,
            model.variables,
            {**hp, **numbers, "start": images},
            steps=stage.steps,
            seeds=seed,
            lanes=lanes,
        )
        found.append(ascent)
        images = ascent.images
    return found


def _optimizer(
    steps: int, part: float
) -> Callable[[HParams], optax.GradientTransformation]:
    """Returns hp -> g / mean|g| times a rate; the mean is over the crop's pixels.

    Args:
      part: of the canvas that a crop covers; beyond it the gradient is 0.
    """

    def make(hp: HParams) -> optax.GradientTransformation:
        def rate(count: Array) -> Array:
            now = _between(hp["rate_first"], hp["rate_last"], count, steps)
            return -part * now / 255

        return optax.chain(normalize_mean_abs(), optax.scale_by_schedule(rate))

    return make


def _between(first: Array, last: Array, step: Array, steps: int) -> Array:
    return first + (last - first) * step / steps
