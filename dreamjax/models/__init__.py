"""Networks: `load("vgg16.torchvision")`, or any network of your own.

`zoo.PORTS` has the weight sets that the project knows, `docs/models.md` lists them. A
name that begins with "hf:" or "timm:" is a repository of the hub. Another name with a
colon, "package.module:function", calls a function of your own that returns a `Model`;
see docs/own_model.md.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from dreamjax.models.adapters import from_function, from_linen, from_nnx
from dreamjax.models.hub import is_hub_name, load_hub
from dreamjax.models.model import Model, Record, tap_shapes
from dreamjax.models.own import load_own
from dreamjax.models.port import load_port
from dreamjax.models.zoo import PORTS, find_port


def load_configured(config: Mapping[str, Any]) -> Model:
    """Returns the network of a config: its keys model, weights and labels."""
    return load(
        config["model"],
        weights=config.get("weights", ""),
        labels=config.get("labels", ""),
    )


def load(name: str, *, weights: str = "", labels: str = "") -> Model:
    """Returns a network with its pretrained weights, or with your own.

    The weights file is looked for in the folder that DREAMJAX_WEIGHTS names, then in
    the cache, then fetched from its public address.

    Args:
      name: a weight set ("vgg16.torchvision"), an architecture ("vgg16", which means
        its first weight set), a repository of the hub ("hf:timm/resnet18.a1_in1k",
        "timm:resnet18.a1_in1k", see `hub.load_hub`), or "package.module:function" of
        your own code.
      weights: a file of your own for a network of the zoo; see `own.load_own`.
      labels: a file with the names of that file's classes.

    Raises:
      ValueError: an unknown name, weights that are nowhere or are not what was
        published, or a function that is missing or returns no Model.
    """
    if ":" not in name:
        if weights:
            return load_own(name, weights, labels)
        if labels:
            raise ValueError(f"labels={labels!r} needs weights, a file of your own.")
        return load_port(find_port(name))
    if is_hub_name(name) and not weights:
        return load_hub(name, labels)
    if weights or labels:
        raise ValueError(
            f"weights={weights!r}, labels={labels!r} are for networks of the zoo:"
            f" {name!r} brings its own."
        )
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:  # the last two: "", ".x"
        raise ValueError(
            f"model={name!r}: cannot import {module_name!r}: {error}."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(
            f"model={name!r}: {module_name!r} has no function {function_name!r}."
        )
    model = function()
    if not isinstance(model, Model):
        raise ValueError(
            f"model={name!r} returned {type(model).__name__}, not a dreamjax Model:"
            " use from_linen, from_nnx or from_function."
        )
    return model


__all__ = [
    "PORTS",
    "Model",
    "Record",
    "from_function",
    "from_linen",
    "from_nnx",
    "load",
    "load_configured",
    "tap_shapes",
]
