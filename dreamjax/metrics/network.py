"""What a network says of a run's pictures: is it this unit that they excite?

`make_judge` gives a pure function of one run, which a sweep maps over its runs. What
an objective aims at is read off `Objective.reads`; which metrics there are is decided
before anything is traced, so that all runs have the same columns.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from dreamjax.hparams import resolve
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import TapsOf
from dreamjax.objectives import Objective, Read, at_position
from dreamjax.types import Array, HParams, Taps

Judge = Callable[[Any, Array, HParams], dict[str, Array]]
"""(variables, images [B, H, W, C], hp) -> metric name -> scalar, of one run."""

LOGITS = "logits"
AIMS = ("channel", "class", "direction")  # kinds of reads that single something out


class Aim(NamedTuple):
    """One thing that an objective singles out in a layer.

    Attributes:
      read: its tap, kind and index.
      at: (y, x) of one position, None in it for the middle; None for all positions.
    """

    read: Read
    at: tuple[Any, Any] | None


def aims_of(objective: Objective) -> tuple[Aim, ...]:
    """Returns the channels, neurons, classes and directions that are aimed at."""
    reads = objective.reads
    return tuple(
        Aim(read, _position(read, reads[i + 1 : i + 3]))
        for i, read in enumerate(reads)
        if read.kind in AIMS
    )


def _position(read: Read, following: tuple[Read, ...]) -> tuple[Any, Any] | None:
    """Returns (y, x) where a read is that of one position: y and x then follow it."""
    if [(r.tap, r.kind) for r in following] == [(read.tap, "y"), (read.tap, "x")]:
        return following[0].index, following[1].index
    return None


def weight_of(read: Read, hp: HParams) -> Array:
    """Returns the weight that a read's term has in its objective; negative for less."""
    weight = jnp.ones(())
    for factor in read.factors:
        weight = weight * factor(hp)
    return weight


def make_judge(objective: Objective, taps: TapsOf) -> Judge:
    """Returns the function that gives `selectivity` and `selectivity_rank` of a run.

    Of the responses a_j of a layer's K channels to the whole picture (the mean over
    positions; for a neuron at its position; for a class the logits):

        selectivity = (a_k - mean_j a_j) / (|a_k| + mean_j |a_j|),  j ≠ k, in [-1, 1]
        selectivity_rank = share of the other channels with a_j < a_k, ties half

    The first is the class selectivity index of Morcos et al. 2018, "On the importance
    of single directions for generalization" (ICLR), with channels in the place of
    classes and with absolute values below the line, since taps before a nonlinearity
    have negative ones. 0 / 0 counts as 0. A direction v answers with a·v/|v|, and all K
    channels are the others.

    Of a sum of several (a joint objective) it is the mean weighted by |weight|; where a
    weight is negative the responses change their sign, since the unit is to be low.
    Neither exists for objectives that single nothing out (a layer's energy, match,
    caricature, a random direction) and in a layer of one channel: the keys are absent.

    Args:
      objective: what the run maximized.
      taps: the network that it was maximized in.

    Returns:
      (variables, images [B, H, W, C], hp) -> name -> scalar, the mean over B.
    """
    aims = aims_of(objective)

    def judge(variables: Any, images: Array, hp: HParams) -> dict[str, Array]:
        if not aims:
            return {}
        seen = taps(variables, images, PLAIN)
        weights, indices, ranks = [], [], []
        for aim in aims:
            if seen[_tap(aim, seen)].shape[-1] < 2:
                continue
            weight = weight_of(aim.read, hp)
            sign = jnp.where(weight < 0, -1.0, 1.0)
            target, others, counted = _responses(aim, seen, hp)
            pair = (sign * target, sign * others, counted)
            weights.append(jnp.abs(weight))
            indices.append(jnp.mean(selectivity(*pair)))
            ranks.append(jnp.mean(selectivity_rank(*pair)))
        if not weights:
            return {}
        return {
            "selectivity": _weighted_mean(weights, indices),
            "selectivity_rank": _weighted_mean(weights, ranks),
        }

    return judge


def _tap(aim: Aim, seen: Taps) -> str:
    """Returns where an aim is judged: a class before the softmax, where that exists."""
    return LOGITS if aim.read.kind == "class" and LOGITS in seen else aim.read.tap


def _responses(aim: Aim, seen: Taps, hp: HParams) -> tuple[Array, Array, Array]:
    """Returns the target's responses [B], the layer's [B, K], and which count [K]."""
    a = seen[_tap(aim, seen)].astype(jnp.float32)
    if aim.at is not None:
        a = at_position(a, *aim.at, hp)
    else:
        a = jnp.mean(a.reshape(a.shape[0], -1, a.shape[-1]), axis=1)  # [B, K]
    index = resolve(aim.read.index, hp)
    channels = jnp.arange(a.shape[-1])
    if aim.read.kind == "direction":
        v = jnp.asarray(index, a.dtype)
        norm = jnp.maximum(jnp.linalg.norm(v), 1e-12)
        return a @ (v / norm), a, jnp.ones(channels.shape)
    index = jnp.asarray(index, jnp.int32)
    target = jnp.take(a, index, axis=-1, mode="clip")
    return target, a, (channels != index).astype(a.dtype)


def selectivity(target: Array, layer: Array, counted: Array) -> Array:
    """Returns Morcos' index [B] of responses; see `make_judge`.

    Args:
      target: [B].
      layer: [B, K].
      counted: [K], 1 for the channels that the target is compared with, else 0.
    """
    share = (counted / jnp.sum(counted))[None, :]
    apart = target - jnp.sum(layer * share, axis=-1)
    size = jnp.abs(target) + jnp.sum(jnp.abs(layer) * share, axis=-1)
    return jnp.where(size > 0, apart / jnp.where(size > 0, size, 1.0), 0.0)


def selectivity_rank(target: Array, layer: Array, counted: Array) -> Array:
    """Returns the share [B] of the counted channels below the target, ties half."""
    share = (counted / jnp.sum(counted))[None, :]
    target = target[:, None]
    return jnp.sum(share * ((layer < target) + 0.5 * (layer == target)), axis=-1)


def _weighted_mean(weights: list[Array], values: list[Array]) -> Array:
    """Returns the mean by weights >= 0; the plain mean where all of them are 0."""
    w, x = jnp.stack(weights), jnp.stack(values)
    w = jnp.where(jnp.sum(w) > 0, w, jnp.ones_like(w))
    return jnp.sum(w * x) / jnp.sum(w)
