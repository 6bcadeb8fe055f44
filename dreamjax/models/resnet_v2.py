"""ResNet-50 and -101, version 2 (He et al. 2016): a batch norm begins each block.

Taps have the names of MXNet's network (Gluon's resnet50_v2), less its first word
("resnetv24_"). At image side S:

    batchnorm0                        [S, S, 3], the input, normalized
    conv0, conv0/pre                  [S/2, S/2, 64]
    pool0                             [S/4, S/4, 64]
    stageN_batchnormI, …/pre          a block's input, normalized; N = 1 … 4
    stageN_conv3                      the first block's other way, past the rest
    stageN_convI, …/pre               1×1, then 3×3, which has the stride
    stageN_convI                      1×1
    stageN__plusB                     the sum of block B = 0, 1, … and its input
    stageN                            the stage's last sum again:
                                      [S/4, S/4, 256], [S/8, S/8, 512],
                                      [S/16, S/16, 1024], [S/32, S/32, 2048]
    batchnorm2, batchnorm2/pre        [S/32, S/32, 2048]
    pool1                             [2048], its mean
    logits, probabilities             [1000]; MXNet calls the layer dense0

A batch norm that follows a convolution is part of it. Convolutions and batch norms are
numbered within a stage in the order in which Gluon makes them: three of each in a
block, and a fourth convolution, `conv3`, in the first one. Any image size will do.

`resnet50_v2.mxnet-stage3` ends with the batch norm that begins stage 4; the rest of
stage 4 is in its file only in part, and is left alone.

MXNet's own `.params` files and ONNX files are not read here. With the onnx package, two
lines turn `resnet50-v2-7.onnx` or `resnet101-v2-7.onnx` of the ONNX model zoo (sha256
1e80e8a7c8eec8e8… and b610c141f3b26bf8…) into what the full records want:

    tensors = onnx.load("resnet50-v2-7.onnx").graph.initializer
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in tensors}
    numpy.savez("resnet50_v2_mxnet.npz", **arrays)
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import MXNET, Layer, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import TORCHVISION_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import max_pool
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

RESNET50, RESNET101 = (3, 4, 6, 3), (3, 4, 23, 3)
"""Blocks of each stage."""


class ResNetV2(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps.

    Attributes:
      blocks: of each stage.
      whole: it goes on after the first batch norm of stage 4.
    """

    blocks: tuple[int, int, int, int]
    whole: bool = True
    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        y = tape.affine("batchnorm0", x, act=None)
        y = tape.conv("conv0", y, 64, 7, stride=2, padding=3)
        y = tape.keep("pool0", max_pool(y, 3, 2, ((1, 1), (1, 1))))
        for stage, blocks in enumerate(self.blocks, start=1):
            if stage == 4 and not self.whole:
                tape.affine("stage4_batchnorm0", y)
                return tape.taps
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                y = _block(tape, f"stage{stage}_", block, y, 128 * 2**stage, stride)
            y = tape.keep(f"stage{stage}", y)
        y = tape.affine("batchnorm2", y)
        y = tape.keep("pool1", jnp.mean(y, axis=(1, 2)))
        return tape.classifier(y, self.classes, "dense0")


def _block(
    tape: Tape, stage: str, block: int, x: Array, features: int, stride: int
) -> Array:
    first = 3 * block + (block > 0)  # number of its first convolution
    y = tape.affine(f"{stage}batchnorm{3 * block}", x)
    if block == 0:
        options = {"stride": stride, "bias": False, "act": None}
        x = tape.conv(f"{stage}conv3", y, features, **options)
    y = tape.conv(f"{stage}conv{first}", y, features // 4)
    y = tape.conv(
        f"{stage}conv{first + 1}", y, features // 4, 3, stride=stride, padding=1
    )
    y = tape.conv(f"{stage}conv{first + 2}", y, features, bias=False, act=None)
    return tape.keep(f"{stage}_plus{block}", x + y)


def _name(path: str) -> Layer:
    """In a block the batch norms are before, between and between the convolutions."""
    if path == "conv0":
        return Layer(path, "batchnorm1")
    if path == "dense0":
        return Layer(path)
    if "batchnorm" in path:
        return Layer(None, path)
    stage, _, number = path.partition("_conv")
    number = int(number)
    block, place = divmod(number - (number > 3), 3)
    if number == 3 or place == 2:
        return Layer(path)
    return Layer(path, f"{stage}_batchnorm{3 * block + place + 1}")


def _tensors(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drops MXNet's first word, which counts the networks made so far."""
    named = {re.sub(r"^resnetv2\d+_", "", name): t for name, t in tensors.items()}
    # An exported graph also keeps the target of a reshape among its tensors.
    return {n: t for n, t in named.items() if not n.startswith("reshape_attr_tensor")}


def _past_stage3(name: str) -> bool:
    """What the shortened file has of layers that are not there as a whole."""
    layer = name.partition("_")[0]
    if layer == "stage4":
        return not name.startswith("stage4_batchnorm0_")
    return layer in ("batchnorm2", "dense0")


def _convert(
    tensors: Mapping[str, np.ndarray], shapes: Mapping, name: str, *, whole: bool
) -> dict[str, Any]:
    found = _tensors(tensors)
    if not whole:
        found = {n: t for n, t in found.items() if not _past_stage3(n)}
    return fill(found, shapes, name, layout=MXNET, names=_name)


def _port(
    name: str,
    blocks: tuple[int, int, int, int],
    file: str,
    origin: str,
    *,
    whole: bool = True,
    parameters: int,
    top1: float = 0.0,
) -> Port:
    record = Record(
        name=name,
        source=origin,
        year=2016,
        paper="He et al. 2016",
        license="Apache-2.0",
        size=224,
        min_size=1,
        labels=imagenet_labels() if whole else (),
        parameters=parameters,
        top1=top1,
        redirectable=True,
        **TORCHVISION_INPUT,
    )
    network = partial(ResNetV2, blocks, whole)
    convert = partial(_convert, whole=whole)
    return Port(record, Source(file=file), "npz", network, convert)


PORTS = (
    _port(
        "resnet50_v2.mxnet",
        RESNET50,
        "resnet50_v2_mxnet.npz",
        "ONNX model zoo, resnet50-v2-7.onnx of MXNet, as .npz",
        parameters=25_549_486,
        top1=75.81,
    ),
    _port(
        "resnet50_v2.mxnet-stage3",
        RESNET50,
        "resnet50v2_mxnet_to_stage3.npz",
        "ONNX model zoo, resnet50-v2-7.onnx of MXNet, its beginning as .npz",
        whole=False,
        parameters=8_539_846,
    ),
    _port(
        "resnet101_v2.mxnet",
        RESNET101,
        "resnet101_v2_mxnet.npz",
        "ONNX model zoo, resnet101-v2-7.onnx of MXNet, as .npz",
        parameters=44_541_614,
        top1=77.42,
    ),
)
