"""Checkpoints: a pytree of arrays in one `.npz` file, whole or absent.

Random keys are stored as their data. Nothing is pickled, so a checkpoint can be read
by anything and executes nothing. Beside the caller's meta the file says of each leaf
its path in the tree, its dtype and its shape.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.files import atomic_open

META = "meta"
_TREE = "tree"
_DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def save(path: str | Path, tree: Any, meta: Mapping[str, Any]) -> None:
    """Writes the leaves of `tree` and a small JSON-able `meta`, atomically.

    Raises:
      ValueError: meta has a key "tree".
    """
    if _TREE in meta:
        raise ValueError(f"meta={dict(meta)!r}: the key {_TREE!r} is taken.")
    leaves = [np.asarray(_plain(leaf)) for leaf in jax.tree.leaves(tree)]
    arrays = {_name(i): leaf for i, leaf in enumerate(leaves)}
    text = json.dumps({**meta, _TREE: _described(tree)})
    with atomic_open(path) as file:
        np.savez(file, **arrays, **{META: np.array(text)})


def load(path: str | Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Returns the tree and the meta that `save` wrote, bit for bit.

    Leaves are NumPy arrays where `like` has them, else JAX arrays.

    Args:
      path: the file.
      like: a tree of arrays or ShapeDtypeStructs with the structure expected.

    Raises:
      ValueError: the file is missing, is damaged or holds another structure.
    """
    expected, structure = jax.tree.flatten(like)
    try:
        # np.load leaves a file of its own open when it is no archive.
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            meta = json.loads(str(file[META]))
            have = meta.pop(_TREE)
            found = [file[_name(i)] for i in range(len(have))]
    except _DAMAGE as error:
        raise ValueError(
            f"checkpoint {str(path)!r} is damaged ({error}). Delete it to start its"
            " block anew."
        ) from error
    want = _described(like)
    if want != have:
        missing = [leaf for leaf in want if leaf not in have]
        surplus = [leaf for leaf in have if leaf not in want]
        raise ValueError(
            f"checkpoint {str(path)!r} holds another program's state: expected"
            f" {missing}, found {surplus}. Delete it to start its block anew."
        )
    leaves = [_like(a, e) for a, e in zip(found, expected, strict=True)]
    return jax.tree.unflatten(structure, leaves), meta


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
