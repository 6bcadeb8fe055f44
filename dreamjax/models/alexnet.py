"""AlexNet (Krizhevsky et al. 2012) and its relatives: five convolutions, three dense.

Taps have Caffe's names. BVLC's AlexNet normalizes before it pools, CaffeNet after. At
227 px, the only size at which their dense layers exist:

    conv1, conv1/pre                         [55, 55, 96]
    norm1, pool1 (CaffeNet: pool1, norm1)    [27, 27, 96] once pooled
    conv2, conv2/pre                         [27, 27, 256]
    norm2, pool2 (CaffeNet: pool2, norm2)    [13, 13, 256] once pooled
    conv3, conv4, conv5, …/pre               [13, 13, 384], 384 and 256
    pool5                                    [6, 6, 256]
    fc6, fc7, …/pre                          [4096]
    logits, probabilities                    [1000]; Caffe calls the first fc8

Here too is torchvision's `alexnet`, of another paper: "One weird trick for
parallelizing convolutional neural networks" (Krizhevsky 2014). It has 64, 192, 384, 256
and 256 channels that are not split in two groups, and no normalization. It averages
pool5 to 6×6 (`avgpool`), so that its dense layers exist at any size.
"""

from collections.abc import Callable
from functools import partial

from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import CAFFE, TORCH, Layer, Layout, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import CAFFE_INPUT, TORCHVISION_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import (
    adaptive_avg_pool,
    ceil_padding,
    local_response_norm,
    max_pool,
)
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

SIDE = 6  # of the map that the dense layers read
HEAD = ("fc6/pre", "fc6", "fc7/pre", "fc7", "logits", "probabilities")
"""Taps of `dense_head`."""


class AlexNet(nn.Module):
    """The two networks of Caffe: preprocessed images [N, H, W, 3] -> taps.

    Attributes:
      pool_first: pools, then normalizes (CaffeNet).
    """

    pool_first: bool
    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        x = tape.conv("conv1", x, 96, 11, stride=4)
        x = self._shrunk(tape, "1", x)
        x = tape.conv("conv2", x, 256, 5, padding=2, groups=2)
        x = self._shrunk(tape, "2", x)
        x = tape.conv("conv3", x, 384, 3, padding=1)
        x = tape.conv("conv4", x, 384, 3, padding=1, groups=2)
        x = tape.conv("conv5", x, 256, 3, padding=1, groups=2)
        x = tape.keep("pool5", _pooled(x))
        if x.shape[1:3] != (SIDE, SIDE):
            return tape.taps
        return dense_head(tape, x, self.classes)

    def _shrunk(self, tape: Tape, n: str, x: Array) -> Array:
        if self.pool_first:
            x = tape.keep(f"pool{n}", _pooled(x))
            return tape.keep(f"norm{n}", _normalized(x))
        x = tape.keep(f"norm{n}", _normalized(x))
        return tape.keep(f"pool{n}", _pooled(x))


def _pooled(x: Array) -> Array:
    return max_pool(x, 3, 2, ceil_padding(*x.shape[1:3], 3, 2))


def _normalized(x: Array) -> Array:
    return local_response_norm(x, size=5, alpha=1e-4 / 5, beta=0.75, k=1.0)


def dense_head(tape: Tape, x: Array, classes: int) -> Taps:
    """The three dense layers on a map [N, h, w, C], which VGG has too; all taps."""
    x = x.reshape(x.shape[0], -1)  # [N, h · w · C]
    x = tape.dense("fc6", x, 4096, act="relu")
    x = tape.dense("fc7", x, 4096, act="relu")
    return tape.classifier(x, classes, "logits")


