"""Photos as people name them: a file, a folder, a glob, or a list of these."""

import glob
import itertools
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dreamjax.errors import require
from dreamjax.images import MAX_PIXELS, Placed, decode, picture_size
from dreamjax.paths import given_path

READABLE = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp")
READABLE += (".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
UNREADABLE = (".heic", ".heif", ".avif")

SUFFIXES = frozenset(READABLE + UNREADABLE)
"""What counts as a picture in a folder and in a glob, whatever its case: of photos, of
a clip's frames, of what is mined. Those that cannot be read are among them so that they
are reported, not passed over."""

CLIPS = (".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".webm", ".mkv", ".avi", ".ts")
CLIPS += (".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv", ".asf", ".flv", ".ogv")
"""Suffixes of video files, whatever their case. A video is told by its content; these
only serve to say that a clip was given where photos are wanted, and the reverse."""

Patterns = str | Path | Iterable[str | Path]


def find_images(patterns: Patterns) -> list[Path]:
    """Returns the pictures that are meant, in natural order, each once.

    A file is taken whatever its suffix, and also where its name looks like a glob. A
    folder means the pictures in it, without its subfolders. A glob knows `*`, `?`,
    `[...]`, and `**` for any number of folders; of what it finds, folders and files
    without a suffix of `SUFFIXES` are left out. `~` is the home folder. Hidden files
    are found by their name only.

    Natural order: `dream2` before `dream10`, capitals like small letters. Two names of
    one file (by links or `..`) are one picture, under the name that comes first.

    Args:
      patterns: one file, folder or glob, or several.

    Raises:
      ValueError: naming the pattern, where one finds no picture.
    """
    one = isinstance(patterns, str | os.PathLike)
    given = [patterns] if one else list(patterns)
    require(len(given) > 0, "patterns", given, "give a file, a folder or a glob")
    found = [path for pattern in given for path in _matches(os.fspath(pattern))]
    by_file: dict[str, Path] = {}
    for path in sorted(found, key=natural_key):
        by_file.setdefault(os.path.realpath(path), path)
    return list(by_file.values())


def pictures_under(folder: str | Path) -> list[Path]:
    """Returns the pictures of a folder and of all folders in it, in order of name.

    Made for folders of any size: no file is opened. Hidden files and folders are left
    out, and folders that are links.

    Raises:
      ValueError: not a folder, or no picture in it.
    """
    folder = given_path("folder", folder)
    require(folder.is_dir(), "folder", str(folder), "give a folder of pictures")
    found, left = [], [folder]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    left.append(Path(entry.path))
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                    found.append(Path(entry.path))
    allowed = f"there is no picture in it ({', '.join(READABLE)})"
    require(bool(found), "folder", str(folder), allowed)
    return sorted(found, key=lambda path: path.parts)


def distinct_names(paths: Sequence[str | Path]) -> list[str]:
    """Returns a name for each file, all different: what its output is called.

    A name is the file's own without its suffix. Files that would share one get the
    folders before it too, as few as tell them apart: `a/1.jpg`, `b/1.jpg` are `a_1` and
    `b_1`. Files of one folder that differ in their suffix only keep it. Names that
    differ only in case or in the form of their accents count as equal, since some file
    systems take them for one; where nothing else tells two files apart they are
    numbered.

    Args:
      paths: different files; the names of some do not depend on the order of all.
    """
    whole = [Path(os.path.abspath(path)) for path in paths]
    stems = [_folded([*path.parts[1:-1], path.stem]) for path in whole]
    last = [
        path.name if stems.count(stem) > 1 else path.stem
        for path, stem in zip(whole, stems, strict=True)
    ]
    parts = [[*path.parts[1:-1], name] for path, name in zip(whole, last, strict=True)]
    depth = [1] * len(parts)

    def names() -> list[str]:
        return ["_".join(p[-d:]) for p, d in zip(parts, depth, strict=True)]

    while True:
        growing = [
            i
            for same in _shared(names())
            if len({_folded(parts[i]) for i in same}) > 1
            for i in same
            if depth[i] < len(parts[i])
        ]
        if not growing:
            return _numbered(names())
        for i in growing:
            depth[i] += 1


def path_names(path: str | Path) -> Iterator[str]:
    """Yields names of a file, the shortest first: its own, and folders before it.

    `photos/a/1.jpg` is `1`, `a_1`, `photos_a_1`, …; then `1_2`, `1_3`, … without end.
    """
    path = Path(os.path.abspath(path))
    parts = [*path.parts[1:-1], path.stem]
    for depth in range(1, len(parts) + 1):
        yield "_".join(parts[-depth:])
    for number in itertools.count(2):
        yield f"{path.stem}_{number}"


def _folded(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)


def _shared(names: Sequence[str]) -> list[list[int]]:
    """Returns the positions of names that are shared, a list for each such name."""
    found = defaultdict(list)
    for i, key in enumerate(_folded(names)):
        found[key].append(i)
    return [same for same in found.values() if len(same) > 1]


def _numbered(names: list[str]) -> list[str]:
    """Returns the names, those that come again with _2, _3 … behind them."""
    taken = set(_folded(names))
    for _, *others in _shared(names):
        for i in others:
            own = (f"{names[i]}_{number}" for number in itertools.count(2))
            names[i] = next(name for name in own if _folded([name])[0] not in taken)
            taken.add(_folded([names[i]])[0])
    return names


def natural_key(path: str | Path) -> tuple:
    """Returns what to sort by, so that numbers in names count as numbers.

    Folders are compared before the names in them.
    """
    return tuple(_part_key(part) for part in Path(path).parts)


def load_images(
    paths: Iterable[str | Path],
    report: Callable[[str], None],
    load: Callable[[Path], np.ndarray] | None = None,
) -> Iterator[tuple[Path, np.ndarray]]:
    """Yields (path, image) of every picture that can be read, one at a time.

    One that cannot be read is reported with the reason and skipped; at the end one more
    line tells all that were skipped.

    Args:
      paths: such as `find_images` gives.
      report: is called with each line of text.
      load: path -> image; None means `load_photo` at the file's own size.

    Raises:
      ValueError: after the last one, where none could be read or none was given.
    """
    load = load_photo if load is None else load
    good, skipped = 0, []
    for path in map(Path, paths):
        try:
            image = load(path)
        except (ValueError, OSError, MemoryError) as error:
            skipped.append(path)
            report(f"skipped: {error or type(error).__name__}")
            continue
        good += 1
        yield path, image
    if good == 0:
        names = ", ".join(map(str, skipped))
        raise ValueError(f"no picture could be read{': ' if names else ''}{names}.")
    if skipped:
        names = ", ".join(map(str, skipped))
        report(f"{len(skipped)} of {good + len(skipped)} pictures skipped: {names}")


def photo_size(
    path: str | Path, *, longest: int | None = None, enlarge: bool = False
) -> tuple[int, int]:
    """Returns the (height, width) that `load_photo` gives, without decoding the file.

    Args and errors as in `load_photo`; a file that is damaged behind its header is not
    found out.
    """
    _check_longest(longest)
    height, width = picture_size(path)
    placed = _fitted(height, width, longest, enlarge)
    return (height, width) if placed is None else placed[0]


def load_photo(
    path: str | Path, *, longest: int | None = None, enlarge: bool = False
) -> np.ndarray:
    """Reads an image file at its own aspect, its longest side at most `longest` pixels.

    The other side is rounded, and at least 1 pixel. Antialiased bicubic.

    Args:
      path: as in `dreamjax.images.load_image`, which see for orientation, transparency
        and color.
      longest: pixels; None keeps the file's size.
      enlarge: whether a smaller file is enlarged to `longest`; else it stays as it is.

    Returns:
      [H, W, 3] float32 in [0, 1].

    Raises:
      ValueError: for a file that cannot be read, and for a size that is not a positive
        int or makes more than `MAX_PIXELS` pixels.
    """
    _check_longest(longest)
    return decode(path, lambda height, width: _fitted(height, width, longest, enlarge))


def _check_longest(longest: int | None) -> None:
    if longest is not None:
        whole = isinstance(longest, int | np.integer) and not isinstance(longest, bool)
        require(whole and longest >= 1, "longest", longest, "give pixels, 1 or more")


def _fitted(
    height: int, width: int, longest: int | None, enlarge: bool
) -> Placed | None:
    side = max(height, width)
    if longest is None or side == longest or (side < longest and not enlarge):
        return None
    size = tuple(max(1, round(n * longest / side)) for n in (height, width))
    allowed = f"at most {MAX_PIXELS:,} pixels, but this makes {size[0]} x {size[1]}"
    require(size[0] * size[1] <= MAX_PIXELS, "longest", longest, allowed)
    return size, None


def _matches(pattern: str) -> list[Path]:
    """Returns the pictures of one pattern, in any order."""
    path = given_path("pattern", pattern)
    if path.is_dir():
        where, found = "holds", [child for child in path.iterdir() if _shown(child)]
    elif os.path.lexists(path):
        return [path]
    elif not glob.has_magic(pattern):
        raise ValueError(f"pattern={pattern!r} does not exist.")
    else:
        names = glob.glob(str(path), recursive=True)
        where, found = "finds", [Path(name) for name in names]
    pictures = [p for p in found if p.suffix.lower() in SUFFIXES and not p.is_dir()]
    if not pictures:
        clips = sum(p.suffix.lower() in CLIPS for p in found)
        raise ValueError(
            f"pattern={pattern!r} {where} no picture"
            + (
                f", but {clips} video files, which experiments.video dreams"
                * bool(clips)
            )
            + f". A picture ends in {', '.join(READABLE)}; subfolders are searched"
            " with **."
        )
    return pictures


def _shown(path: Path) -> bool:
    return not path.name.startswith(".")


def _part_key(part: str) -> tuple:
    # Text and numbers alternate, so like is compared with like. The part itself breaks
    # ties such as a1 and A01.
    pieces = re.split(r"([0-9]+)", part.casefold())
    return (
        tuple(int(piece) if i % 2 else piece for i, piece in enumerate(pieces)),
        part,
    )
