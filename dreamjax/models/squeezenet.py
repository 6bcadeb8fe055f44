"""SqueezeNet 1.0 and 1.1 (Iandola et al. 2016): squeeze, then expand two ways.

Taps have the names of the authors' Caffe networks. At image side S:

    conv1, conv1/pre                         [S/2, S/2, 64]; version 1.0: 96
    pool1, pool3, pool5                      after conv1, fire3, fire5
    pool1, pool4, pool8                      version 1.0: after conv1, fire4, fire8
    fireN/squeeze1x1, …/pre                  N = 2 … 9
    fireN/expand1x1, fireN/expand3x3, …/pre
    fireN/concat                             both, side by side; last [S/16, S/16, 512]
    conv10, conv10/pre                       [S/16, S/16, 1000]
    logits, probabilities                    [1000]; the logits, which Caffe calls
                                             pool10, are the mean of conv10

Pooled sizes are rounded up everywhere. In the authors' version 1.0, conv10 is two
pixels larger than what it reads. Any image size will do.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import CAFFE, MXNET, TORCH, Layer, Layout, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import CAFFE_INPUT, TORCHVISION_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import ceil_padding, max_pool
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

FIRES = {  # channels of squeeze, and of each expand
    2: (16, 64),
    3: (16, 64),
    4: (32, 128),
    5: (32, 128),
    6: (48, 192),
    7: (48, 192),
    8: (64, 256),
    9: (64, 256),
}


class Version(NamedTuple):
    """What differs between the versions.

    Attributes:
      features, kernel: of conv1.
      pools: a pool follows these layers, conv1 being layer 1.
      padding: of conv10, a 1×1 convolution, so that in the margin its bias is alone.
    """

    features: int
    kernel: int
    pools: tuple[int, ...]
    padding: int = 0


V1_0 = Version(96, 7, (1, 4, 8))
V1_0_CAFFE = V1_0._replace(padding=1)
V1_1 = Version(64, 3, (1, 3, 5))


class SqueezeNet(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    version: Version
    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        version = self.version
        y = tape.conv("conv1", x, version.features, version.kernel, stride=2)
        y = _pool(tape, y, 1, version)
        for n, (squeeze, expand) in FIRES.items():
            y = tape.conv(f"fire{n}/squeeze1x1", y, squeeze)
            wide = (
                tape.conv(f"fire{n}/expand1x1", y, expand),
                tape.conv(f"fire{n}/expand3x3", y, expand, 3, padding=1),
            )
            y = tape.keep(f"fire{n}/concat", jnp.concatenate(wide, axis=-1))
            y = _pool(tape, y, n, version)
        if self.classes == 0:
            return tape.taps
        y = tape.conv("conv10", y, self.classes, padding=version.padding)
        return tape.classify(jnp.mean(y, axis=(1, 2)))


def _pool(tape: Tape, x: Array, after: int, version: Version) -> Array:
    if after not in version.pools:
        return x
    padding = ceil_padding(*x.shape[1:3], 3, 2)
    return tape.keep(f"pool{after}", max_pool(x, 3, 2, padding))


def _torchvision_names(version: Version) -> dict[str, str]:
    """Fires are numbered with the pools and nonlinearities between them."""
    names = {"conv1": "features.0", "conv10": "classifier.1"}
    at = 3  # features.1 is a ReLU, features.2 pool1
    for n in FIRES:
        for layer, theirs in (
            ("squeeze1x1", "squeeze"),
            ("expand1x1", "expand1x1"),
            ("expand3x3", "expand3x3"),
        ):
            names[f"fire{n}/{layer}"] = f"features.{at}.{theirs}"
        at += 2 if n in version.pools else 1
    return names


def _mxnet_names() -> dict[str, str]:
    """Convolutions are numbered in order: conv1, three for each fire, conv10."""
    order = ["conv1"]
    for n in FIRES:
        order += [f"fire{n}/{x}" for x in ("squeeze1x1", "expand1x1", "expand3x3")]
    order.append("conv10")
    return {path: f"squeezenet0_conv{i}" for i, path in enumerate(order)}


def _port(
    version: Version,
    record: Record,
    source: Source,
    format: str,
    layout: Layout,
    names: Callable[[str], str],
) -> Port:
    convert = partial(fill, layout=layout, names=lambda path: Layer(names(path)))
    return Port(record, source, format, partial(SqueezeNet, version), convert)


_COMMON = {
    "year": 2016,
    "paper": "Iandola et al. 2016",
    "labels": imagenet_labels(),
    "redirectable": True,
}
_1_0 = {"parameters": 1_248_424, "min_size": 21, **_COMMON}
_1_1 = {"parameters": 1_235_496, "min_size": 17, **_COMMON}
_TORCHVISION = {
    "source": "torchvision, IMAGENET1K_V1",
    "license": "BSD-3-Clause",
    "size": 224,
    **TORCHVISION_INPUT,
}
_AUTHORS = {
    "source": "forresti/SqueezeNet on GitHub",
    "license": "BSD-2-Clause",
    "size": 227,
    **CAFFE_INPUT,
}
GITHUB = (
    "https://github.com/forresti/SqueezeNet/raw/"
    "a47b6f13d30985279789d08053d37013d67d131b"
)

PORTS = (
    _port(
        V1_0,
        Record(name="squeezenet1_0.torchvision", top1=58.092, **_1_0, **_TORCHVISION),
        Source(
            file="squeezenet1_0-b66bff10.pth",
            address="https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth",
            digest="sha256:b66bff10",
        ),
        "torch",
        TORCH,
        _torchvision_names(V1_0).__getitem__,
    ),
    _port(
        V1_0_CAFFE,
        Record(name="squeezenet1_0.caffe", top1=57.5, **_1_0, **_AUTHORS),
        Source(
            file="squeezenet_v1.0.caffemodel",
            address=f"{GITHUB}/SqueezeNet_v1.0/squeezenet_v1.0.caffemodel",
            # Not the authors': as the Open Model Zoo lists it, here and below.
            digest="sha256:"
            "9ff8035aada1f9ffa880b35252680d971434b141ec9fbacbe88309f0f9a675ce",
        ),
        "caffe",
        CAFFE,
        str,
    ),
    _port(
        V1_1,
        Record(name="squeezenet1_1.torchvision", top1=58.178, **_1_1, **_TORCHVISION),
        Source(
            file="squeezenet1_1-b8a52dc0.pth",
            address="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
            digest="sha256:b8a52dc0",
        ),
        "torch",
        TORCH,
        _torchvision_names(V1_1).__getitem__,
    ),
    _port(
        V1_1,
        Record(name="squeezenet1_1.caffe", **_1_1, **_AUTHORS),
        Source(
            file="squeezenet_v1.1.caffemodel",
            address=f"{GITHUB}/SqueezeNet_v1.1/squeezenet_v1.1.caffemodel",
            digest="sha256:"
            "72b912ace512e8621f8ff168a7d72af55910d3c7c9445af8dfbff4c2ee960142",
        ),
        "caffe",
        CAFFE,
        str,
    ),
    _port(
        V1_1,
        Record(
            name="squeezenet1_1.mxnet",
            source="MXNet Gluon, as in the ONNX model zoo",
            license="Apache-2.0",
            size=224,
            top1=56.34,
            **_1_1,
            **TORCHVISION_INPUT,
        ),
        Source(file="squeezenet1.1_mxnet.npz"),
        "npz",
        MXNET,
        _mxnet_names().__getitem__,
    ),
)
