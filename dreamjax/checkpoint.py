"""Checkpoints: a pytree of arrays in one `.npz` file, whole or absent.

Random keys are stored as their data. Nothing is pickled, so a checkpoint can be read
by anything and executes nothing.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.files import atomic_open

META = "meta"


def save(path: str | Path, tree: Any, meta: Mapping[str, Any]) -> None:
    """Writes the leaves of `tree` and a small JSON-able `meta`, atomically."""
    leaves = [np.asarray(_plain(leaf)) for leaf in jax.tree.leaves(tree)]
    arrays = {f"leaf{i:04d}": leaf for i, leaf in enumerate(leaves)}
    with atomic_open(path) as file:
        np.savez(file, **arrays, **{META: np.array(json.dumps(dict(meta)))})


def load(path: str | Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Returns the tree and the meta that `save` wrote, bit for bit.

    Args:
      path: the file.
      like: a tree of arrays or ShapeDtypeStructs with the structure expected.

    Raises:
      ValueError: the file is damaged or holds another structure.
    """
    expected, structure = jax.tree.flatten(like)
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file[META]))
            found = [file[name] for name in sorted(file.files) if name != META]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"checkpoint {str(path)!r} is damaged ({error}). Delete it to start its"
            " block anew."
        ) from error
    shapes = [jax.eval_shape(_plain, leaf) for leaf in expected]
    want = [(s.shape, s.dtype) for s in shapes]
    have = [(a.shape, a.dtype) for a in found]
    if want != have:
        raise ValueError(
            f"checkpoint {str(path)!r} holds another program's state: expected {want},"
            f" found {have}."
        )
    leaves = [_like(a, e) for a, e in zip(found, expected, strict=True)]
    return jax.tree.unflatten(structure, leaves), meta


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _like(array: np.ndarray, expected: Any) -> Any:
    array = jnp.asarray(array)
    return jax.random.wrap_key_data(array) if _is_key(expected) else array
