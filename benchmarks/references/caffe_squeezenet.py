"""The authors' SqueezeNet 1.0 and 1.1 as prototxt."""

from functools import partial

import numpy as np

from benchmarks.golden import Answer, Reference
from benchmarks.references.caffe import answer, conv, layer, network, pool

CHANNELS = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}  # of the squeeze


def fire(n: int, x: str) -> str:
    """One fire module, whose expansions are each four times as wide."""
    squeeze, expand = CHANNELS[n], 4 * CHANNELS[n]
    name = f"fire{n}"
    wide = (f"{name}/expand1x1", f"{name}/expand3x3")
    parts = (
        conv(f"{name}/squeeze1x1", x, squeeze),
        conv(wide[0], f"{name}/squeeze1x1", expand),
        conv(wide[1], f"{name}/squeeze1x1", expand, 3, pad=1),
        layer("Concat", f"{name}/concat", *wide),
    )
    return "\n".join(parts)


def prototxt(version: str) -> str:
    """The network. In version 1.0, conv10 has a margin that only its bias fills."""
    first, pools, margin = {
        "1.0": ((96, 7), (4, 8), {"pad": 1}),
        "1.1": ((64, 3), (3, 5), {}),
    }[version]
    parts = [conv("conv1", "data", *first, stride=2), pool("pool1", "conv1", 3, 2)]
    x = "pool1"
    for n in CHANNELS:
        parts.append(fire(n, x))
        x = f"fire{n}/concat"
        if n in pools:
            parts.append(pool(f"pool{n}", x, 3, 2))
            x = f"pool{n}"
    whole = {"pool": ("AVE",), "global_pooling": True}
    parts += [
        conv("conv10", x, 1000, **margin),
        layer("Pooling", "pool10", "conv10", pooling_param=whole),
        layer("Softmax", "prob", "pool10"),
    ]
    return network(*parts)


def squeezenet(version: str, image: np.ndarray) -> Answer:
    """Logits are pool10."""
    return answer(prototxt(version), image, vectors=("logits", "probabilities"))


REFERENCES = {
    "squeezenet1_0.caffe": Reference((75, 94), partial(squeezenet, "1.0")),
    "squeezenet1_1.caffe": Reference((75, 94), partial(squeezenet, "1.1")),
}
