"""Activations of many pictures, a few at a time."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.layers import PLAIN
from dreamjax.models.model import TapsOf
from dreamjax.types import Array


def activations(
    taps: TapsOf,
    variables: Any,
    images: np.ndarray,
    names: Sequence[str],
    at_once: int = 8,
) -> dict[str, np.ndarray]:
    """Returns activations of pictures, each [N, …], by name; one compiled program.

    Args:
      taps: of a model, or its network.
      variables: weights.
      images: [N, H, W, C], in the units that `taps` takes.
      names: of the taps.
      at_once: pictures of one call; the last call is filled up with copies.
    """

    @jax.jit
    def see(variables: Any, images: Array) -> dict[str, Array]:
        found = taps(variables, images, PLAIN)
        return {name: found[name] for name in names}

    at_once, parts = min(at_once, len(images)), []
    for first in range(0, len(images), at_once):
        index = np.minimum(np.arange(first, first + at_once), len(images) - 1)
        seen = jax.device_get(see(variables, jnp.asarray(images[index])))
        parts.append({name: a[: len(images) - first] for name, a in seen.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
