"""Results that took long, kept in a folder by what they were made from."""

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dreamjax.files import write_bytes


def remembered(
    folder: Path,
    recipe: Mapping[str, Any],
    make: Callable[[], Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Returns what `make` made for this recipe, now or before.

    Args:
      folder: of the results, one .npz each.
      recipe: all that the result depends on: texts, numbers, arrays, and tuples and
        dicts of them. The code is not part of it: empty the folder when that changes.
      make: () -> name -> array.
    """
    path = folder / f"{digest(recipe)[:16]}.npz"
    if path.exists():
        with np.load(path) as found:
            return dict(found)
    made = {name: np.asarray(array) for name, array in make().items()}
    data = io.BytesIO()
    np.savez(data, **made)
    write_bytes(path, data.getvalue())
    return made


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
            seen.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())

    take(value)
    return seen.hexdigest()
