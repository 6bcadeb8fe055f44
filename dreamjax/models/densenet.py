"""DenseNet-121 (Huang et al. 2017): every layer sees what all before it made.

Taps have torchvision's names. At image side S:

    conv0, conv0/pre                       [S/2, S/2, 64]
    pool0                                  [S/4, S/4, 64]
    denseblockB.denselayerL.norm1, …/pre   block B = 1 … 4, L = 1 … 6, 12, 24 or 16: all
                                           channels so far, normalized
    denseblockB.denselayerL.conv1, …/pre   [128], 1×1
    denseblockB.denselayerL.conv2          [32], 3×3: what the layer adds
    denseblockB                            all channels, side by side: [S/4, S/4, 256],
                                           [S/8, S/8, 512], [S/16, S/16, 1024],
                                           [S/32, S/32, 1024]
    transitionB.norm, …/pre                after block B = 1, 2, 3
    transitionB.conv                       half the channels, 1×1
    transitionB                            after its 2×2 mean
    norm5, norm5/pre                       [S/32, S/32, 1024]
    avgpool                                [1024], the mean of norm5
    logits, probabilities                  [1000]; the source calls them classifier

A batch norm that follows a convolution is part of it (`norm0` of `conv0`, `norm2` of
`conv1`); `norm1`, `norm` and `norm5` stand alone, and the ReLU that follows makes the
tap of that name. Any image of at least 29 px a side will do.
"""

import re
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import TORCH, Layer, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import TORCHVISION_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import avg_pool, max_pool
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

BLOCKS = (6, 12, 24, 16)  # layers of each
GROWTH = 32  # channels that a layer adds


class DenseNet(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        y = tape.conv("conv0", x, 2 * GROWTH, 7, stride=2, padding=3)
        y = tape.keep("pool0", max_pool(y, 3, 2, ((1, 1), (1, 1))))
        for block, layers in enumerate(BLOCKS, start=1):
            if block > 1:
                y = _transition(tape, f"transition{block - 1}", y)
            for layer in range(1, layers + 1):
                new = _layer(tape, f"denseblock{block}.denselayer{layer}", y)
                y = jnp.concatenate((y, new), axis=-1)
            tape.keep(f"denseblock{block}", y)
        y = tape.affine("norm5", y)
        y = tape.keep("avgpool", jnp.mean(y, axis=(1, 2)))
        return tape.classifier(y, self.classes, "classifier")


def _layer(tape: Tape, name: str, x: Array) -> Array:
    y = tape.affine(f"{name}.norm1", x)
    y = tape.conv(f"{name}.conv1", y, 4 * GROWTH)
    return tape.conv(f"{name}.conv2", y, GROWTH, 3, padding=1, bias=False, act=None)


def _transition(tape: Tape, name: str, x: Array) -> Array:
    y = tape.affine(f"{name}.norm", x)
    y = tape.conv(f"{name}.conv", y, x.shape[-1] // 2, bias=False, act=None)
    y = avg_pool(y, 2, 2, ((0, 0), (0, 0)), count_padding=True)
    return tape.keep(name, y)


def _timm_name(path: str) -> Layer:
    if path == "classifier":
        return Layer(path)
    name = f"features.{path}"
    parent, _, layer = name.rpartition(".")
    if layer.startswith("norm"):
        return Layer(None, norm=name)
    if layer in ("conv0", "conv1"):
        norm = {"conv0": "norm0", "conv1": "norm2"}[layer]
        return Layer(name, norm=f"{parent}.{norm}")
    return Layer(name)


def _torchvision_name(path: str) -> Layer:
    """The file is older than torchvision's names: it has a norm.1 and a conv.1."""

    def old(name: str | None) -> str | None:
        return name and re.sub(r"(denselayer\d+\.[a-z]+)", r"\1.", name)

    layer = _timm_name(path)
    return Layer(old(layer.name), norm=old(layer.norm))


def _port(record: Record, source: Source, names: Callable[[str], Layer]) -> Port:
    ignore = ("num_batches_tracked",)
    convert = partial(fill, layout=TORCH, names=names, ignore=ignore)
    return Port(record, source, "torch", DenseNet, convert)


_COMMON = {
    "year": 2017,
    "paper": "Huang et al. 2017",
    "size": 224,
    "min_size": 29,
    "labels": imagenet_labels(),
    "parameters": 7_978_856,
    "redirectable": True,
}
PORTS = (
    _port(
        Record(
            name="densenet121.torchvision",
            source="torchvision, IMAGENET1K_V1",
            license="BSD-3-Clause",
            top1=74.434,
            **_COMMON,
            **TORCHVISION_INPUT,
        ),
        Source(
            file="densenet121-a639ec97.pth",
            address="https://download.pytorch.org/models/densenet121-a639ec97.pth",
            digest="sha256:a639ec97",
        ),
        _torchvision_name,
    ),
    _port(
        Record(
            name="densenet121.timm",
            source="timm, densenet121.ra_in1k",
            license="Apache-2.0",
            top1=75.574,
            **_COMMON,
            **TORCHVISION_INPUT,
        ),
        Source(
            file="densenet121_ra-50efcf5c.pth",
            address="https://github.com/rwightman/pytorch-image-models/releases/"
            "download/v0.1-weights/densenet121_ra-50efcf5c.pth",
            digest="sha256:50efcf5c",
        ),
        _timm_name,
    ),
)
