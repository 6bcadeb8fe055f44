"""Reads a flat `.npz`, as `numpy.savez` writes it: name -> numpy array.

`numpy.load` is not used: it allocates what a header claims before it looks at the data,
and it inflates a record of any size. Here the zip's directory is checked against the
file's size first, and each header against its record.
"""

import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from dreamjax.models.formats.refuse import (
    add,
    byte_limit,
    count_elements,
    first_bytes,
    map_file,
    reading,
    short,
)

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000
# The header is a Python dict as text. numpy writes these three keys in this order; the
# L of Python 2's long integers is allowed.
_HEADER = re.compile(
    r"\{'descr': '([<>|=][A-Za-z]\d{1,3})', 'fortran_order': (True|False),"
    r" 'shape': \(((?:-?\d{1,20}L?(?:, ?|(?=\))))*)\),? *\} *\n?"
)
_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def read_npz_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a `.npz` file, compressed or not; unpickles nothing.

    Args:
      path: the file.

    Returns:
      name -> array, without the ".npy" of the record's name, in the file's order and
      in the machine's byte order.

    Raises:
      ValueError: naming the file and what is wrong with it: it is absent, damaged (each
        record has a checksum), no .npz, or holds anything but arrays of numbers, two
        arrays of one name, or arrays much larger than the file.
    """
    with reading(path, "a .npz file of numeric arrays"):
        data = map_file(path)
        if data[:4] != b"PK\x03\x04":
            raise ValueError(first_bytes(data[:64]))
        try:
            with zipfile.ZipFile(path) as archive:
                return _arrays(archive, byte_limit(len(data)))
        except _DAMAGED as error:
            raise ValueError(f"the zip is damaged or cut off ({error}).") from error


# What zipfile and zlib raise on a damaged archive.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
)


def _arrays(archive: zipfile.ZipFile, limit: int) -> dict[str, np.ndarray]:
    infos = archive.infolist()
    # A record never yields more than its file_size, whatever it inflates to.
    claimed = sum(info.file_size for info in infos)
    if claimed > limit:
        raise ValueError(
            f"its arrays claim {claimed} bytes, more than the {limit} that a file of"
            " its size may."
        )
    if not infos:
        raise ValueError("it holds no array.")
    arrays: dict[str, np.ndarray] = {}
    for info in infos:
        add(arrays, info.filename.removesuffix(".npy"), _record(archive, info))
    return arrays


def _record(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    what = f"record {short(info.filename)}"
    if not info.filename.endswith(".npy"):
        raise ValueError(f"{what} is no array (.npy).")
    if info.flag_bits & 1 or info.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):
        raise ValueError(f"{what} is encrypted or compressed by other than deflate.")
    with archive.open(info) as stream:
        dtype, fortran, shape, start = _header(stream, what)
        size = count_elements(shape, what) * dtype.itemsize
        if start + size != info.file_size:
            raise ValueError(
                f"{what} has {info.file_size - start} bytes of data, its header says"
                f" {size}."
            )
        content = stream.read(size)
        # The end of the record is where its checksum is compared.
        if len(content) != size or stream.read(1):
            raise ValueError(f"{what} is cut off.")
    array = np.frombuffer(content, dtype)
    array = array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
    return np.ascontiguousarray(array, dtype.newbyteorder("=")).reshape(shape)


def _header(stream: IO[bytes], what: str) -> tuple[np.dtype, bool, tuple, int]:
    """Returns an array's type, whether Fortran wrote it, its shape, where data starts.

    Raises:
      ValueError: no header of version 1 to 3, or a type that is no number.
    """
    start = stream.read(8)
    if len(start) != 8 or start[:6] != _MAGIC or start[6] not in (1, 2, 3):
        raise ValueError(f"{what} is no array: it begins with {start!r}.")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"{what} has a header of {length} bytes.")
    text = stream.read(length).decode("latin-1")
    found = _HEADER.fullmatch(text)
    if found is None or found[1][1:] not in _DTYPES:
        raise ValueError(
            f"{what} is no array of numbers: its header is {short(text.strip())}."
        )
    sizes = found[3].replace("L", "").split(",")
    shape = tuple(int(size) for size in sizes if size.strip())
    return np.dtype(found[1]), found[2] == "True", shape, 8 + width + length
