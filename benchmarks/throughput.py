"""Image-steps per second against runs of one call, and against devices.

    python -m benchmarks.throughput [--runs 1,2,4,8,16,32,64 --rounds 7]
    XLA_FLAGS=--xla_force_host_platform_device_count=8 \
        python -m benchmarks.throughput --devices 1,2,4,8 --runs 32

The whole dream step of a sweep (Fourier image, decorrelated color, Lucid's transforms,
network, gradient, Adam), every size of call taking its turn in each round. Besides
the median there is the spread, the ratio to the first size, and the memory that the
compiled program asks for. --out writes JSON, --plot an SVG.
"""

import argparse
import functools
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.crowd import Crowd
from benchmarks.timing import interleave
from dreamjax.build import build
from dreamjax.config import base_config
from dreamjax.environment import environment
from dreamjax.files import write_text
from dreamjax.memory import keep_memory
from dreamjax.report.plots import Curve, curves, svg

WARM_UP = 2


def timed(crowds: list[Crowd], rounds: int, steps: int) -> list[list[float]]:
    """Returns the seconds of one step of each crowd, [crowds][rounds], taking turns."""
    sides = {
        str(i): functools.partial(_steps, crowd, steps)
        for i, crowd in enumerate(crowds)
    }
    times = interleave(sides, rounds, warm_up=WARM_UP)
    return [[ms / 1e3 / steps for ms in times[name]] for name in sides]


def _steps(crowd: Crowd, steps: int) -> None:
    for _ in range(steps):
        crowd.step()


def rows_of(crowds: list[Crowd], times: list[list[float]]) -> list[dict[str, Any]]:
    """Returns a row per crowd; ratios are to the first, round by round."""
    rows = []
    for crowd, seconds in zip(crowds, times, strict=True):
        rates = [crowd.lanes / s for s in seconds]
        first = [crowds[0].lanes / s for s in times[0]]
        rows.append(
            {
                "runs": crowd.lanes,
                "devices": crowd.devices,
                "rate": statistics.median(rates),
                "low": min(rates),
                "high": max(rates),
                "ratio": statistics.median(
                    a / b for a, b in zip(rates, first, strict=True)
                ),
                "peak_bytes": crowd.peak,
            }
        )
    return rows


def plot(rows: list[dict[str, Any]], x: str) -> str:
    """Returns the curve as SVG."""
    line = Curve(
        "",
        *(np.array([row[name] for row in rows]) for name in (x, "rate", "low", "high")),
    )
    label = {"runs": "runs of one call", "devices": "forced devices"}[x]
    ticks = {row[x]: str(row[x]) for row in rows}
    return svg(
        curves(
            [line],
            x_label=label,
            y_label="image-steps per second",
            log_x=True,
            marks=True,
            ticks=ticks,
        )
    )


def numbers(text: str) -> list[int]:
    """Returns the numbers of "1,2,4"."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Times, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=numbers, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--devices", type=numbers, default=[1])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--objective", default="b8:unit")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="of one turn")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--plot", type=Path, default=None)
    given = parser.parse_args()
    keep_memory()
    config = base_config()
    config.model, config.objective = given.model, given.objective
    config.precision, config.common_noise = given.precision, False
    config.size = (given.size, given.size)
    config.hparams.unit = tuple(range(max(given.runs)))
    experiment = build(config)
    crowds = [Crowd(experiment, range(r), d) for d in given.devices for r in given.runs]
    rows = rows_of(crowds, timed(crowds, given.rounds, given.steps))
    print("| devices | runs | image-steps per s | from … to | ratio | program, MB |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}"
        print(
            f"| {row['devices']} | {row['runs']} | {row['rate']:.1f} |"
            f" {row['low']:.1f} … {row['high']:.1f} | {row['ratio']:.2f} | {peak} |"
        )
    if given.out is not None:
        found = {"arguments": {k: str(v) for k, v in vars(given).items()}, "rows": rows}
        found["environment"] = environment()
        write_text(given.out, json.dumps(found, indent=2))
    if given.plot is not None:
        x = "runs" if len(given.devices) == 1 else "devices"
        write_text(given.plot, plot(rows, x))


if __name__ == "__main__":
    main()
