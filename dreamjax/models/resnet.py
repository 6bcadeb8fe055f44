"""ResNet-18, -34, -50, -101 and -152 (He et al. 2015): blocks added to their input.

Taps have torchvision's names. At image side S, with E = 1 for ResNet-18 and -34, whose
blocks are two 3×3 convolutions, and E = 4 for the others, whose blocks are 1×1, 3×3
and 1×1 (the stride is on the 3×3):

    conv1, conv1/pre                          [S/2, S/2, 64]
    maxpool                                   [S/4, S/4, 64]
    layerN.B.conv1, …/pre                     block B of stage N = 1 … 4
    layerN.B.conv2, …/pre                     …/pre only where a conv3 follows
    layerN.B.conv3                            where E = 4
    layerN.B.downsample                       what the block is added to, where N or the
                                              channels change; else its input is
    layerN.B, layerN.B/pre                    the sum, after and before its ReLU
    layerN                                    the last block of stage N again:
                                              [S/4, S/4, 64 E], [S/8, S/8, 128 E],
                                              [S/16, S/16, 256 E], [S/32, S/32, 512 E]
    avgpool                                   [512 E], the mean of layer4
    logits, probabilities                     [1000]; torchvision calls the layer fc

Batch norms are part of the convolutions before them. Any image size will do.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import TORCH, Layer, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import TORCHVISION_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import max_pool
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps


class Version(NamedTuple):
    """What differs between the depths."""

    blocks: tuple[int, int, int, int]  # of each stage
    bottleneck: bool  # three convolutions in a block, not two


RESNET18 = Version((2, 2, 2, 2), bottleneck=False)
RESNET34 = Version((3, 4, 6, 3), bottleneck=False)
RESNET50 = Version((3, 4, 6, 3), bottleneck=True)
RESNET101 = Version((3, 4, 23, 3), bottleneck=True)
RESNET152 = Version((3, 8, 36, 3), bottleneck=True)


class ResNet(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    version: Version
    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        block = _bottleneck if self.version.bottleneck else _basic
        y = tape.conv("conv1", x, 64, 7, stride=2, padding=3)
        y = tape.keep("maxpool", max_pool(y, 3, 2, ((1, 1), (1, 1))))
        for stage, blocks in enumerate(self.version.blocks, start=1):
            for b in range(blocks):
                stride = 2 if stage > 1 and b == 0 else 1
                y = block(tape, f"layer{stage}.{b}", y, 32 * 2**stage, stride)
            y = tape.keep(f"layer{stage}", y)
        y = tape.keep("avgpool", jnp.mean(y, axis=(1, 2)))
        return tape.classifier(y, self.classes, "fc")


def _basic(tape: Tape, name: str, x: Array, features: int, stride: int) -> Array:
    y = tape.conv(f"{name}.conv1", x, features, 3, stride=stride, padding=1)
    y = tape.conv(f"{name}.conv2", y, features, 3, padding=1, act=None)
    return _add(tape, name, x, y, stride)


def _bottleneck(tape: Tape, name: str, x: Array, features: int, stride: int) -> Array:
    y = tape.conv(f"{name}.conv1", x, features)
    y = tape.conv(f"{name}.conv2", y, features, 3, stride=stride, padding=1)
    y = tape.conv(f"{name}.conv3", y, 4 * features, act=None)
    return _add(tape, name, x, y, stride)


def _add(tape: Tape, name: str, x: Array, y: Array, stride: int) -> Array:
    """Adds a block's result to its input, which is brought to the same shape."""
    if x.shape != y.shape:
        path = f"{name}.downsample"
        x = tape.conv(path, x, y.shape[-1], stride=stride, act=None)
    return tape.act(name, x + y)


def _name(path: str) -> Layer:
    """`conv2` is followed by `bn2`; a downsample is a list of the two."""
    if path == "fc":
        return Layer(path)
    if path.endswith("downsample"):
        return Layer(f"{path}.0", f"{path}.1")
    return Layer(path, "bn".join(path.rsplit("conv", 1)))


def _port(
    version: Version, architecture: str, hash: str, *, parameters: int, top1: float
) -> Port:
    ignore = ("num_batches_tracked",)
    convert = partial(fill, layout=TORCH, names=_name, ignore=ignore)
    record = Record(
        name=f"{architecture}.torchvision",
        source="torchvision, IMAGENET1K_V1",
        year=2015,
        paper="He et al. 2015",
        license="BSD-3-Clause",
        size=224,
        min_size=1,
        labels=imagenet_labels(),
        parameters=parameters,
        top1=top1,
        redirectable=True,
        **TORCHVISION_INPUT,
    )
    source = _source(architecture, hash)
    return Port(record, source, "torch", partial(ResNet, version), convert)


def _second(port: Port, hash: str, *, top1: float) -> Port:
    """torchvision's second training of the same network, by a longer recipe."""
    architecture = port.record.name.partition(".")[0]
    record = dataclasses.replace(
        port.record,
        name=f"{port.record.name}-v2",
        source="torchvision, IMAGENET1K_V2",
        top1=top1,
    )
    return port._replace(record=record, source=_source(architecture, hash))


def _source(architecture: str, hash: str) -> Source:
    file = f"{architecture}-{hash}.pth"
    address = f"https://download.pytorch.org/models/{file}"
    return Source(file=file, address=address, digest=f"sha256:{hash}")


_18 = _port(RESNET18, "resnet18", "f37072fd", parameters=11_689_512, top1=69.758)
_34 = _port(RESNET34, "resnet34", "b627a593", parameters=21_797_672, top1=73.314)
_50 = _port(RESNET50, "resnet50", "0676ba61", parameters=25_557_032, top1=76.130)
_101 = _port(RESNET101, "resnet101", "63fe2227", parameters=44_549_160, top1=77.374)
_152 = _port(RESNET152, "resnet152", "394f9c45", parameters=60_192_808, top1=78.312)

PORTS = (
    _18,
    _34,
    _50,
    _second(_50, "11ad3fa6", top1=80.858),
    _101,
    _second(_101, "cd907fc2", top1=81.886),
    _152,
    _second(_152, "f82ba261", top1=82.284),
)
