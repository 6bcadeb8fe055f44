"""The plan of a sweep: its runs, the blocks they are made in, and what comes next.

Runs have numbers and blocks have files; both lists only grow, so that a sweep that is
extended (more runs, more steps) keeps all that is there. A sweep is made in stages:
one to its last step, or, with successive halving (Jamieson and Talwalkar 2016,
"Non-stochastic best arm identification and hyperparameter optimization"; Li et al.
2018, "Hyperband"), one to each rung, of which the best go on: the weak stop and their
lanes are filled with the next. All stages run the same program.

Everything but `read_plan` and `write_plan` is pure.
"""

import hashlib
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dreamjax.errors import require
from dreamjax.files import write_text
from dreamjax.json_file import (
    anything,
    listed,
    mapped,
    read_json,
    record,
    shown,
    text,
    truth,
    whole,
)
from dreamjax.report.values import key_of

PLAN = "plan.json"


class Block(NamedTuple):
    """Runs that are made together.

    Attributes:
      runs: their numbers.
      start, stop: completed steps before and after.
    """

    runs: tuple[int, ...]
    start: int
    stop: int


class Plan(NamedTuple):
    """What there is to make.

    Attributes:
      runs: the hyperparameters of each run, by its number.
      size: runs of one block at most.
      blocks: by the number of their files.
      complete: nothing will be added for the config that made it.
      digest: of that config.
      lanes: runs that one program computes side by side, of which bits may depend; a
        call on several devices is one program for each. 0: not recorded.
    """

    runs: tuple[dict[str, Any], ...]
    size: int
    blocks: tuple[Block, ...]
    complete: bool
    digest: str
    lanes: int = 0


class Outcome(NamedTuple):
    """How a run stood at the end of a block."""

    score: float
    alive: bool


