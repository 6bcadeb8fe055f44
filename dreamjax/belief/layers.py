"""Layers of sigmoid units with tied weights, and a stack of them as a `Model`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.errors import require
from dreamjax.models.adapters import from_function
from dreamjax.models.model import Model, Record
from dreamjax.types import Array, Taps


class Layer(NamedTuple):
    """A restricted Boltzmann machine, or an autoencoder with tied weights.

    Attributes:
      weights: [V, H].
      visible: [V], biases of what is below.
      hidden: [H], biases of the units.
    """

    weights: Array
    visible: Array
    hidden: Array


Stack = Sequence[Layer]
"""Layers from the pixels up; the units of one are what the next one sees."""


def before(layer: Layer, below: Array) -> Array:
    """Returns `v W + c`, the units before the sigmoid.

    Args:
      below: [N, V].

    Returns:
      [N, H].
    """
    return below @ layer.weights + layer.hidden[None]


def up(layer: Layer, below: Array) -> Array:
    """Returns `p(h = 1 | v) = σ(v W + c)`, [N, V] -> [N, H]."""
    return jax.nn.sigmoid(before(layer, below))


def down(layer: Layer, above: Array, *, gaussian: bool = False) -> Array:
    """Returns the mean of `p(v | h)`, [N, H] -> [N, V]: `σ(h Wᵀ + b)`.

    Args:
      gaussian: what is below is real, with variance 1: its mean is `h Wᵀ + b`.
    """
    mean = above @ layer.weights.T + layer.visible[None]
    return mean if gaussian else jax.nn.sigmoid(mean)


def as_model(stack: Stack, name: str, shape: tuple[int, int]) -> Model:
    """Returns a network of gray images [B, H, W, 1]; taps "h1/pre", "h1", "h2/pre" …

    Args:
      stack: whose first layer sees H · W pixels.
      name: of its record.
      shape: (H, W).
    """
    pixels = stack[0].weights.shape[0]
    require(shape[0] * shape[1] == pixels, "shape", shape, f"{pixels} pixels")
    taps = [f"h{i}{end}" for i in range(1, len(stack) + 1) for end in ("/pre", "")]
    record = Record(
        name=name,
        source="trained here",
        year=2009,
        paper="Erhan et al. 2009",
        channels=1,
        size=shape[0],
        min_size=min(shape),
        parameters=sum(a.size for layer in stack for a in layer),
        head_taps=tuple(taps),
    )

    def network(variables: Any, x: Array) -> Taps:
        found, seen = {}, x.reshape(x.shape[0], -1)  # [B, H W]
        for number, layer in enumerate(variables, 1):
            found[f"h{number}/pre"] = before(layer, seen)
            seen = found[f"h{number}"] = jax.nn.sigmoid(found[f"h{number}/pre"])
        return found

    return from_function(
        network, tuple(Layer(*map(jnp.asarray, s)) for s in stack), record
    )
