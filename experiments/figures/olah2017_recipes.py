"""What the figures of Olah et al. 2017 share: two recipes, units, a measure.

The article's pictures and those of Lucid's notebooks have different transforms and
steps; each figure says which of the two it follows, and where it has fewer steps or
pixels than that.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from dreamjax.figures.climb import Climb, climb
from dreamjax.figures.figure import Context
from dreamjax.figures.mixture import Term, mixture
from dreamjax.figures.units import Unit, Wanted, units_like
from dreamjax.measures.spectrum import high_frequency

PAPER = "Olah, Mordvintsev & Schubert 2017, Feature Visualization"
NETWORK = "googlenet.bvlc-noaux"
ARTICLES = "inception_v1.5h"
STAND_IN = (
    "The article's network is Google's InceptionV1 (record inception_v1.5h: with its"
    " weights at hand and --model=inception_v1.5h the article's own units are shown)."
    " BVLC's GoogLeNet has the same architecture and other weights, so its units are"
    " others, chosen here."
)


class Preset(NamedTuple):
    """How the authors made pictures; Adam .05 in both.

    Attributes:
      transforms: as a config's text.
      steps: of theirs.
      side: of theirs, in pixels; 0 where it is not told.
    """

    transforms: str
    steps: int
    side: int


PRESETS = {
    "article": Preset("distill_2017", 2560, 0),  # a footnote of the article
    "lucid": Preset("lucid_standard", 512, 128),  # the library's defaults
    "notebook": Preset("", 2048, 64),  # on regularization: each cell its transforms
}


def recipe(
    context: Context, preset: str, objective: str, side: int, steps: int, **keys: Any
) -> ConfigDict:
    """Returns the config of a preset with Adam .05, at this size and so many steps."""
    config = context.config(
        objective,
        side,
        **{
            "steps": steps,
            "transforms": PRESETS[preset].transforms,
            "tensorboard": False,
            **keys,
        },
    )
    config.hparams.learning_rate = (0.05,)
    config.hparams.seed = (context.seed,)
    if context.quicktest and config.transforms:
        config.transforms = "roll(4)"
    return config


def together(
    context: Context,
    name: str,
    preset: str,
    panels: Sequence[Sequence[Term]],
    side: int,
    steps: int,
    *,
    snapshots: Sequence[int] = (),
    **keys: Any,
) -> tuple[Climb, ConfigDict]:
    """Climbs panels with objectives of their own in one program of a preset.

    Returns:
      What they came to, and their config, whose objective is the mixture of all.
    """
    objective, hparams = mixture(panels)
    config = recipe(context, preset, objective, side, steps, sweep="zip", **keys)
    config.hparams.update(hparams)
    kept = [n for n in snapshots if n <= config.steps]
    return climb(context, name, config, snapshots=kept), config


def told(preset: str, config: ConfigDict) -> dict[str, Any]:
    """Returns the settings of a figure: the preset, and what was made of it."""
    return {
        "preset": preset,
        "preset_steps": PRESETS[preset].steps,
        "preset_side": PRESETS[preset].side,
        "objective": config.objective,
        "steps": config.steps,
        "size": tuple(config.size),
        "transforms": config.transforms,
        "param": config.param,
        "color": config.color,
        "optimizer": "adam",
        "learning_rate": tuple(config.hparams.learning_rate),
        "seed": tuple(config.hparams.seed),
    }


DEPTHS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


def unit(
    layer: str, theirs: int | str = 0, ours: int | str = 0
) -> tuple[str, str, float]:
    """Returns a unit before the ReLU of "4a" … for `units`: the article's, and ours."""
    return (
        f"mixed{layer}/pre:{theirs}",
        f"inception_{layer}/output/pre:{ours}",
        0.2 + 0.1 * DEPTHS.index(layer),
    )


def short(found: Unit) -> str:
    """Returns "4a:84" for "inception_4a/output/pre:84", to stand under a panel."""
    name = found.tap.removesuffix("/pre").removesuffix("/output")
    return f"{name.removeprefix('inception_').removeprefix('mixed')}:{found.channel}"


def units(context: Context, side: int, *names: tuple[str, str, float]) -> list[Unit]:
    """Returns units for (the article's, GoogLeNet's, depth)."""
    wanted = [Wanted((theirs, ours), depth) for theirs, ours, depth in names]
    return units_like(context.model, context.size(side), wanted)


def fine(image: np.ndarray) -> float:
    """Returns the share of the energy above 1/4 cycle per pixel of a picture [H, W, 3].

    Of the mean of R, G and B, without a window: so measured, the pictures in Lucid's
    notebook give the values that we compare with. White noise has .80.
    """
    return high_frequency(image.mean(axis=2), window=False)
