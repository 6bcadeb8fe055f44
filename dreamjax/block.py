"""One block of runs: from its first state to a durable result.

A block is made in calls of as many runs as the memory holds, step by step and side by
side, so that how many these are changes neither files nor numbers.
"""

import errno
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from dreamjax import checkpoint, shards, sweep
from dreamjax.build import Experiment
from dreamjax.diagnosis import dead_runs
from dreamjax.dream import require_finite_start
from dreamjax.environment import environments, provenance
from dreamjax.images import to_uint8
from dreamjax.interrupt import Interrupted
from dreamjax.logbook import Logbook, rewind
from dreamjax.metrics.picture import picture_metrics
from dreamjax.plan import Block, Plan
from dreamjax.report.artifacts import pictures_of
from dreamjax.types import Array, DreamInfo, DreamState, Key

FULL = (errno.ENOSPC, errno.EDQUOT)


class Bench(NamedTuple):
    """What all blocks of a sweep are made with.

    Attributes:
      experiment: its runs in the order of their numbers.
      workdir: the folder.
      program: compiled for so many runs of one call.
      variables, second: the weights, and those of a network that judges the pictures,
        where the program wants them.
      salts: [R], by run.
      labels: run -> what tells it from the others.
      devices: that one call is spread over.
    """

    experiment: Experiment
    workdir: Path
    program: sweep.Program
    variables: Any
    second: Any
    salts: np.ndarray
    labels: Mapping[int, str]
    devices: int = 1

    @property
    def lanes(self) -> int:
        """Runs that the program of one device computes side by side."""
        return self.program.runs // self.devices


class _Call(NamedTuple):
    """The runs of one call: their inputs, and how many are no filling."""

    hp: dict[str, Array]
    keys: Key
    runs: int


class _Flight(NamedTuple):
    """Where a block is: the state of each call, which runs are dead, steps done.

    Also the lines that it has logged, what there is to say of how it was found, on
    what it was made, and (step, runs of a program) from which step on.
    """

    states: list[DreamState]
    dead: np.ndarray
    step: int
    log: str = ""
    said: tuple[str, ...] = ()
    made_on: tuple[dict[str, Any], ...] = ()
    lanes: tuple[tuple[int, int], ...] = ()


def make_block(
    bench: Bench, plan: Plan, number: int, bar: tqdm, stop: Sequence[int]
) -> int:
    """Makes one block, or goes on with it; returns the image-steps that it took.

    Args:
      bench: what it is made with.
      plan: the sweep.
      number: of the block.
      bar: a step of all runs of the block is one unit.
      stop: not empty once the user asked to stop.

    Raises:
      Interrupted: stopped on request, after a checkpoint.
    """
    block, config = plan.blocks[number], bench.experiment.config
    calls = _calls(bench, block.runs)
    flight = _begin(bench, plan, number, calls)
    first = flight.step
    for line in flight.said:
        bar.write(line, file=sys.stderr)
    if first < block.start:
        bar.total += block.start - first
        line = f"the states of block {number}'s runs are gone: made anew"
        bar.write(line, file=sys.stderr)
    bar.update(max(0, first - block.start))
    with Logbook(
        bench.workdir,
        number,
        block.runs,
        hparams=[bench.experiment.told(run) for run in block.runs],
        labels=bench.labels,
        log=flight.log,
        resumed_at=max(first, block.start),
        tensorboard=config["tensorboard"],
    ) as book:
        if first >= block.start and first in _pictured(config):
            book.pictures(first, _shown(bench, calls, flight.states))
        flight = _climb(bench, number, block, calls, flight, book, bar, stop)
        _finish(bench, plan, number, calls, flight, book)
    steps = block.stop - first
    return steps * len(calls) * bench.program.runs * config["batch"]


def _calls(bench: Bench, runs: Sequence[int]) -> list[_Call]:
    """Cuts a block's runs into calls; the last is filled with copies of its last."""
    experiment, program, found = bench.experiment, bench.program, []
    for i in range(0, len(runs), program.runs):
        part = list(runs[i : i + program.runs])
        lanes = part + [part[-1]] * (program.runs - len(part))
        hp = sweep.take(experiment.values, lanes)
        keys = sweep.run_keys(
            hp["seed"],
            jnp.asarray(bench.salts[lanes]),
            common=experiment.config["common_noise"],
        )
        found.append(_Call(program.place(hp), program.place(keys), len(part)))
    return found


