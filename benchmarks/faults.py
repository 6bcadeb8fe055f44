"""Breaks what dreamjax makes in every way that we can think of; counts what was lost.

    python -m benchmarks.faults [--parts points,signals,jobs,damage,random] [--kills 12]

Each command is made once in peace, at toy size. Then copies of it die at chosen points
and at random moments, get signals once and twice, get each of their files cut, flipped,
emptied, deleted and swapped with a sibling, run out of disk, and are written by two
processes at once. Each is started again, and must end with the same pictures, numbers,
log and TensorBoard events as in peace, or refuse with a line that names the file.

What else may come of it is counted: *lost* is another outcome that a line told of,
*silent* another outcome without a word. The exit status is 1 where there is either.
The source tree must stay as it is meanwhile, since its commit is compared as well.
Needs Linux; the full disk is a small tmpfs where mounting is allowed and skipped where
it is not.
"""

import argparse
import contextlib
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import fault_commands as commands
from dreamjax import block as blocks
from dreamjax import checkpoint
from dreamjax.interrupt import Interrupted
from dreamjax.plan import read_plan
from dreamjax.shards import read_result, result_path

REPO = Path(__file__).resolve().parent.parent
FLAGS = "--xla_backend_optimization_level=0"
"""XLA's flags, of this process and all others: other flags round differently."""
PARTS = ("points", "signals", "jobs", "damage", "random")
SWEEP = """
import sys
from dreamjax.cache import use_compile_cache
from dreamjax.interrupt import Interrupted
from dreamjax.runner import run
from benchmarks.faults import sweep_config
use_compile_cache()
try:
    run(sweep_config(), sys.argv[1])
except (Interrupted, ValueError) as error:
    print(error)
    sys.exit(1)
"""
POINTS = (
    "dreamjax.logbook:EventFile.flush",
    "dreamjax.logbook:Logbook.log",
    "dreamjax.logbook:Logbook.pictures",
    "dreamjax.logbook:Logbook.finish",
    "dreamjax.shards:write_result",
    "dreamjax.seeds:add_finals",
    "dreamjax.seeds:write_text",
    "dreamjax.runner:compare_seeds",
    "dreamjax.runner:merge_metrics",
    "dreamjax.report.artifacts:write_picture",
    "dreamjax.report.artifacts:write_sheet_run",
    "dreamjax.report.artifacts:write_page",
)
"""Functions of a sweep after whose return it dies; files that take their place, by
number, are further points of all commands."""


class Fault(NamedTuple):
    """What was tried and what came of it.

    Attributes:
      name: of the fault.
      tried: how often.
      lost: what is not the same in the end, though a line told of it.
      silent: what is not the same in the end, without a word.
      note: what else there is to say.
    """

    name: str
    tried: int
    lost: int
    silent: int
    note: str


# What comes of a fault.


