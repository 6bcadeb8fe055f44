"""The sweep of one tap: its channels, each with variants and a negative, one program.

Up and down are one objective with traced weights, `plus*channel(aim, unit) -
minus*channel(twin, unit)`, so that a channel's pictures share one compile.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from dreamjax.atlas.taps import Tap
from dreamjax.config import as_config, plain
from dreamjax.errors import require

SIGNS = ("plus", "minus")
MAIN, VARIANT, NEGATIVE = "main", "variant", "negative"


def tap_config(
    config: Mapping[str, Any],
    tap: Tap,
    units: Sequence[int],
    *,
    variants: int,
    diversity: float,
    negative: bool,
) -> ConfigDict:
    """Returns the config of the sweep of one tap.

    Args:
      config: the recipe: size, steps, transforms, parametrization and one value for
        each hyperparameter. Its objective, unit and sweep are set here.
      tap: the layer.
      units: its channels.
      variants: pictures of a channel beyond the first.
      diversity: 0 makes variants from other seeds, each alone. Above 0 they are one
        batch, told apart by Lucid's diversity term with this weight.
      negative: also drive each channel down.

    Raises:
      ValueError: a recipe with several values for a hyperparameter, or more than one
        image of a run where variants come from seeds.
    """
    config = as_config(plain(config))
    check_recipe(config)
    require(variants >= 0, "variants", variants, "at least 0")
    require(diversity >= 0, "diversity", diversity, "at least 0")
    seed = config.hparams.seed[0]
    seeds = [seed] if diversity else [seed + i for i in range(variants + 1)]
    runs = [(unit, s, 1.0, 0.0) for unit in units for s in seeds]
    if negative:
        runs += [(unit, seed, 0.0, 1.0) for unit in units]
        runs.sort(key=lambda run: (units.index(run[0]), run[3]))
    columns = list(zip(*runs, strict=True))
    config.hparams.unit, config.hparams.seed = columns[0], columns[1]
    config.objective = objective_text(tap, diversity, negative)
    config.sweep = "zip(unit, seed)"
    if negative:
        config.hparams.plus, config.hparams.minus = columns[2], columns[3]
        config.sweep = "zip(unit, seed, plus, minus)"
    if diversity:
        config.batch = 1 + variants
    config.rows = "unit"
    return config.lock()


def objective_text(tap: Tap, diversity: float, negative: bool) -> str:
    """Returns what is maximized, as text."""
    text = f'channel("{tap.aim}", unit)'
    if negative:
        text = f'plus*{text} - minus*channel("{tap.twin}", unit)'
    return f'{text} + {diversity}*diversity("{tap.aim}")' if diversity else text


def check_recipe(config: Mapping[str, Any]) -> None:
    """Raises ValueError unless every hyperparameter has one value, and none is drawn.

    An atlas compares channels and layers, so all else must be the same.
    """
    for name, values in config["hparams"].items():
        free = name == "unit"
        require(
            free or len(values) == 1,
            f"hparams.{name}",
            tuple(values),
            f"an atlas has one setting; give one value, --config.hparams.{name}=…",
        )
        require(
            free or name in ("target", "reference") or not isinstance(values[0], str),
            f"hparams.{name}",
            tuple(values),
            "an atlas has one setting; give a number, not a distribution",
        )
    require(config["batch"] == 1, "batch", config["batch"], "1; see --variants")


def kind_of(hparams: Mapping[str, Any], seed: int) -> str:
    """Returns whether a run is a channel's main picture, a variant, or its negative."""
    if hparams.get("minus", 0.0):
        return NEGATIVE
    return MAIN if hparams["seed"] == seed else VARIANT
