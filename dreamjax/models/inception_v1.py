"""Inception v1 as Google published it in 2015, "5h": the network of Lucid and Distill.

GoogLeNet (Szegedy et al. 2014) with another normalization, other padding and a few
other widths than BVLC's. Taps are called like the nodes of its TensorFlow graph, where
our `conv2d0/pre` is the node `conv2d0_pre_relu`. At image side S:

    conv2d0, …/pre                           [S/2, S/2, 64]
    maxpool0, localresponsenorm0             [S/4, S/4, 64]
    conv2d1, conv2d2, …/pre                  64 and 192 channels
    localresponsenorm1, maxpool1             [S/8, S/8, 192] at the end
    mixed3a_1x1, …/pre
    mixed3a_3x3_bottleneck, mixed3a_3x3, …/pre
    mixed3a_5x5_bottleneck, mixed3a_5x5, …/pre
    mixed3a_pool                             max of 3×3
    mixed3a_pool_reduce, …/pre
    mixed3a                                  1x1, 3x3, 5x5, pool_reduce, side by side
    mixed3a/pre                              the same before their ReLUs: what Lucid
                                             adds to the graph as mixed3a_pre_relu
    mixed3b…, maxpool4                       [S/16, S/16, 480] at the end
    mixed4a… to mixed4e…, maxpool10          [S/32, S/32, 832] at the end
    mixed5a…, mixed5b…                       [S/32, S/32, 1024] at the end
    avgpool0                                 [1024]
    logits, probabilities                    [1008]; the graph: softmax2_pre_activation
                                             and softmax2

avgpool0 is the mean of the whole map, whatever its size; at 224 px that is the graph's
7×7. The two classifiers that helped in training read maps of 14×14, so they exist for
images of 224 px:

    head0_pool                               [4, 4, 508]; head1: 528
    head0_bottleneck, …/pre                  [4, 4, 128]
    nn0, …/pre                               [1024]
    softmax0, …/pre                          [1008]; the graph: softmax0_pre_activation
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from dreamjax.labels import imagenet_labels_2015
from dreamjax.models.convert import Layer, Layout, fill
from dreamjax.models.googlenet import inception_module
from dreamjax.models.layers import PLAIN, Rules, same_padding, widened
from dreamjax.models.model import Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import avg_pool, local_response_norm, max_pool
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

MODULES = {  # channels of 1x1; 3x3_bottleneck, 3x3; 5x5_bottleneck, 5x5; pool_reduce
    "mixed3a": (64, 96, 128, 16, 32, 32),
    "mixed3b": (128, 128, 192, 32, 96, 64),
    "mixed4a": (192, 96, 204, 16, 48, 64),
    "mixed4b": (160, 112, 224, 24, 64, 64),
    "mixed4c": (128, 128, 256, 24, 64, 64),
    "mixed4d": (112, 144, 288, 32, 64, 64),
    "mixed4e": (256, 160, 320, 32, 128, 128),
    "mixed5a": (256, 160, 320, 48, 128, 128),
    "mixed5b": (384, 192, 384, 48, 128, 128),
}
PARTS = (
    "1x1",
    "3x3_bottleneck",
    "3x3",
    "5x5_bottleneck",
    "5x5",
    "pool",
    "pool_reduce",
)
POOLS = {"mixed3b": "maxpool4", "mixed4e": "maxpool10"}
HEADS = {"mixed4a": 0, "mixed4d": 1}
HEAD_MAP = (14, 14)  # what the heads behind a module read, at 224 px
CLASSES = 1008


class InceptionV1(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    rules: Rules = PLAIN
    classes: int = CLASSES

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        x = tape.conv("conv2d0", x, 64, 7, stride=2, padding="SAME")
        x = _pool(tape, "maxpool0", x)
        x = _norm(tape, "localresponsenorm0", x)
        x = tape.conv("conv2d1", x, 64)
        x = tape.conv("conv2d2", x, 192, 3, padding="SAME")
        x = _norm(tape, "localresponsenorm1", x)
        x = _pool(tape, "maxpool1", x)
        for name, channels in MODULES.items():
            names = [f"{name}_{part}" for part in PARTS]
            x = inception_module(tape, x, channels, names, name)
            head = HEADS.get(name) if self.classes else None
            if head is not None and x.shape[1:3] == HEAD_MAP:
                _head(tape, head, x, self.classes)
            if name in POOLS:
                x = _pool(tape, POOLS[name], x)
        x = tape.keep("avgpool0", jnp.mean(x, axis=(1, 2)))
        return tape.classifier(x, self.classes, "logits")


def _head(tape: Tape, number: int, x: Array, classes: int) -> None:
    pooled = avg_pool(x, 5, 3, ((0, 0), (0, 0)), count_padding=False)
    x = tape.keep(f"head{number}_pool", pooled)
    x = tape.conv(f"head{number}_bottleneck", x, 128)
    x = x.reshape(x.shape[0], -1)
    x = tape.dense(f"nn{number}", x, 1024, act="relu")
    x = tape.dense(f"softmax{number}/pre", x, classes)
    tape.keep(f"softmax{number}", jax.nn.softmax(widened(x), axis=-1))


def _pool(tape: Tape, name: str, x: Array) -> Array:
    return tape.keep(name, max_pool(x, 3, 2, same_padding(*x.shape[1:3], 3, 2)))


def _norm(tape: Tape, name: str, x: Array) -> Array:
    # The graph's depth_radius is 5 and its bias 2. (The PyTorch ports that go around
    # have 9 channels, a bias of 1, and divide alpha by 9.)
    return tape.keep(name, local_response_norm(x, size=11, alpha=1e-4, beta=0.5, k=2.0))


GRAPH = Layout("HWIO", "_w", "_b", ("", "", "", ""))


def _graph_name(path: str) -> Layer:
    return Layer("softmax2" if path == "logits" else path.removesuffix("/pre"))


def _head_taps() -> tuple[str, ...]:
    layers = (
        "head{}_pool",
        "head{}_bottleneck/pre",
        "head{}_bottleneck",
        "nn{}/pre",
        "nn{}",
        "softmax{}/pre",
        "softmax{}",
    )
    return tuple(layer.format(head) for head in HEADS.values() for layer in layers)


PORTS = (
    Port(
        Record(
            name="inception_v1.5h",
            source="Google, inception5h",
            year=2014,
            paper="Szegedy et al. 2014",
            license="Apache-2.0",
            scale=255.0,
            mean=(117.0, 117.0, 117.0),
            std=(1.0, 1.0, 1.0),
            size=224,
            min_size=32,  # TensorFlow's padding would let any size through
            labels=imagenet_labels_2015(),
            parameters=13_461_996,
            redirectable=True,
            head_taps=_head_taps(),
        ),
        Source(
            file="tensorflow_inception_graph.pb",
            address="https://storage.googleapis.com/download.tensorflow.org/models/"
            "inception5h.zip",
            digest="sha256:"
            "d13569f6a98159de37e92e9c8ec4dae8f674fbf475f69fe6199b514f756d4364",
            member="tensorflow_inception_graph.pb",
        ),
        "graphdef",
        lambda rules: InceptionV1(rules=rules),
        partial(
            fill,
            layout=GRAPH,
            names=_graph_name,
            ignore=("/concat_dim", "/reshape/shape"),  # axes and sizes, not weights
        ),
    ),
)
