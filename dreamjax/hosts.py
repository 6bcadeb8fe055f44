"""Many hosts: one job of several processes that share a folder.

Each process computes with its own devices only and writes its own files; nothing is
sent between them, so a process that is lost harms no other. `jax.distributed` tells
them who they are, on SLURM, Cloud TPU and Kubernetes by itself.
"""

import time
from pathlib import Path
from typing import NamedTuple

import jax

from dreamjax.errors import require
from dreamjax.workdir import is_running


class Hosts(NamedTuple):
    """Which process of a job this is, and of how many."""

    process: int
    processes: int

    @property
    def leads(self) -> bool:
        """Whether it is the one that plans and merges."""
        return self.process == 0


def connect(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> Hosts:
    """Joins this process to its job; call before JAX has a backend.

    A process that is lost may be started again and joins anew; the others go on.

    Args:
      coordinator: "host:port" of process 0; None asks the cluster.
      processes: how many there are; None asks the cluster.
      process: which one this is, from 0; None asks the cluster.

    Raises:
      ValueError: only some of the three are given, or they make no sense.
    """
    given = [value is not None for value in (coordinator, processes, process)]
    require(
        all(given) or not any(given),
        "coordinator, processes, process",
        (coordinator, processes, process),
        "give all three, or none on a cluster that JAX knows",
    )
    if processes is not None:
        require(processes >= 1, "processes", processes, "at least 1")
        require(0 <= process < processes, "process", process, f"0 … {processes - 1}")
    jax.config.update("jax_enable_recoverability", True)
    jax.distributed.initialize(coordinator, processes, process)
    return this_host()


def this_host() -> Hosts:
    """Returns this process's place in the job; (0, 1) where nothing was joined."""
    return Hosts(jax.process_index(), jax.process_count())


def share(blocks: list[int], hosts: Hosts) -> list[int]:
    """Returns the numbers of the blocks that are this process's to make."""
    return [number for number in blocks if number % hosts.processes == hosts.process]


def leave(workdir: Path, seconds: float = 60.0) -> None:
    """Parts from the job; the first process does so last.

    The others are told of nothing but its end, which to them is an error.

    Args:
      workdir: the folder that the job shares.
      seconds: that the first process waits for the others.
    """
    host = this_host()
    if host.processes == 1:
        return
    if host.leads:
        end = time.monotonic() + seconds
        others = range(1, host.processes)
        while time.monotonic() < end and any(is_running(workdir, p) for p in others):
            time.sleep(0.1)
        time.sleep(1)  # from leaving the folder to parting they need no longer
    jax.distributed.shutdown()
