"""ConvNeXt-Tiny (Liu et al. 2022): a ResNet remade after the transformers.

Taps have timm's names, which follow the authors'; torchvision numbers its layers. At
image side S, with F = 96, 192, 384, 768 channels in stage N = 0 … 3:

    stem.0, stem.1                          [S/4, S/4, 96]: the convolution, its norm
    stages.N.downsample.0, .1               N = 1, 2, 3: a norm, and a 2×2 convolution
                                            to [S/8, S/8, 192] … [S/32, S/32, 768]
    stages.N.blocks.B.conv_dw               [F], 7×7, each channel on its own
    stages.N.blocks.B.norm                  [F]
    stages.N.blocks.B.mlp.fc1, …/pre        [4 F], after and before the GELU
    stages.N.blocks.B.mlp.fc2               [F], not yet scaled
    stages.N.blocks.B                       [F], the block's input plus the scaled fc2
    stages.N                                the last block of stage N again
    head.global_pool                        [768], the mean of stages.3
    head.norm                               [768]
    logits, probabilities                   [1000]; timm calls the layer head.fc

Norms are over the channels of one position. Sizes round down, at the stem and at each
downsampling: any image of at least 32 px a side will do.
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import TORCH, Layer, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import TORCHVISION_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

STAGES = ((96, 3), (192, 3), (384, 9), (768, 3))  # channels, blocks


class ConvNeXt(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        y = tape.conv("stem.0", x, STAGES[0][0], 4, stride=4, act=None)
        y = _norm(tape, "stem.1", y)
        for stage, (features, blocks) in enumerate(STAGES):
            name = f"stages.{stage}"
            if stage > 0:
                y = _norm(tape, f"{name}.downsample.0", y)
                path = f"{name}.downsample.1"
                y = tape.conv(path, y, features, 2, stride=2, act=None)
            for b in range(blocks):
                path = f"{name}.blocks.{b}"
                scale = self.param(f"{path}.gamma", nn.initializers.ones, (features,))
                y = _block(tape, path, y, scale)
            tape.keep(name, y)
        y = tape.keep("head.global_pool", jnp.mean(y, axis=(1, 2)))
        y = _norm(tape, "head.norm", y)
        return tape.classifier(y, self.classes, "head.fc")


def _norm(tape: Tape, name: str, x: Array) -> Array:
    norm = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name=name)
    return tape.keep(name, norm(x))


def _block(tape: Tape, name: str, x: Array, scale: Array) -> Array:
    features = x.shape[-1]
    y = tape.depthwise(f"{name}.conv_dw", x, 7, padding=3, act=None)
    y = _norm(tape, f"{name}.norm", y)
    y = tape.dense(f"{name}.mlp.fc1", y, 4 * features, act="gelu")
    y = tape.dense(f"{name}.mlp.fc2", y, features)
    return tape.keep(name, x + scale[None, None, None, :] * y)


def _torchvision_name(path: str) -> Layer:
    """The stem, the stages, and what lies between them are numbered from 0 to 7."""
    part, _, rest = path.partition(".")
    if part == "stem":
        return Layer(f"features.0.{rest}")
    if part == "head":
        return Layer({"norm": "classifier.0", "fc": "classifier.2"}[rest])
    stage, place, rest = rest.split(".", 2)
    if place == "downsample":
        return Layer(f"features.{2 * int(stage)}.{rest}")
    block, layer = rest.split(".", 1)
    name = f"features.{2 * int(stage) + 1}.{block}"
    if layer == "gamma":
        return Layer(f"{name}.layer_scale", shape=(STAGES[int(stage)][0], 1, 1))
    numbers = {"conv_dw": 0, "norm": 2, "mlp.fc1": 3, "mlp.fc2": 5}
    return Layer(f"{name}.block.{numbers[layer]}")


def _port(
    record: Record, source: Source, format: str, names: Callable[[str], Layer]
) -> Port:
    convert = partial(fill, layout=TORCH, names=names)
    return Port(record, source, format, ConvNeXt, convert)


_COMMON = {
    "year": 2022,
    "paper": "Liu et al. 2022",
    "size": 224,
    "min_size": 32,
    "labels": imagenet_labels(),
    "parameters": 28_589_128,
}
PORTS = (
    _port(
        Record(
            name="convnext_tiny.torchvision",
            source="torchvision, IMAGENET1K_V1",
            license="BSD-3-Clause",
            top1=82.520,
            **_COMMON,
            **TORCHVISION_INPUT,
        ),
        Source(
            file="convnext_tiny-983f1562.pth",
            address="https://download.pytorch.org/models/convnext_tiny-983f1562.pth",
            digest="sha256:983f1562",
        ),
        "torch",
        _torchvision_name,
    ),
    _port(
        Record(
            name="convnext_tiny.timm",
            source="timm, convnext_tiny.fb_in1k (the authors')",
            license="Apache-2.0",
            top1=82.066,
            **_COMMON,
            **TORCHVISION_INPUT,
        ),
        Source(
            file="convnext_tiny.fb_in1k.safetensors",
            address="https://huggingface.co/timm/convnext_tiny.fb_in1k/resolve/main/"
            "model.safetensors",
        ),
        "safetensors",
        Layer,
    ),
)
