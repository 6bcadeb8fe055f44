"""Sprite sheets: many small pictures in one image file."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dreamjax.errors import choose, require
from dreamjax.files import write_bytes

FORMATS = {"webp": "WEBP", "jpeg": "JPEG"}
COLUMNS = 16
PER_SHEET = 256  # tiles; 16 × 16 of 112 px are one file of about 1 MB
PREVIEW, PREVIEWS = 56, 8  # pixels and tiles of a layer's strip in the index


class Style(NamedTuple):
    """How sheets are written.

    Attributes:
      format: "webp", or "jpeg", which is half as large again.
      quality: 1 … 100. At 80 a tile of 112 px takes about 4 KB as WebP.
      tile: the longer side of a tile in pixels; 0 keeps the picture's size.
    """

    format: str = "webp"
    quality: int = 80
    tile: int = 0


STYLE = Style()


def check_style(style: Style) -> None:
    """Raises ValueError for a format, quality or size that there is not."""
    choose("format", style.format, FORMATS)
    require(1 <= style.quality <= 100, "quality", style.quality, "1 … 100")
    fits = style.tile == 0 or 16 <= style.tile <= 1024
    require(fits, "tile", style.tile, "0, or 16 … 1024 pixels")


def write_sheets(
    folder: Path, stem: str, pictures: np.ndarray, style: Style
) -> dict[str, Any]:
    """Writes pictures [N, H, W, 3] uint8 as sheets; returns where they are.

    A file's name holds a digest of its bytes: a page never shows tiles of another
    sheet, and what a page in a reader's hands names stays until it is replaced.

    Returns:
      {"files": names, "columns", "per": tiles of one sheet, "tile": [H, W]}.
    """
    check_style(style)
    height, width = _tile_size(pictures.shape[1:3], style.tile)
    names = []
    for start in range(0, len(pictures), PER_SHEET):
        part = pictures[start : start + PER_SHEET]
        data = encoded(grid(part, (height, width)), style)
        names.append(_named(folder, stem, data, style))
    return {
        "files": names,
        "columns": COLUMNS,
        "per": PER_SHEET,
        "count": len(pictures),
        "tile": [height, width],
    }


def write_preview(
    folder: Path, stem: str, pictures: np.ndarray, style: Style
) -> dict[str, Any]:
    """Writes a strip of the first pictures [N, H, W, 3] uint8; returns what it is."""
    part = pictures[:PREVIEWS]
    size = _tile_size(part.shape[1:3], PREVIEW)
    name = _named(folder, f"{stem}.preview", encoded(grid(part, size), style), style)
    return {"file": name, "width": size[1] * len(part), "height": size[0]}


def grid(pictures: Sequence[np.ndarray], size: tuple[int, int]) -> Image.Image:
    """Returns pictures in rows of `COLUMNS`, each resized to `size` (H, W)."""
    height, width = size
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (columns * width, rows * height), (128, 128, 128))
    for index, picture in enumerate(pictures):
        tile = Image.fromarray(np.asarray(picture))
        if tile.size != (width, height):
            tile = tile.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(tile, (index % COLUMNS * width, index // COLUMNS * height))
    return sheet


def encoded(sheet: Image.Image, style: Style) -> bytes:
    """Returns a sheet as the bytes of a file."""
    file = io.BytesIO()
    options = {"method": 6} if style.format == "webp" else {"optimize": True}
    sheet.save(file, FORMATS[style.format], quality=style.quality, **options)
    return file.getvalue()


def _named(folder: Path, stem: str, data: bytes, style: Style) -> str:
    name = f"{stem}.{hashlib.sha256(data).hexdigest()[:8]}.{style.format}"
    if not (folder / name).exists():
        write_bytes(folder / name, data)
    return name


def _tile_size(size: Sequence[int], longest: int) -> tuple[int, int]:
    """Returns (H, W) with the longer side at most `longest`; 0 is no limit."""
    height, width = size
    if longest == 0 or max(height, width) <= longest:
        return height, width
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
