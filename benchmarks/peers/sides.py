"""The sides of one workload at one R: dreamjax, the PyTorch loop, Lucent."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.parity import relative_error
from benchmarks.peers import VIEW
from benchmarks.peers.check import Error, judged
from benchmarks.peers.dreams import TorchDream, jax_dream
from benchmarks.peers.gradients import distance, smooth_noise, their_gradient
from benchmarks.peers.lucent import LucentDream
from benchmarks.peers.networks import Peer
from dreamjax.models import tap_shapes

FIRST_LIMIT = 1e-3  # relative error of the first images

Steps = Callable[[int], object]
"""Does so many steps and returns when they are done."""


def runs_that_fit(peer: Peer, runs: int, gigabytes: float) -> int:
    """Returns `runs`, halved until every side's activations fit.

    A value and what the gradient, or a hook, keeps of it are counted for every tap, and
    the classifier of the whole network with them.
    """
    shapes = tap_shapes(peer.model, (peer.side + VIEW, peer.side + VIEW))
    one = 2 * 4 * sum(math.prod(shape) for shape in shapes.values())
    while runs > 1 and runs * one > gigabytes * 1e9:
        runs //= 2
    return runs


def make_sides(
    peer: Peer,
    runs: int,
    devices: int | None,
    compiled: Callable | None,
    own_size: bool,
) -> tuple[dict[str, Steps], dict[str, Any]]:
    """Returns the sides by name, ours first, and what there is to say of them.

    Raises:
      ValueError: dreamjax and PyTorch do not start from the same pictures.
    """
    width = tap_shapes(peer.model, (peer.side, peer.side))[peer.tap][-1]
    units = np.arange(runs) % width
    ours = jax_dream(peer.model, peer.tap, peer.side, units, devices)
    start = ours.params()[:, 0]  # [R, H, W//2 + 1, 3, 2]
    loops = {"torch": TorchDream(peer.cut, start, units)}
    if compiled is not None:
        loops["torch.compile"] = TorchDream(compiled, start, units)
    expected = loops["torch"].images().detach().numpy().transpose(0, 2, 3, 1)
    apart = relative_error(ours.images(), expected)
    if not apart <= FIRST_LIMIT:
        raise ValueError(f"{peer.name}, runs={runs}: the first images differ: {apart}.")
    notes = {
        "first_images_error": apart,
        "devices": ours.devices,
        "lanes": ours.lanes,
        "peak_bytes": ours.peak,
    }
    sides = {name: repeated(d.step) for name, d in {"dreamjax": ours, **loops}.items()}
    views = {"lucent": peer.side + VIEW}
    if own_size:
        views["lucent, own size"] = None
    for name, view in views.items():
        dream = LucentDream(peer.whole, peer.layer, units, peer.side, view)
        sides[name] = dream.run
    return sides, notes


def repeated(step: Callable[[], object]) -> Steps:
    """Returns the function that does a step so many times."""

    def steps(count: int) -> None:
        for _ in range(count):
            step()

    return steps


def second_step(steps: Steps) -> float:
    """Returns the seconds of the second step; the first has more to do."""
    steps(1)
    start = time.perf_counter()
    steps(1)
    return time.perf_counter() - start


class Compiled(NamedTuple):
    """What `torch.compile` made of a cut network.

    Attributes:
      forward: None where it failed.
      error: of its gradients against those of the network as it was; None likewise.
      failure: why, in a line; "" where it did not fail.
    """

    forward: Callable | None
    error: Error | None
    failure: str


def compiled_forward(peer: Peer, runs: int) -> Compiled:
    """Compiles the cut network for R views."""
    torch._dynamo.reset()
    forward = torch.compile(peer.cut, dynamic=False)
    pictures = [smooth_noise(seed, peer.side + VIEW) for seed in range(runs)]
    views = torch.from_numpy(np.concatenate(pictures)).permute(0, 3, 1, 2)
    expected = their_gradient(peer.cut)(views).numpy()
    try:
        found = their_gradient(forward)(views).numpy()
        apart = [distance(*pair) for pair in zip(found, expected, strict=True)]
        return Compiled(forward, judged(peer.name, "torch.compile", apart), "")
    except (RuntimeError, ValueError, torch._dynamo.exc.TorchDynamoException) as error:
        return Compiled(None, None, str(error).strip().splitlines()[0])
