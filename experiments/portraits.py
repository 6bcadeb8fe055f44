"""Makes the picture row of each network: two channels a layer size, then a dream.

    python -m experiments.portraits                      # all whose weights are at hand
    python -m experiments.portraits --models=googlenet,squeezenet1_1.mxnet

Writes `<folder>/<weight set>.jpg` and, beside it, which tap and channel each picture
is, which docs/models.md shows. About 3 minutes a network on 2 CPU cores.
"""

import json
from pathlib import Path

from absl import flags

from dreamjax.cache import use_compile_cache
from dreamjax.cli import launch
from dreamjax.files import atomic_open, write_text
from dreamjax.models import load
from dreamjax.models.source import find
from dreamjax.models.zoo import PORTS, find_port
from dreamjax.portrait import portrait, row

MODELS = flags.DEFINE_list("models", None, "Networks; all at hand if not given.")
FOLDER = flags.DEFINE_string("folder", "docs/img/models", "Where the rows go.")
RUNS = flags.DEFINE_string("runs", "results/runs/portraits", "Where the runs go.")


def main(arguments: list[str]) -> int:
    """Makes the rows; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    use_compile_cache()
    for name in MODELS.value or [n for n, p in PORTS.items() if find(p.source)]:
        record = find_port(name).record
        pictures = portrait(load(name), record.name, Path(RUNS.value) / record.name)
        path = Path(FOLDER.value) / f"{record.name}.jpg"
        with atomic_open(path) as file:
            row(pictures).save(file, "JPEG", quality=88)
        write_text(path.with_suffix(".json"), json.dumps(list(pictures)) + "\n")
        print(f"{path}: {', '.join(pictures)}")
    return 0


if __name__ == "__main__":
    launch(main)
