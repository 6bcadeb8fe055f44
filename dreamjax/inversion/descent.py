"""The two papers' optimizers as Optax transformations, and how large a step may be."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dreamjax.errors import require
from dreamjax.types import Array

STABLE = 3.0
"""Heavy ball with momentum .9 is stable where rate × curvature < 2 (1 + .9) = 3.8."""


class HeavyBall(NamedTuple):
    """State: updates so far, and the velocity, a tree like the parameters."""

    count: Array
    velocity: Any


def phase_of(count: Array, lengths: Sequence[int]) -> tuple[Array, Array]:
    """Returns the phase that update number `count` is in, and whether it is its first.

    Args:
      count: scalar, updates before this one.
      lengths: updates of each phase; the last one goes on for ever.
    """
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths) - 1)]
    phase = sum((count >= end for end in ends), jnp.zeros((), jnp.int32))
    fresh = sum((count == end for end in ends), jnp.zeros((), jnp.int32)) > 0
    return phase, fresh


def heavy_ball(
    rates: Array, lengths: Sequence[int], momentum: Array | float = 0.9
) -> optax.GradientTransformation:
    """Momentum that starts from rest whenever the rate changes.

    `m ← .9 m - η g; x ← x + m`, and m ← 0 before the first update of a phase
    (Mahendran & Vedaldi 2015).

    Args:
      rates: [phases], η of each; may be traced.
      lengths: updates of each phase.
      momentum: scalar.
    """
    require(jnp.shape(rates) == (len(lengths),), "rates", jnp.shape(rates), "(phases,)")

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return HeavyBall(jnp.zeros((), jnp.int32), zeros)

    def update(grads, state, params=None):
        del params
        phase, fresh = phase_of(state.count, lengths)
        kept, rate = jnp.where(fresh, 0.0, momentum), jnp.asarray(rates)[phase]
        velocity = jax.tree.map(lambda m, g: kept * m - rate * g, state.velocity, grads)
        return velocity, HeavyBall(state.count + 1, velocity)

    return optax.GradientTransformation(init, update)


class Leaky(NamedTuple):
    """State: the leaky sum of squared gradients, and the velocity."""

    squares: Any
    velocity: Any


def leaky_adagrad(
    scale: Array | float, keep: Array | float = 0.9
) -> optax.GradientTransformation:
    """AdaGrad that forgets, with momentum (Mahendran & Vedaldi 2016).

    `G ← .9 G + g²; m ← .9 m - g / (1/η̂ + √G); x ← x + m`. Not AdaGrad: G decays.

    Args:
      scale: η̂, the largest rate; may be traced.
      keep: of both G and m.
    """

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return Leaky(zeros, zeros)

    def update(grads, state, params=None):
        del params
        squares = jax.tree.map(
            lambda s, g: keep * s + jnp.square(g), state.squares, grads
        )
        velocity = jax.tree.map(
            lambda m, g, s: keep * m - g / (1 / scale + jnp.sqrt(s)),
            *(state.velocity, grads, squares),
        )
        return velocity, Leaky(squares, velocity)

    return optax.GradientTransformation(init, update)


def stable_rate(
    rate: Array | float, tv: Array | float, data: Array | float = 0.0
) -> Array:
    """Returns `min(η, 3 / (8 λ + L))`, so that the heavy ball does not diverge.

    The Hessian of (λ/2) TV² is λ times the graph Laplacian, whose largest eigenvalue is
    8; L is the largest one of the data term (`cvpr2015.data_curvature`). Both together
    are at most 8 λ + L, and the rate keeps it below `STABLE`.

    Args:
      rate: η.
      tv: λ.
      data: L; 0 leaves the data term out.
    """
    return jnp.minimum(rate, STABLE / (8 * jnp.asarray(tv, jnp.float32) + data))
