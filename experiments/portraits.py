"""Makes the picture row of each network: two channels a layer size, then a dream.

    python -m experiments.portraits                      # all whose weights are at hand
    python -m experiments.portraits --models=googlenet,squeezenet1_1.mxnet

Writes `<folder>/<weight set>.jpg` and, beside it, which tap and channel each picture
is: into results/runs/portraits/rows, with --publish into docs/img/models, which
docs/models.md shows. About 3 minutes a network on 2 CPU cores. The configs
are configs/channel.py and configs/photo.py at the size of the row.
"""

import json
from functools import partial
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from configs import channel, photo
from dreamjax.cache import use_compile_cache
from dreamjax.cli import launch, path_flag
from dreamjax.files import atomic_open, write_text
from dreamjax.models import load
from dreamjax.models.model import Record
from dreamjax.models.source import find
from dreamjax.models.zoo import PORTS, find_port
from dreamjax.portrait import SIDE, portrait, row
from dreamjax.published import output_folder
from dreamjax.workdir import locked

MODELS = flags.DEFINE_list("models", None, "Networks; all at hand if not given.")
FOLDER = path_flag("folder", None, "Where the rows go; RUNS/rows if not given.")
PUBLISH = flags.DEFINE_bool("publish", False, "Write docs/img/models.")
RUNS = path_flag("runs", "results/runs/portraits", "Where the runs go.")


def main(arguments: list[str]) -> int:
    """Makes the rows; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    default, published = f"{RUNS.value}/rows", "docs/img/models"
    folder = output_folder("folder", FOLDER.value, default, published, PUBLISH.value)
    use_compile_cache()
    with locked(folder):
        return make_rows(folder)


def make_rows(folder: Path) -> int:
    """Makes the rows into a folder that is held; returns the exit status."""
    for name in MODELS.value or [n for n, p in PORTS.items() if find(p.source)]:
        record = find_port(name).record
        pictures = portrait(
            load(name),
            RUNS.value / record.name,
            partial(channel_config, record),
            partial(dream_config, record),
        )
        path = folder / f"{record.name}.jpg"
        with atomic_open(path) as file:
            row(pictures).save(file, "JPEG", quality=88)
        write_text(path.with_suffix(".json"), json.dumps(list(pictures)) + "\n")
        print(f"{path}: {', '.join(pictures)}")
    return 0


def channel_config(record: Record, tap: str, units: tuple[int, ...]) -> ConfigDict:
    """Returns the config of a tap's pictures: Lucid's defaults.

    Gradient is let through units that are off at first, as deep ones are.
    """
    config = channel.get_config()
    config.model = record.name
    config.objective = f"{tap}:unit"
    config.size = (SIDE, SIDE)
    config.log_every = 32
    config.hparams.unit = units
    config.redirect_relu = record.redirectable
    return config


def dream_config(record: Record, tap: str) -> ConfigDict:
    """Returns the config of the dream: a tap's energy, twice as large, no way back."""
    config = photo.get_config()
    config.model = record.name
    config.objective = tap
    config.size = (2 * SIDE, 3 * SIDE)
    config.log_every = 16
    config.hparams.learning_rate = (0.008,)
    config.hparams.distance = (0.0,)
    config.hparams.seed = (0,)
    return config


if __name__ == "__main__":
    launch(main)
