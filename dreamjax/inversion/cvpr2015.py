"""Mahendran & Vedaldi 2015: understanding deep image representations by inverting them.

    σ² ‖m (Φ(x) - Φ₀)‖² / ‖m Φ₀‖² + (λ_TV/2) Σ v^(β/2) + (λ_α/2) Σ |x|^α

is minimized by heavy-ball descent that starts from rest whenever its rate changes. σ is
the norm of a photo. (That is σ² times the paper's objective, as in their code; the
paper's own weights are, in these, λ_α σ⁴/2 = 2.16e8 and λ_TV/2 = .5, 5, 50.)
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.ascent import Ascent, ascend
from dreamjax.dream import Pieces
from dreamjax.errors import choose, require
from dreamjax.inversion import energy as terms
from dreamjax.inversion.descent import heavy_ball
from dreamjax.models.activations import activations
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, Record
from dreamjax.params.raw import raw_param
from dreamjax.types import Array, HParams, Key

Rates = Sequence[tuple[Any, int]]
"""(η, updates) of each phase; η a number or [R]."""

SIGMA = 27098.11571533  # norm of their reference picture, 227 × 227 × 3
CNN_RATES = ((0.004, 100), (0.0004, 200), (0.00004, 100))
SHALLOW_RATES = ((0.004, 200), (0.0004, 200), (0.00004, 200), (0.000004, 200))


class Energy(NamedTuple):
    """Weights and exponents of the penalties; each a number or one for each run [R].

    They are for values in gray levels, 255 to a picture's range. `invert` converts them
    where the network's own units are others, so that the same pictures come out.

    Attributes:
      tv: λ_TV: 1, 10 or 100, more for deeper layers.
      beta: β of the total variation.
      range: λ_α.
      alpha: α.
    """

    tv: Any = 1.0
    beta: Any = 2.0
    range: Any = 8e-10
    alpha: Any = 6.0


class Inversion(NamedTuple):
    """What R runs of B pictures came to.

    Attributes:
      images: [R, B, H, W, C] in the network's own units.
      errors: [R, B], `‖m (Φ - Φ₀)‖² / ‖m Φ₀‖²` of these pictures: squared. Its root
        is the error in units of the features.
      curve: [updates + 1, R, B], the same before the first and after every update.
      snapshots: updates -> images then.
      alive: [R]; False for a run that diverged and was stopped before it did.
    """

    images: np.ndarray
    errors: np.ndarray
    curve: np.ndarray
    snapshots: dict[int, np.ndarray]
    alive: np.ndarray


def invert(
    model: Model,
    tap: str,
    goals: Any,
    *,
    size: tuple[int, int],
    sigma: Any = SIGMA,
    energy: Energy = Energy(),  # noqa: B008, a tuple
    rates: Rates = CNN_RATES,
    masks: Any = None,
    repeats: int = 1,
    apart: bool = False,
    start: Any = 1.0,
    seeds: Any = 0,
    snapshots: Collection[int] = (),
    lanes: int = 16,
) -> Inversion:
    """Inverts features, R runs in one program.

    Args:
      model: any with `Model.network`; its pictures may have any number of channels.
      tap: the layer.
      goals: Φ₀ of each run, [R, h, w, K] or [R, K] (`features`).
      size: (H, W) of the pictures.
      sigma: σ, a number or [R]: norm of a photo in the network's units (`norms`).
      energy: weights and exponents, numbers or [R].
      rates: phases of the descent.
      masks: m, of the shape of `goals` (`masks`); None matches all.
      repeats: B, pictures of a run, from different noise.
      apart: each picture starts with norm σ; else all B together do, as in their code.
      start: norm of that noise over σ, a number or [R]; 1 in the paper.
      seeds: of the noise, a number or [R].
      snapshots: updates after which pictures are kept.
      lanes: runs at once.

    Raises:
      ValueError: a model whose preprocessing cannot be told apart.
    """
    goals = np.asarray(goals, np.float32)
    runs = len(goals)

    def each(value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, np.float32), (runs,))

    unit = gray_level(model.record)
    lengths = np.asarray([steps for _, steps in rates], np.int32)
    hp = {
        "goal": goals,
        "mask": np.ones_like(goals) if masks is None else np.asarray(masks, np.float32),
        "start": each(sigma) * each(start),
        "fidelity": each(sigma) ** 2,
        # σ² scales the data term by unit²; so must the others, and x^p by unit^p.
        "tv": each(energy.tv) * unit ** (2 - each(energy.beta)),
        "beta": each(energy.beta),
        "range": each(energy.range) * unit ** (2 - each(energy.alpha)),
        "alpha": each(energy.alpha),
        "rates": np.stack([each(rate) for rate, _ in rates], axis=1),  # [R, phases]
        "lengths": np.broadcast_to(lengths, (runs, len(lengths))),
    }
    shape = (repeats, *size, model.record.channels)
    pieces = make_pieces(model, tap, shape, apart=apart)
    return _climbed(
        pieces,
        *(model, hp, int(lengths.sum())),
        seeds=seeds,
        snapshots=snapshots,
        lanes=lanes,
    )


def make_pieces(
    model: Model,
    tap: str,
    shape: tuple[int, int, int, int],
    *,
    apart: bool = False,
) -> Pieces:
    """Returns the run.

    It reads goal, mask, start, fidelity, tv, beta, range, alpha, rates and lengths of
    `hp`.

    Args:
      model: with `Model.network`.
      tap: the layer.
      shape: (B, H, W, C) of the pictures of a run.
      apart: as in `invert`.
    """
    return Pieces(
        taps=own_network(model),
        param=raw_param(sphere(shape, apart=apart)),
        transform=lambda key, image, hp: image,
        objective=terms.matched(tap),
        penalties={"tv": terms.half_variation, "range": terms.half_powers},
        projections=(),
        optimizer=lambda hp: heavy_ball(hp["rates"], hp["lengths"]),
        redirect=False,
    )


def own_network(model: Model):
    """Returns `Model.network`, which takes pictures in the network's own units.

    Raises:
      ValueError: a model that does not know its preprocessing apart.
    """
    known = model.network is not None
    name = model.record.name
    require(known, "model", name, "its preprocessing is not known apart (network)")
    return model.network


def gray_level(record: Record) -> float:
    """Returns one gray level, 1/255 of the range, in the network's own units.

    1 for Caffe's networks; the mean over the channels where they differ.
    """
    return float(record.scale / 255 / np.mean(record.std))


def sphere(shape: tuple[int, int, int, int], *, apart: bool = False):
    """Returns a start of noise `σ n / ‖n‖`, n ~ N(0, 1); σ = hp["start"].

    Args:
      shape: (B, H, W, C).
      apart: each picture has norm σ; else all B together, so that each has about
        σ / √B.
    """

    def init(key: Key, hp: HParams) -> Array:
        noise = jax.random.normal(key, shape)
        axes = (1, 2, 3) if apart else None
        squares = jnp.sum(jnp.square(noise), axis=axes, keepdims=True)
        return noise * hp["start"] / jnp.sqrt(squares)

    return init


def features(
    model: Model, taps: Sequence[str], x: Any, *, lanes: int = 8
) -> dict[str, np.ndarray]:
    """Returns tap -> activations [N, …] of pictures x [N, H, W, C] in own units."""
    network = own_network(model)
    shapes = jax.eval_shape(lambda v, x: network(v, x, PLAIN), model.variables, x)
    for tap in taps:
        choose("tap", tap, shapes)

    x = np.asarray(x, np.float32)
    return activations(network, model.variables, x, taps, lanes)


def norms(x: Any) -> np.ndarray:
    """Returns the L2 norm of each picture [N, H, W, C], [N]."""
    x = np.asarray(x, np.float64)
    return np.sqrt(np.sum(np.square(x), axis=(1, 2, 3))).astype(np.float32)


def data_curvature(
    model: Model,
    tap: str,
    x: Any,
    *,
    sigma: float,
    mask: Any = None,
    updates: int = 20,
    seed: int = 0,
) -> float:
    """Returns L, the largest curvature of the data term at its own picture x₀.

    Of `σ² ‖m (Φ(x) - Φ₀)‖² / ‖m Φ₀‖²`, Φ₀ = Φ(x₀).

    Power iteration. There the slope is 0, and the Hessian times a vector is the slope
    at a picture one gray level of RMS away: no second derivative of a network is taken.

    Args:
      model: with `Model.network`.
      tap: the layer.
      x: [H, W, C], in the network's own units.
      sigma: σ.
      mask: m, of the shape of the features; None takes all.
      updates: of the power iteration.
      seed: of its start.
    """
    objective, x = terms.matched(tap), jnp.asarray(x, jnp.float32)[None]
    goal = jnp.asarray(features(model, [tap], x)[tap][0])
    hp = {
        "goal": goal,
        "mask": jnp.ones_like(goal) if mask is None else jnp.asarray(mask),
        "fidelity": jnp.asarray(sigma) ** 2,
    }
    network, unit = own_network(model), gray_level(model.record) * x.size**0.5

    @jax.jit
    def times_hessian(variables: Any, vector: Array) -> Array:
        def cost(x: Array) -> Array:
            return -jnp.sum(objective(network(variables, x, PLAIN), hp))

        return jax.grad(cost)(x + unit * vector) / unit

    vector = jax.random.normal(jax.random.key(seed), x.shape)
    curvature = 0.0
    for _ in range(updates):
        vector = vector / jnp.sqrt(jnp.sum(jnp.square(vector)))
        moved = times_hessian(model.variables, vector)
        curvature = float(jnp.sum(moved * vector))
        vector = moved
    return curvature


def _climbed(pieces, model, hp, steps, *, seeds, snapshots, lanes) -> Inversion:
    # One update too many: its score is the error of the pictures after the last.
    wanted = {*snapshots, steps}
    found: Ascent = ascend(
        *(pieces, model.variables, hp),
        steps=steps + 1,
        seeds=seeds,
        snapshots=wanted,
        lanes=lanes,
    )
    curve = -found.trace.score / hp["fidelity"][None, :, None]
    return Inversion(
        images=found.snapshots[steps],
        errors=curve[-1],
        curve=curve,
        snapshots={n: found.snapshots[n] for n in snapshots},
        alive=found.alive,
    )
