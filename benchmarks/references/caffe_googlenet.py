"""BVLC's GoogLeNet as prototxt, with and without the heads of its training."""

from functools import partial

import numpy as np

from benchmarks.golden import Answer, Reference
from benchmarks.references.caffe import answer, conv, dense, layer, lrn, network, pool

MODULES = {  # what it reads; 1x1; 3x3_reduce, 3x3; 5x5_reduce, 5x5; pool_proj
    "inception_3a": ("pool2/3x3_s2", 64, 96, 128, 16, 32, 32),
    "inception_3b": ("inception_3a/output", 128, 128, 192, 32, 96, 64),
    "inception_4a": ("pool3/3x3_s2", 192, 96, 208, 16, 48, 64),
    "inception_4b": ("inception_4a/output", 160, 112, 224, 24, 64, 64),
    "inception_4c": ("inception_4b/output", 128, 128, 256, 24, 64, 64),
    "inception_4d": ("inception_4c/output", 112, 144, 288, 32, 64, 64),
    "inception_4e": ("inception_4d/output", 256, 160, 320, 32, 128, 128),
    "inception_5a": ("pool4/3x3_s2", 256, 160, 320, 32, 128, 128),
    "inception_5b": ("inception_5a/output", 384, 192, 384, 48, 128, 128),
}
BRANCHES = ("1x1", "3x3", "5x5", "pool_proj")


def module(name: str) -> str:
    """One Inception module."""
    x, one, reduce_3, three, reduce_5, five, project = MODULES[name]
    return _joined(
        conv(f"{name}/1x1", x, one),
        conv(f"{name}/3x3_reduce", x, reduce_3),
        conv(f"{name}/3x3", f"{name}/3x3_reduce", three, 3, pad=1),
        conv(f"{name}/5x5_reduce", x, reduce_5),
        conv(f"{name}/5x5", f"{name}/5x5_reduce", five, 5, pad=2),
        pool(f"{name}/pool", x, 3, 1, pad=1),
        conv(f"{name}/pool_proj", f"{name}/pool", project),
        layer("Concat", f"{name}/output", *(f"{name}/{branch}" for branch in BRANCHES)),
    )


def head(name: str, x: str) -> str:
    """One of the classifiers of the training."""
    return _joined(
        pool(f"{name}/ave_pool", x, 5, 3, pool=("AVE",)),
        conv(f"{name}/conv", f"{name}/ave_pool", 128),
        dense(f"{name}/fc", f"{name}/conv", 1024, relu=True),
        layer("Dropout", f"{name}/drop_fc", f"{name}/fc", top=f"{name}/fc"),
        dense(f"{name}/classifier", f"{name}/fc", 1000),
    )


def _joined(*parts: str) -> str:
    return "\n".join(parts)


def prototxt(*, heads: bool) -> str:
    """The network. Where it has no heads, its last pool takes a map of any size."""
    last = {"pool": ("AVE",), "kernel_size": 7, "stride": 1}
    whole = {"pool": ("AVE",), "global_pooling": True}
    return network(
        conv("conv1/7x7_s2", "data", 64, 7, stride=2, pad=3),
        pool("pool1/3x3_s2", "conv1/7x7_s2", 3, 2),
        lrn("pool1/norm1", "pool1/3x3_s2"),
        conv("conv2/3x3_reduce", "pool1/norm1", 64),
        conv("conv2/3x3", "conv2/3x3_reduce", 192, 3, pad=1),
        lrn("conv2/norm2", "conv2/3x3"),
        pool("pool2/3x3_s2", "conv2/norm2", 3, 2),
        module("inception_3a"),
        module("inception_3b"),
        pool("pool3/3x3_s2", "inception_3b/output", 3, 2),
        module("inception_4a"),
        *([head("loss1", "inception_4a/output")] if heads else []),
        module("inception_4b"),
        module("inception_4c"),
        module("inception_4d"),
        *([head("loss2", "inception_4d/output")] if heads else []),
        module("inception_4e"),
        pool("pool4/3x3_s2", "inception_4e/output", 3, 2),
        module("inception_5a"),
        module("inception_5b"),
        layer(
            "Pooling",
            "pool5/7x7_s1",
            "inception_5b/output",
            pooling_param=last if heads else whole,
        ),
        dense("loss3/classifier", "pool5/7x7_s1", 1000),
        layer("Softmax", "prob", "loss3/classifier"),
    )


def googlenet(heads: bool, image: np.ndarray) -> Answer:
    """Taps have the names of the blobs; a module's output is there before its ReLUs."""
    found = answer(prototxt(heads=heads), image, vectors=("pool5/7x7_s1",))
    before = {
        f"{name}/output/pre": np.concatenate(
            [found.taps[f"{name}/{branch}/pre"] for branch in BRANCHES], axis=-1
        )
        for name in MODULES
    }
    return found._replace(taps={**found.taps, **before})


SMALL = Reference((67, 83), partial(googlenet, False), seed=11)
REFERENCES = {
    "googlenet.bvlc": Reference((224, 224), partial(googlenet, True), gradient=SMALL),
    "googlenet.bvlc-noaux": SMALL,
}
