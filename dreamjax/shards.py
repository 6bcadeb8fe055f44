"""Finished blocks: what a sweep is rebuilt from.

A block leaves `results/block_0000.npz`, its pictures and final metrics, and before it
`states/block_0000.npz`, what its runs need to go on. Both are whole or absent. The
result is written last: a block that has one is finished.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dreamjax import checkpoint
from dreamjax.identity import Identity
from dreamjax.plan import Block, Outcome, Plan
from dreamjax.types import DreamState


class Result(NamedTuple):
    """A finished block.

    Attributes:
      images: [R, B, H, W, C].
      metrics: name -> [R].
      meta: "runs", and of a sweep "hparams", "start", "stop"; "provenance", how it was
        computed (`dreamjax.environment.provenance`); "events", of each run its
        TensorBoard files and their SHA-256.
      log: the lines that the block logged; None where that was not recorded.
      sha256: of all this; "" where that was not recorded.
    """

    images: np.ndarray
    metrics: dict[str, np.ndarray]
    meta: dict[str, Any]
    log: str | None = None
    sha256: str = ""


def result_path(workdir: Path, block: int) -> Path:
    """Returns the file of a finished block."""
    return workdir / "results" / f"block_{block:04d}.npz"


def state_path(workdir: Path, block: int) -> Path:
    """Returns the file of the states that a finished block ended with."""
    return workdir / "states" / f"block_{block:04d}.npz"


def saved_path(workdir: Path, block: int) -> Path:
    """Returns the file of the checkpoint of a block in flight."""
    return workdir / "checkpoints" / f"block_{block:04d}.npz"


def write_result(
    path: Path,
    images: np.ndarray,
    metrics: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    log: str | None = None,
) -> None:
    """Writes a finished block; see `Result`."""
    checkpoint.save(
        path,
        {"images": images, "metrics": dict(metrics)},
        {**meta, "metrics": list(metrics)},
        log,
    )


def read_result(path: Path) -> Result:
    """Returns one finished block.

    Raises:
      ValueError: the file is damaged.
    """
    try:
        kept = checkpoint.read(path)
        meta = {name: v for name, v in kept.meta.items() if name != "log"}
        names = sorted(meta.pop("metrics"))
        metrics = dict(zip(names, kept.leaves[1:], strict=True))
        return Result(kept.leaves[0], metrics, meta, kept.log, kept.sha256)
    except Exception as error:
        raise ValueError(
            f"result {str(path)!r} is damaged ({error}). Delete it to run its block"
            " again."
        ) from error


def set_damaged_aside(
    workdir: Path,
    blocks: Sequence[Mapping[str, Any]],
    identity: Identity | None = None,
) -> list[str]:
    """Renames results that are not what was written, so that they are made again.

    Args:
      workdir: the folder.
      blocks: what the meta of each block's result must say: "runs", and of a sweep
        "hparams", "start", "stop".
      identity: of the folder; a result that another network or other code made does
        not belong here. None does not ask.

    Returns:
      A line for each.
    """
    lines = []
    for number, expected in enumerate(blocks):
        path = result_path(workdir, number)
        if path.exists() and (why := _wrong(path, expected, identity)):
            aside = checkpoint.set_aside(path)
            lines.append(f"{path.name} {why}: kept as {aside}, made again.")
    return lines


def _wrong(path: Path, expected: Mapping[str, Any], identity: Identity | None) -> str:
    """Returns what is wrong with a result, or ""."""
    try:
        meta = read_result(path).meta
    except ValueError:
        return "is damaged"
    made = meta.get("provenance", {}).get("identity", {})
    if identity is not None:
        here = identity.digests()
        for part, what in (("networks", "weights"), ("code", "code")):
            if part in made and made[part] != here[part]:
                return f"is of other {what} than this folder"
    return other_block(meta, expected)


def other_block(meta: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Returns in what a file's meta tells of another block, or ""."""
    for name, value in expected.items():
        value = json.loads(json.dumps(value))  # as it comes back: tuples are lists
        if name in meta and meta[name] != value:
            if name == "hparams":
                return "is of runs with other hyperparameters"
            return f"is of {name} {meta[name]}, not {value}"
    return ""


def saved_lanes(workdir: Path, block: int) -> int:
    """Returns the runs of a program that a block in flight is made with, or 0."""
    with contextlib.suppress(checkpoint.Damaged):
        told = checkpoint.read_meta(saved_path(workdir, block)).get("lanes")
        return told[-1][1] if told else 0
    return 0


def finished(workdir: Path, blocks: int) -> list[int]:
    """Returns the numbers of the blocks that have results."""
    return [i for i in range(blocks) if result_path(workdir, i).exists()]


def environments(workdir: Path) -> list[dict[str, Any]]:
    """Returns what the results of a folder were made on, by the number of the block."""
    found = []
    for path in sorted((workdir / "results").glob("block_*.npz")):
        told = checkpoint.read_meta(path).get("provenance")
        if told is not None:
            found += [*told.get("earlier", ()), told["environment"]]
    return found


