"""Inception-v3 of torchvision, of Keras, and of TensorFlow's graph of 2015.

That graph's network is torchvision's with other pools (as the authors of pytorch-fid
found out), so that is what is built here.
"""

from functools import partial
from itertools import chain
from unittest import mock

import torch
from torch import nn

from benchmarks.golden import Reference
from benchmarks.references.torch_common import answer, import_torchvision

torchvision = import_torchvision()
MADE_WITH = f"torchvision {torchvision.__version__}"

# Our names of the convolutions of each part, in the order of both definitions.
STEM = ["conv", "conv_1", "conv_2", "conv_3", "conv_4"]
TOWERS = {
    "A": "conv tower/conv tower/conv_1 tower_1/conv tower_1/conv_1 tower_1/conv_2"
    " tower_2/conv",
    "B": "conv tower/conv tower/conv_1 tower/conv_2",
    "C": "conv tower/conv tower/conv_1 tower/conv_2 tower_1/conv tower_1/conv_1"
    " tower_1/conv_2 tower_1/conv_3 tower_1/conv_4 tower_2/conv",
    "D": "tower/conv tower/conv_1 tower_1/conv tower_1/conv_1 tower_1/conv_2"
    " tower_1/conv_3",
    "E": "conv tower/conv tower/mixed/conv tower/mixed/conv_1 tower_1/conv"
    " tower_1/conv_1 tower_1/mixed/conv tower_1/mixed/conv_1 tower_2/conv",
}
KINDS = "AAABCCCCDEE"
MIXED = ["mixed", *(f"mixed_{i}" for i in range(1, 11))]


def convolutions(kinds=KINDS):
    """Our name of every convolution, part by part."""
    return STEM, *(
        [f"{name}/{path}" for path in TOWERS[kind].split()]
        for name, kind in zip(MIXED, kinds, strict=False)
    )


def torch_names(network, block):
    """Our name of every convolution -> its name in `network`, ordered as defined."""
    top = [n for n, module in network.named_children() if isinstance(module, block)]
    parts = [n for n, _ in network.named_children() if n.startswith("Mixed")]
    theirs = [top]
    for part in parts:
        inner = network.get_submodule(part).named_children()
        theirs.append([f"{part}.{n}" for n, _ in inner])
    theirs = [part for part in theirs if part]
    names = {}
    for ours, part in zip(convolutions(KINDS[: len(theirs) - 1]), theirs, strict=True):
        names |= dict(zip(ours, part, strict=True))
    return names, dict(zip(MIXED, parts, strict=False))


def torch_inception(network, block, before, image, **options):
    """Answers for a network of torchvision's class, whose ReLUs are functions.

    `before` is the name of the module inside each convolution `block` that its ReLU
    follows.
    """
    names, parts = torch_names(network, block)
    taps = {
        "pool": ("maxpool1", "output"),
        "pool_1": ("maxpool2", "output"),
    }
    for ours, theirs in names.items():
        taps[f"{ours}/pre"] = (f"{theirs}.{before}", "output")
        taps[ours] = (theirs, "output")
        if ours.endswith("tower_2/conv"):
            taps[ours.replace("conv", "pool")] = (theirs, "input")
    for (ours, theirs), kind in zip(parts.items(), KINDS, strict=False):
        if f"{ours}/conv" not in names and kind != "D":
            continue  # taken out
        taps[ours] = (theirs, "output")
        if kind in "BD":  # the maximum is the last part of what is put together
            kept = 288 if kind == "B" else 768
            taps[f"{ours}/pool"] = (theirs, "output", lambda y, n=kept: y[:, -n:])
    if "mixed_10" in taps:
        taps["pool_3"] = ("fc", "input")
    return answer(network, image, taps, **options)


def build(classes=1000, **options):
    """torchvision's network, made without the minutes that its initial weights take."""
    return torchvision.models.Inception3(classes, init_weights=False, **options)


def with_pool(block, pool):
    """Makes the 3×3 mean of a block another function."""
    forward = block.forward

    def run(x):
        with mock.patch.object(nn.functional, "avg_pool2d", pool):
            return forward(x)

    block.forward = run


def inner_mean(x, kernel_size, stride, padding, pool=nn.functional.avg_pool2d):
    """The mean of what lies inside the image."""
    return pool(x, kernel_size, stride, padding, count_include_pad=False)


def with_graph_pools(network):
    """Gives a network the pools of TensorFlow's graph."""
    for name, block in network.named_children():
        if name.startswith("Mixed"):
            last = name == "Mixed_7c"
            with_pool(block, nn.functional.max_pool2d if last else inner_mean)
    return network


