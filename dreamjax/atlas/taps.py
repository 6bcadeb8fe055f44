"""Which taps an atlas shows, what their channels are aimed by, and which channels."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dreamjax.errors import choose, require
from dreamjax.models.model import Model, check_taps, tap_shapes
from dreamjax.portrait import traced

PICKS = ("first", "spread", "active")
TWIN = "/pre"
SAME_CHANNELS = re.compile(
    r"(/pre|/cls|pool\d*|localresponsenorm\d*|\bln(_\d+)?|norm\d*)$"
)


class Tap(NamedTuple):
    """A layer of the atlas.

    Attributes:
      name: of the tap.
      depth: its place among the network's taps, 0 (first) to 1 (last); pre-activation
        twins do not count.
      shape: (h, w, K) or (K,) at the atlas' image size.
      aim: the tap whose channels are driven up.
      twin: the tap whose channels are driven down for the negative picture.
    """

    name: str
    depth: float
    shape: tuple[int, ...]
    aim: str
    twin: str

    @property
    def channels(self) -> int:
        """The number of channels K."""
        return self.shape[-1]


def choose_taps(
    model: Model, size: tuple[int, int], wanted: Sequence[str] = ()
) -> list[Tap]:
    """Returns the layers of an atlas in the network's order.

    A channel is driven up where it is read, after the nonlinearity, and down before it,
    where a unit that is off still has a gradient. In a network with a ReLU6 it is
    driven up before it too: whole channels soon are 6 everywhere, and nothing moves.

    Args:
      model: the network.
      size: (H, W) of the pictures.
      wanted: tap names, or patterns in which `*` stands for anything but "/"; none
        means every layer that `default_taps` names.

    Raises:
      ValueError: a tap that does not exist, with a near name, or a pattern that fits
        none.
    """
    shapes = tap_shapes(model, size)
    order = [name for name in shapes if not name.endswith(TWIN)]
    names = default_taps(model, size)
    if wanted:
        matched = [_matching(model, size, shapes, text) for text in wanted]
        names = [name for name in shapes if any(name in found for found in matched)]
    clips = traced(model)[1]
    return [_tap(name, order, shapes, clips) for name in names]


def default_taps(model: Model, size: tuple[int, int]) -> list[str]:
    """Returns the taps that have channels of their own.

    Left out: pre-activation twins (/pre), a transformer's class token apart (/cls),
    what pooling and normalization make of the same channels, and probabilities, which
    are the logits again.
    """
    shapes = tap_shapes(model, size)
    return [
        name
        for name in shapes
        if name != "probabilities" and not SAME_CHANNELS.search(name)
    ]


def _matching(
    model: Model,
    size: tuple[int, int],
    shapes: Mapping[str, tuple[int, ...]],
    text: str,
) -> set[str]:
    if "*" not in text:
        check_taps(model.record, [text], shapes, size)
        return {text}
    pattern = "[^/]*".join(map(re.escape, text.split("*")))
    found = {
        name
        for name in shapes
        if re.fullmatch(pattern, name) and not SAME_CHANNELS.search(name)
    }
    require(
        bool(found), "taps", text, f"it fits none of {', '.join(list(shapes)[:40])}"
    )
    return found


def _tap(
    name: str,
    order: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    clips: bool,
) -> Tap:
    twin = name + TWIN if name + TWIN in shapes else name
    place = order.index(name.removesuffix(TWIN))
    depth = place / max(len(order) - 1, 1)
    return Tap(name, depth, shapes[name][1:], twin if clips else name, twin)


def choose_units(tap: Tap, count: int, pick: str, activity: np.ndarray) -> list[int]:
    """Returns the channels that are shown.

    Args:
      tap: the layer.
      count: how many; 0 is all.
      pick: "first", "spread" (evenly over the layer), or "active" (the largest mean
        activation on the photos, the most active one first).
      activity: [K], mean activation on the photos.

    Raises:
      ValueError: more channels than there are.
    """
    total = tap.channels
    choose("pick", pick, PICKS)
    require(
        0 <= count <= total,
        "channels",
        count,
        f"{tap.name} has {total}; 0 shows all of them",
    )
    count = total if count == 0 else count
    if pick == "first":
        return list(range(count))
    if pick == "spread":
        return [int(i * total / count) for i in range(count)]
    return [int(i) for i in np.argsort(-activity, kind="stable")[:count]]
