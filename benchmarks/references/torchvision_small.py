"""torchvision's SqueezeNet and MobileNetV2, also under MXNet's names."""

from collections import OrderedDict
from functools import partial

from torch import nn

from benchmarks.golden import Answer, Reference
from benchmarks.references.torch_common import answer, import_torchvision

torchvision = import_torchvision()
MADE_WITH = f"torchvision {torchvision.__version__}"


def squeezenet(version, image, **options) -> Answer:
    """SqueezeNet; fires sit at these places of `features`."""
    network = getattr(torchvision.models, f"squeezenet{version}")(weights=None)
    places = {
        "1_0": (
            {2: 3, 3: 4, 4: 5, 5: 7, 6: 8, 7: 9, 8: 10, 9: 12},
            {1: 2, 4: 6, 8: 11},
        ),
        "1_1": (
            {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12},
            {1: 2, 3: 5, 5: 8},
        ),
    }
    fires, pools = places[version]
    taps = {
        "conv1/pre": ("features.0", "output"),
        "conv1": ("features.1", "output"),
        "conv10/pre": ("classifier.1", "output"),
        "conv10": ("classifier.2", "output"),
    }
    for n, at in fires.items():
        for part in ("squeeze", "expand1x1", "expand3x3"):
            name = "squeeze1x1" if part == "squeeze" else part
            taps[f"fire{n}/{name}/pre"] = (f"features.{at}.{part}", "output")
            taps[f"fire{n}/{name}"] = (f"features.{at}.{part}_activation", "output")
        taps[f"fire{n}/concat"] = (f"features.{at}", "output")
    for n, at in pools.items():
        taps[f"pool{n}"] = (f"features.{at}", "output")
    return answer(network, image, taps, made_with=MADE_WITH, **options)


def squeezenet_mxnet(image) -> Answer:
    """MXNet's SqueezeNet 1.1 is the same network, its convolutions numbered."""
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    names = {}
    for i, weight in enumerate(name for name in state if name.endswith("weight")):
        names[weight] = f"squeezenet0_conv{i}_weight"
        names[weight.replace("weight", "bias")] = f"squeezenet0_conv{i}_bias"
    return squeezenet("1_1", image, rename=names.__getitem__)


def mobilenet_taps(first=False, classifier=True):
    """Blocks are `features.1` … `features.17`; the first may have an expansion."""
    taps = {
        "features.0/pre": ("features.0.1", "output"),
        "features.0": ("features.0.2", "output"),
        "features.18/pre": ("features.18.1", "output"),
        "features.18": ("features.18.2", "output"),
    }
    for n in range(1, 18):
        block = f"features.{n}"
        parts = ("expand", "depthwise") if n > 1 or first else ("depthwise",)
        for i, part in enumerate(parts):
            taps[f"{block}.{part}/pre"] = (f"{block}.conv.{i}.1", "output")
            taps[f"{block}.{part}"] = (f"{block}.conv.{i}.2", "output")
        taps[f"{block}.project"] = (f"{block}.conv.{len(parts) + 1}", "output")
        taps[block] = (block, "output")
    if classifier:
        taps["avgpool"] = ("classifier.0", "input")
    return taps


def mobilenet(image) -> Answer:
    """MobileNetV2."""
    network = torchvision.models.mobilenet_v2(weights=None)
    return answer(network, image, mobilenet_taps(), made_with=MADE_WITH)


def mobilenet_mxnet(image) -> Answer:
    """MXNet's MobileNetV2 of the ONNX model zoo, built from torchvision's blocks.

    Without its classifier. It was made by MXNet 1.1, whose first block has an expansion
    and whose nonlinearity is ReLU; the seventh block has stride 1 and the eleventh 2.
    """
    network = torchvision.models.MobileNetV2(
        inverted_residual_setting=[
            [1, 16, 1, 1],
            [6, 24, 2, 2],
            [6, 32, 3, 2],
            [6, 64, 4, 1],
            [6, 96, 3, 2],
            [6, 160, 3, 2],
            [6, 320, 1, 1],
        ]
    )
    first = network.features[1].conv
    first.insert(0, torchvision.ops.Conv2dNormActivation(32, 32, kernel_size=1))
    network = nn.Sequential(OrderedDict(features=network.features))
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(module, name, nn.ReLU())

    def rename(name: str) -> str:
        """features.N.conv.I.0.weight -> …_linearbottleneck<N - 1>_conv<I>_weight."""
        _, n, *rest, tensor = name.split(".")
        norm = {"weight": "gamma", "bias": "beta"}.get(tensor, tensor)
        if rest[0] != "conv":
            at, i, convolution = "", ("0", "18").index(n), rest == ["0"]
        else:
            at = f"linearbottleneck{int(n) - 1}_"
            i = min(int(rest[1]), 2)
            convolution = rest[1:] in (["0", "0"], ["1", "0"], ["2"])
        last = f"conv{i}_{tensor}" if convolution else f"batchnorm{i}_{norm}"
        return f"mobilenetv20_features_{at}{last}"

    found = answer(
        network,
        image,
        mobilenet_taps(first=True, classifier=False),
        rename=rename,
        gradient_of=("features.18",),
        made_with=MADE_WITH,
    )
    tensors = [(n, shape) for n, shape in found.tensors if "num_batches" not in n]
    return found._replace(tensors=tuple(tensors))


REFERENCES = {
    "mobilenet_v2.torchvision": Reference((67, 83), mobilenet),
    "mobilenet_v2.mxnet-features": Reference((67, 83), mobilenet_mxnet),
    "squeezenet1_0.torchvision": Reference((75, 94), partial(squeezenet, "1_0")),
    "squeezenet1_1.torchvision": Reference((75, 94), partial(squeezenet, "1_1")),
    "squeezenet1_1.mxnet": Reference((75, 94), squeezenet_mxnet),
}
