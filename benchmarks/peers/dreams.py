"""R dreams step by step: by tuned PyTorch, and by dreamjax's compiled step.

Both start from the same Fourier parameters. A step draws the transforms of each image,
passes the network, and updates the parameters by Adam 0.05.
"""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.crowd import Crowd
from dreamjax.build import build
from dreamjax.config import base_config
from dreamjax.models.model import Model
from dreamjax.params.color import COLOR


class TorchDream:
    """R dreams in PyTorch, vectorized over the runs as `dreamjax.sweep` does.

    Args:
      forward: images [R, 3, H', W'] -> tap; nothing behind it is computed.
      params: [R, H, W//2 + 1, 3, 2], as dreamjax's Fourier parameters.
      units: [R], the channel that each run maximizes.
    """

    def __init__(self, forward: Callable, params: np.ndarray, units: np.ndarray):
        self.forward = forward
        moved = np.ascontiguousarray(params.transpose(0, 3, 1, 2, 4))  # [R, 3, H, w, 2]
        self.params = torch.from_numpy(moved).requires_grad_()
        self.units = torch.from_numpy(units.astype(np.int64))
        self.side = side = params.shape[1]
        frequency = torch.hypot(
            torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None, :]
        )
        self.scale = side / frequency.clamp(min=1 / side) / 4
        self.color = torch.tensor(COLOR, dtype=torch.float32)
        self.adam = torch.optim.Adam([self.params], lr=0.05, fused=True)
        self.random = torch.Generator().manual_seed(0)

    def images(self) -> torch.Tensor:
        """Returns [R, 3, H, W] in [0, 1]."""
        spectrum = torch.view_as_complex(self.params) * self.scale
        raw = torch.fft.irfft2(spectrum, s=(self.side, self.side))
        return torch.sigmoid(torch.einsum("kc,rchw->rkhw", self.color, raw))

    def views(self, images: torch.Tensor) -> torch.Tensor:
        """Returns [R, 3, H + 12, W + 12]: pad 12, jitter 8, scale, rotate, jitter 4.

        From a view's pixel back to the image's, both counted from the center:
        `s = A (u + j4 - 2) + j8 - 4` with A the rotation over the scale; outside is
        gray.
        """
        runs, (before, after) = len(images), (self.side, self.side + 12)

        def whole(high: int, count: int = 1) -> torch.Tensor:
            return torch.randint(high, (runs, count), generator=self.random).float()

        jitter8, jitter4 = whole(9, 2), whole(5, 2)
        zoom = 0.9 + 0.02 * whole(11)[:, 0]
        angle = whole(26)[:, 0]
        angle = torch.deg2rad(torch.where(angle < 21, angle - 10, 0.0))
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        turn = torch.stack([cos, -sin, sin, cos], dim=1).view(runs, 2, 2)
        shift = (turn @ (jitter4 - 2)[:, :, None])[:, :, 0] + jitter8 - 4
        # affine_grid counts in halves of the image's side.
        theta = torch.cat([turn * (after / before), shift[:, :, None] * 2 / before], 2)
        grid = torch.nn.functional.affine_grid(
            theta, [runs, 3, after, after], align_corners=False
        )
        view = torch.nn.functional.grid_sample(
            images - 0.5, grid, align_corners=False, padding_mode="zeros"
        )
        return (view + 0.5).contiguous(memory_format=torch.channels_last)

    def step(self) -> torch.Tensor:
        """Does one update; returns the scores [R] before it."""
        tap = self.forward(self.views(self.images()))
        mean = tap.mean(dim=(2, 3)) if tap.ndim == 4 else tap
        score = mean.gather(1, self.units[:, None])[:, 0]  # [R]
        (self.params.grad,) = torch.autograd.grad(-score.sum(), self.params)
        self.adam.step()
        return score.detach()


def jax_dream(
    model: Model, tap: str, size: int, units: np.ndarray, devices: int | None = 1
) -> Crowd:
    """Returns the same R dreams by dreamjax.

    Args:
      size: side of the images, pixels.
      units: [R], the channel that each run maximizes.
      devices: as of `Crowd`.
    """
    config = base_config()
    config.objective = f"{tap}:unit"
    config.size = (size, size)
    config.hparams.unit = tuple(units.tolist())
    config.common_noise = False
    return Crowd(build(config, model), range(len(units)), devices)
