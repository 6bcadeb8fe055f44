"""Breaks a sweep in every way that we can think of, and counts what was lost.

    python -m benchmarks.faults [--kills 12] [--seed 0]

A sweep of a tiny network is made once in peace. Then copies of it are killed at random
moments and started again until they end, get their files flipped, cut and deleted,
run out of disk, and are written by two processes at once. In the end each must have
the same pictures to the last bit and the same log. Needs Linux; the full disk is a
small tmpfs where mounting is allowed and skipped where it is not.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreamjax.plan import read_plan
from dreamjax.shards import read_result, result_path

REPO = Path(__file__).resolve().parent.parent
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


class Fault(NamedTuple):
    """What was tried and what came of it.

    Attributes:
      name: of the fault.
      tried: how often.
      lost: pictures that are not the same in the end.
      note: what else there is to say.
    """

    name: str
    tried: int
    lost: int
    note: str


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
    flags = "--xla_backend_optimization_level=0"
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(workdir)],
        cwd=REPO,
        env={**os.environ, "XLA_FLAGS": flags},
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
    return Fault("kill -9 at a random moment", kills, lost(straight, workdir), "")


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
    return Fault(name, tried, lost(straight, workdir), note[:60])


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
            return Fault("disk full", 0, 0, "skipped: mounting is not allowed")
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
    return Fault("two writers", tries, lost(straight, workdir), f"{refused} refused")


def main() -> None:
    """Tries all faults and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        straight = folder / "straight"
        finish(straight)
        found = [
            killed(straight, folder, given.kills, given.seed),
            harmed(straight, folder, "a byte flipped in a result", flip),
            harmed(straight, folder, "a result cut in half", cut),
            harmed(straight, folder, "plan, results, states deleted", drop),
            harmed(straight, folder, "half-written files left", tear),
            filled(straight, folder),
            contested(straight, folder),
        ]
    print("| fault | tried | pictures lost | |")
    print("|---|---|---|---|")
    for fault in found:
        print(f"| {fault.name} | {fault.tried} | {fault.lost} | {fault.note} |")
    print(f"| all | {sum(f.tried for f in found)} | {sum(f.lost for f in found)} | |")


if __name__ == "__main__":
    main()
