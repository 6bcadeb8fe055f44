"""Networks: `load("efficientnet_lite0")`, or any network of your own.

`MODELS` has the networks that come with the project. A name with a colon,
"package.module:function", calls a function of your own that returns a `Model`; see
docs/own_model.md.
"""

import importlib

from dreamjax.errors import choose
from dreamjax.models.adapters import from_function, from_linen, from_nnx
from dreamjax.models.efficientnet_lite import load_lite0
from dreamjax.models.model import Model, Record, tap_shapes

MODELS = {"efficientnet_lite0": load_lite0}


def load(name: str) -> Model:
    """Returns a network with its pretrained weights.

    Args:
      name: a key of `MODELS`, or "package.module:function" of your own code.

    Raises:
      ValueError: an unknown name, or a function that is missing or returns no Model.
    """
    if ":" not in name:
        return MODELS[choose("model", name, MODELS)]()
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
    "MODELS",
    "Model",
    "Record",
    "from_function",
    "from_linen",
    "from_nnx",
    "load",
    "tap_shapes",
]