class OneWeirdTrick(nn.Module):
    """torchvision's network: preprocessed images [N, H, W, 3] -> taps."""

    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        none = ((0, 0), (0, 0))
        x = tape.conv("conv1", x, 64, 11, stride=4, padding=2)
        x = tape.keep("pool1", max_pool(x, 3, 2, none))
        x = tape.conv("conv2", x, 192, 5, padding=2)
        x = tape.keep("pool2", max_pool(x, 3, 2, none))
        x = tape.conv("conv3", x, 384, 3, padding=1)
        x = tape.conv("conv4", x, 256, 3, padding=1)
        x = tape.conv("conv5", x, 256, 3, padding=1)
        x = tape.keep("pool5", max_pool(x, 3, 2, none))
        x = tape.keep("avgpool", adaptive_avg_pool(x, (SIDE, SIDE)))
        return dense_head(tape, x, self.classes)


TORCHVISION_NAMES = {  # a number for each convolution, ReLU, pool and dropout
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "fc6": "classifier.1",
    "fc7": "classifier.4",
    "logits": "classifier.6",
}


def caffe_name(path: str) -> str:
    """Returns Caffe's name of a layer; all are ours but that of the classifier."""
    return "fc8" if path == "logits" else path


def _port(
    record: Record,
    source: Source,
    format: str,
    layout: Layout,
    names: Callable[[str], str],
    network: Callable[..., nn.Module],
) -> Port:
    def layer(path: str) -> Layer:
        return Layer(names(path), volume=(SIDE, SIDE, 256) if path == "fc6" else None)

    convert = partial(fill, layout=layout, names=layer)
    return Port(record, source, format, lambda rules: network(rules=rules), convert)


_COMMON = {"labels": imagenet_labels(), "redirectable": True}
_CAFFE = {
    "parameters": 60_965_224,
    "size": 227,
    "min_size": 39,
    "head_taps": HEAD,
    **_COMMON,
    **CAFFE_INPUT,
}
_ALEXNET = _port(
    Record(
        name="alexnet.bvlc",
        source="BVLC, Caffe model zoo",
        license="unrestricted use",
        year=2012,
        paper="Krizhevsky et al. 2012",
        top1=57.1,
        **_CAFFE,
    ),
    Source(
        file="bvlc_alexnet.caffemodel",
        address="http://dl.caffe.berkeleyvision.org/bvlc_alexnet.caffemodel",
        digest="sha1:9116a64c0fbe4459d18f4bb6b56d647b63920377",
    ),
    "caffe",
    CAFFE,
    caffe_name,
    partial(AlexNet, pool_first=False),
)
_CAFFENET = _port(
    Record(
        name="caffenet.bvlc",
        source="BVLC, Caffe model zoo",
        license="unrestricted use",
        year=2014,
        paper="Jia et al. 2014",
        top1=57.4,
        **_CAFFE,
    ),
    Source(
        file="bvlc_reference_caffenet.caffemodel",
        address="http://dl.caffe.berkeleyvision.org/bvlc_reference_caffenet.caffemodel",
        digest="sha1:4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
    ),
    "caffe",
    CAFFE,
    caffe_name,
    partial(AlexNet, pool_first=True),
)
_YOSINSKI = _CAFFENET._replace(
    record=Record(
        name="caffenet.yosinski",
        source="Deep Visualization Toolbox",
        license="not stated",
        year=2014,
        paper="Jia et al. 2014",
        **_CAFFE,
    ),
    source=Source(
        file="caffenet-yos-weights",
        address="https://c.yosinski.com/caffenet-yos-weights",
    ),
)
_ONE_WEIRD_TRICK = _port(
    Record(
        name="alexnet_owt.torchvision",
        source="torchvision, IMAGENET1K_V1",
        license="BSD-3-Clause",
        year=2014,
        paper="Krizhevsky 2014",
        parameters=61_100_840,
        top1=56.522,
        size=224,
        min_size=63,
        **_COMMON,
        **TORCHVISION_INPUT,
    ),
    Source(
        file="alexnet-owt-7be5be79.pth",
        address="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        digest="sha256:7be5be79",
    ),
    "torch",
    TORCH,
    TORCHVISION_NAMES.__getitem__,
    OneWeirdTrick,
)
PORTS = (_ALEXNET, _CAFFENET, _YOSINSKI, _ONE_WEIRD_TRICK)
