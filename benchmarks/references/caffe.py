"""Caffe networks, computed by PyTorch from their prototxt and checked by OpenCV.

A network is prototxt text, put together from `layer` and what builds on it. `answer`
gives it seeded weights and runs it twice: here, in float64 and with a gradient, one
function per layer type after Caffe's sources; and by OpenCV's own reader of prototxt
and caffemodel. Every layer's output must be the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.nn import functional

from benchmarks.golden import Answer
from benchmarks.references.protobuf import field, varint
from benchmarks.references.torch_common import answered, channels_last
from tests.seeded import seeded

TOLERANCE = 1e-4  # OpenCV computes in float32
MADE_WITH = f"prototxt, torch {torch.__version__}, OpenCV {cv2.__version__}"
Weights = Mapping[str, Sequence[torch.Tensor]]  # layer -> kernel, bias


# Prototxt: written


def network(*parts: str) -> str:
    """Returns prototxt text of a network that reads the blob "data"."""
    return "\n".join(('input: "data"', *parts))


def layer(type: str, name: str, *bottoms: str, top: str = "", **params: Any) -> str:
    """Returns prototxt text of one layer; its output is called like it, or `top`.

    Args:
      params: `convolution_param={"num_output": 64}`; enumerated values such as MAX are
        strings in a tuple of one, as they go without quotation marks.
    """
    lines = [f'name: "{name}" type: "{type}" top: "{top or name}"']
    lines += [f'bottom: "{bottom}"' for bottom in bottoms]
    for key, values in params.items():
        lines.append(f"{key} {{ {_fields(values)} }}")
    return "layer { " + " ".join(lines) + " }"


def conv(name: str, bottom: str, features: int, kernel: int = 1, **more: int) -> str:
    """A convolution and its ReLU in place; `more` is pad, stride, group."""
    params = {"num_output": features, "kernel_size": kernel, **more}
    return "\n".join(
        (
            layer("Convolution", name, bottom, convolution_param=params),
            layer("ReLU", f"{name}/relu", name, top=name),
        )
    )


def pool(name: str, bottom: str, kernel: int, stride: int, **more: Any) -> str:
    """A max pool; `more` is pad, or pool=("AVE",)."""
    params = {"pool": ("MAX",), "kernel_size": kernel, "stride": stride, **more}
    return layer("Pooling", name, bottom, pooling_param=params)


def lrn(name: str, bottom: str, size: int = 5, alpha: float = 1e-4) -> str:
    """Local response normalization across channels, beta 0.75."""
    params = {"local_size": size, "alpha": alpha, "beta": 0.75}
    return layer("LRN", name, bottom, lrn_param=params)


def dense(name: str, bottom: str, features: int, *, relu: bool = False) -> str:
    """A dense layer, which flattens what it reads, and its ReLU in place if any."""
    params = {"num_output": features}
    text = layer("InnerProduct", name, bottom, inner_product_param=params)
    if not relu:
        return text
    return text + "\n" + layer("ReLU", f"{name}/relu", name, top=name)


def _fields(values: Mapping[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, tuple):
            return value[0]
        return str(value).lower() if isinstance(value, bool) else str(value)

    return " ".join(f"{key}: {text(value)}" for key, value in values.items())


# Prototxt: read


class Layer(NamedTuple):
    """One layer: its parameters are those of the one `…_param` that its type reads."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    top: str
    params: Mapping[str, Any]


def parse(text: str) -> list[Layer]:
    """Returns the layers of a prototxt in their order; only what is used here."""
    text = re.sub(r"#.*", "", text)
    tokens = re.findall(r'"[^"]*"|[{}]|[^\s:{}"]+', text)
    message, end = _message(tokens, 0)
    assert end == len(tokens), "a closing brace too many"
    return [_layer(found) for found in message["layer"]]


def _layer(message: Mapping[str, list]) -> Layer:
    params = [m[0] for key, m in message.items() if key.endswith("_param")]
    return Layer(
        message["name"][0],
        message["type"][0],
        tuple(message.get("bottom", ())),
        message["top"][0],
        {key: values[0] for key, values in params[0].items()} if params else {},
    )


