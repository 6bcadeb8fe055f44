"""Activation maximization on a sphere (Erhan, Bengio, Courville & Vincent 2009).

`x* = argmax h_ij(x), ‖x‖ = ρ`: ascent from noise, back onto the sphere after each step.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from dreamjax.ascent import ascend
from dreamjax.belief.units import along_the_gradient, onto_sphere
from dreamjax.dream import Pieces
from dreamjax.hparams import Hparam
from dreamjax.models.model import Model
from dreamjax.objectives import channel
from dreamjax.params.raw import raw_param
from dreamjax.transforms import chain


class Maxima(NamedTuple):
    """What restarts for U units came to.

    Attributes:
      pictures: [U, restarts, H, W], of norm ρ.
      values: [U, restarts], the tap there.
      curves: [steps + 1, U, restarts], the tap on the way.
    """

    pictures: np.ndarray
    values: np.ndarray
    curves: np.ndarray


def maximize(
    model: Model,
    taps: Sequence[str],
    units: Sequence[int],
    *,
    radius: float,
    restarts: int,
    steps: int,
    rate: float,
    seed: int,
) -> list[Maxima]:
    """Climbs units of several layers, each from the same few starts, in one program.

    Args:
      model: of gray images, `belief.layers.as_model`.
      taps: "h1/pre", "h2/pre": before the sigmoid, which has the same maxima and does
        not saturate.
      units: U, of each layer.
      radius: ρ.
      restarts: starts of each unit.
      steps: updates.
      rate: length of a step in units of ρ.
      seed: of the starts.

    Returns:
      One for each of the taps.
    """
    side = model.record.size
    shape = (restarts, side, side, 1)

    def noise(key, hp):
        return onto_sphere(jax.random.normal(key, shape), None, None, hp)

    # One of the taps, chosen by weights that are 0 or 1.
    terms = [channel(tap, Hparam("unit")) * Hparam(tap) for tap in taps]
    pieces = Pieces(
        taps=model.network,
        param=raw_param(noise),
        transform=chain(),
        objective=sum(terms[1:], terms[0]),
        penalties={},
        projections=(onto_sphere,),
        optimizer=along_the_gradient,
        redirect=False,
    )
    layers, count = len(taps), len(units)
    runs = layers * count
    hp = {
        "unit": np.tile(np.asarray(units, np.int32), layers),
        "radius": np.full((runs,), radius, np.float32),
        "rate": np.full((runs,), rate, np.float32),
    }
    chosen = np.repeat(np.eye(layers, dtype=np.float32), count, axis=1)
    hp |= dict(zip(taps, chosen, strict=True))
    # One update too many: its score is that of the pictures after the last.
    found = ascend(
        *(pieces, model.variables, hp),
        steps=steps + 1,
        seeds=seed,
        snapshots=(steps,),
        lanes=count,
    )
    pictures, curves = found.snapshots[steps][..., 0], found.trace.score
    parts = [slice(i * count, (i + 1) * count) for i in range(layers)]
    return [Maxima(pictures[p], curves[-1, p], curves[:, p]) for p in parts]
