"""Memory of a sweep's compiled step against its runs, and how many fit (W7).

    pip install -r requirements-bench.txt
    python -m benchmarks.memory [--networks lite0,googlenet,vgg16,resnet50 --runs 1,2,8]
        [--out results/runs/performance/memory.json]

Compiles, and runs no step. Memory grows with the runs in a straight line, drawn through
the smallest and the largest R; the largest R that fits is where it reaches the part of
the free memory that sweeps use. (On a CPU a call has at most 32 runs all the same, as
more bring no speed.)
"""

import argparse
import json

import numpy as np

from benchmarks.peers.dreams import jax_dream
from benchmarks.peers.networks import load_peer
from benchmarks.tables import memory_table
from benchmarks.timing import circumstances
from dreamjax.files import write_text
from dreamjax.footprint import MARGIN, free_memory
from dreamjax.memory import keep_memory


def main() -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="lite0,googlenet,vgg16,resnet50")
    parser.add_argument("--runs", default="1,2,8")
    parser.add_argument("--out", help="a JSON file to write")
    options = parser.parse_args()
    keep_memory()
    counts, free = [int(n) for n in options.runs.split(",")], free_memory()
    records = []
    for name in options.networks.split(","):
        peer = load_peer(name)
        peaks = {}
        for runs in counts:
            dream = jax_dream(peer.model, peer.tap, peer.side, np.arange(runs))
            if dream.peak is None:
                raise ValueError("this backend does not tell what a program takes.")
            peaks[runs] = dream.peak
        first, last = counts[0], counts[-1]
        each = (peaks[last] - peaks[first]) / (last - first)
        most = int((MARGIN * free - (peaks[first] - first * each)) / each)
        records.append({"network": name, "peaks": peaks, "each": each, "most": most})
    record = {"free": free, "networks": records, **circumstances()}
    print(memory_table(record))
    if options.out is not None:
        write_text(options.out, json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
