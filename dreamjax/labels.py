"""Class names: a class index may be written as its label, `'espresso'`."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources

import numpy as np

from dreamjax.errors import did_you_mean

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