def _message(tokens: list[str], at: int) -> tuple[dict[str, list], int]:
    """Reads `key: value` and `key { … }` up to a closing brace or the end."""
    found: dict[str, list] = {}
    while at < len(tokens) and tokens[at] != "}":
        key, value = tokens[at : at + 2]
        if value == "{":
            value, at = _message(tokens, at + 2)
            assert tokens[at] == "}", "a closing brace is missing"
            at += 1
        else:
            value, at = _value(value), at + 2
        found.setdefault(key, []).append(value)
    return found, at


def _value(token: str) -> Any:
    if token.startswith('"'):
        return token[1:-1]
    if token in ("true", "false"):
        return token == "true"
    try:
        return float(token) if re.search("[.eE]", token) else int(token)
    except ValueError:
        return token  # MAX, AVE


# Layers, after caffe/src/caffe/layers


def _convolution(params, weights, x):
    return functional.conv2d(
        x,
        *weights,
        stride=params.get("stride", 1),
        padding=params.get("pad", 0),
        groups=params.get("group", 1),
    )


def _pooling(params, weights, x):
    """Sizes are rounded up; means count the padding, but nothing beyond it."""
    if params.get("global_pooling", False):
        kernel, options = x.shape[2:], {"stride": 1}
    else:
        kernel = params["kernel_size"]
        options = {
            "stride": params.get("stride", 1),
            "padding": params.get("pad", 0),
            "ceil_mode": True,
        }
    if params.get("pool", "MAX") == "MAX":
        return functional.max_pool2d(x, kernel, **options)
    return functional.avg_pool2d(x, kernel, **options, count_include_pad=True)


def _inner_product(params, weights, x):
    return functional.linear(x.flatten(1), *weights)


