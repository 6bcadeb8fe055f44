"""Times dense convolutions and local normalization: our formulations against XLA's own.

    python -m benchmarks.convolutions [--rounds 9]

Value and gradient in the image, apart, 8 images, without PyTorch. Both sides are
compared first; rounds take turns; the ratio is the median over rounds of XLA's time /
ours. "GFLOP/s" is ours, counted as if by the plain sum. Two minutes on 2 CPU cores.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import interleave, summarize, table
from dreamjax.memory import keep_memory
from dreamjax.models.convolution import _by_xla, conv
from dreamjax.models.pooling import local_response_norm

IMAGES = 8
LIMIT = 1e-4  # of the largest number
ONE = ((1, 1), (1, 1))
# Name -> side, channels in and out, kernel, stride, padding.
CONVOLUTIONS = {
    "VGG16 conv1_1": (236, 3, 64, 3, 1, ONE),
    "VGG16 conv1_2": (236, 64, 64, 3, 1, ONE),
    "VGG16 conv2_2": (118, 128, 128, 3, 1, ONE),
    "VGG16 conv3_3": (59, 256, 256, 3, 1, ONE),
    "VGG16 conv4_3": (29, 512, 512, 3, 1, ONE),
    "ResNet-50 conv1": (236, 3, 64, 7, 2, ((3, 3), (3, 3))),
    "ResNet-50 layer1": (59, 64, 64, 3, 1, ONE),
    "ResNet-50 layer3": (15, 256, 256, 3, 1, ONE),
    "GoogLeNet conv2/3x3": (59, 64, 192, 3, 1, ONE),
    "EfficientNet-Lite0 stem": (140, 3, 32, 3, 2, ((0, 1), (0, 1))),
}
NORMS = {"GoogLeNet norm1": (59, 64), "GoogLeNet norm2": (59, 192)}


def both_ways(apply: Callable, x: np.ndarray) -> dict[str, Callable]:
    """Returns "value" and "gradient" of a function of images, compiled."""
    g = jnp.asarray(_normal(jax.eval_shape(apply, x).shape, 1))
    value, given = jax.jit(apply), jnp.asarray(x)
    back = jax.jit(lambda x, g: jax.vjp(apply, x)[1](g)[0])
    return {
        "value": lambda: jax.block_until_ready(value(given)),
        "gradient": lambda: jax.block_until_ready(back(given, g)),
    }


def _normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def measured(
    name: str, sides: Mapping[str, Callable], x: np.ndarray, flops: float, rounds: int
) -> list[list[str]]:
    """Returns two lines of the table.

    Raises:
      ValueError: the sides differ.
    """
    made, lines = {side: both_ways(apply, x) for side, apply in sides.items()}, []
    for way in ("value", "gradient"):
        calls = {side: made[side][way] for side in sides}
        ours, theirs = (np.asarray(call()) for call in calls.values())
        apart = np.abs(ours - theirs).max() / np.abs(theirs).max()
        if not apart <= LIMIT:
            raise ValueError(f"{name}, {way}: the sides differ by {apart:.1e}.")
        mine, other = summarize(name, 1, interleave(calls, rounds))
        rate = f"{flops / mine['median_ms'] / 1e6:.0f}" if flops else ""
        times = [f"{row['median_ms']:.1f}" for row in (mine, other)]
        ratio = f"{other['median_ratio']:.2f}"
        lines.append([f"{name}, {way}", *times, ratio, rate, f"{apart:.0e}"])
    return lines


def main() -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    keep_memory()
    lines = []
    for name, (side, inputs, outputs, k, stride, padding) in CONVOLUTIONS.items():
        x = _normal((IMAGES, side, side, inputs), 0)
        scale = np.float32((k * k * inputs) ** -0.5)
        kernel = jnp.asarray(scale * _normal((k, k, inputs, outputs), 2))
        sides = {
            "ours": partial(conv, kernel=kernel, stride=stride, padding=padding),
            "XLA": partial(_by_xla, kernel=kernel, stride=stride, padding=padding),
        }
        pixels = IMAGES * (side // stride) ** 2
        flops = 2.0 * pixels * k * k * inputs * outputs
        lines += measured(name, sides, x, flops, options.rounds)
    for name, (side, channels) in NORMS.items():
        options_ = {"size": 5, "alpha": 1e-4 / 5, "beta": 0.75, "k": 1.0}
        sides = {
            "ours": partial(local_response_norm, **options_),
            "XLA": partial(_plain_norm, **options_),
        }
        x = _normal((IMAGES, side, side, channels), 0)
        lines += measured(name, sides, x, 0.0, options.rounds)
    print(table(["", "ours, ms", "XLA, ms", "ratio", "GFLOP/s", "apart"], lines))
    return 0


def _plain_norm(x: jax.Array, *, size: int, alpha: float, beta: float, k: float):
    """The formula of local response normalization, left to autodiff."""
    reach, channels = size // 2, x.shape[-1]
    squares = jnp.pad(x * x, ((0, 0), (0, 0), (0, 0), (reach, reach)))
    total = sum(squares[..., i : i + channels] for i in range(size))
    return x * (k + alpha * total) ** -beta


if __name__ == "__main__":
    raise SystemExit(main())
