"""Frozen TensorFlow graphs, computed by PyTorch node by node and checked by OpenCV.

A graph is a list of nodes as its file has them: name, operation, inputs, attributes.
`answer` gives its constants seeded values and runs it twice: here, in float64 and with
a gradient, one function per operation after TensorFlow's documentation; and by OpenCV's
own reader of the file. Every layer that OpenCV makes of it must give the same.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.nn import functional

from benchmarks.golden import Answer
from benchmarks.references.protobuf import field, integer, varint
from benchmarks.references.torch_common import answered
from tests.seeded import seeded

TOLERANCE = 1e-4  # OpenCV computes in float32
MADE_WITH = f"GraphDef, torch {torch.__version__}, OpenCV {cv2.__version__}"


class Node(NamedTuple):
    """One node; the only attributes here are those that change what is computed.

    Attributes:
      attributes: numbers, lists of numbers, and names such as SAME. A constant has its
        "shape" if it is a weight, else its "value".
    """

    name: str
    operation: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = {}


# Groups of nodes, as the graphs of 2015 have them


def conv(name: str, x: str, shape: Sequence[int], stride: int = 1) -> list[Node]:
    """A convolution [kh, kw, C, K], its bias and its ReLU."""
    strides = {"padding": "SAME", "strides": [1, stride, stride, 1]}
    return [
        *_weights(name, shape),
        Node(f"{name}_pre_relu/conv", "Conv2D", (x, f"{name}_w"), strides),
        Node(f"{name}_pre_relu", "BiasAdd", (f"{name}_pre_relu/conv", f"{name}_b")),
        Node(name, "Relu", (f"{name}_pre_relu",)),
    ]


def dense(name: str, x: str, shape: Sequence[int], activation: str) -> list[Node]:
    """A matrix [C, K] on a flattened input, its bias and its Relu or Softmax."""
    pre = f"{name}_pre_relu" if activation == "Relu" else f"{name}_pre_activation"
    return [
        *_weights(name, shape),
        *reshape(x, shape[0]),
        Node(f"{pre}/matmul", "MatMul", (f"{x}/reshape", f"{name}_w")),
        Node(pre, "BiasAdd", (f"{pre}/matmul", f"{name}_b")),
        Node(name, activation, (pre,)),
    ]


def reshape(x: str, size: int) -> list[Node]:
    """`x/reshape` is x as [N, size]."""
    shape = np.array([-1, size], np.int32)
    return [
        Node(f"{x}/reshape/shape", "Const", (), {"value": shape}),
        Node(f"{x}/reshape", "Reshape", (x, f"{x}/reshape/shape")),
    ]


def pool(
    name: str, x: str, kernel: int, stride: int, operation: str = "MaxPool"
) -> Node:
    """MaxPool with padding, or AvgPool without."""
    attributes = {
        "ksize": [1, kernel, kernel, 1],
        "strides": [1, stride, stride, 1],
        "padding": "SAME" if operation == "MaxPool" else "VALID",
    }
    return Node(name, operation, (x,), attributes)


def concat(name: str, *xs: str) -> list[Node]:
    """Puts channels side by side."""
    axis = Node(f"{name}/concat_dim", "Const", (), {"value": np.int32(3)})
    return [axis, Node(name, "Concat", (axis.name, *xs), {"N": len(xs)})]


def _weights(name: str, shape: Sequence[int]) -> list[Node]:
    return [
        Node(f"{name}_w", "Const", (), {"shape": tuple(shape)}),
        Node(f"{name}_b", "Const", (), {"shape": tuple(shape[-1:])}),
    ]


# Operations, on [N, H, W, C]


def _padded(x, kernel, strides, padding, value):
    """x as [N, C, H, W] with TensorFlow's padding: the odd pixel comes last."""
    x = x.permute(0, 3, 1, 2)
    if padding == "VALID":
        return x
    sides = []
    for size, k, stride in zip(x.shape[2:], kernel, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + k - size, 0)
        sides.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = sides
    return functional.pad(x, (left, right, top, bottom), value=value)


