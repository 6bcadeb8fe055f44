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
module. Any other class or function that the pickle names (a Namespace with a training's
arguments, a NumPy scalar, a date) is inert: a description that is carried along and
dropped, of which only the tensors inside are kept.

Restricting `pickle.Unpickler.find_class` stops foreign code as well, but not a 1 MB
file of nested tuples used as a dictionary key (hashing it overflows the C stack and
kills the process), nor a 9-byte one whose memo index allocates gigabytes.

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from dreamjax.errors import choose
from dreamjax.models.formats.refuse import first_bytes, map_file, reading

KIND = "a PyTorch checkpoint (.pth or .pt, zip or legacy format)"
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


@dataclasses.dataclass(eq=False)
class _Inert:
    """An object of a class that is not loaded: what would have been put into it."""

    name: str
    parts: dict[Any, Any] = dataclasses.field(default_factory=dict)


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


class TorchFile(NamedTuple):
    """A checkpoint whose tensors are described and not read yet.

    Attributes:
      shapes: of all tensors by their dotted names, those of optimizers included.
      foreign: names in the pickle that were not loaded, such as "argparse.Namespace".
      read: names -> arrays.
    """

    shapes: dict[str, tuple[int, ...]]
    foreign: tuple[str, ...]
    read: Callable[[Iterable[str]], dict[str, np.ndarray]]


