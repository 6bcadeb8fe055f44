"""Inception-v3 (Szegedy et al. 2015): factorized convolutions, side by side.

Taps are called like the nodes of TensorFlow's graph of 2015, in every weight set. At
image side S (no padding in the stem: at 299 px the maps are 149, 147, 147, 73, 73, 71,
35, then 17 from mixed_3 and 8 from mixed_8 on):

    conv, conv_1, conv_2, …/pre              [S/2, S/2, 64] at the end
    pool, conv_3, conv_4, …/pre              [S/4, S/4, 192] at the end
    pool_1                                   [S/8, S/8, 192]
    mixed/conv, …/pre                        1×1
    mixed/tower/conv, …/conv_1, …/pre        1×1, 5×5
    mixed/tower_1/conv … conv_2, …/pre       1×1, 3×3, 3×3
    mixed/tower_2/pool                       mean of 3×3
    mixed/tower_2/conv, …/pre                1×1
    mixed                                    the four, side by side; 256 channels
    mixed_1/…, mixed_2/…                     the same; 288 channels
    mixed_3/conv, …/pre                      3×3
    mixed_3/tower/conv … conv_2, …/pre       1×1, 3×3, 3×3
    mixed_3/pool                             max of 3×3
    mixed_3                                  [S/16, S/16, 768]
    mixed_4/conv, …/pre                      1×1
    mixed_4/tower/conv … conv_2, …/pre       1×1, 1×7, 7×1
    mixed_4/tower_1/conv … conv_4, …/pre     1×1, 7×1, 1×7, 7×1, 1×7
    mixed_4/tower_2/pool, …/conv, …/pre      mean of 3×3, 1×1
    mixed_4, …, mixed_7                      768 channels
    mixed_8/tower/conv, …/conv_1, …/pre      1×1, 3×3
    mixed_8/tower_1/conv … conv_3, …/pre     1×1, 1×7, 7×1, 3×3
    mixed_8/pool, mixed_8                    [S/32, S/32, 1280]
    mixed_9/conv, …/pre                      1×1
    mixed_9/tower/conv, …/pre                1×1, which two others read:
    mixed_9/tower/mixed/conv, …/conv_1       1×3 and 3×1
    mixed_9/tower_1/conv, …/conv_1, …/pre    1×1, 3×3, which two others read:
    mixed_9/tower_1/mixed/conv, …/conv_1     1×3 and 3×1
    mixed_9/tower_2/pool, …/conv, …/pre      mean of 3×3, 1×1
    mixed_9, mixed_10                        [S/32, S/32, 2048]
    pool_3                                   [2048], the mean
    logits, probabilities                    [1000], or [1008] (TensorFlow's own set);
                                             the graph: softmax/logits, softmax

Batch norms are part of the convolutions before them. The mean at the border is of the
pixels inside the image, as in TensorFlow; torchvision counts zeros around it. The last
mean, mixed_10/tower_2/pool, is a maximum in TensorFlow's graph of 2015. torchvision's
file also holds a classifier that helped in training, which is left alone.

The file of `inception_v3.tf2015-mixed8` has the convolutions of TensorFlow's graph
inception-2015-12-05 with their batch norms folded in, as flat arrays. From mixed_9 on
some are missing there, and what is left of those layers is left alone.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dreamjax.labels import imagenet_labels, imagenet_labels_2015
from dreamjax.models.convert import TORCH, Layer, Layout, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import INCEPTION_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import avg_pool, max_pool
from dreamjax.models.port import Convert, Port
from dreamjax.models.source import Source
from dreamjax.models.weights import Tensors
from dreamjax.types import Array, Taps

NONE, ONE = ((0, 0), (0, 0)), ((1, 1), (1, 1))  # paddings


class Variant(NamedTuple):
    """What differs between the sources.

    Attributes:
      classes: of the classifier; 0 for a network that ends with mixed_8.
      count_padding: the means at the border count zeros around the image.
      last_pool: of mixed_10, "mean" or "max".
    """

    classes: int
    count_padding: bool = False
    last_pool: str = "mean"


class InceptionV3(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    variant: Variant
    rules: Rules = PLAIN
    classes: int | None = None  # of the classifier; None is the variant's

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        count_padding = self.variant.count_padding

        def mean(x: Array) -> Array:
            return avg_pool(x, 3, 1, ONE, count_padding=count_padding)

        def largest(x: Array) -> Array:
            return max_pool(x, 3, 1, ONE)

        y = tape.conv("conv", x, 32, 3, stride=2)
        y = tape.conv("conv_1", y, 32, 3)
        y = tape.conv("conv_2", y, 64, 3, padding=1)
        y = tape.keep("pool", max_pool(y, 3, 2, NONE))
        y = tape.conv("conv_3", y, 80)
        y = tape.conv("conv_4", y, 192, 3)
        y = tape.keep("pool_1", max_pool(y, 3, 2, NONE))
        for name, features in (("mixed", 32), ("mixed_1", 64), ("mixed_2", 64)):
            y = _mixed_35(tape, name, y, features, mean)
        y = _mixed_3(tape, "mixed_3", y)
        for n, features in ((4, 128), (5, 160), (6, 160), (7, 192)):
            y = _mixed_17(tape, f"mixed_{n}", y, features, mean)
        y = _mixed_8(tape, "mixed_8", y)
        if self.variant.classes == 0:
            return tape.taps
        y = _mixed_end(tape, "mixed_9", y, mean)
        last = mean if self.variant.last_pool == "mean" else largest
        y = _mixed_end(tape, "mixed_10", y, last)
        y = tape.keep("pool_3", jnp.mean(y, axis=(1, 2)))
        classes = self.variant.classes if self.classes is None else self.classes
        return tape.classifier(y, classes, "softmax")


Pool = Callable[[Array], Array]
ROW, COLUMN = (1, 7), (7, 1)


def _tower(tape: Tape, name: str, x: Array, *layers: tuple) -> Array:
    """Convolutions one after another, (channels, kernel) each.

    One with a third entry, its stride, has no padding; else the size is kept.
    """
    for i, (features, kernel, *stride) in enumerate(layers):
        path = f"{name}/conv_{i}" if i else f"{name}/conv"
        options = {"stride": stride[0]} if stride else {"padding": "SAME"}
        x = tape.conv(path, x, features, kernel, **options)
    return x


def _pooled(tape: Tape, name: str, x: Array, features: int, pool: Pool) -> Array:
    return _tower(tape, name, tape.keep(f"{name}/pool", pool(x)), (features, 1))


def _join(tape: Tape, name: str, *parts: Array) -> Array:
    return tape.keep(name, jnp.concatenate(parts, axis=-1))


def _mixed_35(tape: Tape, name: str, x: Array, features: int, pool: Pool) -> Array:
    return _join(
        tape,
        name,
        _tower(tape, name, x, (64, 1)),
        _tower(tape, f"{name}/tower", x, (48, 1), (64, 5)),
        _tower(tape, f"{name}/tower_1", x, (64, 1), (96, 3), (96, 3)),
        _pooled(tape, f"{name}/tower_2", x, features, pool),
    )


def _mixed_3(tape: Tape, name: str, x: Array) -> Array:
    return _join(
        tape,
        name,
        _tower(tape, name, x, (384, 3, 2)),
        _tower(tape, f"{name}/tower", x, (64, 1), (96, 3), (96, 3, 2)),
        tape.keep(f"{name}/pool", max_pool(x, 3, 2, NONE)),
    )


def _mixed_17(tape: Tape, name: str, x: Array, features: int, pool: Pool) -> Array:
    row, column = (features, ROW), (features, COLUMN)
    one, last = (features, 1), (192, ROW)
    return _join(
        tape,
        name,
        _tower(tape, name, x, (192, 1)),
        _tower(tape, f"{name}/tower", x, one, row, (192, COLUMN)),
        _tower(tape, f"{name}/tower_1", x, one, column, row, column, last),
        _pooled(tape, f"{name}/tower_2", x, 192, pool),
    )


def _mixed_8(tape: Tape, name: str, x: Array) -> Array:
    row, column = (192, ROW), (192, COLUMN)
    return _join(
        tape,
        name,
        _tower(tape, f"{name}/tower", x, (192, 1), (320, 3, 2)),
        _tower(tape, f"{name}/tower_1", x, (192, 1), row, column, (192, 3, 2)),
        tape.keep(f"{name}/pool", max_pool(x, 3, 2, NONE)),
    )


def _mixed_end(tape: Tape, name: str, x: Array, pool: Pool) -> Array:
    one = _tower(tape, name, x, (320, 1))
    y = _tower(tape, f"{name}/tower", x, (384, 1))
    short = _both_ways(tape, f"{name}/tower/mixed", y)
    y = _tower(tape, f"{name}/tower_1", x, (448, 1), (384, 3))
    long = _both_ways(tape, f"{name}/tower_1/mixed", y)
    pooled = _pooled(tape, f"{name}/tower_2", x, 192, pool)
    return _join(tape, name, one, *short, *long, pooled)


def _both_ways(tape: Tape, name: str, x: Array) -> tuple[Array, Array]:
    return (
        tape.conv(f"{name}/conv", x, 384, (1, 3), padding="SAME"),
        tape.conv(f"{name}/conv_1", x, 384, (3, 1), padding="SAME"),
    )


# torchvision's names for our layers, in the order in which Keras numbers them.
STEM = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}
MIXED_35 = {
    "conv": "branch1x1",
    "tower/conv": "branch5x5_1",
    "tower/conv_1": "branch5x5_2",
    "tower_1/conv": "branch3x3dbl_1",
    "tower_1/conv_1": "branch3x3dbl_2",
    "tower_1/conv_2": "branch3x3dbl_3",
    "tower_2/conv": "branch_pool",
}
MIXED_3 = {
    "conv": "branch3x3",
    "tower/conv": "branch3x3dbl_1",
    "tower/conv_1": "branch3x3dbl_2",
    "tower/conv_2": "branch3x3dbl_3",
}
MIXED_17 = {
    "conv": "branch1x1",
    "tower/conv": "branch7x7_1",
    "tower/conv_1": "branch7x7_2",
    "tower/conv_2": "branch7x7_3",
    "tower_1/conv": "branch7x7dbl_1",
    "tower_1/conv_1": "branch7x7dbl_2",
    "tower_1/conv_2": "branch7x7dbl_3",
    "tower_1/conv_3": "branch7x7dbl_4",
    "tower_1/conv_4": "branch7x7dbl_5",
    "tower_2/conv": "branch_pool",
}
MIXED_8 = {
    "tower/conv": "branch3x3_1",
    "tower/conv_1": "branch3x3_2",
    "tower_1/conv": "branch7x7x3_1",
    "tower_1/conv_1": "branch7x7x3_2",
    "tower_1/conv_2": "branch7x7x3_3",
    "tower_1/conv_3": "branch7x7x3_4",
}
MIXED_END = {
    "conv": "branch1x1",
    "tower/conv": "branch3x3_1",
    "tower/mixed/conv": "branch3x3_2a",
    "tower/mixed/conv_1": "branch3x3_2b",
    "tower_1/conv": "branch3x3dbl_1",
    "tower_1/conv_1": "branch3x3dbl_2",
    "tower_1/mixed/conv": "branch3x3dbl_3a",
    "tower_1/mixed/conv_1": "branch3x3dbl_3b",
    "tower_2/conv": "branch_pool",
}
BLOCKS = {
    "mixed": ("Mixed_5b", MIXED_35),
    "mixed_1": ("Mixed_5c", MIXED_35),
    "mixed_2": ("Mixed_5d", MIXED_35),
    "mixed_3": ("Mixed_6a", MIXED_3),
    "mixed_4": ("Mixed_6b", MIXED_17),
    "mixed_5": ("Mixed_6c", MIXED_17),
    "mixed_6": ("Mixed_6d", MIXED_17),
    "mixed_7": ("Mixed_6e", MIXED_17),
    "mixed_8": ("Mixed_7a", MIXED_8),
    "mixed_9": ("Mixed_7b", MIXED_END),
    "mixed_10": ("Mixed_7c", MIXED_END),
}
TORCHVISION = STEM | {
    f"{name}/{ours}": f"{block}.{theirs}"
    for name, (block, layers) in BLOCKS.items()
    for ours, theirs in layers.items()
}
NUMBERS = {path: i for i, path in enumerate(TORCHVISION, start=1)}
KERAS = Layout("HWIO", "/0", "/1", (None, "/0", "/1", "/2"))  # with no gamma


def _torchvision_name(path: str) -> Layer:
    if path == "softmax":
        return Layer("fc")
    return Layer(f"{TORCHVISION[path]}.conv", f"{TORCHVISION[path]}.bn")


def _keras_name(path: str) -> Layer:
    if path == "softmax":
        return Layer("predictions")
    return Layer(f"conv2d_{NUMBERS[path]}", f"batch_normalization_{NUMBERS[path]}")


def _renumbered(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Numbers Keras' layers from 1 up: it counts on where it made others before."""
    names = {}
    for kind in ("conv2d", "batch_normalization"):
        found = {name.rpartition("/")[0] for name in tensors}
        found = [name for name in found if re.fullmatch(rf"{kind}(_\d+)?", name)]
        found.sort(key=lambda name: int(name.removeprefix(kind)[1:] or 0))
        names |= {name: f"{kind}_{i}" for i, name in enumerate(found, start=1)}
    split = {name: name.rpartition("/") for name in tensors}
    return {
        f"{names.get(layer, layer)}/{i}": tensors[name]
        for name, (layer, _, i) in split.items()
    }


