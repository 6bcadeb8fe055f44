"""The conversion cache: weights as the networks want them, converted once.

    cached(name, sha256, convert) -> {"params": {…}}

A conversion is a `.safetensors` file in the cache's folder `weights/converted`. The
name of a tensor is the JSON list of its keys in the nested dict, since a layer's own
name may hold "/" and ".". A file that is damaged is converted again: the cache can be
slow, never wrong.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dreamjax.errors import require
from dreamjax.files import atomic_path, sweep
from dreamjax.json_file import loads
from dreamjax.models.download import say
from dreamjax.models.source import CONVERTED, FILE, weights_cache

CONVERSION = 1
"""Raise it when any converter changes what it makes: all is then converted again."""

DAMAGE = (SafetensorError, OSError, KeyError, TypeError, ValueError)


class Kept(NamedTuple):
    """A file of the conversion cache; state is "ok", "old" or "damaged"."""

    path: Path
    name: str
    state: str


def cached(name: str, sha256: str, convert: Callable[[], dict]) -> dict:
    """Returns `convert()`, from the cache if it is there.

    Args:
      name: of the record.
      sha256: of the file that `convert` reads.
      convert: () -> nested dict with float32 arrays for leaves, no dict empty.

    Returns:
      The nested dict, the same bits whether converted or read.

    Raises:
      ValueError: `convert` made something else, or what it raises itself.
    """
    path = converted_path(name, sha256)
    expected = _metadata(name, sha256)
    try:
        return _nested(_read(path, expected))
    except FileNotFoundError:
        pass
    except DAMAGE as error:
        said = " ".join(str(error).split())
        say(f"{path} is damaged ({said}); the weights are converted again")
        with contextlib.suppress(OSError):
            path.unlink()
    tensors = _flat(convert())
    try:
        _write(path, tensors, expected)
    except (OSError, SafetensorError) as error:
        said = " ".join(str(error).split())
        say(f"{path} cannot be written ({said}); they are converted again next time")
    return _nested(tensors)


def converted_path(name: str, sha256: str) -> Path:
    """Returns where the conversion of a record's file is kept.

    Raises:
      ValueError: a name that is no file name.
    """
    require(
        FILE.fullmatch(name) is not None,
        "name",
        name,
        "letters, digits and . _ + -, the first a letter or digit",
    )
    key = hashlib.sha256(json.dumps([name, sha256, CONVERSION]).encode()).hexdigest()
    return weights_cache() / CONVERTED / f"{name}-{key[:12]}.safetensors"


def survey() -> list[Kept]:
    """Returns all that the conversion cache holds, every byte checked."""
    folder = weights_cache() / CONVERTED
    return [_judged(path) for path in sorted(folder.glob("*.safetensors"))]


def _judged(path: Path) -> Kept:
    name = re.sub("-[0-9a-f]{12}$", "", path.stem)
    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata() or {}
        _read(path, {})
        current = path == converted_path(said["record"], said["source"])
    except DAMAGE:
        return Kept(path, name, "damaged")
    return Kept(path, name, "ok" if current else "old")


def _metadata(name: str, sha256: str) -> dict[str, str]:
    return {"record": name, "source": sha256, "conversion": str(CONVERSION)}


def _read(path: Path, expected: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Returns the tensors of a file, one copy of each in memory.

    Raises:
      ValueError, SafetensorError, OSError: not what `_write` wrote with `expected`.
    """
    with safe_open(path, framework="numpy") as file:
        said = file.metadata() or {}
        if any(said.get(key) != value for key, value in expected.items()):
            raise ValueError(f"it says that it is {said}")
        # One by one is faster than load_file, which takes all at once.
        tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
    if _sha256(tensors) != said.get("sha256"):
        raise ValueError("its sha256 is another")
    return tensors


def _write(
    path: Path, tensors: dict[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a file, whole or not at all; leaves it to another process that does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=0):
            sweep(path.parent)
            with atomic_path(path) as part:
                save_file(tensors, part, {**metadata, "sha256": _sha256(tensors)})
    except Timeout:
        return


def _sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """Returns one digest of names, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _flat(tree: Any) -> dict[str, np.ndarray]:
    """Returns JSON list of keys -> contiguous array."""
    flat = {}
    for keys, leaf in _leaves(tree, ()):
        at = "/".join(map(str, keys))
        if not keys or not all(isinstance(key, str) for key in keys):
            raise ValueError(f"converted weights {at!r}: a dict of strings is needed.")
        if not isinstance(leaf, np.ndarray) or leaf.dtype != np.float32:
            kind = getattr(leaf, "dtype", type(leaf).__name__)
            raise ValueError(f"converted weights {at!r} are {kind}, not float32.")
        # safetensors takes the memory as it lies, in whatever order its strides say
        flat[json.dumps(keys, ensure_ascii=False)] = np.require(leaf, requirements="C")
    return flat


def _leaves(tree: Any, keys: tuple) -> Iterator[tuple[tuple, Any]]:
    if not isinstance(tree, Mapping):
        yield keys, tree
        return
    if not tree:  # a file of tensors cannot hold it
        raise ValueError(f"converted weights {'/'.join(map(str, keys))!r} are empty.")
    for key, inner in tree.items():
        yield from _leaves(inner, (*keys, key))


def _nested(tensors: Mapping[str, np.ndarray]) -> dict:
    tree: dict = {}
    for name in sorted(tensors):
        *outer, last = loads(name)
        inner = tree
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = tensors[name]
    return tree
