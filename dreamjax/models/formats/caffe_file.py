"""Reads a `.caffemodel`: "<layer>/<index of the blob>" -> numpy array.

The file is one protocol-buffer message, NetParameter. Both of its lists of layers are
read: `layer` and, from before 2015, `layers` (V1LayerParameter). The gradients that it
may hold are left out. Numbers, channels, height and width of a blob from before 2015
stay four axes, also where three of them are 1: which ones count depends on the layer.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dreamjax.models.formats.refuse import (
    MAX_TENSORS,
    add,
    count_elements,
    first_bytes,
    map_file,
    reading,
    short,
)
from dreamjax.models.formats.wire import declare, packed, parse, parse_file, text

_MESSAGES = declare(
    "dreamjax_caffe",
    Net={"layers": (2, "bytes*"), "layer": (100, "bytes*")},
    Layer={"name": (1, "bytes"), "blobs": (7, "bytes*")},
    V1Layer={"name": (4, "bytes"), "blobs": (6, "bytes*")},
    Blob={
        "num": (1, "int32"),
        "channels": (2, "int32"),
        "height": (3, "int32"),
        "width": (4, "int32"),
        "data": (5, "bytes*"),
        "shape": (7, "bytes"),
        "double_data": (8, "bytes*"),
    },
    Shape={"dim": (1, "int64*")},
)
_LEGACY_SHAPE = ("num", "channels", "height", "width")
_MAX_SHAPE_BYTES = 400  # 32 axes of at most 12 bytes


def read_caffe_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the blobs of a `.caffemodel` file.

    Args:
      path: a NetParameter in binary form.

    Returns:
      "<layer>/<i>" -> array, i counting the layer's blobs (for a convolution 0 is the
      kernel, 1 the bias), in the file's order. A layer's name may have slashes.

    Raises:
      ValueError: naming the file and what is wrong with it: it is absent, damaged, no
        NetParameter, holds no blob, two layers of one name, or a blob whose numbers
        are not as many as its shape says or are not packed.
    """
    with reading(path, "a Caffe model (NetParameter, binary)"):
        data = map_file(path)
        net = parse_file(_MESSAGES["Net"], data)
        arrays: dict[str, np.ndarray] = {}
        for layer in _layers(net):
            name = text(layer.name, "a layer's name")
            if len(layer.blobs) > MAX_TENSORS:
                raise ValueError(f"layer {short(name)} has {len(layer.blobs)} blobs.")
            for i, blob in enumerate(layer.blobs):
                add(arrays, f"{name}/{i}", _array(blob, f"blob {short(f'{name}/{i}')}"))
        if not arrays:
            start = first_bytes(data[:64])
            raise ValueError(f"it holds no layer with blobs: {start}")
        return arrays


def _layers(net: Any) -> Iterator[Any]:
    for field, kind in (("layer", "Layer"), ("layers", "V1Layer")):
        layers = getattr(net, field)
        if len(layers) > MAX_TENSORS:
            raise ValueError(f"it has {len(layers)} layers, more than {MAX_TENSORS}.")
        for layer in layers:
            yield parse(_MESSAGES[kind], layer, "a layer")


def _array(data: bytes, what: str) -> np.ndarray:
    blob = parse(_MESSAGES["Blob"], data, what)
    shape = _shape(blob, what)
    # Caffe's order: doubles win over floats.
    if blob.double_data:
        values = packed(blob.double_data, "<f8", what)
    else:
        values = packed(blob.data, "<f4", what)
    if len(values) != count_elements(shape, what):
        raise ValueError(
            f"{what} has {len(values)} packed numbers, its shape {shape} says"
            f" {math.prod(shape)}."
        )
    return values.reshape(shape)


def _shape(blob: Any, what: str) -> tuple[int, ...]:
    """Caffe's order: any of the four legacy sizes wins over the shape."""
    if any(blob.HasField(size) for size in _LEGACY_SHAPE):
        return tuple(getattr(blob, size) for size in _LEGACY_SHAPE)
    if len(blob.shape) > _MAX_SHAPE_BYTES:
        raise ValueError(f"{what} has a shape of {len(blob.shape)} bytes.")
    return tuple(parse(_MESSAGES["Shape"], blob.shape, f"the shape of {what}").dim)
