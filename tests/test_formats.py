"""Tests of `dreamjax.models.formats`: what each reader reads, and what it refuses.

The files are written here: protocol buffers byte by byte, the others by the libraries
that write them. Every format has its hostile files in one table and runs through one
fuzz, both with a limit on the memory that a reader may ask for.
"""

import contextlib
import io
import json
import os
import random
import resource
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from dreamjax.models.formats import FORMATS, hdf5_file, refuse
from tests.test_torch_file import BASE, W, legacy, zipped

# What a reader may ask for beyond what the process has: the 64 MiB of arrays that a
# small file may hold, twice, and room to work.
MEMORY = 200 << 20
SECONDS = 5
REAL_CAFFE = "bvlc_googlenet_noaux.caffemodel"


# Writers.


def varint(n: int) -> bytes:
    n &= (1 << 64) - 1
    low = []
    while n > 127:
        low.append(n & 127 | 128)
        n >>= 7
    return bytes([*low, n])


def field(number: int, value: int | bytes | str) -> bytes:
    """A varint, or anything else with its length in front."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def floats(*values: float, kind: str = "f") -> bytes:
    return struct.pack(f"<{len(values)}{kind}", *values)


def blob(data: bytes, *dims: int) -> bytes:
    return field(7, field(1, b"".join(map(varint, dims)))) + field(5, data)


def layer(name: str | bytes, *blobs: bytes) -> bytes:
    """An entry of NetParameter, as since 2015."""
    content = field(1, name) + field(2, "Convolution")
    return field(100, content + b"".join(field(7, b) for b in blobs))


def v1_layer(name: str, *blobs: bytes) -> bytes:
    content = field(4, name) + field(5, 4) + b"".join(field(6, b) for b in blobs)
    return field(2, content)


def shape(*dims: int) -> bytes:
    """`tensor_shape` of a TensorProto."""
    return field(2, b"".join(field(2, field(1, n)) for n in dims))


def const(name: str | bytes, tensor: bytes) -> bytes:
    dtype = field(5, field(1, "dtype") + field(2, field(6, 1)))
    value = field(5, field(1, "value") + field(2, field(8, tensor)))
    return field(1, field(1, name) + field(2, "Const") + dtype + value)


def node(name: str, op: str, *attributes: bytes) -> bytes:
    return field(1, field(1, name) + field(2, op) + b"".join(attributes))


def safetensors_file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str, dims: list, start: int, stop: int) -> dict:
    return {"dtype": dtype, "shape": dims, "data_offsets": [start, stop]}


def npz(compress: bool = False, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(file, **arrays)
    return file.getvalue()


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin-1")
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def described(descr: str, dims: str, order: bool = False) -> str:
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({dims}), }}\n"


def zip_file(compression: int = zipfile.ZIP_STORED, **records: bytes) -> bytes:
    """`records`: name without ".npy" -> content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


@contextlib.contextmanager
def hdf5(content: list[bytes]) -> Iterator[h5py.File]:
    """A file in memory; its bytes are appended to `content`."""
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        yield opened
    content.append(file.getvalue())


KERNEL = np.arange(36, dtype=np.float32).reshape(3, 3, 2, 2)
BIAS = np.array([-1.5, 2.25], np.float32)


def legacy_h5(inside: str = "", names: Any = np.bytes_, **options: Any) -> bytes:
    """Two layers, `b` before `a`: the order is not the alphabet's."""
    content: list[bytes] = []
    with hdf5(content) as file:
        root = file.create_group(inside) if inside else file
        root.attrs["layer_names"] = np.array(["b", "pool", "a"], names)
        stored = {"b": {"b_W_1:0": KERNEL, "b_b_1:0": BIAS}, "a": {"a/x:0": BIAS}}
        for name in ("b", "pool", "a"):
            group, weights = root.create_group(name), stored.get(name, {})
            group.attrs["weight_names"] = np.array(
                list(weights), names if weights else np.float64
            )
            for key, array in weights.items():
                group.create_dataset(key, data=array, **options)
        file.create_group("optimizer_weights")["m"] = BIAS
    return content[0]


def keras3_h5(root: str = "layers") -> bytes:
    content: list[bytes] = []
    with hdf5(content) as file:
        variables = file.create_group(f"{root}/conv2d/vars")
        variables.attrs["name"] = "block1_conv1"
        variables["0"], variables["1"] = KERNEL, BIAS
        many = file.create_group(f"{root}/both/forward_layer/cell/vars")
        for i in range(11):  # "10" comes before "2" in the alphabet
            many[str(i)] = np.full((1,), i, np.int32)
        file.create_group(f"{root}/flatten/vars")
        file.create_group("vars")["0"] = np.float32(7.0)
        file.create_group("optimizer/vars")["0"] = BIAS
    return content[0]


