"""Errors that name the argument, the value given and what is allowed."""

import difflib
from collections.abc import Iterable
from typing import Any


def did_you_mean(value: str, allowed: Iterable[str]) -> str:
    """Returns `' Did you mean "tv"?'` for the nearest allowed name, or `''`."""
    near = difflib.get_close_matches(str(value), [str(a) for a in allowed], n=1)
    return f' Did you mean "{near[0]}"?' if near else ""


def choose(argument: str, value: str, allowed: Iterable[str]) -> str:
    """Returns `value` if it is one of `allowed`.

    Raises:
      ValueError: naming the argument, the value, a near name and the choices (the
        first 40 of them).
    """
    names = [str(a) for a in allowed]
    if value in names:
        return value
    shown = ", ".join(names[:40]) + (" …" if len(names) > 40 else "")
    raise ValueError(
        f"{argument}={value!r} is not known.{did_you_mean(value, names)}"
        f" Allowed: {shown}."
    )


def require(condition: bool, argument: str, value: Any, allowed: str) -> None:
    """Raises ValueError `"argument=value: allowed"` unless `condition` holds."""
    if not condition:
        raise ValueError(f"{argument}={value!r} is not possible: {allowed}.")
