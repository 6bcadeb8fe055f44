"""The runner: the only loop with side effects.

`run(config, workdir)` compiles one program, feeds every block of runs through it, and
writes everything there is to keep into `workdir`:

    config.json env.json        what ran, and on what
    plan.json                   which runs and blocks there are (`dreamjax.plan`)
    metrics/ metrics.jsonl tb/  the log (`dreamjax.logbook`)
    checkpoints/block_0000.npz  the blocks in flight
    states/ results/            finished blocks (`dreamjax.shards`)
    runs/run_0000.png …         one picture per run, with its recipe inside
    sheet.png summary.csv index.html

Killed at any moment and started again it goes on from the last checkpoint and ends
with the same bits as if it had never stopped. Started again with more runs or more
steps it makes what is missing.
"""

import hashlib
import math
import numbers
import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from dreamjax import plan as plans
from dreamjax import shards, sweep
from dreamjax.block import FULL, Bench, make_block
from dreamjax.build import Experiment, build
from dreamjax.devices import choose_devices, spread_text
from dreamjax.diagnosis import warnings
from dreamjax.environment import environment, write_environment
from dreamjax.errors import require
from dreamjax.footprint import free_memory, runs_that_fit, tree_bytes
from dreamjax.hosts import WAIT, Hosts, Waiting, share, this_host
from dreamjax.identity import Identity
from dreamjax.images import to_uint8
from dreamjax.interrupt import Interrupted, stop_requests
from dreamjax.kept_programs import keep_program, program_key
from dreamjax.logbook import (
    Ended,
    mend_events,
    mend_logs,
    merge_metrics,
    where_to_look,
)
from dreamjax.models.model import Model
from dreamjax.paths import given_path
from dreamjax.plan import Plan
from dreamjax.progress import Compiling
from dreamjax.report.artifacts import pictures_of, write_artifacts
from dreamjax.report.values import key_of, labels
from dreamjax.seeds import compare_seeds
from dreamjax.terminal import tell
from dreamjax.workdir import (
    announce,
    announced,
    as_json,
    check_claim,
    claim,
    is_running,
    locked,
)

FREE = (
    *("steps", "hparams", "sweep", "samples", "seed", "draws"),  # what there is to make
    *("log_every", "image_steps", "checkpoint_seconds", "rows", "tensorboard"),
    *("runs_per_call", "steps_per_call", "keep_states"),
)
"""Config keys that may change when a sweep is started again: other runs, more steps,
or nothing that a picture depends on."""

POLL = 0.5  # seconds between looks at what other processes have finished
STOPPED = "stopped; the same command goes on from here."


class Result(NamedTuple):
    """A finished sweep.

    Attributes:
      rows: one summary row per run (see `dreamjax.report`): in the order of `runs`
        where these were asked for, else of the runs' numbers in the folder, a row's
        "run". Its "place" is where the run stands in the config's own list, which is
        another order where a sweep was extended or its values were put otherwise.
      images: [R, B, H, W, C] float32 in [0, 1], likewise.
      files: what was written, name -> path.
      compile_seconds: of all programs; 0 where nothing had to run.
      run_seconds: of the steps.
    """

    rows: list[dict[str, Any]]
    images: np.ndarray
    files: dict[str, Path]
    compile_seconds: float
    run_seconds: float


class _Sweep(NamedTuple):
    """A sweep in its folder, as this process sees it.

    Attributes:
      experiment: its runs in the order of their numbers.
      workdir: the folder.
      wanted: numbers of the runs that are asked for.
      order: number -> place of the run in the config's own list.
      stages: steps at which runs are judged.
      groups: run -> what it competes within.
      hosts: this process and how many there are.
      wait: seconds, for another process that is not running.
      devices: that it computes with.
      report: takes each line of what is said.
    """

    experiment: Experiment
    workdir: Path
    wanted: list[int]
    order: list[int]
    stages: tuple[int, ...]
    groups: dict[int, Hashable]
    hosts: Hosts
    wait: float
    devices: Sequence[jax.Device]
    report: Callable[[str], None]


