"""Traced programs, cut in two and played: what a network's layers are between.

A network is a function from images to named activations; how it is cut into layers is
its own affair. In the program that JAX traces from it every activation is a variable,
so that a layer can be entered from outside, in any network, also a user's own.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from dreamjax.errors import choose
from dreamjax.models.layers import Rules
from dreamjax.types import Array, Taps

TapsOf = Callable[[Any, Array, Rules], Taps]
"""(variables, images [B, H, W, C], rules) -> Taps, as of a `Model`."""


def entered(taps: TapsOf, tap: str) -> Callable[[Any, Array, Rules, Array], Taps]:
    """Returns the same network with something added to one of its activations.

    The gradient in what is added, at 0, is the one in the activation.

    Args:
      taps: of a model.
      tap: name of the activation.

    Returns:
      (variables, images [B, H, W, C], rules, added, of the activation's shape) ->
      Taps, the activation and all that is computed from it changed.

    Raises:
      ValueError: from the call, an unknown tap, or one that nothing is computed from.
    """

    def play(variables: Any, images: Array, rules: Rules, added: Array) -> Taps:
        def network(variables: Any, images: Array) -> dict[str, Array]:
            return dict(taps(variables, images, rules))

        closed, shapes = jax.make_jaxpr(network, return_shape=True)(variables, images)
        choose("tap", tap, shapes)
        program = closed.jaxpr
        names = sorted(shapes)  # as JAX orders a dict
        place = program.outvars[names.index(tap)]
        made = [i for i, e in enumerate(program.eqns) if place in e.outvars]
        first, rest = program.eqns[: made[0] + 1], program.eqns[made[0] + 1 :]
        if place not in read_by(rest):
            raise ValueError(
                f"tap={tap!r} is only shown: no other activation is computed from it."
            )
        values = dict(zip(program.constvars, closed.consts, strict=True))
        inputs = jax.tree.leaves((variables, images))
        values |= dict(zip(program.invars, inputs, strict=True))
        told = read_by_caller(program)
        head = segment_of(first, set(), read_by(rest) | told)
        values |= evaluate(program, head, values)
        values[place] = values[place] + added
        values |= evaluate(program, segment_of(rest, set(), told), values)
        return {
            name: v.val if isinstance(v, core.Literal) else values[v]
            for name, v in zip(names, program.outvars, strict=True)
        }

    return play


class Segment(NamedTuple):
    """A part of a traced program.

    Attributes:
      equations: in order.
      moving: inputs that the gradient passes.
      still: inputs that it does not: weights, and what is no real number.
      outputs: what later segments, or the caller, read of it.
    """

    equations: list
    moving: list
    still: list
    outputs: list


def segment_of(equations: Sequence, moving: set, later: set) -> Segment:
    """Returns these equations as a segment.

    Args:
      equations: in order.
      moving: what the gradient passes, of all variables.
      later: what is read after them.
    """
    own = {v: None for e in equations for v in e.outvars}
    inputs = {v: None for e in equations for v in _ordered([e]) if v not in own}
    real = [v for v, yes in zip(inputs, is_real(inputs), strict=True) if yes]
    carried = [v for v in real if v in moving]
    return Segment(
        list(equations),
        carried,
        [v for v in inputs if v not in set(carried)],
        [v for v in own if v in later],
    )


def as_function(program: Any, segment: Segment) -> Callable[..., list[Array]]:
    """Returns (*moving, *still) -> outputs."""
    inputs = [*segment.moving, *segment.still]
    told = program.debug_info._replace(
        arg_names=("",) * len(inputs), result_paths=("",) * len(segment.outputs)
    )
    effects = core.no_effects.union(*(e.effects for e in segment.equations))
    part = core.Jaxpr([], inputs, segment.outputs, segment.equations, effects, told)
    return core.jaxpr_as_fun(core.ClosedJaxpr(part, []))


def evaluate(program: Any, segment: Segment, values: dict) -> dict:
    """Returns what a segment makes, variable -> value, given all values before it."""
    inputs = [values[v] for v in (*segment.moving, *segment.still)]
    found = as_function(program, segment)(*inputs)
    return dict(zip(segment.outputs, found, strict=True))


def _ordered(equations: Sequence) -> list:
    return [v for e in equations for v in e.invars if isinstance(v, core.Var)]


def read_by(equations: Sequence) -> set:
    """Returns the variables that equations read."""
    return set(_ordered(equations))


def read_by_caller(program: Any) -> set:
    """Returns the variables that a program returns."""
    return {v for v in program.outvars if isinstance(v, core.Var)}


def is_real(variables: Any) -> list[bool]:
    """Returns of each variable whether it may have a gradient."""
    return [jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in variables]
