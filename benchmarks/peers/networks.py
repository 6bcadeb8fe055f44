"""The networks of workloads W1 to W3, on both sides, with the same weights.

    load_peer("googlenet") -> Peer

A peer has the network three times: dreamjax's, PyTorch's as whoever wants speed would
cut and fold it, and PyTorch's whole and plain, as Lucent's users have it. Weights are
the published ones where their file is found (`dreamjax.models.source`); else seeded
ones, drawn as `tests/seeded.py` does for both sides, and the peer says so. Speed does
not depend on them: no unit's value decides what is computed.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks import torch_lite0
from benchmarks.parity import lite0_file
from benchmarks.peers.googlenet import BandNorm, googlenet, plain_norm
from benchmarks.references.torch_common import import_torchvision
from dreamjax.errors import choose
from dreamjax.models import Model, load
from dreamjax.models.formats import FORMATS
from dreamjax.models.model import Record
from dreamjax.models.port import Port, build, convert, load_port, parameter_shapes
from dreamjax.models.source import find
from dreamjax.models.zoo import find_port
from tests.seeded import seeded

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Images [N, 3, H, W] in [0, 1] -> a tap's activation [N, K, h, w]."""

PUBLISHED, SEEDED = "published", "seeded"


class Peer(NamedTuple):
    """One network at one tap, for dreamjax and for PyTorch.

    Attributes:
      name: key of `PEERS`.
      model: dreamjax's.
      tap: the activation whose channels are maximized, of `model`.
      side: of the image, pixels.
      cut: the tuned network: eval, frozen, batch norms folded, channels last, ReLUs in
        place, nothing behind the tap.
      whole: the plain network, frozen, with its preprocessing: images in [0, 1] ->
        logits.
      layer: the tap's name as Lucent's `hook_model` has it.
      weights: "published" or "seeded".
    """

    name: str
    model: Model
    tap: str
    side: int
    cut: Forward
    whole: nn.Module
    layer: str
    weights: str


class Preprocess(nn.Module):
    """Images [N, 3, H, W] in [0, 1] -> what the record's network sees, but RGB."""

    def __init__(self, record: Record):
        super().__init__()
        mean, std = np.asarray(record.mean), np.asarray(record.std)
        if record.channel_order == "BGR":
            mean, std = mean[::-1], std[::-1]
        for name, values in (("gain", record.scale / std), ("shift", -mean / std)):
            value = torch.tensor(values.copy(), dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, value)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.shift, images, self.gain)


def frozen(network: nn.Module) -> nn.Module:
    """Returns the network itself, for inference and without gradients of weights."""
    return network.eval().requires_grad_(False)


def whole(record: Record, network: nn.Module) -> nn.Module:
    """Returns the network behind its preprocessing; Lucent calls it `network_…`."""
    parts = OrderedDict(preprocess=Preprocess(record), network=network)
    return frozen(nn.Sequential(parts))


def tuned(record: Record, *parts: nn.Module) -> nn.Module:
    """Returns the parts behind the preprocessing, folded, weights channels last.

    Batch norms have to follow their convolutions, in the order of a module's children.
    """
    network = nn.Sequential(Preprocess(record), *copy.deepcopy(parts))
    fold(frozen(network))
    return frozen(network).to(memory_format=torch.channels_last)


