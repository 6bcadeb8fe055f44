"""MobileNetV2 (Sandler et al. 2018): inverted residuals with linear bottlenecks.

Taps have torchvision's names, and of the three convolutions of a block Keras' names.
At image side S:

    features.0, features.0/pre               [S/2, S/2, 32], a 3×3 convolution
    features.N.expand, …/pre                 1×1, N = 2 … 17
    features.N.depthwise, …/pre              one 3×3 filter for each channel, N = 1 … 17
    features.N.project                       1×1, no nonlinearity
    features.N                               the same plus the block's input, where
                                             neither size nor channels change:
                                             16 channels for N = 1, [S/4, S/4, 24] up to
                                             3, [S/8, S/8, 32] up to 6, [S/16, S/16, 64]
                                             up to 10, 96 channels up to 13,
                                             [S/32, S/32, 160] up to 16, 320 channels
    features.18, features.18/pre             [S/32, S/32, 1280], a 1×1 convolution
    avgpool                                  [1280], its mean
    logits, probabilities                    [1000]; torchvision's classifier.1, Keras'
                                             predictions

MXNet's first network, the one in the ONNX model zoo, differs: its nonlinearity is ReLU,
not ReLU6, the first block expands too (32 channels to 32), and the size is halved in
features.11 instead of features.7, so that [S/8, S/8] lasts up to features.10.

Batch norms are part of the convolutions before them. Any image size will do.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import KERAS, MXNET, TORCH, Layer, Layout, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import INCEPTION_INPUT, TORCHVISION_INPUT, Record
from dreamjax.models.modules import Pad, Tape
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

# Channels of features.1 … features.17.
OUTPUTS = (16, 24, 24, *(32,) * 3, *(64,) * 4, *(96,) * 3, *(160,) * 3, 320)


class Version(NamedTuple):
    """What differs between the sources.

    Attributes:
      padding: of the 3×3 convolutions; "SAME" is TensorFlow's.
      halved: numbers of the blocks whose depthwise convolution has stride 2.
      act: the nonlinearity.
      expand_first: the first block has an expansion, though to no more channels.
      classifier: the network has one.
    """

    padding: Pad
    halved: tuple[int, ...] = (2, 4, 7, 14)
    act: str = "relu6"
    expand_first: bool = False
    classifier: bool = True


IN_TORCHVISION = Version(padding=1)
IN_KERAS = Version(padding="SAME")
# Such a network has the activations that the batch norms of the file remember: on 50
# photos, the logarithms of the variances correlate to 0.97 (mean of the layers). With
# ReLU6 it is 0.93, with the strides of the others 0.90, with both 0.89.
IN_MXNET = Version(1, (2, 4, 11, 14), "relu", expand_first=True, classifier=False)


class MobileNetV2(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    version: Version
    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        padding, act = self.version.padding, self.version.act
        y = tape.conv("features.0", x, 32, 3, stride=2, padding=padding, act=act)
        for n, outputs in enumerate(OUTPUTS, start=1):
            y = self._block(tape, n, y, outputs)
        y = tape.conv("features.18", y, 1280, act=act)
        if not self.version.classifier:
            return tape.taps
        y = tape.keep("avgpool", jnp.mean(y, axis=(1, 2)))
        return tape.classifier(y, self.classes, "logits")

    def _block(self, tape: Tape, n: int, x: Array, outputs: int) -> Array:
        """Expand, filter each channel, project; add the input if it fits."""
        version, name, y = self.version, f"features.{n}", x
        if n > 1 or version.expand_first:
            wide = (6 if n > 1 else 1) * x.shape[-1]
            y = tape.conv(f"{name}.expand", y, wide, act=version.act)
        y = tape.depthwise(
            f"{name}.depthwise",
            y,
            3,
            stride=2 if n in version.halved else 1,
            padding=version.padding,
            act=version.act,
        )
        y = tape.conv(f"{name}.project", y, outputs, act=None)
        return tape.keep(name, x + y if x.shape == y.shape else y)


def _torchvision_name(path: str) -> Layer:
    """A block is a list: one or two pairs of convolution and norm, then one of each."""
    if path == "logits":
        return Layer("classifier.1")
    block, _, part = path.rpartition(".")
    if not part.isalpha():
        return Layer(f"{path}.0", f"{path}.1")
    first = 0 if block == "features.1" else 1  # number of the depthwise convolution
    if part == "project":
        return Layer(f"{block}.conv.{first + 1}", f"{block}.conv.{first + 2}")
    number = 0 if part == "expand" else first
    return Layer(f"{block}.conv.{number}.0", f"{block}.conv.{number}.1")


def _keras_name(path: str) -> Layer:
    """Blocks are numbered from 0, of which the first has a name of its own."""
    ends = {
        "features.0": Layer("Conv1", "bn_Conv1"),
        "features.18": Layer("Conv_1", "Conv_1_bn"),
        "logits": Layer("predictions"),
    }
    if path in ends:
        return ends[path]
    _, n, part = path.split(".")
    name = f"block_{int(n) - 1}_{part}" if n != "1" else f"expanded_conv_{part}"
    return Layer(name, f"{name}_BN")


def _mxnet_name(path: str) -> Layer:
    """Blocks are numbered from 0, and so are the convolutions of a block."""
    _, n, *part = path.split(".")
    if part:
        at = f"linearbottleneck{int(n) - 1}_"
        number = ("expand", "depthwise", "project").index(part[0])
    else:
        at, number = "", ("0", "18").index(n)
    prefix = f"mobilenetv20_features_{at}"
    return Layer(f"{prefix}conv{number}", f"{prefix}batchnorm{number}")


def _port(
    version: Version,
    record: Record,
    source: Source,
    format: str,
    layout: Layout,
    names: Callable[[str], Layer],
    epsilon: float,
) -> Port:
    convert = partial(
        fill,
        layout=layout,
        names=names,
        epsilon=epsilon,
        ignore=("num_batches_tracked",),
    )
    return Port(record, source, format, partial(MobileNetV2, version), convert)


def _torchvision_source(hash: str) -> Source:
    file = f"mobilenet_v2-{hash}.pth"
    address = f"https://download.pytorch.org/models/{file}"
    return Source(file=file, address=address, digest=f"sha256:{hash}")


_COMMON = {
    "year": 2018,
    "paper": "Sandler et al. 2018",
    "size": 224,
    "redirectable": True,
}
_FIRST = _port(
    IN_TORCHVISION,
    Record(
        name="mobilenet_v2.torchvision",
        source="torchvision, IMAGENET1K_V1",
        license="BSD-3-Clause",
        labels=imagenet_labels(),
        parameters=3_504_872,
        top1=71.878,
        **_COMMON,
        **TORCHVISION_INPUT,
    ),
    _torchvision_source("b0353104"),
    "torch",
    TORCH,
    _torchvision_name,
    epsilon=1e-5,
)
_SECOND = _FIRST._replace(  # the same network, trained by a longer recipe
    record=dataclasses.replace(
        _FIRST.record,
        name="mobilenet_v2.torchvision-v2",
        source="torchvision, IMAGENET1K_V2",
        top1=72.154,
    ),
    source=_torchvision_source("7ebf99e0"),
)
_KERAS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"

PORTS = (
    _FIRST,
    _SECOND,
    _port(
        IN_KERAS,
        Record(
            name="mobilenet_v2.keras",
            source="Keras Applications",
            license="Apache-2.0",
            labels=imagenet_labels(),
            parameters=3_504_872,
            top1=71.3,
            **_COMMON,
            **INCEPTION_INPUT,
        ),
        Source(
            file=_KERAS_FILE,
            address="https://storage.googleapis.com/tensorflow/keras-applications/"
            f"mobilenet_v2/{_KERAS_FILE}",
        ),
        "hdf5",
        KERAS,
        _keras_name,
        epsilon=1e-3,
    ),
    _port(
        IN_MXNET,
        Record(
            name="mobilenet_v2.mxnet-features",
            source="MXNet Gluon, as in the ONNX model zoo, but the classifier",
            license="Apache-2.0",
            parameters=2_224_960,
            **_COMMON,
            **TORCHVISION_INPUT,
        ),
        Source(file="mobilenetv2_onnxzoo_features.npz"),
        "npz",
        MXNET,
        _mxnet_name,
        epsilon=1e-5,
    ),
)
