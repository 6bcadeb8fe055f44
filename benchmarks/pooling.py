"""Times max pooling and its gradient: our formulation on CPU against XLA's own.

    python -m benchmarks.pooling

Both gradients are compared first. Rounds take turns; the ratio is the median over
rounds of XLA's time / ours. About a minute on 2 CPU cores.
"""

import statistics
import time
from functools import partial

import jax
import numpy as np

from dreamjax.models.layers import Padding
from dreamjax.models.pooling import _xla_max, ceil_padding, max_pool

ROUNDS = 9
CASES: dict[str, tuple[tuple[int, ...], int, int, Padding]] = {
    "GoogLeNet pool1, 3 by 2": ((8, 112, 112, 64), 3, 2, ceil_padding(112, 112, 3, 2)),
    "GoogLeNet inception_3a/pool, 3 by 1": (
        (8, 28, 28, 192),
        3,
        1,
        ((1, 1), (1, 1)),
    ),
    "VGG pool1, 2 by 2": ((8, 112, 112, 64), 2, 2, ((0, 0), (0, 0))),
}


def measure(shape: tuple[int, ...], kernel: int, stride: int, padding: Padding) -> None:
    """Prints the median times in ms of value and gradient, and their ratio."""
    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype(np.float32)
    xla = partial(_xla_max, kernel=kernel, stride=stride, padding=padding)
    sides = {
        "xla": xla,
        "ours": lambda x: max_pool(x, kernel, stride, padding),
    }
    g = random.normal(size=jax.eval_shape(xla, x).shape).astype(np.float32)
    run = {
        name: jax.jit(lambda x, g, f=function: jax.vjp(f, x)[1](g)[0])
        for name, function in sides.items()
    }
    ours, theirs = (np.asarray(run[name](x, g)) for name in ("ours", "xla"))
    assert np.abs(ours - theirs).max() <= 1e-3 * np.abs(theirs).max()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name in sides:
            start = time.perf_counter()
            jax.block_until_ready(run[name](x, g))
            times[name].append(1e3 * (time.perf_counter() - start))
    ratio = statistics.median(
        theirs / ours for theirs, ours in zip(times["xla"], times["ours"], strict=True)
    )
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"ours {medians['ours']:.1f} ms, XLA {medians['xla']:.1f} ms, x{ratio:.1f}")


def main() -> None:
    """Measures every case."""
    for name, case in CASES.items():
        print(f"{name}, {case[0]}: ", end="")
        measure(*case)


if __name__ == "__main__":
    main()
