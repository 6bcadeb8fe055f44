"""The portrait of a network: what its layers like, from the first to the last.

One row of pictures: two channels of a late tap of each map size, from fine to coarse,
then a photo dreamed into by one of these layers. Which channels: the ones that answer
most to two photos, so that no portrait shows units that never fire.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from dreamjax.images import load_image, to_uint8
from dreamjax.labels import ASSETS
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, tap_shapes
from dreamjax.runner import run

PHOTOS = ("chelsea", "coffee")
SIDE = 160  # pixels, the height of a row
GAP = 6  # white pixels between pictures
CHANNELS = 16  # fewer make no layer worth showing


def chosen_taps(model: Model) -> tuple[str, ...]:
    """Returns one tap of each map size from a quarter of the image's side down.

    The last one of the outermost names ("layer2" before "layer2.3.conv1"), which are
    the outputs of blocks. Left out: pools, taps before a nonlinearity, heads that exist
    at one image size only, and maps of less than 4 positions a side. Sizes that differ
    by a border alone count as one.

    What ReLU6 made is shown before it: a whole channel of a late layer soon is 6 in
    every place, and from there on no gradient changes the picture.
    """
    record = model.record
    shapes, clipped = traced(model)
    last: dict[int, str] = {}
    for tap, shape in shapes.items():
        if len(shape) != 4 or tap.endswith("/pre") or "pool" in tap:
            continue
        if tap in record.head_taps:
            continue
        if 4 <= shape[1] <= record.size / 3.5 and shape[3] >= CHANNELS:
            halvings = round(math.log2(record.size / shape[1]))
            best = last.get(halvings)
            if best is None or _depth(tap) <= _depth(best):
                last[halvings] = tap
    taps = (last[n] for n in sorted(last))
    return tuple(f"{t}/pre" if clipped and f"{t}/pre" in shapes else t for t in taps)


def traced(model: Model) -> tuple[Mapping[str, tuple[int, ...]], bool]:
    """Returns the shapes of the taps, and whether the network has a ReLU6."""
    used = []

    def relu6(x: jax.Array) -> jax.Array:
        used.append(x.shape)
        return PLAIN.relu6(x)

    rules = PLAIN._replace(relu6=relu6)
    watched = model._replace(taps=lambda v, x, _: model.taps(v, x, rules))
    side = model.record.size
    return tap_shapes(watched, (side, side)), bool(used)


def _depth(tap: str) -> int:
    """Number of parts beyond the first: 1 for "stage2_conv0", 0 for "mixed_2"."""
    return len(re.findall("[/.]|_+(?=[a-z])", tap))


def chosen_units(model: Model, taps: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Returns for each tap the channel that answers most to each of two photos.

    Measured against the layer's mean over both photos; never the same channel twice.
    """
    side = model.record.size
    photos = [load_image(ASSETS / f"{name}.png", (side, side)) for name in PHOTOS]

    def means(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
        found = model.taps(variables, images, PLAIN)
        return {tap: jnp.mean(found[tap], axis=(1, 2)) for tap in taps}

    found = jax.jit(means)(model.variables, jnp.asarray(np.stack(photos)))
    return {tap: _units(np.asarray(found[tap])) for tap in taps}


def _units(answers: np.ndarray) -> tuple[int, ...]:
    """The strongest channel of each row of [photos, K], each channel once."""
    units: list[int] = []
    for row in answers - answers.mean(axis=0) / 2:
        units.append(next(int(u) for u in np.argsort(-row) if u not in units))
    return tuple(units)


def portrait(
    model: Model,
    workdir: Path,
    channels: Callable[[str, tuple[int, ...]], Any],
    dream: Callable[[str], Any],
) -> dict[str, np.ndarray]:
    """Returns "tap:unit" -> picture [H, W, 3] in [0, 1], the dream ("dream tap") last.

    Args:
      model: with its weights.
      workdir: of the runs; a second call resumes them.
      channels: (tap, units) -> config of one run for each of these channels.
      dream: tap -> config of the dream, one run.
    """
    taps = chosen_taps(model)
    pictures = {}
    for tap, units in chosen_units(model, taps).items():
        folder = workdir / tap.replace("/", "_")
        found = run(channels(tap, units), folder, model=model)
        pictures |= {
            f"{tap}:{unit}": found.images[i, 0] for i, unit in enumerate(units)
        }
    tap = taps[max(0, len(taps) - 2)]
    found = run(dream(tap), workdir / "dream", model=model)
    return pictures | {f"dream {tap}": found.images[0, 0]}


def row(pictures: Mapping[str, np.ndarray]) -> Image.Image:
    """Returns the pictures side by side, all `SIDE` high."""
    parts = [Image.fromarray(to_uint8(picture)) for picture in pictures.values()]
    parts = [
        part.resize((round(part.width * SIDE / part.height), SIDE), Image.LANCZOS)
        for part in parts
    ]
    width = sum(part.width for part in parts) + GAP * (len(parts) - 1)
    sheet = Image.new("RGB", (width, SIDE), "white")
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + GAP
    return sheet
