"""The image gradient of one channel of a tap, by dreamjax and by PyTorch.

The score is the mean of the channel over the map, summed over the images.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch

from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model

CHANNEL = 11


def our_gradient(model: Model, tap: str) -> Callable:
    """Returns the compiled (variables, images [N, H, W, 3]) -> gradient."""

    def score(images, variables):
        activation = model.taps(variables, images, PLAIN)[tap][..., CHANNEL]
        return jnp.sum(activation) * (images.shape[0] / activation.size)

    return jax.jit(lambda variables, images: jax.grad(score)(images, variables))


def their_gradient(forward: Callable) -> Callable:
    """Returns images [N, 3, H, W] -> gradient, for a network that ends at the tap."""

    def gradient(images: torch.Tensor) -> torch.Tensor:
        leaf = images.detach().requires_grad_()
        activation = forward(leaf)[:, CHANNEL]
        score = activation.sum() * (images.shape[0] / activation.numel())
        return torch.autograd.grad(score, leaf)[0]

    return gradient


def smooth_noise(seed: int, side: int) -> np.ndarray:
    """Returns a picture [1, side, side, 3] float32 in [0, 1] with a 1/f spectrum."""
    random = np.random.RandomState(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    spectrum = np.fft.rfft2(random.standard_normal((3, side, side)))
    smooth = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / side), s=(side, side))
    picture = 1 / (1 + np.exp(-smooth / smooth.std()))
    return picture.transpose(1, 2, 0)[None].astype(np.float32)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the relative L2 error; infinite where nothing is expected.

    A value that is not finite gives one that no limit admits.
    """
    size = np.linalg.norm(expected)
    return float(np.linalg.norm(found - expected) / size) if size > 0 else np.inf
