"""Class names: a class index may be written as its label, `'espresso'`."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from dreamjax.errors import did_you_mean
from dreamjax.json_file import read_json
from dreamjax.paths import given_path

LABELS_BYTES = 1 << 22
ASSETS = resources.files("dreamjax") / "assets"


@cache
def imagenet_labels() -> tuple[str, ...]:
    """Returns the 1000 ILSVRC-2012 class names, in the order of the class index."""
    text = (ASSETS / "imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


@cache
def imagenet_labels_2015() -> tuple[str, ...]:
    """Returns the 1008 names of Google's networks of 2015.

    First one that stands for no class, then the 1000 classes as the contest's
    development kit numbers them, then seven that were never trained.
    """
    labels = imagenet_labels()
    text = (ASSETS / "ilsvrc2012_devkit_order.txt").read_text(encoding="utf-8")
    order = [labels[int(line)] for line in text.split()]
    return ("dummy", *order, *(f"unused {i}" for i in range(1001, 1008)))


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Returns class names of a file of one's own, in the order of the class index.

    Args:
      path: a text file with a name a line, or a `.json` with a list of names, a dict
        from the index ("0", "1", …) to the name, or that dict as its "id2label".

    Raises:
      ValueError: there is no such file, it is too large, or has no names.
    """
    path = given_path("labels", path)
    said = f"labels={str(path)!r}"
    if not path.is_file():
        raise ValueError(f"{said} is no regular file.")
    if path.stat().st_size > LABELS_BYTES:
        raise ValueError(f"{said} is larger than {LABELS_BYTES} bytes.")
    try:
        if path.suffix == ".json":
            names = _json_labels(read_json(path, "labels"))
        else:
            names = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(f"{said} cannot be read: {str(error)[:100]}.") from error
    names = [" ".join(name.split()) for name in names]
    while names and not names[-1]:  # empty lines at the end
        names.pop()
    if not names or not all(names):
        raise ValueError(f"{said} must have a name a line, none of them empty.")
    return tuple(names)


def _json_labels(found: Any) -> list[str]:
    if isinstance(found, dict) and isinstance(found.get("id2label"), dict):
        found = found["id2label"]
    if isinstance(found, dict):
        numbers = [str(i) for i in range(len(found))]
        if set(found) != set(numbers):
            raise ValueError("its keys are not 0, 1, 2, …")
        found = [found[number] for number in numbers]
    if not isinstance(found, list) or not all(isinstance(n, str) for n in found):
        raise ValueError("it is no list of names")
    return found


def class_index(label: str | int, labels: tuple[str, ...]) -> int:
    """Returns the index of a class given by its label or its index.

    The case of letters matters only where labels differ in nothing else.

    Raises:
      ValueError: an unknown label, with a near one, a label of several classes, or an
        index out of range.
    """
    if not labels:
        if isinstance(label, str) and not _is_number(label):
            raise ValueError(
                f"label={label!r} cannot be looked up: this model's record has no"
                " labels. Give the class index."
            )
        return int(label)
    if isinstance(label, int) or _is_number(label):
        if not 0 <= int(label) < len(labels):
            raise ValueError(
                f"class={label} is out of range: allowed 0 … {len(labels) - 1}."
            )
        return int(label)
    lowered = [name.lower() for name in labels]
    found = [i for i, name in enumerate(labels) if name == label]  # Cardigan, a dog
    found = found or [i for i, name in enumerate(lowered) if name == label.lower()]
    if not found:
        raise ValueError(
            f"label={label!r} is not one of the {len(labels)} class names."
            f"{did_you_mean(label.lower(), lowered)}"
        )
    if len(found) > 1:
        raise ValueError(
            f"label={label!r} is the name of several classes: give the index, one of"
            f" {', '.join(map(str, found))}."
        )
    return found[0]


def match_labels(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """Returns the index in `second` of each name of `first`, int32; -1 for none.

    Names are matched as they stand, then without regard to case, underscores and
    synonyms after a comma ("tench, Tinca tinca"). A name that fits several classes of
    either list fits none.
    """
    if tuple(first) == tuple(second):
        return np.arange(len(first), dtype=np.int32)
    matched = np.full(len(first), -1, np.int32)
    for form in (_plain, str):  # the stricter one last: it decides
        theirs = _only(second, form)
        for name, i in _only(first, form).items():
            matched[i] = theirs.get(name, matched[i])
    return matched


def _only(labels: Sequence[str], form: Callable[[str], str]) -> dict[str, int]:
    """Returns form of a label -> its index, without those of several labels."""
    forms = [form(label) for label in labels]
    counts = Counter(forms)
    return {name: i for i, name in enumerate(forms) if counts[name] == 1}


def _plain(label: str) -> str:
    return label.partition(",")[0].replace("_", " ").strip().lower()


def _is_number(label: str) -> bool:
    return label.removeprefix("-").isdecimal()