def _begin(bench: Bench, plan: Plan, number: int, calls: Sequence[_Call]) -> _Flight:
    """Returns where to go on from: a checkpoint, the runs' earlier blocks, or noise."""
    block, said = plan.blocks[number], []
    saved = shards.saved_path(bench.workdir, number)

    def like(runs: int) -> DreamState:
        return _like(bench, runs)

    kept = _kept(saved, block, said)
    if kept is not None:
        expected = (like(len(block.runs)), np.zeros(len(block.runs), bool))
        state, dead = checkpoint.unpacked(saved, kept, expected)
        step, log = kept.meta["step"], kept.log
    else:
        step, state, log = 0, None, ""
        if block.start > 0:
            state = shards.join_states(bench.workdir, plan, block, like)
            step = 0 if state is None else block.start
        dead = np.full(len(block.runs), step > 0)  # no step of it had a gradient yet
    log, line = rewind(bench.workdir, number, step, log)
    said += [line] if line else []
    if state is None:
        states = [bench.program.init(call.keys, call.hp) for call in calls]
        alive = _joined(calls, [state.alive for state in states])
        runs = [(run, bench.experiment.told(run)) for run in block.runs]
        require_finite_start(alive, runs)
    else:
        states = _cut(bench, calls, state)
    told = {} if kept is None else kept.meta
    lanes = [tuple(one) for one in told.get("lanes", [(0, 0)] if told else [])]
    if not lanes or lanes[-1][1] != bench.lanes:
        lanes.append((step, bench.lanes))
    made_on = environments(told.get("environments", ()))
    return _Flight(states, dead, step, log, tuple(said), tuple(made_on), tuple(lanes))


def _kept(path: Path, block: Block, said: list[str]) -> checkpoint.Kept | None:
    """Returns a block's checkpoint, None without one; a damaged one is set aside."""
    if not path.exists():
        return None
    try:
        kept = checkpoint.read(path)
        why = shards.other_block(kept.meta, block._asdict())
    except checkpoint.Damaged as error:
        kept, why = None, f"is damaged ({error})"
    if why:
        aside = checkpoint.set_aside(path)
        said.append(f"checkpoint {path.name} {why}: kept as {aside}, made again.")
        return None
    return kept


def _pictured(config: Mapping[str, Any]) -> set[int]:
    """Returns the steps whose pictures TensorBoard gets."""
    return set(config["image_steps"]) if config["tensorboard"] else set()


def _like(bench: Bench, runs: int) -> DreamState:
    """Returns what `shards.host_state` gives for so many runs; zeros, no memory."""
    hp = {
        name: jax.ShapeDtypeStruct((runs, *v.shape[1:]), v.dtype)
        for name, v in bench.experiment.values.items()
    }
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), runs))
    state = jax.eval_shape(jax.vmap(bench.experiment.step.init), keys, hp)
    data = jax.eval_shape(jax.random.key_data, state.key)
    return jax.tree.map(
        lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape),
        state._replace(key=data),
    )


def _cut(bench: Bench, calls: Sequence[_Call], state: DreamState) -> list[DreamState]:
    """Returns the states of the calls from those of the block's runs."""
    found, first = [], 0
    for call in calls:
        lanes = np.arange(bench.program.runs)
        lanes = first + np.minimum(lanes, call.runs - 1)
        part = jax.tree.map(lambda x, i=lanes: x[i], state)
        found.append(bench.program.place(shards.device_state(part)))
        first += call.runs
    return found


def _joined(calls: Sequence[_Call], parts: Sequence[Any], axis: int = 0) -> Any:
    """Returns the rows of the block's runs as NumPy arrays, without the filling."""

    def join(*arrays: Array) -> np.ndarray:
        kept = [
            np.asarray(a)[(slice(None),) * axis + (slice(call.runs),)]
            for a, call in zip(arrays, calls, strict=True)
        ]
        return np.concatenate(kept, axis)

    return jax.tree.map(join, *parts)


def _whole(calls: Sequence[_Call], states: Sequence[DreamState]) -> DreamState:
    return _joined(calls, [shards.host_state(state) for state in states])


def _climb(
    bench: Bench,
    number: int,
    block: Block,
    calls: Sequence[_Call],
    flight: _Flight,
    book: Logbook,
    bar: tqdm,
    stop: Sequence[int],
) -> _Flight:
    """Makes all steps that are left: updates, log, pictures, checkpoints."""
    experiment, program, config = (
        bench.experiment,
        bench.program,
        bench.experiment.config,
    )
    wanted = _pictured(config)
    states, dead, step = list(flight.states), flight.dead, flight.step
    first, at = step == 0, time.monotonic()
    while step < block.stop:
        infos = []
        for i, call in enumerate(calls):
            states[i], info = program.update(states[i], call.hp, bench.variables)
            infos.append(info)
        step += program.steps
        bar.update(program.steps)
        if first:
            dead = _dead(_joined(calls, infos, axis=1))
            for line in dead_runs(_of(block.runs, dead), experiment):
                bar.write(line, file=sys.stderr)
            first = False
        if step <= block.start:  # made again without its states: logged before
            if step == block.start and step in wanted:  # but purged
                book.pictures(step, _shown(bench, calls, states))
            continue
        if step % config["log_every"] == 0 or step == block.stop:
            info = _joined(calls, infos, axis=1)
            dead = dead & _dead(info)
            last = jax.tree.map(lambda x: x[-1], info)
            alive = _joined(calls, [state.alive for state in states])
            book.log(step, last, alive)
            bar.set_postfix(_glance(last.score, alive))
        if step in wanted:
            book.pictures(step, _shown(bench, calls, states))
        if stop or time.monotonic() - at >= config["checkpoint_seconds"]:
            book.flush()
            meta = {**block._asdict(), "step": step, "lanes": flight.lanes}
            meta["environments"] = flight.made_on
            tree = (_whole(calls, states), dead)
            _save(bench, number, tree, meta, book.text, bar)
            at = time.monotonic()
        if stop:
            raise Interrupted(
                f"stopped at step {step} of {block.stop}, block {number}; saved in"
                f" {bench.workdir}. The same command goes on from there."
            )
    return flight._replace(states=states, dead=dead, step=step)


