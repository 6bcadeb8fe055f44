"""Denoising autoencoders (Vincent, Larochelle, Bengio & Manzagol 2008)."""

import jax
import jax.numpy as jnp

from dreamjax.belief.layers import Layer, before, up
from dreamjax.types import Array, Key


def masked(data: Array, key: Key, share: float) -> Array:
    """Returns the data with a share of its values, drawn one by one, set to 0."""
    kept = jax.random.uniform(key, data.shape) >= share
    return data * kept


def denoising_loss(
    layer: Layer,
    data: Array,
    key: Key,
    *,
    share: float = 0.25,
    decay: float = 0.0,
    gaussian: bool = False,
) -> Array:
    """Returns how badly the data are guessed from a masked copy, mean per example.

    Cross entropy `-Σ v log z + (1 - v) log(1 - z)` of `z = σ(σ(ṽ W + c) Wᵀ + b)`; for
    real data `½ Σ (v - z)²` of `z = σ(ṽ W + c) Wᵀ + b`.

    Args:
      layer: the autoencoder.
      data: [N, V] in [0, 1], or real.
      key: of the mask.
      share: of the values that are masked.
      decay: λ of λ/2 ‖W‖².
      gaussian: the data are real.
    """
    above = up(layer, masked(data, key, share))
    guess = before(Layer(layer.weights.T, layer.hidden, layer.visible), above)
    if gaussian:
        errors = jnp.square(guess - data) / 2
    else:
        errors = jax.nn.softplus(guess) - data * guess  # cross entropy, from logits
    penalty = decay / 2 * jnp.sum(jnp.square(layer.weights))
    return jnp.mean(jnp.sum(errors, axis=1)) + penalty
