"""Hyperparameters: numbers that a program takes as arguments, not as constants.

A factory such as `channel("b8", 12)` takes a plain number or `Hparam("unit")`: the
name of a traced value that is looked up in `hp` at every step and may be swept with
no recompile.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from dreamjax.types import Array, HParams


class Hparam(NamedTuple):
    """The name of a traced value in `hp`."""

    name: str


Value = int | float | Hparam
"""What a factory takes for a number that may be swept."""


def resolve(value: Any, hp: HParams) -> Array | Any:
    """Returns `hp[name]` for an `Hparam`, and any other value as it is."""
    if isinstance(value, Hparam):
        if value.name not in hp:
            raise ValueError(
                f"hyperparameter {value.name!r} is read but not given."
                f" Given: {', '.join(sorted(hp))}."
            )
        return hp[value.name]
    return value


def read(name: str, hp: HParams) -> Array:
    """Returns `hp[name]`; a missing one is a ValueError that names it."""
    return jnp.asarray(resolve(Hparam(name), hp))


def names_in(*values: Any) -> frozenset[str]:
    """Returns the names of the `Hparam`s among `values`."""
    return frozenset(v.name for v in values if isinstance(v, Hparam))
