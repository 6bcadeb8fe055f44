"""Turn by turn timing of several ways to do the same work, and the table of it.

The sides take turns, round by round, in one process, so that all see the same machine;
a ratio is the median over rounds of another side's time over the first side's of the
same round.
"""

import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dreamjax.environment import environment

WARM_UP = 3
REST = 0.005  # seconds between sides: the other library's threads go to sleep
LEAST = 3  # rounds, whatever the budget

Side = Callable[[], object]
"""Does the work once and returns when it is done."""


def interleave(
    sides: Mapping[str, Side],
    rounds: int,
    *,
    warm_up: int = WARM_UP,
    seconds: float = math.inf,
) -> dict[str, list[float]]:
    """Returns the milliseconds of each call; the sides take turns.

    Args:
      rounds: at most so many.
      warm_up: calls of each side before the first round.
      seconds: no round begins after so many since the first, but for the first
        `LEAST`.
    """
    for side in sides.values():
        for _ in range(warm_up):
            side()
    times: dict[str, list[float]] = {name: [] for name in sides}
    began = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST and time.perf_counter() - began > seconds:
            break
        for name, side in sides.items():
            time.sleep(REST)
            start = time.perf_counter()
            side()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def summarize(
    what: str, count: int, times: Mapping[str, Sequence[float]], *, turn: int = 1
) -> list[dict]:
    """Returns one row per side, in ms per image, with the ratios to the first.

    Args:
      what: is timed.
      count: images.
      times: side -> ms of each turn.
      turn: how often one turn does the work on all images.
    """
    ours = next(iter(times.values()))
    rows = []
    for name, theirs in times.items():
        ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
        rows.append(
            {
                "what": what,
                "images": count,
                "side": name,
                "median_ms": statistics.median(theirs) / count / turn,
                "min_ms": min(theirs) / count / turn,
                "max_ms": max(theirs) / count / turn,
                "median_ratio": statistics.median(ratios),
                "min_ratio": min(ratios),
                "max_ratio": max(ratios),
                "rounds": len(theirs),
            }
        )
    return rows


def markdown(rows: Sequence[dict]) -> str:
    """Returns the table of `summarize`'s rows; ratios are theirs / ours by round."""
    head = ["images", "", "ms per image", "min to max", "× dreamjax", "spread"]
    lines = [
        [
            str(row["images"]),
            row["side"],
            f"{row['median_ms']:.2f}",
            f"{row['min_ms']:.2f} to {row['max_ms']:.2f}",
            f"{row['median_ratio']:.2f}",
            f"{row['min_ratio']:.2f} to {row['max_ratio']:.2f}",
        ]
        for row in rows
    ]
    return table(head, lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def processor() -> str:
    """Returns what the processor calls itself, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, object]:
    """Returns the processor, its cores, the load, and how PyTorch's threads wait."""
    waiting = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        **{name: os.environ.get(name) for name in waiting},
    }


def circumstances() -> dict[str, object]:
    """Returns what a record says of how it was made: command, machine, versions."""
    program = f"benchmarks.{Path(sys.argv[0]).stem}"
    return {
        "command": " ".join(["python -m", program, *sys.argv[1:]]),
        "machine": machine(),
        "env": environment(),
    }
