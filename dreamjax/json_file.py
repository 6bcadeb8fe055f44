"""The one reader of JSON: from a file, a line or a request to plain, checked values.

What a file says is data, whoever wrote it: it is read whole or refused in one line that
names the file, and it never takes more than a stated size, depth or number of digits.
A schema is a function from a value to None that raises `Wrong`; small ones are put
together from those below.
"""

import json
import math
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

MAX_BYTES = 64_000_000
"""The largest file that is read whole: plans, summaries and logs of large sweeps have
a few megabytes."""

MAX_DEPTH = 64
"""The most objects and lists inside each other; what dreamjax writes has below 10."""

MAX_DIGITS = 40
"""Of a whole number. Python reads any number, in a time that grows with its square."""

Schema = Callable[[Any], None]
"""value -> None; raises `Wrong`."""


class Wrong(ValueError):
    """A value that its schema does not allow.

    Attributes:
      said: what is wrong with it.
      place: where it is, such as ".blocks[3].start".
    """

    def __init__(self, said: str, place: str = ""):
        super().__init__(f"{place.removeprefix('.') or 'it'} {said}")
        self.said, self.place = said, place


def read_json(
    path: str | Path,
    what: str = "file",
    *,
    schema: Schema | None = None,
    remedy: str = "",
    most: int = MAX_BYTES,
    nan: bool = False,
) -> Any:
    """Returns what a JSON file holds.

    Args:
      path: a regular file; pipes and devices are never waited for.
      what: what it is called in an error, such as "plan".
      schema: what the value has to be.
      remedy: a sentence that ends the error, such as "Delete it: it is made again.".
      most: bytes.
      nan: whether the words NaN and Infinity are numbers, as Python writes them.

    Raises:
      ValueError: naming the file and what is wrong with it.
      FileNotFoundError: there is no such file.
    """
    name = f"{what} {str(path)!r}"
    try:
        data = read_bytes(path, most)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(_damaged(name, error, remedy)) from error
    return parse_json(data, name, schema=schema, remedy=remedy, most=most, nan=nan)


def read_bytes(path: str | Path, most: int = MAX_BYTES) -> bytes:
    """Returns the bytes of a regular file.

    Raises:
      ValueError: it is a folder, a pipe or a device, or has more than `most` bytes.
      OSError: it cannot be opened.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data


def open_regular(path: str | Path) -> IO[bytes]:
    """Opens a regular file for reading; never waits for a pipe or a device.

    Raises:
      ValueError: it is a folder, a pipe or a device.
      OSError: it cannot be opened.
    """
    if "\0" in str(path):
        raise ValueError("its name holds a NUL character")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError("it is no regular file")
    return open(handle, "rb")


def read_lines(path: str | Path) -> Sequence[bytes]:
    """Returns the whole lines of a JSONL file, without their ends.

    What follows the last end of a line was cut short, and is left out.

    Raises:
      ValueError: the file is no regular one, or too large.
    """
    try:
        return read_bytes(path, 16 * MAX_BYTES).split(b"\n")[:-1]
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(_damaged(f"file {str(path)!r}", error, "")) from error


def parse_json(
    text: str | bytes,
    name: str,
    *,
    schema: Schema | None = None,
    remedy: str = "",
    most: int = MAX_BYTES,
    nan: bool = False,
) -> Any:
    """Returns what a JSON text holds; see `read_json`.

    Args:
      text: UTF-8 where it is bytes.
      name: what it is called in an error, such as "plan 'runs/a/plan.json'".
      schema, remedy, most, nan: as in `read_json`.

    Raises:
      ValueError: naming the text and what is wrong with it.
    """
    try:
        if len(text) > most:
            raise ValueError(f"it has more than {most:,} bytes")
        value = loads(text, nan=nan)
        if schema is not None:
            schema(value)
    except ValueError as error:
        raise ValueError(_damaged(name, error, remedy)) from error
    return value


def _damaged(name: str, error: Exception, remedy: str) -> str:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return f"{name} is damaged ({why}). {remedy}".rstrip()


def loads(text: str | bytes, *, nan: bool = False) -> Any:
    """Returns what a JSON text holds, as `json.loads` does, within `MAX_…`.

    Args:
      text: UTF-8 where it is bytes.
      nan: whether the words NaN and Infinity are numbers, as Python writes them.

    Raises:
      ValueError: what is wrong with it; whose text it is, the caller says.
    """
    text = text.decode() if isinstance(text, bytes) else text

    def number(digits: str) -> float:
        value = float(digits)
        if not (nan or math.isfinite(value)):
            raise ValueError(f"{shown(digits)} is no number that a float can hold")
        return value

    def constant(word: str) -> float:
        if not nan:
            raise ValueError(f"{word} is no number in JSON")
        return float(word)

    try:
        value = json.loads(
            text,
            parse_int=_whole,
            parse_float=number,
            parse_constant=constant,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    if "\\u" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        _check_tree(value)
    return value


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits):,} digits")
    return int(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} is there twice")
    return found


def _check_tree(value: Any) -> None:
    """Raises ValueError for what is nested too deep, or text that is no Unicode."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and _SURROGATE.search(item):
                raise ValueError(f"{shown(item)} is no Unicode text")
        level, depth = below, depth + 1


