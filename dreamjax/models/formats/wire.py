"""Protocol-buffer messages for the weight files of Caffe and TensorFlow.

The parser is the protobuf library's own; the message types are declared here, with
the few fields that matter, so neither framework nor its `.proto` files are needed.

Messages inside a message are declared as bytes and parsed one by one, after their
number and length are checked: an empty message takes two bytes of the file and fifty
in memory. Packed floats are declared as bytes too, which numpy reads without a copy.
"""

import mmap
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from dreamjax.models.formats.refuse import first_bytes

_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bool": _FIELD.TYPE_BOOL,
    "bytes": _FIELD.TYPE_BYTES,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
}


def declare(package: str, **messages: dict[str, tuple[int, str]]) -> dict[str, type]:
    """Returns message classes, by name.

    Args:
      package: a name of their own for these messages.
      messages: name -> {field name: (number, type)}. The type is bool, bytes, int32,
        int64, uint32 or uint64, with a "*" behind it for a repeated field (numbers
        are then read packed or not).
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto2"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.add(
                name=field,
                number=number,
                type=_TYPES[kind.removesuffix("*")],
                label=(
                    _FIELD.LABEL_REPEATED
                    if kind.endswith("*")
                    else _FIELD.LABEL_OPTIONAL
                ),
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{package}.{name}")
        )
        for name in messages
    }


def parse(kind: type, data: bytes, what: str) -> Any:
    """Returns the message that `data` holds.

    Raises:
      ValueError: it holds none; `what` says in the error which one was expected.
    """
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(f"{what} is damaged or cut off.") from error
    return message


def parse_file(kind: type, data: mmap.mmap) -> Any:
    """Returns the message that a whole file holds.

    Raises:
      ValueError: it holds none, or nothing that a field of `kind` stands for.
    """
    start = first_bytes(data[:64])
    try:
        message = parse(kind, data[:], "it")
    except ValueError as error:
        raise ValueError(f"it is damaged, cut off or no such message: {start}") from (
            error
        )
    if not message.ListFields():
        raise ValueError(f"it is no such message: {start}")
    return message


def text(data: bytes, what: str) -> str:
    """Returns a name, which must be UTF-8.

    Raises:
      ValueError: it is not.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is no text: {data[:20]!r}.") from error


def packed(chunks: Any, dtype: str, what: str) -> np.ndarray:
    """Returns the numbers of a packed field, which may come in several pieces.

    Raises:
      ValueError: a piece does not hold whole numbers.
    """
    data = b"".join(chunks)
    if len(data) % np.dtype(dtype).itemsize:
        raise ValueError(f"{what} has {len(data)} bytes of {dtype}.")
    return np.frombuffer(data, dtype)