SAMPLES = {
    "torch": [legacy({"w": W}, {"0": BASE}), zipped({"w": W}, {"0": BASE})],
    "safetensors": [
        safetensors.numpy.save({"kernel": KERNEL, "bias": BIAS}, {"format": "np"})
    ],
    "hdf5": [
        legacy_h5(),
        legacy_h5(
            "model_weights", h5py.string_dtype(), compression="gzip", shuffle=True
        ),
        keras3_h5(),
    ],
    "caffe": [
        field(1, "net")
        + layer("data")
        + layer("a/b", blob(KERNEL.tobytes(), 3, 3, 2, 2), blob(BIAS.tobytes(), 2)),
        v1_layer("old", blob(BIAS.tobytes(), 2)),
    ],
    "graphdef": [
        node("in", "Placeholder")
        + const("k", field(1, 1) + shape(3, 3, 2, 2) + field(4, KERNEL.tobytes()))
        + const("n", field(1, 3) + shape(3) + field(7, varint(1) + varint(-1)))
    ],
    "npz": [npz(kernel=KERNEL, bias=BIAS), npz(True, kernel=KERNEL, bias=BIAS)],
}


# Running them.


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """The block gets MEMORY bytes of address space and SECONDS of computing."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    begin = time.process_time()
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - begin < SECONDS


def save(folder: Path, content: bytes) -> Path:
    path = folder / "weights.file"
    path.write_bytes(content)
    return path


@pytest.fixture
def read(tmp_path):
    """A function (format, content) -> arrays, within the bounds."""

    def read(name: str, content: bytes) -> dict[str, np.ndarray]:
        path = save(tmp_path, content)
        with bounded():
            return FORMATS[name](path)

    return read


def values(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    for array in arrays.values():
        assert type(array) is np.ndarray and array.flags.c_contiguous
        assert array.dtype.isnative
    return {name: (a.dtype.name, a.tolist()) for name, a in arrays.items()}


def float32(array: np.ndarray) -> tuple[str, list]:
    return "float32", array.tolist()


def test_every_format_is_tested():
    assert set(SAMPLES) == set(HOSTILE) == set(FORMATS)
    assert all(len(cases) >= 8 for cases in HOSTILE.values())


# What is read.

EXPECTED = {
    "torch": [{"w": float32(BASE[:2])}] * 2,
    "safetensors": [{"bias": float32(BIAS), "kernel": float32(KERNEL)}],
    "hdf5": [
        {"b/0": float32(KERNEL), "b/1": float32(BIAS), "a/0": float32(BIAS)},
        {"b/0": float32(KERNEL), "b/1": float32(BIAS), "a/0": float32(BIAS)},
        {
            **{f"both/forward_layer/cell/{i}": ("int32", [i]) for i in range(11)},
            "conv2d/0": float32(KERNEL),
            "conv2d/1": float32(BIAS),
            "0": ("float32", 7.0),
        },
    ],
    "caffe": [
        {"a/b/0": float32(KERNEL), "a/b/1": float32(BIAS)},
        {"old/0": float32(BIAS)},
    ],
    "graphdef": [{"k": float32(KERNEL), "n": ("int32", [1, -1, -1])}],
    "npz": [{"kernel": float32(KERNEL), "bias": float32(BIAS)}] * 2,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(read, tmp_path, name):
    """Names, numbers and the file's order; a path may be text."""
    for content, expected in zip(SAMPLES[name], EXPECTED[name], strict=True):
        assert list(values(read(name, content)).items()) == list(expected.items())
    path = str(tmp_path / "weights.file")
    assert values(FORMATS[name](path)) == EXPECTED[name][-1]


NUMBERS = {
    "F64": ("float64", [1.5, -2.0]),
    "F32": ("float32", [1.5, -2.0]),
    "F16": ("float16", [1.5, -2.0]),
    "BF16": (ml_dtypes.bfloat16, [1.5, -2.0]),
    "I64": ("int64", [-7, 1 << 40]),
    "I32": ("int32", [-7, 1 << 30]),
    "I16": ("int16", [-7, 1 << 14]),
    "I8": ("int8", [-7, 127]),
    "U64": ("uint64", [7, 1 << 63]),
    "U32": ("uint32", [7, 1 << 31]),
    "U16": ("uint16", [7, 1 << 15]),
    "U8": ("uint8", [7, 255]),
}


def test_safetensors_types(read):
    header, data = {}, b""
    for kind, (dtype, numbers) in NUMBERS.items():
        stored = np.array(numbers, dtype).tobytes()
        header[kind] = tensor(kind, [2], len(data), len(data) + len(stored))
        data += stored
    header["BOOL"] = tensor("BOOL", [3], len(data), len(data) + 3)
    header["empty"] = tensor("F32", [2, 0], len(data) + 3, len(data) + 3)
    arrays = read("safetensors", safetensors_file(header, data + b"\x00\x01\x02"))
    assert arrays.pop("BOOL").view(np.uint8).tolist() == [0, 1, 1]
    assert arrays.pop("empty").shape == (2, 0)
    assert values(arrays) == {
        kind: (np.dtype(dtype).name, numbers)
        for kind, (dtype, numbers) in NUMBERS.items()
    }


