"""GoogLeNet (Szegedy et al. 2014) as BVLC trained it: the network of DeepDream.

Taps are called like the blobs of its Caffe network. At image side S:

    conv1/7x7_s2, …/pre                      [S/2, S/2, 64]
    pool1/3x3_s2, pool1/norm1                [S/4, S/4, 64]
    conv2/3x3_reduce, conv2/3x3, …/pre       64 and 192 channels
    conv2/norm2, pool2/3x3_s2                [S/8, S/8, 192]
    inception_3a/1x1, …/pre
    inception_3a/3x3_reduce, inception_3a/3x3, …/pre
    inception_3a/5x5_reduce, inception_3a/5x5, …/pre
    inception_3a/pool                        max of 3×3
    inception_3a/pool_proj, …/pre
    inception_3a/output                      1x1, 3x3, 5x5, pool_proj, side by side
    inception_3a/output/pre                  the same before their ReLUs, no blob
    inception_3b/…, pool3/3x3_s2             [S/16, S/16, 480]
    inception_4a/… to inception_4e/…         [S/16, S/16, 832] at the end
    pool4/3x3_s2                             [S/32, S/32, 832]
    inception_5a/…, inception_5b/…           [S/32, S/32, 1024] at the end
    pool5/7x7_s1                             [1024]
    logits, probabilities                    [1000]; Caffe: loss3/classifier, prob

The last pool takes the mean of the whole map, whatever its size; at 224 px that is
Caffe's 7×7. The two classifiers that helped in training, behind 4a and 4d, are there
with the weight set that has them, for images of 224 px (they read maps of 14×14):

    loss1/ave_pool                           [4, 4, 512]; loss2: 528
    loss1/conv, …/pre                        [4, 4, 128]
    loss1/fc, …/pre                          [1024]
    loss1/classifier                         [1000], before a softmax
"""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import CAFFE, Layer, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import CAFFE_INPUT, Record
from dreamjax.models.modules import Tape
from dreamjax.models.pooling import (
    avg_pool,
    ceil_padding,
    local_response_norm,
    max_pool,
)
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

MODULES = {  # channels of 1x1; 3x3_reduce, 3x3; 5x5_reduce, 5x5; pool_proj
    "inception_3a": (64, 96, 128, 16, 32, 32),
    "inception_3b": (128, 128, 192, 32, 96, 64),
    "inception_4a": (192, 96, 208, 16, 48, 64),
    "inception_4b": (160, 112, 224, 24, 64, 64),
    "inception_4c": (128, 128, 256, 24, 64, 64),
    "inception_4d": (112, 144, 288, 32, 64, 64),
    "inception_4e": (256, 160, 320, 32, 128, 128),
    "inception_5a": (256, 160, 320, 32, 128, 128),
    "inception_5b": (384, 192, 384, 48, 128, 128),
}
PARTS = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool", "pool_proj")
POOLS = {"inception_3b": "pool3/3x3_s2", "inception_4e": "pool4/3x3_s2"}
HEADS = {"inception_4a": "loss1", "inception_4d": "loss2"}
HEAD_MAP = (14, 14)  # what the heads behind a module read, at 224 px


