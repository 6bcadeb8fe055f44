"""Times whole dream steps of workloads W1 to W3 against tuned PyTorch and Lucent.

    pip install -r requirements-bench.txt      # and see there for Lucent
    python -m benchmarks.workloads [--only W1,W2,W3 --runs 1,8,32 --rounds 15]
        [--seconds 120 --compile --own-size --devices 1]
        [--out results/runs/performance/workloads.json]

W1 is EfficientNet-Lite0 `b8` at 128 px; W2 GoogLeNet `inception_4c/output` and VGG16
`conv4_3`, W3 ResNet-50 `layer3`, at 224 px. A step of R runs is: Fourier parameters,
decorrelated color, sigmoid, Lucid's standard transforms, the network, the gradient,
Adam 0.05; float32 on all sides. The sides:

* dreamjax: the compiled step, one dispatch, its state donated, the runs spread over as
  many CPU devices as a sweep would take (`dreamjax/devices.py`), or --devices. It also
  reports and guards each run (gradient norms, non-finite runs).
* torch: weights frozen, batch norms folded, channels last, ReLUs in place, the network
  cut at the tap, all four transforms one `grid_sample`, the fused Adam.
* torch.compile (--compile): the same with the cut network compiled.
* lucent: `render_vis` on the plain network, frozen, R images in one call. It computes
  the whole network, for its hooks, and draws its transforms once for the batch. It is
  told to give the network as many pixels as the others see (`fixed_image_size`);
  --own-size adds it as it is called by default: images below 224 px are enlarged to
  that, larger ones change their size from step to step. Most users call it for one
  image after another: that costs what R = 1 costs.

Before anything is timed the gradients of all sides are compared (benchmarks/peers/
check.py), and the pictures that they start from. A turn is several steps where these
are short, `render_vis` is set up once in it. Each other side takes turns with ours
alone, since the caches that one side leaves are the next one's; ours is told of the
first pair. --seconds is the time for the rounds of a pair; at least three are made.
"""

import argparse
import gc
import importlib.metadata
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import torch

from benchmarks.peers.check import check
from benchmarks.peers.networks import Peer, load_peer
from benchmarks.peers.sides import (
    Compiled,
    compiled_forward,
    make_sides,
    runs_that_fit,
    second_step,
)
from benchmarks.timing import circumstances, interleave, markdown, summarize
from dreamjax.devices import split_cpu
from dreamjax.errors import choose, require
from dreamjax.files import write_text
from dreamjax.memory import keep_memory

WORKLOADS = {"W1": ("lite0",), "W2": ("googlenet", "vgg16"), "W3": ("resnet50",)}
LONG = 0.5  # seconds of a turn of the slowest side, reached with up to STEPS steps
STEPS = 4
PACKAGES = ("torch", "torchvision", "torch-lucent", "kornia")


def time_one(peer: Peer, what: str, asked: int, options: Any) -> list[dict]:
    """Returns the rows of one network at one R, and prints how they came about."""
    runs = runs_that_fit(peer, asked, options.memory)
    if runs < asked:
        print(f"{what}: R = {asked} needs more than {options.memory} GB: {runs}")
    compiled = Compiled(None, None, "not asked for")
    if options.compile:
        compiled = compiled_forward(peer, runs)
        said = compiled.failure or f"gradient {compiled.error.median:.1e}"
        print(f"{what}, R = {runs}: torch.compile: {said}")
    sides, notes = make_sides(
        peer, runs, options.devices, compiled.forward, options.own_size
    )
    if options.sides is not None:
        sides = {choose("sides", n, sides): sides[n] for n in options.sides.split(",")}
    slowest = max(second_step(steps) for steps in sides.values())
    turn = min(STEPS, max(1, math.ceil(LONG / slowest)))
    turns = {name: (lambda s=steps: s(turn)) for name, steps in sides.items()}
    notes |= {"runs_asked": asked, "steps_of_a_turn": turn}
    notes |= {"compile_failed": compiled.failure, "compile_error": compiled.error}
    ours, *others = turns
    rows: list[dict] = []
    for other in others or [ours]:
        pair = {name: turns[name] for name in dict.fromkeys((ours, other))}
        times = interleave(pair, options.rounds, warm_up=1, seconds=options.seconds)
        found = summarize(what, runs, times, turn=turn)
        found = [{**row, **notes, "times_ms": times[row["side"]]} for row in found]
        rows += found if not rows else found[1:]
    return rows