def verdict(
    expected: Mapping[str, Any],
    folder: Path,
    again: Callable[[], None],
    harmed: str = "",
) -> str:
    """Starts a command again on a harmed folder; returns what came of it.

    Args:
      expected: the outcome in peace.
      folder: that was harmed.
      again: the command.
      harmed: names of the files that were; a refusal must give one of them.

    Returns:
      "same"; "refused", by name; "fewer", of the pictures of the course in TensorBoard,
      and told; "lost", another outcome that was told; or "silent".
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            again()
    except ValueError as error:
        named = harmed and any(name in str(error) for name in harmed.split())
        return "refused" if named else f"lost: {error}"
    found = commands.outcome(folder)
    names = commands.difference(dict(expected), found)
    if not names:
        return "same"
    if "pictures are lost" in said.getvalue() and commands.only_pictures_of_the_course(
        dict(expected), found, names
    ):
        return "fewer"
    told = any(word in said.getvalue() for word in ("damaged", "made again", "missing"))
    return f"{'lost' if told else 'silent'}: {', '.join(names)}"


def counted(name: str, verdicts: Mapping[str, str]) -> Fault:
    """Returns a line of the table; prints each case that went wrong."""
    kinds = Counter(found.split(":")[0] for found in verdicts.values())
    for case, found in verdicts.items():
        if found.startswith(("lost", "silent")):
            print(f"{name}, {case}: {found}", file=sys.stderr)
    shown = ("same", "refused", "fewer")
    note = ", ".join(f"{kinds[kind]} {kind}" for kind in shown if kinds[kind])
    return Fault(name, len(verdicts), kinds["lost"], kinds["silent"], note)


# Death at chosen points, and signals.


def child(name: str, inputs: Path, out: Path, point: str = "") -> subprocess.Popen:
    """Starts a command in a process of its own, to die at a point."""
    module = [sys.executable, "-m", "benchmarks.fault_commands"]
    return subprocess.Popen(
        [*module, name, str(inputs), str(out), point],
        cwd=REPO,
        env={**os.environ, "XLA_FLAGS": FLAGS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Peace(NamedTuple):
    """A command made in peace.

    Attributes:
      folder: what it made.
      outcome: of it.
      files: how many took their place.
    """

    folder: Path
    outcome: dict[str, Any]
    files: int


def in_peace(name: str, inputs: Path, folder: Path) -> Peace:
    """Makes a command, and counts the files that take their place."""
    replace, count = os.replace, [0]

    def counting(*args: Any, **kwargs: Any) -> None:
        count[0] += 1
        replace(*args, **kwargs)

    os.replace = counting
    try:
        quiet(name, inputs, folder)
    finally:
        os.replace = replace
    return Peace(folder, commands.outcome(folder), count[0])


def quiet(name: str, inputs: Path, out: Path) -> None:
    """Makes a command, or goes on with it, without a word."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        commands.COMMANDS[name](inputs, out)


def points_of(name: str, files: int) -> list[str]:
    """Returns where a command dies: in its compile, in and between its files."""
    every = 12 if name == "sweep" else 5
    numbers = np.unique(np.linspace(1, files, every).round().astype(int))
    found = [
        f"{('after', 'before')[i % 2]} {number}" for i, number in enumerate(numbers)
    ]
    if name != "compare":
        found.insert(0, "compile")
    if name in ("sweep", "extension"):
        found += POINTS
        found.append("clock back")
    return found


def died(name: str, inputs: Path, folder: Path, start: Path | None) -> Fault:
    """Lets a command die at each of its points, each time started again."""
    peace = in_peace(name, inputs, _copy(start, folder / f"{name}_peace"))
    verdicts = {}
    for number, point in enumerate(points_of(name, peace.files)):
        out = _copy(start, folder / f"{name}_{number}")
        process = child(name, inputs, out, point)
        said = process.communicate(timeout=600)[0]
        wanted = 0 if point == "clock back" else 137
        if process.returncode != wanted:
            raise RuntimeError(f"{name}, {point}: {process.returncode}, {said[-2000:]}")
        verdicts[point] = verdict(
            peace.outcome, out, lambda out=out: commands.COMMANDS[name](inputs, out)
        )
        shutil.rmtree(out)
    return counted(f"{name}: dies at a point, started again", verdicts)


def _copy(start: Path | None, out: Path) -> Path:
    if start is not None:
        shutil.copytree(start, out)
    return out


def signaled(inputs: Path, folder: Path) -> Fault:
    """Sends each signal to a sweep, once and twice, while it makes steps."""
    straight = folder / "signal_peace"
    finish(straight)
    verdicts, statuses = {}, Counter()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        for times in (1, 2):
            out = folder / f"{name}_{times}"
            process = start(out)
            while not list(out.glob("checkpoints/*.npz")) and process.poll() is None:
                time.sleep(0.02)
            for _ in range(times):
                process.send_signal(getattr(signal, name))
                time.sleep(0.05)
            process.communicate(timeout=600)
            statuses[f"{name} {process.returncode}"] += 1
            finish(out)
            apart = lost(straight, out)
            verdicts[f"{name} × {times}"] = f"lost: {apart}" if apart else "same"
    return counted("SIGINT, SIGTERM, SIGHUP, once and twice", verdicts)


