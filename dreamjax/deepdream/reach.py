"""How far a unit sees: the reach of a tap, measured on the network itself.

One half of a long strip is filled with NaN. Whatever a unit computes from a NaN is NaN
(multiplied by zero or not), so the units that stay finite are those that do not see
that half. No list of kernels and strides is needed, and any network can be asked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, tap_shapes

STRIPS = (1024, 4096)  # pixels; the longer one where the first is seen whole
HEIGHT = 64  # of a strip, or what the network takes at least
GRID = 32  # of sizes: every stride divides it


class Reach(NamedTuple):
    """What the unit at index j of a tap sees: pixels j·stride - before … + after - 1.

    Attributes:
      stride: pixels from one unit to the next.
      before, after: pixels, as above.
    """

    stride: int
    before: int
    after: int


class Field(NamedTuple):
    """The receptive field of a tap: unit j sees pixels j·stride + start … and on.

    Attributes:
      size: pixels seen, of one axis.
      stride: pixels from one unit to the next.
      start: the first pixel that unit 0 would see; negative in the padding.
    """

    size: int
    stride: int
    start: int


def measure_reach(model: Model, taps: Sequence[str]) -> dict[str, Reach | None]:
    """Returns the reach of each tap; None where a unit sees the whole image.

    That is so after a global pool, an attention layer, a squeeze-and-excitation, and
    in taps [N, K]. Both axes are taken to be alike. The ends are rounded outward to
    whole strides, which is all that tiles need; `measure_fields` is exact.

    Args:
      taps: names, which exist at the size of a strip or have no positions.
    """
    return _measured(model, taps, _reaches)


def measure_fields(model: Model, taps: Sequence[str]) -> dict[str, Field | None]:
    """Returns the receptive field of each tap, exact to the pixel.

    Args and None as in `measure_reach`; takes as many runs as the largest stride.
    """
    return _measured(model, taps, _fields)


def told_fields(model: Model, taps: Sequence[str]) -> dict[str, str]:
    """Returns "sees 203 px, one unit every 16" of each tap.

    What is seen does not depend on the weights, so any will do where there are none.
    """
    weights = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), model.variables)
    found = measure_fields(model._replace(variables=weights), taps)
    return {
        tap: "sees all"
        if field is None
        else f"sees {field.size} px, one unit every {field.stride}"
        for tap, field in found.items()
    }


def _measured(model: Model, taps: Sequence[str], read: Callable) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(taps)
    for length in STRIPS:
        left = [tap for tap in taps if found[tap] is None]
        if left:
            found |= _on_strip(model, left, length, read)
    return found


Lost = Callable[[int], dict[str, np.ndarray]]
"""Pixel -> tap -> [2, w]: which units see it or what is right of it; left of it."""


def _on_strip(
    model: Model, taps: Sequence[str], length: int, read: Callable
) -> dict[str, Any]:
    height = -(-max(HEIGHT, model.record.min_size) // GRID) * GRID
    short = tap_shapes(model, (height, length))
    long = tap_shapes(model, (height, 2 * length))
    maps = [t for t in taps if len(short.get(t, ())) == 4]
    maps = [t for t in maps if long[t][2] > short[t][2]]
    if not maps:
        return {}

    def find(variables, images):
        found = model.taps(variables, images, PLAIN)
        return {t: jnp.any(jnp.isnan(found[t]), axis=(1, 3)) for t in maps}  # [2, w]

    # Run a few times: compiling fast is worth more than running fast.
    program = jax.jit(find, compiler_options={"xla_backend_optimization_level": 0})

    def lost(pixel: int) -> dict[str, np.ndarray]:
        strip = np.full((2, height, length, model.record.channels), 0.5, np.float32)
        strip[0, :, pixel:] = np.nan
        strip[1, :, :pixel] = np.nan
        return jax.device_get(program(model.variables, jnp.asarray(strip)))

    strides = {t: length // (long[t][2] - short[t][2]) for t in maps}
    return read(lost, strides, length // 2)


def _reaches(
    lost: Lost, strides: Mapping[str, int], middle: int
) -> dict[str, Reach | None]:
    seen = lost(middle)
    return {t: _reach(seen[t], stride, middle) for t, stride in strides.items()}


def _fields(
    lost: Lost, strides: Mapping[str, int], middle: int
) -> dict[str, Field | None]:
    """Moves the border pixel by pixel: where another unit is lost, its field ends."""
    seen = [lost(middle + i) for i in range(max(strides.values()) + 1)]
    found: dict[str, Field | None] = {}
    for tap, stride in strides.items():
        rows = [one[tap] for one in seen]
        if any(row.all() for row in rows[0]):
            found[tap] = None
            continue
        first = [int(np.argmax(row[0])) for row in rows]
        last = [len(row[1]) - 1 - int(np.argmax(row[1][::-1])) for row in rows]
        # Unit first[i] sees pixel middle + i, and not the next one: it ends there.
        i = next(i for i in range(stride) if first[i + 1] > first[i])
        end = middle + i - first[i] * stride
        # Unit last[i + 1] sees pixel middle + i, not the one before: it begins there.
        i = next(i for i in range(stride) if last[i + 1] > last[i])
        start = middle + i - last[i + 1] * stride
        found[tap] = Field(end - start + 1, stride, start)
    return found


def _reach(lost: np.ndarray, stride: int, middle: int) -> Reach | None:
    """Reads the reach off the units [2, w] that a NaN on the right, on the left met."""
    if lost[0].all() or lost[1].all():
        return None
    first = int(np.argmax(lost[0]))  # the first that sees pixel `middle`
    last = len(lost[1]) - 1 - int(np.argmax(lost[1][::-1]))  # that sees middle - 1
    return Reach(stride, (last + 1) * stride - middle, middle - (first - 1) * stride)