def _from_torch(
    tensors: Mapping[str, np.ndarray], shapes: Mapping, name: str
) -> dict[str, Any]:
    return fill(
        {n: t for n, t in tensors.items() if not n.startswith("AuxLogits.")},
        shapes,
        name,
        layout=TORCH,
        names=_torchvision_name,
        epsilon=1e-3,
        ignore=("num_batches_tracked",),
    )


def _from_keras(
    tensors: Mapping[str, np.ndarray], shapes: Mapping, name: str
) -> dict[str, Any]:
    return fill(
        _renumbered(tensors),
        shapes,
        name,
        layout=KERAS,
        names=_keras_name,
        epsilon=1e-3,
    )


def _from_flat(
    tensors: Mapping[str, np.ndarray], shapes: Mapping, name: str
) -> dict[str, Any]:
    """Kernels are flat, [out, height, width, in]; later layers are left alone."""
    later = re.compile("(weights|bias)_(mixed_9|mixed_10|softmax)(_|$)")
    found = {n: t.reshape(-1) for n, t in tensors.items() if not later.match(n)}
    source = Tensors(found, name)
    params = {}
    for path, leaves in shapes.items():
        at = path.replace("/", "_")
        *sides, features = leaves["kernel"].shape  # height, width, in
        kernel = source.take(f"weights_{at}", (features * np.prod(sides),))
        kernel = np.moveaxis(kernel.reshape(features, *sides), 0, -1)
        params[path] = {
            "kernel": np.ascontiguousarray(kernel, np.float32),
            "bias": source.take(f"bias_{at}", (features,)).astype(np.float32),
        }
    source.finish()
    return {"params": params}


