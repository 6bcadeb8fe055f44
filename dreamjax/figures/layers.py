"""Layers of any network in place of a paper's own.

A figure names the layers of its paper's network. In another network it takes those at
the same depth, so that every figure can be made with every network.
"""

import re
from collections.abc import Mapping, Sequence

from dreamjax.atlas.taps import SAME_CHANNELS
from dreamjax.errors import require
from dreamjax.models.model import Model, tap_shapes

LEAST = 3  # positions a side of a layer that stands for a layer with positions
ENOUGH = 6  # layers to choose from
JOINED = ("/output", "/concat")


def main_layers(model: Model, size: tuple[int, int]) -> list[str]:
    """Returns the taps [h, w, K] that are the outputs of layers or blocks, input first.

    Of names of one depth ("inception_3a/1x1", "inception_3a/output") those that say
    output or concat, else all; names of another depth join where there are fewer than
    six. Left out: taps before a nonlinearity, pools, normalizations, and maps of fewer
    than 3 positions a side (unless a tiny image leaves no other).
    """
    shapes = {t: s for t, s in tap_shapes(model, size).items() if len(s) == 4}
    named = [t for t in shapes if not SAME_CHANNELS.search(t)]
    large = [t for t in named if min(shapes[t][1:3]) >= LEAST]
    names = large or named or list(shapes)
    found: list[str] = []
    for parts in sorted({_parts(name) for name in names}):
        level = [name for name in names if _parts(name) == parts]
        joined = [name for name in level if name.endswith(JOINED)]
        found += joined or level
        if len(found) >= ENOUGH:
            break
    return [name for name in names if name in found]


def layer_like(model: Model, size: tuple[int, int], wanted: str, depth: float) -> str:
    """Returns the tap `wanted` if the network has it, else one at the same depth.

    Args:
      model: the network.
      size: (H, W) of the images.
      wanted: the paper's own name, such as "inception_4c/output".
      depth: where that is between the first main layer (0) and the last (1).
    """
    require(0 <= depth <= 1, "depth", depth, "0 (first layer) … 1 (last)")
    if wanted in tap_shapes(model, size):
        return wanted
    names = main_layers(model, size)
    return names[round(depth * (len(names) - 1))]


def layers_like(
    model: Model, size: tuple[int, int], wanted: Mapping[str, float]
) -> list[str]:
    """Returns `layer_like` of each name -> depth; each tap once, in their order."""
    found = [layer_like(model, size, name, depth) for name, depth in wanted.items()]
    return list(dict.fromkeys(found))


def spread(names: Sequence[str], count: int) -> list[str]:
    """Returns at most `count` of the names, evenly spread, both ends among them."""
    require(count >= 1, "count", count, "at least 1")
    if count == 1 or len(names) <= count:
        return list(names)[-1:] if count == 1 else list(names)
    places = [round(i * (len(names) - 1) / (count - 1)) for i in range(count)]
    return [names[i] for i in places]


def _parts(name: str) -> int:
    return len(re.findall(r"[/.]|_+(?=[a-z])", name))