def time_peer(peer: Peer, workload: str, runs: Sequence[int], options: Any) -> dict:
    """Returns the record of one network: weights, errors of gradients, rows.

    Raises:
      ValueError: the gradients differ.
    """
    what = f"{workload} {peer.name} {peer.tap}"
    errors = check(peer)
    said = ", ".join(f"{n} {e.median:.1e} ({e.worst:.1e})" for n, e in errors.items())
    print(
        f"{what}, {peer.side} px, {peer.weights} weights; gradients: {said}", flush=True
    )
    rows = []
    for count in runs:
        rows += time_one(peer, what, count, options)
        gc.collect()
    print(f"\n{markdown(rows)}\n\n{crowd(rows)}".rstrip() + "\n", flush=True)
    return {
        "workload": workload,
        "network": peer.model.record.name,
        "tap": peer.tap,
        "side": peer.side,
        "weights": peer.weights,
        "gradient_errors": {name: error._asdict() for name, error in errors.items()},
        "rows": rows,
    }


def crowd(rows: Sequence[dict]) -> str:
    """Returns, for each side, what an image-step costs at the largest R against R = 1.

    "" where there are not both.
    """
    counts = sorted({row["images"] for row in rows})
    if len(counts) < 2 or counts[0] != 1:
        return ""
    cost = {(row["side"], row["images"]): row["median_ms"] for row in rows}
    parts = [
        f"{side} {cost[side, counts[-1]] / alone:.2f}"
        for (side, count), alone in cost.items()
        if count == 1 and (side, counts[-1]) in cost
    ]
    return f"image-step at R = {counts[-1]} against R = 1: {', '.join(parts)}"


def versions() -> dict[str, str]:
    """Returns the versions of the other side's packages."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def numbers(text: str) -> list[int]:
    """Returns the numbers of "1,8,32".

    Raises:
      ValueError: one is not positive, or no number.
    """
    parts = text.split(",")
    require(all(p.isdigit() and int(p) > 0 for p in parts), "runs", text, "as 1,8,32")
    return [int(part) for part in parts]


def parse() -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(WORKLOADS), help="as W1,W3")
    parser.add_argument("--networks", help="of these workloads, as vgg16; default all")
    parser.add_argument("--runs", default="1,8,32")
    parser.add_argument("--sides", help="these alone, as dreamjax,torch; default all")
    parser.add_argument("--rounds", type=int, default=15, help="at most")
    parser.add_argument("--seconds", type=float, default=120.0, help="see above")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument("--own-size", action="store_true", help="see above")
    parser.add_argument("--devices", type=int, help="CPU devices of ours")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="PyTorch's")
    parser.add_argument("--memory", type=float, default=20.0, help="GB, else R halves")
    parser.add_argument("--give-back", action="store_true", help="malloc as it comes")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    return parser.parse_args()


def main() -> int:
    """Prints the tables; returns the exit status."""
    options = parse()
    for name in options.only.split(","):
        choose("only", name, WORKLOADS)
    wanted = [(w, n) for w in options.only.split(",") for n in WORKLOADS[w]]
    if options.networks is not None:
        known = [network for _, network in wanted]
        for name in options.networks.split(","):
            choose("networks", name, known)
        wanted = [pair for pair in wanted if pair[1] in options.networks.split(",")]
    runs = numbers(options.runs)
    if options.devices is None:
        split_cpu()
    else:  # before JAX looks for its devices
        require(options.devices > 0, "devices", options.devices, "at least 1")
        jax.config.update("jax_num_cpu_devices", options.devices)
    if not options.give_back:
        keep_memory()
    torch.set_num_threads(options.threads)
    record, records, failed = circumstances(), [], 0
    print(f"{record['machine']}; jax {jax.__version__}, {versions()}\n", flush=True)
    for workload, name in wanted:
        try:
            records.append(time_peer(load_peer(name), workload, runs, options))
        except ValueError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            failed = 1
        gc.collect()
    if options.out is not None:
        record |= {"versions": versions(), "workloads": records}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.out, json.dumps(record, indent=1) + "\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
