"""What is expensive in a figure, kept in its workdir: redrawing costs nothing."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dreamjax.config import plain
from dreamjax.files import write_bytes


def kept(
    path: Path,
    recipe: Mapping[str, Any],
    make: Callable[[], Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """Returns arrays that were made before by the same recipe, or makes them.

    Args:
      path: of the file, ending in .npz.
      recipe: all that they depend on, as plain values; the network among them.
      make: -> name -> array.
    """
    said = json.dumps(plain(recipe), sort_keys=True)
    if path.exists():
        with np.load(path) as file:
            if str(file["recipe"]) == said:
                return {n: file[n] for n in file.files if n != "recipe"}
    arrays = {name: np.asarray(array) for name, array in make().items()}
    data = io.BytesIO()
    np.savez(data, recipe=np.asarray(said), **arrays)
    write_bytes(path, data.getvalue())
    return arrays
