"""Networks: `load("vgg16.torchvision")`, or any network of your own.

`zoo.PORTS` has the weight sets that the project knows, `docs/models.md` lists them. A
name with a colon, "package.module:function", calls a function of your own that returns
a `Model`; see docs/own_model.md.
"""

import importlib

from dreamjax.models.adapters import from_function, from_linen, from_nnx
from dreamjax.models.model import Model, Record, tap_shapes
from dreamjax.models.port import load_port
from dreamjax.models.zoo import PORTS, find_port


def load(name: str) -> Model:
    """Returns a network with its pretrained weights.

    The weights file is looked for in the folder that DREAMJAX_WEIGHTS names, then in
    the cache, then fetched from its public address.

    Args:
      name: a weight set ("vgg16.torchvision"), an architecture ("vgg16", which means
        its first weight set), or "package.module:function" of your own code.

    Raises:
      ValueError: an unknown name, weights that are nowhere or are not what was
        published, or a function that is missing or returns no Model.
    """
    if ":" not in name:
        return load_port(find_port(name))
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
    "tap_shapes",
]
