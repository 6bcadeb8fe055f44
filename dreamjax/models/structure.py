"""Structured results of networks as named arrays: a name stays with its array.

Keys of mappings and fields of dataclasses and named tuples are names, "head/logits"
where they are nested; places in tuples and lists are numbers, "blocks#1". JAX sorts the
keys of a dict when it flattens it, so its flattening is used only for its other nodes.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.types import Array

MAX_DEPTH = 32


def flattened(value: Any, name: str, prefix: str = "") -> dict[str, Any]:
    """Returns name -> leaf of everything inside `value`, in its own order.

    Args:
      value: an array, or mappings, dataclasses, tuples, lists and JAX's other nodes
        around leaves; None is a leaf.
      name: of a value that is a leaf, and what numbers of places are appended to.
      prefix: comes before the names that `value` gives, as "block/".

    Raises:
      ValueError: two leaves have one name, as {"a/b": x, "a": {"b": y}}, or the value
        is nested deeper than `MAX_DEPTH`, or holds itself.
    """
    leaves: dict[str, Any] = {}
    for found, leaf in _walk(value, name, prefix, 0):
        if found in leaves:
            raise ValueError(f"two arrays have the name {found!r}: rename one.")
        leaves[found] = leaf
    return leaves


def named(value: Any) -> bool:
    """Returns whether the parts of `value` have names, as those of a mapping."""
    return _names(value) is not None


def usable(leaf: Any, images: int) -> bool:
    """Returns whether a leaf is an activation: [B, h, w, K] or [B, K] of floats."""
    return (
        isinstance(leaf, jax.Array)
        and leaf.ndim in (2, 4)
        and leaf.shape[0] == images
        and 0 not in leaf.shape
        and jnp.issubdtype(leaf.dtype, jnp.floating)
    )


def shown(leaves: Mapping[str, Any], most: int = 8) -> str:
    """Returns "name [1, 5], other None" for what a network returned."""
    parts = [f"{name} {kind_of(leaf)}" for name, leaf in leaves.items()]
    return ", ".join(parts[:most]) + (" …" if len(parts) > most else "")


def kind_of(leaf: Any) -> str:
    """Returns an array's shape, and its dtype if that is no float, or a type."""
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        return "None" if leaf is None else f"a {type(leaf).__name__}"
    dtype = "" if jnp.issubdtype(leaf.dtype, jnp.floating) else f" {leaf.dtype}"
    return f"{list(leaf.shape)}{dtype}"


def _walk(
    value: Any, name: str, prefix: str, depth: int
) -> Iterator[tuple[str, Any | Array]]:
    if depth > MAX_DEPTH:
        raise ValueError(f"what the network returns is nested deeper than {MAX_DEPTH}.")
    parts = _names(value)
    if parts is not None:
        for key, child in parts:
            yield from _walk(child, f"{prefix}{key}", f"{prefix}{key}/", depth + 1)
        return
    if isinstance(value, list | tuple):
        for i, child in enumerate(value):
            yield from _walk(child, f"{name}#{i}", f"{name}#{i}/", depth + 1)
        return
    yield name, value


def _names(value: Any) -> list[tuple[str, Any]] | None:
    """Returns (name, part) for each named part; None where there are none."""
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return [(field.name, getattr(value, field.name)) for field in fields]
    if value is None or isinstance(value, list | tuple):
        return None
    inner = jax.tree_util.tree_flatten_with_path(value, lambda v: v is not value)[0]
    if [path for path, _ in inner] == [()]:
        return None  # a leaf
    return [(jax.tree_util.keystr(path, simple=True), part) for path, part in inner]
