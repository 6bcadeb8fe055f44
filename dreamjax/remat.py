"""Less memory for a gradient: activations are computed again, not kept.

A network is cut into segments where little is alive. Forward, only what crosses a cut
is kept; backward, each segment is played again before its gradient is taken (Chen et
al. 2016). That costs most of another forward pass. The last segment is not played
twice: its gradient is taken right after it.

    image ─ segment ─┬─ segment ─┬─ segment ─ taps that are read
                    kept        kept

Cuts are made in the traced program, not in modules, so that this serves every network,
also a user's own. `jax.checkpoint` alone saves nothing on CPU: XLA takes away there
what separates the second computation from the first, and merges the two.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from dreamjax.models.layers import Rules
from dreamjax.models.model import TapsOf
from dreamjax.traced import (
    Segment,
    are_real,
    evaluate,
    function_of,
    read_by,
    read_by_caller,
    segment_of,
)
from dreamjax.types import Array, Taps

MOST = 16  # segments that are considered


def recomputed(taps: TapsOf, names: Sequence[str]) -> TapsOf:
    """Returns `taps` with a gradient in the images that needs less memory.

    Values and gradients are the same but for rounding.

    Args:
      taps: of a model.
      names: the taps that are read; the others are left out of what comes back, since
        each would have to be kept.

    Returns:
      The same function, for gradients in the images alone: to it, weights are
      constants.
    """

    def lean(variables: Any, images: Array, rules: Rules) -> Taps:
        def wanted(variables: Any, images: Array) -> dict[str, Array]:
            found = taps(variables, images, rules)
            return {name: found[name] for name in names}

        variables = jax.lax.stop_gradient(variables)
        closed, shapes = jax.make_jaxpr(wanted, return_shape=True)(variables, images)
        inputs = jax.tree.leaves((variables, images))
        found = _play(closed, inputs)
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return lean


def best_cuts(made: Sequence[int], alive: Sequence[int]) -> list[int]:
    """Returns where to cut a program so that its gradient needs least memory.

    The estimate: all that is alive at the cuts, and a third of what the largest segment
    makes. (The rest is never stored, or as a mask; of EfficientNet-Lite0, VGG16 and
    ResNet-50 compiled for CPU it was 0.3 to 0.5.)
    For each number of segments up to `MOST`, cuts are made where least is alive, each
    within half a segment of an even share.

    Args:
      made: [n] bytes that each equation makes.
      alive: [n + 1] bytes, made before equation i and used from there on.

    Returns:
      Numbers of the equations that begin a segment, ascending, the first left out; []
      where any cut would make it worse.
    """
    before = [0]
    for size in made:
        before.append(before[-1] + size)

    def cuts(segments: int) -> list[int]:
        share, found = before[-1] / segments, []
        for k in range(1, segments):
            low, high = (k - 0.5) * share, (k + 0.5) * share
            near = [i for i in range(1, len(made)) if low <= before[i] < high]
            if near:
                found.append(min(near, key=lambda i: alive[i]))
        return sorted(set(found))

    def cost(cuts: Sequence[int]) -> int:
        ends = [0, *cuts, len(made)]
        parts = [before[b] - before[a] for a, b in itertools.pairwise(ends)]
        return 3 * sum(alive[i] for i in cuts) + max(parts)

    return min((cuts(segments) for segments in range(1, MOST + 1)), key=cost)


def _play(closed: Any, inputs: Sequence[Array]) -> list[Array]:
    """Evaluates a traced (variables, images) -> outputs, segment by segment."""
    program = closed.jaxpr
    values = dict(zip(program.constvars, closed.consts, strict=True))
    values |= dict(zip(program.invars, inputs, strict=True))
    still, moving = _parted(_needed(program), program.invars[-1])
    ahead = segment_of(program, still, set(), read_by(moving) | read_by_caller(program))
    values |= evaluate(program, ahead, values)
    *first, last = _segments(program, moving)
    for segment in first:
        function = _twice(function_of(program, segment), are_real(segment.outputs))
        found = function(
            [values[v] for v in segment.moving],
            [values[v] for v in segment.still],
        )
        values |= dict(zip(segment.outputs, found, strict=True))
    values |= evaluate(program, last, values)
    return [
        v.val if isinstance(v, core.Literal) else values[v] for v in program.outvars
    ]


def _needed(program: Any) -> list:
    """Returns the equations that an output depends on."""
    wanted, kept = read_by_caller(program), []
    for equation in reversed(program.eqns):
        if equation.effects or any(v in wanted for v in equation.outvars):
            kept.append(equation)
            wanted |= read_by([equation])
    return kept[::-1]


def _parted(equations: Sequence, image: Any) -> tuple[list, list]:
    """Returns the equations that do not depend on the image, and those that do."""
    reached, still, moving = {image}, [], []
    for equation in equations:
        if read_by([equation]) & reached:
            reached |= set(equation.outvars)
            moving.append(equation)
        else:
            still.append(equation)
    return still, moving


def _segments(program: Any, equations: Sequence) -> list[Segment]:
    made = {program.invars[-1]}.union(*(e.outvars for e in equations))
    later, alive = read_by_caller(program), []
    for equation in reversed(equations):
        alive.append(set(later))
        later = (later - set(equation.outvars)) | read_by([equation])
    alive = [later, *reversed(alive)]  # before each equation, and after the last
    cuts = best_cuts(
        [sum(map(_bytes, e.outvars)) for e in equations],
        [sum(_bytes(v) for v in names & made) for names in alive],
    )
    ends = [0, *cuts, len(equations)]
    return [
        segment_of(program, equations[a:b], made, alive[b])
        for a, b in itertools.pairwise(ends)
    ]


def _twice(play: Callable[..., list[Array]], real: Sequence[bool]) -> Callable:
    """Returns (moving, still) -> outputs, played again for its gradient.

    Args:
      play: (*moving, *still) -> outputs.
      real: of each output, whether it has a gradient.
    """

    @jax.custom_vjp
    def run(moving: list, still: list) -> list[Array]:
        return play(*moving, *still)

    def forward(moving: list, still: list) -> tuple:
        return run(moving, still), (moving, still)

    def backward(saved: tuple, down: list) -> tuple:
        moving, still = saved
        down = [g for g, yes in zip(down, real, strict=True) if yes]

        def again(moving: list, still: list, down: list) -> list:
            def outputs(moving: list) -> list:
                found = play(*moving, *still)
                return [y for y, yes in zip(found, real, strict=True) if yes]

            return jax.vjp(outputs, moving)[1](down)[0]

        grads = jax.lax.platform_dependent(
            moving,
            still,
            down,
            cpu=lambda moving, still, down: again(_fenced(moving, down), still, down),
            default=lambda *given: again(*jax.lax.optimization_barrier(given)),
        )
        return grads, None

    run.defvjp(forward, backward)
    return run


def _fenced(moving: list, down: list) -> list:
    """Returns `moving`, in a way that XLA cannot foresee, and not before `down`.

    A number equals itself, unless it is NaN; then so is the gradient either way. So
    what follows is not merged with the same computation before it, and waits.
    """
    known = jnp.ones((), bool)
    for g in down:
        value = jnp.ravel(g)[0]
        known = known & (value == value)
    return [jnp.where(known, x, jnp.nan) for x in moving]


def _bytes(variable: Any) -> int:
    if jnp.issubdtype(variable.aval.dtype, jax.dtypes.extended):
        return 0
    return math.prod(variable.aval.shape) * variable.aval.dtype.itemsize
