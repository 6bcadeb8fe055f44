"""Training of stacks, greedily: each layer on what the one below makes of the data."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dreamjax.belief.autoencoder import denoising_loss
from dreamjax.belief.layers import Layer, up
from dreamjax.belief.rbm import contrastive_divergence
from dreamjax.errors import choose, require
from dreamjax.terminal import tell
from dreamjax.types import Array, Key

Gradient = Callable[[Layer, Array, Key], tuple[Array, Layer]]
"""(layer, data [N, V], key) -> (error, gradient to descend)."""


class Recipe(NamedTuple):
    """How a stack is trained.

    Attributes:
      kind: "rbm" or "autoencoder".
      units: of each layer, from below.
      epochs: over the data, each layer; 0 leaves the layers as they start.
      batch: examples of an update.
      rate: of the descent, with momentum .9.
      decay: λ of λ/2 ‖W‖².
      noise: share of the values that are masked (autoencoder).
      steps: k of CD-k (rbm).
      sparsity: share of the data that a unit of the first layer is to be on for (rbm);
        0 for any.
      gaussian: the data are real, not in [0, 1].
    """

    kind: str
    units: tuple[int, ...]
    epochs: int
    batch: int = 100
    rate: float = 0.05
    decay: float = 2e-4
    noise: float = 0.25
    steps: int = 1
    sparsity: float = 0.0
    gaussian: bool = False


MOMENTUM = 0.9
WARM = 0.1  # of all updates, in which the rate rises
ABOVE = {"gaussian": False, "sparsity": 0.0}
"""What changes in a recipe above the first layer, whose data are units in [0, 1]."""


def train_stack(
    recipe: Recipe, data: Any, key: Key, report: Callable[[str], None] = tell
) -> tuple[tuple[Layer, ...], list[np.ndarray]]:
    """Returns the layers, and each one's error after every epoch [epochs].

    Args:
      recipe: how.
      data: [N, V].
      key: of initial weights, order, samples and masks.
      report: takes a line for each layer.
    """
    stack, curves, seen = [], [], jnp.asarray(data, jnp.float32)
    for number, units in enumerate(recipe.units):
        own_recipe = recipe if number == 0 else recipe._replace(**ABOVE)
        gradient = _gradient(own_recipe)
        own, order = jax.random.split(jax.random.fold_in(key, number))
        layer, errors = train_layer(
            *(gradient, start(own, seen, units, own_recipe), seen, order),
            epochs=recipe.epochs,
            batch=recipe.batch,
            rate=recipe.rate,
        )
        report(f"{recipe.kind} layer {number + 1}: errors {errors.round(4).tolist()}")
        stack.append(layer)
        curves.append(errors)
        if number + 1 < len(recipe.units):
            seen = up(layer, seen)
    return tuple(stack), curves


@partial(jax.jit, static_argnums=(2, 3))
def start(key: Key, data: Array, units: int, recipe: Recipe) -> Layer:
    """Returns a layer to begin with: small weights, and below the data's own means.

    Units are on as often as they are to be.
    """
    pixels = data.shape[1]
    width = 0.01 if recipe.kind == "rbm" else (pixels + units) ** -0.5
    visible = jnp.zeros((pixels,))
    if recipe.kind == "rbm" and not recipe.gaussian:
        mean = jnp.clip(jnp.mean(data, axis=0), 0.01, 0.99)
        visible = jnp.log(mean / (1 - mean))
    weights = width * jax.random.normal(key, (pixels, units))
    share = recipe.sparsity or 0.5
    return Layer(weights, visible, jnp.full((units,), math.log(share / (1 - share))))


def train_layer(
    gradient: Gradient,
    layer: Layer,
    data: Array,
    key: Key,
    *,
    epochs: int,
    batch: int,
    rate: float,
) -> tuple[Layer, np.ndarray]:
    """Returns the layer after stochastic descent, and its error in each epoch.

    Args:
      gradient: of a batch.
      layer: to begin with.
      data: [N, V], N at least `batch`; what is left over of an epoch is not seen in it.
      key: of the order of the data, and handed on.
      epochs, batch: how often, and how many at once.
      rate: it rises to this in the first tenth, and stays.
    """
    count = len(data) // batch
    require(count >= 1, "batch", batch, f"at most {len(data)} examples")
    rates = optax.linear_schedule(0.0, rate, max(1, int(WARM * count * epochs)))
    optimizer = optax.sgd(rates, momentum=MOMENTUM)

    @partial(jax.jit, donate_argnums=(0, 1))
    def epoch(layer, state, data, key):
        order = jax.random.permutation(jax.random.fold_in(key, 0), len(data))

        def step(carry, number):
            layer, state = carry
            index = jax.lax.dynamic_slice(order, (number * batch,), (batch,))
            own = jax.random.fold_in(jax.random.fold_in(key, 1), number)
            error, grads = gradient(layer, data[index], own)
            moves, state = optimizer.update(grads, state)
            return (optax.apply_updates(layer, moves), state), error

        (layer, state), errors = jax.lax.scan(step, (layer, state), jnp.arange(count))
        return layer, state, jnp.mean(errors)

    layer = jax.tree.map(jnp.array, layer)  # a copy: epochs take theirs over
    state, found = optimizer.init(layer), []
    for number in range(epochs):
        layer, state, error = epoch(layer, state, data, jax.random.fold_in(key, number))
        found.append(float(error))
    return layer, np.asarray(found)


def _gradient(recipe: Recipe) -> Gradient:
    """Returns the gradient of one layer."""
    options = {"decay": recipe.decay, "gaussian": recipe.gaussian}
    if choose("kind", recipe.kind, ("rbm", "autoencoder")) == "rbm":
        options |= {"steps": recipe.steps, "sparsity": recipe.sparsity}
        return partial(contrastive_divergence, **options)
    return jax.value_and_grad(partial(denoising_loss, share=recipe.noise, **options))
