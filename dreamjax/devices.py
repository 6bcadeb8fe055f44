"""Devices: how many a CPU counts as, and how many a call of some runs takes.

XLA:CPU runs the large operators of a program on all cores and the small ones on one.
Several programs side by side fill what is left, and each touches less memory: on two
cores 32 runs as 8 programs of 4 cost 0.73 of what one program of 32 costs, 8 runs as 2
of 4 cost 0.81 (docs/performance.md). JAX runs programs side by side where the processor
is told to count as several devices, so the commands say that it does.
"""

import os
from collections.abc import Sequence

import jax

from dreamjax.errors import require

EACH = 4
"""Runs of one CPU device: with fewer, operators are too small to be worth a start."""

PER_CORE, MOST = 4, 16
"""Devices that a CPU counts as, for each core, and in all."""

COPIES = 0.1
"""Part of the free memory that the copies of the weights may take."""

GIVEN = ("JAX_NUM_CPU_DEVICES", "xla_force_host_platform_device_count")


def split_cpu() -> None:
    """Makes JAX count the processor as several devices; call before it has a backend.

    Does nothing where the environment says how many there are.
    """
    if GIVEN[0] in os.environ or GIVEN[1] in os.environ.get("XLA_FLAGS", ""):
        return
    jax.config.update("jax_num_cpu_devices", min(MOST, PER_CORE * cores()))


def choose_devices(
    count: int | None, runs: int, weights: int, memory: int
) -> Sequence[jax.Device]:
    """Returns the devices of this process that a call of so many runs is spread over.

    Args:
      count: as the caller wants; None takes all accelerators, or as many parts of the
        processor as have `EACH` runs and hold the weights.
      runs: of one call.
      weights: bytes, of which each device has a copy.
      memory: bytes that are free.

    Raises:
      ValueError: more than there are.
    """
    found = jax.local_devices()
    if count is None:
        count = len(found)
        if found[0].platform == "cpu":
            hold = int(COPIES * memory) // max(1, weights)
            count = max(1, min(count, runs // EACH, hold))
    require(1 <= count <= len(found), "devices", count, f"1 … {len(found)} are here")
    return found[:count]


def spread_text(devices: Sequence[jax.Device]) -> str:
    """Returns over what a program is spread, in words: several devices, or one CPU."""
    count = len(devices)
    if devices[0].platform != "cpu":
        return f"on {count} devices"
    return f"in {count} copies side by side on {_count(cores(), 'CPU core')}"


def cores() -> int:
    """Returns how many cores this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return found or os.cpu_count() or 1


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
