"""Many hosts: one job of several processes that share a folder.

Each process computes with its own devices and writes its own files. All that it has to
know is which of the processes it is, and of how many: the command line says so, or the
cluster's launcher through the environment. There is no coordinator and no connection
between the processes, so that the end of one, in whatever way, is not felt by another.
They see each other only by the files and the locks in the folder.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from dreamjax.errors import require
from dreamjax.workdir import is_running

WAIT = 600.0
"""Seconds that a process waits for another one that is not running."""

FIRST, EVERY = 10.0, 60.0
"""Seconds of waiting until the first line about it, and between all others."""


class Hosts(NamedTuple):
    """Which process of a job this is, and of how many."""

    process: int
    processes: int

    @property
    def leads(self) -> bool:
        """Whether it is the one that plans and merges."""
        return self.process == 0


class Launcher(NamedTuple):
    """How a cluster's launcher tells a process its place, by environment variables.

    Attributes:
      name: of the launcher.
      process: which process this is, from 0.
      processes: how many there are; '' where the launcher does not tell.
      local: which process of its machine this is, from 0; '' where it does not tell.
      needed: a variable that must be there too; '' where none must. SLURM sets the
        others in a batch script as well, which is no process of the job.
    """

    name: str
    process: str
    processes: str
    local: str = ""
    needed: str = ""


LAUNCHERS = (
    Launcher(
        *("SLURM", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
        needed="SLURM_STEP_NODELIST",
    ),
    Launcher(
        *("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
        local="OMPI_COMM_WORLD_LOCAL_RANK",
    ),
    Launcher("MPICH or Intel MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    Launcher("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
    Launcher("Kubernetes (an indexed Job)", "JOB_COMPLETION_INDEX", ""),
)

_joined: Hosts | None = None


def connect(processes: int | None = None, process: int | None = None) -> Hosts:
    """Makes this process one of a job; call before JAX has a backend.

    Where a launcher starts several processes on one machine, each takes one GPU of it,
    unless the launcher has already shown it just one.

    Args:
      processes: how many there are; None asks the launcher.
      process: which one this is, from 0; None asks the launcher.

    Raises:
      ValueError: neither the arguments nor the environment tell, or what they tell
        makes no sense.
    """
    global _joined
    if processes is None or process is None:
        told = _told(os.environ)
        if told is None and processes is None and process is None:
            told = _tpu_slice()
        processes = told.processes if processes is None and told else processes
        process = told.process if process is None and told else process
    require(
        processes is not None and process is not None,
        "processes, process",
        (processes, process),
        "give both; no launcher that is known tells them"
        f" ({', '.join(launcher.name for launcher in LAUNCHERS)})",
    )
    require(processes >= 1, "processes", processes, "at least 1")
    require(0 <= process < processes, "process", process, f"0 … {processes - 1}")
    _joined = Hosts(process, processes)
    return _joined


def this_host() -> Hosts:
    """Returns this process's place in the job; (0, 1) where it joined none."""
    return Hosts(0, 1) if _joined is None else _joined


def share(blocks: list[int], hosts: Hosts) -> list[int]:
    """Returns the numbers of the blocks that are this process's to make."""
    return [number for number in blocks if number % hosts.processes == hosts.process]


class Waiting:
    """Waits for other processes of a job: says so, and gives up on what is not there.

    A process that runs may take as long as it needs. One that does not run (it was
    lost, stopped or never started) is waited for so long that it can be started again.
    """

    def __init__(
        self,
        workdir: Path,
        wait: float,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts to wait.

        Args:
          workdir: the folder that the job shares.
          wait: seconds, for a process that is not running.
          report: takes each line of what is said.
          clock: in seconds.
        """
        self._workdir, self._wait, self._report = workdir, wait, report
        self._clock = clock
        self._next = clock() + FIRST
        self._lost_since: dict[int, float] = {}

    def look(self, owners: Sequence[int], what: str) -> None:
        """Looks at the processes that are waited for; call it again and again.

        Args:
          owners: numbers of the processes.
          what: is waited for, for the line that says so.

        Raises:
          ValueError: one of them has not been running for too long.
        """
        now = self._clock()
        lost = [p for p in owners if not is_running(self._workdir, p)]
        self._lost_since = {p: self._lost_since.get(p, now) for p in lost}
        gone = [p for p in lost if now - self._lost_since[p] >= self._wait]
        if gone:
            raise ValueError(
                f"process {gone[0]} of this job is not running, and {self._wait:g}"
                f" seconds of waiting for {what} are over (--wait). All that is"
                " finished is kept: start all processes again, or fewer of them."
            )
        if now >= self._next:
            self._next = now + EVERY
            missing = f"; not running, to be started again: {lost}" if lost else ""
            self._report(f"waiting for {what} of process {_listed(owners)}{missing}")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


class _Told(NamedTuple):
    process: int
    processes: int | None


def _told(environment: Mapping[str, str]) -> _Told | None:
    """Returns what a launcher says in the environment, None where there is none."""
    for launcher in LAUNCHERS:
        named = [launcher.process, launcher.processes, launcher.needed]
        if any(name and name not in environment for name in named):
            continue
        process = _number(environment, launcher.process)
        count = None
        if launcher.processes:
            count = _number(environment, launcher.processes)
        if launcher.local in environment and not _sees_one_gpu(environment):
            local = _number(environment, launcher.local)
            jax.config.update("jax_cuda_visible_devices", str(local))
            jax.config.update("jax_rocm_visible_devices", str(local))
        return _Told(process, count)
    return None


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    require(text.isascii() and text.isdigit(), name, text, "a whole number")
    return int(text)


def _sees_one_gpu(environment: Mapping[str, str]) -> bool:
    """Tells whether the launcher has left this process a single GPU to see."""
    shown = environment.get("CUDA_VISIBLE_DEVICES")
    return shown is not None and "," not in shown


def _tpu_slice() -> _Told | None:
    """Returns this host's place in a TPU slice, which the TPU's own runtime knows."""
    if jax.default_backend() != "tpu":
        return None
    return _Told(jax.process_index(), jax.process_count())
