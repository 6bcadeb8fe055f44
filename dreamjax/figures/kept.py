"""What is expensive in a figure, kept in its workdir: redrawing costs nothing."""

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dreamjax.errors import require
from dreamjax.files import write_bytes

Make = Callable[[], Mapping[str, np.ndarray]]


def kept(path: Path, recipe: Mapping[str, Any], make: Make) -> dict[str, np.ndarray]:
    """Returns arrays that were made before by the same recipe, or makes them.

    Args:
      path: of the file, ending in .npz; another recipe overwrites it.
      recipe: all that they depend on, the network among them: texts, numbers, arrays,
        and tuples and dicts of these. The code is not part of it: remove the file when
        that changes.
      make: () -> name -> array.
    """
    said = digest(recipe)
    if path.exists():
        with np.load(path) as file:
            if str(file["recipe"]) == said:
                return {n: file[n] for n in file.files if n != "recipe"}
    arrays = {name: np.asarray(array) for name, array in make().items()}
    data = io.BytesIO()
    np.savez(data, recipe=np.asarray(said), **arrays)
    write_bytes(path, data.getvalue())
    return arrays


def kept_in(
    folder: Path, recipe: Mapping[str, Any], make: Make
) -> dict[str, np.ndarray]:
    """Returns the same from a folder that figures share, with a file per recipe."""
    return kept(folder / f"{digest(recipe)[:16]}.npz", recipe, make)


def digest(value: Any) -> str:
    """Returns the SHA-256, in hex, of texts, numbers, arrays, tuples and dicts."""
    seen = hashlib.sha256()

    def take(value: Any) -> None:
        if isinstance(value, Mapping):
            seen.update(f"{{{len(value)}".encode())
            for name in sorted(value):
                take(name)
                take(value[name])
        elif isinstance(value, tuple | list):
            seen.update(f"({len(value)}".encode())
            for part in value:
                take(part)
        elif isinstance(value, str | bool | int | float) or value is None:
            seen.update(f"{type(value).__name__} {value!r};".encode())
        else:
            array = np.asarray(value)
            require(array.dtype != object, "recipe", value, "texts, numbers, arrays")
            seen.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())

    take(value)
    return seen.hexdigest()
