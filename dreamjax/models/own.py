"""One's own weights for a network of the zoo: which names, how many classes.

    load_own("resnet50", "my.pth") -> Model

A checkpoint is rarely the bare state dict of a network: it is wrapped in prefixes
("module.", "model.backbone.") and in entries ("state_dict", "ema"), it has an optimizer
beside it and another number of classes. Here it is found which part of the file fits
the network, tensor by tensor, by names and shapes alone and before an array is read:
all must fit, else the file is refused with what is missing.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dreamjax.errors import choose
from dreamjax.labels import read_labels
from dreamjax.models.checkpoint_file import Contents, open_weights
from dreamjax.models.download import say
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, Record, check_variables
from dreamjax.models.port import Port, build, parameter_shapes
from dreamjax.models.weights import DoesNotFit, dry_run
from dreamjax.models.zoo import PORTS, ports_of
from dreamjax.paths import given_path

WRAPPERS = (
    "_orig_mod",  # torch.compile
    "_forward_module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_modules",  # of a whole module, pickled
    "_parameters",
    "_buffers",
)
"""Parts of a name, anywhere in it, that say how a module was wrapped or stored."""

SEPARATORS = re.compile("[./:_]")  # MXNet's prefixes end with _
SHOWN = 8  # names in a message

Shape = tuple[int, ...]


class Fit(NamedTuple):
    """One way to read a file as a network's weights.

    Attributes:
      port: whose names they are, with the file's number of classes.
      prefix: of the tensors that are read.
      names: name without prefix -> name in the file.
      classes: of the classifier; 0 where the file has none.
      spare: names without prefix that the network has no use for: numbers, not weights.
      trouble: why it does not fit, or None.
    """

    port: Port
    prefix: str
    names: dict[str, str]
    classes: int
    spare: tuple[str, ...] = ()
    trouble: DoesNotFit | None = None


def load_own(
    name: str, weights: str | Path, labels: str = "", *, called: str = ""
) -> Model:
    """Returns a network of the zoo with the weights of a file of one's own.

    Args:
      name: an architecture ("resnet50"), for the names of any of its weight sets; or a
        weight set ("vgg16.caffe"), for these names and its input range.
      weights: a file of any format that weight sets come in, the index of a sharded
        one, or a folder that has one of these; "FILE#KEY" reads the part KEY of it.
      labels: a text file with a class a line, or a JSON list; "" keeps the names of the
        weight set's classes where the file has as many, else there are none.
      called: what the record calls the file, if not by its own name.

    Raises:
      ValueError: no such network or file, one that cannot be read, that does not fit
        (with what is missing), or in which more than one part fits.
    """
    ports = ports_of(name)
    path, key = split_key(str(weights))
    contents = open_weights(path)
    fit = find_fit(name, ports, contents, key)
    record = f"{name}:{file_name(called or contents.name)}"
    return load_fit(record, fit, contents, labels)


def split_key(weights: str) -> tuple[str, str]:
    """Returns (file, key) of "FILE#KEY"; a file whose own name has a # is itself."""
    path, mark, key = weights.rpartition("#")
    if not mark or given_path("weights", weights).exists():
        return weights, ""
    return path, key


def find_fit(
    name: str, ports: Sequence[Port], contents: Contents, key: str = ""
) -> Fit:
    """Returns the one way in which a file fits a network.

    Args:
      name: of the network, for errors.
      ports: weight sets whose names may be the file's, the likeliest first.
      contents: of the file.
      key: what the prefix must begin with; "" is any.

    Raises:
      ValueError: none fits, or several parts of the file do.
    """
    names = _unwrapped(contents.shapes)
    if key:
        inside = [n for n in names if n.startswith(f"{key}.") or n.startswith(key)]
        if not inside:
            choose("weights' key", key, _entries(names))
        names = {n: names[n] for n in inside}
    found: list[Fit] = []
    tried: list[Fit] = []
    for port in ports:
        fits = [_fit(port, p, names, contents.shapes) for p in _prefixes(port, names)]
        tried += fits
        fits = [fit for fit in fits if fit.trouble is None]
        usual = [fit for fit in fits if fit.classes == default_classes(port)]
        if usual:  # better than another head under the names of a port before it
            found = fits
            break
        found = found or fits
    if len(found) > 1:
        shown = ", ".join(repr(fit.prefix.rstrip("._/")) for fit in found)
        example = found[0].prefix.rstrip("._/") or found[1].prefix.rstrip("._/")
        raise ValueError(
            f"weights={contents.name!r} has {len(found)} parts that fit {name}:"
            f" {shown}. Say which one: {contents.name}#{example}."
        )
    if not found:
        raise ValueError(_why_not(name, tried, contents))
    return found[0]


def with_classes(port: Port, classes: int) -> Port:
    """Returns a port whose network has so many classes; 0 is no classifier."""
    if classes == default_classes(port):
        return port
    return port._replace(network=_Widened(port.network, classes))


