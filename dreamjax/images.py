"""Pictures in and out of files: any image file -> float32 [H, W, 3], and PNG bytes.

Images are RGB float32 in [0, 1]. Files are taken to be sRGB as they stand: embedded
color profiles are not applied, and CMYK becomes RGB by the plain formula. 16-bit gray
keeps its levels, TIFF's floats lie in 0..1; integers without an agreed white (signed,
or of 32 bits) are refused; 16-bit color, and 16-bit gray with alpha, are read with the
8 bits that Pillow keeps. Of an animation, of pages and of the pictures in a phone's MPO
file the first is read.
"""

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from dreamjax.errors import require
from dreamjax.paths import given_path

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What `load_image` opens; short, since Pillow's rarer readers are less guarded."""

MAX_PIXELS = 16_384 * 8_192
"""Larger files are refused before they are decoded.

134 megapixels: the largest panorama that cameras and stitchers commonly write, and a
third above a 12000 x 8000 photo. Whole, such an image is 1.6 GB of float32.
"""

MAX_WEBP_PIXELS = 8192 * 8192
"""The same of WebP, 67 megapixels: its decoder takes 16 bytes a pixel, 1.1 GB then, and
cannot decode at a smaller size. A JPEG that is wanted small takes next to nothing, a
PNG 4 bytes a pixel."""

CAP = "DREAMJAX_MAX_PIXELS"
"""The environment variable that sets another limit for all kinds of files."""

LARGE = 4096 * 4096
"""Pixels from which on a file that is wanted much smaller is reduced by a whole number
before it is resized: as it is decoded (JPEG), or right after, with 8 bits."""

MAX_SIDE = 8192
"""The largest height or width that `load_image` resizes to, pixels."""

BACKGROUND = 0.5
"""What lies under a transparent picture: the gray that dreams start from."""

Placed = tuple[tuple[int, int], tuple[float, float, float, float] | None]
"""(height, width) to resize to, and the (left, top, right, bottom) cut of the file that
is shown there; None for all of it."""

ORIENTATIONS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""How a stored picture becomes upright: EXIF's orientation -> (whether rows and columns
are swapped; whether then the rows are in reverse order, the columns). These are all the
ways to turn and mirror a picture by quarters, a video's too."""