_SURROGATE = re.compile("[\ud800-\udfff]")


# Schemas


def shown(value: Any) -> str:
    """Returns a value for an error: in one line, cut where it is long."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:80]} …"


def wrong(value: Any, allowed: str) -> NoReturn:
    """Raises `Wrong` for a value."""
    raise Wrong(f"is {shown(value)}, not {allowed}")


def anything(value: Any) -> None:
    """Allows every value."""


def whole(low: int = 0, high: int = 2**63) -> Schema:
    """Allows whole numbers from `low` to `high`."""

    def check(value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            wrong(value, f"a whole number of {low} … {high}")

    return check


def number(value: Any) -> None:
    """Allows numbers, and the words that stand for those that JSON does not have."""
    word = isinstance(value, str) and value in ("nan", "inf", "-inf")
    if type(value) not in (int, float) and not word:
        wrong(value, "a number")


def truth(value: Any) -> None:
    """Allows true and false."""
    if not isinstance(value, bool):
        wrong(value, "true or false")


def text(most: int = 4096, *, pattern: str = "") -> Schema:
    """Allows printable text of so many characters, all of which `pattern` matches."""

    def check(value: Any) -> None:
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            wrong(value, f"printable text of at most {most} characters")
        if pattern and not re.fullmatch(pattern, value):
            wrong(value, f"of the form {pattern}")

    return check


def among(*values: Any) -> Schema:
    """Allows these values."""

    def check(value: Any) -> None:
        if not any(type(value) is type(v) and value == v for v in values):
            wrong(value, f"one of {', '.join(map(repr, values))}")

    return check


def optional(schema: Schema) -> Schema:
    """Allows null, and what the schema does."""
    return lambda value: None if value is None else schema(value)


def listed(item: Schema, *, least: int = 0, most: int = 10_000_000) -> Schema:
    """Allows lists of so many values of one schema."""

    def check(value: Any) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            wrong(value, f"a list of {least} … {most} values")
        for i, entry in enumerate(value):
            _inside(f"[{i}]", item, entry)

    return check


def mapped(item: Schema, *, most: int = 100_000) -> Schema:
    """Allows objects of any printable keys, with values of one schema."""

    def check(value: Any) -> None:
        if not isinstance(value, dict) or len(value) > most:
            wrong(value, f"an object of at most {most} keys")
        for name, entry in value.items():
            _inside(" a key", text(200), name)
            _inside(f".{name}", item, entry)

    return check


def record(
    needed: Mapping[str, Schema], others: Mapping[str, Schema] | None = None
) -> Schema:
    """Allows objects with the keys of `needed`, and perhaps those of `others`.

    Keys that are in neither are of another version: they are read by nobody.
    """

    def check(value: Any) -> None:
        if not isinstance(value, dict):
            wrong(value, "an object")
        for name, item in needed.items():
            if name not in value:
                raise Wrong(f"has no {name!r}")
            _inside(f".{name}", item, value[name])
        for name, item in (others or {}).items():
            if name in value:
                _inside(f".{name}", item, value[name])

    return check


def _inside(place: str, schema: Schema, value: Any) -> None:
    try:
        schema(value)
    except Wrong as error:
        raise Wrong(error.said, place + error.place) from None
