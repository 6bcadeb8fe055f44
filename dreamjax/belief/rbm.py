"""Restricted Boltzmann machines: contrastive divergence, and sampling with a clamp.

Energy `E(v, h) = -v W h - b v - c h` of binary v and h; with real v of variance 1,
`½ (v - b)² - v W h - c h` (Hinton 2002; Hinton, Osindero & Teh 2006).
"""

import jax
import jax.numpy as jnp

from dreamjax.belief.layers import Layer, down, up
from dreamjax.types import Array, Key

PULL = 3.0
"""On a bias, for each unit of activity above the wanted one."""


def contrastive_divergence(
    layer: Layer,
    data: Array,
    key: Key,
    *,
    steps: int = 1,
    decay: float = 0.0,
    sparsity: float = 0.0,
    gaussian: bool = False,
) -> tuple[Array, Layer]:
    """Returns an estimate of the gradient of -log p(v), CD-k.

    `-(⟨v h⟩_data - ⟨v h⟩_k)`, per example. Units above are sampled and what is below is
    given by its means, except that the last ones above are probabilities (Hinton 2010).

    Args:
      layer: the machine.
      data: [N, V] in [0, 1], or real.
      key: of the samples.
      steps: k.
      decay: λ of λ/2 ‖W‖².
      sparsity: share of the data that a unit is to be on for; its bias is pulled there
        (Lee, Ekanadham & Ng 2008). 0 leaves it alone.
      gaussian: what is below is real.

    Returns:
      (mean squared error of the reconstruction after k steps, gradient).
    """
    above = up(layer, data)  # [N, H]
    reconstruction, again = data, above
    for number in range(steps):
        sampled = sample(jax.random.fold_in(key, number), again)
        reconstruction = down(layer, sampled, gaussian=gaussian)
        again = up(layer, reconstruction)
    count = data.shape[0]
    gradient = Layer(
        (reconstruction.T @ again - data.T @ above) / count + decay * layer.weights,
        jnp.mean(reconstruction - data, axis=0),
        jnp.mean(again - above, axis=0),
    )
    if sparsity:
        pull = PULL * (jnp.mean(above, axis=0) - sparsity)
        gradient = gradient._replace(hidden=gradient.hidden + pull)
    return jnp.mean(jnp.square(reconstruction - data)), gradient


def sample(key: Key, probabilities: Array) -> Array:
    """Returns 1 with these probabilities, else 0."""
    drawn = jax.random.uniform(key, probabilities.shape)
    return (drawn < probabilities).astype(probabilities.dtype)


def gibbs(
    layer: Layer,
    start: Array,
    key: Key,
    steps: int,
    *,
    clamp: Array | None = None,
    gaussian: bool = False,
) -> Array:
    """Returns p(v | h) after `steps` rounds of v -> h -> v, each sampled but the last.

    Args:
      layer: the machine.
      start: [N, V].
      key: of the samples.
      steps: rounds, at least 1.
      clamp: [N], a unit for each chain that is held at 1 (Erhan et al. 2009,
        section 3.2); None holds none.
      gaussian: what is below is real.

    Returns:
      [N, V], means.
    """

    def round_(number: Array, mean: Array) -> Array:
        one, two = jax.random.split(jax.random.fold_in(key, number))
        if gaussian:
            seen = mean + jax.random.normal(one, mean.shape)
        else:
            seen = sample(one, mean)
        above = sample(two, up(layer, seen))
        if clamp is not None:
            above = above.at[jnp.arange(above.shape[0]), clamp].set(1)
        return down(layer, above, gaussian=gaussian)

    return jax.lax.fori_loop(0, steps, round_, start)
