"""The recipe in a picture: all that is needed to make it again, inside its PNG.

The recipe is a JSON object in an uncompressed iTXt chunk under the keyword
"dreamjax", so it travels with the file and any PNG tool can show it.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from dreamjax import files
from dreamjax.errors import require
from dreamjax.images import png_bytes
from dreamjax.json_file import (
    anything,
    listed,
    mapped,
    number,
    open_regular,
    parse_json,
    record,
    text,
    whole,
)
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
    found = _read_text(given_path("path", path), name)
    if KEYWORD not in found:
        raise ValueError(
            f"{name} holds no recipe. Give a PNG that dreamjax wrote: editors, chats"
            " and screenshots drop it, so take the original file from its run folder."
        )
    remedy = "Take the original file from its run folder."
    recipe = parse_json(
        found[KEYWORD], f"recipe in {name}", remedy=remedy, most=2 * MAX_BYTES, nan=True
    )
    version = recipe.get("recipe_version") if isinstance(recipe, dict) else None
    if version != VERSION or isinstance(version, bool):
        raise ValueError(
            f"{name} holds a recipe of version {version!r}; this dreamjax reads"
            f" {VERSION}. Use the dreamjax version that wrote the picture."
        )
    return recipe


def check_recipe(recipe: Mapping[str, Any], path: str | Path) -> None:
    """Raises ValueError for a recipe that no picture can be made by.

    Only its shape is checked here: its config is by `dreamjax.config.take`, as any
    other. Keys that are not known are read by nobody.
    """
    try:
        SCHEMA(recipe)
    except ValueError as error:
        raise ValueError(
            f"recipe in picture {str(path)!r} is no recipe of dreamjax: {error}."
        ) from None


RUNS = whole(0, 10**9)
NETWORK = text(200, pattern=r"[\w./\-]*(:[\w./\-@]*)?")
DIGEST = text(64, pattern="[0-9a-f]*")
SCHEMA = record(
    {
        "config": record(
            {"model": NETWORK, "hparams": mapped(anything, most=1000)},
            {"transfer": NETWORK},
        ),
        "run": RUNS,
        "network": text(200),
        "weights": text(200),
        "environment": record({"versions": mapped(text(200)), "device": text(200)}),
    },
    {
        "crowd": record(
            {"runs": listed(RUNS, least=1, most=100_000), "lanes": whole(1, 100_000)}
        ),
        "pictures": mapped(DIGEST, most=10_000),
        "metrics": mapped(number),
        "identity": record(
            {
                "networks": mapped(mapped(text(200)), most=10),
                "files": mapped(text(200), most=10_000),
                "code": mapped(text(200)),
            }
        ),
    },
)


def _encode(recipe: Mapping[str, Any]) -> str:
    version = recipe.get("recipe_version", VERSION)
    require(version == VERSION, "recipe_version", version, f"only {VERSION} is written")
    _check_keys(recipe, "recipe")
    try:
        said = json.dumps({"recipe_version": VERSION, **recipe}, ensure_ascii=False)
        size = len(said.encode("utf-8"))
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"recipe cannot be written as JSON: {error}.") from error
    if size > MAX_BYTES:
        raise ValueError(
            f"recipe has {size:,} bytes; at most {MAX_BYTES:,} fit into a picture."
            " Name large arrays by file and sha256 instead."
        )
    return said


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
    """Returns the text chunks of a PNG; its pixels are not decoded."""
    try:
        file = open_regular(path)
    except (OSError, ValueError) as error:
        why = "cannot be read" if path.is_file() else "is not a file"
        raise ValueError(f"{name} {why}. Give a PNG that dreamjax wrote.") from error
    with file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise ValueError(
                f"{name} is not a PNG. Give the PNG that dreamjax wrote, not a"
                " converted copy."
            )
        return dict(_texts(file, name))


def _texts(file: IO[bytes], name: str) -> Iterator[tuple[str, str]]:
    """Yields keyword and text of the text chunks of an open PNG, after its signature.

    Raises:
      ValueError: the file ends before its last chunk, or a text is damaged.
    """
    kind = b""
    try:
        while kind != b"IEND":
            length, kind = struct.unpack(">I4s", file.read(8))
            if kind not in (b"tEXt", b"zTXt", b"iTXt"):
                file.seek(length, os.SEEK_CUR)
                file.read(4)
                continue
            if length > 2 * MAX_BYTES:
                raise ValueError(f"a text of {length:,} bytes")
            body = file.read(length)
            if file.read(4) != struct.pack(">I", zlib.crc32(kind + body)):
                raise ValueError(f"the checksum of {kind.decode()} is wrong")
            yield _text_of(kind, body)
    except (ValueError, IndexError, struct.error, zlib.error) as error:
        raise ValueError(
            f"{name} is a broken PNG ({error}). Take the original file from its run"
            " folder."
        ) from error


def _text_of(kind: bytes, body: bytes) -> tuple[str, str]:
    """Returns the keyword and the text of a text chunk."""
    word, _, rest = body.partition(b"\0")
    if kind != b"iTXt":
        rest = _unpacked(rest[1:]) if kind == b"zTXt" else rest
        return word.decode("latin-1"), rest.decode("latin-1")
    packed = rest[0]  # after it: the method, the language, the keyword translated
    rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return word.decode("latin-1"), (_unpacked(rest) if packed else rest).decode()


def _unpacked(data: bytes) -> bytes:
    """Returns compressed text; a small chunk that unpacks to gigabytes is refused."""
    opened = zlib.decompressobj()
    found = opened.decompress(data, 2 * MAX_BYTES)
    if opened.unconsumed_tail:
        raise ValueError(f"a text of more than {2 * MAX_BYTES:,} bytes")
    return found
