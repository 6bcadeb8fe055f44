"""Who made the photos that a picture shows: read off a list in their folder."""

import csv
import io
from collections.abc import Collection
from pathlib import Path

LIST = "CREDITS.csv"


def credits_of(folder: Path, shown: Collection[str]) -> bytes | None:
    """Returns the lines of a folder's CREDITS.csv about some pictures, as CSV.

    The list's first column is the picture's name in the folder; author, license and
    source are the usual others. None where there is no list, or it names none of them.
    """
    path = Path(folder) / LIST
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        head, *lines = list(csv.reader(file))
    found = sorted(line for line in lines if line and line[0] in set(shown))
    if not found:
        return None
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *found])
    return text.getvalue().encode()
