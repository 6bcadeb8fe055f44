"""Times dreamjax against tuned PyTorch: image gradients, and whole dream steps.

    pip install -r requirements-bench.txt
    python -m benchmarks.speed [--tap b8 --size 128 --batches 1,8,24 --rounds 15]
        [--compile] [--keep-memory] [--only torch] [--out results/speed.json]

Two tables, in milliseconds per image on an otherwise quiet machine:

* the gradient of the mean of a channel with respect to the images. PyTorch has frozen
  weights, batch norms folded, channels-last memory, ReLU6 in place, the network cut at
  the tap and `torch.autograd.grad` of the images only; with --compile also
  `torch.compile`, which needs a C++ compiler.
* the dream step of R runs: Fourier parameters, decorrelated color, sigmoid, Lucid's
  transforms drawn for each image, the network, the gradient, Adam. PyTorch does the
  four transforms as one `grid_sample`; dreamjax's are two resamplings, and its step
  also reports and guards each run (gradient norms, non-finite runs).

The sides take turns, round by round, in one process, so that both see the same
machine; the last column is the median over rounds of theirs / ours: above 1, dreamjax
is faster. Gradients, and the images that the parameters stand for, are compared first,
and where they differ there is no table. About three minutes on two cores for batches
1, 8 and 24, most of it compiling; look at the load that is printed first.

Both libraries take their temporary memory from malloc, and glibc hands blocks as large
as these back to the system after every call: at batch 8 a gradient costs dreamjax
18,000 page faults, up to half its time. --keep-memory tells glibc to keep them, for
both sides. Two thread pools in one process can cost either side its cores: see
benchmarks/__init__.py, and --only times one side with nothing between its rounds.
"""

import argparse
import functools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import torch_lite0
from benchmarks.parity import gates, lite0_file, relative_error, table, to_torch
from dreamjax.build import build
from dreamjax.config import base_config
from dreamjax.environment import environment
from dreamjax.files import write_text
from dreamjax.memory import keep_memory
from dreamjax.models import load
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, check_taps, tap_shapes
from dreamjax.params.color import COLOR
from dreamjax.sweep import run_keys

CHANNEL = 11
LIMIT = 1e-3  # relative error of gradients and images; beyond it nothing is timed
PLAIN_LIMIT = 0.1  # L2, of the very functions timed: see benchmarks/parity.py on gates
WARM_UP = 3
REST = 0.005  # seconds between sides: the other library's threads go to sleep

Side = Callable[[], object]
"""Does the work once and returns when it is done."""


# Image gradients.


def our_gradient(model: Model, tap: str) -> Callable:
    """Returns the compiled (variables, images [N, H, W, 3]) -> gradient."""

    def score(images, variables):
        activation = model.taps(variables, images, PLAIN)[tap][..., CHANNEL]
        return jnp.sum(activation) * (images.shape[0] / activation.size)

    return jax.jit(lambda variables, images: jax.grad(score)(images, variables))


def their_gradient(forward: Callable) -> Callable:
    """Returns images [N, 3, H, W] -> gradient, for what `cut_at` gave."""

    def gradient(images: torch.Tensor) -> torch.Tensor:
        leaf = images.detach().requires_grad_()
        activation = forward(leaf)[:, CHANNEL]
        score = activation.sum() * (images.shape[0] / activation.numel())
        return torch.autograd.grad(score, leaf)[0]

    return gradient


