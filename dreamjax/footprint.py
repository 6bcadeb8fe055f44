"""Bytes: what a compiled program takes, what is free, and how many runs fit.

XLA knows before a program runs how much memory it will take. Of a block of R runs all
but the weights grows with R, so that one program tells how many runs fit (bytes of
`Footprint.peak`, the compiled step of EfficientNet-Lite0 `b8` at 128 px with Lucid's
transforms, jax 0.10.2 on CPU):

    R                       2          4          8
    peak, MB            26.58      51.74     102.06
    predicted from R = 2           51.75     102.07

The weights are those that the program reads, 1.42 of 18.5 MB there: JAX drops arguments
that it does not need. So take for `fixed` what `Footprint.arguments` has over the bytes
of the arguments that do grow, `tree_bytes((state, hp))`.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from dreamjax.errors import require

MARGIN = 0.8  # of the free memory: the allocator's losses, other programs of a block
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MEMINFO = Path("/proc/meminfo")


class Footprint(NamedTuple):
    """What a compiled program takes on one device, in bytes.

    Attributes:
      arguments: its inputs, the weights among them.
      outputs: what it returns.
      aliased: outputs that are written over donated inputs.
      temporaries: what it needs in between.
      code: the program itself.
      peak: arguments + outputs - aliased + temporaries.
    """

    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    code: int
    peak: int


def footprint(compiled: jax.stages.Compiled) -> Footprint | None:
    """Returns the memory of a compiled program; None where the backend does not say."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    arguments = found.argument_size_in_bytes
    outputs = found.output_size_in_bytes
    aliased = found.alias_size_in_bytes
    temporaries = found.temp_size_in_bytes
    return Footprint(
        arguments,
        outputs,
        aliased,
        temporaries,
        found.generated_code_size_in_bytes,
        arguments + outputs - aliased + temporaries,
    )


def tree_bytes(tree: Any) -> int:
    """Returns the bytes of all arrays, or shapes of arrays, of a tree."""

    def size(leaf: Any) -> int:
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)
        return math.prod(leaf.shape) * leaf.dtype.itemsize

    return sum(size(leaf) for leaf in jax.tree.leaves(tree))


def runs_that_fit(
    peak: int, runs: int, free: int, fixed: int, *, margin: float = MARGIN
) -> int:
    """Returns how many runs a program may have so that it fits, 0 if not one.

        fixed + R (peak - fixed) / runs <= margin * free

    Args:
      peak: bytes of a program of `runs` runs.
      runs: of that program.
      free: bytes that such a program may take in all. Weights that are on the device
        already are in `peak` but not free: add them.
      fixed: the part of `peak` that does not grow with the runs: the weights that it
        reads.
      margin: the part of `free` that is used.

    Raises:
      ValueError: no runs, or more fixed than the whole.
    """
    require(runs >= 1, "runs", runs, "at least 1")
    require(0 <= fixed < peak, "fixed", fixed, f"0 … less than peak={peak}")
    require(0 < margin <= 1, "margin", margin, "above 0, at most 1")
    return max(0, int((margin * free - fixed) * runs / (peak - fixed)))


def free_memory(device: jax.Device | None = None) -> int:
    """Returns the bytes that a device has free; None is the default device.

    An accelerator counts itself. On a host it is what the system can give without
    swapping, or what the limit of a container leaves, whichever is less.
    """
    device = jax.local_devices()[0] if device is None else device
    stats = device.memory_stats()
    if stats is not None and "bytes_limit" in stats:
        return max(0, stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return host_memory()


def host_memory(
    meminfo: Path = MEMINFO, cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP
) -> int:
    """Returns the bytes that this process can still take on its host."""
    left = container_memory(cgroups, membership)
    available = _available(meminfo)
    return available if left is None else min(available, left)


def container_memory(
    cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP
) -> int | None:
    """Returns the bytes that the limits of Linux control groups leave, or None.

    Both versions are read, and every group from the process's own up to the root: the
    tightest counts. Cached files that the kernel would drop first are free.
    """
    left = [
        bytes_left
        for folder, names in _groups(cgroups, membership)
        if (bytes_left := _left(folder, *names)) is not None
    ]
    return min(left, default=None)


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def _groups(root: Path, membership: Path) -> Iterator[tuple[Path, tuple]]:
    """Yields the folder of each group that this process is in, and its files' names."""
    for line in _text(membership).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            yield from ((folder, V1) for folder in _upward(root / "memory", path))
        elif number == "0" and not controllers:
            for base in (root, root / "unified"):
                yield from ((folder, V2) for folder in _upward(base, path))


def _upward(root: Path, path: str) -> Iterator[Path]:
    """Yields root/path and all above it down to root.

    In a container the path is often the host's, and only root is there.
    """
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for n in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:n])


def _left(folder: Path, limit: str, usage: str, cache: str) -> int | None:
    most, used = _number(folder / limit), _number(folder / usage)
    if most is None or used is None:
        return None
    lines = (line.split() for line in _text(folder / "memory.stat").splitlines())
    cached = next((int(words[1]) for words in lines if words[0] == cache), 0)
    return max(0, most - used + min(cached, used))


def _available(meminfo: Path) -> int:
    for line in _text(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None  # "max" is no limit


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
