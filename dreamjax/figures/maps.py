"""Attribution maps of many photos at once, and how they are drawn."""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from dreamjax.attribution import (
    check_rules,
    class_gradient,
    grad_cam,
    resized,
    saliency,
    smooth_gradient,
)
from dreamjax.errors import require
from dreamjax.figures.layers import main_layers
from dreamjax.figures.panels import about_gray
from dreamjax.inside import is_read
from dreamjax.models.layers import PLAIN, RULES, Passing
from dreamjax.models.model import Model, tap_shapes
from dreamjax.types import Array

SHIFT = 8  # one view of ten is this many pixels off, up and down, left and right


def top_classes(
    model: Model, images: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each image's most likely classes and their probabilities, [N, count].

    Args:
      model: a network with the tap "logits".
      images: [N, H, W, C].
      count: how many; of fewer classes, all.

    Raises:
      ValueError: a network without classes.
    """

    def logits(variables: object, images: Array) -> Array:
        found = model.taps(variables, images, PLAIN)
        named = [name for name in found if name == "logits"]
        require(bool(named), "model", model.record.name, 'a network with "logits"')
        return jax.nn.softmax(found["logits"], axis=-1)

    p = np.asarray(jax.jit(logits)(model.variables, jnp.asarray(images)))
    order = np.argsort(-p, axis=-1, kind="stable")[:, :count]
    return order, np.take_along_axis(p, order, axis=-1)


def gradients_by_rule(
    model: Model, images: np.ndarray, classes: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns rule -> ∂S_c/∂x of each image under it, [N, H, W, C]; one program.

    Args:
      model: the network.
      images: [N, H, W, C].
      classes: [N].

    Raises:
      ValueError: a network whose nonlinearities take no rules.
    """
    check_rules(model.record)
    passing = Passing(*(jnp.asarray(v) for v in zip(*RULES.values(), strict=True)))

    def one(variables: object, image: Array, index: Array) -> Array:
        return jax.vmap(
            lambda rule: class_gradient(model.taps, variables, image, index, rule)
        )(passing)

    over = jax.jit(
        lambda variables, given: jax.lax.map(lambda g: one(variables, *g), given)
    )
    found = over(model.variables, (jnp.asarray(images), jnp.asarray(classes)))
    return {rule: np.asarray(found[:, i]) for i, rule in enumerate(RULES)}


def saliencies(
    model: Model, images: np.ndarray, classes: np.ndarray, *, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns saliency maps [N, H, W]: of the image, of ten views, of noisy copies.

    "one view" is the paper's equation, max_c |∂S_c/∂x|. "ten views" is its mean over
    five shifts of the image and their mirror images, as the paper averages over ten
    crops. "smooth" is of the mean gradient over noisy copies (Smilkov et al. 2017).

    Args:
      model: the network.
      images: [N, H, W, C].
      classes: [N].
      draws: noisy copies; with 0 there is no "smooth".
      seed: of the noise.
    """
    steps = np.asarray([(0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]) * SHIFT
    shifts = jnp.asarray(np.concatenate([steps, steps]) + SHIFT)
    mirrored = jnp.arange(10) >= 5
    rule = RULES["gradient"]

    def of_view(variables: object, image: Array, index: Array, view: tuple) -> Array:
        def taps(variables: object, x: Array, rules: object):
            return model.taps(variables, _seen(x[0], *view)[None], rules)

        return saliency(class_gradient(taps, variables, image, index, rule))

    def one(variables: object, given: tuple) -> tuple:
        image, index, key = given
        views = jax.lax.map(
            lambda view: of_view(variables, image, index, view), (shifts, mirrored)
        )
        found = (views[0], jnp.mean(views, axis=0))
        if draws == 0:
            return found
        smooth = smooth_gradient(
            key, model.taps, variables, image, index, rule, draws=draws
        )
        return (*found, saliency(smooth))

    keys = jax.random.split(jax.random.key(seed), len(images))
    over = jax.jit(
        lambda variables, given: jax.lax.map(lambda g: one(variables, g), given)
    )
    given = (jnp.asarray(images), jnp.asarray(classes), keys)
    found = over(model.variables, given)
    names = ("one view", "ten views", "smooth")[: len(found)]
    return dict(zip(names, map(np.asarray, found), strict=True))


def _seen(image: Array, shift: Array, mirror: Array) -> Array:
    """Returns an image [H, W, C] shifted, its border repeated, and mirrored."""
    # No gradient in what repeats the border: there it would add up.
    still = jax.lax.stop_gradient(image)
    wide = jnp.pad(still, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    wide = wide.at[SHIFT:-SHIFT, SHIFT:-SHIFT].set(image)
    shifted = jax.lax.dynamic_slice(wide, (shift[0], shift[1], 0), image.shape)
    return jnp.where(mirror, shifted[:, ::-1], shifted)


def grad_cams(
    model: Model, images: np.ndarray, classes: np.ndarray, layer: str
) -> np.ndarray:
    """Returns Grad-CAM at a layer for each class of each image, [N, count, h, w].

    Args:
      model: the network.
      images: [N, H, W, C].
      classes: [N, count].
      layer: name of a tap [h, w, K].
    """

    def one(variables: object, image: Array, classes: Array) -> Array:
        return jax.vmap(
            lambda index: grad_cam(model.taps, variables, image, index, layer)
        )(classes)

    over = jax.jit(
        lambda variables, given: jax.lax.map(lambda g: one(variables, *g), given)
    )
    given = (jnp.asarray(images), jnp.asarray(classes))
    return np.asarray(over(model.variables, given))


def last_layer(model: Model, size: tuple[int, int], wanted: str) -> str:
    """Returns the last layer with positions that the classes are computed from.

    Args:
      model: a network with the tap "logits".
      size: (H, W) of the images.
      wanted: its name, where the network has it.

    Raises:
      ValueError: a network without such a layer.
    """
    names = main_layers(model, size)
    image = jax.ShapeDtypeStruct((1, *size, model.record.channels), jnp.float32)
    for name in [wanted, *reversed(names)]:
        if name in tap_shapes(model, size) and is_read(
            model.taps, name, model.variables, image
        ):
            return name
    raise ValueError(
        f"layer={wanted!r}: no layer of {model.record.name} has positions."
    )


def activation_map(
    model: Model, image: np.ndarray, index: int, layer: str
) -> np.ndarray | None:
    """Returns the class activation map of Zhou et al. 2016, max(0, Σ_k w_kc φ_k).

    w are the classifier's own weights. None where it does not read the mean of that
    layer: where Σ_k w_kc mean(φ_k), with the bias, is not the class's logit.

    Args:
      model: the network.
      image: [H, W, C].
      index: c.
      layer: name of a tap [h, w, K].

    Returns:
      [h, w].
    """
    taps = jax.jit(lambda v, x: dict(model.taps(v, x, PLAIN)))
    found = taps(model.variables, jnp.asarray(image[None]))
    phi, logits = np.asarray(found[layer][0]), np.asarray(found["logits"][0])
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(model.variables)]
    biases = [leaf for leaf in leaves if leaf.shape == logits.shape]
    for weights in leaves:
        if weights.shape != (phi.shape[-1], logits.size):
            continue
        read = phi.mean(axis=(0, 1)) @ weights
        for bias in [np.zeros_like(logits), *biases]:
            if np.allclose(read + bias, logits, rtol=1e-2, atol=1e-2):
                return np.maximum(phi @ weights[:, index], 0)
    return None


def gray_map(values: np.ndarray, percentile: float = 99.5) -> np.ndarray:
    """Returns a map [H, W] of 0 and more as grays, white at a percentile of it."""
    top = np.percentile(values, percentile)
    top = top if top > 0 else max(float(np.max(values)), 1e-30)
    return np.clip(np.asarray(values, np.float32) / top, 0, 1)


def overlaid(image: np.ndarray, values: np.ndarray, weight: float = 0.5) -> np.ndarray:
    """Returns an image [H, W, 3] under a map [h, w] in the colors "jet".

    The map is resized to the image and divided by its largest value.
    """
    heat = np.asarray(resized(jnp.asarray(values), image.shape[:2]))
    heat = heat / max(float(heat.max()), 1e-30)
    colors = matplotlib.colormaps["jet"](heat)[..., :3]
    return ((1 - weight) * image + weight * colors).astype(np.float32)


def class_name(model: Model, index: int) -> str:
    """Returns a class's label, or its number where the network has none."""
    labels = model.record.labels
    return labels[index].split(",")[0] if index < len(labels) else f"class {index}"


def class_maps(
    model: Model, image: np.ndarray, target: int, rule: str
) -> dict[str, np.ndarray]:
    """Returns what speaks for a class in a photo, as pictures by name.

    Saliency by the rule, its mean over ten views, the signed gradient, Grad-CAM.

    Args:
      model: with classes.
      image: [H, W, 3] in [0, 1].
      target: the class.
      rule: of `RULES`.

    Returns:
      name -> [H, W, 3] in [0, 1].
    """
    classes = np.asarray([target])
    gradient = gradients_by_rule(model, image[None], classes)[rule][0]
    views = saliencies(model, image[None], classes, draws=0, seed=0)["ten views"][0]
    layer = last_layer(model, image.shape[:2], "")
    heat = grad_cams(model, image[None], classes[None], layer)[0, 0]
    maps = {
        f"saliency_{rule}": gray_map(np.asarray(saliency(gradient))),
        "saliency_views": gray_map(views),
    }
    shown = {name: np.repeat(m[..., None], 3, axis=-1) for name, m in maps.items()}
    return shown | {
        f"signed_{rule}": about_gray(gradient),
        "gradcam": overlaid(image, heat),
    }