def outcomes(workdir: Path, plan: Plan) -> dict[tuple[int, int], Outcome]:
    """Returns (run, steps) -> how it stood there, of all finished blocks."""
    found = {}
    for number, block in enumerate(plan.blocks):
        path = result_path(workdir, number)
        if not path.exists():
            continue
        metrics = _metrics(path)
        for lane, run in enumerate(block.runs):
            score, alive = metrics["score"][lane], bool(metrics["alive"][lane])
            found[run, block.stop] = Outcome(float(score), alive)
    return found


def _metrics(path: Path) -> dict[str, np.ndarray]:
    """Returns the metrics alone, without reading the pictures."""
    names = sorted(checkpoint.read_meta(path)["metrics"])
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        leaves = sorted(n for n in file.files if n.startswith("leaf"))[1:]
        return {n: file[leaf] for n, leaf in zip(names, leaves, strict=True)}


def rebuilt_plan(workdir: Path) -> Plan | None:
    """Returns a plan from the results alone, None where there are none.

    Its size is 0, to be chosen again.

    Raises:
      ValueError: a result is damaged.
    """
    paths = sorted((workdir / "results").glob("block_*.npz"))
    numbered = {int(path.stem.removeprefix("block_")): path for path in paths}
    if not numbered:
        return None
    runs: dict[int, dict[str, Any]] = {}
    lanes = 0
    blocks = [Block((), 0, 0)] * (max(numbered) + 1)
    for number, path in numbered.items():
        meta = read_result(path).meta
        runs |= dict(zip(meta["runs"], meta["hparams"], strict=True))
        blocks[number] = Block(tuple(meta["runs"]), meta["start"], meta["stop"])
        lanes = _lanes(meta) or lanes
    known = [runs.get(n, {}) for n in range(max(runs) + 1)]
    rest = {"complete": False, "digest": "", "lanes": lanes}
    return Plan(tuple(known), 0, tuple(blocks), **rest)


def _lanes(meta: Mapping[str, Any]) -> int:
    """Returns the runs of a program that a block ended with; 0: not recorded."""
    told = meta.get("provenance", {}).get("lanes")
    return told[-1][1] if told else 0


def collect(
    workdir: Path,
    blocks: Mapping[int, Sequence[int]],
    told: Callable[[int], dict[str, Any]],
    lanes: int | None = None,
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Returns the summary rows and pictures of finished blocks, by run.

    Args:
      workdir: the folder.
      blocks: number of each block -> those of its runs that are asked for.
      told: run -> its hyperparameters, as written.
      lanes: runs of a program, where a result does not tell; None where a block has
        as many as runs.
    """
    rows, images = [], []
    for number, wanted in blocks.items():
        result = read_result(result_path(workdir, number))
        members = result.meta["runs"]
        for run in wanted:
            lane = members.index(run)
            images.append(result.images[lane])
            row = {name: float(v[lane]) for name, v in result.metrics.items()}
            alive, zero = row.pop("alive"), row.pop("zero_gradient", 0.0)
            rows.append(
                {
                    "run": run,
                    "hparams": told(run),
                    "metrics": {**row, "steps": int(row["steps"])},
                    "status": _status(bool(alive), bool(zero)),
                    "stop": result.meta.get("stop"),
                    "crowd": {
                        "runs": members,
                        "lanes": _lanes(result.meta) or lanes or len(members),
                    },
                    "provenance": result.meta.get("provenance"),
                }
            )
    order = sorted(range(len(rows)), key=lambda i: rows[i]["run"])
    return [rows[i] for i in order], np.stack([images[i] for i in order])


def _status(alive: bool, zero: bool) -> str:
    if not alive:
        return "frozen"
    return "zero gradient" if zero else "alive"


def host_state(state: DreamState) -> DreamState:
    """Returns a state as NumPy arrays, its keys as their data."""
    plain = state._replace(key=jax.random.key_data(state.key))
    return jax.tree.map(np.asarray, plain)


def device_state(state: DreamState) -> DreamState:
    """Returns what `host_state` was given."""
    return state._replace(key=jax.random.wrap_key_data(state.key))


def join_states(
    workdir: Path, plan: Plan, block: Block, like: Callable[[int], Any]
) -> Any | None:
    """Returns the states that the runs of a block start from, None without them.

    Args:
      workdir: the folder.
      plan: the sweep.
      block: its runs have all been taken to `block.start` by earlier blocks.
      like: runs -> a tree of NumPy arrays [runs, ...] with the shapes expected.
    """
    places: dict[int, tuple[int, int]] = {}
    for number, earlier in enumerate(plan.blocks):
        if earlier.stop == block.start:
            places |= {run: (number, i) for i, run in enumerate(earlier.runs)}
    files: dict[int, Any] = {}
    picked = []
    for run in block.runs:
        number, lane = places[run]
        if number not in files:
            made = plan.blocks[number]._asdict()
            with contextlib.suppress(ValueError):
                expected = like(len(made["runs"]))
                tree, meta = checkpoint.load(state_path(workdir, number), expected)
                if not other_block(meta, made):
                    files[number] = tree
        if number not in files:
            return None
        picked.append(jax.tree.map(lambda x, i=lane: x[i], files[number]))
    return jax.tree.map(lambda *rows: np.stack(rows), *picked)
