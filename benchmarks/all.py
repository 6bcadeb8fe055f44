"""Runs every benchmark of speed, and writes their tables: `make bench`.

    pip install -r requirements-bench.txt      # and see there for Lucent
    python -m benchmarks.all [--only search,memory] [--quick]
        [--folder results/runs/performance] [--publish]

Each is a process of its own, which leaves a JSON file in the folder; of these
`benchmarks.tables` makes tables.md. Forty minutes on two cores; nothing else should run
meanwhile. --publish writes docs/performance, as committed. --quick has fewer runs and
rounds, 10 minutes, for a first look: give it a folder of its own. Weights are looked
for as everywhere (docs/models.md); networks whose weights are not here get seeded ones,
which cost the same time.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.tables import FOLDER, PUBLISHED, write_tables
from dreamjax.errors import choose, require
from dreamjax.published import output_folder

BENCHMARKS = {
    "workloads_small": (
        "benchmarks.workloads",
        "--networks lite0,googlenet --rounds 9 --seconds 25 --own-size",
    ),
    "workloads_large": (
        "benchmarks.workloads",
        "--networks vgg16,resnet50 --runs 8,32 --rounds 7 --seconds 40",
    ),
    "profile": ("benchmarks.profile", ""),
    "search": ("benchmarks.search_speed", ""),
    "first_picture": ("benchmarks.first_picture", "--own-size"),
    "dream": ("benchmarks.dream_speed", "--longest 1224 --rounds 3 --programs 4"),
    "memory": ("benchmarks.memory", ""),
}
QUICK = {
    "workloads_small": "--networks lite0 --rounds 3 --seconds 10 --runs 1,8",
    "workloads_large": "--networks resnet50 --rounds 3 --seconds 10 --runs 8",
    "profile": "--networks lite0",
    "search": "--rounds 5",
    "first_picture": "--repeats 1",
    "dream": "--network lite0 --longest 512 --rounds 3",
    "memory": "--networks lite0 --runs 2,8",
}


def main() -> int:
    """Runs them; returns 1 where one failed, the others having run all the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()
    quick = options.publish and options.quick
    require(not quick, "publish", True, "--quick measures too little")
    folder = output_folder("folder", options.folder, FOLDER, PUBLISHED, options.publish)
    names = [choose("only", name, BENCHMARKS) for name in options.only.split(",")]
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        module, arguments = BENCHMARKS[name]
        arguments = QUICK[name] if options.quick else arguments
        out = folder / f"{name}.json"
        command = ["-m", module, *arguments.split(), "--out", str(out)]
        print(f"\n== python {' '.join(command)}\n", flush=True)
        if subprocess.run([sys.executable, *command]).returncode != 0:
            failed.append(name)
    print(f"\n{write_tables(folder)}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