def stages(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the steps at which runs are judged: the rungs, then the last.

    Raises:
      ValueError: rungs that do not rise, or a part to keep that is no part.
    """
    rungs, steps = tuple(config["rungs"]), config["steps"]
    found = (*rungs, steps)
    rising = all(a < b for a, b in zip((0, *rungs), found, strict=True))
    require(rising, "rungs", rungs, f"rising steps between 0 and steps={steps}")
    require(0 < config["keep"] <= 1, "keep", config["keep"], "a part: 0 < keep <= 1")
    return found


def number_runs(
    known: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> tuple[tuple[dict[str, Any], ...], list[int]]:
    """Gives each wanted run its number: that of a known run alike, or a new one.

    Args:
      known: the hyperparameters of the runs that have numbers; {} is a number whose
        run is not known any more, free for the next new one.
      wanted: those of the runs of a config, in its order.

    Returns:
      All runs by number, and the number of each wanted one.

    Raises:
      ValueError: a known run is not wanted any more.
    """
    runs = [dict(run) for run in known]
    free = [number for number, run in enumerate(runs) if not run]
    places: dict[Hashable, list[int]] = {}
    for number, run in enumerate(runs):
        if run:
            places.setdefault(key_of(run), []).append(number)
    numbers = []
    for run in wanted:
        alike = places.get(key_of(run))
        if alike:
            numbers.append(alike.pop(0))
        elif free:
            numbers.append(free.pop(0))
            runs[numbers[-1]] = dict(run)
        else:
            numbers.append(len(runs))
            runs.append(dict(run))
    gone = sorted(number for alike in places.values() for number in alike)
    if gone:
        told = {n: v for n, v in runs[gone[0]].items() if _varies(n, known, wanted)}
        raise ValueError(
            f"the folder holds {len(gone)} runs that this config does not have, such as"
            f" run {gone[0]}, {told!r}. A sweep may be extended, not cut: keep its"
            " values and add to them, or give another folder."
        )
    return tuple(runs), numbers


def _varies(name: str, *lists: Sequence[Mapping[str, Any]]) -> bool:
    return len({key_of(run.get(name)) for runs in lists for run in runs}) > 1


def survivors(
    runs: Sequence[int],
    outcomes: Mapping[int, Outcome],
    groups: Mapping[int, Hashable],
    keep: float,
) -> list[int]:
    """Returns the runs that go on after a rung: the best part of each group.

    Scores of different neurons do not compare, so each neuron keeps ceil(keep · n) of
    its n runs. A run that is frozen, or has no score, never goes on.

    Args:
      runs: numbers.
      outcomes: of each run at the rung.
      groups: run -> what it competes within.
      keep: the part.
    """
    going: list[int] = []
    by_group: dict[Hashable, list[int]] = {}
    for run in runs:
        by_group.setdefault(groups[run], []).append(run)
    for members in by_group.values():
        able = [r for r in members if outcomes[r].alive]
        able = [r for r in able if math.isfinite(outcomes[r].score)]
        able.sort(key=lambda r: (-outcomes[r].score, r))
        going += able[: math.ceil(keep * len(members))]
    return sorted(going)


def advance(
    plan: Plan,
    wanted: Sequence[int],
    stages: Sequence[int],
    keep: float,
    groups: Mapping[int, Hashable],
    outcomes: Mapping[tuple[int, int], Outcome],
) -> Plan:
    """Returns the plan with the blocks that come next, or complete.

    Args:
      plan: all of its blocks are finished.
      wanted: numbers of the runs of the config.
      stages: steps at which runs are judged.
      keep: the part of each group that goes on from a rung.
      groups: run -> what it competes within.
      outcomes: (run, steps) -> how it stood there.
    """
    done: dict[int, int] = {}
    for block in plan.blocks:
        for run in block.runs:
            done[run] = max(done.get(run, 0), block.stop)
    going = list(wanted)
    for i, stop in enumerate(stages):
        if i > 0:
            judged = {r: outcomes[r, stages[i - 1]] for r in going}
            going = survivors(going, judged, groups, keep)
        frozen = [r for r in going if not _alive(r, done, outcomes)]
        going = [r for r in going if r not in frozen]
        missing = [r for r in going if done.get(r, 0) < stop]
        if missing:
            new = blocks_of(missing, done, stop, plan.size)
            return plan._replace(blocks=plan.blocks + new, complete=False)
    return plan._replace(complete=True)


def _alive(
    run: int, done: Mapping[int, int], outcomes: Mapping[tuple[int, int], Outcome]
) -> bool:
    return run not in done or outcomes[run, done[run]].alive


def blocks_of(
    runs: Sequence[int], done: Mapping[int, int], stop: int, size: int
) -> tuple[Block, ...]:
    """Cuts runs into blocks; those of one block have made the same steps so far."""
    found = []
    for start in sorted({done.get(run, 0) for run in runs}):
        alike = [run for run in runs if done.get(run, 0) == start]
        parts = [alike[i : i + size] for i in range(0, len(alike), size)]
        found += [Block(tuple(part), start, stop) for part in parts]
    return tuple(found)


def last_blocks(plan: Plan, wanted: Sequence[int]) -> dict[int, int]:
    """Returns run -> the number of the block that took it furthest."""
    found: dict[int, int] = {}
    for number, block in enumerate(plan.blocks):
        for run in block.runs:
            if run not in found or plan.blocks[found[run]].stop < block.stop:
                found[run] = number
    return {run: found[run] for run in wanted if run in found}


def read_plan(workdir: Path) -> Plan | None:
    """Returns the plan of a folder, None where there is none.

    Raises:
      ValueError: the file is damaged.
    """
    path = workdir / PLAN
    if not path.exists():
        return None
    remedy = "Delete it: it is made again from the results."
    read = read_json(path, "plan", schema=_check_plan, remedy=remedy, nan=True)
    blocks = tuple(
        Block(tuple(block["runs"]), block["start"], block["stop"])
        for block in read["blocks"]
    )
    rest = read["complete"], read["digest"], read.get("lanes", 0)
    return Plan(tuple(read["runs"]), read["size"], blocks, *rest)


NUMBER = whole(0, 10**9)
SCHEMA = record(
    {
        "size": whole(1, 10**9),
        "complete": truth,
        "digest": text(64, pattern="[0-9a-f]*"),
        "blocks": listed(
            record({"runs": listed(NUMBER), "start": NUMBER, "stop": NUMBER})
        ),
        "runs": listed(mapped(anything)),
    },
    {"sha256": text(64), "lanes": whole(0, 10**9)},
)


def _check_plan(read: Any) -> None:
    """Raises ValueError for what is no plan, or was changed since it was written.

    A plan of an older version, which has no digest, is only checked for its shape.
    """
    SCHEMA(read)
    for number, block in enumerate(read["blocks"]):
        runs = block["runs"]
        known = all(run < len(read["runs"]) for run in runs)
        if not known or len(set(runs)) < len(runs) or len(runs) > read["size"]:
            raise ValueError(
                f"block {number} has runs {shown(runs)}, of {len(read['runs'])},"
                f" {read['size']} in a block"
            )
        if block["start"] > block["stop"]:
            raise ValueError(f"block {number} goes back, {block}")
    if "sha256" in read and read["sha256"] != _seal(read):
        raise ValueError("it was changed since it was written: its SHA-256 is another")


def _seal(read: Mapping[str, Any]) -> str:
    """Returns the digest of what a plan says."""
    said = {name: value for name, value in read.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def write_plan(workdir: Path, plan: Plan) -> None:
    """Writes the plan of a folder."""
    lines = [json.dumps(block._asdict()) for block in plan.blocks]
    runs = [json.dumps(run) for run in plan.runs]
    said = {**plan._asdict(), "blocks": [block._asdict() for block in plan.blocks]}
    write_text(
        workdir / PLAN,
        f'{{"size": {plan.size}, "lanes": {plan.lanes},\n'
        f'"complete": {json.dumps(plan.complete)},\n'
        f'"digest": {json.dumps(plan.digest)}, "sha256": "{_seal(said)}",\n'
        f'"blocks": [\n{_listed(lines)}],\n"runs": [\n{_listed(runs)}]}}\n',
    )


def _listed(lines: Sequence[str]) -> str:
    return ",\n".join(lines)
