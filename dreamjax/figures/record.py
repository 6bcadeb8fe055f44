"""Numbers of a figure: expected, obtained, and what to make of the difference."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dreamjax.errors import choose, require

SOURCES = ("published", "measured", "derived", "reported")
"""Where an expectation is from: the authors' own files or code; an independent run of
the paper's recipe; algebra; memory of the paper, which nothing is judged by."""


class Expected(NamedTuple):
    """A number that a figure should come out with.

    Attributes:
      value: the number, or the bound.
      source: one of `SOURCES`.
      relative: allowed difference as a part of the value.
      absolute: allowed difference, added to the former.
      kind: "near", "at least" or "at most".
      network: record name that it holds for; "" for any.
    """

    value: float
    source: str
    relative: float = 0.0
    absolute: float = 0.0
    kind: str = "near"
    network: str = ""


class Row(NamedTuple):
    """A number of a figure.

    Attributes:
      name: what it is, with its unit.
      obtained: the number; NaN for none.
      expected: what it should be, or None for a number without a counterpart.
      why: where it differs, why; said in the table.
    """

    name: str
    obtained: float
    expected: Expected | None = None
    why: str = ""


def verdict(row: Row, network: str) -> str:
    """Returns "agrees", "differs", "reported, unverified", "other network" or "".

    Only what was verified judges, and only the network that it was measured with.
    """
    expected = row.expected
    if expected is None:
        return ""
    choose("source", expected.source, SOURCES)
    if expected.network and expected.network != network:
        return "other network"
    if expected.source == "reported":
        return "reported, unverified"
    if not math.isfinite(row.obtained):
        return "differs"
    slack = expected.absolute + expected.relative * abs(expected.value)
    apart = row.obtained - expected.value
    agrees = {
        "near": abs(apart) <= slack,
        "at least": apart >= -slack,
        "at most": apart <= slack,
    }
    return "agrees" if agrees[choose("kind", expected.kind, agrees)] else "differs"


def records(rows: Sequence[Row], network: str) -> list[dict[str, Any]]:
    """Returns the rows as plain values, for JSON and tables."""
    names = [row.name for row in rows]
    require(len(set(names)) == len(names), "rows", names, "each name once")
    found = []
    for row in rows:
        expected = {} if row.expected is None else row.expected._asdict()
        obtained = row.obtained if math.isfinite(row.obtained) else str(row.obtained)
        found.append(
            {
                "name": row.name,
                "expected": expected,
                "obtained": obtained,
                "verdict": verdict(row, network),
                "why": row.why,
            }
        )
    return found


def as_csv(found: Sequence[Mapping[str, Any]]) -> str:
    """Returns records as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["name", "expected", "tolerance", "source", "obtained", "verdict", "why"]
    )
    for record in found:
        expected = record["expected"]
        writer.writerow(
            [
                record["name"],
                expected.get("value", ""),
                tolerance(expected),
                expected.get("source", ""),
                record["obtained"],
                record["verdict"],
                record["why"],
            ]
        )
    return text.getvalue()


def tolerance(expected: Mapping[str, Any]) -> str:
    """Returns "± 15 %", "± 0.05", "at least" … of a record's expectation."""
    if not expected:
        return ""
    parts = [] if expected["kind"] == "near" else [expected["kind"]]
    if expected["relative"]:
        parts.append(f"± {100 * expected['relative']:g} %")
    if expected["absolute"]:
        parts.append(f"± {expected['absolute']:g}")
    return " ".join(parts)