class GoogLeNet(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps.

    Attributes:
      heads: with the two classifiers behind 4a and 4d.
    """

    heads: bool
    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        x = tape.conv("conv1/7x7_s2", x, 64, 7, stride=2, padding=3)
        x = _pool(tape, "pool1/3x3_s2", x)
        x = _norm(tape, "pool1/norm1", x)
        x = tape.conv("conv2/3x3_reduce", x, 64)
        x = tape.conv("conv2/3x3", x, 192, 3, padding=1)
        x = _norm(tape, "conv2/norm2", x)
        x = _pool(tape, "pool2/3x3_s2", x)
        for name, channels in MODULES.items():
            names = [f"{name}/{part}" for part in PARTS]
            x = inception_module(tape, x, channels, names, f"{name}/output")
            heads = self.heads and self.classes > 0
            if heads and name in HEADS and x.shape[1:3] == HEAD_MAP:
                _head(tape, HEADS[name], x, self.classes)
            if name in POOLS:
                x = _pool(tape, POOLS[name], x)
        x = tape.keep("pool5/7x7_s1", jnp.mean(x, axis=(1, 2)))
        return tape.classifier(x, self.classes, "logits")


def inception_module(
    tape: Tape,
    x: Array,
    channels: Sequence[int],
    names: Sequence[str],
    output: str,
    *,
    five: int = 5,
) -> Array:
    """Four branches that read the same map [N, h, w, C], side by side: [N, h, w, K].

    Args:
      channels: of 1×1; 1×1, 3×3; 1×1, 5×5; 1×1 after the pool.
      names: of these, and of the pool before its 1×1.
      output: name of the result; `output/pre` is the same before the ReLUs.
      five: kernel of the third branch, 5 in the paper.
    """
    one, reduce_3, three, reduce_5, wide, project = channels
    in_one, in_reduce_3, in_three, in_reduce_5, in_wide, in_pool, in_project = names
    tape.conv(in_one, x, one)
    y = tape.conv(in_reduce_3, x, reduce_3)
    tape.conv(in_three, y, three, 3, padding=1)
    y = tape.conv(in_reduce_5, x, reduce_5)
    tape.conv(in_wide, y, wide, five, padding=five // 2)
    y = tape.keep(in_pool, max_pool(x, 3, 1, ((1, 1), (1, 1))))
    tape.conv(in_project, y, project)
    for end in ("/pre", ""):
        branches = (in_one, in_three, in_wide, in_project)
        parts = [tape.taps[f"{branch}{end}"] for branch in branches]
        y = tape.keep(f"{output}{end}", jnp.concatenate(parts, axis=-1))
    return y


def _head(tape: Tape, name: str, x: Array, classes: int) -> None:
    x = tape.keep(
        f"{name}/ave_pool",
        avg_pool(x, 5, 3, ceil_padding(*HEAD_MAP, 5, 3), count_padding=False),
    )
    x = tape.conv(f"{name}/conv", x, 128)
    x = x.reshape(x.shape[0], -1)
    x = tape.dense(f"{name}/fc", x, 1024, act="relu")
    tape.dense(f"{name}/classifier", x, classes)


def _pool(tape: Tape, name: str, x: Array) -> Array:
    return tape.keep(name, max_pool(x, 3, 2, ceil_padding(*x.shape[1:3], 3, 2)))


def _norm(tape: Tape, name: str, x: Array) -> Array:
    # Caffe divides alpha, 1e-4, by the size of the window.
    y = local_response_norm(x, size=5, alpha=1e-4 / 5, beta=0.75, k=1.0)
    return tape.keep(name, y)


def _caffe_name(path: str) -> Layer:
    if path == "logits":
        return Layer("loss3/classifier")
    return Layer(path, volume=(4, 4, 128) if path.endswith("/fc") else None)


def _head_taps() -> tuple[str, ...]:
    layers = ("ave_pool", "conv/pre", "conv", "fc/pre", "fc", "classifier")
    return tuple(f"{head}/{layer}" for head in HEADS.values() for layer in layers)


def _port(record: Record, source: Source, *, heads: bool) -> Port:
    convert = partial(fill, layout=CAFFE, names=_caffe_name)
    network = partial(GoogLeNet, heads)
    return Port(record, source, "caffe", lambda rules: network(rules=rules), convert)


_COMMON = {
    "year": 2014,
    "paper": "Szegedy et al. 2014",
    "license": "unrestricted use",
    "size": 224,
    "min_size": 31,
    "labels": imagenet_labels(),
    "top1": 68.7,
    "redirectable": True,
    **CAFFE_INPUT,
}
PORTS = (
    _port(
        Record(
            name="googlenet.bvlc",
            source="BVLC, Caffe model zoo",
            parameters=13_378_280,
            head_taps=_head_taps(),
            **_COMMON,
        ),
        Source(
            file="bvlc_googlenet.caffemodel",
            address="http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
            digest="sha1:405fc5acd08a3bb12de8ee5e23a96bec22f08204",
        ),
        heads=True,
    ),
    _port(
        Record(
            name="googlenet.bvlc-noaux",
            source="BVLC, Caffe model zoo, without the two heads of the training",
            parameters=6_998_552,
            **_COMMON,
        ),
        Source(
            file="bvlc_googlenet_noaux.caffemodel",
            # Not the publisher's: of the file that was tested.
            digest="sha256:"
            "46e29545a4990ee79dee4df6181120e25e1f810daa4dbe17eb4deebbc8c51716",
        ),
        heads=False,
    ),
)
