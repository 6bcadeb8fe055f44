"""Times image gradients of dreamjax against tuned PyTorch; whole steps: `workloads`.

    pip install -r requirements-bench.txt
    python -m benchmarks.speed [--tap b8 --size 128 --batches 1,8,24 --rounds 15]
        [--compile] [--keep-memory] [--only torch] [--out results/speed.json]

A table, in milliseconds per image on an otherwise quiet machine, of the gradient of the
mean of a channel with respect to the images, EfficientNet-Lite0. PyTorch has frozen
weights, batch norms folded, channels-last memory, ReLU6 in place, the network cut at
the tap and `torch.autograd.grad` of the images only; with --compile also
`torch.compile`, which needs a C++ compiler.

The sides take turns, round by round, in one process, so that both see the same
machine; the last column is the median over rounds of theirs / ours: above 1, dreamjax
is faster. Gradients are compared first, with ReLU6's gates given and without, and where
they differ there is no table. A minute on two cores; look at the load that is printed
first.

Both libraries take their temporary memory from malloc, and glibc hands blocks as large
as these back to the system after every call: at batch 8 a gradient costs dreamjax
18,000 page faults, up to half its time. --keep-memory tells glibc to keep them, for
both sides. Two thread pools in one process can cost either side its cores: see
benchmarks/__init__.py, and --only times one side with nothing between its rounds.
"""

import argparse
import functools
import json
import os
import platform
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import torch_lite0
from benchmarks.parity import gates, lite0_file, relative_error, to_torch
from benchmarks.peers.gradients import our_gradient, their_gradient
from benchmarks.timing import (
    Side,
    circumstances,
    interleave,
    markdown,
    summarize,
)
from dreamjax.files import write_text
from dreamjax.memory import keep_memory
from dreamjax.models import load
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, check_taps, tap_shapes

LIMIT = 1e-3  # relative error of gradients and images; beyond it nothing is timed
PLAIN_LIMIT = 0.1  # L2, of the very functions timed: see benchmarks/parity.py on gates


def gradient_sides(
    model: Model, network, tap: str, size: int, batch: int, compiled: Callable | None
) -> dict[str, Side]:
    """Returns the sides to time, after checking that their gradients agree.

    Raises:
      ValueError: they do not.
    """
    images = np.random.default_rng(batch).random((batch, size, size, 3), np.float32)
    ours = our_gradient(model, tap)
    given = jnp.asarray(images)
    leaf = to_torch(images).contiguous(memory_format=torch.channels_last)
    sides = {
        "dreamjax": lambda: ours(model.variables, given).block_until_ready(),
        "torch": functools.partial(
            their_gradient(network.cut_at(tap, torch_lite0.relu6_in_place)), leaf
        ),
    }
    if compiled is not None:
        sides["torch.compile"] = functools.partial(their_gradient(compiled), leaf)

    def nhwc(gradient: torch.Tensor) -> np.ndarray:
        return gradient.numpy().transpose(0, 2, 3, 1)

    found = np.asarray(sides["dreamjax"]())
    pre = jax.jit(lambda v, x: dict(model.taps(v, x, PLAIN)))(model.variables, given)
    opened = {name: to_torch(gate) for name, gate in gates(_numpy(pre)).items()}
    same_gates = network.cut_at(tap, torch_lite0.gated_relu6(opened))
    error = relative_error(found, nhwc(their_gradient(same_gates)(leaf)))
    print(f"batch {batch}: gradients agree to {error:.1e} (gates given)", end="")
    worst = 0.0
    for name in list(sides)[1:]:
        expected = nhwc(sides[name]())
        distance = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        worst = max(worst, float(distance))
        print(f", {name} itself {distance:.1e} (L2)", end="")
    print(flush=True)
    if not (error <= LIMIT and worst <= PLAIN_LIMIT):
        raise ValueError(f"tap={tap!r}: gradients differ by {error:.1e}, {worst:.1e}.")
    return sides


def _numpy(taps) -> dict[str, np.ndarray]:
    return {name: np.asarray(tap) for name, tap in taps.items()}


def main() -> int:
    """Prints the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tap", default="b8")
    parser.add_argument("--size", type=int, default=128, help="side, pixels")
    parser.add_argument("--batches", default="1,8,24", help="images")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument("--keep-memory", action="store_true", help="see above")
    parser.add_argument("--only", help="time this side alone, such as torch")
    parser.add_argument("--out", help="a JSON file to write")
    options = parser.parse_args()
    batches = [int(n) for n in options.batches.split(",")]

    if options.keep_memory and not keep_memory():
        raise ValueError("--keep-memory needs glibc.")
    torch.set_num_threads(options.threads)
    model = load("efficientnet_lite0")
    network = torch_lite0.load(lite0_file(), tuned=True)
    size = (options.size, options.size)
    check_taps(model.record, [options.tap], tap_shapes(model, size), size)
    compiled = None
    if options.compile:
        compiled = torch.compile(network.cut_at(options.tap), dynamic=False)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load"
        f" {os.getloadavg()[0]:.1f}; jax {jax.__version__}, torch {torch.__version__}"
        f" with {torch.get_num_threads()} threads; tap {options.tap},"
        f" {options.size} px, {options.rounds} rounds, memory"
        f" {'kept' if options.keep_memory else 'given back'}\n"
    )
    rows = []
    for batch in batches:
        try:
            sides = gradient_sides(
                model, network, options.tap, options.size, batch, compiled
            )
        except ValueError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
        if options.only is not None:
            sides = {options.only: sides[options.only]}
        rows += summarize("image gradient", batch, interleave(sides, options.rounds))
    print(f"\n{markdown(rows)}\n")
    if options.out is not None:
        record = circumstances() | {"torch": torch.__version__, "rows": rows}
        write_text(options.out, json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
