"""What computing activations twice saves and costs, by network.

    python -m benchmarks.remat

Temporaries of the compiled gradient, with and without `dreamjax.remat`, and the median
over rounds that take turns of the ratio of their times. Weights are drawn, so nothing
is downloaded. About 2 minutes on 2 CPU cores.
"""

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.footprint import footprint
from dreamjax.memory import keep_memory
from dreamjax.models.layers import PLAIN
from dreamjax.models.port import build, outline
from dreamjax.models.zoo import find_port
from dreamjax.remat import TapsOf, recomputed

ROUNDS = 9
CASES = (  # network, tap, images of 128 px
    ("efficientnet_lite0", "b8", 8),
    ("efficientnet_lite0", "logits", 8),
    ("vgg16", "conv4_3", 4),
    ("resnet50", "logits", 4),
)


def drawn(shapes: Any) -> Any:
    """Returns weights that keep the size of a rectified signal."""
    random = np.random.default_rng(0)

    def one(shape: Any) -> np.ndarray:
        fan_in = np.prod(shape.shape[:-1], initial=1)
        spread = np.sqrt(2 / fan_in) if len(shape.shape) > 1 else 0.1
        return random.normal(0, spread, shape.shape).astype(np.float32)

    return jax.tree.map(one, shapes)


def measure(name: str, tap: str, count: int) -> None:
    """Prints one row, after checking that the gradients agree."""
    port = find_port(name)
    model = build(port, drawn(outline(port).variables))
    images = np.random.default_rng(1).random((count, 128, 128, 3), np.float32)
    images = jnp.asarray(images)

    def compiled(taps: TapsOf) -> jax.stages.Compiled:
        def score(image: jax.Array, variables: Any) -> jax.Array:
            return jnp.mean(taps(variables, image[None], PLAIN)[tap][..., 3])

        run = jax.jit(jax.vmap(jax.grad(score), (0, None)))
        return run.lower(images, model.variables).compile()

    sides = [compiled(model.taps), compiled(recomputed(model.taps, [tap]))]
    kept, lean = (np.asarray(run(images, model.variables)) for run in sides)
    assert np.abs(kept - lean).max() <= 1e-6 * np.abs(kept).max()
    ratios = []
    for _ in range(ROUNDS):
        seconds = []
        for run in sides:
            start = time.perf_counter()
            jax.block_until_ready(run(images, model.variables))
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[1] / seconds[0])
    before, after = (footprint(run).temporaries / 1e6 for run in sides)
    print(
        f"| {name} `{tap}`, {count} images | {before:.1f} | {after:.1f}"
        f" | {after / before:.2f} | {statistics.median(ratios):.2f} |",
        flush=True,
    )


def main() -> None:
    """Prints the table."""
    keep_memory()
    print("| | kept, MB | computed twice, MB | ratio | time |")
    print(f"|{'---|' * 5}")
    for case in CASES:
        measure(*case)


if __name__ == "__main__":
    main()
