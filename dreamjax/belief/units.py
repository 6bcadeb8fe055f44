"""What a unit stands for, three ways: its filters, samples, and the sphere to climb on.

Erhan, Bengio, Courville & Vincent 2009: activation maximization is `dreamjax.ascent`
with `onto_sphere`; the two older ways are here.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from dreamjax.belief.layers import Stack, down
from dreamjax.belief.rbm import gibbs
from dreamjax.errors import require
from dreamjax.gradients import normalize_l2
from dreamjax.hparams import read
from dreamjax.types import Array, HParams, Key


def onto_sphere(images: Array, gradient: Array, step: Array, hp: HParams) -> Array:
    """Projection: each image on the sphere of radius hp["radius"], `x ← ρ x / ‖x‖`."""
    del gradient, step
    axes = tuple(range(1, images.ndim))
    length = jnp.sqrt(jnp.sum(jnp.square(images), axis=axes, keepdims=True))
    return images * (read("radius", hp) / jnp.maximum(length, 1e-12))


def along_the_gradient(hp: HParams) -> optax.GradientTransformation:
    """Optimizer: steps of length hp["rate"] ρ along the gradient, `rate ρ g / ‖g‖`.

    On the sphere of radius ρ = hp["radius"] it comes to rest wherever the gradient
    points straight out, and a linear unit's error shrinks by 1 + rate a step.
    """
    length = read("rate", hp) * read("radius", hp)
    return optax.chain(normalize_l2(), optax.sgd(length))


def combined_filters(stack: Stack, *, keep: int) -> Array:
    """Returns each unit of the last layer as a weighted sum of the filters below it.

    `f_j = Σ_k W_kj f_k` over the `keep` units k below with the largest |W_kj|, from the
    first layer's own weights up (Lee, Ekanadham & Ng 2008).

    Args:
      stack: of layers.
      keep: units below that take part.

    Returns:
      [pixels, H].
    """
    require(keep >= 1, "keep", keep, "at least 1 unit below")
    filters = stack[0].weights  # [pixels, H]
    for layer in stack[1:]:
        weights = layer.weights  # [V, H]
        least = jnp.sort(jnp.abs(weights), axis=0)[-min(keep, len(weights))]
        kept = jnp.where(jnp.abs(weights) >= least[None], weights, 0)
        filters = filters @ kept
    return filters


@partial(jax.jit, static_argnames=("chains", "steps", "gaussian"))
def clamped_samples(
    stack: Stack,
    units: Array,
    key: Key,
    *,
    chains: int,
    steps: int,
    gaussian: bool = False,
) -> Array:
    """Samples pictures of a deep belief network, one unit of its last layer at 1.

    Chains of the top machine start from coin flips; what they come to below is taken
    down to the pixels by means (Hinton, Osindero & Teh 2006; Erhan et al. 2009).

    Args:
      stack: of Boltzmann machines, up to the units' layer.
      units: [U], which units.
      key: of the samples.
      chains: of each unit.
      steps: of Gibbs sampling.
      gaussian: the pixels are real.

    Returns:
      [U, chains, pixels], means.
    """
    top, rest = stack[-1], stack[:-1]
    held = jnp.repeat(jnp.asarray(units), chains)
    bottom = gaussian and not rest
    seeds, own = jax.random.split(key)
    start = jax.random.bernoulli(seeds, 0.5, (len(held), len(top.visible)))
    means = gibbs(
        *(top, start.astype(jnp.float32), own, steps), clamp=held, gaussian=bottom
    )
    for number, layer in reversed(list(enumerate(rest))):
        means = down(layer, means, gaussian=gaussian and number == 0)
    return means.reshape(len(units), chains, -1)
