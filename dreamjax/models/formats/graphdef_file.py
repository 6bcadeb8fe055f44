"""Reads the constants of a frozen TensorFlow graph: node name -> numpy array.

The file is one protocol-buffer message, GraphDef. Its `Const` nodes with numbers are
the weights; constants of strings, booleans and other types are left out, and so is
every other node.
"""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from dreamjax.models.formats.refuse import (
    MAX_NAME,
    MAX_RANK,
    MAX_TENSORS,
    add,
    byte_limit,
    count_elements,
    first_bytes,
    map_file,
    reading,
    short,
)
from dreamjax.models.formats.wire import declare, packed, parse, parse_file, text

_MESSAGES = declare(
    "dreamjax_graphdef",
    Graph={"node": (1, "bytes*")},
    Node={"name": (1, "bytes"), "op": (2, "bytes"), "attr": (5, "bytes*")},
    Entry={"key": (1, "bytes"), "value": (2, "bytes")},
    Value={"tensor": (8, "bytes")},
    Tensor={
        "dtype": (1, "int32"),
        "shape": (2, "bytes"),
        "content": (4, "bytes"),
        "float_val": (5, "bytes*"),
        "double_val": (6, "bytes*"),
        "int_val": (7, "int32*"),
        "int64_val": (10, "int64*"),
        "half_val": (13, "int32*"),
        "uint32_val": (16, "uint32*"),
        "uint64_val": (17, "uint64*"),
    },
    Shape={"dim": (2, "bytes*"), "unknown_rank": (3, "bool")},
    Dim={"size": (1, "int64")},
)
_MAX_ATTRIBUTES = 1000
# A graph has more nodes than tensors.
_MAX_NODES = 10 * MAX_TENSORS


def read_graphdef_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the numeric constants of a frozen GraphDef (`.pb`).

    Args:
      path: a GraphDef in binary form.

    Returns:
      node name -> array, in the file's order. A bfloat16 constant has the dtype of
      `ml_dtypes`.

    Raises:
      ValueError: naming the file and what is wrong with it: it is absent, damaged, no
        GraphDef, holds no numeric constant, two nodes of one name, a constant that
        does not fit its shape, or constants much larger than the file.
    """
    with reading(path, "a frozen TensorFlow graph (GraphDef, binary)"):
        data = map_file(path)
        graph = parse_file(_MESSAGES["Graph"], data)
        if len(graph.node) > _MAX_NODES:
            raise ValueError(f"it has {len(graph.node)} nodes, more than {_MAX_NODES}.")
        arrays: dict[str, np.ndarray] = {}
        left = byte_limit(len(data))
        for node in graph.node:
            node = parse(_MESSAGES["Node"], node, "a node")
            if node.op != b"Const":
                continue
            name = text(node.name, "a node's name")
            array = _constant(node, f"constant {short(name)}", left)
            if array is not None:
                left -= array.nbytes
                add(arrays, name, array)
        if not arrays:
            start = first_bytes(data[:64])
            raise ValueError(f"it holds no numeric constant: {start}")
        return arrays


def _constant(node: Any, what: str, limit: int) -> np.ndarray | None:
    """The array of a Const node, or None if its type is not in the table."""
    if len(node.attr) > _MAX_ATTRIBUTES:
        raise ValueError(f"{what} has {len(node.attr)} attributes.")
    entries = [parse(_MESSAGES["Entry"], entry, what) for entry in node.attr]
    values = [entry.value for entry in entries if entry.key == b"value"]
    if len(values) != 1:
        raise ValueError(f"{what} has {len(values)} values, not one.")
    value = parse(_MESSAGES["Value"], values[0], what)
    if not value.HasField("tensor"):
        raise ValueError(f"{what} has a value that is no tensor.")
    tensor = parse(_MESSAGES["Tensor"], value.tensor, what)
    if tensor.dtype not in _DTYPES:
        return None
    dtype, field = _DTYPES[tensor.dtype]
    shape = _shape(tensor.shape, what)
    count = count_elements(shape, what)
    if count * dtype.itemsize > limit:
        raise ValueError(
            f"{what} has the shape {shape}: with the constants before it more bytes"
            " than a file of its size may."
        )
    if tensor.content:
        if len(tensor.content) != count * dtype.itemsize:
            raise ValueError(
                f"{what} has {len(tensor.content)} bytes, its shape {shape} says"
                f" {count * dtype.itemsize}."
            )
        return np.frombuffer(tensor.content, dtype).reshape(shape)
    return _filled(_values(tensor, dtype, field, what), shape, count, what)


def _shape(data: bytes, what: str) -> tuple[int, ...]:
    # An axis may have a name.
    if len(data) > MAX_RANK * MAX_NAME:
        raise ValueError(f"{what} has a shape of {len(data)} bytes.")
    shape = parse(_MESSAGES["Shape"], data, f"the shape of {what}")
    if shape.unknown_rank:
        raise ValueError(f"{what} has a shape of unknown rank.")
    return tuple(
        parse(_MESSAGES["Dim"], dim, f"the shape of {what}").size for dim in shape.dim
    )


def _values(tensor: Any, dtype: np.dtype, field: str, what: str) -> np.ndarray:
    """The numbers that are there one by one, of the constant's type."""
    stored = getattr(tensor, field)
    if field in ("float_val", "double_val"):
        return packed(stored, dtype.str, what)
    if field == "half_val":  # the sixteen bits of a half or bfloat16 as an integer
        bits = np.fromiter(stored, np.int32, len(stored))
        return _cast(bits, np.dtype(np.uint16), what).view(dtype)
    if dtype.itemsize == 8:
        return np.fromiter(stored, dtype, len(stored))
    return _cast(np.fromiter(stored, np.int64, len(stored)), dtype, what)


def _cast(values: np.ndarray, dtype: np.dtype, what: str) -> np.ndarray:
    bounds = np.iinfo(dtype)
    if values.size and not bounds.min <= values.min() <= values.max() <= bounds.max:
        raise ValueError(f"{what} has a number that is no {dtype.name}.")
    return values.astype(dtype)


def _filled(
    values: np.ndarray, shape: tuple[int, ...], count: int, what: str
) -> np.ndarray:
    """TensorFlow's rule: the last number stands for the rest, and none for zeros."""
    if len(values) > count:
        raise ValueError(
            f"{what} has {len(values)} numbers, its shape {shape} says {count}."
        )
    array = np.zeros(count, values.dtype)
    array[: len(values)] = values
    if len(values):
        array[len(values) :] = values[-1]
    return array.reshape(shape)


# TensorFlow's number of a type -> (type, the field of numbers given one by one).
_DTYPES = {
    1: (np.dtype("<f4"), "float_val"),
    2: (np.dtype("<f8"), "double_val"),
    3: (np.dtype("<i4"), "int_val"),
    4: (np.dtype("u1"), "int_val"),
    5: (np.dtype("<i2"), "int_val"),
    6: (np.dtype("i1"), "int_val"),
    9: (np.dtype("<i8"), "int64_val"),
    14: (np.dtype(ml_dtypes.bfloat16), "half_val"),
    17: (np.dtype("<u2"), "int_val"),
    19: (np.dtype("<f2"), "half_val"),
    22: (np.dtype("<u4"), "uint32_val"),
    23: (np.dtype("<u8"), "uint64_val"),
}
