"""The flags of a command that works with a network: which one, and whose weights."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict

from dreamjax import models


class NetworkFlags(NamedTuple):
    """`--model`, `--weights` and `--labels`, defined.

    Attributes:
      model, weights, labels: the flags' holders.
    """

    model: flags.FlagHolder
    weights: flags.FlagHolder
    labels: flags.FlagHolder

    def load(self) -> models.Model:
        """Returns the network that the flags name.

        Raises:
          ValueError: as `models.load`.
        """
        return models.load_configured(self.keys())

    def keys(self) -> Mapping[str, Any]:
        """Returns the keys of a config that the flags give."""
        named = {"model": self.model.value}
        named |= {"weights": self.weights.value, "labels": self.labels.value}
        return {key: value for key, value in named.items() if value is not None}

    def into(self, config: ConfigDict) -> None:
        """Sets the keys of a config that are given; another network has no file."""
        with config.unlocked():
            if self.model.value is not None:
                config.weights = config.labels = ""
            for key, value in self.keys().items():
                config[key] = value


def network_flags(default: str | None, text: str) -> NetworkFlags:
    """Defines the flags.

    Args:
      default: of --model; None where a config has one.
      text: of --model.
    """
    empty = None if default is None else ""
    return NetworkFlags(
        flags.DEFINE_string("model", default, text),
        flags.DEFINE_string(
            "weights", empty, "A file of your own weights for that network."
        ),
        flags.DEFINE_string("labels", empty, "A file that names its classes."),
    )
