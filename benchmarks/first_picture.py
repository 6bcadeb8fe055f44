"""Times the first picture: from the start of a process to a PNG on the disk (W5).

    pip install -r requirements-bench.txt      # and see there for Lucent
    python -m benchmarks.first_picture [--repeats 5 --steps 64 --size 128 --own-size]
        [--python plain/bin/python --out results/runs/performance/first_picture.json]

One channel of EfficientNet-Lite0 `b8`, by the command that users call,

    python -m experiments.visualize --config=configs/channel.py --workdir=…

in a new process: cold, with an empty cache (no compiled programs, no converted
weights), then warm, with what the cold one left there. In turn with them a new process
does the same with Lucent (benchmarks/peers/lucent_picture.py), which compiles nothing.
A start of each before the first round brings the packages into the system's file cache
for all. A picture is there when its file is; the process then writes its contact sheet
and page, and ends ("exit").

TensorBoard's writer imports PyTorch where there is one, a second that users of
dreamjax alone do not wait: --python names the interpreter of an environment with
requirements.txt and no more, for ours.

The stages are told apart by the lines that the programs print; how long the imports of
ours take, by a process that does only that.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.tables import first_picture_table
from benchmarks.timing import circumstances
from dreamjax.errors import require
from dreamjax.files import write_text
from dreamjax.models.source import locate
from dreamjax.models.zoo import find_port

ROOT = Path(__file__).resolve().parents[1]
UNIT = 11
# What begins the line that ends a stage of ours. The import is timed apart.
OURS = {"b8:unit of ": "build", "compiled in": "compile", "compile ": "run"}
LUCENT = {name: name for name in ("import", "load", "run", "write")}
SPINNING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # set by this package, not by users

Stages = dict[str, float]
"""Stage -> seconds, in order; "picture" and "exit" since the start of the process."""


def watched(
    command: Sequence[str],
    ends: Mapping[str, str],
    picture: Path,
    env: Mapping[str, str],
    python: str = sys.executable,
) -> Stages:
    """Runs a program and returns how long its stages took.

    Args:
      command: without the interpreter.
      ends: beginning of a line -> the stage that it ends.
      picture: the file whose time of writing is waited for.
      env: of the process.
      python: the interpreter.

    Raises:
      RuntimeError: the program failed, or left no picture; with what it said.
    """
    clock = time.time()  # as files are dated
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [python, *command],
            cwd=ROOT,
            env={**env, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        stages, last = {}, clock
        for line in process.stdout:
            for start, stage in ends.items():
                if line.startswith(start) and stage not in stages:
                    stages[stage], last = time.time() - last, time.time()
                    break
        status = process.wait()
        ended = time.time()
        if status != 0 or not picture.is_file():
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {status}\n{said.read()[-2000:]}")
    written = picture.stat().st_mtime
    if "write" not in ends.values():
        stages["write"] = written - last
    return stages | {"picture": written - clock, "exit": ended - clock}


def import_seconds(env: Mapping[str, str], python: str) -> float:
    """Returns how long a process takes that only imports what ours imports."""
    start = time.perf_counter()
    command = [python, "-c", "import experiments.visualize"]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    return time.perf_counter() - start


def ours(folder: Path, cache: Path, size: int, steps: int, python: str) -> Stages:
    """Makes one picture by dreamjax in `folder`, with the caches in `cache`."""
    env = {k: v for k, v in os.environ.items() if k not in SPINNING}
    env["DREAMJAX_CACHE"] = str(cache)
    command = [
        *("-m", "experiments.visualize", "--config=configs/channel.py"),
        f"--workdir={folder}",
        f"--config.hparams.unit=({UNIT},)",
        f"--config.size=({size},{size})",
        f"--config.steps={steps}",
        f"--config.image_steps=(0,{steps})",
    ]
    picture = folder / "runs" / "run_0000.png"
    found = watched(command, OURS, picture, env, python)
    imported = import_seconds(env, python)
    return {"import": imported, **found, "build": found["build"] - imported}


def lucents(folder: Path, size: int, steps: int, own_size: bool) -> Stages:
    """Makes one picture by Lucent in `folder`."""
    port = find_port("efficientnet_lite0")
    picture = folder / "lucent.png"
    command = [
        *("-m", "benchmarks.peers.lucent_picture", "--out", str(picture)),
        *("--weights", str(locate(port.source, port.record.name).path)),
        *("--unit", str(UNIT), "--size", str(size), "--steps", str(steps)),
        *(["--own-size"] if own_size else []),
    ]
    return watched(command, LUCENT, picture, os.environ)


def turns(
    repeats: int, size: int, steps: int, own_size: bool, python: str
) -> dict[str, list]:
    """Returns side -> the stages of each repeat; the sides take turns."""
    views = {"lucent": False} | ({"lucent, own size": True} if own_size else {})
    sides = ("dreamjax, cold", "dreamjax, warm", *views)
    found: dict[str, list[Stages]] = {name: [] for name in sides}
    for turn in range(-1, repeats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            made = {
                side: ours(folder / side[-4:], folder / "cache", size, steps, python)
                for side in sides[:2]
            }
            made |= {
                side: lucents(folder, size, steps, own) for side, own in views.items()
            }
        if turn >= 0:
            for side, stages in made.items():
                found[side].append(stages)
    return found


def main() -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", type=int, default=128, help="side, pixels")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--python", default=sys.executable, help="see above")
    parser.add_argument("--own-size", action="store_true", help="and Lucent's default")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    options = parser.parse_args()
    require(options.repeats > 0, "repeats", options.repeats, "at least 1")
    require(Path(options.python).is_file(), "python", options.python, "a file")
    python = str(Path(options.python).absolute())
    record = circumstances()  # with the load as it was before
    size, steps = options.size, options.steps
    found = turns(options.repeats, size, steps, options.own_size, python)
    record["seconds"] = found
    print(first_picture_table(record))
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.out, json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
