"""GoogLeNet with batch norm, as torchvision has it from Google's later weights.

The network of Szegedy et al. 2014 with a batch norm (Ioffe and Szegedy 2015) after
every convolution and no local response normalization; its third branch has a kernel of
3×3 where the paper has 5×5. Batch norms are folded into their convolutions. Taps are
called like torchvision's modules. At image side S:

    conv1, …/pre; maxpool1                   [S/2, S/2, 64], pooled to S/4
    conv2, conv3, …/pre; maxpool2            64 and 192 channels, pooled to S/8
    inception3a.branch1, …/pre               1×1
    inception3a.branch2.0, …2.1, …/pre       1×1, 3×3
    inception3a.branch3.0, …3.1, …/pre       1×1, 3×3
    inception3a.branch4.0                    max of 3×3
    inception3a.branch4.1, …/pre             1×1
    inception3a                              the four branches, side by side
    inception3a/pre                          the same before their ReLUs
    inception3b…, maxpool3                   [S/16, S/16, 480] at the end
    inception4a… to inception4e…, maxpool4   [S/32, S/32, 832] at the end
    inception5a…, inception5b…               [S/32, S/32, 1024] at the end
    avgpool                                  [1024]
    logits, probabilities                    [1000]; torchvision calls the first fc

torchvision's file also holds two classifiers of the training, aux1 and aux2, which by
its own account were never trained; they are left out here as they are there.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import TORCH, Layer, fill
from dreamjax.models.googlenet import inception_module
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import INCEPTION_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import ceil_padding, max_pool
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

MODULES = {  # channels of branch1; branch2.0, .1; branch3.0, .1; branch4.1
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
PARTS = (
    "branch1",
    "branch2.0",
    "branch2.1",
    "branch3.0",
    "branch3.1",
    "branch4.0",
    "branch4.1",
)
POOLS = {"inception3b": ("maxpool3", 3), "inception4e": ("maxpool4", 2)}  # and kernel


class GoogLeNetBN(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        x = tape.conv("conv1", x, 64, 7, stride=2, padding=3)
        x = _pool(tape, "maxpool1", x, 3)
        x = tape.conv("conv2", x, 64)
        x = tape.conv("conv3", x, 192, 3, padding=1)
        x = _pool(tape, "maxpool2", x, 3)
        for name, channels in MODULES.items():
            names = [f"{name}.{part}" for part in PARTS]
            x = inception_module(tape, x, channels, names, name, five=3)
            if name in POOLS:
                pool, kernel = POOLS[name]
                x = _pool(tape, pool, x, kernel)
        x = tape.keep("avgpool", jnp.mean(x, axis=(1, 2)))
        return tape.classifier(x, self.classes, "logits")


def _pool(tape: Tape, name: str, x: Array, kernel: int) -> Array:
    padding = ceil_padding(*x.shape[1:3], kernel, 2)
    return tape.keep(name, max_pool(x, kernel, 2, padding))


def _torchvision_name(path: str) -> Layer:
    if path == "logits":
        return Layer("fc")
    return Layer(f"{path}.conv", norm=f"{path}.bn")


def _convert(
    tensors: Mapping[str, np.ndarray], shapes: Mapping, name: str
) -> dict[str, Any]:
    untrained = ("aux1.", "aux2.")
    return fill(
        {n: array for n, array in tensors.items() if not n.startswith(untrained)},
        shapes,
        name,
        layout=TORCH,
        names=_torchvision_name,
        epsilon=1e-3,
        ignore=("num_batches_tracked",),
    )


PORTS = (
    Port(
        Record(
            name="googlenet_bn.torchvision",
            source="torchvision, IMAGENET1K_V1",
            year=2015,
            paper="Szegedy et al. 2014; Ioffe and Szegedy 2015",
            license="BSD-3-Clause",
            size=224,
            min_size=15,
            labels=imagenet_labels(),
            parameters=6_624_904,
            top1=69.778,
            redirectable=True,
            # torchvision normalizes as ever and then undoes it (transform_input).
            **INCEPTION_INPUT,
        ),
        Source(
            file="googlenet-1378be20.pth",
            address="https://download.pytorch.org/models/googlenet-1378be20.pth",
            digest="sha256:1378be20",
        ),
        "torch",
        lambda rules: GoogLeNetBN(rules=rules),
        _convert,
    ),
)
