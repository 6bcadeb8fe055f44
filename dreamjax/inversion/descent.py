"""The two papers' optimizers as Optax transformations, and how large a step may be."""

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


def phase_of(count: Array, lengths: Array) -> tuple[Array, Array]:
    """Returns the phase that update number `count` is in, and whether it is its first.

    Args:
      count: scalar, updates before this one.
      lengths: [phases], updates of each; the last one goes on for ever. Traced.
    """
    ends = jnp.cumsum(jnp.asarray(lengths))[:-1]
    return jnp.sum(count >= ends), jnp.any(count == ends)


def heavy_ball(
    rates: Array, lengths: Array, momentum: Array | float = 0.9
) -> optax.GradientTransformation:
    """Momentum that starts from rest whenever the rate changes.

    `m ← .9 m - η g; x ← x + m`, and m ← 0 before the first update of a phase
    (Mahendran & Vedaldi 2015).

    Args:
      rates: [phases], η of each; may be traced.
      lengths: [phases], updates of each; may be traced.
      momentum: scalar.

    Raises:
      ValueError: not as many rates as lengths.
    """
    shape = jnp.shape(lengths)
    require(jnp.shape(rates) == shape, "rates", jnp.shape(rates), f"{shape}")

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
    scale: Array | float, unit: Array | float = 1.0, keep: Array | float = 0.9
) -> optax.GradientTransformation:
    """AdaGrad that forgets, with momentum (Mahendran & Vedaldi 2016).

    `G ← .9 G + g²; m ← .9 m - u g / (1/η̂ + √G); x ← x + m`. Not AdaGrad: G decays. A
    steady gradient moves a value by √10 u per update, whatever its size.

    Args:
      scale: η̂, the largest rate; may be traced.
      unit: u, a gray level: 1 in the paper.
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
            lambda m, g, s: keep * m - unit * g / (1 / scale + jnp.sqrt(s)),
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
