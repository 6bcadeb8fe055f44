"""Runs a sweep: any config, any overrides, into one folder.

    python -m experiments.visualize --config=configs/quickstart.py \
        --workdir=results/runs/quickstart --config.hparams.tv='(0., 1., 10.)'
"""

from absl import flags

from dreamjax.cache import use_compile_cache
from dreamjax.cli import config_flag, given_config, launch
from dreamjax.runner import run

CONFIG = config_flag("configs/quickstart.py")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything.", required=True)


def main(arguments: list[str]) -> int:
    """Runs the sweep; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    use_compile_cache()
    run(given_config(CONFIG), WORKDIR.value)
    return 0


if __name__ == "__main__":
    launch(main)