def gradient_sides(
    model: Model, network, tap: str, size: int, batch: int, compiled: Callable | None
) -> dict[str, Side]:
    """Returns the sides to time, after checking that their gradients agree.

    Raises:
      ValueError: they do not.
    """
    images = np.random.default_rng(batch).random((batch, size, size, 3), np.float32)
    ours = our_gradient(model, tap)
    given = jnp.asarray(images)
    leaf = to_torch(images).contiguous(memory_format=torch.channels_last)
    sides = {
        "dreamjax": lambda: ours(model.variables, given).block_until_ready(),
        "torch": functools.partial(
            their_gradient(network.cut_at(tap, torch_lite0.relu6_in_place)), leaf
        ),
    }
    if compiled is not None:
        sides["torch.compile"] = functools.partial(their_gradient(compiled), leaf)

    def nhwc(gradient: torch.Tensor) -> np.ndarray:
        return gradient.numpy().transpose(0, 2, 3, 1)

    found = np.asarray(sides["dreamjax"]())
    pre = jax.jit(lambda v, x: dict(model.taps(v, x, PLAIN)))(model.variables, given)
    opened = {name: to_torch(gate) for name, gate in gates(_numpy(pre)).items()}
    same_gates = network.cut_at(tap, torch_lite0.gated_relu6(opened))
    error = relative_error(found, nhwc(their_gradient(same_gates)(leaf)))
    print(f"batch {batch}: gradients agree to {error:.1e} (gates given)", end="")
    worst = 0.0
    for name in list(sides)[1:]:
        expected = nhwc(sides[name]())
        distance = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        worst = max(worst, float(distance))
        print(f", {name} itself {distance:.1e} (L2)", end="")
    print(flush=True)
    if not (error <= LIMIT and worst <= PLAIN_LIMIT):
        raise ValueError(f"tap={tap!r}: gradients differ by {error:.1e}, {worst:.1e}.")
    return sides


def _numpy(taps) -> dict[str, np.ndarray]:
    return {name: np.asarray(tap) for name, tap in taps.items()}


# Dream steps.


class TorchDream:
    """R dreams in PyTorch, vectorized over the runs as `dreamjax.sweep` does.

    Args:
      forward: images [R, 3, H', W'] -> tap, from `cut_at`.
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


class JaxDream:
    """The same R dreams by dreamjax: one compiled step, called again and again."""

    def __init__(self, model: Model, tap: str, size: int, units: np.ndarray):
        config = base_config()
        config.objective = f"{tap}:unit"
        config.size = (size, size)
        config.hparams.unit = tuple(units.tolist())
        config.common_noise = False
        experiment = build(config, model)
        self.hp = {name: jnp.asarray(v) for name, v in experiment.values.items()}
        self.variables = model.variables
        keys = run_keys(self.hp["seed"], jnp.arange(len(units)), common=False)
        self.state = jax.jit(jax.vmap(experiment.step.init))(keys, self.hp)
        self.images = jax.jit(jax.vmap(experiment.images))
        update = jax.vmap(experiment.step.update, in_axes=(0, 0, None))
        self.update = jax.jit(update, donate_argnums=0)

    def step(self) -> jax.Array:
        """Does one update; returns the scores [R] before it."""
        self.state, info = self.update(self.state, self.hp, self.variables)
        jax.block_until_ready(self.state.params)
        return info.score[:, 0]


def dream_sides(
    model: Model, network, tap: str, size: int, runs: int
) -> dict[str, Side]:
    """Returns the sides to time, after checking that they start from one picture.

    Raises:
      ValueError: they do not.
    """
    units = np.arange(runs) % tap_shapes(model, (size, size))[tap][-1]
    ours = JaxDream(model, tap, size, units)
    forward = network.cut_at(tap, torch_lite0.relu6_in_place)
    start = np.array(ours.state.params)[:, 0]  # [R, H, W//2 + 1, 3, 2]
    theirs = TorchDream(forward, start, units)
    found = np.asarray(ours.images(ours.state, ours.hp))[:, 0]  # [R, H, W, 3]
    expected = theirs.images().detach().numpy().transpose(0, 2, 3, 1)
    error = relative_error(found, expected)
    print(f"runs {runs}: first images agree to {error:.1e}", flush=True)
    if error > LIMIT:
        raise ValueError(f"runs={runs}: the first images differ by {error:.1e}.")
    return {"dreamjax": ours.step, "torch": theirs.step}


# Timing.


def interleave(sides: dict[str, Side], rounds: int) -> dict[str, list[float]]:
    """Returns the milliseconds of each call; the sides take turns."""
    for side in sides.values():
        for _ in range(WARM_UP):
            side()
    times = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            time.sleep(REST)
            start = time.perf_counter()
            side()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def summarize(what: str, count: int, times: dict[str, list[float]]) -> list[dict]:
    """Returns one row per side, in ms per image, with the ratios to the first."""
    ours = next(iter(times.values()))
    rows = []
    for name, theirs in times.items():
        pairs = zip(theirs, ours, strict=True)
        rows.append(
            {
                "what": what,
                "images": count,
                "side": name,
                "median_ms": statistics.median(theirs) / count,
                "min_ms": min(theirs) / count,
                "max_ms": max(theirs) / count,
                "ratio_of_medians": statistics.median(theirs) / statistics.median(ours),
                "median_ratio": statistics.median(a / b for a, b in pairs),
            }
        )
    return rows


def markdown(rows: Sequence[dict]) -> str:
    """Returns the table of `summarize`'s rows."""
    head = ["images", "", "ms per image", "min to max", "× dreamjax", "× by round"]
    lines = [
        [
            str(row["images"]),
            row["side"],
            f"{row['median_ms']:.2f}",
            f"{row['min_ms']:.2f} to {row['max_ms']:.2f}",
            f"{row['ratio_of_medians']:.2f}",
            f"{row['median_ratio']:.2f}",
        ]
        for row in rows
    ]
    return table(head, lines)


