"""The types that the whole package speaks: a dream run and its parts.

Shapes: `R` runs (only in sweep, runner, logbook, report), `B` images of one run,
`H W C` image, `h w K` activation. Images are RGB float32 in [0, 1], NHWC.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

Array = jax.Array
Key = jax.Array

Taps = Mapping[str, Array]
"""Tap name -> activation [B, h, w, K] or [B, K]."""

HParams = Mapping[str, Array]
"""Hyperparameter name -> traced scalar, vector or image. Changing one compiles
nothing."""

Transform = Callable[[Key, Array, HParams], Array]
"""(key, image [H, W, C], hp) -> view [H', W', C]: one random view of one image."""

Penalty = Callable[[Array, HParams], Array]
"""(images [B, H, W, C], hp) -> [B], >= 0; subtracted from the score."""

Projection = Callable[[Array, Array, Array, HParams], Array]
"""(images [B, H, W, C], d score / d images before the update, step, hp) -> images,
applied after the update."""


class ImageParam(NamedTuple):
    """How the pixels are stored: a pair like `optax.GradientTransformation`.

    Attributes:
      init: (key, hp) -> params of the first images.
      apply: (params, hp) -> images [B, H, W, C], RGB in [0, 1].
      invert: (images, hp) -> params, so that `apply` gives the images back; None
        where there is no inverse, and then neither a start from an image nor a
        projection is possible.
    """

    init: Callable[[Key, HParams], Any]
    apply: Callable[[Any, HParams], Array]
    invert: Callable[[Array, HParams], Any] | None


class DreamState(NamedTuple):
    """All that a resume needs.

    Attributes:
      step: int32 scalar, completed updates.
      key: the run's key; step randomness is `fold_in(key, step)`.
      params: the image parameters.
      opt_state: the optimizer's state.
      alive: False from the first update on after which parameters, optimizer or images
        would not be finite; the run is then frozen at the state before it.
      last: what the last update gave the projections, from which the image is made
        that is shown (`dreamjax.dream.show`); () where none of them is periodic.
    """

    step: Array
    key: Key
    params: Any
    opt_state: Any
    alive: Array
    last: Any


class DreamInfo(NamedTuple):
    """What one update reports; never carried over.

    Attributes:
      loss: scalar, minus the score plus all weighted penalties, summed over B.
      score: [B], the objective on the transformed views.
      penalty: name -> [B], each already multiplied by its weight.
      grad_norm: [B], L2 norm of d loss / d images.
      update_norm: scalar, L2 norm of the parameter update.
    """

    loss: Array
    score: Array
    penalty: dict[str, Array]
    grad_norm: Array
    update_norm: Array


class DreamStep(NamedTuple):
    """The pure core of a run.

    Attributes:
      init: (key, hp) -> DreamState.
      update: (state, hp, variables) -> (DreamState, DreamInfo).
    """

    init: Callable[[Key, HParams], DreamState]
    update: Callable[[DreamState, HParams, Any], tuple[DreamState, DreamInfo]]
