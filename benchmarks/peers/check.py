"""Whether both sides compute the same, without which no ratio is printed.

    check(peer) -> {"torch": Error(median=2e-6, worst=2e-6), "lucent": …}

A unit that lies within rounding of a nonlinearity's kink may be on one side of it for
us and on the other for them, and then all that passes through it differs: 1e-4 to 5e-3
instead of 1e-6, in six of eight pictures of ResNet-50 at 224 px, one of eight of VGG16.
PyTorch in two memory formats differs from itself by as much. So the median picture
decides whether it is the same function, and the worst must be near.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.peers.gradients import (
    CHANNEL,
    distance,
    our_gradient,
    smooth_noise,
    their_gradient,
)
from benchmarks.peers.lucent import lucent_gradient
from benchmarks.peers.networks import Peer

LIMIT = 1e-3  # relative L2, of the median picture
WORST = 0.1  # of each
SEEDS = (0, 1, 2, 3, 4)  # of the pictures


class Error(NamedTuple):
    """Relative L2 errors of the gradients at several pictures."""

    median: float
    worst: float


def check(peer: Peer) -> dict[str, Error]:
    """Returns how far PyTorch's gradients are from ours, at pictures of smooth noise.

    "torch" is the cut network, "lucent" the whole one through Lucent's hooks and
    objective. One picture at a time.

    Raises:
      ValueError: an error is above its limit.
    """
    ours = our_gradient(peer.model, peer.tap)
    theirs = {
        "torch": their_gradient(peer.cut),
        "lucent": lucent_gradient(peer.whole, peer.layer, CHANNEL),
    }
    found: dict[str, list[float]] = {name: [] for name in theirs}
    for seed in SEEDS:
        picture = smooth_noise(seed, peer.side)
        expected = np.asarray(ours(peer.model.variables, picture))
        for name, gradient in theirs.items():
            found[name].append(_apart(gradient, picture, expected))
    return {name: judged(peer.name, name, apart) for name, apart in found.items()}


def judged(network: str, side: str, apart: Sequence[float]) -> Error:
    """Returns the median and the worst of the errors of several pictures.

    Raises:
      ValueError: one is above its limit.
    """
    error = Error(statistics.median(apart), max(apart))
    if not (error.median <= LIMIT and error.worst <= WORST):
        raise ValueError(
            f"{network}: the gradients of {side} differ by {error.median:.1e}, at worst"
            f" {error.worst:.1e} (relative L2); at most {LIMIT:.0e} and {WORST:.0e} are"
            " allowed. It is not timed."
        )
    return error


def _apart(gradient: Callable, picture: np.ndarray, ours: np.ndarray) -> float:
    images = torch.from_numpy(picture.transpose(0, 3, 1, 2).copy())
    return distance(ours, gradient(images).numpy().transpose(0, 2, 3, 1))
