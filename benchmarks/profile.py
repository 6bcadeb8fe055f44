"""Where the time of a step goes, and what part of the machine's limits is reached.

    pip install -r requirements-bench.txt
    python -m benchmarks.profile [--networks lite0,googlenet,vgg16,resnet50 --runs 8]
        [--steps 6] [--out results/runs/performance/profile.json]

A sweep's compiled step, Lucid's transforms, Fourier parameters, Adam, on one device, is
traced by JAX's profiler, and each of XLA's operators is counted for the phase that its
name tells (`dreamjax.dream.PHASES`), forward or backward; where several run at once the
moment is shared among them. A fusion has the name of its last operator, so the borders
of phases are blurred by single passes over an image. "host" is when no operator ran.

Operations are those of the network's gradient by plain sums, whatever formulation ran
(Winograd's needs fewer), by XLA's cost analysis; bytes are those of all operators of
the step. The limits are the largest matmul and the largest copy of this machine.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import VIEW
from benchmarks.peers.dreams import jax_dream
from benchmarks.peers.gradients import CHANNEL
from benchmarks.peers.networks import Peer, load_peer
from benchmarks.phases import traced
from benchmarks.tables import profile_section
from benchmarks.timing import circumstances
from dreamjax.dream import NETWORK
from dreamjax.files import write_text
from dreamjax.memory import keep_memory
from dreamjax.models import platform
from dreamjax.models.layers import PLAIN

SIDE = 2048  # of the matrices
COPY = 1 << 28  # bytes


def plain_operations(peer: Peer, runs: int) -> float:
    """Returns the operations of the gradient of so many views, by plain sums."""
    side = peer.side + VIEW

    def score(images, variables):
        tap = peer.model.taps(variables, images, PLAIN)[peer.tap]
        return jnp.sum(tap[..., CHANNEL])

    images = jax.ShapeDtypeStruct((runs, side, side, 3), jnp.float32)
    with mock.patch.object(platform, "on_cpu", lambda: False):
        gradient = jax.jit(lambda v, x: jax.grad(score)(x, v))
        compiled = gradient.lower(peer.model.variables, images).compile()
    return float(compiled.cost_analysis()["flops"])


def limits(rounds: int = 9) -> dict[str, float]:
    """Returns GFLOP per second of a large matmul, GB per second of a large copy."""
    matrix = jnp.asarray(np.random.default_rng(0).random((SIDE, SIDE), np.float32))
    long = jnp.zeros(COPY // 4, jnp.float32)
    product, copy = jax.jit(lambda a: a @ a), jax.jit(lambda a: a + 1.0)

    def seconds(call: Callable, given: Any) -> float:
        times = []
        for _ in range(rounds + 2):
            start = time.perf_counter()
            jax.block_until_ready(call(given))
            times.append(time.perf_counter() - start)
        return statistics.median(times[2:])

    return {
        "gflops": 2 * SIDE**3 / seconds(product, matrix) / 1e9,
        "gbytes": 2 * COPY / seconds(copy, long) / 1e9,
    }


def profile(peer: Peer, runs: int, steps: int, most: Mapping[str, float]) -> dict:
    """Returns the record of one network."""
    dream = jax_dream(peer.model, peer.tap, peer.side, np.arange(runs))
    for _ in range(2):
        dream.step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        dream.step()
        times.append(time.perf_counter() - start)
    plain, update = 1e3 * statistics.median(times), dream.program.update
    phases = traced(dream.step, update.as_text(), steps)
    network = sum(ms for name, ms in phases.items() if name.startswith(NETWORK))
    busy = phases["all"] - phases["host"]
    operations = plain_operations(peer, runs)
    bytes_ = float(update.cost_analysis()["bytes accessed"])
    gflops = operations / (plain * network / phases["all"]) / 1e6
    return {
        "network": peer.name,
        "runs": runs,
        "ms": plain,
        "phases_ms": phases,
        "outside_network": 1 - network / busy,
        "gflop": operations / 1e9,
        "gflops": gflops,
        "of_matmul": gflops / most["gflops"],
        "gbytes": bytes_ / plain / 1e6,
        "of_copy": bytes_ / plain / 1e6 / most["gbytes"],
        "peak_bytes": dream.peak,
    }


def main() -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="lite0,googlenet,vgg16,resnet50")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", help="a JSON file to write")
    options = parser.parse_args()
    keep_memory()
    most = limits()
    peers = map(load_peer, options.networks.split(","))
    records = [profile(peer, options.runs, options.steps, most) for peer in peers]
    record = {"limits": most, "networks": records, **circumstances()}
    print(profile_section(record))
    if options.out is not None:
        write_text(options.out, json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
