"""The core: one dream run, from pixels to score and back. Read this first.

    params ─apply→ images ─┬─ penalties                        (the raw image)
                           └─ transform → views ─ taps → objective → score [B]
    d loss / d images ─→ d loss / d params ─ optax ─→ params' ─ projections ─→ params'

Everything here is pure and knows of one run only: `dreamjax.sweep` maps it over many,
`dreamjax.runner` loops over steps. A run is a function of (weights, hyperparameters,
key) and of nothing else.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dreamjax.models.layers import PLAIN, Rules, redirected
from dreamjax.objectives import TARGET, Objective
from dreamjax.projections import ended
from dreamjax.types import (
    Array,
    DreamInfo,
    DreamState,
    DreamStep,
    HParams,
    ImageParam,
    Key,
    Penalty,
    Projection,
    Taps,
    Transform,
)

HELD_OUT = 0x7FFFFFFF  # the step number that evaluation draws with; no run has it

# Phases of a step, as profiles show them (`benchmarks.profile`).
PARAM, TRANSFORMS, NETWORK, OBJECTIVE = "param", "transforms", "network", "objective"
PENALTIES, OPTIMIZER, PROJECTIONS = "penalties", "optimizer", "projections"
PHASES = (PARAM, TRANSFORMS, NETWORK, OBJECTIVE, PENALTIES, OPTIMIZER, PROJECTIONS)


class Pieces(NamedTuple):
    """What a run is put together from; all static.

    Attributes:
      taps: (variables, images, rules) -> Taps.
      param: the image parametrization.
      transform: (key, image, hp) -> view.
      objective: what to maximize.
      penalties: name -> penalty; its weight is hp[name].
      projections: applied in order after each update.
      optimizer: hp -> the Optax chain, for gradients of the loss.
      redirect: let gradient through dead ReLUs in the first hp["redirect_steps"] steps.
      periodic: some projection comes every few steps, so that the images that are shown
        are not those that the run goes on from.
    """

    taps: Callable[[Any, Array, Rules], Taps]
    param: ImageParam
    transform: Transform
    objective: Objective
    penalties: Mapping[str, Penalty]
    projections: tuple[Projection, ...]
    optimizer: Callable[[HParams], optax.GradientTransformation]
    redirect: bool
    periodic: bool = False


class Last(NamedTuple):
    """What the last update gave the projections.

    Attributes:
      params: the parameters after the optimizer, not yet projected.
      gradient: d score / d images before the update, [B, H, W, C].
    """

    params: Any
    gradient: Array


def score_images(
    pieces: Pieces,
    images: Array,
    keys: Key | None,
    rules: Rules,
    hp: HParams,
    variables: Any,
) -> Array:
    """Returns the objective [B] of images [B, H, W, C] seen through the transforms.

    Args:
      pieces: the run.
      images: [B, H, W, C] in [0, 1].
      keys: [B], one draw of the transforms for each image; None for no transforms.
      rules: how gradients pass nonlinearities.
      hp: hyperparameters.
      variables: weights.
    """

    @jax.named_scope(TRANSFORMS)
    def see(image: Array) -> Array:
        if keys is None:
            return image
        return jax.vmap(lambda key, x: pieces.transform(key, x, hp))(keys, image)

    views = see(images)
    with jax.named_scope(NETWORK):
        taps = dict(pieces.taps(variables, views, rules))
    if pieces.objective.needs_target:
        target = jnp.broadcast_to(hp["target"][None], images.shape)
        target = jax.lax.stop_gradient(see(target))
        with jax.named_scope(NETWORK):
            seen = pieces.taps(variables, target, PLAIN)
        taps |= {TARGET + name: tap for name, tap in seen.items()}
    with jax.named_scope(OBJECTIVE):
        return pieces.objective(taps, hp)


def make_step(pieces: Pieces) -> DreamStep:
    """Returns the pair (init, update) of a run.

    The gradient is taken in the images first, score and penalties apart: the score's
    own gradient is what projections and the log need.
    """
    param = pieces.param

    def init(key: Key, hp: HParams) -> DreamState:
        params = param.init(jax.random.fold_in(key, 0), hp)
        return begin(pieces, params, jax.random.fold_in(key, 1), hp)

    def update(
        state: DreamState, hp: HParams, variables: Any
    ) -> tuple[DreamState, DreamInfo]:
        apply = jax.named_scope(PARAM)(param.apply)
        images, pull = jax.vjp(lambda params: apply(params, hp), state.params)
        batch = images.shape[0]
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), batch)
        rules = PLAIN
        if pieces.redirect:
            rules = redirected(state.step < hp["redirect_steps"])

        def negative_score(images: Array) -> tuple[Array, Array]:
            score = score_images(pieces, images, keys, rules, hp, variables)
            return -jnp.sum(score), score

        (_, score), down = jax.value_and_grad(negative_score, has_aux=True)(images)
        return climb(pieces, state, hp, images, pull, score, down)

    return DreamStep(init, update)


def begin(pieces: Pieces, params: Any, key: Key, hp: HParams) -> DreamState:
    """Returns the state before the first update.

    It is alive where parameters and images are finite; who makes the state refuses it
    where it is not (`require_finite_start`).

    Args:
      pieces: the run.
      params: of its first images.
      key: of its draws.
      hp: hyperparameters.
    """
    images = pieces.param.apply(params, hp)
    return DreamState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        params=params,
        opt_state=pieces.optimizer(hp).init(params),
        alive=_all_finite((params, images)),
        last=Last(params, jnp.zeros_like(images)) if pieces.periodic else (),
    )


def show(pieces: Pieces, state: DreamState, hp: HParams) -> Array:
    """Returns the images [B, H, W, C] of a run that are shown and measured.

    They are those of its parameters, unless projections come every few steps: then the
    last update is taken as one in which all of them had their turn. So a picture tells
    of the setting and not of how many steps ago the last blur was, and the state, which
    has not had that turn, goes on as if nobody had looked.

    Args:
      pieces: the run.
      state: after any number of updates.
      hp: hyperparameters.
    """
    images = pieces.param.apply(state.params, hp)
    if not pieces.periodic:
        return images
    moved = pieces.param.apply(state.last.params, hp)
    last = state.last.gradient, state.step - 1
    params = _projected(pieces, moved, *last, ended(hp))
    return jnp.where(state.step > 0, pieces.param.apply(params, hp), images)


def _projected(
    pieces: Pieces, images: Array, gradient: Array, step: Array, hp: HParams
) -> Any:
    """Returns the parameters of images after all projections of an update."""
    with jax.named_scope(PROJECTIONS):
        for project in pieces.projections:
            images = project(images, gradient, step, hp)
        return pieces.param.invert(images, hp)


STARTERS = ("decay_power", "init_std")  # the hyperparameters that a start depends on


def require_finite_start(
    alive: Any, runs: Iterable[tuple[int, Mapping[str, Any]]]
) -> None:
    """Raises ValueError for a run whose first images are not finite.

    Args:
      alive: [R] of the states before the first update.
      runs: the number and the hyperparameters of each, for the message.
    """
    for finite, (run, values) in zip(np.asarray(alive), runs, strict=True):
        if not finite:
            named = [f"{name}={values[name]!r}" for name in STARTERS if name in values]
            raise ValueError(
                f"run {run} starts from a picture that is not finite"
                + (f" with {', '.join(named)}: give smaller values." if named else ".")
            )


def climb(
    pieces: Pieces,
    state: DreamState,
    hp: HParams,
    images: Array,
    pull: Callable,
    score: Array,
    down: Array,
) -> tuple[DreamState, DreamInfo]:
    """The second half of an update: from the score's gradient to new parameters.

    Where the gradient comes from is another matter: from the whole image at once, as
    in `make_step`, or from its tiles (`dreamjax.deepdream`).

    Args:
      pieces: the run.
      state: before the update.
      hp: hyperparameters.
      images: [B, H, W, C] of that state.
      pull: the vjp of the parametrization there.
      score: [B].
      down: minus the gradient of the summed score in the images, [B, H, W, C].
    """
    param = pieces.param

    @jax.named_scope(PENALTIES)
    def penalize(images: Array) -> tuple[Array, dict[str, Array]]:
        penalty = _weighted(pieces, images, hp)
        return sum((jnp.sum(p) for p in penalty.values()), jnp.zeros(())), penalty

    (cost, penalty), away = jax.value_and_grad(penalize, has_aux=True)(images)
    (grads,) = pull(down + away)
    with jax.named_scope(OPTIMIZER):
        updates, opt_state = pieces.optimizer(hp).update(
            grads, state.opt_state, state.params
        )
        params = optax.apply_updates(state.params, updates)
    with jax.named_scope(PARAM):
        moved = param.apply(params, hp)
    last = Last(params, -down) if pieces.periodic else ()
    if pieces.projections:
        params = _projected(pieces, moved, -down, state.step, hp)

    with jax.named_scope(OPTIMIZER):
        # A NaN learning rate has a finite loss, and finite parameters may be so large
        # that their images are not finite: what is stored and shown must be.
        alive = state.alive & _all_finite((opt_state, params, moved))
        new = DreamState(state.step + 1, state.key, params, opt_state, alive, last)
        old = state._replace(alive=alive)
        info = DreamInfo(
            loss=cost - jnp.sum(score),
            score=score,
            penalty=penalty,
            grad_norm=jnp.sqrt(jnp.sum(jnp.square(down), axis=(1, 2, 3))),
            update_norm=optax.tree.norm(updates),
        )
        return jax.tree.map(lambda n, o: _select(alive, n, o), new, old), info


class Evaluation(NamedTuple):
    """What is asked of finished images.

    Attributes:
      plain: (state, hp, variables, second) -> (score [B] without the transforms,
        penalty name -> [B], weighted, metric name -> scalar).
      robust: (state, hp, variables, draw) -> score [B] under one fresh draw of the
        transforms, which no step has used.
    """

    plain: Callable
    robust: Callable


Judge = Callable[[Any, Any, Array, HParams], dict[str, Array]]
"""(weights, weights of a second network, images [B, H, W, C], hp) -> metrics."""


def make_evaluation(pieces: Pieces, judge: Judge | None = None) -> Evaluation:
    """Returns the pair (plain, robust) that judges a run's images, as they are shown.

    Args:
      pieces: the run.
      judge: what else is asked of the images as they are (`dreamjax.metrics`).
    """

    def plain(state: DreamState, hp: HParams, variables: Any, second: Any):
        images = show(pieces, state, hp)
        score = score_images(pieces, images, None, PLAIN, hp, variables)
        found = {} if judge is None else judge(variables, second, images, hp)
        return score, _weighted(pieces, images, hp), found

    def robust(state: DreamState, hp: HParams, variables: Any, draw: Array) -> Array:
        images = show(pieces, state, hp)
        key = jax.random.fold_in(jax.random.fold_in(state.key, HELD_OUT), draw)
        keys = jax.random.split(key, images.shape[0])
        return score_images(pieces, images, keys, PLAIN, hp, variables)

    return Evaluation(plain, robust)


def _weighted(pieces: Pieces, images: Array, hp: HParams) -> dict[str, Array]:
    """Returns each penalty [B], times its weight."""
    return {
        name: hp[name] * penalty(images, hp)
        for name, penalty in pieces.penalties.items()
    }


def _all_finite(tree: Any) -> Array:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(leaves))


def _select(alive: Array, new: Array, old: Array) -> Array:
    if jnp.issubdtype(new.dtype, jax.dtypes.prng_key):
        return old
    return jnp.where(alive, new, old)
