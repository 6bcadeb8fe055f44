"""Whether both sides compute the same, without which no ratio is printed.

    check(peer) -> {"float64": Error(median=3e-14, …), "torch": …, "lucent": …}

Whether it is the same function is asked in float64, of the plain network. In float32,
where the timed functions are compared, a unit that lies within rounding of a
nonlinearity's kink may be on one side of it for us and on the other for them, and then
all that passes through it differs: 1e-4 to 5e-3 instead of 1e-6, in six of eight
pictures of ResNet-50 at 224 px, one of eight of VGG16. PyTorch in two memory formats
differs from itself by as much, so there each picture must be near.
"""

import copy
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
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

LIMIT = 1e-3  # relative L2 in float64, of every picture
NEAR = 0.1  # the same in float32
SEEDS = (0, 1, 2, 3, 4)  # of the pictures
LEAST = 2  # pictures that the channel has a gradient at
DOUBLE = "float64"


class Error(NamedTuple):
    """Relative L2 errors of the gradients at several pictures."""

    median: float
    worst: float


def check(peer: Peer) -> dict[str, Error]:
    """Returns how far PyTorch's gradients are from ours, at pictures of smooth noise.

    "float64" is the whole network in double precision, "torch" the cut one as it is
    timed, "lucent" the whole one through Lucent's hooks and objective. One picture at
    a time; where the channel is dead on both sides it tells nothing and is left out.

    Raises:
      ValueError: an error is above its limit, or the channel is dead nearly everywhere.
    """
    ours = our_gradient(peer.model, peer.tap)
    exact = copy.deepcopy(peer.whole).double()
    theirs = {
        "torch": their_gradient(peer.cut),
        "lucent": lucent_gradient(peer.whole, peer.layer, CHANNEL),
    }
    found: dict[str, list[float]] = {DOUBLE: [], **{name: [] for name in theirs}}
    for seed in SEEDS:
        picture = smooth_noise(seed, peer.side)
        expected = np.asarray(ours(peer.model.variables, picture))
        for name, gradient in theirs.items():
            found[name].append(_apart(gradient, picture, expected))
    for seed in SEEDS[:3]:  # slow, and exact
        picture = smooth_noise(seed, peer.side).astype(np.float64)
        gradient = lucent_gradient(exact, peer.layer, CHANNEL)
        found[DOUBLE].append(_apart(gradient, picture, _in_double(peer, picture)))
    return {name: judged(peer.name, name, apart) for name, apart in found.items()}


def _in_double(peer: Peer, picture: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        variables = jax.tree.map(
            lambda v: jnp.asarray(np.asarray(v), jnp.float64), peer.model.variables
        )
        gradient = our_gradient(peer.model, peer.tap)
        return np.asarray(gradient(variables, jnp.asarray(picture)))


def judged(network: str, side: str, apart: Sequence[float]) -> Error:
    """Returns the median and the worst of the errors of several pictures.

    Args:
      apart: NaN where a picture tells nothing.

    Raises:
      ValueError: one is above its limit, or too few tell something.
    """
    apart = [error for error in apart if error == error]
    if len(apart) < LEAST:
        raise ValueError(
            f"{network}: channel {CHANNEL} has a gradient at {len(apart)} of the"
            f" pictures; {LEAST} are needed to compare {side}. It is not timed."
        )
    error, most = Error(statistics.median(apart), max(apart)), NEAR
    if side == DOUBLE:
        most = LIMIT
    if not error.worst <= most:
        raise ValueError(
            f"{network}: the gradients of {side} differ by {error.median:.1e}, at worst"
            f" {error.worst:.1e} (relative L2); at most {most:.0e} is allowed. It is"
            " not timed."
        )
    return error


def _apart(gradient: Callable, picture: np.ndarray, ours: np.ndarray) -> float:
    images = torch.from_numpy(picture.transpose(0, 3, 1, 2).copy())
    theirs = gradient(images).numpy().transpose(0, 2, 3, 1)
    if not theirs.any() and not ours.any():
        return np.nan
    return distance(ours, theirs)
