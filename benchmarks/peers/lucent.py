"""Lucent, PyTorch's port of Lucid, as its users call it.

    LucentDream(network, layer, channels, side).run(4)

`render_vis` does the steps: its own Fourier image and decorrelated color, its own
`standard_transforms`, the whole network under its hooks, a `channel` objective for
each image of the batch, Adam 0.05. What differs from dreamjax's step:

* one draw of the transforms for all images of a batch, where ours draws for each;
* the scaled image changes its size, from step to step; by default what is smaller than
  224 px is then enlarged to 224. `view` gives `fixed_image_size` instead, so that the
  network sees as many pixels as dreamjax's;
* the hooks of a call are never removed, so a second call on the same network would
  also serve those of the first: here they are taken off between the calls.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.references.torch_common import import_torchvision


def import_lucent() -> Any:
    """Returns Lucent's (render, objectives, param, transform)."""
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kornia 0.4.1 scripts functions, as it is old
        from lucent.optvis import objectives, param, render, transform
    return render, objectives, param, transform


render, objectives, param, transform = import_lucent()


class LucentDream:
    """R dreams by one batched call of `render_vis`; one where R is 1.

    Args:
      network: takes images in [0, 1]; frozen.
      layer: as `hook_model` calls it.
      channels: [R], what each image maximizes.
      side: of the images, pixels.
      view: side of what the network sees, pixels; None is Lucent's own way.
    """

    def __init__(
        self,
        network: nn.Module,
        layer: str,
        channels: Sequence[int],
        side: int,
        view: int | None,
    ):
        self.network, self.side, self.view = network, side, view
        self.runs = len(channels)
        self.objective = objectives.Objective.sum(
            [
                objectives.channel(layer, int(channel), batch=i)
                for i, channel in enumerate(channels)
            ]
        )

    def run(self, steps: int) -> np.ndarray:
        """Makes dreams of so many steps from new noise; returns [R, H, W, 3]."""
        images = render.render_vis(
            self.network,
            self.objective,
            lambda: param.image(self.side, batch=self.runs),
            transforms=transform.standard_transforms,
            thresholds=(steps,),
            preprocess=False,
            progress=False,
            show_image=False,
            fixed_image_size=self.view,
        )
        remove_hooks(self.network)
        return images[-1]


def lucent_gradient(network: nn.Module, layer: str, channel: int) -> Callable:
    """Returns images [N, 3, H, W] -> gradient of what `render_vis` descends, negated.

    Lucent's objective is the mean over the images; N times that is our sum.
    """
    objective = objectives.channel(layer, channel)

    def gradient(images: torch.Tensor) -> torch.Tensor:
        leaf = images.detach().requires_grad_()
        hook = render.hook_model(network, lambda: leaf)
        network(leaf)
        loss = objective(hook)
        remove_hooks(network)
        return torch.autograd.grad(-len(images) * loss, leaf)[0]

    return gradient


def remove_hooks(network: nn.Module) -> None:
    """Takes off every forward hook, and with it the activations that it holds."""
    for module in network.modules():
        module._forward_hooks.clear()