# One of two processes of a job on one folder.

PLACES = {"leader": (0,), "follower": (1,), "both": (0, 1)}
MOMENTS = {
    "in its first block": "checkpoints/block_{:04d}.npz",
    "after its first block": "results/block_{:04d}.npz",
    "before the runs are halved": "results/block_{:04d}.npz",
}
"""A moment of a process, and the file that tells of it, by number of the block."""


def job_config() -> Any:
    """Returns the config of a job: the sweep, shorter, a checkpoint whenever it can."""
    config = sweep_config()
    config.steps, config.rungs, config.log_every = 400, (200,), 10
    config.checkpoint_seconds = 0.0
    return config


def member(inputs: Path, workdir: Path, process: int) -> subprocess.Popen:
    """Starts one of the two processes of a job."""
    config, place = inputs / "job.py", f"--processes=2 --process={process}"
    config.write_text("from benchmarks.faults import job_config as get_config\n")
    module = [sys.executable, "-m", "experiments.visualize", f"--config={config}"]
    return subprocess.Popen(
        [*module, f"--workdir={workdir}", "--hosts", *place.split()],
        cwd=REPO,
        env={**os.environ, "XLA_FLAGS": FLAGS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def shared(inputs: Path, folder: Path) -> Fault:
    """Ends one process of a job or both at several moments, and starts it again."""
    peace = folder / "job_peace"
    with contextlib.redirect_stdout(io.StringIO()):
        end_well([member(inputs, peace, process) for process in (0, 1)])
    expected, verdicts = commands.outcome(peace), {}
    for place, victims in PLACES.items():
        for name in ("SIGKILL", "SIGTERM"):
            for moment, file in MOMENTS.items():
                out = folder / "job"
                later = 2 * (moment == "before the runs are halved")
                told = [out / file.format(victim + later) for victim in victims]
                members = [member(inputs, out, process) for process in (0, 1)]
                while not all(path.exists() for path in told):
                    time.sleep(0.01)
                    for victim in victims:
                        if members[victim].poll() is not None:
                            said = members[victim].communicate()[0]
                            raise RuntimeError(f"{place}, {moment}: missed; {said}")
                for victim in victims:
                    members[victim].send_signal(getattr(signal, name))
                for victim in victims:
                    said = members[victim].communicate(timeout=600)[0]
                    if members[victim].returncode == 0:
                        raise RuntimeError(f"{name} did not end it: {said[-2000:]}")
                    members[victim] = member(inputs, out, victim)
                verdicts[f"{place}, {name} {moment}"] = verdict(
                    expected, out, lambda members=members: end_well(members)
                )
                shutil.rmtree(out)
    return counted("a process of a job of two: kill -9, SIGTERM", verdicts)


def end_well(members: list[subprocess.Popen]) -> None:
    """Lets the processes of a job end, and passes on what they say.

    Raises:
      ValueError: one of them did not end well.
    """
    for process in members:
        said = process.communicate(timeout=600)[0]
        if process.returncode != 0:
            raise ValueError(said[-2000:])
        print(said)


# Damage to the files of a finished folder.


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flipper(part: float) -> Callable[[Path], None]:
    def flip_at(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(part * (len(data) - 1))] ^= 0x10
        path.write_bytes(data)

    return flip_at


HARMS: dict[str, Callable[[Path], None]] = {
    "emptied": _empty,
    "cut in half": _cut,
    "a byte flipped at 1/10": _flipper(0.1),
    "a byte flipped in the middle": _flipper(0.5),
    "a byte flipped at 9/10": _flipper(0.9),
    "deleted": os.unlink,
}
FILES = {
    "config.json": "env.json",
    "env.json": "config.json",
    "plan.json": "seeds.json",
    "metrics/block_0000.jsonl": "metrics/block_0001.jsonl",
    "metrics/block_0000.events.json": "metrics/block_0001.events.json",
    "metrics.jsonl": "metrics/block_0001.jsonl",
    "results/block_0000.npz": "results/block_0001.npz",
    "states/block_0000.npz": "states/block_0001.npz",
    "seeds.json": "plan.json",
    "runs/run_0001.png": "runs/run_0002.png",
    "sheet.png": "runs/run_0000.png",
    "summary.csv": "summary.json",
    "summary.json": "summary.csv",
    "index.html": "summary.json",
    "tb/0000*/*.run": "tb/0003*/*.run",
    "tb/0000*/*.finals": "tb/0001*/*.finals",
    "tb/0 sheet/*": "tb/0002*/*.run",
}
"""Each kind of file of a sweep, and the sibling that it is swapped with."""


def damaged(inputs: Path, folder: Path) -> list[Fault]:
    """Damages each file of a finished sweep in each way; a line for each file.

    States show in an extension only, so that is what follows on them.
    """
    peace = in_peace("sweep", inputs, folder / "sweep_damage")
    longer = in_peace("extension", inputs, _copy(peace.folder, folder / "longer"))
    found = []
    for name, sibling in FILES.items():
        made, again = (
            (longer, "extension") if name.startswith("states") else (peace, "sweep")
        )
        verdicts = {}
        for how in (*HARMS, "swapped"):
            out = _copy(peace.folder, folder / "damaged")
            (path,), (other,) = out.glob(name), out.glob(sibling)
            if how == "swapped":
                mine, theirs = path.read_bytes(), other.read_bytes()
                path.write_bytes(theirs)
                other.write_bytes(mine)
            else:
                HARMS[how](path)
            verdicts[how] = verdict(
                made.outcome,
                out,
                lambda out=out, again=again: commands.COMMANDS[again](inputs, out),
                f"{path.name} {other.name} config" if how == "swapped" else path.name,
            )
            shutil.rmtree(out)
        found.append(counted(f"{name} damaged", verdicts))
    found.append(_damaged_checkpoint(inputs, folder, peace))
    return found


def _damaged_checkpoint(inputs: Path, folder: Path, peace: Peace) -> Fault:
    """Damages the checkpoint of a sweep that was stopped in its first block."""
    stopped, save = folder / "stopped", checkpoint.save

    def save_and_stop(path: Path, tree: Any, meta: Any, log: str | None = None) -> None:
        save(path, tree, meta, log)
        if meta.get("step") == 4:
            raise Interrupted("stopped")

    blocks.checkpoint.save = save_and_stop
    try:
        with contextlib.suppress(Interrupted):
            quiet("sweep", inputs, stopped)
    finally:
        blocks.checkpoint.save = save
    verdicts = {}
    for how, harm in HARMS.items():
        out = _copy(stopped, folder / "damaged")
        harm(out / "checkpoints" / "block_0000.npz")
        verdicts[how] = verdict(
            *(peace.outcome, out, lambda out=out: commands.sweep(inputs, out)),
            "block_0000.npz",
        )
        shutil.rmtree(out)
    return counted("checkpoint damaged", verdicts)


# Death at random moments, harm to many files at once, full disks, second writers.


def sweep_config():
    """Returns the config: 16 runs in 4 blocks, halved once, a checkpoint per step."""
    from tests.tiny import tiny_config

    config = tiny_config(unit=(0, 1, 2, 3), learning_rate=(0.03, 0.05, 0.08, 0.1))
    config.steps = 600
    config.rungs = (200,)
    config.log_every = 20
    config.runs_per_call = 4
    config.checkpoint_seconds = 0.05
    config.tensorboard = True
    return config


def start(workdir: Path) -> subprocess.Popen:
    """Starts the sweep in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(workdir)],
        cwd=REPO,
        env={**os.environ, "XLA_FLAGS": FLAGS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(workdir: Path) -> str:
    """Runs the sweep to its end; returns what it said."""
    process = start(workdir)
    said = process.communicate(timeout=600)[0]
    if process.returncode != 0:
        raise RuntimeError(f"the sweep did not end: {said[-2000:]}")
    return said


def outcome(workdir: Path) -> tuple[dict[tuple[int, int], np.ndarray], list[str]]:
    """Returns (run, steps) -> pictures, and the lines of the log."""
    found = {}
    for number, block in enumerate(read_plan(workdir).blocks):
        if not block.runs:  # its file was lost; another block has its runs
            continue
        result = read_result(result_path(workdir, number))
        for run, images in zip(block.runs, result.images, strict=True):
            found[run, block.stop] = images
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return found, sorted(re.sub(r'"block": \d+, ', "", line) for line in lines)


def lost(straight: Path, workdir: Path) -> int:
    """Returns how many pictures differ; a differing log counts as one more."""
    (expected, log), (found, again) = outcome(straight), outcome(workdir)
    apart = sum(
        key not in found or not np.array_equal(found[key], images)
        for key, images in expected.items()
    )
    return apart + (log != again)


def killed(straight: Path, folder: Path, kills: int, seed: int) -> Fault:
    """`kill -9` at random moments, each time started again."""
    pick, workdir, done = random.Random(seed), folder / "killed", 0
    while done < kills:
        process = start(workdir)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=pick.uniform(3.0, 9.0))
        if process.returncode is not None:  # it ended in peace: begin anew
            shutil.rmtree(workdir)
            continue
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done += 1
    finish(workdir)
    apart = lost(straight, workdir)
    return Fault("kill -9 at a random moment", kills, apart, 0, "")


def harmed(
    straight: Path, folder: Path, name: str, harm: Callable[[Path], int]
) -> Fault:
    """Harms the files of a finished sweep and starts it again."""
    workdir = folder / name.replace(" ", "_")
    shutil.copytree(straight, workdir)
    tried = harm(workdir)
    said = finish(workdir)
    note = "; ".join(
        sorted({x.split(":")[0] for x in said.splitlines() if "made" in x})
    )
    apart = lost(straight, workdir)
    told = apart if note else 0
    return Fault(name, tried, told, apart - told, note[:60])


def flip(workdir: Path) -> int:
    """Flips a byte in the middle of every second result."""
    paths = sorted((workdir / "results").glob("*.npz"))[::2]
    for path in paths:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    return len(paths)


def cut(workdir: Path) -> int:
    """Cuts every result but the first in half."""
    paths = sorted((workdir / "results").glob("*.npz"))[1:]
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return len(paths)


def drop(workdir: Path) -> int:
    """Deletes the plan, two results and all states."""
    (workdir / "plan.json").unlink()
    for number in (1, 4):
        result_path(workdir, number).unlink()
    shutil.rmtree(workdir / "states")
    return 4


def tear(workdir: Path) -> int:
    """Leaves half-written temporary files and a torn log line."""
    (workdir / "results" / ".block_0001.npz.x1").write_bytes(b"half")
    (workdir / "runs" / ".run_0001.png.x2").write_bytes(b"half")
    return 2


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    """Mounts a tmpfs; gives whether that was allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False)
    yield done.returncode == 0
    if done.returncode == 0:
        subprocess.run(["umount", str(folder)], check=True)


def filled(straight: Path, folder: Path) -> Fault:
    """Lets the disk run full again and again, each time making it a bit larger."""
    kilobytes, tries, disk = 192, 0, folder / "disk"
    with small_disk(disk, kilobytes) as mounted:
        if not mounted:
            return Fault("disk full", 0, 0, 0, "skipped: mounting is not allowed")
        workdir = disk / "sweep"
        while True:
            process = start(workdir)
            said = process.communicate(timeout=600)[0]
            if process.returncode == 0:
                break
            if "full" not in said and "No space" not in said:
                raise RuntimeError(said[-2000:])
            tries += 1
            kilobytes = round(1.3 * kilobytes)
            size = f"remount,size={kilobytes}k"
            subprocess.run(["mount", "-o", size, str(disk)], check=True)
        return Fault(
            "disk full (tmpfs)",
            tries,
            lost(straight, workdir),
            0,
            f"ends at {kilobytes} kB",
        )


def contested(straight: Path, folder: Path, tries: int = 3) -> Fault:
    """Starts a second and a third writer while the first is at work."""
    workdir, refused = folder / "contested", 0
    first = start(workdir)
    while not (workdir / ".lock").exists():
        time.sleep(0.05)
    for second in [start(workdir) for _ in range(tries)]:
        said = second.communicate(timeout=600)[0]
        refused += second.returncode == 1 and "in use by another process" in said
    first.communicate(timeout=600)
    finish(workdir)
    apart = lost(straight, workdir)
    return Fault("two writers", tries, apart, 0, f"{refused} refused")


def at_random(folder: Path, kills: int, seed: int) -> list[Fault]:
    """Tries what has no chosen point."""
    straight = folder / "straight"
    finish(straight)
    return [
        killed(straight, folder, kills, seed),
        harmed(straight, folder, "a byte flipped in a result", flip),
        harmed(straight, folder, "a result cut in half", cut),
        harmed(straight, folder, "plan, results, states deleted", drop),
        harmed(straight, folder, "half-written files left", tear),
        filled(straight, folder),
        contested(straight, folder),
    ]


def at_points(inputs: Path, folder: Path, names: list[str]) -> list[Fault]:
    """Lets every command die at each of its points."""
    begun = folder / "begun"
    quiet("sweep", inputs, begun)
    quiet("sweep", inputs, inputs / "sweep")
    return [
        died(name, inputs, folder, begun if name == "extension" else None)
        for name in names
    ]


def table(found: list[Fault]) -> tuple[str, int]:
    """Returns the table of what was tried, and the exit status."""
    lines = ["| fault | tried | lost | silent | |", "|---|---|---|---|---|"]
    lines += [
        f"| {f.name} | {f.tried} | {f.lost} | {f.silent} | {f.note} |" for f in found
    ]
    tried, lost_, silent = (
        sum(getattr(f, name) for f in found) for name in ("tried", "lost", "silent")
    )
    lines.append(f"| all | {tried} | {lost_} | {silent} | |")
    lines.append(f"{tried} faults tried, {lost_} lost, {silent} silent")
    return "\n".join(lines), int(lost_ + silent > 0)


def main() -> int:
    """Tries all faults, prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--commands", default=",".join(commands.COMMANDS))
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    parts, found, began = given.parts.split(","), [], time.monotonic()
    if not set(parts) <= set(PARTS):
        parser.error(f"--parts={given.parts!r}: of {', '.join(PARTS)}")
    from dreamjax.cache import use_compile_cache

    os.environ["XLA_FLAGS"] = FLAGS
    use_compile_cache()
    with tempfile.TemporaryDirectory() as name:
        folder, inputs = Path(name), Path(name) / "inputs"
        commands.write_inputs(inputs)
        if "points" in parts:
            found += at_points(inputs, folder, given.commands.split(","))
        if "signals" in parts:
            found.append(signaled(inputs, folder))
        if "jobs" in parts:
            found.append(shared(inputs, folder))
        if "damage" in parts:
            found += damaged(inputs, folder)
        if "random" in parts:
            found += at_random(folder, given.kills, given.seed)
    text, status = table(found)
    print(text)
    print(f"{time.monotonic() - began:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
