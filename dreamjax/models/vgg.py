"""VGG16 and VGG19 (Simonyan and Zisserman 2014): 3×3 convolutions, pool, and again.

Taps have the names of the authors' Caffe networks. At image side S:

    conv1_1, conv1_2, …/pre                  [S, S, 64]
    pool1                                    [S/2, S/2, 64]
    conv2_1, conv2_2, …/pre; pool2           128 channels, pooled to S/4
    conv3_1 … conv3_3 (VGG19: 3_4); pool3    256 channels, pooled to S/8
    conv4_1 … conv4_3 (4_4); pool4           512 channels, pooled to S/16
    conv5_1 … conv5_3 (5_4); pool5           512 channels, pooled to S/32
    avgpool                                  [7, 7, 512], torchvision's networks only
    fc6, fc7, …/pre                          [4096]
    logits, probabilities                    [1000]; Caffe calls the first fc8

torchvision averages pool5 to 7×7 whatever its size; Caffe's and Keras' dense layers
read it as it is, so theirs exist at 224 px only. Caffe rounds the sizes of the pooled
maps up, the others down.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.alexnet import HEAD, caffe_name, dense_head
from dreamjax.models.convert import CAFFE, KERAS, TORCH, Layer, Layout, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import TORCHVISION_INPUT, VGG_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import (
    adaptive_avg_pool,
    avg_pool,
    ceil_padding,
    max_pool,
)
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

VGG16 = (2, 2, 3, 3, 3)  # convolutions of each block
VGG19 = (2, 2, 4, 4, 4)
SIDE = 7  # of the map that the dense layers read
OXFORD = "https://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe"
GOOGLE = "https://storage.googleapis.com/tensorflow/keras-applications"
POOLS = {"max": max_pool, "average": partial(avg_pool, count_padding=False)}


class VGG(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps.

    Attributes:
      blocks: number of convolutions of each block; a pool follows each.
      head: "adaptive" for torchvision's, "fixed" for dense layers that need a map of
        7×7, None for none.
      ceil: pooled sizes are rounded up, as in Caffe.
      pool: a key of `POOLS`: "max", or Gatys et al.'s "average" (2015).
    """

    blocks: tuple[int, ...]
    head: str | None
    ceil: bool = False
    pool: str = "max"
    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        for block, convolutions in enumerate(self.blocks, start=1):
            features = min(32 * 2**block, 512)
            for i in range(1, convolutions + 1):
                x = tape.conv(f"conv{block}_{i}", x, features, 3, padding=1)
            x = tape.keep(f"pool{block}", self._pooled(x))
        if self.head == "adaptive":
            x = tape.keep("avgpool", adaptive_avg_pool(x, (SIDE, SIDE)))
        if self.head is None or x.shape[1:3] != (SIDE, SIDE):
            return tape.taps
        return dense_head(tape, x, self.classes)

    def _pooled(self, x: Array) -> Array:
        padding = ceil_padding(*x.shape[1:3], 2, 2) if self.ceil else ((0, 0), (0, 0))
        return POOLS[self.pool](x, 2, 2, padding)


def _torchvision_names(blocks: tuple[int, ...]) -> dict[str, str]:
    """Convolutions are numbered with the ReLUs and pools between them."""
    names, at = {"fc6": "classifier.0", "fc7": "classifier.3"}, 0
    for block, convolutions in enumerate(blocks, start=1):
        for i in range(1, convolutions + 1):
            names[f"conv{block}_{i}"] = f"features.{at}"
            at += 2
        at += 1
    return names | {"logits": "classifier.6"}


def _keras_name(path: str) -> str:
    if path.startswith("conv"):
        block, i = path.removeprefix("conv").split("_")
        return f"block{block}_conv{i}"
    return {"fc6": "fc1", "fc7": "fc2", "logits": "predictions"}[path]


def _port(
    blocks: tuple[int, ...],
    record: Record,
    source: Source,
    format: str,
    layout: Layout,
    names: Callable[[str], str],
    **options: Any,
) -> Port:
    def layer(path: str) -> Layer:
        return Layer(names(path), volume=(SIDE, SIDE, 512) if path == "fc6" else None)

    def network(rules: Rules) -> VGG:
        return VGG(blocks, rules=rules, **options)

    convert = partial(fill, layout=layout, names=layer)
    return Port(record, source, format, network, convert)