def main() -> int:
    """Prints the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tap", default="b8")
    parser.add_argument("--size", type=int, default=128, help="side, pixels")
    parser.add_argument("--batches", default="1,8,24", help="images, or runs")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compile", action="store_true", help="torch.compile as well")
    parser.add_argument("--keep-memory", action="store_true", help="see above")
    parser.add_argument("--skip-dream", action="store_true", help="gradients only")
    parser.add_argument("--only", help="time this side alone, such as torch")
    parser.add_argument("--out", help="a JSON file to write")
    options = parser.parse_args()
    batches = [int(n) for n in options.batches.split(",")]

    if options.keep_memory and not keep_memory():
        raise ValueError("--keep-memory needs glibc.")
    torch.set_num_threads(options.threads)
    model = load("efficientnet_lite0")
    network = torch_lite0.load(lite0_file(), tuned=True)
    size = (options.size, options.size)
    check_taps(model.record, [options.tap], tap_shapes(model, size), size)
    compiled = None
    if options.compile:
        compiled = torch.compile(network.cut_at(options.tap), dynamic=False)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load"
        f" {os.getloadavg()[0]:.1f}; jax {jax.__version__}, torch {torch.__version__}"
        f" with {torch.get_num_threads()} threads; tap {options.tap},"
        f" {options.size} px, {options.rounds} rounds, memory"
        f" {'kept' if options.keep_memory else 'given back'}\n"
    )
    results = []
    kinds = [("image gradient", gradient_sides, (compiled,))]
    kinds += [] if options.skip_dream else [("dream step", dream_sides, ())]
    for what, make, more in kinds:
        rows = []
        for batch in batches:
            try:
                sides = make(model, network, options.tap, options.size, batch, *more)
            except ValueError as error:
                print(f"FAILED: {error}", file=sys.stderr)
                return 1
            if options.only is not None:
                sides = {options.only: sides[options.only]}
            rows += summarize(what, batch, interleave(sides, options.rounds))
        print(f"\n{what}\n\n{markdown(rows)}\n", flush=True)
        results += rows
    if options.out is not None:
        settings = {k: v for k, v in vars(options).items() if k != "out"}
        settings |= {"torch": torch.__version__, "load_at_end": os.getloadavg()}
        waiting = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
        settings |= {name: os.environ.get(name) for name in waiting}
        record = {"settings": settings, "env": environment(), "results": results}
        write_text(options.out, json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
