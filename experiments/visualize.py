"""Runs a sweep: any config, any overrides, into one folder.

    python -m experiments.visualize --config=configs/quickstart.py \
        --workdir=results/runs/quickstart --config.hparams.tv='(0., 1., 10.)'
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from dreamjax.cache import use_compile_cache
from dreamjax.runner import Interrupted, run

CONFIG = config_flags.DEFINE_config_file(
    "config", "configs/quickstart.py", "Config file, with :quicktest for a toy size."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything.", required=True)


def main(arguments: list[str]) -> int:
    """Runs; returns the exit status."""
    if len(arguments) > 1:
        print(f"not understood: {' '.join(arguments[1:])}", file=sys.stderr)
        return 2
    use_compile_cache()
    try:
        run(CONFIG.value, WORKDIR.value)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    app.run(main)
