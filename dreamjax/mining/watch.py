"""What the channels of some taps answer to pictures: one compiled program, padded."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import require
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, check_taps, tap_shapes


class Response(NamedTuple):
    """What the channels of one tap answer to N pictures; arrays [N, K].

    Attributes:
      mean: over positions.
      square: mean of the squares over positions.
      high, low: the largest and the smallest value of any position.
      high_at, low_at: where, as y · w + x; 0 in taps [N, K].
    """

    mean: np.ndarray
    square: np.ndarray
    high: np.ndarray
    high_at: np.ndarray
    low: np.ndarray
    low_at: np.ndarray


Watch = Callable[[np.ndarray], dict[str, Response]]
"""Pictures [N, H, W, C] of one size in [0, 1] -> tap -> `Response`."""


def watcher(
    model: Model,
    taps: Sequence[str],
    batch: int,
    directions: Mapping[str, np.ndarray] | None = None,
) -> Watch:
    """Returns what says how each tap answers; it compiles once for a size.

    Args:
      model: the network.
      taps: names.
      batch: pictures of one call of the program; of more, a few at a time, and the
        last ones filled up with copies.
      directions: tap -> [K, D]: directions in its activation space, which are
        watched beside its channels and numbered after them, K … K + D - 1.
    """
    require(batch >= 1, "batch", batch, "at least 1")
    axes = {t: jnp.asarray(v, jnp.float32) for t, v in (directions or {}).items()}

    def respond(variables: Any, images: jax.Array) -> dict[str, Response]:
        found = model.taps(variables, images, PLAIN)
        return {tap: _respond(found[tap], axes.get(tap)) for tap in taps}

    program = jax.jit(respond)

    def watch(images: np.ndarray) -> dict[str, Response]:
        filling = np.repeat(images[-1:], -len(images) % batch, axis=0)
        filled = np.concatenate([images, filling])
        parts = [
            jax.device_get(program(model.variables, filled[i : i + batch]))
            for i in range(0, len(filled), batch)
        ]
        return jax.tree.map(lambda *rows: np.concatenate(rows)[: len(images)], *parts)

    return watch


def _respond(a: jax.Array, axes: jax.Array | None) -> Response:
    a = a.reshape(len(a), -1, a.shape[-1]).astype(jnp.float32)  # [N, positions, K]
    if axes is not None:
        a = jnp.concatenate([a, jnp.einsum("npk,kd->npd", a, axes)], axis=-1)
    return Response(
        mean=jnp.mean(a, axis=1),
        square=jnp.mean(jnp.square(a), axis=1),
        high=jnp.max(a, axis=1),
        high_at=jnp.argmax(a, axis=1).astype(jnp.int32),
        low=jnp.min(a, axis=1),
        low_at=jnp.argmin(a, axis=1).astype(jnp.int32),
    )


def widths(
    model: Model,
    taps: Sequence[str],
    size: tuple[int, int],
    directions: Mapping[str, np.ndarray] | None = None,
) -> dict[str, int]:
    """Returns how many channels and directions of each tap are watched.

    Raises:
      ValueError: a tap that is not there, directions that do not fit it.
    """
    directions = directions or {}
    shapes = tap_shapes(model, size)
    check_taps(model.record, [*taps, *directions], shapes, size)
    require(len(taps) > 0, "taps", tuple(taps), "at least one")
    found = {}
    for tap in taps:
        channels = shapes[tap][-1]
        shape = np.shape(directions.get(tap, np.zeros((channels, 0))))
        allowed = f"[{channels}, D] for tap {tap!r}"
        fits = len(shape) == 2 and shape[0] == channels
        require(fits, "directions.shape", shape, allowed)
        found[tap] = channels + shape[1]
    return found
