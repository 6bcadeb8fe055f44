"""Units of any network in place of a paper's own: a layer and a channel in it."""

from collections.abc import Sequence
from typing import NamedTuple

from dreamjax.errors import require
from dreamjax.figures.layers import main_layers
from dreamjax.models.model import Model, tap_shapes


class Unit(NamedTuple):
    """One channel.

    Attributes:
      tap: its layer.
      channel: its number.
    """

    tap: str
    channel: int

    def __str__(self) -> str:
        return f"{self.tap}:{self.channel}"


class Wanted(NamedTuple):
    """A unit as a paper names it.

    Attributes:
      names: "tap:channel" in the paper's network, then in others that stand for it;
        the last channel's number is also taken where there is no such tap.
      depth: of the layer between the first main layer (0) and the last (1).
    """

    names: tuple[str, ...]
    depth: float


def units_like(
    model: Model, size: tuple[int, int], wanted: Sequence[Wanted]
) -> list[Unit]:
    """Returns this network's units for a paper's, in their order.

    The first name whose tap the network has; else the main layer at that depth, and in
    it the last name's channel. Numbers are modulo how many channels there are.

    Args:
      model: the network.
      size: (H, W) of the images.
      wanted: the units.

    Raises:
      ValueError: no name, one that is no "tap:channel", or a depth outside 0 … 1.
    """
    shapes, layers = tap_shapes(model, size), main_layers(model, size)
    found = []
    for names, depth in wanted:
        require(0 <= depth <= 1, "depth", depth, "0 (first layer) … 1 (last)")
        named = [_parsed(name) for name in names]
        require(len(named) > 0, "names", names, "at least one unit")
        fallback = Unit(layers[round(depth * (len(layers) - 1))], named[-1].channel)
        tap, channel = next((u for u in named if u.tap in shapes), fallback)
        found.append(Unit(tap, channel % shapes[tap][-1]))
    return found


def _parsed(name: str) -> Unit:
    tap, _, digits = name.rpartition(":")
    require(bool(tap) and digits.isdecimal(), "unit", name, '"tap:channel"')
    return Unit(tap, int(digits))
