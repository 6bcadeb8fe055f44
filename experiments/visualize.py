"""Runs a sweep: any config, any overrides, into one folder.

    python -m experiments.visualize --config=configs/quickstart.py \
        --workdir=results/runs/quickstart --config.hparams.tv='(0., 1., 10.)'

The same command goes on with a sweep that was interrupted, with more runs or steps it
extends one that is finished. --hosts makes it one process of a job (docs/sweeps.md).
"""

from pathlib import Path

from absl import flags

from dreamjax.cache import use_compile_cache
from dreamjax.cli import config_flag, given_config, launch
from dreamjax.hosts import connect, leave
from dreamjax.runner import run

CONFIG = config_flag("configs/quickstart.py")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for everything.", required=True)
DEVICES = flags.DEFINE_integer("devices", None, "Devices to use; else what is fast.")
HOSTS = flags.DEFINE_bool("hosts", False, "Join a job; a known cluster tells the rest.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0.")
PROCESSES = flags.DEFINE_integer("processes", None, "Processes of the job.")
PROCESS = flags.DEFINE_integer("process", None, "Which one this is, from 0.")


def main(arguments: list[str]) -> int:
    """Runs the sweep; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    config = given_config(CONFIG)
    if HOSTS.value:
        connect(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    use_compile_cache()
    run(config, WORKDIR.value, devices=DEVICES.value)
    leave(Path(WORKDIR.value))
    return 0


if __name__ == "__main__":
    launch(main)