GRAPH_INPUT = {"scale": 255.0, "mean": (128.0,) * 3, "std": (128.0,) * 3}


def _port(
    name: str,
    variant: Variant,
    file: Source,
    format: str,
    convert: Convert,
    **record: Any,
) -> Port:
    return Port(
        Record(
            name=f"inception_v3.{name}",
            year=2015,
            paper="Szegedy et al. 2015",
            size=299,
            min_size=75,
            redirectable=True,
            **record,
        ),
        file,
        format,
        partial(InceptionV3, variant),
        convert,
    )


PORTS = (
    _port(
        "torchvision",
        Variant(1000, count_padding=True),
        Source(
            file="inception_v3_google-0cc3c7bd.pth",
            address="https://download.pytorch.org/models/"
            "inception_v3_google-0cc3c7bd.pth",
            digest="sha256:0cc3c7bd",
        ),
        "torch",
        _from_torch,
        source="torchvision, IMAGENET1K_V1",
        license="BSD-3-Clause",
        labels=imagenet_labels(),
        parameters=27_161_264,
        top1=77.294,
        **INCEPTION_INPUT,
    ),
    _port(
        "keras",
        Variant(1000),
        Source(
            file="inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
            address="https://storage.googleapis.com/tensorflow/keras-applications/"
            "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
            digest="md5:9a0d58056eeedaa3f26cb7ebd46da564",
        ),
        "hdf5",
        _from_keras,
        source="Keras Applications",
        license="Apache-2.0",
        labels=imagenet_labels(),
        parameters=23_817_352,
        top1=77.9,
        **INCEPTION_INPUT,
    ),
    _port(
        "tf2015",
        Variant(1008, last_pool="max"),
        Source(
            file="pt_inception-2015-12-05-6726825d.pth",
            address="https://github.com/mseitzer/pytorch-fid/releases/download/"
            "fid_weights/pt_inception-2015-12-05-6726825d.pth",
            digest="sha256:6726825d",
        ),
        "torch",
        _from_torch,
        source="TensorFlow, inception-2015-12-05, as pytorch-fid stores it",
        license="Apache-2.0",
        labels=imagenet_labels_2015(),
        parameters=23_850_960,
        **GRAPH_INPUT,
    ),
    _port(
        "tf2015-mixed8",
        Variant(0),
        Source(file="inception_v3_tf2015_raw.npz"),
        "npz",
        _from_flat,
        source="TensorFlow, inception-2015-12-05, folded, up to mixed_8",
        license="Apache-2.0",
        parameters=10_653_472,
        **GRAPH_INPUT,
    ),
)
