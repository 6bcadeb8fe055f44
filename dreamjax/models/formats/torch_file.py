"""Reads a PyTorch checkpoint (`.pth`, `.pt`) without PyTorch: name -> numpy array.

Both formats hold a pickle that describes the tensors, and raw storages:

* zip (PyTorch 1.6 and later): `NAME/data.pkl`, one `NAME/data/KEY` per storage, all
  stored uncompressed; `NAME/byteorder` says "little" or "big".
* legacy: the pickles of a magic number, a protocol version, the writer's system, the
  object and the list of storage keys; then, per key, an int64 element count and the
  elements.

A pickle is a program, and a checkpoint comes from the network. It is therefore not
given to `pickle.Unpickler` but run by a machine of some thirty instructions
(`_unpickle`) that can build numbers, strings, containers and descriptions of tensors:
it imports nothing and calls nothing but the functions in the table at the foot of this
module. Restricting `pickle.Unpickler.find_class` stops foreign code as well, but not a
1 MB file of nested tuples used as a dictionary key (hashing it overflows the C stack
and kills the process), nor a 9-byte one whose memo index allocates gigabytes.

Tensors stay descriptions until the wanted mapping is known, so an optimizer's state
in the same file costs nothing.
"""

import dataclasses
import io
import math
import mmap
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from dreamjax.errors import choose
from dreamjax.models.formats.refuse import first_bytes, map_file, reading

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_WRAPPERS = ("state_dict", "model")

# A tensor takes about 35 instructions: this is 50 000 tensors, and a few seconds.
_MAX_INSTRUCTIONS = 2_000_000
_MAX_ENTRIES = 200_000
_MAX_DEPTH = 32
_MAX_RANK = 32
_MAX_NAME = 500
# Expanded (stride 0) tensors may be larger than the file, but not without limit.
_EXPANSION = 4
_SPARE_BYTES = 1 << 26


@dataclasses.dataclass(frozen=True)
class _Global:
    """A name that the pickle mentions; it stands for itself and cannot be called."""

    name: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A run of `count` elements in the file, not read yet."""

    key: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage, in elements, within its bounds."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_torch_file(path: str | Path, key: str | None = None) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch checkpoint; executes nothing from it.

    A state dict inside `{"state_dict": ...}` or `{"model": ...}` is taken out of its
    wrapper. Other nested mappings and lists are flattened with dots:
    `{"ema": {"weight": ...}}` gives `"ema.weight"`. Entries that are not tensors
    (epoch, learning rate, names) are left out.

    Args:
      path: a `.pth` or `.pt` file, as `torch.save` writes it in either format.
      key: the top-level entry to read; None for the state dict as above.

    Returns:
      name -> array, in the file's order, each a contiguous copy of its own. A bfloat16
      tensor has the dtype of `ml_dtypes`.

    Raises:
      ValueError: naming the file and what is wrong with it: it is absent, damaged,
        no checkpoint, TorchScript, big-endian, holds no tensor, or its pickle names
        something other than tensors (that name is in the message); or `key` is none
        of its entries, or is needed because both wrappers are there.
    """
    with reading(
        path,
        "a PyTorch checkpoint (.pth or .pt, zip or legacy format, tensors only)",
    ):
        data = map_file(path)
        if data[:4] == b"PK\x03\x04":
            top, read = _open_zip(data, Path(path))
        else:
            top, read = _open_legacy(data)
        limit = _EXPANSION * len(data) + _SPARE_BYTES
        return _arrays(_select(top, key), read, limit)


# The pickle machine.


def _unpickle(stream: Any) -> tuple[Any, dict[str, _Storage]]:
    """Runs one pickle of `stream` up to its STOP, in time linear in its length.

    Mappings become dicts, `torch.Size` a tuple, a device its name; attributes set on an
    OrderedDict (a state dict's `_metadata`) are dropped.

    Args:
      stream: has `read`, `readline` and `tell`; is left just behind the STOP.

    Returns:
      The object, and every storage that the pickle mentions, by key.

    Raises:
      ValueError: an instruction or a name outside the tables, or a damaged pickle.
    """
    try:
        return _run(stream)
    except (IndexError, KeyError) as error:
        raise ValueError("its pickle is damaged.") from error


