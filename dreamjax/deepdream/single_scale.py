"""The notebook's step at one scale, on many pictures at once, with priors to choose.

    x ← clip(x + rate · g / mean|g|), seen through a roll by up to `jitter` pixels

Jitter, blur and Laplacian normalization are hyperparameters, so that a picture with and
without each of them is one program (Mordvintsev, Olah and Tyka 2015).
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np
import optax

from dreamjax.ascent import Ascent, ascend
from dreamjax.dream import Pieces
from dreamjax.errors import require
from dreamjax.gradients import normalize_laplacian, normalize_mean_abs
from dreamjax.hparams import Hparam
from dreamjax.models.model import Model
from dreamjax.objectives import Objective
from dreamjax.params.raw import raw_param
from dreamjax.projections import blur, clip
from dreamjax.transforms import roll
from dreamjax.types import HParams

RATE = 1.5 / 255
PRIORS = {"jitter": 0, "blur_width": 0.0, "laplacian": 0.0}
"""Pixels; standard deviation in pixels, at every step; 0 … 1, from `g / mean|g|` to a
gradient whose octaves are alike. At these values there is none."""


def climb_pictures(
    model: Model,
    objective: Objective,
    start: np.ndarray,
    hp: Mapping[str, Any],
    *,
    steps: int,
    seed: int = 0,
    levels: int = 0,
    snapshots: Collection[int] = (),
    lanes: int = 8,
) -> Ascent:
    """Climbs R pictures; images of the result are [R, 1, H, W, C] in [0, 1].

    Args:
      model: the network.
      objective: what to climb.
      start: [R, H, W, C] in [0, 1].
      hp: name -> [R], what the objective reads and any of `PRIORS`.
      steps: for each picture, of 1.5 of 255.
      seed: of the jitter.
      levels: of the Laplacian pyramid; 0 where no run has hp["laplacian"].
      snapshots: steps after which pictures are kept.
      lanes: pictures at once.

    Raises:
      ValueError: a start that is no batch of images, hp["laplacian"] without levels.
    """
    require(start.ndim == 4, "start", start.shape, "[R, H, W, C]")
    runs = len(start)
    hp = {n: np.full(runs, v, np.float32) for n, v in PRIORS.items()} | dict(hp)
    wanted = bool(np.any(np.asarray(hp["laplacian"]) != 0))
    require(levels > 0 or not wanted, "levels", levels, "at least 1 for laplacian")
    ones = np.ones(runs, np.float32)
    hp |= {"clip_low": 0 * ones, "clip_high": ones, "blur_every": ones}
    hp["start"] = np.asarray(start, np.float32)[:, None]  # [R, 1, H, W, C]
    pieces = Pieces(
        taps=model.taps,
        param=raw_param(lambda key, hp: hp["start"]),
        transform=roll(Hparam("jitter")),
        objective=objective,
        penalties={},
        projections=(clip, blur),
        optimizer=_optimizer(levels),
        redirect=False,
    )
    return ascend(
        pieces,
        model.variables,
        hp,
        steps=steps,
        seeds=seed,
        snapshots=snapshots,
        lanes=lanes,
    )


def _optimizer(levels: int) -> Callable[[HParams], optax.GradientTransformation]:
    """Returns hp -> a step along (1 - p) g / mean|g| + p times the Laplacian one."""
    plain = normalize_mean_abs()
    if levels == 0:
        return lambda hp: optax.chain(plain, optax.scale(-RATE))
    even = normalize_laplacian(levels)

    def make(hp: HParams) -> optax.GradientTransformation:
        def update(updates, state, params=None):
            del params
            part = hp["laplacian"]
            one, _ = plain.update(updates, optax.EmptyState())
            other, _ = even.update(updates, optax.EmptyState())
            mixed = jax.tree.map(lambda a, b: (1 - part) * a + part * b, one, other)
            return mixed, state

        mix = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
        return optax.chain(mix, optax.scale(-RATE))

    return make
