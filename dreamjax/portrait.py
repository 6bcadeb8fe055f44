"""The portrait of a network: what its layers like, from the first to the last.

One row of pictures: two channels of a late tap of each map size, from fine to coarse,
then a photo dreamed into by one of these layers. Which channels: the ones that answer
most to two photos, so that no portrait shows units that never fire.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from dreamjax import config as configs
from dreamjax.images import load_image, to_uint8
from dreamjax.labels import ASSETS
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, tap_shapes
from dreamjax.runner import run

PHOTOS = ("chelsea", "coffee")
SIDE = 160  # pixels of a channel's picture; a dream is as high
GAP = 6  # white pixels between pictures
CHANNELS = 16  # fewer make no layer worth showing


def chosen_taps(model: Model) -> tuple[str, ...]:
    """Returns one tap of each map size from a quarter of the image's side down.

    The last one of the outermost names ("layer2" before "layer2.3.conv1"), which are
    the outputs of blocks. Left out: pools, taps before a nonlinearity, and maps of less
    than 4 positions a side.
    """
    side = model.record.size
    last: dict[int, str] = {}
    for tap, shape in tap_shapes(model, (side, side)).items():
        if len(shape) != 4 or tap.endswith("/pre") or "pool" in tap:
            continue
        if 4 <= shape[1] <= side / 3.5 and shape[3] >= CHANNELS:
            best = last.get(shape[1])
            if best is None or _depth(tap) <= _depth(best):
                last[shape[1]] = tap
    return tuple(last[n] for n in sorted(last, reverse=True))


def _depth(tap: str) -> int:
    """Number of parts that a tap's name has beyond the first."""
    return tap.count("/") + tap.count(".")


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


def channel_config(
    model_name: str, tap: str, units: tuple[int, ...], *, redirect: bool
) -> Any:
    """Returns the config of a tap's pictures: Lucid's defaults, 256 steps.

    Args:
      redirect: let gradient through units that are off at first, as deep ones are.
    """
    config = configs.base_config()
    config.model = model_name
    config.objective = f"{tap}:unit"
    config.size = (SIDE, SIDE)
    config.steps = 256
    config.log_every = 32
    config.hparams.unit = units
    config.redirect_relu = redirect
    return config


def dream_config(model_name: str, tap: str) -> Any:
    """Returns the config of the dream: the energy of a tap, from a photo."""
    config = configs.base_config()
    config.model = model_name
    config.objective = tap
    config.start = PHOTOS[0]
    config.size = (2 * SIDE, 3 * SIDE)
    config.param, config.color, config.range = "pixel", "rgb", "clip"
    config.transforms = "roll(16)"
    config.gradient = ("mean_abs",)
    config.optimizer = "sgd"
    config.steps = 64
    config.log_every = 16
    config.hparams.learning_rate = (0.008,)
    return config


def portrait(model: Model, name: str, workdir: Path) -> dict[str, np.ndarray]:
    """Returns "tap:unit" -> picture [H, W, 3] in [0, 1], the dream ("dream tap") last.

    Args:
      model: with its weights.
      name: by which the configs call it.
      workdir: of the runs; a second call resumes them.
    """
    taps = chosen_taps(model)
    pictures = {}
    for tap, units in chosen_units(model, taps).items():
        folder = workdir / tap.replace("/", "_")
        config = channel_config(name, tap, units, redirect=model.record.redirectable)
        found = run(config, folder, model=model)
        pictures |= {
            f"{tap}:{unit}": found.images[i, 0] for i, unit in enumerate(units)
        }
    tap = taps[max(0, len(taps) - 2)]
    found = run(dream_config(name, tap), workdir / "dream", model=model)
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