def _run(stream: Any) -> tuple[Any, dict[str, _Storage]]:
    storages: dict[str, _Storage] = {}
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop_to_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for count, (opcode, argument, _) in enumerate(_instructions(stream)):
        if count > _MAX_INSTRUCTIONS:
            raise ValueError(f"its pickle exceeds {_MAX_INSTRUCTIONS} instructions.")
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                if len(stack) != 1 or marks:
                    raise ValueError("its pickle is damaged.")
                return stack[0], storages
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT"
                | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8"
                | "BINSTRING" | "SHORT_BINSTRING"  # written by Python 2
            ):  # fmt: skip
                stack.append(argument)
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                marks.append(len(stack) - int(opcode.name[-1]))
                if marks[-1] < 0:
                    raise ValueError("its pickle is damaged.")
                stack.append(tuple(pop_to_mark()))
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if opcode.name == "APPEND" else pop_to_mark()
                _expect(stack[-1], list, "a list to append to").extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack[-1], [(key, value)])
            case "SETITEMS":
                items = pop_to_mark()
                if len(items) % 2:
                    raise ValueError("its pickle is damaged.")
                _set_items(stack[-1], zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(
                    _global(
                        _expect(module, str, "a module name"),
                        _expect(name, str, "a name"),
                    )
                )
            case "REDUCE":
                arguments = _expect(stack.pop(), tuple, "arguments")
                function = _expect(stack.pop(), _Global, "a function").name
                stack.append(_call(function, arguments))
            case "BUILD":
                _expect(stack.pop(), dict, "attributes")
                _expect(stack[-1], dict, "an OrderedDict with attributes")
            case "BINPERSID":
                storage = _storage(stack.pop())
                if storages.setdefault(storage.key, storage) != storage:
                    raise ValueError("its pickle gives one storage two types or sizes.")
                stack.append(storage)
            case other:
                shown = f" {_short(argument)}" if type(argument) is str else ""
                raise ValueError(f"its pickle has the instruction {other}{shown}.")
    raise ValueError("its pickle is damaged.")


def _instructions(stream: Any) -> Iterator[tuple[Any, Any, int]]:
    """`pickletools.genops`, its errors (always ValueError) in one short form."""
    try:
        yield from pickletools.genops(stream)
    except ValueError as error:
        # Some of these messages quote the file at any length.
        reason = str(error)[:200]
        raise ValueError(f"its pickle is damaged or cut off ({reason}).") from error


def _global(module: str, name: str) -> _Global:
    full = f"{module}.{name}"
    if full in _FUNCTIONS or full in _STORAGES:
        return _Global(full)
    raise ValueError(
        f"its pickle names {_short(full)}, which is no tensor and is not loaded."
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "…")


def _expect(value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    """Returns `value` if its type is exactly `kind`: a bool is no int here."""
    if type(value) not in (kind if isinstance(kind, tuple) else (kind,)):
        raise ValueError(f"its pickle has a {type(value).__name__} for {what}.")
    return value


def _natural(value: Any, what: str) -> int:
    _expect(value, int, what)
    if not 0 <= value < 1 << 62:
        raise ValueError(f"{what} is negative or beyond 2^62.")
    return value


def _set_items(target: Any, items: Any) -> None:
    """Sets items; keys whose hash an attacker can choose (or nest) are refused."""
    _expect(target, dict, "a mapping")
    for key, value in items:
        if type(key) is not str and abs(_expect(key, int, "a mapping's key")) >> 31:
            raise ValueError("its pickle has an integer key beyond 2^31.")
        target[key] = value


def _call(name: str, arguments: tuple) -> Any:
    if name not in _FUNCTIONS:
        raise ValueError(f"its pickle calls {name}.")
    function, least, most = _FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        raise ValueError(f"its pickle gives {name} {len(arguments)} arguments.")
    return function(*arguments)


def _ordered_dict(pairs: Any = ()) -> dict:
    """`OrderedDict()` or, from Python 2, `OrderedDict([[key, value], ...])`."""
    result: dict = {}
    for pair in _expect(pairs, (list, tuple), "an OrderedDict's items"):
        if len(_expect(pair, (list, tuple), "an OrderedDict's item")) != 2:
            raise ValueError("its pickle is damaged.")
        _set_items(result, [pair])
    return result


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> _Tensor:
    """A tensor within its storage; gradients and hooks in `rest` are ignored.

    The last element of a non-empty tensor is at offset + Σ (size - 1) · stride.
    """
    _expect(storage, _Storage, "a tensor's storage")
    for value, what in ((size, "size"), (stride, "stride")):
        for n in _expect(value, tuple, f"a tensor's {what}"):
            _natural(n, f"a tensor's {what}")
    if len(size) != len(stride) or len(size) > _MAX_RANK:
        raise ValueError(
            f"a tensor has {len(size)} sizes and {len(stride)} strides;"
            f" they must agree and be at most {_MAX_RANK}."
        )
    if len(rest) > 2 and rest[2]:
        raise ValueError("a tensor has a negated or conjugated view.")
    last = _natural(offset, "a tensor's offset")
    last += sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= storage.count:
        raise ValueError(
            f"a tensor reaches element {last} of a storage of {storage.count}."
        )
    return _Tensor(storage, offset, size, stride)


def _parameter(tensor: Any, *_: Any) -> _Tensor:
    return _expect(tensor, _Tensor, "a parameter's tensor")


def _size(sizes: Any = ()) -> tuple:
    return tuple(_expect(sizes, (list, tuple), "a torch.Size"))


def _device(kind: Any, *_: Any) -> str:
    return _expect(kind, str, "a torch.device")


def _storage(reference: Any) -> _Storage:
    """The storage that `("storage", type, key, location, count[, view])` means."""
    _expect(reference, tuple, "a storage reference")
    if len(reference) not in (5, 6) or reference[0] != "storage":
        raise ValueError("its pickle refers to something other than a storage.")
    if len(reference) == 6 and reference[5] is not None:
        raise ValueError("it has views of storages, as PyTorch wrote before 0.4.")
    kind = _expect(reference[1], _Global, "a storage's type").name
    if kind not in _STORAGES:
        raise ValueError(f"its pickle has {kind} for a storage's type.")
    key = _expect(reference[2], str, "a storage's key")
    count = _natural(reference[4], "a storage's element count")
    return _Storage(key, _STORAGES[kind], count)


# The two formats. Each opener returns the object of the pickle and a function from a
# storage to its bytes in the mapped file.

_Reader = Callable[[_Storage], memoryview]


def _open_zip(data: mmap.mmap, path: Path) -> tuple[Any, _Reader]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"the zip is damaged or cut off ({error}).") from error
    entries = {info.filename: info for info in infos}
    if len(entries) != len(infos):
        raise ValueError("the zip has two records of one name.")
    pickles = [
        name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")
    ]
    if len(pickles) != 1:
        raise ValueError(f"the zip has {len(pickles)} NAME/data.pkl records, not one.")
    root = pickles[0].removesuffix("data.pkl")
    if any(n.startswith((f"{root}code/", f"{root}constants.pkl")) for n in entries):
        raise ValueError(
            "it is a TorchScript archive, a program; save the model's state_dict()."
        )
    # Records that overlap could claim any total, each within the file.
    if sum(info.file_size for info in infos) > len(data):
        raise ValueError("the zip's records claim more bytes than the file has.")
    if f"{root}byteorder" in entries:
        order = bytes(_record(data, entries, f"{root}byteorder"))
        if order != b"little":
            raise ValueError(f"its byte order is {order[:20]!r}, not b'little'.")

    known: dict[str, memoryview] = {}

    def read(storage: _Storage) -> memoryview:
        if storage.key not in known:
            known[storage.key] = _record(data, entries, f"{root}data/{storage.key}")
        return known[storage.key]

    top, _ = _unpickle(io.BytesIO(_record(data, entries, pickles[0])))
    return top, read


def _record(
    data: mmap.mmap, entries: dict[str, zipfile.ZipInfo], name: str
) -> memoryview:
    """The bytes of one uncompressed record, its checksum verified, without a copy."""
    if name not in entries:
        raise ValueError(f"the zip has no record {_short(name)}.")
    info = entries[name]
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"the zip's record {_short(name)} is compressed or encrypted.")
    start = info.header_offset
    header = data[start : start + 30] if start >= 0 else b""
    if len(header) != 30 or header[:4] != b"PK\x03\x04":
        raise ValueError(f"the zip's record {_short(name)} is damaged.")
    start += 30 + sum(struct.unpack("<HH", header[26:]))
    record = memoryview(data)[start : start + info.file_size]
    if len(record) != info.file_size or zlib.crc32(record) != info.CRC:
        raise ValueError(f"the zip's record {_short(name)} is damaged (CRC-32).")
    return record