def test_npz_types_and_orders(read):
    arrays = {
        "fortran": np.asfortranarray(KERNEL),
        "big": BIAS.astype(">f4"),
        "scalar": np.float64(2.5),
        "empty": np.zeros((2, 0), np.float16),
        **{d: np.array(n, d) for d, n in NUMBERS.values() if type(d) is str},
    }
    found = read("npz", npz(**arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].shape == array.shape
        assert (found[name] == array).all()
        assert found[name].flags.c_contiguous


def test_npz_headers(read):
    """Of every version, and of Python 2."""
    found = read(
        "npz",
        zip_file(
            one=npy(described("<f4", "2L,"), BIAS.tobytes()),
            two=npy(described("<f4", "1, 2"), BIAS.tobytes(), version=2),
            three=npy(described("<f4", "2, 1", True), BIAS.tobytes(), version=3),
        ),
    )
    assert {k: v.tolist() for k, v in found.items()} == {
        "one": [-1.5, 2.25],
        "two": [[-1.5, 2.25]],
        "three": [[-1.5], [2.25]],
    }


def test_hdf5_layouts(read):
    """Names in pieces and with slashes; the root of Keras 2.12; lzf."""
    assert values(read("hdf5", legacy_h5(compression="lzf"))) == EXPECTED["hdf5"][0]
    old = read("hdf5", keras3_h5("_layer_checkpoint_dependencies"))
    assert values(old) == EXPECTED["hdf5"][2]

    content: list[bytes] = []
    with hdf5(content) as file:
        file.attrs["layer_names0"] = np.array([b"x"])
        file.attrs["layer_names1"] = np.array([b"y/z"])
        for name in ("x", "y/z", "top_level_model_weights"):
            group = file.create_group(name)
            group.attrs["weight_names"] = [b"w"]
            group["w"] = BIAS.astype(">f8")
    names = ["x/0", "y/z/0", "top_level_model_weights/0"]
    assert values(read("hdf5", content[0])) == {
        name: ("float64", BIAS.tolist()) for name in names
    }


def test_caffe_shapes_and_numbers(read):
    four = b"".join(field(i, n) for i, n in enumerate((1, 1, 1, 2), 1))
    pair = floats(1.5, -2.0)
    found = read(
        "caffe",
        v1_layer("legacy", four + field(5, pair))
        + layer("pieces", blob(pair[:4], 2) + field(5, pair[4:]))
        + layer("split inside a number", blob(pair[:3], 2) + field(5, pair[3:]))
        + layer("dims one by one", field(7, field(1, 1) + field(1, 2)) + field(5, pair))
        + layer("doubles", blob(b"", 2) + field(8, floats(1.5, -2.0, kind="d")))
        + layer("gradients", blob(pair, 2) + field(6, pair))
        + layer("scalar", field(7, b"") + field(5, pair[:4]))
        + layer("none", blob(b"", 0)),
    )
    assert values(found) == {
        "pieces/0": ("float32", [1.5, -2.0]),
        "split inside a number/0": ("float32", [1.5, -2.0]),
        "dims one by one/0": ("float32", [[1.5, -2.0]]),
        "doubles/0": ("float64", [1.5, -2.0]),
        "gradients/0": ("float32", [1.5, -2.0]),
        "scalar/0": ("float32", 1.5),
        "none/0": ("float32", []),
        "legacy/0": ("float32", [[[[1.5, -2.0]]]]),
    }


def test_caffe_googlenet():
    """The network of DeepDream, as Caffe wrote it."""
    folder = os.environ.get("DREAMJAX_WEIGHTS")
    if folder is None or not (Path(folder) / REAL_CAFFE).is_file():
        pytest.skip(f"DREAMJAX_WEIGHTS names no folder with {REAL_CAFFE}")
    arrays = FORMATS["caffe"](Path(folder) / REAL_CAFFE)
    assert len(arrays) == 2 * 58
    assert arrays["conv1/7x7_s2/0"].shape == (64, 3, 7, 7)
    assert arrays["inception_3a/1x1/1"].shape == (64,)
    assert arrays["loss3/classifier/0"].shape == (1000, 1024)
    assert all(a.dtype == np.float32 for a in arrays.values())
    assert all(np.isfinite(a).all() for a in arrays.values())


def test_graphdef_numbers(read):
    """Each type in bytes and one by one; the last number fills the rest."""
    half = np.array([1.5, -2.0], np.float16).view(np.uint16).tolist()
    bits = np.array([1.5, -2.0], ml_dtypes.bfloat16).view(np.uint16).tolist()
    singles = {  # type -> TensorFlow's number of it, the field, the numbers packed
        "float32": (1, 5, floats(1.5, -2.0)),
        "float64": (2, 6, floats(1.5, -2.0, kind="d")),
        "int32": (3, 7, varint(-7) + varint(1 << 30)),
        "uint8": (4, 7, varint(7) + varint(255)),
        "int16": (5, 7, varint(-7) + varint(1 << 14)),
        "int8": (6, 7, varint(-7) + varint(127)),
        "int64": (9, 10, varint(-7) + varint(1 << 40)),
        "bfloat16": (14, 13, b"".join(map(varint, bits))),
        "uint16": (17, 7, varint(7) + varint(1 << 15)),
        "float16": (19, 13, b"".join(map(varint, half))),
        "uint32": (22, 16, varint(7) + varint(1 << 31)),
        "uint64": (23, 17, varint(7) + varint(1 << 63)),
    }
    numbers = {np.dtype(d).name: (np.dtype(d), n) for d, n in NUMBERS.values()}
    graph = b""
    for name, (dtype, number, packed) in singles.items():
        content = np.array(numbers[name][1], numbers[name][0]).tobytes()
        graph += const(f"{name}/bytes", field(1, dtype) + shape(2) + field(4, content))
        graph += const(name, field(1, dtype) + shape(2, 2) + field(number, packed))
        graph += const(f"{name}/zeros", field(1, dtype) + shape(1))
    one_by_one = b"".join(varint(7 << 3) + varint(n) for n in (4, 5))
    graph += const("one by one", field(1, 3) + shape(2) + one_by_one)
    graph += const("scalar", field(1, 1) + field(5, floats(1.5)))
    graph += const("text", field(1, 7) + shape(1) + field(8, "words"))
    graph += const("flag", field(1, 10) + shape(1) + field(11, 1))
    graph += node("relu", "Relu")
    assert set(numbers) == set(singles)
    expected: dict[str, Any] = {}
    for name, (_, (a, b)) in numbers.items():
        expected[f"{name}/bytes"] = (name, [a, b])
        expected[name] = (name, [[a, b], [b, b]])
        expected[f"{name}/zeros"] = (name, [0])
    expected["one by one"] = ("int32", [4, 5])
    expected["scalar"] = ("float32", 1.5)
    assert values(read("graphdef", graph)) == expected


# What is refused: files that are something else.


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, marker: str):
        self.marker = marker

    def __reduce__(self):
        return open, (self.marker, "w")


