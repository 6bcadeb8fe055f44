"""The graph of inception5h.zip, node by node."""

from functools import partial

import numpy as np

from benchmarks.golden import Answer, Reference
from benchmarks.references.graphdef import Node, answer, concat, conv, dense, pool

MODULES = {  # what it reads; 1x1; 3x3_bottleneck, 3x3; 5x5_bottleneck, 5x5; pool_reduce
    "mixed3a": ("maxpool1", 192, 64, 96, 128, 16, 32, 32),
    "mixed3b": ("mixed3a", 256, 128, 128, 192, 32, 96, 64),
    "mixed4a": ("maxpool4", 480, 192, 96, 204, 16, 48, 64),
    "mixed4b": ("mixed4a", 508, 160, 112, 224, 24, 64, 64),
    "mixed4c": ("mixed4b", 512, 128, 128, 256, 24, 64, 64),
    "mixed4d": ("mixed4c", 512, 112, 144, 288, 32, 64, 64),
    "mixed4e": ("mixed4d", 528, 256, 160, 320, 32, 128, 128),
    "mixed5a": ("maxpool10", 832, 256, 160, 320, 48, 128, 128),
    "mixed5b": ("mixed5a", 832, 384, 192, 384, 48, 128, 128),
}
BRANCHES = ("1x1", "3x3", "5x5", "pool_reduce")
LRN = {"alpha": 1e-4, "beta": 0.5, "bias": 2.0, "depth_radius": 5}


def module(name: str) -> list[Node]:
    """One Inception module."""
    x, inputs, one, reduce_3, three, reduce_5, five, project = MODULES[name]
    return [
        *conv(f"{name}_1x1", x, (1, 1, inputs, one)),
        *conv(f"{name}_3x3_bottleneck", x, (1, 1, inputs, reduce_3)),
        *conv(f"{name}_3x3", f"{name}_3x3_bottleneck", (3, 3, reduce_3, three)),
        *conv(f"{name}_5x5_bottleneck", x, (1, 1, inputs, reduce_5)),
        *conv(f"{name}_5x5", f"{name}_5x5_bottleneck", (5, 5, reduce_5, five)),
        pool(f"{name}_pool", x, 3, 1),
        *conv(f"{name}_pool_reduce", f"{name}_pool", (1, 1, inputs, project)),
        *concat(name, *(f"{name}_{branch}" for branch in BRANCHES)),
    ]


def head(number: int, x: str, inputs: int) -> list[Node]:
    """One of the classifiers of the training."""
    bottleneck = f"head{number}_bottleneck"
    return [
        pool(f"head{number}_pool", x, 5, 3, "AvgPool"),
        *conv(bottleneck, f"head{number}_pool", (1, 1, inputs, 128)),
        *dense(f"nn{number}", bottleneck, (2048, 1024), "Relu"),
        *dense(f"softmax{number}", f"nn{number}", (1024, 1008), "Softmax"),
    ]


def graph(*, heads: bool = True, last: int = 7) -> list[Node]:
    """Every node but those that only name an output once more.

    Args:
      heads: with the two classifiers of the training.
      last: side of the last pool, which takes a whole map.
    """
    return [
        Node("input", "Placeholder"),
        *conv("conv2d0", "input", (7, 7, 3, 64), stride=2),
        pool("maxpool0", "conv2d0", 3, 2),
        Node("localresponsenorm0", "LRN", ("maxpool0",), LRN),
        *conv("conv2d1", "localresponsenorm0", (1, 1, 64, 64)),
        *conv("conv2d2", "conv2d1", (3, 3, 64, 192)),
        Node("localresponsenorm1", "LRN", ("conv2d2",), LRN),
        pool("maxpool1", "localresponsenorm1", 3, 2),
        *module("mixed3a"),
        *module("mixed3b"),
        pool("maxpool4", "mixed3b", 3, 2),
        *module("mixed4a"),
        *module("mixed4b"),
        *module("mixed4c"),
        *module("mixed4d"),
        *module("mixed4e"),
        pool("maxpool10", "mixed4e", 3, 2),
        *module("mixed5a"),
        *module("mixed5b"),
        pool("avgpool0", "mixed5b", last, 1, "AvgPool"),
        *(head(0, "mixed4a", 508) if heads else ()),
        *(head(1, "mixed4d", 528) if heads else ()),
        *dense("softmax2", "avgpool0", (1024, 1008), "Softmax"),
    ]


def inception_v1(nodes: list[Node], image: np.ndarray) -> Answer:
    """Taps have the names of the nodes, but for what is before a nonlinearity."""
    taps = {
        "logits": "softmax2_pre_activation",
        "probabilities": "softmax2",
        "avgpool0": "avgpool0/reshape",
    }
    for node in nodes:
        name = node.name
        if node.operation == "Relu":
            taps |= {name: name, f"{name}/pre": f"{name}_pre_relu"}
        elif node.operation == "Softmax" and name != "softmax2":
            taps |= {name: name, f"{name}/pre": f"{name}_pre_activation"}
        elif node.operation in ("MaxPool", "LRN", "Concat", "AvgPool"):
            taps.setdefault(name, name)
    return answer(
        nodes,
        image,
        taps,
        together={
            f"{name}/pre": [f"{name}_{branch}_pre_relu" for branch in BRANCHES]
            for name in MODULES
        },
    )


# The heads read a map of 14×14: from 209 to 224 px. At 67×83 px the last map is 3×3.
SMALL = Reference((67, 83), partial(inception_v1, graph(heads=False, last=3)), seed=1)
REFERENCES = {
    "inception_v1.5h": Reference(
        (211, 223), partial(inception_v1, graph()), gradient=SMALL
    )
}
