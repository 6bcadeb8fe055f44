"""Times Lucid's transforms as one resampling against the same moves one by one.

    python -m benchmarks.moves [--size 128 --images 8 --rounds 15]

Views of a batch of images and the gradient in them, wherever JAX runs; no PyTorch. The
two are not the same picture: one by one the image is interpolated twice, and cropped
in between (`dreamjax.moves`).
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import interleave, markdown, summarize
from dreamjax.memory import keep_memory
from dreamjax.transforms import chain, lucid_moves, output_shape
from dreamjax.types import Transform

MOVES = lucid_moves()


def one_by_one(key, image, hp):
    """The moves in turn, with the keys that `chain` gives them."""
    keys = jax.random.split(key, len(MOVES))
    for move, own in zip(MOVES, keys, strict=True):
        image = move(own, image, hp)
    return image


def there_and_back(transform: Transform, size: int, count: int):
    """Returns the call that makes views of `count` images and pulls a gradient back."""
    random = np.random.default_rng(0)
    images = jnp.asarray(random.random((count, size, size, 3), np.float32))
    view = output_shape(transform, images.shape[1:], {})
    gradient = jnp.asarray(random.normal(size=(count, *view)).astype(np.float32))
    keys = jax.random.split(jax.random.key(0), count)

    @jax.jit
    def both(keys, images, gradient):
        def see(images):
            return jax.vmap(lambda key, image: transform(key, image, {}))(keys, images)

        views, pull = jax.vjp(see, images)
        return views, pull(gradient)[0]

    return lambda: jax.block_until_ready(both(keys, images, gradient))


def main() -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="side, pixels")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    keep_memory()
    sides = {
        "one resampling": there_and_back(chain(*MOVES), options.size, options.images),
        "one by one": there_and_back(one_by_one, options.size, options.images),
    }
    times = interleave(sides, options.rounds)
    print(markdown(summarize("views", options.images, times)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
