"""What every reader of weights does alike: look at the file, bound it, refuse it.

A weights file comes from the network. Each reader answers it with arrays or with one
ValueError that names the file and what is wrong; `reading` makes that error.
"""

import contextlib
import math
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

# VGG-19 has 38 tensors, the largest vision networks some thousand.
MAX_TENSORS = 100_000
MAX_RANK = 32
MAX_NAME = 500
# What a compressed or filled-up file may grow to: weights with nine zeros in ten
# compress about tenfold, and a small file may hold a large constant.
_EXPANSION = 16
_SPARE_BYTES = 1 << 26

_STARTS = {
    b"version https://git-lfs": "it is a Git LFS pointer, not the file itself.",
    b"PK\x03\x04": "it is a zip archive.",
    b"\x89HDF": "it is an HDF5 file.",
    b"\x1f\x8b": "it is compressed by gzip.",
}


@contextlib.contextmanager
def reading(path: str | Path, kind: str) -> Iterator[None]:
    """Turns a ValueError or OSError of the block into the ValueError of a reader.

    Args:
      path: the file that the block reads.
      kind: what it is read as, such as "an HDF5 file of Keras weights".
    """
    try:
        yield
    except (ValueError, OSError) as error:
        raise ValueError(
            f"path={str(path)!r} cannot be read as {kind}: {error}"
        ) from error


def map_file(path: str | Path) -> mmap.mmap:
    """Maps a regular file: no read then asks for more memory than the file has.

    Raises:
      ValueError: it is absent, empty, or a folder, pipe or device.
    """
    path = Path(path)
    if not path.is_file():
        what = "it is not a regular file" if path.exists() else "there is no such file"
        raise ValueError(f"{what}.")
    with open(path, "rb") as file:
        if path.stat().st_size == 0:
            raise ValueError("the file is empty.")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def first_bytes(head: bytes) -> str:
    """Says what a file is that is not what it should be."""
    for start, what in _STARTS.items():
        if head.startswith(start):
            return what
    if head.lstrip().startswith(b"<"):
        return f"it looks like a web page, not weights: it begins with {head[:20]!r}."
    return f"it begins with {head[:20]!r}."


def short(text: str) -> str:
    """Returns the text in quotes, at most 100 characters of it."""
    return repr(text if len(text) <= 100 else text[:100] + "…")


def byte_limit(size: int) -> int:
    """Returns how many bytes the tensors of a file of `size` bytes may take."""
    return _EXPANSION * size + _SPARE_BYTES


def count_elements(shape: Sequence[int], what: str) -> int:
    """Returns the product of `shape`.

    Raises:
      ValueError: too many axes, a negative one, or a product beyond 2^62.
    """
    if len(shape) > MAX_RANK:
        raise ValueError(f"{what} has {len(shape)} axes, more than {MAX_RANK}.")
    if any(n < 0 for n in shape):
        raise ValueError(f"{what} has a negative size in its shape {tuple(shape)}.")
    # Of the sizes but 0 too: numpy counts them so.
    if math.prod(n for n in shape if n) >> 62:
        raise ValueError(f"{what} has more than 2^62 elements.")
    return math.prod(shape)


def add(arrays: dict[str, np.ndarray], name: str, array: np.ndarray) -> None:
    """Puts a tensor under its name.

    Raises:
      ValueError: the name is taken, empty or too long, or there are too many tensors.
    """
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"it has a name of {len(name)} characters, not 1…{MAX_NAME}.")
    if name in arrays:
        raise ValueError(f"two tensors have the name {short(name)}.")
    if len(arrays) == MAX_TENSORS:
        raise ValueError(f"it has more than {MAX_TENSORS} tensors.")
    arrays[name] = array
