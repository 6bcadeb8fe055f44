"""How far a unit sees: the reach of a tap, measured on the network itself.

One half of a long strip is filled with NaN. Whatever a unit computes from a NaN is NaN
(multiplied by zero or not), so the units that stay finite are those that do not see
that half. No list of kernels and strides is needed, and any network can be asked.
"""

from collections.abc import Sequence
from typing import NamedTuple

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


def measure_reach(model: Model, taps: Sequence[str]) -> dict[str, Reach | None]:
    """Returns the reach of each tap; None where a unit sees the whole image.

    That is so after a global pool, an attention layer, a squeeze-and-excitation, and
    in taps [N, K]. Both axes are taken to be alike.

    Args:
      taps: names, which exist at the size of a strip or have no positions.
    """
    found: dict[str, Reach | None] = dict.fromkeys(taps)
    for length in STRIPS:
        left = [tap for tap in taps if found[tap] is None]
        if left:
            found |= _on_strip(model, left, length)
    return found


def _on_strip(
    model: Model, taps: Sequence[str], length: int
) -> dict[str, Reach | None]:
    height = -(-max(HEIGHT, model.record.min_size) // GRID) * GRID
    short = tap_shapes(model, (height, length))
    long = tap_shapes(model, (height, 2 * length))
    maps = [t for t in taps if len(short.get(t, ())) == 4]
    maps = [t for t in maps if long[t][2] > short[t][2]]
    if not maps:
        return {}
    strip = np.full((2, height, length, model.record.channels), 0.5, np.float32)
    middle = length // 2
    strip[0, :, middle:] = np.nan
    strip[1, :, :middle] = np.nan

    def lost(variables, images):
        found = model.taps(variables, images, PLAIN)
        return {t: jnp.any(jnp.isnan(found[t]), axis=(1, 3)) for t in maps}  # [2, w]

    # Run once: compiling fast is worth more than running fast.
    fast = {"xla_backend_optimization_level": 0}
    seen = jax.jit(lost, compiler_options=fast)(model.variables, jnp.asarray(strip))
    strides = {t: length // (long[t][2] - short[t][2]) for t in maps}
    return {t: _reach(np.asarray(seen[t]), strides[t], middle) for t in maps}


def _reach(lost: np.ndarray, stride: int, middle: int) -> Reach | None:
    """Reads the reach off the units [2, w] that a NaN on the right, on the left met."""
    if lost[0].all() or lost[1].all():
        return None
    first = int(np.argmax(lost[0]))  # the first that sees pixel `middle`
    last = len(lost[1]) - 1 - int(np.argmax(lost[1][::-1]))  # that sees middle - 1
    return Reach(stride, (last + 1) * stride - middle, middle - (first - 1) * stride)