def _conv2d(attributes, x, w):
    strides = attributes["strides"][1:3]
    x = _padded(x, w.shape[:2], strides, attributes["padding"], 0.0)
    return functional.conv2d(x, w.permute(3, 2, 0, 1), stride=strides).permute(
        0, 2, 3, 1
    )


def _pooling(function, value):
    def pooled(attributes, x):
        kernel, strides = attributes["ksize"][1:3], attributes["strides"][1:3]
        x = _padded(x, kernel, strides, attributes["padding"], value)
        return function(x, kernel, strides).permute(0, 2, 3, 1)

    return pooled


def _lrn(attributes, x):
    """x / (bias + alpha * sum of squares of `depth_radius` neighbors a side) ^ beta."""
    radius = attributes["depth_radius"]
    channels = range(x.shape[-1])
    squares = torch.stack(
        [
            (x[..., max(c - radius, 0) : c + radius + 1] ** 2).sum(dim=-1)
            for c in channels
        ],
        dim=-1,
    )
    scale = attributes["bias"] + attributes["alpha"] * squares
    return x / scale ** attributes["beta"]


OPERATIONS: dict[str, Callable] = {
    "Conv2D": _conv2d,
    "MaxPool": _pooling(functional.max_pool2d, -torch.inf),
    "AvgPool": _pooling(functional.avg_pool2d, 0.0),
    "LRN": _lrn,
    "BiasAdd": lambda attributes, x, b: x + b,
    "Relu": lambda attributes, x: functional.relu(x),
    "Concat": lambda attributes, axis, *xs: torch.cat(xs, dim=int(axis)),
    "Reshape": lambda attributes, x, shape: x.reshape(shape.tolist()),
    "MatMul": lambda attributes, x, w: x @ w,
    "Softmax": lambda attributes, x: x.softmax(dim=-1),
}


