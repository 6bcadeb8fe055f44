"""Runs a sweep: any config, any overrides, into one folder.

    python -m experiments.visualize --config=configs/quickstart.py \
        --workdir=results/runs/quickstart --config.hparams.tv='(0., 1., 10.)'

The same command goes on with a sweep that was interrupted, with more runs or steps it
extends one that is finished. --hosts makes it one process of a job (docs/sweeps.md).
"""

from absl import flags

from dreamjax import hosts
from dreamjax.cache import use_compile_cache
from dreamjax.cli import config_flag, given_config, launch, path_flag
from dreamjax.runner import run

CONFIG = config_flag("configs/quickstart.py")
WORKDIR = path_flag("workdir", None, "Folder for everything.", required=True)
DEVICES = flags.DEFINE_integer("devices", None, "Devices to use; else what is fast.")
HOSTS = flags.DEFINE_bool(
    "hosts", False, "Be one process of a job; a known launcher tells which."
)
PROCESSES = flags.DEFINE_integer("processes", None, "Processes of the job.")
PROCESS = flags.DEFINE_integer("process", None, "Which one this is, from 0.")
WAIT = flags.DEFINE_float(
    "wait", hosts.WAIT, "Seconds to wait for another process that is not running."
)


def main(arguments: list[str]) -> int:
    """Runs the sweep; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    config = given_config(CONFIG)
    if HOSTS.value:
        hosts.connect(PROCESSES.value, PROCESS.value)
    use_compile_cache()
    run(config, WORKDIR.value, devices=DEVICES.value, wait=WAIT.value)
    return 0


if __name__ == "__main__":
    launch(main)
