"""Errors that name the argument, the value given and what is allowed."""

import difflib
import unicodedata
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


def printable(text: object, keep: str = "") -> str:
    """Returns a text that came from elsewhere as one that a terminal only shows.

    Control characters, with which a text could move the cursor, set a title or hide
    what it says, are written as escapes (`\\x1b`); so are marks that turn the direction
    of writing, and halves of characters.

    Args:
      text: of a file, a server, a name; anything else is made a string.
      keep: control characters that stay.
    """
    return "".join(
        char if char in keep or not _is_control(char) else _escape(char)
        for char in str(text)
    )


def _is_control(char: str) -> bool:
    kind = unicodedata.category(char)
    return kind in ("Cc", "Cs", "Zl", "Zp") or char in DIRECTIONS


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


DIRECTIONS = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Marks that turn the direction of writing."""


def os_error_text(error: OSError) -> str:
    """Returns the path and the reason of an error of the system, in one line."""
    reason = error.strerror or str(error) or type(error).__name__
    paths = [str(p) for p in (error.filename, error.filename2) if p is not None]
    return printable(f"{' -> '.join(map(repr, paths))}: {reason}" if paths else reason)
