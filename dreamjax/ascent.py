"""Many runs climbed side by side in memory, with no files: what a figure needs.

The runner's sweeps are durable, resumed and judged; an ascent is only the core step
mapped over runs, its trace and some pictures on the way. One compiled program serves
all runs, also where they are climbed a few at a time.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.dream import Pieces, make_step, require_finite_start, show
from dreamjax.errors import require
from dreamjax.sweep import run_keys
from dreamjax.types import DreamInfo


class Ascent(NamedTuple):
    """What R runs came to.

    Attributes:
      images: [R, B, H, W, C] after the last step.
      snapshots: completed steps -> images then; 0 is the start. They and the last are
        shown as `dreamjax.dream.show` does.
      trace: a `DreamInfo` of arrays [steps, R, ...]; row i is of update i, so its
        score is that of the images that had i updates.
      alive: [R] bool; False where an update was not finite and the run froze.
    """

    images: np.ndarray
    snapshots: dict[int, np.ndarray]
    trace: DreamInfo
    alive: np.ndarray


class Programs(NamedTuple):
    """What R runs side by side are climbed with; compiled when first called.

    Attributes:
      init: (keys [R], hp) -> states.
      update: (states, hp, variables) -> (states, infos); the states are used up.
      show: (states, hp) -> images [R, B, H, W, C], as they are shown.
    """

    init: Callable
    update: Callable
    show: Callable


def programs(pieces: Pieces) -> Programs:
    """Returns the programs of runs, for ascents that go on from each other."""
    step = make_step(pieces)
    return Programs(
        jax.jit(jax.vmap(step.init)),
        jax.jit(jax.vmap(step.update, in_axes=(0, 0, None)), donate_argnums=0),
        jax.jit(jax.vmap(functools.partial(show, pieces))),
    )


def ascend(
    pieces: Pieces,
    variables: Any,
    hp: Mapping[str, Any],
    *,
    steps: int,
    seeds: Any = 0,
    snapshots: Collection[int] = (),
    lanes: int = 16,
    compiled: Programs | None = None,
) -> Ascent:
    """Climbs R runs.

    Args:
      pieces: what a run is put together from.
      variables: weights, as `pieces.taps` takes them.
      hp: name -> [R, ...]; at least one entry.
      steps: updates of each run.
      seeds: of the runs, one number or [R]; runs of one seed share noise and draws.
      snapshots: completed steps after which the pictures are kept, 0 … steps.
      lanes: runs that are climbed at once; of more, a few at a time.
      compiled: `programs(pieces)`, of an ascent of the same shapes before; or None.

    Raises:
      ValueError: entries of `hp` of unequal length, snapshots beyond the steps, or a
        start that is not finite.
    """
    hp = {name: np.asarray(values) for name, values in hp.items()}
    lengths = {name: len(values) for name, values in hp.items()}
    require(len(set(lengths.values())) == 1, "hp", lengths, "one length, R, for all")
    require(steps >= 1, "steps", steps, "at least 1")
    for step in snapshots:
        require(0 <= step <= steps, "snapshots", step, f"0 … {steps}")
    runs = next(iter(lengths.values()))
    lanes = min(lanes, runs)
    seeds = np.broadcast_to(np.asarray(seeds, np.uint32), (runs,))
    keys = run_keys(jnp.asarray(seeds), jnp.zeros((runs,), jnp.uint32), common=True)

    init, update, look = programs(pieces) if compiled is None else compiled
    parts = []
    for first in range(0, runs, lanes):
        # The last part is filled up with copies, so that one program serves all.
        index = np.minimum(np.arange(first, first + lanes), runs - 1)
        some = {name: jnp.asarray(values[index]) for name, values in hp.items()}
        state, infos, kept = init(keys[index], some), [], {}
        told = [(int(run), {n: v[run] for n, v in hp.items()}) for run in index]
        require_finite_start(state.alive, told)
        for done in range(steps + 1):
            if done in snapshots or done == steps:
                kept[done] = np.asarray(look(state, some))
            if done < steps:
                state, info = update(state, some, variables)
                infos.append(info)
        trace = jax.tree.map(lambda *rows: np.stack(rows), *jax.device_get(infos))
        real = min(lanes, runs - first)
        parts.append((real, kept, trace, np.asarray(state.alive)))

    def joined(arrays: list[np.ndarray], axis: int) -> np.ndarray:
        cut = [
            np.take(array, np.arange(part[0]), axis=axis)
            for array, part in zip(arrays, parts, strict=True)
        ]
        return np.concatenate(cut, axis=axis)

    kept = {n: joined([part[1][n] for part in parts], 0) for n in parts[0][1]}
    return Ascent(
        images=kept[steps],
        snapshots={n: kept[n] for n in sorted(snapshots)},
        trace=jax.tree.map(
            lambda *arrays: joined(list(arrays), 1), *(part[2] for part in parts)
        ),
        alive=joined([part[3] for part in parts], 0),
    )