def run(
    nodes: Sequence[Node], constants: Mapping[str, torch.Tensor], image: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Returns node -> output, channels last."""
    found = {"input": image, **constants}
    for node in nodes:
        if node.operation not in ("Placeholder", "Const"):
            inputs = [found[name] for name in node.inputs]
            found[node.name] = OPERATIONS[node.operation](node.attributes, *inputs)
    return found


# The file: GraphDef, in protocol-buffer encoding


def graphdef(nodes: Sequence[Node], constants: Mapping[str, torch.Tensor]) -> bytes:
    """Returns the graph as the bytes of its file."""
    return b"".join(field(1, _node(node, constants)) for node in nodes)


def _node(node: Node, constants: Mapping[str, torch.Tensor]) -> bytes:
    """NodeDef: name = 1, op = 2, input = 3, attr = 5 (key = 1, value = 2)."""
    attributes = dict(node.attributes)
    if node.operation == "Const":
        value = constants[node.name].numpy()
        kind = np.float32 if value.dtype == np.float64 else np.int32
        value = value.astype(kind)
        attributes = {"dtype": _type(value), "value": value}
    elif node.operation == "Placeholder":
        attributes = {"dtype": _type(np.zeros(1, np.float32))}
    else:
        attributes["T"] = _type(np.zeros(1, np.float32))
    parts = [field(1, node.name.encode()), field(2, node.operation.encode())]
    parts += [field(3, name.encode()) for name in node.inputs]
    for key, value in attributes.items():
        parts.append(field(5, field(1, key.encode()) + field(2, _value(value))))
    return b"".join(parts)


class _Type(NamedTuple):
    number: int  # DT_FLOAT = 1, DT_INT32 = 3


def _type(value: np.ndarray) -> _Type:
    return _Type(1 if value.dtype == np.float32 else 3)


def _value(value: Any) -> bytes:
    """AttrValue: list = 1, s = 2, i = 3, f = 4, type = 6, tensor = 8."""
    if isinstance(value, _Type):
        return integer(6, value.number)
    if isinstance(value, str):
        return field(2, value.encode())
    if isinstance(value, list):
        return field(1, b"".join(integer(3, n) for n in value))
    if isinstance(value, int):
        return integer(3, value)
    if isinstance(value, float):
        return varint(4 << 3 | 5) + struct.pack("<f", value)
    return field(8, _tensor(value))


def _tensor(value: np.ndarray) -> bytes:
    """TensorProto: dtype = 1, tensor_shape = 2 (dim = 2: size = 1), content = 4."""
    shape = b"".join(field(2, integer(1, n)) for n in value.shape)
    content = value.astype(value.dtype.newbyteorder("<")).tobytes()
    kind = integer(1, _type(value).number)
    if not value.shape:  # OpenCV reads a lone number only as int_val = 7
        return kind + field(2, b"") + integer(7, int(value))
    return kind + field(2, shape) + field(4, content)


# The answer


def answer(
    nodes: Sequence[Node],
    image: np.ndarray,
    taps: Mapping[str, str],
    *,
    together: Mapping[str, Sequence[str]] | None = None,
    gradient_of: Sequence[str] = ("logits",),
    scale: float = 255.0,
    mean: float = 117.0,
    made_with: str = MADE_WITH,
) -> Answer:
    """Returns what a graph answers to `image` [1, H, W, 3] in [0, 1].

    Args:
      nodes: of the graph, each after its inputs; the image's is "input".
      taps: name of our tap -> node.
      together: name of our tap -> nodes whose channels it has side by side.
      gradient_of: the taps whose weighted sum is differentiated.
      scale, mean: of the input.
    """
    constants, tensors = {}, []
    for node in nodes:
        if "shape" in node.attributes:
            shape = node.attributes["shape"]
            tensors.append((node.name, shape))
            values = torch.from_numpy(seeded(node.name, shape, "HWIO"))
            constants[node.name] = values.double()
        elif node.operation == "Const":
            constants[node.name] = torch.from_numpy(np.array(node.attributes["value"]))
    pixels = torch.from_numpy(image).double().requires_grad_()
    data = pixels * scale - mean
    outputs = run(nodes, constants, data)
    check(nodes, constants, data.detach(), outputs)
    found = {tap: outputs[node] for tap, node in taps.items()}
    for tap, parts in (together or {}).items():
        found[tap] = torch.cat([outputs[part] for part in parts], dim=-1)
    return answered(
        found,
        pixels,
        gradient_of,
        tensors=tensors,
        order="HWIO",
        made_with=made_with,
    )


def check(
    nodes: Sequence[Node],
    constants: Mapping[str, torch.Tensor],
    data: torch.Tensor,
    outputs: Mapping[str, torch.Tensor],
) -> None:
    """Stops where OpenCV finds anything else for any of its layers."""
    model = np.frombuffer(graphdef(nodes, constants), np.uint8)
    net = cv2.dnn.readNetFromTensorflow(model)
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.enableFusion(False)
    net.setInput(data.permute(0, 3, 1, 2).float().numpy())
    names = [name for name in net.getLayerNames() if name in outputs]
    worst = 0.0
    for name, theirs in zip(names, net.forward(names), strict=True):
        # OpenCV's convolutions have their bias with them.
        node = name.removesuffix("/conv").removesuffix("/matmul")
        ours = outputs[node].detach()
        if ours.ndim == 4 and theirs.ndim == 4:
            ours = ours.permute(0, 3, 1, 2)
        ours = ours.numpy().reshape(theirs.shape)
        apart = np.abs(ours - theirs).max() / np.abs(theirs).max()
        assert apart <= TOLERANCE, f"{name}: {apart:.1e} from OpenCV's"
        worst = max(worst, apart)
    print(f"{len(names)} layers agree with OpenCV's to {worst:.1e}")
