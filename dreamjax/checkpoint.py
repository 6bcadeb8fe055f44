"""Checkpoints: a pytree of arrays in one `.npz` file, whole or absent.

Random keys are stored as their data. Nothing is pickled, so a checkpoint can be read
by anything and executes nothing. Beside the caller's meta the file says of each leaf
its path in the tree, its dtype and its shape. A log may travel in the same file, so
that it is as durable as the arrays. One SHA-256 over all of it tells damage that the
checksums of the archive do not see.
"""

import contextlib
import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.files import atomic_open
from dreamjax.json_file import loads

META = "meta"
_TREE, _LOG, _SEAL = "tree", "log", "sha256"
MARK = 16  # hexadecimal digits
DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


class Damaged(ValueError):
    """A file that is missing, or does not hold what was written."""


class Kept(NamedTuple):
    """What a file holds.

    Attributes:
      leaves: NumPy arrays, in the order of the tree's leaves.
      described: a line for each: its path, dtype and shape.
      meta: the caller's; with a log also "log", its count of lines and its SHA-256.
      log: the text that was given; None in files of versions that kept none.
      sha256: of all that the file holds; "" in files of versions that kept none.
    """

    leaves: list[np.ndarray]
    described: list[str]
    meta: dict[str, Any]
    log: str | None
    sha256: str


def save(
    path: str | Path, tree: Any, meta: Mapping[str, Any], log: str | None = None
) -> None:
    """Writes the leaves of `tree`, a small JSON-able `meta` and a log, atomically.

    Raises:
      ValueError: meta has a key "tree" or "log".
    """
    for name in (_TREE, _LOG):
        if name in meta:
            raise ValueError(f"meta={dict(meta)!r}: the key {name!r} is taken.")
    leaves = [np.asarray(_plain(leaf)) for leaf in jax.tree.leaves(tree)]
    arrays = {_name(i): leaf for i, leaf in enumerate(leaves)}
    about = {**meta, _TREE: _described(tree)}
    if log is not None:
        about[_LOG] = count_and_digest(log)
        packed = zlib.compress(log.encode("utf-8"))
        arrays[_LOG] = np.frombuffer(packed, np.uint8)
    text = json.dumps(about)
    seal = np.array(digest(text, arrays))
    with atomic_open(path) as file:
        np.savez(file, **arrays, **{META: np.array(text), _SEAL: seal})


def count_and_digest(log: str) -> dict[str, Any]:
    """Returns {"lines", "sha256"} of a log, by which it is known again."""
    digest = hashlib.sha256(log.encode("utf-8")).hexdigest()
    return {"lines": log.count("\n"), "sha256": digest}


def read(path: str | Path) -> Kept:
    """Returns what a file holds, after its checksums and its SHA-256 were compared.

    Raises:
      Damaged: the file is missing, or is not what was written.
    """
    try:
        # np.load leaves a file of its own open when it is no archive.
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            text, names = str(file[META]), set(file.files)
            meta = loads(text, nan=True)
            described = meta.pop(_TREE)
            leaves = [file[_name(i)] for i in range(len(described))]
            log = None
            arrays = {_name(i): leaf for i, leaf in enumerate(leaves)}
            if _LOG in names:
                arrays[_LOG] = file[_LOG]
                log = zlib.decompress(arrays[_LOG].tobytes()).decode("utf-8")
            seal = str(file[_SEAL]) if _SEAL in names else ""
        if seal and seal != digest(text, arrays):
            raise ValueError("its SHA-256 is another")
    except DAMAGE as error:
        raise Damaged(str(error)) from error
    return Kept(leaves, described, meta, log, seal)


def read_meta(path: str | Path) -> dict[str, Any]:
    """Returns the meta alone, without reading the arrays.

    Raises:
      Damaged: the file is missing or no checkpoint.
    """
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            meta = loads(str(file[META]), nan=True)
            return {name: value for name, value in meta.items() if name != _TREE}
    except DAMAGE as error:
        raise Damaged(str(error)) from error


def load(path: str | Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Returns the tree and the meta that `save` wrote, bit for bit.

    Leaves are NumPy arrays where `like` has them, else JAX arrays.

    Args:
      path: the file.
      like: a tree of arrays or ShapeDtypeStructs with the structure expected.

    Raises:
      ValueError: the file is missing, is damaged or holds another structure.
    """
    try:
        kept = read(path)
    except Damaged as error:
        raise Damaged(
            f"checkpoint {str(path)!r} is damaged ({error}). Delete it to start its"
            " block anew."
        ) from error
    return unpacked(path, kept, like), kept.meta


def unpacked(path: str | Path, kept: Kept, like: Any) -> Any:
    """Returns the tree of what `read` gave; see `load`."""
    expected, structure = jax.tree.flatten(like)
    want, have = _described(like), kept.described
    if want != have:
        missing = [leaf for leaf in want if leaf not in have]
        surplus = [leaf for leaf in have if leaf not in want]
        raise ValueError(
            f"checkpoint {str(path)!r} holds another program's state: expected"
            f" {missing}, found {surplus}. Delete it to start its block anew."
        )
    leaves = [_like(a, e) for a, e in zip(kept.leaves, expected, strict=True)]
    return jax.tree.unflatten(structure, leaves)


def mark(path: Path) -> str:
    """Returns the first `MARK` digits of a file's SHA-256, "" without a file."""
    if not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:MARK]


def check_marks(paths: Sequence[Path], marks: str, remedy: str) -> None:
    """Compares files that were made one after the other with their marks.

    Args:
      paths: of the files, in the order in which they were made.
      marks: their marks, one after the other.
      remedy: what to do about a file that is gone or another.

    Raises:
      ValueError: such files, by name.
    """
    bad = [
        path.name
        for i, path in enumerate(paths[: len(marks) // MARK])
        if mark(path) != marks[MARK * i : MARK * (i + 1)]
    ]
    if bad:
        shown = ", ".join(bad[:8]) + (", …" if len(bad) > 8 else "")
        raise ValueError(
            f"{str(paths[0].parent)!r}: {shown} missing, or not as written. {remedy}"
        )


def set_aside(path: Path) -> Path:
    """Renames a damaged file to `NAME.damaged`; returns the new path."""
    aside = path.with_name(path.name + ".damaged")
    with contextlib.suppress(FileNotFoundError):
        path.replace(aside)
    return aside


def digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of a text and named arrays."""
    total = hashlib.sha256(text.encode("utf-8"))
    for name, array in sorted(arrays.items()):
        total.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array))
    return total.hexdigest()


def _name(number: int) -> str:
    return f"leaf{number:04d}"


def _described(tree: Any) -> list[str]:
    """Returns a line for each leaf: `.params['a'] float32[2, 3]`, `.key key<fry>[]`."""
    return [
        f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _like(array: np.ndarray, expected: Any) -> Any:
    if isinstance(expected, np.ndarray):  # JAX would narrow 64 bits to 32
        return array
    if not _is_key(expected):
        return jnp.asarray(array)
    impl = jax.random.key_impl(jnp.empty((), expected.dtype))
    return jax.random.wrap_key_data(jnp.asarray(array), impl=impl)