_COMMON = {
    "year": 2014,
    "paper": "Simonyan and Zisserman 2014",
    "size": 224,
    "redirectable": True,
}
_TORCHVISION = {
    "source": "torchvision, IMAGENET1K_V1",
    "license": "BSD-3-Clause",
    "min_size": 32,
    "labels": imagenet_labels(),
    **_COMMON,
    **TORCHVISION_INPUT,
}
_CAFFE = {
    "source": "Visual Geometry Group, Oxford",
    "license": "CC BY 4.0",
    "labels": imagenet_labels(),
    "head_taps": HEAD,
    **_COMMON,
    **VGG_INPUT,
}
_KERAS = _CAFFE | {"source": "Keras", "min_size": 32}

PORTS = (
    _port(
        VGG16,
        Record(
            name="vgg16.torchvision",
            parameters=138_357_544,
            top1=71.592,
            **_TORCHVISION,
        ),
        Source(
            file="vgg16-397923af.pth",
            address="https://download.pytorch.org/models/vgg16-397923af.pth",
            digest="sha256:397923af",
        ),
        "torch",
        TORCH,
        _torchvision_names(VGG16).__getitem__,
        head="adaptive",
    ),
    _port(
        VGG16,
        # Top-1: the paper's table 3, on the whole image at 384 px.
        Record(name="vgg16.caffe", parameters=138_357_544, top1=74.4, **_CAFFE),
        Source(
            file="VGG_ILSVRC_16_layers.caffemodel",
            address=f"{OXFORD}/VGG_ILSVRC_16_layers.caffemodel",
            # Not the publisher's: as the Open Model Zoo lists it, here and below.
            digest="sha256:"
            "a6196bc498e45ea4cb2637114ae8db9410cf1556fd60a55ae93272371beba197",
        ),
        "caffe",
        CAFFE,
        caffe_name,
        head="fixed",
        ceil=True,
    ),
    _port(
        VGG16,
        Record(name="vgg16.keras", parameters=138_357_544, top1=71.3, **_KERAS),
        Source(
            file="vgg16_weights_tf_dim_ordering_tf_kernels.h5",
            address=f"{GOOGLE}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
            digest="md5:64373286793e3c8b2b4e3219cbf3544b",
        ),
        "hdf5",
        KERAS,
        _keras_name,
        head="fixed",
    ),
    _port(
        VGG19,
        Record(
            name="vgg19.torchvision",
            parameters=143_667_240,
            top1=72.376,
            **_TORCHVISION,
        ),
        Source(
            file="vgg19-dcbb9e9d.pth",
            address="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
            digest="sha256:dcbb9e9d",
        ),
        "torch",
        TORCH,
        _torchvision_names(VGG19).__getitem__,
        head="adaptive",
    ),
    _port(
        VGG19,
        Record(name="vgg19.caffe", parameters=143_667_240, top1=74.5, **_CAFFE),
        Source(
            file="VGG_ILSVRC_19_layers.caffemodel",
            address=f"{OXFORD}/VGG_ILSVRC_19_layers.caffemodel",
            digest="sha256:"
            "31b4c627c40c6ee151325f079b7ac557fddbd1f79af932888796127a4f4f6954",
        ),
        "caffe",
        CAFFE,
        caffe_name,
        head="fixed",
        ceil=True,
    ),
    _port(
        VGG19,
        Record(name="vgg19.keras", parameters=143_667_240, top1=71.3, **_KERAS),
        Source(
            file="vgg19_weights_tf_dim_ordering_tf_kernels.h5",
            address=f"{GOOGLE}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5",
            digest="md5:cbe5617147190e668d6c5d5026f83318",
        ),
        "hdf5",
        KERAS,
        _keras_name,
        head="fixed",
    ),
    _port(
        VGG19[:3],
        Record(
            name="vgg19.keras-block3",
            source="Keras, blocks 1 to 3",
            license="CC BY 4.0",
            parameters=2_325_568,
            min_size=8,
            **_COMMON,
            **VGG_INPUT,
        ),
        Source(
            file="vgg19_keras_block1-3.npz",
            # Not the publisher's: of the file that was tested.
            digest="sha256:"
            "619208ba83ecb559b94e14fa5c7c92a0c24fbbcad5dabd20136b0c888b413c26",
        ),
        "npz",
        KERAS._replace(kernel="_kernel", bias="_bias"),
        _keras_name,
        head=None,
    ),
)
