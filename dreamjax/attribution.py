"""Which pixels speak for a class: gradients of its score, and Grad-CAM.

Pure functions of one image, to be mapped (`jax.vmap`) over images, classes and rules:
one program for all. The gradient may pass the network's nonlinearities by another rule
(`dreamjax.models.layers.RULES`): DeconvNet and guided backpropagation are the same
gradient under another rule.

    gradient = class_gradient(model.taps, model.variables, image, 281, RULES["guided"])
    saliency(gradient)                                      # [H, W]
"""

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import choose, require
from dreamjax.hparams import Hparam
from dreamjax.inside import is_read, shifted
from dreamjax.models.layers import PLAIN, Passing, Rules, backward_rules
from dreamjax.models.model import Record, TapsOf
from dreamjax.objectives import channel
from dreamjax.types import Array, Key

_INDEX = Hparam("index")
TOP = 0.05  # the part of the pixels whose share `concentration` tells


def check_rules(record: Record) -> None:
    """Raises ValueError where a network's nonlinearities do not take rules."""
    require(
        record.redirectable,
        "rule",
        record.name,
        "its nonlinearities take no rules; only the gradient is known of it",
    )


def class_score(
    taps: TapsOf,
    variables: object,
    image: Array,
    index: Array | int,
    rules: Rules = PLAIN,
    tap: str = "logits",
) -> Array:
    """Returns S_c(x), a class before the softmax, or any channel's mean; scalar.

    Args:
      taps: of a model.
      variables: weights.
      image: [H, W, C].
      index: c, of the last axis of the tap.
      rules: how gradients pass nonlinearities.
      tap: where the score is read.
    """
    hp = {"index": jnp.asarray(index)}
    found = taps(variables, image[None], rules)
    return channel(tap, _INDEX)(found, hp)[0]


def class_gradient(
    taps: TapsOf,
    variables: object,
    image: Array,
    index: Array | int,
    passing: Passing,
    tap: str = "logits",
) -> Array:
    """Returns w = ∂S_c/∂x, so that S_c(x + δ) ≈ S_c(x) + w·δ (Simonyan et al. 2014).

    Args:
      taps, variables, image, index, tap: as in `class_score`.
      passing: the rule by which it passes nonlinearities, of `RULES`; its numbers may
        be traced.

    Returns:
      [H, W, C].
    """

    def score(image: Array) -> Array:
        rules = backward_rules(passing)
        return class_score(taps, variables, image, index, rules, tap)

    return jax.grad(score)(image)


def smooth_gradient(
    key: Key,
    taps: TapsOf,
    variables: object,
    image: Array,
    index: Array | int,
    passing: Passing,
    *,
    noise: Array | float = 0.15,
    draws: int = 16,
    tap: str = "logits",
) -> Array:
    """Returns the mean gradient over noisy copies of the image (Smilkov et al. 2017).

    Args:
      key: of the noise.
      taps, variables, image, index, passing, tap: as in `class_gradient`.
      noise: standard deviation, as a part of the image's own range.
      draws: copies.

    Returns:
      [H, W, C].
    """
    scale = noise * (jnp.max(image) - jnp.min(image))

    def one(key: Key) -> Array:
        noisy = image + scale * jax.random.normal(key, image.shape)
        return class_gradient(taps, variables, noisy, index, passing, tap)

    return jnp.mean(jax.lax.map(one, jax.random.split(key, draws)), axis=0)


def saliency(gradient: Array) -> Array:
    """Returns M_ij = max_c |w_ijc| of a gradient [..., H, W, C], as [..., H, W]."""
    return jnp.max(jnp.abs(gradient), axis=-1)


def grad_cam(
    taps: TapsOf,
    variables: object,
    image: Array,
    index: Array | int,
    layer: str,
    tap: str = "logits",
) -> Array:
    """Returns where a layer speaks for a class (Selvaraju et al. 2017).

    `L = max(0, Σ_k α_k φ_k)`, `α_k = mean_ij ∂S_c/∂φ_ijk`. Behind a mean over positions
    and a linear classifier α_k is the class's weight over h w: then L is the class
    activation map of Zhou et al. 2016, up to scale.

    Args:
      taps, variables, image, index, tap: as in `class_score`.
      layer: name of a tap [h, w, K], φ.

    Returns:
      [h, w], 0 or more.
    """
    shapes = jax.eval_shape(
        lambda variables, x: dict(taps(variables, x, PLAIN)), variables, image[None]
    )
    choose("layer", layer, shapes)
    require(
        len(shapes[layer].shape) == 4,
        "layer",
        layer,
        "a tap with positions, [h, w, K]",
    )
    require(
        is_read(taps, layer, variables, image[None]),
        "layer",
        layer,
        "no other activation is computed from it",
    )
    play = shifted(taps, (layer,))

    def score(added: Array) -> tuple[Array, Array]:
        found = play(variables, image[None], PLAIN, {layer: added})
        hp = {"index": jnp.asarray(index)}
        return channel(tap, _INDEX)(found, hp)[0], found[layer]

    start = jnp.zeros(shapes[layer].shape, shapes[layer].dtype)
    slope, activation = jax.grad(score, has_aux=True)(start)
    weights = jnp.mean(slope, axis=(1, 2), keepdims=True)  # [1, 1, 1, K]
    return jnp.maximum(jnp.sum(weights * activation, axis=-1)[0], 0)


def resized(values: Array, size: tuple[int, int]) -> Array:
    """Returns a map [h, w] at `size` (H, W), bilinear."""
    return jax.image.resize(values, size, "linear")


def concentration(values: np.ndarray) -> tuple[float, float]:
    """Returns (max / mean, share of the total in the top 5 %) of a map [H, W]."""
    flat = np.sort(np.asarray(values, np.float64).ravel())[::-1]
    top = max(1, round(TOP * flat.size))
    return float(flat[0] / flat.mean()), float(flat[:top].sum() / flat.sum())


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Pearson's correlation of two maps over their pixels."""
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])