class _Shop:
    """Compiles when something has to run, and keeps the time.

    What memory turns out not to hold is made on fewer devices where these share it,
    which changes no bit, else with fewer runs of one program, which is recorded.

    Attributes:
      most: runs of one program, where memory held no more; None where it held all.
    """

    def __init__(self, job: _Sweep):
        self._job = job
        self._devices = list(job.devices)
        self._bench: Bench | None = None
        self.most: int | None = None
        self.compile_seconds = self.run_seconds = 0.0
        self.image_steps = 0

    def size_of_blocks(self, runs: int) -> tuple[int, int]:
        """Returns the runs of one block, as many as one call holds, and of a program.

        On an accelerator the estimate is compiled, and where the program turns out to
        need less than half of the memory a larger one is.
        """
        job = self._job
        limit, devices = job.experiment.limit, len(job.devices)
        if jax.default_backend() == "cpu":
            size = sweep.block_size(runs, limit, devices)
            return size, size // devices
        size = sweep.block_size(runs, limit * devices, devices)
        fit = self._compile(size // devices, job.stages)
        if job.experiment.config["runs_per_call"] == 0 and size < runs:
            larger = sweep.block_size(runs, max(fit, devices), devices)
            if larger >= 2 * size:
                self._bench = None
                self._compile(larger // devices, job.stages)
                size = larger
        return size, min(size // devices, self._bench.lanes)

    def prepare(self, plan: Plan) -> None:
        """Compiles what the blocks of a plan need, where that is not done."""
        if self._bench is None:
            self._compile(self._lanes(plan), self._stops(plan))

    def _lanes(self, plan: Plan) -> int:
        """Returns the runs of a program of a plan's blocks."""
        return min(plan.lanes, self.most or plan.lanes)

    def _stops(self, plan: Plan) -> list[int]:
        """Returns the steps at which blocks begin and end."""
        stops = [n for block in plan.blocks for n in (block.start, block.stop)]
        return [*stops, *self._job.stages]

    def make(self, plan: Plan, number: int, bar: tqdm, stop: Sequence[int]) -> None:
        """Makes one block, with as many runs of a program as it was begun with."""
        lanes = shards.saved_lanes(self._job.workdir, number) or self._lanes(plan)
        while True:
            if self._bench is None or self._bench.lanes != lanes:
                self._bench = None  # gives its memory back before the next is made
                self._compile(lanes, self._stops(plan))
            start = time.perf_counter()
            try:
                self.image_steps += make_block(self._bench, plan, number, bar, stop)
                return
            except jax.errors.JaxRuntimeError as error:
                lanes = self._fewer(self._bench.lanes, error)
            finally:
                self.run_seconds += time.perf_counter() - start
            self._bench = None

    def said(self) -> str:
        """Returns how long it all took."""
        line = f"compile {self.compile_seconds:.1f} s, run {self.run_seconds:.1f} s"
        each = 1e3 * self.run_seconds / self.image_steps
        return f"{line}, {each:.1f} ms per image-step"

    def _compile(self, lanes: int, stops: Sequence[int]) -> int:
        """Compiles for so many runs of each device, or as many as fit.

        Returns:
          How many runs of one call would fit.
        """
        job, start = self._job, time.perf_counter()
        experiment = job.experiment
        second = () if experiment.second is None else experiment.second.variables
        while True:
            devices = self._devices
            variables, others = sweep.everywhere(
                (experiment.model.variables, second), devices
            )
            try:
                with Compiling(job.report):
                    program = self._program(lanes, variables, others, stops)
            except jax.errors.JaxRuntimeError as error:
                lanes = self._fewer(lanes, error)
                continue
            fit = self._fit(program)
            if fit >= lanes or (lanes <= sweep.LEAST and len(devices) == 1):
                break
            if self._shared() and len(devices) > 1:
                self._devices = devices[: max(1, len(devices) // 2)]
            elif lanes > sweep.LEAST:
                fewer = max(sweep.LEAST, fit)
                said = f"runs of one call do not fit the memory, {fewer * len(devices)}"
                lanes = self._settle(fewer, f"{lanes * len(devices)} {said} do")
            else:
                break
        salts = sweep.salts([experiment.told(i) for i in range(len(experiment.runs))])
        weights, named = (variables, others), _labels(experiment)
        self._bench = Bench(
            experiment,
            job.workdir,
            program,
            *weights,
            salts,
            named,
            len(devices),
        )
        seconds = time.perf_counter() - start
        self.compile_seconds += seconds
        job.report(f"compiled in {seconds:.1f} s")
        return fit * len(devices)

    def _shared(self) -> bool:
        """Tells whether all devices have one memory."""
        return self._devices[0].platform == "cpu"

    def _program(
        self, lanes: int, variables: Any, second: Any, stops: Sequence[int]
    ) -> sweep.Program:
        """Returns the program of so many runs of each device, compiled or kept."""
        experiment, devices = self._job.experiment, self._devices
        runs = lanes * len(devices)
        steps = steps_per_call(experiment.config, stops)

        def compiled() -> sweep.Program:
            return sweep.compile_program(
                experiment.step,
                experiment.evaluation,
                experiment.images,
                sweep.take(experiment.values, [0] * runs),
                variables,
                second,
                steps=steps,
                devices=devices,
            )

        key = program_key(experiment, devices, "sweep", runs, steps)
        return keep_program(key, compiled)

    def _fit(self, program: sweep.Program) -> int:
        """Returns how many runs of a program each device holds."""
        devices = self._devices
        each = program.runs // len(devices)
        if program.footprint is None:
            return each
        free = free_memory(devices[0]) // (len(devices) if self._shared() else 1)
        # The weights are in memory already, in the peak but not in what is free.
        free, peak = free + program.fixed, program.footprint.peak
        return runs_that_fit(peak, each, free, program.fixed)

    def _fewer(self, lanes: int, error: Exception) -> int:
        """Returns the runs of a program to try after an out-of-memory error."""
        if not out_of_memory(error):
            raise error
        if self._shared() and len(self._devices) > 1:
            self._devices = self._devices[: len(self._devices) // 2]
            said = f"out of memory: on {len(self._devices)} devices now"
            self._job.report(said)
            return lanes
        if lanes <= sweep.LEAST:
            raise ValueError(
                "one run does not fit the memory (a program has a second, so that bits"
                " do not depend on company): set --config.remat=True,"
                " --config.precision=bfloat16, or a smaller --config.size."
            ) from error
        fewer, count = max(sweep.LEAST, lanes // 2), len(self._devices)
        said = f"out of memory with {lanes * count} runs of one call"
        return self._settle(fewer, f"{said}: {fewer * count} now")

    def _settle(self, lanes: int, said: str) -> int:
        """Notes that a program has no more runs from now on; returns how many."""
        self.most = lanes
        self._job.report(said)
        return lanes


def run(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    model: Model | None = None,
    runs: Sequence[int] | None = None,
    lanes: int | None = None,
    devices: int | None = None,
    wait: float = WAIT,
    report: Callable[[str], None] = tell,
) -> Result:
    """Runs a sweep, goes on with it, or extends it, and returns what came out.

    Args:
      config: see `dreamjax.config`.
      workdir: folder; made if missing. It may hold an unfinished sweep of the same
        config, or a sweep with fewer runs or steps.
      model: a network of your own; None loads config["model"].
      runs: places in the config's list of the runs to make, in the order in which
        they are returned; None makes them all.
      lanes: runs that one program computes side by side, at least 2; None takes what
        the folder was made with, else as many as fit, in even blocks. What a run
        computes does not depend on it but for rounding.
      devices: of this process, to spread the runs over; None takes as many as are
        fast. The bits do not depend on it once the folder has its lanes.
      wait: seconds that a process of a job waits for another that is not running.
      report: takes each line of what is said.

    Raises:
      ValueError: bad input, before any compile; a workdir in use or with another
        config; another process of the job that is not running.
      Interrupted: Ctrl-C, SIGTERM or a full disk; nothing finished is lost.
    """
    workdir, hosts = given_path("workdir", workdir), this_host()
    experiment = build(config, model)
    chosen = _chosen(experiment, runs)
    with locked(workdir, *hosts):
        try:
            result = _run(
                experiment, workdir, chosen, lanes, devices, hosts, wait, report
            )
            return result if runs is None else _as_asked(result, chosen)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise Interrupted(
                f"the disk is full ({error}). All finished blocks are kept: free some"
                " space, and the same command goes on from there."
            ) from error


def _run(
    experiment: Experiment,
    workdir: Path,
    chosen: list[int],
    lanes: int | None,
    devices: int | None,
    hosts: Hosts,
    wait: float,
    report: Callable[[str], None],
) -> Result:
    stages = plans.stages(experiment.config)
    config = {**experiment.config, "program": experiment.program}
    identity = experiment.identity._replace(config=config)
    digest = hashlib.sha256(as_json(identity.as_json()).encode()).hexdigest()
    check_claim(workdir, identity, FREE)
    if hosts.leads:
        old = _old_plan(workdir, identity, report)
    else:
        old = _awaited_plan(workdir, identity, digest, wait, report)
    told = [experiment.told(i) for i in range(len(experiment.runs))]
    all_runs, numbers = plans.number_runs(() if old is None else old.runs, told)
    if old is not None:
        most = max((block.stop for block in old.blocks), default=0)
        require(most <= stages[-1], "steps", stages[-1], f"the folder has {most} steps")
    if hosts.leads:
        claim(workdir, identity, FREE, report)
        if hosts.processes > 1:
            announce(workdir, hosts.process, digest)
        if old is None:
            write_environment(workdir, [environment()])
    order = [0] * len(numbers)
    for place, number in enumerate(numbers):
        order[number] = place
    at_once = min(len(chosen), experiment.limit)
    at_once = at_once if old is None else old.size or at_once
    lanes = _lanes(lanes, old)
    found = _devices(experiment, devices, at_once)
    if lanes:  # more devices would compute copies only
        runs_ = len(chosen) if old is None else old.size or len(chosen)
        found = found[: max(1, math.ceil(runs_ / lanes))]
    job = _Sweep(
        experiment=renumbered(experiment, order),
        workdir=workdir,
        wanted=sorted(numbers[place] for place in chosen),
        order=order,
        stages=stages,
        groups=_groups(experiment, told, numbers),
        hosts=hosts,
        wait=wait,
        devices=found,
        report=report,
    )
    shop = _Shop(job)
    if hosts.leads:
        fresh = _opened(job, shop, old, all_runs, lanes)._replace(digest=digest)
        plan = _lead(job, shop, fresh)
    else:
        plan = _follow(job, shop)
    rows, images = _collected(job, plan)
    for line in warnings(rows, job.experiment):
        report(line)
    files: dict[str, Path] = {}
    if hosts.leads:
        if experiment.config["tensorboard"]:
            for line in mend_events(workdir, _ended(job, plan), _shown):
                report(line)
        for line in compare_seeds(job.experiment, workdir, rows, images):
            report(line)
        merge_metrics(workdir)
        write_environment(workdir, shards.environments(workdir))
        files = write_artifacts(job.experiment, workdir, rows, images)
        for name, path in files.items():
            report(f"{name:9} {path}")
        if experiment.config["tensorboard"]:
            for line in where_to_look(len(rows)):
                report(line)
    times = shop.compile_seconds, shop.run_seconds
    return Result(rows, images, files, *times)


def _as_asked(result: Result, runs: Sequence[int]) -> Result:
    """Returns a result in the order of these places in the config's list."""
    found = {row["place"]: i for i, row in enumerate(result.rows)}
    order = [found[place] for place in runs]
    rows = [result.rows[i] for i in order]
    return result._replace(rows=rows, images=result.images[order])


def _ended(job: _Sweep, plan: Plan) -> list[Ended]:
    """Returns how the runs ended, for TensorBoard."""
    named = _labels(job.experiment)
    return [
        Ended(
            run=run,
            block=number,
            step=plan.blocks[number].stop,
            label=named[run],
            hparams=job.experiment.told(run),
            image_steps=job.experiment.config["image_steps"],
        )
        for run, number in plans.last_blocks(plan, job.wanted).items()
    ]


def _labels(experiment: Experiment) -> dict[int, str]:
    """Returns run -> what tells it from the others, its neuron or class first."""
    told = [experiment.told(i) for i in range(len(experiment.runs))]
    return dict(enumerate(labels(told, sorted(experiment.objective.hparams))))


def _shown(images: np.ndarray) -> np.ndarray:
    """Returns TensorBoard's picture of the images of a run."""
    return to_uint8(pictures_of(images[None])[0])


def renumbered(experiment: Experiment, order: Sequence[int]) -> Experiment:
    """Returns the experiment with its runs in another order."""
    index = np.asarray(order)
    return experiment._replace(
        runs=[experiment.runs[i] for i in order],
        values={name: rows[index] for name, rows in experiment.values.items()},
    )


def _chosen(experiment: Experiment, runs: Sequence[int] | None) -> list[int]:
    count = len(experiment.runs)
    if runs is None:
        return list(range(count))
    allowed = f"at least one whole number, each in 0 … {count - 1}"
    require(np.iterable(runs) and not isinstance(runs, str), "runs", runs, allowed)
    runs = list(runs)
    require(bool(runs), "runs", runs, allowed)
    for run_id in runs:
        whole = isinstance(run_id, numbers.Integral) and not isinstance(run_id, bool)
        require(whole, "runs", run_id, allowed)
        if not 0 <= run_id < count:
            raise ValueError(f"runs={run_id} is out of range: 0 … {count - 1}.")
    return [int(run_id) for run_id in runs]


def _devices(
    experiment: Experiment, count: int | None, at_once: int
) -> Sequence[jax.Device]:
    second = () if experiment.second is None else experiment.second.variables
    weights = tree_bytes((experiment.model.variables, second))
    return choose_devices(count, at_once, weights, free_memory())


def _lanes(asked: int | None, old: Plan | None) -> int:
    """Returns the runs of one program that are known before anything is compiled.

    Raises:
      ValueError: the folder was made with another number.
    """
    if asked is not None:
        require(asked >= 1, "lanes", asked, "at least 1")
        asked = max(sweep.LEAST, asked)
    known = 0 if old is None else old.lanes
    if asked and known and asked != known:
        raise ValueError(
            f"lanes={asked} is not possible: the programs of this folder have {known}"
            " runs, and with another number bits may differ. Give another folder."
        )
    return asked or known


def _groups(
    experiment: Experiment, told: Sequence[Mapping[str, Any]], numbers: Sequence[int]
) -> dict[int, Hashable]:
    """Returns run -> the values of what its objective reads: its neuron, its class."""
    read = sorted(experiment.objective.hparams)
    return {
        number: tuple(key_of(run.get(name)) for name in read)
        for number, run in zip(numbers, told, strict=True)
    }


def _old_plan(
    workdir: Path, identity: Identity, report: Callable[[str], None]
) -> Plan | None:
    """Returns the plan of a folder that holds one; a lost one from the results."""
    old = plans.read_plan(workdir)
    if old is None:
        old = shards.rebuilt_plan(workdir)
        if old is not None:
            report(f"{plans.PLAN} is missing: made again from {len(old.blocks)} blocks")
    if old is not None:
        blocks = [
            {**block._asdict(), "hparams": [old.runs[run] for run in block.runs]}
            for block in old.blocks
        ]
        lines = shards.set_damaged_aside(workdir, blocks, identity)
        for line in lines + mend_logs(workdir, range(len(blocks))):
            report(line)
    return old


def _opened(
    job: _Sweep,
    shop: _Shop,
    old: Plan | None,
    runs: tuple[dict[str, Any], ...],
    lanes: int | None,
) -> Plan:
    """Returns the plan to work on, as written; compiles where it is a new one."""
    size, devices = 0 if old is None else old.size, len(job.devices)
    blocks = () if old is None else old.blocks
    if lanes and not size:
        size = lanes * devices
    elif not size:
        size, lanes = shop.size_of_blocks(len(job.wanted))
    elif not lanes:
        lanes = max(sweep.LEAST, math.ceil(size / devices))
        if len(blocks) > len(shards.finished(job.workdir, len(blocks))):
            job.report(
                f"{plans.PLAN} does not tell how many runs a program had: {lanes} from"
                " now on. In blocks that were begun before bits may differ."
            )
    return Plan(runs, size, blocks, complete=False, digest="", lanes=lanes)


def _awaited_plan(
    workdir: Path,
    identity: Identity,
    digest: str,
    wait: float,
    report: Callable[[str], None],
) -> Plan:
    """Returns the plan that the first process makes of this config.

    Raises:
      ValueError: the first process works on another config, or is not running.
    """
    waiting = Waiting(workdir, wait, report)
    with stop_requests() as stop:
        while True:
            plan = plans.read_plan(workdir)
            if plan is not None and plan.digest == digest:
                return plan
            if is_running(workdir, 0) and announced(workdir, 0) not in ("", digest):
                check_claim(workdir, identity)  # names what differs
                raise ValueError("process 0 of this job works on another config.")
            if stop:
                raise Interrupted(STOPPED)
            waiting.look([0], "the plan")
            time.sleep(POLL)


def _lead(job: _Sweep, shop: _Shop, plan: Plan) -> Plan:
    """Makes this process's share and plans what comes next, until all is done."""
    first = True
    with stop_requests() as stop:
        while True:
            plan = _advanced(job, plan)
            plan = plan._replace(lanes=min(plan.lanes, shop.most or plan.lanes))
            plans.write_plan(job.workdir, plan)
            if first:
                todo = _todo(job.workdir, plan)
                done = f"{job.workdir} is finished: nothing to run."
                job.report(_said(job, plan) if todo else done)
                first = False
            if plan.complete:
                break
            _make_share(job, shop, plan, stop)
            _await_others(job, plan, stop)
    if shop.image_steps:
        job.report(shop.said())
    return plan


def _follow(job: _Sweep, shop: _Shop) -> Plan:
    """Makes this process's share of what the first one plans."""
    plan, waiting = None, None
    with stop_requests() as stop:
        while True:
            before, plan = plan, plans.read_plan(job.workdir)
            if plan is not None and plan.complete:
                break
            if plan is not None:
                _make_share(job, shop, plan, stop)
            if stop:
                raise Interrupted(STOPPED)
            if waiting is None or plan != before:
                waiting = Waiting(job.workdir, job.wait, job.report)
            waiting.look([0], "what comes next")
            time.sleep(POLL)
    if shop.image_steps:
        job.report(shop.said())
    return plan


def _todo(workdir: Path, plan: Plan) -> list[int]:
    """Returns the numbers of the blocks that are not finished."""
    return [
        number
        for number, block in enumerate(plan.blocks)
        if block.runs and not shards.result_path(workdir, number).exists()
    ]


def _advanced(job: _Sweep, plan: Plan) -> Plan:
    """Returns the plan with what comes next, once all of its blocks are finished."""
    if _todo(job.workdir, plan):
        return plan
    outcomes = shards.outcomes(job.workdir, plan)
    keep = job.experiment.config["keep"]
    return plans.advance(plan, job.wanted, job.stages, keep, job.groups, outcomes)


def _make_share(job: _Sweep, shop: _Shop, plan: Plan, stop: Sequence[int]) -> None:
    mine = share(_todo(job.workdir, plan), job.hosts)
    if not mine:
        return
    total = sum(plan.blocks[i].stop - plan.blocks[i].start for i in mine)
    shop.prepare(plan)  # before the bar, whose estimate is of steps alone
    with tqdm(total=total, unit="step", file=sys.stderr, mininterval=0.5) as bar:
        for number in mine:
            shop.make(plan, number, bar, stop)


def _await_others(job: _Sweep, plan: Plan, stop: Sequence[int]) -> None:
    """Waits until the other processes have finished their blocks."""
    waiting = Waiting(job.workdir, job.wait, job.report)
    while todo := _todo(job.workdir, plan):
        if stop:
            raise Interrupted(STOPPED)
        owners = sorted({number % job.hosts.processes for number in todo})
        waiting.look(owners, f"blocks {', '.join(map(str, todo[:8]))}")
        time.sleep(POLL)


def _said(job: _Sweep, plan: Plan) -> str:
    config, record = job.experiment.config, job.experiment.model.record
    todo = _todo(job.workdir, plan)
    done = len(plan.blocks) - len(todo)
    rungs = "".join(f" {stop} →" for stop in job.stages[:-1])
    return (
        f"{config['objective']} of {record.name}: {_count(len(job.wanted), 'run')} ×"
        f" {_count(config['batch'], 'image')} ×{rungs}"
        f" {_count(config['steps'], 'step')} in {_count(len(plan.blocks), 'block')} of"
        f" {plan.size}, one compiled program"
        + (f" {spread_text(job.devices)}" if len(job.devices) > 1 else "")
        + (f"; process {job.hosts.process}" if job.hosts.processes > 1 else "")
        + (f"; {_count(done, 'block')} done before" if done else "")
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def steps_per_call(config: Mapping[str, Any], stops: Sequence[int] = ()) -> int:
    """Returns how many steps one call makes, so that no logged step falls inside.

    One on CPU, where `lax.scan` around convolutions costs 2.5–4 times; elsewhere up to
    16, or config["steps_per_call"].

    Args:
      config: of the sweep.
      stops: steps at which blocks begin and end.
    """
    most = config["steps_per_call"]
    if most == 0:
        most = 1 if jax.default_backend() == "cpu" else 16
    logged = [config["steps"], config["log_every"], *config["image_steps"]]
    common = math.gcd(*logged, *stops)
    return max(n for n in range(1, common + 1) if common % n == 0 and n <= max(most, 1))


def out_of_memory(error: Exception) -> bool:
    """Tells whether a device had no memory left."""
    said = str(error).lower()
    return "resource_exhausted" in said or "out of memory" in said


def _collected(job: _Sweep, plan: Plan) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Returns the summary rows and pictures of the runs that are asked for."""
    blocks: dict[int, list[int]] = {}
    for run, number in plans.last_blocks(plan, job.wanted).items():
        blocks.setdefault(number, []).append(run)
    rows, images = shards.collect(
        job.workdir, blocks, job.experiment.told, lanes=plan.size
    )
    for row in rows:
        row["place"] = job.order[row["run"]]
        row["crowd"]["runs"] = [job.order[run] for run in row["crowd"]["runs"]]
        if row["status"] == "alive" and row["stop"] < job.stages[-1]:
            row["status"] = "stopped"
    return rows, images
