"""Hyperparameter values as people read them: which vary, and how they are written.

A summary row is a plain dict:
`{"run": 0, "hparams": {...}, "metrics": {...}, "status": "alive", "image": path}`.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]

LONG = 10**16
"""Whole numbers from here on are written with an exponent."""

MISSING = "–"
"""Stands for a hyperparameter that a run does not have."""


def plain(value: Any) -> Any:
    """Returns NumPy scalars and arrays as Python numbers and lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def key_of(value: Any) -> Hashable:
    """Returns a key that is equal for equal values; NaN equals NaN."""
    value = plain(value)
    if isinstance(value, list | tuple):
        return tuple(key_of(v) for v in value)
    if isinstance(value, Mapping):
        return tuple((k, key_of(v)) for k, v in sorted(value.items()))
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, float) and math.isnan(value):
        return ("nan",)
    return value


def get(row: Row, name: str) -> Any:
    """Returns a run's hyperparameter, or `MISSING`."""
    return row["hparams"].get(name, MISSING)


def names(rows: Sequence[Row]) -> list[str]:
    """Returns the names of all hyperparameters, in order of first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row["hparams"]))


def distinct(rows: Sequence[Row], name: str) -> list[Any]:
    """Returns the different values of a hyperparameter, in order of appearance."""
    return list({key_of(get(row, name)): get(row, name) for row in rows}.values())


def varying(rows: Sequence[Row]) -> list[str]:
    """Returns the names of the hyperparameters with more than one value."""
    return [name for name in names(rows) if len(distinct(rows, name)) > 1]


def number(value: Any) -> float:
    """Returns a number as float, and NaN for anything else.

    A whole number beyond what a float holds is infinite.
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value > 0 or -1)


def score_of(row: Row) -> float:
    """Returns the final score, NaN where there is none."""
    return number(row["metrics"].get("score"))


def short(value: Any, digits: int = 3) -> str:
    """Returns a value in few characters: integers whole, other numbers to `digits`.

    0.1 -> "0.1", 5120.0 -> "5120", 0.00001234 -> "1.23e-5"; a vector of more than four
    numbers is only counted.
    """
    value = plain(value)
    if isinstance(value, bool | str) or value is None:
        return str(value)
    if isinstance(value, list | tuple):
        if len(value) > 4:
            return f"[{len(value)} values]"
        return "[" + ", ".join(short(v, digits) for v in value) + "]"
    if isinstance(value, int) and abs(value) >= LONG:
        mantissa, _, exponent = f"{Decimal(value):.{digits - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    if isinstance(value, float) and math.isfinite(value):
        if abs(value) < 1e6 and value.is_integer():
            return str(int(value))
        if 1000 <= abs(value) < 1e6 and digits <= 3:
            return f"{value:.0f}"
        mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return str(value)


def shorts(values: Sequence[Any]) -> list[str]:
    """Returns different values as different texts, with as few digits as that takes."""
    for digits in (3, 4, 6, 9):
        texts = [short(value, digits) for value in values]
        if len(set(texts)) == len(texts):
            return texts
    return [short(value, 17) for value in values]


def labels(told: Sequence[Mapping[str, Any]], first: Sequence[str] = ()) -> list[str]:
    """Returns what tells each run from the others: "unit=56 tv=400".

    Args:
      told: the hyperparameters of each run.
      first: names that come first where they vary.
    """
    rows = [{"hparams": one} for one in told]
    vary = varying(rows)
    shown = [name for name in first if name in vary]
    shown += [name for name in vary if name not in shown]
    return [" ".join(parts(row, shown)) for row in rows]


def parts(row: Row, shown: Sequence[str]) -> tuple[str, ...]:
    """Returns ("tv=0.1", "decay=0") for the hyperparameters named in `shown`."""
    return tuple(f"{name}={short(get(row, name))}" for name in shown)