_ACCEPTED = "PNG, JPEG, WebP, GIF, BMP, TIFF or PPM"
_BOXED = {"heic", "heix", "hevc", "heim", "mif1", "msf1", "avif", "avis"}
UNREADABLE = (
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
    return decode(path, lambda height, width: _cropped(height, width, target))


def decode(
    path: str | Path, place: Callable[[int, int], Placed | None] | None = None
) -> np.ndarray:
    """Reads an image file as `load_image` does, at a size that depends on the file's.

    Args:
      path: a file of one of `FORMATS`.
      place: (height, width) of the upright picture -> `Placed`, or None to keep it as
        it is. Resizing is antialiased bicubic, channel by channel, so that a large file
        never exists as floats.

    Returns:
      [H, W, 3] float32 in [0, 1].

    Raises:
      ValueError: as `load_image`.
    """
    with _opened(given_path("path", path)) as file:
        return _decode(file, place)


def picture_size(path: str | Path) -> tuple[int, int]:
    """Returns (height, width) of the upright picture; only the file's head is read.

    Raises:
      ValueError: as `load_image`, but a file that is damaged behind its head is not
        found out.
    """
    path = given_path("path", path)
    with _opened(path) as file:
        # Where a PNG has no EXIF data in front, Pillow decodes all of it to find out.
        known = file.format != "PNG" or "exif" in file.info or _exif_behind(path)
        swapped = ORIENTATIONS[_orientation(file) if known else 1][0]
        return file.size if swapped else file.size[::-1]


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Returns stored pixels [h, w, ...] as they are meant to be seen; a view.

    Args:
      pixels: as in the file.
      orientation: EXIF's number, a key of `ORIENTATIONS`.
    """
    swapped, rows, columns = ORIENTATIONS[orientation]
    turned = pixels.swapaxes(0, 1) if swapped else pixels
    return turned[:: -1 if rows else 1, :: -1 if columns else 1]


def rgb_of(picture: Image.Image) -> np.ndarray:
    """Returns a decoded Pillow picture of any mode as float32 [H, W, 3] in [0, 1].

    Transparent parts lie over gray 0.5.

    Raises:
      ValueError: gray values beyond what is black and white.
    """
    return np.stack(list(_planes(picture)), axis=-1)


def over_gray(rgba: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W, 4] laid over gray 0.5, float32 [H, W, 3] in [0, 1]."""
    values = np.asarray(rgba, np.float32) / np.float32(255)
    alpha = values[:, :, 3:]
    return values[:, :, :3] * alpha + np.float32(BACKGROUND) * (1 - alpha)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Opens a picture, not decoded; whatever is wrong with it is one ValueError."""
    if path.is_dir():
        raise ValueError(
            f"path={str(path)!r} is a directory: give one {_ACCEPTED} file."
        )
    if not path.exists():
        raise ValueError(f"path={str(path)!r} does not exist: give a {_ACCEPTED} file.")
    if not path.is_file():
        raise ValueError(f"path={str(path)!r} is no regular file: give a {_ACCEPTED}.")
    try:
        with warnings.catch_warnings():
            # Damaged EXIF data and the like; and sizes, which are checked here.
            warnings.simplefilter("ignore")
            Image.init()
            formats = [name for name in FORMATS if name in Image.OPEN]  # WebP: optional
            with own_limits(), Image.open(path, formats=formats) as file:
                check_pixels(file)
                check_samples(file)
                yield file
    except UNREADABLE as error:
        raise ValueError(
            f"path={str(path)!r} cannot be read as an image ({_reason(error, path)})."
            f" Accepted: whole {_ACCEPTED} files of at most {max_pixels(''):,} pixels."
        ) from error


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns an image [H, W, C] cropped and resized to (H, W) as `load_image` does."""
    placed = _cropped(*image.shape[:2], size)
    if placed is None:
        return image
    planes = [
        _resized(np.ascontiguousarray(p), *placed) for p in np.moveaxis(image, 2, 0)
    ]
    return np.stack(planes, axis=2)


def max_pixels(kind: str) -> int:
    """Returns how many pixels a file may have to be decoded.

    Args:
      kind: Pillow's name of the format.

    Raises:
      ValueError: the environment variable `CAP` is no number.
    """
    given = os.environ.get(CAP, "")
    if given:
        require(given.isdecimal() and int(given) > 0, CAP, given, "give a number > 0")
        return int(given)
    return MAX_WEBP_PIXELS if kind == "WEBP" else MAX_PIXELS


def check_pixels(file: Image.Image) -> None:
    """Raises ValueError for an open picture that has too many pixels to be decoded."""
    most = max_pixels(file.format or "")
    if file.width * file.height > most:
        raise ValueError(
            f"it has {file.width} x {file.height} pixels; a {file.format} may have"
            f" {most:,}, which the environment variable {CAP} raises"
        )


@contextlib.contextmanager
def own_limits() -> Iterator[None]:
    """Lets `max_pixels` decide what is too large, where it allows more than Pillow."""
    theirs = Image.MAX_IMAGE_PIXELS
    if theirs is not None and max_pixels("") > theirs:
        Image.MAX_IMAGE_PIXELS = max_pixels("")
    yield


def check_samples(file: Image.Image) -> None:
    """Raises ValueError for numbers of which nobody knows which one is white."""
    if file.format != "TIFF":
        return
    signed = 2 in file.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,))
    if signed or file.mode == "I":
        bits = max(file.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        raise ValueError(
            f"its values are {'signed' if signed else 'unsigned'} integers of {bits}"
            " bits, of which none is agreed to be white: save it with unsigned 8 or 16"
            " bits, or as floats in 0..1"
        )


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


def _decode(
    file: Image.Image, place: Callable[[int, int], Placed | None] | None
) -> np.ndarray:
    whole = file.size  # columns, rows
    if place is not None and file.format == "JPEG":
        _draft(file, place)
    file.load()
    orientation = _orientation(file)
    if file.format == "TIFF":
        whole = file.size  # upright only now
    swapped = ORIENTATIONS[orientation][0]
    height, width = whole if swapped else whole[::-1]
    placed = None if place is None else place(height, width)
    size = (height, width) if placed is None else placed[0]
    if placed is not None:
        done = round(whole[0] / file.width)  # by the decoder: 1, 2, 4 or 8
        picture, more = _reduced(file, _factor(whole, placed, swapped) // done)
        factor = done * more
        box = (0.0, 0.0, width, height) if placed[1] is None else placed[1]
        stored = picture.size[::-1] if swapped else picture.size
        _, rows, columns = ORIENTATIONS[orientation]
        left, right = _in_reduced(box[::2], width, stored[0], factor, columns)
        top, bottom = _in_reduced(box[1::2], height, stored[1], factor, rows)
        box = (left, top, right, bottom)
    else:
        picture, box = file, None
    image, last = np.empty((*size, 3), np.float32), None
    for channel, plane in enumerate(_planes(picture)):
        if plane is last:  # gray: once is enough
            image[:, :, channel] = image[:, :, channel - 1]
        elif placed is None:
            image[:, :, channel] = upright(plane, orientation)
        else:
            image[:, :, channel] = _resized(upright(plane, orientation), size, box)
        last = plane
    return image


def _in_reduced(
    ends: Sequence[float], length: int, stored: int, factor: int, reverse: bool
) -> tuple[float, float]:
    """Returns where a cut of an axis lies after the axis was reduced.

    Its last stored pixel may stand for fewer than `factor`; of an axis that is seen in
    reverse order that one comes first.

    Args:
      ends: of the cut, in pixels of the axis of `length`.
      length, stored: of the axis before and after.
      factor: pixels that one stands for.
      reverse: the axis is seen in reverse order.
    """
    lead = stored - length / factor if reverse else 0.0
    first, last = (end / factor + lead for end in ends)
    return first, min(last, stored)


def _factor(whole: tuple[int, int], placed: Placed, swapped: bool) -> int:
    """Returns by which whole number a large file may be reduced before it is resized.

    At least two of its pixels are left for each that is wanted, on either axis.
    """
    if whole[0] * whole[1] < LARGE:
        return 1
    (height, width), box = placed
    across, down = whole[::-1] if swapped else whole
    if box is not None:
        across, down = box[2] - box[0], box[3] - box[1]
    return max(1, int(min(across / width, down / height) / 2))


def _draft(file: Image.Image, place: Callable[[int, int], Placed | None]) -> None:
    """Lets a large JPEG be decoded at a half, a quarter or an eighth of its size."""
    swapped = ORIENTATIONS[_orientation(file)][0]
    placed = place(*(file.size if swapped else file.size[::-1]))
    if placed is not None:
        factor = _factor(file.size, placed, swapped)
        if factor > 1:
            file.draft(None, (file.width // factor, file.height // factor))


def _reduced(file: Image.Image, factor: int) -> tuple[Image.Image, int]:
    """Returns a picture reduced by a whole number, where Pillow can and may, and that.

    Colors of a palette and colors under transparency may not be averaged.
    """
    if factor <= 1 or file.mode not in ("L", "RGB") or file.has_transparency_data:
        return file, 1
    return file.reduce(factor), factor


def _orientation(file: Image.Image) -> int:
    """Returns EXIF's orientation; 1 where there is none or its data are broken."""
    if file.format == "TIFF":  # Pillow turns it upright as it decodes
        return 1
    try:
        found = file.getexif().get(ExifTags.Base.Orientation, 1)
    except UNREADABLE:
        return 1
    return found if found in ORIENTATIONS else 1


def _exif_behind(path: Path) -> bool:
    """Tells whether a PNG has EXIF data, or XMP, that Pillow has not met in front."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            text = file.read(min(length, 32)) if kind in (b"iTXt", b"zTXt") else b""
            if kind == b"eXIf" or text.startswith((b"XML:com.adobe", b"Raw profile")):
                return True
            file.seek(length - len(text) + 4, 1)
    return False


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        with contextlib.suppress(OSError), path.open("rb") as file:
            head = file.read(12)
            if head[4:8] == b"ftyp" and head[8:].decode("latin-1") in _BOXED:
                return "a HEIC or AVIF picture: save it as JPEG or PNG first"
        return "no known image format"
    return str(error) or type(error).__name__


def _planes(picture: Image.Image) -> Iterator[np.ndarray]:
    """Yields red, green and blue of any Pillow picture, [H, W] float32 in [0, 1].

    Of a gray picture all three are the same object.
    """
    if picture.mode.startswith("I") or picture.mode == "F":
        gray = np.asarray(picture, np.float32)
        top = 65535.0 if picture.mode.startswith("I") else 1.0
        if not (np.all(gray >= 0.0) and np.all(gray <= top)):
            raise ValueError(
                f"gray values must lie in 0..{top:g}, but they span"
                f" {gray.min():g}..{gray.max():g}"
            )
        gray = gray / top
        if _white_is_zero(picture):
            gray = 1 - gray
        clear = picture.info.get("transparency")  # of 16-bit gray, which level is
        if picture.mode.startswith("I") and isinstance(clear, int):
            gray = np.where(gray == np.float32(clear) / top, BACKGROUND, gray)
        gray = np.asarray(gray, np.float32)
        yield from (gray, gray, gray)
        return
    alpha = None
    if picture.mode in ("1", "L") and not picture.has_transparency_data:
        gray = np.asarray(picture.convert("L"), np.float32) / 255.0
        yield from (gray, gray, gray)
        return
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        alpha = np.asarray(picture.getchannel(3), np.float32) / 255.0
    elif picture.mode != "RGB":
        picture = picture.convert("RGB")
    for channel in range(3):
        plane = np.asarray(picture.getchannel(channel), np.float32) / 255.0
        if alpha is None:
            yield plane
        else:
            yield plane * alpha + BACKGROUND * (1.0 - alpha)


def _white_is_zero(picture: Image.Image) -> bool:
    """Tells whether a TIFF counts its 16-bit or float values from white.

    Those of 8 bits Pillow turns around itself.
    """
    tags = getattr(picture, "tag_v2", {})
    return tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0


def _cropped(height: int, width: int, size: tuple[int, int] | None) -> Placed | None:
    """Returns the cut about the center that has the aspect of `size`."""
    if size is None or (height, width) == size:
        return None
    scale = min(height / size[0], width / size[1])  # source pixels per target pixel
    cut_h, cut_w = size[0] * scale, size[1] * scale
    # The side that is kept whole may come out a rounding above the picture's.
    left, top = max(0.0, (width - cut_w) / 2), max(0.0, (height - cut_h) / 2)
    return size, (left, top, min(left + cut_w, width), min(top + cut_h, height))


def _resized(
    plane: np.ndarray,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None,
) -> np.ndarray:
    """Returns the cut of [H, W] resized; clipped, since bicubic overshoots."""
    picture = Image.fromarray(plane)
    resized = picture.resize(size[::-1], Image.Resampling.BICUBIC, box=box)
    return np.clip(np.asarray(resized), 0.0, 1.0)
