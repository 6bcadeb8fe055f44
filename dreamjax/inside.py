"""The gradient inside a network: of a score in the activations of any of its taps.

A tap's activation a is replaced by a + δ wherever the network goes on from it, and the
gradient is taken in δ at 0. The places are found in the traced program, so that every
network is served and none has to be written for it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from dreamjax.errors import choose
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import TapsOf
from dreamjax.traced import evaluate, read_by, read_by_caller, segment_of
from dreamjax.types import Array, Taps


def shifted(taps: TapsOf, names: Sequence[str]) -> Callable[..., Taps]:
    """Returns `taps` with something added to activations on the way.

    Args:
      taps: of a model.
      names: the taps that are added to; each is the output of an operation.

    Returns:
      (variables, images, rules, shifts) -> Taps; `shifts` maps each name to an array
      of the tap's shape. What a tap gives, and what follows it, includes its shift.
    """

    def run(
        variables: Any, images: Array, rules: Rules, shifts: Mapping[str, Array]
    ) -> dict[str, Array]:
        def all_(variables: Any, images: Array) -> dict[str, Array]:
            return dict(taps(variables, images, rules))

        closed, shapes = jax.make_jaxpr(all_, return_shape=True)(variables, images)
        program = closed.jaxpr
        keys = sorted(shapes)  # as JAX orders a dict's leaves, the program's outputs
        for name in names:
            choose("tap", name, keys)
        at = {program.outvars[keys.index(name)]: name for name in reversed(names)}
        values = dict(zip(program.constvars, closed.consts, strict=True))
        inputs = jax.tree.leaves((variables, images))
        values |= dict(zip(program.invars, inputs, strict=True))
        later = [read_by_caller(program)]
        for equation in reversed(program.eqns):
            later.append(later[-1] | read_by([equation]))
        later = later[::-1][1:]  # what is read after each equation
        first = 0
        for i, equation in enumerate(program.eqns):
            met = [v for v in equation.outvars if v in at]
            if met or i + 1 == len(program.eqns):
                part = segment_of(program, program.eqns[first : i + 1], set(), later[i])
                values |= evaluate(program, part, values)
                values |= {v: values[v] + shifts[at[v]] for v in met if v in values}
                first = i + 1
        outputs = [
            values[v] if isinstance(v, core.Var) else v.val for v in program.outvars
        ]
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return run


def is_read(taps: TapsOf, name: str, variables: Any, images: Any) -> bool:
    """Returns whether another activation is computed from that of a tap.

    Args:
      taps: of a model.
      name: the tap.
      variables, images: as `taps` takes them, or their shapes.
    """
    closed, shapes = jax.make_jaxpr(
        lambda v, x: dict(taps(v, x, PLAIN)), return_shape=True
    )(variables, images)
    program = closed.jaxpr
    place = program.outvars[sorted(shapes).index(choose("tap", name, shapes))]
    made = [i for i, e in enumerate(program.eqns) if place in e.outvars]
    return place in read_by(program.eqns[made[0] + 1 :])


def tap_gradients(
    taps: TapsOf,
    score: Callable[[Taps], Array],
    names: Sequence[str],
    variables: Any,
    images: Array,
    rules: Rules,
) -> tuple[Array, dict[str, Array]]:
    """Returns the gradient of a score in the image and in the taps' activations.

    Args:
      taps: of a model.
      score: taps -> [B], summed over the images.
      names: of the taps, each the output of an operation.
      variables, images, rules: as `taps` takes them.

    Returns:
      d score / d images [B, H, W, C], and name -> d score / d activation, [B, h, w, K].
    """
    run = shifted(taps, names)
    shapes = jax.eval_shape(lambda v, x: dict(taps(v, x, rules)), variables, images)
    shifts = {n: jnp.zeros(shapes[n].shape, shapes[n].dtype) for n in names}

    def total(images: Array, shifts: dict[str, Array]) -> Array:
        return jnp.sum(score(run(variables, images, rules, shifts)))

    return jax.grad(total, argnums=(0, 1))(images, shifts)