class _Widened(NamedTuple):
    network: Any
    classes: int

    def __call__(self, rules: Any) -> Any:
        return self.network(rules).clone(classes=self.classes)


def default_classes(port: Port) -> int:
    """Returns how many classes the published network has; 0 has no classifier."""
    if not port.record.labels:
        return 0
    module = port.network(PLAIN)
    if module.classes is None:
        return module.variant.classes
    return module.classes


def _unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Returns name without wrappers -> name in the file, where that is unique."""
    found: dict[str, str] = {}
    for name in names:
        parts = [part for part in name.split(".") if part not in WRAPPERS]
        short = ".".join(parts)
        found[name if short in found else short] = name
    return found


def _entries(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.split(".")[0] for name in names))


def _prefixes(port: Port, names: Iterable[str]) -> list[str]:
    """Returns what may come before a network's names, the most frequent first."""
    expected = _expected(port)
    counts: collections.Counter[str] = collections.Counter()
    for name in names:
        for prefix, rest in _splits(name):
            counts[prefix] += rest in expected
    best = max(counts.values(), default=0)
    likely = [p for p, count in counts.most_common() if best and count > best / 2]
    return likely or [""]


def _splits(name: str) -> Iterator[tuple[str, str]]:
    yield "", name
    for mark in SEPARATORS.finditer(name):
        yield name[: mark.end()], name[mark.end() :]


def _expected(port: Port) -> set[str]:
    """Returns the names that a converter asks for; none where it cannot say."""
    trouble = _dry(port, {})
    names = set(trouble.missing) if trouble else set()
    # torchvision has an in_proj_weight, which the converter calls in_proj.weight.
    return names | {re.sub(r"in_proj\.(\w+)$", r"in_proj_\1", n) for n in names}


def _dry(port: Port, shapes: Mapping[str, Shape]) -> DoesNotFit | None:
    """Returns what does not fit; arrays that take no memory stand for the tensors."""
    tensors = {n: np.broadcast_to(np.float32(0), s) for n, s in shapes.items()}
    try:
        with dry_run():
            port.convert(tensors, parameter_shapes(port), port.record.name)
    except DoesNotFit as trouble:
        return trouble
    except (KeyError, IndexError, TypeError, ValueError):  # nothing like its names
        return DoesNotFit(port.record.name, {}, {}, dict(shapes))
    return None


def _fit(
    port: Port, prefix: str, names: Mapping[str, str], shapes: Mapping[str, Shape]
) -> Fit:
    """Tries one part of a file as a port's weights: as it is, then with other heads."""
    inside = {n[len(prefix) :]: f for n, f in names.items() if n.startswith(prefix)}
    inside = {n: f for n, f in inside.items() if n}

    def tried(classes: int, inside: dict[str, str]) -> Fit:
        one = with_classes(port, classes)
        trouble = _dry(one, {n: shapes[file] for n, file in inside.items()})
        if trouble is None:
            return Fit(one, prefix, inside, classes)
        spare = tuple(n for n, s in trouble.unused.items() if np.prod(s, dtype=int) < 2)
        if trouble.missing or trouble.misshapen or len(spare) < len(trouble.unused):
            return Fit(one, prefix, inside, classes, spare, trouble)
        return Fit(one, prefix, inside, classes, spare)

    usual = default_classes(port)
    first = tried(usual, inside)
    if first.trouble is None:
        return first
    if renamed := _head_inside(first.trouble):
        inside = {renamed.get(n, n): file for n, file in inside.items()}
        first = tried(usual, inside)
    if first.trouble is not None and first.trouble.misshapen:
        classes = _classes_in(first.trouble, usual)
        again = tried(classes, inside) if classes else first
    elif first.trouble is not None and first.trouble.missing:
        again = tried(0, inside)
    else:
        return first
    return again if _distance(again.trouble) < _distance(first.trouble) else first


def _classes_in(trouble: DoesNotFit, usual: int) -> int:
    """Returns the number of classes that would make a head's shapes fit, or 0."""
    found = set()
    for expected, given in trouble.misshapen.values():
        given = given[-len(expected) :]  # Caffe's leading ones
        apart = [(e, g) for e, g in zip(expected, given, strict=False) if e != g]
        if len(expected) == len(given) and len(apart) == 1 and apart[0][0] == usual:
            found.add(apart[0][1])
    return found.pop() if len(found) == 1 else 0


def _head_inside(trouble: DoesNotFit) -> dict[str, str]:
    """Returns new name -> expected one of a head that became the end of a sequence.

    `model.fc = Sequential(Dropout(), Linear(…))` calls its layer "fc.1".
    """
    heads = {n.rpartition(".")[0] for n in trouble.missing if n.endswith(".weight")}
    if len(heads) != 1 or not trouble.unused:
        return {}
    head = heads.pop()
    pattern = re.compile(rf"{re.escape(head)}\.(\w+)\.(weight|bias)")
    found = {n: pattern.fullmatch(n) for n in trouble.unused}
    if None in found.values() or len({m[1] for m in found.values() if m}) != 1:
        return {}
    return {n: f"{head}.{m[2]}" for n, m in found.items() if m}