def _save(
    bench: Bench,
    number: int,
    tree: Any,
    meta: Mapping[str, Any],
    log: str,
    bar: tqdm,
) -> None:
    """Writes a checkpoint; on a full disk the block goes on without it."""
    path = shards.saved_path(bench.workdir, number)
    try:
        checkpoint.save(path, tree, meta, log)
    except OSError as error:
        if error.errno not in FULL:
            raise
        bar.write(f"no checkpoint at step {meta['step']}: {error}", file=sys.stderr)


def _finish(
    bench: Bench,
    plan: Plan,
    number: int,
    calls: Sequence[_Call],
    flight: _Flight,
    book: Logbook,
) -> None:
    """Judges a block's pictures and makes its result durable."""
    block, experiment = plan.blocks[number], bench.experiment
    images, metrics = _judged(bench, calls, flight)
    final = [
        {name: float(values[lane]) for name, values in metrics.items()}
        for lane in range(len(block.runs))
    ]
    book.finish(final, block.stop)
    if experiment.config["keep_states"]:
        states = _whole(calls, flight.states)
        path = shards.state_path(bench.workdir, number)
        checkpoint.save(path, states, block._asdict())
    meta = {
        "runs": list(block.runs),
        "hparams": [experiment.told(run) for run in block.runs],
        "start": block.start,
        "stop": block.stop,
        "provenance": provenance(
            flight.made_on,
            experiment.identity.digests(),
            lanes=flight.lanes,
            devices=bench.devices,
        ),
    }
    shards.write_result(
        shards.result_path(bench.workdir, number), images, metrics, meta, book.text
    )
    shards.saved_path(bench.workdir, number).unlink(missing_ok=True)


def _judged(
    bench: Bench, calls: Sequence[_Call], flight: _Flight
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the pictures and the final metrics [R] of a finished block."""
    program, variables = bench.program, bench.variables
    draws = bench.experiment.config["evaluation_draws"]
    parts = []
    for call, state in zip(calls, flight.states, strict=True):
        plain, penalty, judged = program.plain(state, call.hp, variables, bench.second)
        robust = [
            program.robust(state, call.hp, variables, draw) for draw in range(draws)
        ]
        parts.append(
            {
                "images": program.images(state, call.hp),
                "plain": plain,
                "penalty": penalty,
                "judged": judged,
                "robust": np.mean([np.asarray(r) for r in robust], axis=0),
                "step": state.step,
                "alive": state.alive,
            }
        )
    found = _joined(calls, parts)
    penalties = {
        f"penalty/{n}": np.mean(v, axis=1) for n, v in sorted(found["penalty"].items())
    }
    seen = [picture_metrics(images) for images in found["images"]]
    return found["images"], {
        "score": np.mean(found["robust"], axis=1),
        "score_plain": np.mean(found["plain"], axis=1),
        **penalties,
        **found["judged"],
        **{name: np.array([one[name] for one in seen]) for name in seen[0]},
        "steps": found["step"].astype(np.float32),
        "alive": found["alive"].astype(np.float32),
        "zero_gradient": flight.dead.astype(np.float32),
    }


def _dead(info: DreamInfo) -> np.ndarray:
    """Returns [R]: the score had no gradient in any step and image of [n, R, B]."""
    return np.all(np.asarray(info.grad_norm) == 0, axis=(0, 2))


def _of(block: Sequence[int], lanes: np.ndarray) -> list[int]:
    return [run for run, yes in zip(block, lanes, strict=True) if yes]


def _shown(
    bench: Bench, calls: Sequence[_Call], states: Sequence[DreamState]
) -> list[np.ndarray]:
    images = [
        bench.program.images(state, call.hp)
        for state, call in zip(states, calls, strict=True)
    ]
    return [to_uint8(picture) for picture in pictures_of(_joined(calls, images))]


def _glance(score: np.ndarray, alive: np.ndarray) -> Mapping[str, str]:
    shown = {"score": f"{np.nanmean(np.where(np.isfinite(score), score, 0)):.3g}"}
    frozen = int(np.sum(~alive))
    return shown | ({"frozen": str(frozen)} if frozen else {})
