"""Times a whole DeepDream against the same dream in PyTorch.

    pip install -r requirements-bench.txt
    python -m benchmarks.dream_speed [--network googlenet --longest 1224 --rounds 5]
        [--out results/runs/performance/dream.json]

GoogLeNet `inception_4c/output`, the notebook's own, or EfficientNet-Lite0 `b10`
(--network lite0); 4 octaves × 1.4 with 10 steps each, roll jitter, the gradient over
its mean absolute value, clip. A photo of 1224 × 815 px has a megapixel. PyTorch is an
octave loop as its users write it (Gordić's), tuned: weights frozen and folded, channels
last, the network cut at the layer. It sees each octave at its own size. So does
dreamjax with `programs=4`; with `programs=1`, the default, all octaves share one
compiled tile and more pixels are computed. Figures are
seconds per megapixel and step of the octaves' own pixels, after the first dream of
both; the compile of ours is printed beside, and the energy that each side's picture has
reached, by one network: jitter is drawn by each, so pictures are not the same.
"""

import argparse
import functools
import json
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import torch_lite0
from benchmarks.parity import lite0_file
from benchmarks.peers.networks import load_peer
from benchmarks.tables import dream_section
from benchmarks.timing import circumstances, interleave, summarize
from configs.dream import get_config
from dreamjax.deepdream.octaves import octave_sizes
from dreamjax.deepdream.studio import make_painter, open_studio
from dreamjax.errors import choose
from dreamjax.files import write_text
from dreamjax.inputs import load_photo
from dreamjax.labels import ASSETS
from dreamjax.memory import keep_memory
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model

RATE = 1.5 / 255
LIMIT = 0.1  # relative L2 of the gradients; ReLU6's gates alone make 1e-2


def torch_dream(forward, photo: np.ndarray, sizes, steps: int) -> np.ndarray:
    """The octave loop; photo [H, W, 3] -> dreamed [H, W, 3]."""
    random = np.random.default_rng(0)
    base = torch.from_numpy(photo).permute(2, 0, 1)[None]
    bases = [base]
    for size in reversed(sizes[:-1]):
        bases.append(_resized(bases[-1], size))
    detail = torch.zeros_like(bases[-1])
    for base in reversed(bases):
        detail = _resized(detail, base.shape[2:])
        x = (base + detail).contiguous(memory_format=torch.channels_last)
        for _ in range(steps):
            shift = tuple(random.integers(-32, 33, 2).tolist())
            leaf = x.roll(shift, (2, 3)).requires_grad_()
            (g,) = torch.autograd.grad(forward(leaf).square().mean(), leaf)
            x = leaf.detach() + RATE / g.abs().mean() * g
            x = x.roll((-shift[0], -shift[1]), (2, 3)).clamp(0, 1)
        detail = x - base
    return x[0].permute(1, 2, 0).numpy()


def _resized(image: torch.Tensor, size) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        image, tuple(size), mode="bilinear", antialias=True
    )


class Subject(NamedTuple):
    """What is dreamed with on both sides.

    Attributes:
      model: dreamjax's network.
      tap: whose mean square is climbed.
      forward: PyTorch's, images [N, 3, H, W] in [0, 1] -> that tap.
    """

    model: Model
    tap: str
    forward: Callable[[torch.Tensor], torch.Tensor]


def subject(network: str) -> Subject:
    """Returns "googlenet" or "lite0"."""
    peer = load_peer(choose("network", network, ("googlenet", "lite0")))
    if network == "googlenet":
        return Subject(peer.model, peer.tap, peer.cut)
    tuned = torch_lite0.load(lite0_file(), tuned=True)
    return Subject(peer.model, "b10", tuned.cut_at("b10", torch_lite0.relu6_in_place))


def energy_of(given: Subject) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Returns photo [H, W, 3] -> (mean square of the tap, its gradient), by ours."""

    def energy(image):
        taps = given.model.taps(given.model.variables, image[None], PLAIN)
        return jnp.mean(jnp.square(taps[given.tap]))

    return jax.jit(jax.value_and_grad(energy))


def gradients_agree(given: Subject, photo: np.ndarray) -> float:
    """Returns the relative L2 distance of the two gradients at a photo."""
    height, width = (n // 32 * 32 for n in photo.shape[:2])
    photo = photo[:height, :width]
    leaf = torch.from_numpy(photo).permute(2, 0, 1)[None].contiguous().requires_grad_()
    (theirs,) = torch.autograd.grad(given.forward(leaf).square().mean(), leaf)
    theirs = theirs[0].permute(1, 2, 0).numpy()
    ours = np.asarray(energy_of(given)(photo)[1])
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def main() -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="googlenet", help="googlenet or lite0")
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--programs", default="4,1", help="tile sizes of ours")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", help="a JSON file to write")
    options = parser.parse_args()
    keep_memory()
    torch.set_num_threads(os.cpu_count())
    given = subject(options.network)
    photo = load_photo(ASSETS / "chelsea.png", longest=options.longest, enlarge=True)
    apart = gradients_agree(given, photo)
    if apart > LIMIT:
        print(f"gradients differ by {apart:.1e} (L2); nothing is timed")
        return 1
    config = get_config()
    size = photo.shape[:2]
    sizes = octave_sizes(size, config.octaves, config.octave_scale)
    work = sum(h * w for h, w in sizes) * config.steps / 1e6  # megapixel-steps
    painters = {}
    for programs in (int(n) for n in options.programs.split(",")):
        with config.unlocked():
            config.programs, config.objective = programs, given.tap
        start = time.perf_counter()
        studio = open_studio(config, [size], given.model)
        painters[programs] = make_painter(studio, size)
        painters[programs](photo)
        took = time.perf_counter() - start
        print(f"programs={programs}: first dream, with the compile: {took:.1f} s")
    sides = {
        f"dreamjax, programs={n}": functools.partial(paint, photo)
        for n, paint in painters.items()
    } | {
        "torch": lambda: torch_dream(given.forward, photo, sizes, config.steps),
    }
    energy = energy_of(given)
    base = float(energy(photo)[0])
    gains = {
        name: float(energy(np.asarray(side()).reshape(photo.shape))[0]) / base
        for name, side in sides.items()
    }
    rows = summarize("dream", 1, interleave(sides, options.rounds, warm_up=1))
    record = {"rows": rows, "megapixel_steps": work, "energy": gains, "size": size}
    record |= {"gradient_error": apart, "network": options.network, **circumstances()}
    print(dream_section(record))
    if options.out is not None:
        write_text(options.out, json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
