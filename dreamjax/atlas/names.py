"""Names of taps and networks as names of files."""

import re


def file_stem(name: str) -> str:
    """Returns a tap's or network's name as a file name: "b0/expand" is "b0--expand"."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", name.replace("/", "--"))
    return stem.strip(".") or "-"
