"""What a key of a config may be: checked, and converted to plain Python values, once.

A `Field` takes what people write (a NumPy or JAX scalar, a range, an array, one value
where a tuple is meant) and gives the one form that everything behind it may rely on: an
int, a float, a bool, a text, a tuple of these. Anything else is refused in one line
that names the key, the value and what is allowed, before anything is loaded.

A whole number may be written as 3.0, since that is what arithmetic gives; 2.5 and
True are none.
"""

import hashlib
import math
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dreamjax.caps import cap, check_cap

ARRAY = "array:"
"""Begins the name of a picture that is given as an array, before its digest."""


class Field(NamedTuple):
    """What one key may be.

    Attributes:
      allowed: in words.
      take: value -> plain value; raises ValueError where it cannot be, with a message
        of its own or none.
    """

    allowed: str
    take: Callable[[Any], Any]


def convert(argument: str, value: Any, field: Field) -> Any:
    """Returns a value in its field's plain form.

    Raises:
      ValueError: naming the argument, the value and what is allowed.
    """
    try:
        return field.take(value)
    except (ValueError, TypeError, OverflowError) as error:
        why = f" ({error})" if str(error) and isinstance(error, ValueError) else ""
        raise ValueError(
            f"{argument}={shown(value)} is not possible: {field.allowed}{why}."
        ) from None


def shown(value: Any) -> str:
    """Returns a value for an error: in one line, and short whatever it holds."""
    if hasattr(value, "dtype") and hasattr(value, "shape") and value.shape:
        return f"an array {value.dtype}{list(value.shape)}"
    text = ascii(value) if isinstance(value, str) else _SHORT.repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:200]} …"


_SHORT = reprlib.Repr()
_SHORT.maxtuple = _SHORT.maxlist = 6
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlong = 40


def plain(value: Any) -> Any:
    """Returns a scalar of NumPy or JAX as a Python number; other values as they are."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value


def is_array(value: Any) -> bool:
    """Tells whether a value is an array of NumPy or JAX with at least one axis."""
    return bool(getattr(value, "shape", ())) and hasattr(value, "dtype")


def entries(value: Any) -> tuple:
    """Returns the entries of a tuple, list, range or array; of one value, itself.

    An array of several axes has arrays as entries.
    """
    if isinstance(value, range):
        check_cap(len(value), "list")
    if isinstance(value, list | tuple | range):
        return tuple(value)
    if is_array(value):
        return tuple(np.asarray(value))
    return (plain(value),)


def whole(low: int = 0, most: str | int = 2**31 - 1) -> Field:
    """A whole number from `low` to a cap of `dreamjax.caps`, or to a number."""

    def take(value: Any) -> int:
        value = plain(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError
        if isinstance(most, str):
            check_cap(value, most)
        elif value > most:
            raise ValueError(f"at most {most}")
        return value

    return Field(f"a whole number, at least {low}", take)


def real(
    low: float = -math.inf, high: float = math.inf, *, above: bool = False
) -> Field:
    """A finite number from `low` (or above it) to `high`."""

    def take(value: Any) -> float:
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        if not math.isfinite(value) or not low <= value <= high:
            raise ValueError
        if above and value == low:
            raise ValueError
        return float(value) if not isinstance(value, int) else value

    words = "a finite number"
    if low > -math.inf:
        words += f" above {low:g}" if above else f", at least {low:g}"
    if high < math.inf:
        words += f" and at most {high:g}"
    return Field(words, take)


def _truth(value: Any) -> bool:
    value = plain(value)
    if not isinstance(value, bool):
        raise ValueError
    return value


TRUTH = Field("True or False", _truth)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    check_cap(len(value), "text")
    if not all(c.isprintable() or c in "\n\t" for c in value):
        raise ValueError("it holds what cannot be printed")
    return value


TEXT = Field("a text", _text)


def _picture(value: Any) -> Any:
    if is_array(value):
        return picture_array(value)
    return _text(str(value) if hasattr(value, "__fspath__") else value)


PICTURE = Field("a file, a name, or an array [H, W, C] in [0, 1]", _picture)


def picture_array(value: Any) -> np.ndarray:
    """Returns a picture given as an array: float32 [H, W, C] in [0, 1].

    8-bit values are divided by 255.

    Raises:
      ValueError: another shape, or values outside.
    """
    array = np.asarray(value)
    if array.ndim != 3 or array.size == 0 or array.shape[2] > cap("channels"):
        raise ValueError(f"its shape is {list(array.shape)}")
    check_cap(array.shape[0] * array.shape[1], "pixels")
    if array.dtype == np.uint8:
        array = array / 255
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"its type is {array.dtype}; give floats, or 8 bits")
    array = np.ascontiguousarray(array, np.float32)
    if not (np.all(array >= 0) and np.all(array <= 1)):
        raise ValueError("its values are not all in [0, 1]")
    return array


def array_name(array: np.ndarray) -> str:
    """Returns the name by which configs and recipes call a picture given as array."""
    told = f"{array.shape}".encode() + array.tobytes()
    return f"{ARRAY}{hashlib.sha256(told).hexdigest()}"


def tuple_of(item: Field, *, least: int = 0, most: str = "list") -> Field:
    """A tuple of values of one field, within a cap; one value alone is one of one."""

    def take(value: Any) -> tuple:
        value = plain(value)
        if hasattr(value, "__len__") and not isinstance(value, str):
            check_cap(len(value), most)
        found = entries(value)
        if len(found) < least:
            raise ValueError
        return tuple(item.take(entry) for entry in found)

    return Field(f"a tuple, each of it {item.allowed}", take)


def pair_of(item: Field, *, one: bool = False) -> Field:
    """Two values of one field; with `one`, a value alone stands for both."""

    def take(value: Any) -> tuple:
        found = tuple(item.take(entry) for entry in entries(value))
        if one and len(found) == 1:
            found *= 2
        if len(found) != 2:
            raise ValueError
        return found

    words = "one side or (height, width)" if one else "two of them"
    return Field(f"{words}: each {item.allowed}", take)
