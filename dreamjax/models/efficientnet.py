"""EfficientNet-B0 (Tan & Le 2019): inverted residuals, squeeze-and-excitation, SiLU.

The Lite variants, whose blocks have no squeeze-and-excitation, are the same module:
see `efficientnet_lite`. Taps are the same for every weight source; at image side S:

    stem, stem/pre                     [S/2,  S/2,  32]
    b0 … b15                           block outputs (linear: no nonlinearity)
    bN/expand, bN/expand/pre           before the depthwise convolution (not b0)
    bN/depthwise, bN/depthwise/pre     after it
    bN/squeeze, bN/squeeze/pre         [K]; what the depthwise channels are scaled by,
                                       and that before the sigmoid
    head, head/pre                     [S/32, S/32, 1280]
    logits, probabilities              [1000]

Keras calls the head "top" and the probabilities "predictions".
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import KERAS, TORCH, Layer, Layout, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import TORCHVISION_INPUT, Record
from dreamjax.models.modules import Conv, Pad, Tape
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

STAGES = (  # repeats, kernel, stride of the first block, expansion, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class Block(NamedTuple):
    """One inverted residual.

    Attributes:
      stage, index: which stage it is in, and which block of the stage it is, from 0.
      kernel, stride: of the depthwise convolution.
      expand: channels inside, as a multiple of `inputs`.
      inputs, outputs: channels.
    """

    stage: int
    index: int
    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


def inverted_residuals(
    width: float = 1.0, depth: float = 1.0, *, fixed_ends: bool = False
) -> tuple[Block, ...]:
    """Returns the blocks of a network of the family.

    Args:
      width: channels, as a multiple of B0's, to the nearest multiple of 8.
      depth: repeats, as a multiple of B0's, rounded up.
      fixed_ends: the stem, and the repeats of the first and of the last stage, are
        B0's whatever `width` and `depth` say (the Lite variants).
    """
    blocks = []
    inputs = 32 if fixed_ends else round_channels(32 * width)
    for stage, (repeats, kernel, stride, expand, channels) in enumerate(STAGES):
        outputs = round_channels(channels * width)
        if not (fixed_ends and stage in (0, len(STAGES) - 1)):
            repeats = math.ceil(repeats * depth)
        for index in range(repeats):
            first = index == 0
            step = stride if first else 1
            blocks.append(Block(stage, index, kernel, step, expand, inputs, outputs))
            inputs = outputs
    return tuple(blocks)


def round_channels(channels: float) -> int:
    """Returns the multiple of 8 nearest to `channels`, at least nine tenths of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class EfficientNet(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps.

    Attributes:
      blocks: as from `inverted_residuals`.
      act: the nonlinearity everywhere, "silu" or "relu6".
      squeeze: the blocks have squeeze-and-excitation.
      same: padding is TensorFlow's 'SAME', which is uneven where the stride is 2; else
        kernel // 2 on every side.
      normalize: mean and variance of the input are among the weights (Keras).
    """

    blocks: tuple[Block, ...]
    rules: Rules = PLAIN
    act: str = "silu"
    squeeze: bool = True
    same: bool = False
    normalize: bool = False
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        if self.normalize:
            x = self._normalized(x)
        stem = self.blocks[0].inputs
        padding = self._padding(3)
        y = tape.conv("stem", x, stem, 3, stride=2, padding=padding, act=self.act)
        for n, block in enumerate(self.blocks):
            y = self._block(tape, f"b{n}", y, block)
        y = tape.conv("head", y, 1280, act=self.act)
        pooled = jnp.mean(y, axis=(1, 2))  # [N, 1280]
        return tape.classifier(pooled, self.classes, "logits")

    def _block(self, tape: Tape, name: str, x: Array, block: Block) -> Array:
        """Expand, filter each channel, weigh it, project; add the input if it fits."""
        y = x
        if block.expand != 1:
            wide = block.inputs * block.expand
            y = tape.conv(f"{name}/expand", y, wide, act=self.act)
        y = tape.depthwise(
            f"{name}/depthwise",
            y,
            block.kernel,
            stride=block.stride,
            padding=self._padding(block.kernel),
            act=self.act,
        )
        if self.squeeze:
            y = y * self._gate(tape, name, y, block.inputs // 4)
        y = Conv(block.outputs, name=f"{name}/project")(y)
        if block.stride == 1 and block.inputs == block.outputs:
            y = y + x
        return tape.keep(name, y)

    def _gate(self, tape: Tape, name: str, x: Array, reduced: int) -> Array:
        """Returns one number between 0 and 1 for each channel: [N, 1, 1, K]."""
        y = jnp.mean(x, axis=(1, 2), keepdims=True)
        y = nn.silu(Conv(reduced, name=f"{name}/reduce")(y))
        y = Conv(x.shape[-1], name=f"{name}/squeeze")(y)
        return tape.act(f"{name}/squeeze", y[:, 0, 0], "sigmoid")[:, None, None]

    def _padding(self, kernel: int) -> Pad:
        return "SAME" if self.same else kernel // 2

    def _normalized(self, x: Array) -> Array:
        """Applies the Normalization layer and the Rescaling layer that corrects it.

        The layer divides by the root of a variance; the published file holds standard
        deviations there, so Keras divides by their roots once more.
        """
        mean = self.param("normalization/mean", nn.initializers.zeros, (3,))
        variance = self.param("normalization/variance", nn.initializers.ones, (3,))
        deviation = jnp.sqrt(variance * jnp.asarray(TORCHVISION_INPUT["std"], x.dtype))
        return (x - mean[None, None, None]) / deviation[None, None, None]


def timm_names(blocks: Sequence[Block]) -> dict[str, Layer]:
    """Returns what timm calls the layers; norms are numbered within their block."""
    names = {
        "stem": Layer("conv_stem", "bn1"),
        "head": Layer("conv_head", "bn2"),
        "logits": Layer("classifier"),
    }
    for n, block in enumerate(blocks):
        convolutions = {"depthwise": "conv_dw", "project": "conv_pw"}
        if block.expand != 1:
            convolutions = {
                "expand": "conv_pw",
                "depthwise": "conv_dw",
                "project": "conv_pwl",
            }
        at = f"blocks.{block.stage}.{block.index}"
        for number, (ours, theirs) in enumerate(convolutions.items(), start=1):
            names[f"b{n}/{ours}"] = Layer(f"{at}.{theirs}", f"{at}.bn{number}")
        names[f"b{n}/reduce"] = Layer(f"{at}.se.conv_reduce")
        names[f"b{n}/squeeze"] = Layer(f"{at}.se.conv_expand")
    return names


def _torchvision_names(blocks: Sequence[Block]) -> dict[str, Layer]:
    names = {
        "stem": Layer("features.0.0", "features.0.1"),
        "head": Layer("features.8.0", "features.8.1"),
        "logits": Layer("classifier.1"),
    }
    for n, block in enumerate(blocks):
        parts = ("expand", "depthwise", "squeeze", "project")[block.expand == 1 :]
        for number, part in enumerate(parts):
            at = f"features.{block.stage + 1}.{block.index}.block.{number}"
            if part == "squeeze":
                names[f"b{n}/reduce"] = Layer(f"{at}.fc1")
                names[f"b{n}/squeeze"] = Layer(f"{at}.fc2")
            else:
                names[f"b{n}/{part}"] = Layer(f"{at}.0", f"{at}.1")
    return names


def _keras_names(blocks: Sequence[Block]) -> dict[str, Layer]:
    names = {
        "normalization/mean": Layer("normalization/0"),
        "normalization/variance": Layer("normalization/1"),
        "stem": Layer("stem_conv", "stem_bn"),
        "head": Layer("top_conv", "top_bn"),
        "logits": Layer("predictions"),
    }
    for n, block in enumerate(blocks):
        at = f"block{block.stage + 1}{'abcd'[block.index]}_"
        names |= {
            f"b{n}/expand": Layer(f"{at}expand_conv", f"{at}expand_bn"),
            f"b{n}/depthwise": Layer(f"{at}dwconv", f"{at}bn"),
            f"b{n}/reduce": Layer(f"{at}se_reduce"),
            f"b{n}/squeeze": Layer(f"{at}se_expand"),
            f"b{n}/project": Layer(f"{at}project_conv", f"{at}project_bn"),
        }
    return names


def port(
    record: Record,
    source: Source,
    network: Callable[[Rules], nn.Module],
    names: Mapping[str, Layer],
    *,
    epsilon: float,
    format: str = "torch",
    layout: Layout = TORCH,
    counter: str = "num_batches_tracked",
) -> Port:
    """Returns the port of one weight set of the family.

    Args:
      names: what the source calls our layers.
      epsilon: of its batch norms.
      counter: what names of tensors end with that only count steps of training.
    """
    convert = partial(
        fill,
        layout=layout,
        names=names.__getitem__,
        epsilon=epsilon,
        ignore=(counter,),
    )
    return Port(record, source, format, network, convert)


B0 = inverted_residuals()
_COMMON = {
    "year": 2019,
    "paper": "Tan & Le 2019",
    "size": 224,
    "min_size": 32,
    "labels": imagenet_labels(),
    "parameters": 5_288_548,
}
PORTS = (
    port(
        Record(
            name="efficientnet_b0.torchvision",
            source="torchvision, IMAGENET1K_V1 (timm's, as first published)",
            license="BSD-3-Clause",
            top1=77.692,
            **_COMMON,
            **TORCHVISION_INPUT,
        ),
        Source(
            file="efficientnet_b0_rwightman-7f5810bc.pth",
            address="https://download.pytorch.org/models/"
            "efficientnet_b0_rwightman-7f5810bc.pth",
            digest="sha256:7f5810bc",
        ),
        partial(EfficientNet, B0),
        _torchvision_names(B0),
        epsilon=1e-5,
    ),
    port(
        Record(
            name="efficientnet_b0.timm",
            source="timm, efficientnet_b0.ra_in1k",
            license="Apache-2.0",
            top1=77.694,
            **_COMMON,
            **TORCHVISION_INPUT,
        ),
        Source(
            file="efficientnet_b0_ra-3dd342df.pth",
            address="https://github.com/rwightman/pytorch-image-models/releases/"
            "download/v0.1-weights/efficientnet_b0_ra-3dd342df.pth",
            digest="sha256:3dd342df",
        ),
        partial(EfficientNet, B0),
        timm_names(B0),
        epsilon=1e-5,
    ),
    port(
        Record(
            name="efficientnet_b0.keras",
            source="Keras Applications",
            license="Apache-2.0",
            # Input in [0, 1]: the network normalizes it by numbers of its own.
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            top1=77.1,
            **_COMMON,
        ),
        Source(
            file="efficientnetb0.h5",
            address="https://storage.googleapis.com/keras-applications/"
            "efficientnetb0.h5",
            digest="md5:902e53a9f72be733fc0bcb005b3ebbac",
        ),
        partial(EfficientNet, B0, same=True, normalize=True),
        _keras_names(B0),
        epsilon=1e-3,
        format="hdf5",
        layout=KERAS,
        counter="normalization/2",
    ),
)