def open_torch_file(path: str | Path) -> TorchFile:
    """Describes all tensors of a PyTorch checkpoint, whatever is around them.

    Args:
      path: as of `read_torch_file`. A file of a whole module, not of its state dict,
        has names with "_modules", "_parameters" and "_buffers" in them.

    Raises:
      ValueError: as `read_torch_file`, but for what `key` is about.
    """
    with reading(path, KIND):
        top, read, foreign, limit = _open(path)
        tensors = _some(_flatten(_top(top)), foreign)

    def arrays(names: Iterable[str]) -> dict[str, np.ndarray]:
        with reading(path, KIND):
            return _arrays({name: tensors[name] for name in names}, read, limit)

    shapes = {name: tensor.size for name, tensor in tensors.items()}
    return TorchFile(shapes, foreign, arrays)


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
        no checkpoint, TorchScript, big-endian, or holds no tensor (what its pickle
        names instead is in the message); or `key` is none of its entries, or is needed
        because both wrappers are there.
    """
    with reading(path, KIND):
        top, read, foreign, limit = _open(path)
        return _arrays(_some(_select(top, key), foreign), read, limit)


def _open(path: str | Path) -> tuple[Any, "_Reader", tuple[str, ...], int]:
    """Returns the object, a reader of storages, foreign names, the most bytes."""
    data = map_file(path)
    if data[:4] == b"PK\x03\x04":
        top, read, foreign = _open_zip(data, Path(path))
    else:
        top, read, foreign = _open_legacy(data)
    return top, read, foreign, _EXPANSION * len(data) + _SPARE_BYTES


# The pickle machine.


class _Unpickled(NamedTuple):
    """An object, every storage that its pickle mentions by key, and foreign names."""

    top: Any
    storages: dict[str, _Storage]
    foreign: tuple[str, ...]


def _unpickle(stream: Any) -> _Unpickled:
    """Runs one pickle of `stream` up to its STOP, in time linear in its length.

    Mappings become dicts, `torch.Size` a tuple, a device its name; attributes set on an
    OrderedDict (a state dict's `_metadata`) are dropped.

    Args:
      stream: has `read`, `readline` and `tell`; is left just behind the STOP.

    Raises:
      ValueError: an instruction that is not known here, or a damaged pickle.
    """
    try:
        return _run(stream)
    except (IndexError, KeyError) as error:
        raise ValueError("its pickle is damaged.") from error


def _run(stream: Any) -> _Unpickled:
    storages: dict[str, _Storage] = {}
    foreign: dict[str, None] = {}
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
                return _Unpickled(stack[0], storages, tuple(foreign))
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case (
                "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT"
                | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8"
                | "BINSTRING" | "SHORT_BINSTRING"  # written by Python 2
                | "LONG4" | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8"
            ):  # fmt: skip
                stack.append(argument)
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST" | "EMPTY_SET":  # no tensor is in a set
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE" | "FROZENSET":
                stack.append(tuple(pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                marks.append(len(stack) - int(opcode.name[-1]))
                if marks[-1] < 0:
                    raise ValueError("its pickle is damaged.")
                stack.append(tuple(pop_to_mark()))
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = [stack.pop()] if opcode.name == "APPEND" else pop_to_mark()
                if type(stack[-1]) is not _Inert:
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
                stack.append(_global(*argument.split(" ", 1), foreign))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                _expect(module, str, "a module name")
                stack.append(_global(module, _expect(name, str, "a name"), foreign))
            case "REDUCE":
                arguments = _expect(stack.pop(), tuple, "arguments")
                stack.append(_reduce(stack.pop(), arguments))
            case "NEWOBJ" | "NEWOBJ_EX":
                if opcode.name == "NEWOBJ_EX":
                    _expect(stack.pop(), dict, "keyword arguments")
                _expect(stack.pop(), tuple, "arguments")
                kind = _expect(stack.pop(), _Global, "a class").name
                stack.append({} if kind in _DICTS else _Inert(kind))
            case "BUILD":
                state = stack.pop()
                if type(stack[-1]) is _Inert:
                    _build(stack[-1], state)
                else:
                    _expect(state, dict, "attributes")
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


def _global(module: str, name: str, foreign: dict[str, None]) -> _Global:
    """Returns a name, which is noted as foreign where it is none of the tables'."""
    full = f"{module}.{name}"
    if full not in _FUNCTIONS and full not in _STORAGES:
        foreign[full] = None
    return _Global(full)


def _reduce(function: Any, arguments: tuple) -> Any:
    """What calling `function` makes: one of the table's, else an inert object."""
    if type(function) is _Inert:
        return _Inert(function.name)
    name = _expect(function, _Global, "a function").name
    if name in _FUNCTIONS or name in _STORAGES:
        return _call(name, arguments)
    if name == "copyreg.__newobj__" or name == "copy_reg._reconstructor":
        kind = arguments[0] if arguments else None
        return _Inert(kind.name if type(kind) is _Global else name)
    return _Inert(name)


def _build(target: _Inert, state: Any) -> None:
    """Keeps what is put into an inert object where it has names; slots come second."""
    for part in state if type(state) is tuple else (state,):
        if type(part) is dict:
            _set_items(target.parts, part.items())


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
    """Sets items whose keys name them: strings and small integers.

    No other key is hashed, since an attacker could choose its hash, or nest it. Those
    that occur (numbers, an address in an old optimizer, an inert object) name no
    weights: their items are dropped.
    """
    if type(target) is _Inert:
        target = target.parts
    _expect(target, dict, "a mapping")
    for key, value in items:
        if type(key) in _UNNAMED or (type(key) is int and abs(key) >> 31):
            continue
        _expect(key, (str, int), "a mapping's key")
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


def _default_dict(*_: Any) -> dict:
    """A `defaultdict` or `Counter`; what it makes of a missing key is left out."""
    return {}


def _of_type(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """A tensor of a subclass, as the function of a plain one makes it."""
    name = _expect(function, _Global, "a function").name
    if _FUNCTIONS.get(name, (None,))[0] is _of_type:
        raise ValueError(f"its pickle gives {name} to itself.")
    return _reduce(function, _expect(arguments, tuple, "arguments"))


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


def _open_zip(data: mmap.mmap, path: Path) -> tuple[Any, _Reader, tuple[str, ...]]:
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

    unpickled = _unpickle(io.BytesIO(_record(data, entries, pickles[0])))
    return unpickled.top, read, unpickled.foreign


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


def _open_legacy(data: mmap.mmap) -> tuple[Any, _Reader, tuple[str, ...]]:
    if data[:1] != b"\x80":
        raise ValueError(first_bytes(data[:64]))
    first = _unpickle(data)
    if first.top != _MAGIC:
        names = f" (it names {_short(first.foreign[0])})" if first.foreign else ""
        raise ValueError(f"it is a pickle, but not one that torch.save wrote{names}.")
    if _unpickle(data).top != _PROTOCOL:
        raise ValueError(f"its legacy protocol is not {_PROTOCOL}.")
    system = _expect(_unpickle(data).top, dict, "the writer's system")
    if system.get("little_endian") is not True:
        raise ValueError("its byte order is not little-endian.")
    top, storages, foreign = _unpickle(data)
    keys = _expect(_unpickle(data).top, list, "the storage keys")

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

    return top, read, foreign


# From the object to arrays.


def _select(top: Any, key: str | None) -> dict[str, _Tensor]:
    """The tensors of the wanted entry, by dotted name."""
    top = _top(top)
    if key is not None:
        mappings = [k for k, v in top.items() if type(v) is dict and type(k) is str]
        tensors = _flatten(top[choose("key", key, mappings)])
    else:
        inner = {k: _flatten(top[k]) for k in _WRAPPERS if type(top.get(k)) is dict}
        inner = {k: v for k, v in inner.items() if v}
        if len(inner) > 1:
            raise ValueError(f"key=None is ambiguous. Allowed: {', '.join(inner)}.")
        tensors = next(iter(inner.values())) if inner else _flatten(top)
    return tensors


def _top(top: Any) -> dict[Any, Any]:
    """The mapping that a checkpoint is; of a whole module what is inside it."""
    if type(top) is _Inert:
        return top.parts
    _expect(top, (dict, _Tensor, list, tuple), "the checkpoint")
    if type(top) is not dict:
        raise ValueError(f"it holds a {type(top).__name__.strip('_')}, not a mapping.")
    return top


def _some(tensors: dict[str, _Tensor], foreign: Sequence[str]) -> dict[str, _Tensor]:
    """The tensors, if there are any."""
    if not tensors:
        names = ", ".join(map(_short, foreign[:5]))
        raise ValueError(
            "it holds no tensor"
            + (f"; its pickle names {names}, which is not loaded." if names else ".")
        )
    return tensors


def _flatten(mapping: dict) -> dict[str, _Tensor]:
    tensors: dict[str, _Tensor] = {}
    for count, (name, value) in enumerate(_walk(mapping, set())):
        if count > _MAX_ENTRIES:
            raise ValueError(f"it has more than {_MAX_ENTRIES} entries.")
        if type(value) is _Tensor:
            if name in tensors:
                raise ValueError(f"two tensors have the name {_short(name)}.")
            tensors[name] = value
    return tensors


def _walk(
    value: Any, met: set[int], name: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    """Every value inside `value`, itself first, with its dotted name.

    What is inside an inert object (a module, a Namespace) is met once: such objects may
    refer to each other in circles.
    """
    yield name, value
    if type(value) is _Inert:
        if id(value) in met:
            return
        met.add(id(value))
        items = value.parts.items()
    elif type(value) is dict:
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
        yield from _walk(child, met, path, depth + 1)


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


_UNNAMED = (bool, float, bytes, type(None), _Inert, _Global)
"""Types of a mapping's keys whose items are dropped."""
_DICTS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")
"""Classes whose objects are kept as plain mappings."""

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
    "torch._utils._rebuild_parameter_with_state": (_parameter, 4, 4),
    "torch._tensor._rebuild_from_type_v2": (_of_type, 4, 4),
    "collections.defaultdict": (_default_dict, 0, 1),
    "collections.Counter": (_default_dict, 0, 1),
}
