"""Pictures in and out of files: any image file -> float32 [H, W, 3], and PNG bytes.

Images are RGB float32 in [0, 1]. Files are taken to be sRGB as they stand: embedded
color profiles are not applied, and 16-bit color (not 16-bit gray) is read with the
8 bits that Pillow keeps.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from dreamjax.errors import require

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What `load_image` opens; short, since Pillow's rarer readers are less guarded."""

MAX_PIXELS = 64_000_000
"""Larger files are refused before they are decoded."""

MAX_SIDE = 8192
"""The largest height or width that `load_image` resizes to, pixels."""

BACKGROUND = 0.5
"""What lies under a transparent picture: the gray that dreams start from."""

_ACCEPTED = "PNG, JPEG, WebP, GIF, BMP, TIFF or PPM"
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    TypeError,
    KeyError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # what Pillow's readers raise on broken files


def load_image(
    path: str | Path, size: int | tuple[int, int] | None = None
) -> np.ndarray:
    """Reads an image file as RGB float32 in [0, 1].

    The EXIF orientation is applied; transparent pixels are laid over gray 0.5;
    palette, gray, 16-bit gray and CMYK files become RGB; of an animation the first
    frame is read.

    Args:
      path: a PNG, JPEG, WebP, GIF, BMP, TIFF or PPM file.
      size: None keeps the file's size; an int gives a square of that many pixels; a
        pair is (height, width). The picture is cropped about its center to the
        wanted aspect, then resized with an antialiased bicubic filter.

    Returns:
      [H, W, 3] float32 in [0, 1].

    Raises:
      ValueError: naming the argument, the path and what is accepted, where the file
        is missing, a directory, not an image, broken, or larger than `MAX_PIXELS`.
    """
    target = _target(size)
    path = Path(path)
    if path.is_dir():
        raise ValueError(
            f"path={str(path)!r} is a directory: give one {_ACCEPTED} file."
        )
    if not path.exists():
        raise ValueError(f"path={str(path)!r} does not exist: give a {_ACCEPTED} file.")
    if not path.is_file():
        raise ValueError(f"path={str(path)!r} is no regular file: give a {_ACCEPTED}.")
    try:
        pixels = _decode(path)
    except _UNREADABLE as error:
        raise ValueError(
            f"path={str(path)!r} cannot be read as an image ({_reason(error)})."
            f" Accepted: whole {_ACCEPTED} files of at most {MAX_PIXELS:,} pixels."
        ) from error
    return pixels if target is None else _resize(pixels, target)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Returns float images in [0, 1] as uint8: clipped and rounded.

    Non-finite values become mid gray (128), so that the picture of a run that failed
    can be written and seen.

    Args:
      images: float array of any shape.

    Raises:
      ValueError: for an array that is not of a float type.
    """
    images = np.asarray(images)
    floating = np.issubdtype(images.dtype, np.floating)
    require(floating, "images.dtype", str(images.dtype), "give floats in [0, 1]")
    finite = np.where(np.isfinite(images), images, BACKGROUND)
    return np.rint(np.clip(finite, 0.0, 1.0) * 255.0).astype(np.uint8)


def png_bytes(image: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """Returns a PNG file; the same image and text always give the same bytes.

    Args:
      image: [H, W, 3], float in [0, 1] or uint8.
      text: keyword -> text, written in this order as uncompressed iTXt chunks
        (UTF-8). Keywords are 1 to 79 Latin-1 characters.

    Raises:
      ValueError: for another shape, or a keyword or text that PNG cannot hold.
    """
    image = np.asarray(image)
    shaped = image.ndim == 3 and image.shape[2] == 3 and image.size > 0
    require(shaped, "image.shape", image.shape, "give [H, W, 3]")
    pixels = image if image.dtype == np.uint8 else to_uint8(image)
    info = PngInfo()
    for key, value in (text or {}).items():
        require(_is_keyword(key), "text key", key, "give 1 to 79 printable characters")
        require("\0" not in value, f"text[{key!r}]", value, "no NUL characters")
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.save(buffer, format="PNG", pnginfo=info, compress_level=6)
    return buffer.getvalue()


def _is_keyword(key: str) -> bool:
    latin = key.encode("latin-1", "replace").decode("latin-1") == key
    return latin and 1 <= len(key) <= 79 and key.isprintable() and key == key.strip()


def _target(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Returns (height, width) or None; checked."""
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
    valid = len(pair) == 2 and all(
        isinstance(n, int | np.integer)
        and not isinstance(n, bool)
        and 1 <= n <= MAX_SIDE
        for n in pair
    )
    allowed = f"give pixels, an int or (height, width), each in 1..{MAX_SIDE}"
    require(valid, "size", size, allowed)
    return int(pair[0]), int(pair[1])


def _decode(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF data and the like
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.init()
        formats = [name for name in FORMATS if name in Image.OPEN]  # WebP is optional
        with Image.open(path, formats=formats) as file:
            width, height = file.size
            if width * height > MAX_PIXELS:
                raise ValueError(f"it has {width} x {height} pixels")
            file.load()
            return _rgb(ImageOps.exif_transpose(file))


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "no known image format"
    return str(error) or type(error).__name__


def _rgb(picture: Image.Image) -> np.ndarray:
    """Returns any Pillow picture as [H, W, 3] float32 in [0, 1]."""
    if picture.mode.startswith("I") or picture.mode == "F":
        gray = np.asarray(picture, np.float32)
        top = 65535.0 if picture.mode.startswith("I") else 1.0
        if not (np.all(gray >= 0.0) and np.all(gray <= top)):
            raise ValueError(
                f"gray values must lie in 0..{top:g}, but they span"
                f" {gray.min():g}..{gray.max():g}"
            )
        return np.repeat((gray / top)[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        rgba = np.asarray(picture.convert("RGBA"), np.float32) / 255.0
        alpha = rgba[:, :, 3:]
        return rgba[:, :, :3] * alpha + BACKGROUND * (1.0 - alpha)
    return np.asarray(picture.convert("RGB"), np.float32) / 255.0


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crops [H, W, 3] about its center to the aspect of `size`, then resizes it."""
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    scale = min(height / size[0], width / size[1])  # source pixels per target pixel
    cut_h, cut_w = size[0] * scale, size[1] * scale
    left, top = (width - cut_w) / 2, (height - cut_h) / 2
    box = (left, top, min(left + cut_w, width), min(top + cut_h, height))
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(image[:, :, c])).resize(
                size[::-1], Image.Resampling.BICUBIC, box=box
            )
        )
        for c in range(3)
    ]
    return np.clip(np.stack(channels, axis=2), 0.0, 1.0)  # bicubic overshoots