def _lrn(params, weights, x):
    """x / (k + alpha / size * sum of squares over `size` channels) ^ beta."""
    size = params.get("local_size", 5)
    squares = functional.pad(x * x, (0, 0, 0, 0, size // 2, size // 2))
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    scale = params.get("k", 1.0) + params.get("alpha", 1.0) / size * total
    return x * scale ** -params.get("beta", 0.75)


OPERATIONS: dict[str, Callable] = {
    "Convolution": _convolution,
    "Pooling": _pooling,
    "LRN": _lrn,
    "ReLU": lambda params, weights, x: functional.relu(x),
    "Dropout": lambda params, weights, x: x,
    "Concat": lambda params, weights, *xs: torch.cat(xs, dim=1),
    "InnerProduct": lambda params, weights, x: functional.linear(
        x.flatten(1), *weights
    ),
    "Softmax": lambda params, weights, x: x.softmax(dim=1),
}


def run(
    layers: Sequence[Layer], weights: Weights, data: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Returns layer -> output [N, C, H, W] or [N, C]."""
    blobs, outputs = {"data": data}, {}
    for one in layers:
        inputs = [blobs[bottom] for bottom in one.bottoms]
        y = OPERATIONS[one.type](one.params, weights.get(one.name, ()), *inputs)
        blobs[one.top] = outputs[one.name] = y
    return outputs


def kernel_shapes(
    layers: Sequence[Layer], size: tuple[int, int], channels: int = 3
) -> dict[str, tuple[int, ...]]:
    """Returns layer -> shape of its kernel, [O, I / groups, k, k] or [O, I]."""
    shapes, blobs = {}, {"data": torch.empty(1, channels, *size, device="meta")}
    for one in layers:
        x, *others = [blobs[bottom] for bottom in one.bottoms]
        weights = ()
        if one.type == "Convolution":
            kernel = one.params["kernel_size"]
            inputs = x.shape[1] // one.params.get("group", 1)
            shapes[one.name] = (one.params["num_output"], inputs, kernel, kernel)
        elif one.type == "InnerProduct":
            shapes[one.name] = (one.params["num_output"], x[0].numel())
        if one.name in shapes:
            weights = (torch.empty(shapes[one.name], device="meta"),)
        blobs[one.top] = OPERATIONS[one.type](one.params, weights, x, *others)
    return shapes


# Caffemodel


def caffemodel(layers: Sequence[Layer], weights: Weights) -> bytes:
    """Returns a NetParameter message with the blobs of each layer, for OpenCV."""
    parts = []
    for one in layers:
        blobs = b"".join(field(7, _blob(w.numpy())) for w in weights.get(one.name, ()))
        fields = field(1, one.name.encode()) + field(2, one.type.encode()) + blobs
        parts.append(field(100, fields))
    return b"".join(parts)


def _blob(array: np.ndarray) -> bytes:
    """BlobProto: shape = 7 (BlobShape: dim = 1), data = 5, both packed."""
    shape = field(1, b"".join(varint(n) for n in array.shape))
    return field(7, shape) + field(5, array.astype("<f4").tobytes())


def opencv_outputs(
    text: str, model: bytes, names: Sequence[str], data: np.ndarray
) -> list[np.ndarray]:
    """Returns what OpenCV finds for the named layers, with every layer on its own."""
    net = cv2.dnn.readNetFromCaffe(np.frombuffer(text.encode(), np.uint8), model)
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.enableFusion(False)
    net.setInput(data)
    return list(net.forward(list(names)))


# The answer


def answer(
    text: str,
    image: np.ndarray,
    *,
    vectors: Sequence[str] = (),
    gradient_of: Sequence[str] = ("logits",),
    scale: float = 255.0,
    mean: Sequence[float] = (104.0, 117.0, 123.0),
    gain: float = 1.0,
    made_with: str = MADE_WITH,
) -> Answer:
    """Returns what a network answers to `image` [1, H, W, 3], RGB in [0, 1].

    Taps are called like the blobs; what a ReLU in place reads is `blob/pre`. What the
    softmax reads is `logits`, and what it makes is `probabilities`.

    Args:
      text: prototxt.
      vectors: taps of a single place, which are kept as [1, K].
      gradient_of: the taps whose weighted sum is differentiated.
      scale, mean: of the input, which is BGR.
      gain: of the kernels, see `seeded`.
    """
    layers = parse(text)
    weights, tensors = {}, []
    for name, shape in kernel_shapes(layers, image.shape[1:3]).items():
        named = ((f"{name}/0", shape), (f"{name}/1", shape[:1]))
        tensors += named
        weights[name] = [
            torch.from_numpy(seeded(n, s, gain=gain)).double() for n, s in named
        ]
    pixels = torch.from_numpy(image).double().requires_grad_()
    data = pixels.flip(-1) * scale - torch.tensor(mean, dtype=torch.float64)
    data = data.permute(0, 3, 1, 2)
    outputs = run(layers, weights, data)
    check(text, layers, weights, data.detach(), outputs)
    found = {
        name: y.flatten(1) if name in vectors else channels_last(y)
        for name, y in taps(layers, outputs).items()
    }
    return answered(
        found,
        pixels,
        gradient_of,
        tensors=tensors,
        order="OIHW",
        made_with=made_with,
        gain=gain,
    )


def taps(
    layers: Sequence[Layer], outputs: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Returns tap -> output; see `answer` for the names."""
    found: dict[str, torch.Tensor] = {}
    for one in layers:
        if one.type == "ReLU" and one.bottoms == (one.top,):
            found[f"{one.top}/pre"] = found[one.top]
        if one.type == "Softmax":
            found["logits"] = found.pop(one.bottoms[0])
            found["probabilities"] = outputs[one.name]
        else:
            found[one.top] = outputs[one.name]
    return found


def check(
    text: str,
    layers: Sequence[Layer],
    weights: Weights,
    data: torch.Tensor,
    outputs: Mapping[str, torch.Tensor],
) -> None:
    """Stops where OpenCV finds anything else for any layer."""
    names = [one.name for one in layers if one.type != "Dropout"]
    theirs = opencv_outputs(
        text, caffemodel(layers, weights), names, data.float().numpy()
    )
    worst = 0.0
    for name, expected in zip(names, theirs, strict=True):
        ours = outputs[name].detach().numpy()
        expected = expected.reshape(ours.shape)
        apart = np.abs(ours - expected).max() / np.abs(expected).max()
        assert apart <= TOLERANCE, f"{name}: {apart:.1e} from OpenCV's"
        worst = max(worst, apart)
    print(f"{len(names)} layers agree with OpenCV's to {worst:.1e}")
