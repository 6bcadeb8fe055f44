"""Keras' VGG16 and VGG19, and the latter's first three blocks."""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.golden import Answer, Reference
from benchmarks.references.keras_nets import Taps, answer, keras

INPUT = {
    "scale": 255.0,
    "mean": (103.939, 116.779, 123.68),
    "channel_order": "BGR",
    "gain": 0.75,  # logits of some ten from pixels of a hundred
}
DENSE = {"fc6": "fc1", "fc7": "fc2"}


def taps(depth: int, blocks: int = 5) -> Taps:
    """The taps of the first blocks."""
    found = {}
    for block in range(1, blocks + 1):
        last = 2 if block < 3 else {16: 3, 19: 4}[depth]
        for i in range(1, last + 1):
            name = f"block{block}_conv{i}"
            found[f"conv{block}_{i}/pre"] = (name, "pre")
            found[f"conv{block}_{i}"] = (name, "output")
        found[f"pool{block}"] = (f"block{block}_pool", "output")
    return found


def vgg(depth: int, image: np.ndarray) -> Answer:
    """The whole network."""
    network = getattr(keras.applications, f"VGG{depth}")
    found = taps(depth)
    for tap, name in DENSE.items():
        found[f"{tap}/pre"], found[tap] = (name, "pre"), (name, "output")

    def build(shape: tuple[int, int, int]) -> keras.Model:
        return network(weights=None, input_shape=shape, classifier_activation=None)

    return answer(build, image, found, **INPUT)


def convolutions(depth: int, image: np.ndarray) -> Answer:
    """The network without its dense layers."""
    network = getattr(keras.applications, f"VGG{depth}")
    build = partial(_without_top, network)
    return answer(build, image, taps(depth), gradient_of=("pool5",), **INPUT)


def _without_top(network: Callable, shape: tuple[int, int, int]) -> keras.Model:
    return network(weights=None, input_shape=shape, include_top=False)


def three_blocks(image: np.ndarray) -> Answer:
    """VGG19 up to its third pool, with the names of the file that has just that."""

    def build(shape: tuple[int, int, int]) -> keras.Model:
        whole = _without_top(keras.applications.VGG19, shape)
        return keras.Model(whole.input, whole.get_layer("block3_pool").output)

    def rename(name: str) -> str:
        layer, _, number = name.partition("/")
        return f"{layer}_{('kernel', 'bias')[int(number)]}"

    found = taps(19, blocks=3)
    return answer(build, image, found, rename=rename, gradient_of=("pool3",), **INPUT)


def reference(depth: int, seed: int) -> Reference:
    """Values with the dense layers, the gradient without."""
    small = Reference((37, 45), partial(convolutions, depth), seed)
    # Odd, and pooled to the 7 × 7 that the dense layers read.
    return Reference((225, 231), partial(vgg, depth), gradient=small)


# Of a dozen seeds, those whose units keep farthest from their kinks.
REFERENCES = {
    "vgg16.keras": reference(16, seed=1),
    "vgg19.keras": reference(19, seed=8),
    "vgg19.keras-block3": Reference((67, 83), three_blocks),
}