ODD_FILES = {
    "empty": (b"", "the file is empty"),
    "zeros": (bytes(1000), "cannot be read"),
    "noise": (random.Random(0).randbytes(1000), "cannot be read"),
    "text": (b"hello", "begins with b'hello'|header too small"),
    "web page": (b"<!DOCTYPE html><html>no such file</html>", "a web page"),
    "web page after a line": (b"\n<!DOCTYPE html>" + b" " * 90, "a web page"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid ", "Git LFS pointer"),
    "gzip": (b"\x1f\x8b\x08\x00" + b"\x00" * 100, "gzip|header too large"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_files(read, tmp_path, name):
    others = [c for k in SAMPLES if k != name for c in SAMPLES[k]]
    cases = [*ODD_FILES.values(), *((content, "cannot be read") for content in others)]
    for content, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            read(name, content)
        assert f"path={str(tmp_path / 'weights.file')!r}" in str(caught.value)
        assert len(str(caught.value)) < 800


@pytest.mark.parametrize("name", FORMATS)
def test_no_file(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "absent", "there is no such file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "pipe", "not a regular file"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            FORMATS[name](path)
        assert repr(str(path)) in str(caught.value)


# What is refused: malice.


def with_hdf5(change: Any, at: str = "b/b_W_1:0") -> bytes:
    """The legacy sample, what was at `at` taken out, after `change(file, at)`."""
    file = io.BytesIO(legacy_h5())
    with h5py.File(file, "r+") as opened:
        if at in opened:
            del opened[at]
        change(opened, at)
    return file.getvalue()


def put(value: Any, at: str = "b/b_W_1:0") -> Any:
    return lambda: with_hdf5(lambda file, name: file.__setitem__(name, value), at)


def dataset(**options: Any) -> Any:
    return lambda: with_hdf5(lambda file, at: file.create_dataset(at, **options))


def layer_names(value: Any) -> Any:
    return lambda: with_hdf5(
        lambda file, _: file.attrs.__setitem__("layer_names", value),
        "optimizer_weights",
    )


def virtual() -> bytes:
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (2,))
    return with_hdf5(lambda file, at: file.create_virtual_dataset(at, layout))


def itself(levels: int) -> bytes:
    """A Keras 3 file with a group that holds itself, `levels` times."""
    content: list[bytes] = []
    with hdf5(content) as file:
        group = file.create_group("layers/a")
        for i in range(levels):
            group[str(i)] = group
    return content[0]


def deep(levels: int) -> bytes:
    content: list[bytes] = []
    with hdf5(content) as file:
        file.create_group("/".join(["x"] * levels) + "/vars")["0"] = BIAS
    return content[0]


def many_names() -> bytes:
    """An attribute whose size is changed to 2^40 in the file."""
    content = layer_names(np.zeros(12_345, "S1"))()
    assert struct.pack("<Q", 12_345) in content
    return content.replace(struct.pack("<Q", 12_345), struct.pack("<Q", 1 << 40))


def large_chunk() -> bytes:
    """A compressed chunk whose size is changed in the file, not the dataset's."""
    made = dataset(data=BIAS, maxshape=(None,), chunks=(12_345,), compression="gzip")()
    assert struct.pack("<I", 12_345) in made
    return made.replace(struct.pack("<I", 12_345), struct.pack("<I", 1 << 29))


def central(content: bytes, at: int, code: str, value: int) -> bytes:
    """A zip whose one central directory entry has `value` at offset `at`."""
    changed = bytearray(content)
    struct.pack_into(code, changed, content.index(b"PK\x01\x02") + at, value)
    return bytes(changed)


def zeros() -> bytes:
    return npz(True, w=np.zeros(17 << 20, np.float32))


TWO = floats(1.5, -2.0)
PLAIN = zip_file(w=npy(described("<f4", "2,"), TWO))
OVERLAP = {"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [2], 4, 12)}
# Format -> {case: (content or what makes it, what the error says)}.
HOSTILE: dict[str, dict[str, tuple[Any, str]]] = {
    "torch": {
        "code": (b"\x80\x02cposix\nsystem\nX\x01\x00\x00\x00x\x85R.", "posix.system"),
        "2^60 elements": (
            legacy({"w": W._replace(count=1 << 58)}, {"0": BASE}),
            "has 6 elements",
        ),
        "expanded to 2^60": (
            legacy({"w": W._replace(size=(1 << 60,), stride=(0,))}, {"0": BASE}),
            "claim",
        ),
        "negative": (
            legacy({"w": W._replace(size=(-1,))}, {"0": BASE}),
            "negative",
        ),
        "overflow": (
            zipped(
                {"w": W._replace(size=(1 << 50,) * 4, stride=(0,) * 4)}, {"0": BASE}
            ),
            "claim",
        ),
        "two of one name": (
            legacy({"a.b": W, "a": {"b": W}}, {"0": BASE}),
            "two tensors have the name",
        ),
        "cut off early": (legacy({"w": W}, {"0": BASE})[:60], "damaged or cut off"),
        "bomb": (
            zipped({"w": W}, {"0": np.zeros(1 << 18, "f4")}, compression=8),
            "claim more bytes than the file has",
        ),
        "cut off": (legacy({"w": W}, {"0": BASE})[:-1], "cut off inside"),
    },
    "safetensors": {
        "header of 2^60": (struct.pack("<Q", 1 << 60) + b"{}", "header too large"),
        "header of 2^64 - 1": (b"\xff" * 8 + b"{}", "header too large"),
        "header beyond the end": (struct.pack("<Q", 99) + b"{}", "header"),
        "2^60 elements": (
            safetensors_file({"w": tensor("F32", [1 << 60], 0, 8)}, TWO),
            "invalid|mismatch|overflow",
        ),
        "data of 2^60": (
            safetensors_file({"w": tensor("U8", [1 << 60], 0, 1 << 60)}, TWO),
            "invalid|not fully covered|incomplete",
        ),
        "overflow": (
            safetensors_file({"w": tensor("F32", [1 << 40, 1 << 40], 0, 8)}, TWO),
            "overflow",
        ),
        "empty of 2^120": (
            safetensors_file({"w": tensor("F32", [1 << 60, 0, 1 << 60], 0, 0)}),
            "overflow|more than 2.62 elements",
        ),
        "negative": (
            safetensors_file({"w": tensor("F32", [-2], 0, 8)}, TWO),
            "invalid",
        ),
        "rank 33": (
            safetensors_file({"w": tensor("F32", [1] * 33, 0, 4)}, TWO[:4]),
            "33 axes",
        ),
        "overlap": (safetensors_file(OVERLAP, TWO + TWO[:4]), "invalid offset"),
        "gap": (
            safetensors_file({"w": tensor("F32", [1], 4, 8)}, TWO),
            "invalid offset",
        ),
        "data left": (
            safetensors_file({"w": tensor("F32", [1], 0, 4)}, TWO),
            "not fully covered|incomplete",
        ),
        "two of one name": (
            safetensors_file(
                b'{"w":%b,"w":%b}'
                % (
                    json.dumps(tensor("F32", [2], 0, 8)).encode(),
                    json.dumps(tensor("I32", [2], 0, 8)).encode(),
                ),
                TWO,
            ),
            "is there twice",
        ),
        "nested": (safetensors_file(b'{"a":' * 100_000), "invalid|recursion"),
        "no text": (safetensors_file(b'{"\xff":1}'), "UTF-8|utf-8|JSON"),
        "long name": (
            safetensors_file({"w" * 501: tensor("F32", [2], 0, 8)}, TWO),
            "501 characters",
        ),
        "8-bit float": (
            safetensors_file({"w": tensor("F8_E4M3", [8], 0, 8)}, TWO),
            "type F8_E4M3",
        ),
        "nothing": (safetensors_file({}), "no tensor"),
    },
    "hdf5": {
        "external link": (
            put(h5py.ExternalLink("/etc/passwd", "x")),
            "soft or external link",
        ),
        "external layer": (
            put(h5py.ExternalLink("/etc/passwd", "x"), "a"),
            "soft or external link",
        ),
        "external model": (
            put(h5py.ExternalLink("/dev/zero", "x"), "model_weights"),
            "soft or external link",
        ),
        "soft link": (put(h5py.SoftLink("/a/a/x:0")), "soft or external link"),
        "external storage": (
            dataset(shape=(2,), dtype="f4", external="/etc/passwd"),
            "in other files",
        ),
        "virtual": (virtual, "in other files"),
        "objects": (dataset(data=["x"]), "no number"),
        "records": (dataset(data=np.zeros(2, "f4,f4")), "no number"),
        "references": (dataset(shape=(1,), dtype=h5py.ref_dtype), "no number"),
        "empty": (dataset(data=h5py.Empty("f4")), "is empty"),
        "foreign filter": (dataset(data=BIAS, fletcher32=True), "filters"),
        "bomb": (
            dataset(data=np.zeros(17 << 20, "f4"), compression="gzip"),
            "claim more bytes",
        ),
        "2^60 elements": (
            dataset(shape=(1 << 60,), dtype="f4", chunks=(1 << 10,)),
            "claim more bytes",
        ),
        "a chunk of 2 GB": (large_chunk, "claim more bytes"),
        "holds itself": (lambda: itself(1), "hold themselves"),
        "holds itself twice": (lambda: itself(2), "hold themselves"),
        "nested": (lambda: deep(60), "nested deeper"),
        "2^40 names": (many_names, "no list of names|end of input buffer"),
        "no such weight": (
            lambda: with_hdf5(lambda file, at: None),
            "no group or dataset 'b_W_1:0'",
        ),
        "no such layer": (
            lambda: with_hdf5(lambda file, at: None, "a"),
            "no group or dataset 'a'",
        ),
        "layer of numbers": (put(BIAS, "a"), "is no group"),
        "weight that is a group": (
            lambda: with_hdf5(lambda file, at: file.create_group(at)),
            "is no dataset",
        ),
        "two of one name": (layer_names([b"b", b"b"]), "the name 'b/0'"),
        "numbers for names": (layer_names([1, 2]), "no list of names"),
        "name of a parent": (layer_names([b"../b"]), "no group or dataset"),
        "name of nothing": (layer_names([b"/b"]), "no group or dataset ''"),
        "no text": (layer_names([b"\xff"]), "utf-8"),
        "no weights": (layer_names(np.zeros(0)), "no weights"),
        "only the start": (b"\x89HDF\r\n\x1a\n", "nable to"),
    },
    "caffe": {
        "blob of 2^60": (
            layer("a", field(1, 1 << 60) + field(5, TWO)),
            "has 2 packed numbers",
        ),
        "message of 2^60": (varint(100 << 3 | 2) + varint(1 << 60), "damaged"),
        "2^60 elements": (layer("a", blob(TWO, 1 << 60)), "its shape"),
        "negative": (layer("a", blob(TWO, -2)), "negative"),
        "negative legacy": (v1_layer("a", field(1, -2) + field(5, TWO)), "negative"),
        "two negatives": (layer("a", blob(TWO, -2, -1)), "negative"),
        "overflow": (layer("a", blob(TWO, *[1 << 32] * 4)), "2.62 elements"),
        "overflow to 2": (layer("a", blob(TWO, 1 << 63, 4, 2)), "negative|2.62"),
        "empty of 2^120": (layer("a", blob(b"", 1 << 60, 0, 1 << 60)), "2.62 elements"),
        "rank 33": (layer("a", blob(TWO[:4], *[1] * 33)), "33 axes"),
        "2^22 axes": (layer("a", blob(TWO, *[1] * (1 << 22))), "a shape of"),
        "too few": (
            layer("a", blob(TWO, 3)),
            r"has 2 packed numbers, its shape \(3,\)",
        ),
        "too many": (layer("a", blob(TWO, 1)), "has 2 packed numbers"),
        "no shape": (layer("a", field(5, TWO)), "has 2 packed numbers"),
        "unpacked": (
            layer(
                "a",
                field(7, field(1, 2))
                + varint(5 << 3 | 5)
                + TWO[:4]
                + varint(5 << 3 | 5)
                + TWO[4:],
            ),
            "has 0 packed numbers",
        ),
        "half a number": (layer("a", blob(TWO[:7], 2)), "7 bytes of"),
        "two of one name": (layer("a", blob(TWO, 2)) * 2, "the name 'a/0'"),
        "no text": (layer(b"\xff", blob(TWO, 2)), "no text"),
        "long name": (layer("a" * 501, blob(TWO, 2)), "503 characters"),
        "no blobs": (layer("a"), "no layer with blobs"),
        "only a name": (field(1, "net"), "no such message"),
        "nested": (b"\x0b" * 100_000, "damaged"),
        "a million layers": (field(100, b"") * 1_000_000, "1000000 layers"),
        "a million blobs": (field(100, field(7, b"") * 1_000_000), "1000000 blobs"),
        "cut off": (layer("a", blob(TWO, 2))[:-1], "damaged"),
        "cut off inside": (field(100, field(7, blob(TWO, 2)[:-1])), "damaged"),
    },
    "graphdef": {
        "message of 2^60": (varint(1 << 3 | 2) + varint(1 << 60), "damaged"),
        "filled to 2^60": (
            const("a", field(1, 1) + shape(1 << 60) + field(5, floats(1.0))),
            "more bytes",
        ),
        "filled to 2^36": (
            const("a", field(1, 1) + shape(1 << 17, 1 << 17) + field(5, floats(1.0))),
            "more bytes",
        ),
        "filled in parts": (
            b"".join(const(f"a{i}", field(1, 1) + shape(1 << 21)) for i in range(40)),
            "more bytes",
        ),
        "zeros of 2^60": (const("a", field(1, 9) + shape(1 << 60)), "more bytes"),
        "negative": (const("a", field(1, 1) + shape(-1) + field(4, TWO)), "negative"),
        "overflow": (const("a", field(1, 1) + shape(*[1 << 32] * 4)), "2.62 elements"),
        "empty of 2^120": (
            const("a", field(1, 1) + shape(1 << 60, 0, 1 << 60)),
            "2.62 elements",
        ),
        "rank 33": (const("a", field(1, 1) + shape(*[1] * 33)), "33 axes"),
        "2^16 axes": (const("a", field(1, 1) + shape(*[1] * (1 << 16))), "a shape of"),
        "unknown rank": (
            const("a", field(1, 1) + field(2, field(3, 1)) + field(4, TWO)),
            "unknown rank",
        ),
        "too few bytes": (
            const("a", field(1, 1) + shape(3) + field(4, TWO)),
            r"has 8 bytes, its shape \(3,\) says 12",
        ),
        "too many numbers": (
            const("a", field(1, 1) + shape(1) + field(5, TWO)),
            "has 2 numbers",
        ),
        "half a number": (
            const("a", field(1, 1) + shape(2) + field(5, TWO[:7])),
            "7 by",
        ),
        "too large for int8": (
            const("a", field(1, 6) + shape(1) + field(7, varint(128))),
            "no int8",
        ),
        "too large for half": (
            const("a", field(1, 19) + shape(1) + field(13, varint(1 << 16))),
            "no uint16",
        ),
        "negative half": (
            const("a", field(1, 19) + shape(1) + field(13, varint(-1))),
            "no uint16",
        ),
        "two of one name": (
            const("a", field(1, 1)) * 2,
            "two tensors have the name 'a'",
        ),
        "no text": (const(b"\xff", field(1, 1)), "no text"),
        "no name": (const("", field(1, 1)), "name of 0 characters"),
        "no value": (node("a", "Const"), "has 0 values"),
        "two values": (
            node("a", "Const", *[field(5, field(1, "value"))] * 2),
            "has 2 values",
        ),
        "value of no tensor": (
            node("a", "Const", field(5, field(1, "value") + field(2, field(3, 1)))),
            "no tensor",
        ),
        "many attributes": (
            node("a", "Const", field(5, b"") * 2000),
            "2000 attributes",
        ),
        "two million nodes": (field(1, b"") * 2_000_000, "2000000 nodes"),
        "no constant": (node("a", "Relu"), "no numeric constant"),
        "nested": (field(1, b"\x0b" * 100_000), "damaged"),
        "cut off": (const("a", field(1, 1) + shape(2) + field(4, TWO))[:-1], "damaged"),
    },
    "npz": {
        "2^60 bytes in the header": (
            zip_file(w=npy(described("<f4", f"{1 << 58},"), TWO)),
            f"has 8 bytes of data, its header says {1 << 60}",
        ),
        "2^60 bytes in the zip": (
            central(PLAIN, 24, "<I", 0xFFFFFFFF),
            "claim 4294967295 bytes",
        ),
        "more in the zip than there": (
            central(PLAIN, 24, "<I", 1 << 20),
            "bytes of data",
        ),
        "bomb": (zeros, "claim 71303296 bytes"),
        "bomb behind a small claim": (
            lambda: central(zeros(), 24, "<I", 136),
            "CRC",
        ),
        "negative": (zip_file(w=npy(described("<f4", "-2,"), TWO)), "negative"),
        "two negatives": (zip_file(w=npy(described("<f4", "-2, -1"), TWO)), "negative"),
        "overflow": (
            zip_file(w=npy(described("<f4", "4294967296, " * 4), TWO)),
            "2.62 elements",
        ),
        "empty of 2^120": (
            zip_file(w=npy(described("<f4", f"{1 << 60}, 0, {1 << 60}"))),
            "2.62 elements",
        ),
        "size of 4000 digits": (
            zip_file(w=npy(described("<f4", "9" * 4000), TWO)),
            "no array of numbers",
        ),
        "rank 33": (zip_file(w=npy(described("<f4", "1, " * 33), TWO[:4])), "33 axes"),
        "header of 2^32": (
            zip_file(w=b"\x93NUMPY\x02\x00\xff\xff\xff\xff"),
            "a header of 4294967295 bytes",
        ),
        "nested header": (zip_file(w=npy("(" * 9000)), "no array of numbers"),
        "signs in the header": (
            zip_file(w=npy("-" * 9000 + "1")),
            "no array of numbers",
        ),
        "slow header": (
            zip_file(w=npy(described("<f4", "1, " * 3000 + "x"))),
            "no array of numbers",
        ),
        "version 9": (zip_file(w=npy("", version=9)), "no array"),
        "records": (npz(w=np.zeros(2, "f4,f4")), "no array of numbers"),
        "text": (npz(w=np.array(["abc"])), "no array of numbers"),
        "bfloat16": (npz(w=BIAS.astype(ml_dtypes.bfloat16)), "no array of numbers"),
        "two of one name": (
            zip_file(
                ab=npy(described("<f4", "2,"), TWO), cd=npy(described("<f4", "2,"), TWO)
            ).replace(b"cd.npy", b"ab.npy"),
            "two tensors have the name 'ab'",
        ),
        "wrong checksum": (PLAIN.replace(TWO, TWO[::-1]), "CRC"),
        "encrypted": (central(PLAIN, 8, "<H", 1), "encrypted"),
        "bzip2": (zip_file(zipfile.ZIP_BZIP2, w=PLAIN), "other than deflate"),
        "lzma": (zip_file(zipfile.ZIP_LZMA, w=PLAIN), "other than deflate"),
        "a method of its own": (central(PLAIN, 10, "<H", 97), "other than deflate"),
        "no .npy": (PLAIN.replace(b"w.npy", b"w.txt"), "is no array"),
        "no records": (b"PK\x05\x06" + bytes(18), "zip archive|begins with"),
        "data left": (
            zip_file(w=npy(described("<f4", "1,"), TWO)),
            "its header says 4",
        ),
    },
}


@pytest.mark.parametrize(
    ("name", "case"), [(n, case) for n, cases in HOSTILE.items() for case in cases]
)
def test_b8_hostile_weights(read, tmp_path, name, case):
    content, message = HOSTILE[name][case]
    content = content() if callable(content) else content
    with pytest.raises(ValueError, match=message) as caught:
        read(name, content)
    assert f"path={str(tmp_path / 'weights.file')!r}" in str(caught.value)
    assert len(str(caught.value)) < 800


def test_npz_unpickles_nothing(read, tmp_path):
    marker = tmp_path / "marker"
    content = npz(w=np.array([Payload(str(marker))], object))
    with pytest.raises(ValueError, match=r"'descr': '\|O'"):
        read("npz", content)
    assert not marker.exists()
    with np.load(io.BytesIO(content), allow_pickle=True) as archive:
        archive["w"][0].close()
    assert marker.exists()  # the payload is a real one


def test_too_many_tensors(read, monkeypatch):
    monkeypatch.setattr(refuse, "MAX_TENSORS", 1)
    with pytest.raises(ValueError, match="more than 1 tensors"):
        read("npz", SAMPLES["npz"][0])


# The process that reads HDF5.

CHILDREN = {
    "crashes": ("import os; os.kill(os.getpid(), 11)", "crashed on it.*code -11"),
    "hangs": ("while True: pass", "did not end in 1 s"),
    "raises": ("raise LookupError('lost')", "crashed on it.*LookupError: lost"),
    "is silent": ("pass", "Expecting value"),
}


@pytest.mark.parametrize("case", CHILDREN)
def test_hdf5_process(read, tmp_path, monkeypatch, case):
    code, message = CHILDREN[case]
    (tmp_path / "child.py").write_text(code)
    monkeypatch.setattr(hdf5_file, "_CHILD", tmp_path / "child.py")
    monkeypatch.setattr(hdf5_file, "_SECONDS", 1)
    with pytest.raises(ValueError, match=message):
        read("hdf5", SAMPLES["hdf5"][0])


# Damage, at random.


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Flips bits, sets and copies bytes, cuts pieces out: one to eight times."""
    data = bytearray(content)
    for _ in range(generator.choice([1, 1, 2, 8])):
        at, other = (generator.randrange(len(data)) for _ in range(2))
        n = generator.choice([1, 2, 4, 8, 32])
        match generator.randrange(6):
            case 0 | 1:
                data[at] ^= 1 << generator.randrange(8)
            case 2:
                data[at] = generator.choice([0, 1, 127, 128, 255])
            case 3:
                data[at : at + n] = data[other : other + n]
            case 4:
                data[at : at + n] = generator.choice([b"\x00", b"\x7f", b"\xff"]) * n
            case _:
                del data[at : at + n]
        data = data or bytearray(b"\x00")
    return bytes(data)


def check_survives(name: str, path: Path) -> bool:
    """Returns whether the file is read; only ValueError, naming it, may say no."""
    try:
        arrays = FORMATS[name](path)
    except ValueError as error:
        assert repr(str(path)) in str(error)
        return False
    limit = refuse.byte_limit(path.stat().st_size)
    assert sum(array.nbytes for array in arrays.values()) <= limit
    assert all(type(k) is str and a.flags.c_contiguous for k, a in arrays.items())
    return True


IN_PROCESS = sorted(set(FORMATS) - {"hdf5"})


@pytest.mark.parametrize("name", IN_PROCESS)
def test_truncations(tmp_path, name):
    for content in SAMPLES[name]:
        with bounded():
            for stop in range(0, len(content), 1 + len(content) // 400):
                path = save(tmp_path, content[:stop])
                # A message may end between two fields: then it is a shorter message.
                read = check_survives(name, path)
                assert not read or name in ("caffe", "graphdef")


@pytest.mark.parametrize("name", IN_PROCESS)
def test_damage(tmp_path, name):
    generator = random.Random(0)
    for content in SAMPLES[name]:
        outcomes = set()
        with bounded():
            for _ in range(500):
                path = save(tmp_path, damaged(content, generator))
                outcomes.add(check_survives(name, path))
        assert False in outcomes


# Some files crash the HDF5 library or hang it: that is what its process is for. So each
# file gets a process here as well, forked from one that has the library loaded. It ends
# with 0: read, 1: refused, 2: another exception, -N: killed by signal N.
FUZZ = """
import os, resource, sys, traceback
import hdf5_child as child

for line in sys.stdin:
    path = line.strip()
    process = os.fork()
    if not process:
        status = 2
        try:
            child._limit_process(200 << 20, 1)
            child.copy(path, path + ".out", 1 << 26)
            status = 0
        except (KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError):
            status = 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak)
"""


def test_hdf5_damage(tmp_path, monkeypatch):
    generator = random.Random(0)
    contents = []
    for content in SAMPLES["hdf5"]:
        stops = np.linspace(0, len(content) - 1, 20).astype(int)
        contents += [content[:stop] for stop in stops]
        contents += [damaged(content, generator) for _ in range(60)]
    paths = [tmp_path / f"{i}.h5" for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", FUZZ],
        input="\n".join(map(str, paths)),
        env={
            **os.environ,
            **hdf5_file._ENVIRONMENT,
            "PYTHONPATH": str(hdf5_file._CHILD.parent),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    *statuses, peak = map(int, done.stdout.split())
    assert len(statuses) == len(paths) and 2 not in statuses, done.stderr
    assert 0 in statuses and 1 in statuses
    assert peak < MEMORY >> 10  # in KiB
    monkeypatch.setattr(hdf5_file, "_SECONDS", 1)
    killed = [p for p, status in zip(paths, statuses, strict=True) if status < 0]
    for path in [*killed[:2], *paths[:80:30]]:
        check_survives("hdf5", path)
