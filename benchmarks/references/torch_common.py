"""Runs a PyTorch network with seeded weights and collects what its modules saw."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from benchmarks.golden import Answer
from tests.seeded import seeded, weighting


def import_torchvision():
    """Returns torchvision, also beside a PyTorch that lacks its compiled operators.

    torchvision gives some of them a shape rule as it is imported, so they have to be
    declared first.
    """
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    return torchvision


def answer(
    network: nn.Module,
    image: np.ndarray,
    taps: Mapping[str, tuple],
    *,
    rename: Callable[[str], str] = str,
    gradient_of: Sequence[str] = ("logits",),
    scale: float = 1.0,
    mean: Sequence[float] = (0.485, 0.456, 0.406),
    std: Sequence[float] = (0.229, 0.224, 0.225),
    gain: float = 1.0,
    made_with: str,
) -> Answer:
    """Returns what a network answers to `image` [1, H, W, 3] in [0, 1].

    Args:
      network: as constructed; its weights are replaced by seeded ones.
      taps: name of our tap -> (name of a module, "input" or "output"), and a third
        entry where the tap is not that but a function of it.
      rename: name of a tensor in the network -> its name in the source's file.
      gradient_of: the taps whose weighted sum is differentiated.
      scale, mean, std: of the input.
      gain: of the kernels, see `seeded`.
    """
    state = network.state_dict()
    tensors = [
        (name, tuple(t.shape)) for name, t in state.items() if t.is_floating_point()
    ]
    counters = [(n, tuple(t.shape)) for n, t in state.items() if n not in dict(tensors)]
    for name, shape in tensors:
        state[name] = torch.from_numpy(seeded(rename(name), shape, gain=gain))
    network.load_state_dict(state)
    network.double().eval().requires_grad_(False)
    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    found: dict[str, torch.Tensor] = {}
    modules = dict(network.named_modules())
    for tap, (name, *rest) in taps.items():
        modules[name].register_forward_hook(_keeper(found, tap, *rest))
    pixels = torch.from_numpy(image).double().requires_grad_()
    x = (pixels * scale - torch.tensor(mean).double()) / torch.tensor(std).double()
    output = network(x.permute(0, 3, 1, 2))
    if "logits" in gradient_of:  # else the network ends before its classifier
        found["logits"] = output
        found["probabilities"] = output.softmax(-1)
    found = {name: channels_last(tap) for name, tap in found.items()}
    return answered(
        found,
        pixels,
        gradient_of,
        tensors=[(rename(name), shape) for name, shape in (*tensors, *counters)],
        order="OIHW",
        made_with=made_with,
        gain=gain,
    )


def answered(
    found: Mapping[str, torch.Tensor],
    pixels: torch.Tensor,
    gradient_of: Sequence[str],
    *,
    tensors: Sequence[tuple[str, tuple[int, ...]]],
    order: str,
    made_with: str,
    gain: float = 1.0,
) -> Answer:
    """Returns the Answer of taps that were computed from `pixels` [1, H, W, 3].

    Args:
      found: name of our tap -> [1, h, w, K] or [1, K].
      gradient_of: the taps whose weighted sum is differentiated.
      tensors, order, made_with, gain: as in `Answer`.
    """
    score = sum(
        (found[name] * torch.from_numpy(weighting(name, found[name].shape))).sum()
        for name in gradient_of
    )
    (gradient,) = torch.autograd.grad(score, pixels)
    return Answer(
        {name: tap.detach().numpy() for name, tap in found.items()},
        gradient.numpy(),
        tuple(gradient_of),
        tuple(tensors),
        order,
        made_with,
        gain,
    )


def _keeper(found: dict, tap: str, side: str, part: Callable = lambda x: x):
    def keep(module, inputs, output):
        assert tap not in found, f"{tap} is called twice"
        kept = part(inputs[0] if side == "input" else output)
        found[tap] = kept.clone()  # a network may add to it in place

    return keep


def channels_last(tap: torch.Tensor) -> torch.Tensor:
    """Returns [N, C, H, W] as [N, H, W, C], and anything else as it is."""
    return tap.permute(0, 2, 3, 1).contiguous() if tap.ndim == 4 else tap
