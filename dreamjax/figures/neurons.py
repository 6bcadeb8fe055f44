"""Neurons of several layers climbed side by side: one program, whatever the layers."""

from collections.abc import Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from dreamjax.errors import choose
from dreamjax.figures.mixture import Term, mixture

CALLS = ("channel", "random_direction")


class Neuron(NamedTuple):
    """What one run climbs.

    Attributes:
      tap: the layer.
      unit: a channel of it, or the seed of a random direction.
      sign: 1 to drive it up, -1 to drive it down.
    """

    tap: str
    unit: int
    sign: float = 1.0


def aim_at(config: ConfigDict, neurons: Sequence[Neuron], call: str = "channel"):
    """Makes a config one run for each neuron, in their order.

    Args:
      config: unlocked; its objective, sweep, rows and hyperparameters are set
        (`dreamjax.figures.mixture`).
      neurons: at least one.
      call: "channel", or "random_direction" with seeds for units.
    """
    choose("call", call, CALLS)
    panels = [[Term(f'{call}("{n.tap}", {{}})', (n.unit,), n.sign)] for n in neurons]
    config.objective, hparams = mixture(panels)
    config.sweep, config.rows = "zip", "unit0_0"
    for name, values in hparams.items():
        config.hparams[name] = values
