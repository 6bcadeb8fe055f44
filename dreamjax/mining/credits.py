"""Who made the photos that a picture shows: read off a list in their folder."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

LIST = "CREDITS.csv"


def credits_of(pictures: Iterable[Path]) -> bytes | None:
    """Returns the lines about some pictures of the lists in their folders, as CSV.

    A list is a CREDITS.csv in the folder of a picture or one above it, the nearest. Its
    first column is the picture's name from there; author, license and source are the
    usual others. None where no list names one of them.
    """
    lists: dict[Path, list[list[str]]] = {}
    head, found = [], []
    for path in sorted(set(map(Path, pictures))):
        folder = next((p for p in path.parents if (p / LIST).is_file()), None)
        if folder is None:
            continue
        if folder not in lists:
            text = (folder / LIST).read_text(encoding="utf-8")
            lists[folder] = list(csv.reader(io.StringIO(text)))
        name = path.relative_to(folder).as_posix()
        head = head or lists[folder][0]
        found += [line for line in lists[folder][1:] if line and line[0] == name]
    if not found:
        return None
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *found])
    return text.getvalue().encode()