def _why_not(name: str, tried: Sequence[Fit], contents: Contents) -> str:
    """Says of the nearest try what is missing, misshapen and left over."""
    nearest = min(tried, key=lambda fit: _distance(fit.trouble))
    trouble = nearest.trouble
    assert trouble is not None
    start = f"weights={contents.name!r} do not fit {name}"
    if len(trouble.unused) == len(nearest.names):
        count, names = len(contents.shapes), ", ".join(list(contents.shapes)[:SHOWN])
        more = " …" if count > SHOWN else ""
        return (
            f"{start}: none of its {count} tensors has a name of that network's. They"
            f" are {names}{more}."
        )
    prefix = f" after {nearest.prefix!r}" if nearest.prefix else ""
    return f"{start} (names as of {nearest.port.record.name}{prefix}): {trouble.line}."


def _distance(trouble: DoesNotFit | None) -> int:
    if trouble is None:
        return 0
    return len(trouble.missing) + len(trouble.misshapen) + len(trouble.unused)


def load_fit(
    name: str, fit: Fit, contents: Contents, labels: str | Sequence[str]
) -> Model:
    """Returns the model of the tensors that fit, which are read now.

    Args:
      name: of its record.
      fit: of `find_fit`.
      contents: of the same file.
      labels: names of the classes, or the file that has them; "" and () keep those of
        the published weights where there are as many.

    Raises:
      ValueError: tensors that are no weights, or another number of labels.
    """
    used = {n: file for n, file in fit.names.items() if n not in fit.spare}
    arrays = contents.read(used.values())
    tensors = {n: arrays[file] for n, file in used.items()}
    _check_tensors(contents.name, tensors)
    shapes = parameter_shapes(fit.port)
    variables = fit.port.convert(tensors, shapes, contents.name)
    check_variables(variables, contents.name)
    record = _record(name, fit, contents, labels)
    _tell(record, fit, contents)
    return build(fit.port._replace(record=record), variables)


def _check_tensors(name: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError for weights that are whole numbers: they were quantized."""
    for tensor, array in tensors.items():
        if array.ndim > 1 and array.dtype.kind in "iub":
            raise ValueError(
                f"weights={name!r}: {tensor} is {array.dtype}, quantized; weights in"
                " floating-point numbers are needed."
            )


def _record(
    name: str, fit: Fit, contents: Contents, labels: str | Sequence[str]
) -> Record:
    published = fit.port.record
    kept = published.labels if fit.classes == len(published.labels) else ()
    given = read_labels(labels) if isinstance(labels, str) and labels else labels
    given = tuple(given) or kept
    if labels and fit.classes and len(given) != fit.classes:
        of = f"labels={labels!r} names" if isinstance(labels, str) else "its config has"
        raise ValueError(
            f"{of} {len(given)} classes; {contents.name!r} has {fit.classes}."
        )
    usual = _size_of(parameter_shapes(PORTS[published.name]))
    count = _size_of(parameter_shapes(fit.port))
    heads = published.head_taps if fit.classes else _without_classes(published)
    return dataclasses.replace(
        published,
        name=name,
        source=contents.source or "a file of one's own",
        sha256=contents.sha256,
        license="of its owner",
        labels=given,
        parameters=published.parameters + count - usual,
        top1=0.0,
        head_taps=heads,
    )


def file_name(path: str | Path) -> str:
    """Returns what a record calls a file: its name, with letters, digits and . _ + -"""
    return re.sub(r"[^\w.+-]", "_", Path(path).name)


def _without_classes(record: Record) -> tuple[str, ...]:
    return tuple(n for n in record.head_taps if n not in ("logits", "probabilities"))


def _size_of(shapes: Any) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))


def _tell(record: Record, fit: Fit, contents: Contents) -> None:
    """Says in one line how a file was read."""
    parts = [f"names of {fit.port.record.name}"]
    if fit.prefix:
        parts.append(f"after {fit.prefix!r}")
    if fit.classes:
        published = fit.port.record
        named = ", with names given" if record.labels else ""
        if record.labels == published.labels:
            named = f", named as {published.name}'s"
        parts.append(f"{fit.classes} classes{named}")
    else:
        parts.append("no classifier, so no logits")
    used = set(fit.names.values()) - {fit.names[n] for n in fit.spare}
    left = [n for n in contents.shapes if n not in used]
    if left:
        shown = ", ".join(left[:3]) + (" …" if len(left) > 3 else "")
        parts.append(f"{len(left)} other tensors are left alone: {shown}")
    if contents.foreign:
        shown = ", ".join(contents.foreign[:3])
        more = " …" if len(contents.foreign) > 3 else ""
        parts.append(f"{shown}{more} not loaded")
    say(f"{record.name}: {'; '.join(parts)}")
