"""The runner: the only loop with side effects.

`run(config, workdir)` compiles one program, feeds every block of runs through it, and
writes everything there is to keep into `workdir`:

    config.json env.json       what ran, and on what
    metrics.jsonl tb/          the log (see `dreamjax.logbook`)
    checkpoints/block_0000.npz the block in flight
    results/block_0000.npz     finished blocks: pictures and final metrics
    runs/run_0000.png …        one picture per run, with its recipe inside
    sheet.png summary.csv index.html

Killed at any moment and started again it goes on from the last checkpoint and ends
with the same bits as if it had never stopped.
"""

import contextlib
import fcntl
import functools
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from dreamjax import checkpoint, sweep
from dreamjax.build import Experiment, build
from dreamjax.environment import write_environment
from dreamjax.files import write_text
from dreamjax.images import to_uint8
from dreamjax.logbook import Logbook, rewind
from dreamjax.models.model import Model
from dreamjax.report.artifacts import pictures_of, write_artifacts
from dreamjax.types import Array, DreamInfo, DreamState, Key


class Interrupted(Exception):
    """The user asked to stop; everything up to here is saved."""


class Result(NamedTuple):
    """A finished sweep.

    Attributes:
      rows: one summary row per run (see `dreamjax.report`).
      images: [R, B, H, W, C] float32 in [0, 1].
      files: what was written, name -> path.
      compile_seconds: of all programs; 0 where nothing had to run.
      run_seconds: of the steps.
    """

    rows: list[dict[str, Any]]
    images: np.ndarray
    files: dict[str, Path]
    compile_seconds: float
    run_seconds: float


class _Clock(NamedTuple):
    compile: float
    run: float
    image_steps: int


def run(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    model: Model | None = None,
    runs: Sequence[int] | None = None,
    lanes: int | None = None,
    report: Callable[[str], None] = print,
) -> Result:
    """Runs a sweep, or goes on with it, and returns what came out.

    Args:
      config: see `dreamjax.config`.
      workdir: folder; made if missing. It may hold an unfinished sweep of the same
        config.
      model: a network of your own; None loads config["model"].
      runs: numbers of the runs to make; None makes them all.
      lanes: runs of one call; None takes as many as fit, in even blocks. What a run
        computes does not depend on it but for rounding.
      report: takes each line of what is said.

    Raises:
      ValueError: bad input, before any compile; a workdir in use or with another
        config.
      Interrupted: Ctrl-C or SIGTERM, after a checkpoint.
    """
    workdir = Path(workdir)
    experiment = build(config, model)
    chosen = _chosen(experiment, runs)
    with locked(workdir):
        claim(workdir, {**experiment.config, "runs": runs, "lanes": lanes})
        write_environment(workdir)
        size = lanes or sweep.block_size(len(chosen), experiment.limit)
        blocks = [chosen[i : i + size] for i in range(0, len(chosen), size)]
        todo = [i for i in range(len(blocks)) if not result_path(workdir, i).exists()]
        clock = _Clock(0.0, 0.0, 0)
        if todo:
            report(_plan(experiment, blocks, len(blocks) - len(todo), size))
            clock = _dream(experiment, workdir, blocks, todo, size, report)
            report(
                f"compile {clock.compile:.1f} s, run {clock.run:.1f} s"
                + (
                    f", {1e3 * clock.run / clock.image_steps:.1f} ms per image-step"
                    if clock.image_steps
                    else ""
                )
            )
        else:
            report(f"{workdir} is finished: nothing to run.")
        told = functools.partial(_told, experiment)
        rows, images = collect(workdir, blocks, told, size)
        for line in warnings(rows, experiment):
            report(line)
        files = write_artifacts(experiment, workdir, rows, images)
        for name, path in files.items():
            report(f"{name:9} {path}")
    return Result(rows, images, files, clock.compile, clock.run)


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the workdir; the lock goes with the process, however it ends.

    Raises:
      ValueError: another process holds it, or the path is not a folder.
    """
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"workdir={str(workdir)!r} is a file, not a folder.")
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"workdir={str(workdir)!r} is in use by another process: wait for it,"
                " or give another folder."
            ) from None
        yield


def claim(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes config.json, or checks that the one there is the same.

    Raises:
      ValueError: the workdir holds another config; the keys that differ are named.
    """
    path = workdir / "config.json"
    wanted = json.dumps(config, indent=2, sort_keys=True)
    if not path.exists():
        write_text(path, wanted)
        return
    found = path.read_text(encoding="utf-8")
    if json.loads(found) == json.loads(wanted):
        return
    old, new = _flat(json.loads(found)), _flat(json.loads(wanted))
    differing = [
        f"{name}: {old.get(name)!r} there, {new.get(name)!r} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    raise ValueError(
        f"workdir={str(workdir)!r} holds another config: {'; '.join(differing[:8])}."
        " Give another folder, or delete this one."
    )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _chosen(experiment: Experiment, runs: Sequence[int] | None) -> list[int]:
    count = len(experiment.runs)
    if runs is None:
        return list(range(count))
    for run_id in runs:
        if not 0 <= run_id < count:
            raise ValueError(f"runs={run_id} is out of range: 0 … {count - 1}.")
    return list(runs)