class Kernel(nn.Module):
    """A convolution whose weights are stored [out, height, width, in]."""

    def __init__(self, inputs, outputs, kernel_size, stride=1, padding=0):
        super().__init__()
        sides = (
            (kernel_size,) * 2 if isinstance(kernel_size, int) else tuple(kernel_size)
        )
        self.weight = nn.Parameter(torch.zeros(outputs, *sides, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.options = {"stride": stride, "padding": padding}

    def forward(self, x):
        kernel = self.weight.permute(0, 3, 1, 2)
        return nn.functional.conv2d(x, kernel, self.bias, **self.options)


class Folded(nn.Module):
    """A convolution with its batch norm folded in, and a ReLU."""

    def __init__(self, inputs, outputs, **options):
        super().__init__()
        self.conv = Kernel(inputs, outputs, **options)

    def forward(self, x):
        return nn.functional.relu(self.conv(x))


def torchvision_inception(image):
    """As published, with the classifier that helps in training in its state."""
    block = torchvision.models.inception.BasicConv2d
    options = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "made_with": MADE_WITH}
    return torch_inception(build(), block, "bn", image, **options)


GRAPH_INPUT = {"scale": 255.0, "mean": (128.0,) * 3, "std": (128.0,) * 3}


def graph_inception(image):
    """TensorFlow's graph of 2015 under torchvision's names."""
    network = with_graph_pools(build(1008, aux_logits=False))
    block = torchvision.models.inception.BasicConv2d
    made_with = f"{MADE_WITH}, with TensorFlow's pools"
    options = {"made_with": made_with, **GRAPH_INPUT}
    return torch_inception(network, block, "bn", image, **options)


def folded_inception(image):
    """The graph up to mixed_8, its batch norms folded."""
    parts = torchvision.models.inception
    blocks = [
        Folded,
        *(getattr(parts, f"Inception{kind}") for kind in "ABCDE"),
        parts.InceptionAux,
    ]
    blocks[1:6] = [partial(part, conv_block=Folded) for part in blocks[1:6]]
    network = build(aux_logits=False, inception_blocks=blocks)
    with_graph_pools(network)
    for name in ("Mixed_7b", "Mixed_7c", "fc"):
        setattr(network, name, nn.Identity())
    ours = {theirs: name for name, theirs in torch_names(network, Folded)[0].items()}

    def rename(tensor):
        layer, _, kind = tensor.rpartition(".conv.")
        kind = {"weight": "weights", "bias": "bias"}[kind]
        return f"{kind}_{ours[layer].replace('/', '_')}"

    return torch_inception(
        network,
        Folded,
        "conv",
        image,
        rename=rename,
        gradient_of=("mixed_8",),
        made_with=f"{MADE_WITH}, with TensorFlow's pools",
        **GRAPH_INPUT,
    )


def keras_inception(image):
    """Keras numbers its layers; the published file from 1 on, Keras 3 from none."""
    from benchmarks.references.keras_nets import TF_INPUT, application

    def numbered(kind, i):
        return f"{kind}_{i}" if i else kind

    taps = {"pool_3": ("avg_pool", "output")}
    for i, name in enumerate(chain(*convolutions())):
        taps[f"{name}/pre"] = (numbered("batch_normalization", i), "output")
        taps[name] = (numbered("activation", i), "output")
    for i, name in enumerate(("pool", "pool_1", "mixed_3/pool", "mixed_8/pool")):
        taps[name] = (numbered("max_pooling2d", i), "output")
    means = [n for n, kind in zip(MIXED, KINDS, strict=True) if kind in "ACE"]
    for i, name in enumerate(means):
        taps[f"{name}/tower_2/pool"] = (numbered("average_pooling2d", i), "output")
    for i, name in enumerate(MIXED):
        taps[name] = (f"mixed{i}", "output")

    def rename(weight):
        layer, _, number = weight.partition("/")
        for kind in ("conv2d", "batch_normalization"):
            if layer.startswith(kind):
                i = int(layer.removeprefix(kind)[1:] or 0)
                return f"{kind}_{i + 1}/{number}"
        return weight

    return application("InceptionV3", taps, image, rename=rename, gain=0.8, **TF_INPUT)


SIZE = (83, 99)
REFERENCES = {
    "inception_v3.torchvision": Reference(SIZE, torchvision_inception),
    "inception_v3.keras": Reference(SIZE, keras_inception),
    "inception_v3.tf2015": Reference(SIZE, graph_inception),
    "inception_v3.tf2015-mixed8": Reference(SIZE, folded_inception),
}
