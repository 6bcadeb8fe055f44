"""What a network sees in pictures: its top classes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, tap_shapes

AT_ONCE = 16  # pictures of one call
COUNT = 5

Top = list[tuple[int, float]]
"""(class, probability), most probable first."""


def classifier(
    model: Model, size: tuple[int, int]
) -> Callable[[np.ndarray], list[Top]] | None:
    """Returns pictures [N, H, W, C] of `size` -> the top classes of each.

    None where the network has no labels. The network sees the pictures as they are; a
    head that exists at one size only sees them resized to it.
    """
    if not model.record.labels:
        return None
    side = (model.record.size, model.record.size)
    seen = size if _head(tap_shapes(model, size)) else side
    head = _head(tap_shapes(model, seen))
    if head is None:
        return None

    def probabilities(variables: Any, images: jax.Array) -> jax.Array:
        if seen != size:
            shape = (len(images), *seen, images.shape[-1])
            images = jnp.clip(jax.image.resize(images, shape, "bicubic"), 0, 1)
        found = model.taps(variables, images, PLAIN)[head]
        return found if head == "probabilities" else jax.nn.softmax(found, axis=-1)

    program = jax.jit(probabilities)

    def classify(pictures: np.ndarray) -> list[Top]:
        found: list[Top] = []
        for start in range(0, len(pictures), AT_ONCE):
            part = pictures[start : start + AT_ONCE]
            fill = np.repeat(part[-1:], AT_ONCE - len(part), axis=0)
            answer = program(model.variables, np.concatenate([part, fill]))
            found += [_top(row) for row in np.asarray(answer)[: len(part)]]
        return found

    return classify


def _head(shapes: Any) -> str | None:
    return next((name for name in ("probabilities", "logits") if name in shapes), None)


def _top(row: np.ndarray) -> Top:
    order = np.argsort(-row, kind="stable")[:COUNT]
    return [(int(i), float(row[i])) for i in order if np.isfinite(row[i])]
