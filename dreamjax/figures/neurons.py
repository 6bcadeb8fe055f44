"""Neurons of several layers climbed side by side: one program, whatever the layers."""

from collections.abc import Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from dreamjax.errors import choose, require

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

    The objective is `Σ_i w_i · call(tap_i, u_i)` over all layers, with the w_i of a run
    0 but for its own: layers are static, weights and units are not.

    Args:
      config: unlocked; its objective, sweep, rows and hyperparameters w0, u0, … are
        set.
      neurons: at least one.
      call: "channel", or "random_direction" with seeds for units.
    """
    require(len(neurons) > 0, "neurons", tuple(neurons), "at least one")
    choose("call", call, CALLS)
    taps = list(dict.fromkeys(neuron.tap for neuron in neurons))
    config.objective = " + ".join(
        f'w{i} * {call}("{tap}", u{i})' for i, tap in enumerate(taps)
    )
    config.sweep, config.rows = "zip", "u0"
    for i, tap in enumerate(taps):
        own = [neuron.tap == tap for neuron in neurons]
        pairs = list(zip(neurons, own, strict=True))
        config.hparams[f"w{i}"] = tuple(n.sign if yes else 0.0 for n, yes in pairs)
        config.hparams[f"u{i}"] = tuple(n.unit if yes else 0 for n, yes in pairs)
