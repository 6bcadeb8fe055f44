"""A traced program taken apart: groups of equations that are evaluated one by one.

Between two groups something may be done that the function knows nothing of: its values
are thrown away (`dreamjax.remat`), or added to (`dreamjax.inside`). So every network is
served, also a user's own.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend import core

from dreamjax.types import Array


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


def segment_of(program: Any, equations: Sequence, moving: set, later: set) -> Segment:
    """Returns some equations of a program as one part.

    Args:
      program: a jaxpr.
      equations: of it, in order.
      moving: values that the gradient passes.
      later: values that are read after it.
    """
    own = {v: None for e in equations for v in e.outvars}
    inputs = {v: None for e in equations for v in inputs_of([e]) if v not in own}
    real = [v for v, yes in zip(inputs, are_real(inputs), strict=True) if yes]
    carried = [v for v in real if v in moving]
    return Segment(
        list(equations),
        carried,
        [v for v in inputs if v not in set(carried)],
        [v for v in own if v in later],
    )


def function_of(program: Any, segment: Segment) -> Callable[..., list[Array]]:
    """Returns (*moving, *still) -> outputs."""
    inputs = [*segment.moving, *segment.still]
    told = program.debug_info._replace(
        arg_names=("",) * len(inputs), result_paths=("",) * len(segment.outputs)
    )
    effects = core.no_effects.union(*(e.effects for e in segment.equations))
    part = core.Jaxpr([], inputs, segment.outputs, segment.equations, effects, told)
    return core.jaxpr_as_fun(core.ClosedJaxpr(part, []))


def evaluate(program: Any, segment: Segment, values: dict) -> dict:
    """Returns the outputs of a part, from the values before it."""
    inputs = [values[v] for v in (*segment.moving, *segment.still)]
    found = function_of(program, segment)(*inputs)
    return dict(zip(segment.outputs, found, strict=True))


def inputs_of(equations: Sequence) -> list:
    """Returns what equations read, in order, also twice."""
    return [v for e in equations for v in e.invars if isinstance(v, core.Var)]


def read_by(equations: Sequence) -> set:
    """Returns what equations read."""
    return set(inputs_of(equations))


def read_by_caller(program: Any) -> set:
    """Returns the outputs of a program that are no literals."""
    return {v for v in program.outvars if isinstance(v, core.Var)}


def are_real(variables: Any) -> list[bool]:
    """Tells of each value whether it can have a gradient."""
    return [jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in variables]
