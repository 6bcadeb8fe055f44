"""AlexNet, CaffeNet and VGG as prototxt."""

from functools import partial

import numpy as np

from benchmarks.golden import Answer, Reference
from benchmarks.references.caffe import answer, conv, dense, layer, lrn, network, pool

VGG = {"mean": (103.939, 116.779, 123.68), "gain": 0.75}
ALEXNET_GAIN = 0.65  # with these, logits of some ten from pixels of a hundred


def head(bottom: str) -> str:
    """The three dense layers that all of them have."""
    parts = (
        dense("fc6", bottom, 4096, relu=True),
        layer("Dropout", "drop6", "fc6", top="fc6"),
        dense("fc7", "fc6", 4096, relu=True),
        layer("Dropout", "drop7", "fc7", top="fc7"),
        dense("fc8", "fc7", 1000),
        layer("Softmax", "prob", "fc8"),
    )
    return "\n".join(parts)


def alexnet(image: np.ndarray) -> Answer:
    """BVLC's AlexNet: norms, then pools."""
    text = network(
        conv("conv1", "data", 96, 11, stride=4),
        lrn("norm1", "conv1"),
        pool("pool1", "norm1", 3, 2),
        conv("conv2", "pool1", 256, 5, pad=2, group=2),
        lrn("norm2", "conv2"),
        pool("pool2", "norm2", 3, 2),
        conv("conv3", "pool2", 384, 3, pad=1),
        *late(),
    )
    return answer(text, image, gain=ALEXNET_GAIN)


def caffenet(image: np.ndarray) -> Answer:
    """BVLC's reference network: pools, then norms."""
    text = network(
        conv("conv1", "data", 96, 11, stride=4),
        pool("pool1", "conv1", 3, 2),
        lrn("norm1", "pool1"),
        conv("conv2", "norm1", 256, 5, pad=2, group=2),
        pool("pool2", "conv2", 3, 2),
        lrn("norm2", "pool2"),
        conv("conv3", "norm2", 384, 3, pad=1),
        *late(),
    )
    return answer(text, image, gain=ALEXNET_GAIN)


def late() -> tuple[str, ...]:
    """The layers after conv3."""
    return (
        conv("conv4", "conv3", 384, 3, pad=1, group=2),
        conv("conv5", "conv4", 256, 3, pad=1, group=2),
        pool("pool5", "conv5", 3, 2),
        head("pool5"),
    )


def vgg(last: int, image: np.ndarray, *, whole: bool = True) -> Answer:
    """VGG with `last` convolutions in each of blocks 3 to 5."""
    parts, bottom = [], "data"
    for block, features in enumerate((64, 128, 256, 512, 512), start=1):
        for i in range(1, (2 if block < 3 else last) + 1):
            parts.append(conv(f"conv{block}_{i}", bottom, features, 3, pad=1))
            bottom = f"conv{block}_{i}"
        parts.append(pool(f"pool{block}", bottom, 2, 2))
        bottom = f"pool{block}"
    if not whole:
        return answer(network(*parts), image, gradient_of=("pool5",), **VGG)
    return answer(network(*parts, head(bottom)), image, **VGG)


def reference(last: int, seed: int) -> Reference:
    """Values with the dense layers, the gradient without."""
    small = Reference((37, 45), partial(vgg, last, whole=False), seed)
    return Reference((193, 199), partial(vgg, last), gradient=small)


# The dense layers read a map of 6 × 6 or 7 × 7, which these odd sizes come down to. Of
# a dozen seeds, those whose units keep farthest from their kinks.
REFERENCES = {
    "alexnet.bvlc": Reference((201, 211), alexnet, seed=3),
    "caffenet.bvlc": Reference((201, 211), caffenet, seed=5),
    "vgg16.caffe": reference(3, seed=6),
    "vgg19.caffe": reference(4, seed=6),
}