def result_path(workdir: Path, block: int) -> Path:
    """Returns the file of a finished block."""
    return workdir / "results" / f"block_{block:04d}.npz"


def _saved(workdir: Path, block: int) -> Path:
    return workdir / "checkpoints" / f"block_{block:04d}.npz"


def _plan(experiment: Experiment, blocks: list, done: int, size: int) -> str:
    config, record = experiment.config, experiment.model.record
    runs = sum(len(block) for block in blocks)
    return (
        f"{config['objective']} of {record.name}: {_count(runs, 'run')} ×"
        f" {_count(config['batch'], 'image')} × {_count(config['steps'], 'step')} in"
        f" {_count(len(blocks), 'block')} of {size}, one compiled program"
        + (f"; {_count(done, 'block')} done before" if done else "")
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def steps_per_call(config: Mapping[str, Any]) -> int:
    """Returns how many steps one call makes, so that no logged step falls inside.

    One on CPU, where `lax.scan` around convolutions costs 2.5–4 times; elsewhere up to
    16, or config["steps_per_call"].
    """
    most = config["steps_per_call"]
    if most == 0:
        most = 1 if jax.default_backend() == "cpu" else 16
    stops = [config["steps"], config["log_every"], *config["image_steps"]]
    common = math.gcd(*stops)
    return max(n for n in range(1, common + 1) if common % n == 0 and n <= max(most, 1))


def _dream(
    experiment: Experiment,
    workdir: Path,
    blocks: list[list[int]],
    todo: list[int],
    size: int,
    report: Callable[[str], None],
) -> _Clock:
    """Compiles once and runs the blocks that are left."""
    config = experiment.config
    lanes = [_lanes(block, size) for block in blocks]
    calls = steps_per_call(config)
    start = time.perf_counter()
    program = sweep.compile_block(
        experiment.step,
        experiment.evaluation,
        experiment.images,
        sweep.take(experiment.values, lanes[todo[0]]),
        experiment.model.variables,
        steps=calls,
    )
    compiled = time.perf_counter() - start
    report(f"compiled in {compiled:.1f} s")
    steps, before = config["steps"], time.perf_counter()
    done = 0
    with (
        stop_requests() as stop,
        tqdm(
            total=steps * len(todo), unit="step", file=sys.stderr, mininterval=0.5
        ) as bar,
    ):
        for i in todo:
            hp = sweep.take(experiment.values, lanes[i])
            keys = sweep.run_keys(
                hp["seed"], jnp.asarray(lanes[i]), common=config["common_noise"]
            )
            task = _Task(experiment, workdir, i, blocks[i], hp, program)
            done += _dream_block(task, keys, bar, stop)
    image_steps = done * size * config["batch"]
    return _Clock(compiled, time.perf_counter() - before, image_steps)


def _lanes(block: list[int], size: int) -> list[int]:
    """Fills a block to `size` with copies of its last run: one shape, one program."""
    return block + [block[-1]] * (size - len(block))


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM in a list; a second Ctrl-C interrupts at once.

    An exception inside a donated call would lose the state that is being saved.
    """
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        old = {n: signal.signal(n, ask) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are the caller's business
        old = {}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _Task(NamedTuple):
    """One block of runs, and what it runs with."""

    experiment: Experiment
    workdir: Path
    number: int
    runs: list[int]
    hp: dict[str, Array]  # of all lanes, the filling ones too
    program: sweep.Block


def _dream_block(task: _Task, keys: Key, bar: tqdm, stop: list[int]) -> int:
    """Runs one block to its end; returns the steps that it took."""
    config = task.experiment.config
    state, dead, first = _begin(task, keys)
    bar.update(first)
    with Logbook(
        task.workdir,
        task.number,
        task.runs,
        hparams=[_told(task.experiment, run) for run in task.runs],
        resumed_at=first,
        tensorboard=config["tensorboard"],
    ) as book:
        if first == 0 and config["tensorboard"] and 0 in config["image_steps"]:
            book.pictures(0, _shown(task, state))
        state, dead = _climb(task, state, dead, first, book, bar, stop)
        _finish(task, state, dead, book)
    return config["steps"] - first


def _begin(task: _Task, keys: Key) -> tuple[DreamState, np.ndarray, int]:
    """Returns the state to go on from, which runs are dead, and the steps done."""
    state, first = task.program.init(keys, task.hp), 0
    dead = np.zeros(len(keys), bool)
    saved = _saved(task.workdir, task.number)
    if saved.exists():
        (state, dead), meta = checkpoint.load(saved, (state, dead))
        first = meta["step"]
    rewind(task.workdir, task.number, first)
    return state, np.asarray(dead), first


def _climb(
    task: _Task,
    state: DreamState,
    dead: np.ndarray,
    step: int,
    book: Logbook,
    bar: tqdm,
    stop: list[int],
) -> tuple[DreamState, np.ndarray]:
    """Makes all steps that are left: updates, log, pictures, checkpoints."""
    experiment, program, config = task.experiment, task.program, task.experiment.config
    saved, at = _saved(task.workdir, task.number), time.monotonic()
    wanted = set(config["image_steps"]) if config["tensorboard"] else set()
    while step < config["steps"]:
        state, info = program.update(state, task.hp, experiment.model.variables)
        step += program.steps
        bar.update(program.steps)
        if step == program.steps:
            dead = _dead(info)
            for line in dead_runs(_of(task.runs, dead), experiment):
                bar.write(line, file=sys.stderr)
        if step % config["log_every"] == 0 or step == config["steps"]:
            dead = dead & _dead(info)
            last, alive = sweep.last_info(info), np.asarray(state.alive)
            book.log(step, last, alive)
            bar.set_postfix(_glance(last.score[: len(task.runs)], alive))
        if step in wanted:
            book.pictures(step, _shown(task, state))
        if stop or time.monotonic() - at >= config["checkpoint_seconds"]:
            book.flush()
            checkpoint.save(saved, (state, dead), {"step": step})
            at = time.monotonic()
        if stop:
            raise Interrupted(
                f"stopped at step {step} of {config['steps']}, block {task.number + 1};"
                f" saved in {saved}. The same command goes on from there."
            )
    return state, dead


def _finish(task: _Task, state: DreamState, dead: np.ndarray, book: Logbook) -> None:
    """Judges a block's pictures and makes its result durable."""
    final = _final(task, state, dead)
    metrics = [
        {name: float(values[lane]) for name, values in final["metrics"].items()}
        for lane in range(len(task.runs))
    ]
    book.finish(metrics, task.experiment.config["steps"])
    book.flush()
    checkpoint.save(
        result_path(task.workdir, task.number),
        {"images": final["images"], "metrics": final["metrics"]},
        {"runs": task.runs, "metrics": list(final["metrics"])},
    )
    _saved(task.workdir, task.number).unlink(missing_ok=True)


def _dead(info: DreamInfo) -> np.ndarray:
    """Returns [R]: the score had no gradient in any step and image of [n, R, B]."""
    return np.all(np.asarray(info.grad_norm) == 0, axis=(0, 2))


def _of(block: list[int], lanes: np.ndarray) -> list[int]:
    return [run for run, yes in zip(block, lanes, strict=False) if yes]


def _shown(task: _Task, state: DreamState) -> list[np.ndarray]:
    images = np.asarray(task.program.images(state, task.hp))[: len(task.runs)]
    return [to_uint8(picture) for picture in pictures_of(images)]


def _glance(score: np.ndarray, alive: np.ndarray) -> dict[str, str]:
    shown = {"score": f"{np.nanmean(np.where(np.isfinite(score), score, 0)):.3g}"}
    frozen = int(np.sum(~alive))
    return shown | ({"frozen": str(frozen)} if frozen else {})


def _told(experiment: Experiment, run: int) -> dict[str, Any]:
    """Returns the hyperparameters of a run that the program reads, as written."""
    values = experiment.runs[run]
    return {name: values[name] for name in values if name in experiment.values}


def _final(task: _Task, state: DreamState, dead: np.ndarray) -> dict[str, Any]:
    """Returns the pictures and the final metrics [R] of a finished block."""
    program, hp, runs = task.program, task.hp, len(task.runs)
    variables = task.experiment.model.variables
    plain, penalty = program.plain(state, hp, variables)
    robust = np.mean(
        [
            program.robust(state, hp, variables, jnp.asarray(draw, jnp.int32))
            for draw in range(task.experiment.config["evaluation_draws"])
        ],
        axis=0,
    )
    metrics = {
        "score": np.mean(robust, axis=1),
        "score_plain": np.mean(plain, axis=1),
        **{f"penalty/{n}": np.mean(v, axis=1) for n, v in sorted(penalty.items())},
        "steps": np.asarray(state.step, np.float32),
        "alive": np.asarray(state.alive, np.float32),
        "zero_gradient": np.asarray(dead, np.float32),
    }
    return {
        "images": np.asarray(program.images(state, hp))[:runs],
        "metrics": {name: np.asarray(v)[:runs] for name, v in metrics.items()},
    }


def collect(
    workdir: Path,
    blocks: Sequence[list[int]],
    told: Callable[[int], dict[str, Any]],
    lanes: int | None = None,
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Returns the summary rows and pictures of all finished blocks.

    Args:
      workdir: the folder.
      blocks: numbers of the runs of each.
      told: run -> its hyperparameters, as written.
      lanes: of one call; None where a block has as many as runs.
    """
    rows, images = [], []
    for number, block in enumerate(blocks):
        found, metrics = load_block(result_path(workdir, number))
        images.append(found)
        for lane, run_id in enumerate(block):
            row = {name: float(values[lane]) for name, values in metrics.items()}
            alive, zero = row.pop("alive"), row.pop("zero_gradient", 0.0)
            rows.append(
                {
                    "run": run_id,
                    "hparams": told(run_id),
                    "metrics": {**row, "steps": int(row["steps"])},
                    "status": _status(bool(alive), bool(zero)),
                    "crowd": {
                        "runs": block,
                        "lanes": len(block) if lanes is None else lanes,
                    },
                }
            )
    return rows, np.concatenate(images)


def load_block(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the images and metrics of one finished block.

    Raises:
      ValueError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = json.loads(str(file[checkpoint.META]))["metrics"]
            leaves = [file[n] for n in sorted(file.files) if n != checkpoint.META]
    except Exception as error:
        raise ValueError(
            f"result {str(path)!r} is damaged ({error}). Delete it to run its block"
            " again."
        ) from error
    return leaves[0], dict(zip(sorted(names), leaves[1:], strict=True))


def _status(alive: bool, zero: bool) -> str:
    if not alive:
        return "frozen"
    return "zero gradient" if zero else "alive"


def warnings(rows: list[dict[str, Any]], experiment: Experiment) -> list[str]:
    """Returns what a reader must know of runs that came to nothing."""
    lines = []
    frozen = [row["run"] for row in rows if row["status"] == "frozen"]
    if frozen:
        lines.append(
            f"frozen: runs {_some(frozen)} met a non-finite update and stopped at their"
            " last finite picture; a smaller learning rate or penalty may help."
        )
    dead = [row["run"] for row in rows if row["status"] == "zero gradient"]
    return lines + dead_runs(dead, experiment)


def dead_runs(dead: list[int], experiment: Experiment) -> list[str]:
    """Returns a line about runs whose score had no gradient at all, or none.

    This is the gray picture that users of every such tool ask about: a unit that is
    off on the whole image gives the pixels nothing to climb.
    """
    if not dead:
        return []
    taps = sorted({read.tap for read in experiment.objective.reads})
    remedy = [
        f"aim before the nonlinearity ({tap}/pre)"
        for tap in taps
        if not tap.endswith("/pre")
    ]
    if experiment.model.record.redirectable and not experiment.config["redirect_relu"]:
        remedy.append("set --config.redirect_relu=True")
    remedy.append("start from another seed or a larger init_std")
    return [
        f"zero gradient: in runs {_some(dead)} every gradient of the score is exactly"
        f" zero, so nothing moves: what the objective reads of {', '.join(taps)} is"
        f" off. Remedies: {'; '.join(remedy)}."
    ]


def _some(runs: list[int]) -> str:
    shown = ", ".join(str(r) for r in runs[:12])
    return shown + (f" and {len(runs) - 12} more" if len(runs) > 12 else "")
