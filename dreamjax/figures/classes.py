"""Classes of any network, and what a network says of pictures of them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import require
from dreamjax.figures.figure import Context
from dreamjax.labels import class_index
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, tap_shapes


class Said(NamedTuple):
    """What a network says of N pictures, each of a class.

    Attributes:
      logits: [N], of the class.
      chances: [N], its probability.
      first: [N] bool, whether no class has more.
    """

    logits: np.ndarray
    chances: np.ndarray
    first: np.ndarray


def named_class(context: Context, name: str, number: int) -> tuple[int, str]:
    """Returns a class and its name; the number-th where no label is alike.

    Raises:
      ValueError: a network without a classifier.
    """
    shapes = tap_shapes(context.model, context.size(224))
    require("logits" in shapes, "model", context.model.record.name, "a classifier")
    labels, count = context.model.record.labels, shapes["logits"][-1]
    if name in labels:
        return class_index(name, labels), name
    index = number % count
    return index, labels[index] if labels else f"class {index}"


def said_of(model: Model, images: np.ndarray, classes: Sequence[int]) -> Said:
    """Returns what a network says of images [N, H, W, 3], each of its class."""

    def logits_of(variables, images):
        return model.taps(variables, images, PLAIN)["logits"]

    logits = np.asarray(jax.jit(logits_of)(model.variables, jnp.asarray(images)))
    places = np.arange(len(classes)), np.asarray(classes)
    chances = np.asarray(jax.nn.softmax(logits, axis=-1))[places]
    return Said(logits[places], chances, logits.argmax(axis=1) == places[1])
