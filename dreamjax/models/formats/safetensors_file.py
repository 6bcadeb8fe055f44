"""Reads a `.safetensors` file: name -> numpy array, bfloat16 included.

The parser is the `safetensors` library's own: its header check refuses overlaps, gaps
and sizes that do not fit. It takes the last of two tensors of one name, and returns
them in any order, so the names are read here as well.
"""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, deserialize

from dreamjax.json_file import loads
from dreamjax.models.formats.refuse import (
    add,
    count_elements,
    first_bytes,
    map_file,
    reading,
    short,
)


def read_safetensors_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a `.safetensors` file.

    Args:
      path: the file.

    Returns:
      name -> array, in the header's order. A bfloat16 tensor has the dtype of
      `ml_dtypes`.

    Raises:
      ValueError: naming the file and what is wrong with it: it is absent, damaged, no
        safetensors file, holds no tensor, two of one name, or one of an 8-bit float
        or smaller.
    """
    with reading(path, "a safetensors file"):
        data = map_file(path)[:]
        try:
            tensors = dict(deserialize(data))
        except SafetensorError as error:
            reason = str(error)[:200]
            raise ValueError(f"{reason}; {first_bytes(data[:64])}") from error
        if not tensors:
            raise ValueError("it holds no tensor.")
        arrays: dict[str, np.ndarray] = {}
        for name in _names(data):
            add(arrays, name, _array(name, tensors[name]))
        return arrays


def _names(data: bytes) -> list[str]:
    """The names in the header, no two alike; the library has checked all else."""
    length = int.from_bytes(data[:8], "little")
    header = loads(data[8 : 8 + length])
    return [name for name in header if name != "__metadata__"]


def _array(name: str, tensor: dict[str, Any]) -> np.ndarray:
    if tensor["dtype"] not in _DTYPES:
        raise ValueError(
            f"tensor {short(name)} has the type {tensor['dtype']}."
            f" Allowed: {', '.join(_DTYPES)}."
        )
    count_elements(tensor["shape"], f"tensor {short(name)}")
    dtype = _DTYPES[tensor["dtype"]]
    # A bool of any byte but 0 and 1 would break numpy's arithmetic.
    stored = np.dtype(np.uint8) if dtype == np.bool_ else dtype
    array = np.frombuffer(tensor["data"], stored).reshape(tensor["shape"])
    return array != 0 if dtype == np.bool_ else array


_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
