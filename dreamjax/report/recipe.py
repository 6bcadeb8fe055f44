"""The recipe in a picture: all that is needed to make it again, inside its PNG.

The recipe is a JSON object in an uncompressed iTXt chunk under the keyword
"dreamjax", so it travels with the file and any PNG tool can show it.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreamjax import files
from dreamjax.errors import require
from dreamjax.images import png_bytes
from dreamjax.paths import given_path

KEYWORD = "dreamjax"
SIGNATURE = b"\x89PNG\r\n\x1a\n"  # the first bytes of every PNG
VERSION = 1
MAX_BYTES = 1_000_000
"""The longest recipe, UTF-8. Pillow reads back no more than 1 MiB of a text chunk
that an image editor has compressed."""


def write_picture(
    path: str | Path, image: np.ndarray, recipe: Mapping[str, Any]
) -> Path:
    """Writes a PNG that holds its recipe; whole or not at all.

    Args:
      path: where to; folders are made.
      image: [H, W, 3], float in [0, 1] or uint8.
      recipe: what JSON can hold, with text keys. Numbers come back exactly, also NaN
        and infinities; tuples come back as lists. "recipe_version" is added.

    Returns:
      The path.

    Raises:
      ValueError: for a recipe that JSON cannot hold or that is over `MAX_BYTES`.
    """
    return files.write_bytes(path, png_bytes(image, {KEYWORD: _encode(recipe)}))


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Returns the recipe that `write_picture` put into a PNG.

    Raises:
      ValueError: where the file is missing or no PNG, holds no recipe, or holds one
        that is broken or of another version.
    """
    name = f"picture {str(path)!r}"
    text = _read_text(given_path("path", path), name)
    if KEYWORD not in text:
        raise ValueError(
            f"{name} holds no recipe. Give a PNG that dreamjax wrote: editors, chats"
            " and screenshots drop it, so take the original file from its run folder."
        )
    try:
        recipe = json.loads(text[KEYWORD])
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{name} holds a broken recipe ({error}). Take the original file from its"
            " run folder."
        ) from error
    version = recipe.get("recipe_version") if isinstance(recipe, dict) else None
    if version != VERSION or isinstance(version, bool):
        raise ValueError(
            f"{name} holds a recipe of version {version!r}; this dreamjax reads"
            f" {VERSION}. Use the dreamjax version that wrote the picture."
        )
    return recipe


def _encode(recipe: Mapping[str, Any]) -> str:
    version = recipe.get("recipe_version", VERSION)
    require(version == VERSION, "recipe_version", version, f"only {VERSION} is written")
    _check_keys(recipe, "recipe")
    try:
        text = json.dumps({"recipe_version": VERSION, **recipe}, ensure_ascii=False)
        size = len(text.encode("utf-8"))
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"recipe cannot be written as JSON: {error}.") from error
    if size > MAX_BYTES:
        raise ValueError(
            f"recipe has {size:,} bytes; at most {MAX_BYTES:,} fit into a picture."
            " Name large arrays by file and sha256 instead."
        )
    return text


def _check_keys(value: Any, where: str) -> None:
    """JSON would turn the key 1 into "1" without a word."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            require(isinstance(key, str), f"{where} key", key, "keys must be text")
            _check_keys(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item, where)


def _read_text(path: Path, name: str) -> Mapping[str, str]:
    if not path.is_file():
        raise ValueError(f"{name} is not a file. Give a PNG that dreamjax wrote.")
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise ValueError(
                f"{name} is not a PNG. Give the PNG that dreamjax wrote, not a"
                " converted copy."
            )
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return dict(picture.text)  # decodes the file: text may follow the pixels
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise ValueError(
            f"{name} is a broken PNG ({error}). Take the original file from its run"
            " folder."
        ) from error
