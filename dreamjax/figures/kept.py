"""Arrays that are dear to make and cheap to keep, so that a figure is drawn again."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dreamjax.config import plain
from dreamjax.files import atomic_path


def kept(
    folder: Path,
    name: str,
    recipe: Mapping[str, Any],
    make: Callable[[], Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Returns what `make` returns, from a file if the same recipe made one.

    Args:
      folder: of the figure, `Context.workdir`.
      name: of the file.
      recipe: plain values that tell everything that `make` depends on; another recipe
        is another file.
      make: () -> name -> array.
    """
    text = json.dumps(plain(recipe), sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = folder / "kept" / f"{name}-{digest}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {key: np.asarray(value) for key, value in make().items()}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **made)
    with np.load(path) as file:
        return {key: file[key] for key in file.files}