def fold(network: nn.Module) -> None:
    """Folds every batch norm into the convolution that is the child before it."""
    before: tuple[str, nn.Module] | None = None
    for name, child in list(network.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None:
            setattr(network, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(network, name, nn.Identity())
        fold(child)
        before = (name, child) if isinstance(child, nn.Conv2d) else None


def lite0() -> Peer:
    """EfficientNet-Lite0; its weights are a package."""
    file = lite0_file()
    network = torch_lite0.load(file, tuned=True)
    return Peer(
        name="lite0",
        model=load("efficientnet_lite0"),
        tap="b8",
        side=128,
        cut=network.cut_at("b8", torch_lite0.relu6_in_place),
        whole=torch_lite0.load(file),
        layer="_blocks_8",
        weights=PUBLISHED,
    )


def bvlc() -> Peer:
    """BVLC's GoogLeNet."""
    port = find_port("googlenet.bvlc-noaux")
    published = find(port.source) is not None
    model = load_port(port) if published else build(port, seeded_variables(port))
    params = model.variables["params"]
    network, fast = googlenet(params, plain_norm), googlenet(params, BandNorm)
    name = "inception_4c"
    end = list(dict(network.named_children())).index(name) + 1
    return Peer(
        name="googlenet",
        model=model,
        tap=f"{name}/output",
        side=224,
        cut=tuned(model.record, *fast[:end]),
        whole=whole(model.record, network),
        layer=f"network_{name}",
        weights=PUBLISHED if published else SEEDED,
    )


def vgg16() -> Peer:
    """torchvision's VGG16."""
    model, network, weights = torchvision_pair("vgg16.torchvision", gain=1.0)
    return Peer(
        name="vgg16",
        model=model,
        tap="conv4_3",
        side=224,
        cut=tuned(model.record, *network.features[:23]),
        whole=whole(model.record, network),
        layer="network_features_22",
        weights=weights,
    )


def resnet50() -> Peer:
    """torchvision's ResNet-50."""
    model, network, weights = torchvision_pair("resnet50.torchvision", gain=0.7)
    stem = (network.conv1, network.bn1, network.relu, network.maxpool)
    return Peer(
        name="resnet50",
        model=model,
        tap="layer3",
        side=224,
        cut=tuned(model.record, *stem, network.layer1, network.layer2, network.layer3),
        whole=whole(model.record, network),
        layer="network_layer3",
        weights=weights,
    )


def torchvision_pair(name: str, *, gain: float) -> tuple[Model, nn.Module, str]:
    """Returns dreamjax's network, torchvision's and what weights both have.

    Args:
      name: of the weight set, "architecture.torchvision".
      gain: of seeded kernels; below 1 residual blocks do not add up without end.
    """
    port = find_port(name)
    make = getattr(import_torchvision().models, name.partition(".")[0])
    with torch.device("meta"):  # its own random weights would take seconds
        network = make(weights=None)
    if find(port.source) is not None:
        model = load_port(port)
        tensors = FORMATS[port.format](find(port.source).path)
        weights = PUBLISHED
    else:
        tensors = seeded_tensors(network, gain)
        model, weights = build(port, convert(port, tensors)), SEEDED
    state = {key: torch.tensor(value) for key, value in tensors.items()}
    network.load_state_dict(state, strict=True, assign=True)
    return model, network, weights


def seeded_tensors(network: nn.Module, gain: float) -> dict[str, np.ndarray]:
    """Returns seeded weights for every tensor of a torchvision network."""
    return {
        key: seeded(key, tuple(tensor.shape), gain=gain)
        if tensor.is_floating_point()
        else np.zeros(tuple(tensor.shape), np.int64)
        for key, tensor in network.state_dict().items()
    }


def seeded_variables(port: Port) -> dict[str, Any]:
    """Returns seeded weights for a port without batch norms, in our own layout."""
    return {
        "params": {
            layer: {
                leaf: seeded(f"{layer}/{leaf}", shape.shape, order="HWIO")
                for leaf, shape in leaves.items()
            }
            for layer, leaves in parameter_shapes(port).items()
        }
    }


def load_peer(name: str) -> Peer:
    """Returns the network of a workload on both sides.

    Raises:
      ValueError: an unknown name, with the known ones.
    """
    return PEERS[choose("peer", name, PEERS)]()


PEERS: dict[str, Callable[[], Peer]] = {
    "lite0": lite0,
    "googlenet": bvlc,
    "vgg16": vgg16,
    "resnet50": resnet50,
}