def _open_legacy(data: mmap.mmap) -> tuple[Any, _Reader]:
    if data[:1] != b"\x80":
        raise ValueError(first_bytes(data[:64]))
    if _unpickle(data)[0] != _MAGIC:
        raise ValueError("it is a pickle, but not one that torch.save wrote.")
    if _unpickle(data)[0] != _PROTOCOL:
        raise ValueError(f"its legacy protocol is not {_PROTOCOL}.")
    system = _expect(_unpickle(data)[0], dict, "the writer's system")
    if system.get("little_endian") is not True:
        raise ValueError("its byte order is not little-endian.")
    top, storages = _unpickle(data)
    keys = _expect(_unpickle(data)[0], list, "the storage keys")

    view = memoryview(data)
    position = data.tell()
    known: dict[str, memoryview] = {}
    for key in keys:
        if _expect(key, str, "a storage's key") not in storages or key in known:
            raise ValueError(f"storage {_short(key)} is unknown or there twice.")
        if position + 8 > len(view):
            raise ValueError(f"it is cut off before storage {_short(key)}.")
        (count,) = struct.unpack_from("<q", view, position)
        if count != storages[key].count:
            raise ValueError(
                f"storage {_short(key)} has {count} elements,"
                f" its pickle says {storages[key].count}."
            )
        stop = position + 8 + count * storages[key].dtype.itemsize
        if stop > len(view):
            raise ValueError(f"it is cut off inside storage {_short(key)}.")
        known[key] = view[position + 8 : stop]
        position = stop

    def read(storage: _Storage) -> memoryview:
        if storage.key not in known:
            raise ValueError(f"storage {_short(storage.key)} is missing.")
        return known[storage.key]

    return top, read


