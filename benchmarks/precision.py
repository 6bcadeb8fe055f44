"""What bfloat16 does to gradients, scores and pictures, beside float32.

    python -m benchmarks.precision [--steps 64 --size 96 --out results/runs/precision]

First the gradients of images in both precisions: cosines, with those between float32
and float32 with noise of ±0.5 of 255 on the image as the measure of what is large.

Then the same small sweep in both: 6 channels of `b5` and of `b8` and 2 classes of
EfficientNet-Lite0, 2 seeds. All pictures are scored by the float32 network, under draws
of the transforms that no step had. What bfloat16 changes is compared with what another
seed changes. The pictures go to `--out`, one row per run: float32, bfloat16, and the
next seed in float32. About 4 minutes on 2 CPU cores.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax import sweep
from dreamjax.build import Experiment, build, load_picture
from dreamjax.config import base_config
from dreamjax.files import write_bytes
from dreamjax.footprint import footprint
from dreamjax.images import png_bytes, to_uint8
from dreamjax.memory import keep_memory
from dreamjax.models import load
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model
from dreamjax.models.precision import PRECISIONS, in_precision

SWEEPS = {
    "b5": ("b5:unit", tuple(range(6))),
    "b8": ("b8:unit", tuple(range(6))),
    "logits": ("logits:unit", ("espresso", "goldfish")),
}
DRAWS = 8  # of the transforms, for the score
UNITS = np.arange(4) * 7 + 3  # whose gradients are compared


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the cosine of each pair of [n, ...]."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1) / lengths


def gradients(model: Model, tap: str, image: np.ndarray) -> np.ndarray:
    """Returns the gradients [units, H, W, 3] of the means of some channels."""

    def score(image: jax.Array, unit: jax.Array, variables: Any) -> jax.Array:
        found = model.taps(variables, image[None], PLAIN)[tap]
        return jnp.mean(found[..., unit])

    run = jax.jit(jax.vmap(jax.grad(score), (None, 0, None)))
    return np.asarray(run(jnp.asarray(image), jnp.asarray(UNITS), model.variables))


def compare_gradients(name: str, taps: Sequence[str], size: int) -> None:
    """Prints cosines of image gradients: the least of photo and noise, 4 units each."""
    model = load(name)
    half = in_precision(model, "bfloat16")
    random = np.random.default_rng(0)
    photo = load_picture("chelsea", (size, size), 3)
    noise = random.normal(0.5, 0.05, photo.shape).clip(0, 1).astype(np.float32)
    shake = random.uniform(-0.5 / 255, 0.5 / 255, photo.shape).astype(np.float32)
    for tap in taps:
        line = []
        for image in (photo, noise):
            plain = gradients(model, tap, image)
            other = cosines(plain, gradients(half, tap, image))
            shaken = cosines(plain, gradients(model, tap, image + shake))
            line += [f"{other.min():.3f} … {other.max():.3f}", f"{shaken.min():.3f}"]
        print(f"| {name} `{tap}` | {' | '.join(line)} |", flush=True)


class Done(NamedTuple):
    """One sweep in one precision: its pictures [R, H, W, 3] and what it took."""

    experiment: Experiment
    images: np.ndarray
    state: Any
    seconds: float  # of one image-step, median
    peak: int  # bytes


def dream(config: Any, model: Model, precision: str) -> Done:
    """Runs a sweep as one block."""
    config.precision = precision
    experiment = build(config, model)
    runs = np.arange(len(experiment.runs))
    hp = sweep.take(experiment.values, runs)
    keys = sweep.run_keys(hp["seed"], jnp.asarray(runs), common=True)
    variables = experiment.model.variables
    state = jax.jit(jax.vmap(experiment.step.init))(keys, hp)
    update = jax.vmap(experiment.step.update, in_axes=(0, 0, None))
    compiled = jax.jit(update, donate_argnums=0).lower(state, hp, variables).compile()
    times = []
    for _ in range(config.steps):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(compiled(state, hp, variables))
        times.append(time.perf_counter() - start)
    images = np.asarray(jax.vmap(experiment.images)(state, hp))[:, 0]
    taken = footprint(compiled)
    seconds = float(np.median(times)) / len(runs)
    return Done(experiment, images, state, seconds, taken.peak if taken else 0)


def scores(judge: Experiment, state: Any) -> np.ndarray:
    """Returns the held-out score [R] of what a state shows, by one experiment."""
    hp = sweep.take(judge.values, np.arange(len(judge.runs)))
    robust = jax.jit(jax.vmap(judge.evaluation.robust, in_axes=(0, 0, None, None)))
    draws = [robust(state, hp, judge.model.variables, d) for d in range(DRAWS)]
    return np.mean(draws, axis=(0, 2))


def rms(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the root mean square difference of each pair of [n, ...]."""
    return np.sqrt(np.mean(np.square(a - b), axis=(1, 2, 3)))


def compare_sweep(name: str, options: argparse.Namespace, model: Model) -> None:
    """Prints one row, and writes the pictures."""
    config = base_config()
    config.objective, config.hparams.unit = SWEEPS[name]
    config.hparams.seed = (0, 1)
    config.size, config.steps = (options.size, options.size), options.steps
    done = {precision: dream(config, model, precision) for precision in PRECISIONS}
    plain, half = done["float32"], done["bfloat16"]
    seeds = np.array([run["seed"] for run in plain.experiment.runs])
    first, second = np.flatnonzero(seeds == 0), np.flatnonzero(seeds == 1)
    score = {p: scores(plain.experiment, done[p].state) for p in PRECISIONS}
    ratio = score["bfloat16"] / score["float32"]
    seed = score["float32"][second] / score["float32"][first]
    apart = rms(half.images, plain.images)
    seeds_apart = rms(plain.images[second], plain.images[first])
    print(
        f"| `{name}` | {np.median(ratio):.3f} ({ratio.min():.3f} … {ratio.max():.3f})"
        f" | {np.median(seed):.3f} ({seed.min():.3f} … {seed.max():.3f})"
        f" | {apart.mean():.3f} | {seeds_apart.mean():.3f}"
        f" | {half.seconds / plain.seconds:.2f} | {half.peak / plain.peak:.2f} |",
        flush=True,
    )
    columns = [plain.images[first], half.images[first], plain.images[second]]
    rows = [np.concatenate(row, axis=1) for row in zip(*columns, strict=True)]
    picture = to_uint8(np.concatenate(rows, axis=0))
    write_bytes(Path(options.out) / f"{name}.png", png_bytes(picture, {}))


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--out", default="results/runs/precision")
    parser.add_argument("--gradients", default="b5,b8,logits", help="taps, or ''")
    parser.add_argument(
        "--model", default="efficientnet_lite0", help="of the gradients"
    )
    parser.add_argument("--sweeps", default=",".join(SWEEPS), help="or ''")
    options = parser.parse_args()
    keep_memory()
    if options.gradients:
        print("| | photo | shaken | noise | shaken |\n|---|---|---|---|---|")
        taps = options.gradients.split(",")
        compare_gradients(options.model, taps, options.size)
    if options.sweeps:
        print("| | score | seed | RMS | seed | time | memory |")
        print(f"|{'---|' * 7}")
        model = load("efficientnet_lite0")
        for name in options.sweeps.split(","):
            compare_sweep(name, options, model)


if __name__ == "__main__":
    main()
