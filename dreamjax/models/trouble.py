"""What went wrong in somebody's network while it was traced, and what to do about it.

Flax and JAX say it in many lines, for those who wrote the layer. Here it is one line
for who brought the network: what was said, in which layer, and a remedy.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import jax
from flax import errors, nnx
from flax import linen as nn

OFF = ("train", "training", "is_training", "is_train", "train_mode")
ON = ("deterministic", "use_running_average", "inference", "eval")
"""Arguments of a call that put a network into use when they are False, or True."""

CHANNELS = (
    "The weights are of another network, or the record's channels are not the image's."
)
MOST = 300  # characters of what an error says


def said_by(error: BaseException) -> str:
    """Returns what an error says, in one line without Flax's links."""
    text = re.sub(r"\s*\(https?://\S+\)|\s*See https?://\S+", "", str(error))
    text = " ".join(text.split()) or "no reason is given"
    text = text if len(text) <= MOST else f"{text[:MOST]}…"
    return f"{type(error).__name__}: {text.rstrip('.')}"


def where_of(error: BaseException, module: Any) -> str:
    """Returns the path of the innermost layer in which an error arose, or ""."""
    part, trace = None, error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        part = owner if isinstance(owner, nn.Module | nnx.Module) else part
        trace = trace.tb_next
    if isinstance(part, nn.Module):
        return "/".join(part.path) if part.scope is not None else ""
    if part is None or not isinstance(module, nnx.Module):
        return ""
    return _path_in(module, part)


def remedy_of(
    error: BaseException,
    module: Any,
    arguments: Mapping[str, Any],
    size: tuple[int, int],
) -> str:
    """Returns what to do about an error of a network's trace.

    Args:
      module: the Flax module that was called, or None for a plain function.
      arguments: of its call.
      size: (height, width) of the images.
    """
    if isinstance(error, errors.ModifyScopeVariableError | errors.InvalidRngError):
        return (
            "It is in training mode: call it as in use, with"
            f" from_{_kind(module)}(…, {in_use(module, arguments)})."
        )
    if isinstance(error, errors.ScopeCollectionNotFound):
        found = re.search('collection "([^"]+)"', str(error))
        name = found[1] if found else "batch_stats"
        return (
            f"The variables lack the collection {name!r}: give all that init or the"
            f" training returned, {{'params': …, {name!r}: …}}."
        )
    if isinstance(error, errors.ScopeParamNotFoundError | errors.InvalidScopeError):
        return (
            "The variables are not this module's: give all that its init or its"
            " training returned, {'params': …}."
        )
    if isinstance(error, errors.ApplyScopeInvalidVariablesTypeError):
        return "The variables are not what init returns: {'params': …}."
    if isinstance(error, errors.ApplyScopeInvalidVariablesStructureError):
        return "The variables have one 'params' too many around them."
    if isinstance(error, errors.ScopeParamShapeError):
        dense = re.search(r"shape \(\d+, \d+\)", str(error))
        return _size_remedy(size) if dense else CHANNELS
    if isinstance(error, jax.errors.ConcretizationTypeError):
        return (
            "A network is traced once for all images: it cannot decide by their values"
            " with if or int(); jnp.where and lax.cond can."
        )
    if isinstance(error, TypeError) and "argument" in str(error):
        lacking = re.search("missing .*?: '([^']+)'", str(error))
        if lacking and module is not None:
            value = "True" if lacking[1] in ON else "False"
            given = f"{lacking[1]}={value if lacking[1] in (*ON, *OFF) else '…'}"
            return f"Give it: from_{_kind(module)}(…, {given})."
    if isinstance(error, TypeError) and "dtype" in str(error):
        return "Images come as float32 in the record's range: convert what differs."
    if "feature dimension" in str(error):
        return CHANNELS
    if "contracting dimension" in str(error):
        return _size_remedy(size)
    return ""


def in_use(module: Any, arguments: Mapping[str, Any]) -> str:
    """Returns the argument that takes a module out of training: "train=False"."""
    try:
        known = list(inspect.signature(type(module).__call__).parameters)
    except (TypeError, ValueError):
        known = []
    for name in (*arguments, *known):
        if name in OFF:
            return f"{name}=False"
        if name in ON:
            return f"{name}=True"
    return "train=False or deterministic=True, whatever its __call__ has for it"


def _kind(module: Any) -> str:
    return "linen" if isinstance(module, nn.Module) else "nnx"


def _size_remedy(size: tuple[int, int]) -> str:
    return (
        "A dense layer that reads a flattened map takes one image size only: is"
        f" {size[0]} × {size[1]} px the one that it was made for? Give that as the"
        " config's size and the record's size and min_size, and no transforms that"
        " change it; or take the mean over the map before the layer."
    )


def _path_in(module: nnx.Module, part: Any) -> str:
    """Returns the path of a layer; merging made copies, so alike is by type and shape.

    A path is given only where one layer alone can be meant.
    """
    alike = [
        "/".join(map(str, path))
        for path, node in nnx.iter_graph(module)
        if type(node) is type(part) and path and _settings(node) == _settings(part)
    ]
    return alike[0] if len(alike) == 1 else ""


def _settings(node: Any) -> dict[str, Any]:
    """Returns a layer's plain settings, such as its numbers of features."""
    plain = (bool, int, str, tuple)
    return {
        name: value
        for name, value in vars(node).items()
        if isinstance(value, plain) and not name.startswith("_")
    }