# From the object to arrays.


def _select(top: Any, key: str | None) -> dict[str, _Tensor]:
    """The tensors of the wanted entry, by dotted name."""
    _expect(top, (dict, _Tensor, list, tuple), "the checkpoint")
    if type(top) is not dict:
        raise ValueError(f"it holds a {type(top).__name__.strip('_')}, not a mapping.")
    if key is not None:
        mappings = [k for k, v in top.items() if type(v) is dict and type(k) is str]
        tensors = _flatten(top[choose("key", key, mappings)])
    else:
        inner = {k: _flatten(top[k]) for k in _WRAPPERS if type(top.get(k)) is dict}
        inner = {k: v for k, v in inner.items() if v}
        if len(inner) > 1:
            raise ValueError(f"key=None is ambiguous. Allowed: {', '.join(inner)}.")
        tensors = next(iter(inner.values())) if inner else _flatten(top)
    if not tensors:
        raise ValueError("it holds no tensor.")
    return tensors


def _flatten(mapping: dict) -> dict[str, _Tensor]:
    tensors: dict[str, _Tensor] = {}
    for count, (name, value) in enumerate(_walk(mapping)):
        if count > _MAX_ENTRIES:
            raise ValueError(f"it has more than {_MAX_ENTRIES} entries.")
        if type(value) is _Tensor:
            if name in tensors:
                raise ValueError(f"two tensors have the name {_short(name)}.")
            tensors[name] = value
    return tensors


def _walk(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every value inside `value`, itself first, with its dotted name."""
    yield name, value
    if type(value) is dict:
        items = value.items()
    elif type(value) in (list, tuple):
        items = enumerate(value)
    else:
        return
    if depth == _MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH}, or holds itself.")
    for key, child in items:
        path = f"{name}.{key}" if depth else str(key)
        if len(path) > _MAX_NAME:
            raise ValueError(f"it has a name of more than {_MAX_NAME} characters.")
        yield from _walk(child, path, depth + 1)


def _arrays(
    tensors: dict[str, _Tensor], read: _Reader, limit: int
) -> dict[str, np.ndarray]:
    """Copies the tensors out of the file, if they take at most `limit` bytes."""
    total = sum(math.prod(t.size) * t.storage.dtype.itemsize for t in tensors.values())
    if total > limit:
        raise ValueError(
            f"its tensors claim {total} bytes, more than the {limit} that a file of"
            " its size may."
        )
    return {name: _array(tensor, read) for name, tensor in tensors.items()}


def _array(tensor: _Tensor, read: _Reader) -> np.ndarray:
    storage, width = tensor.storage, tensor.storage.dtype.itemsize
    buffer = read(storage)
    if len(buffer) != storage.count * width:
        raise ValueError(
            f"storage {_short(storage.key)} has {len(buffer)} bytes,"
            f" its pickle says {storage.count * width}."
        )
    if 0 in tensor.size:
        return np.zeros(tensor.size, storage.dtype)
    # The stride of an axis of length 1 is never used, and may be any number.
    strides = [
        step * width if n > 1 else 0
        for n, step in zip(tensor.size, tensor.stride, strict=True)
    ]
    # A bool of any byte but 0 and 1 would break numpy's arithmetic.
    dtype = np.dtype(np.uint8) if storage.dtype == np.bool_ else storage.dtype
    # This constructor checks the bounds again; `as_strided` would not.
    view = np.ndarray(tensor.size, dtype, buffer, tensor.offset * width, strides)
    return np.array(view != 0 if storage.dtype == np.bool_ else view, order="C")


_STORAGES: dict[str, np.dtype] = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in {
        "Float": "<f4",
        "Double": "<f8",
        "Half": "<f2",
        "BFloat16": ml_dtypes.bfloat16,
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "i1",
        "Byte": "u1",
        "Bool": "?",
    }.items()
}

# Name -> (our function, least and most number of arguments).
_FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "collections.OrderedDict": (_ordered_dict, 0, 1),
    "torch.Size": (_size, 0, 1),
    "torch.device": (_device, 1, 2),
    "torch._utils._rebuild_tensor": (_tensor, 4, 4),
    "torch._utils._rebuild_tensor_v2": (_tensor, 6, 7),
    "torch._utils._rebuild_parameter": (_parameter, 3, 3),
}
