"""Names of the files of saliency maps: none replaces another's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from dreamjax.inputs import path_names
from dreamjax.json_file import loads

TEXT = "saliency"  # keyword of the text in a map that says what it was made of


def free_stem(
    folder: Path, picture: Path, ends: Sequence[str], about: Mapping[str, Any]
) -> str:
    """Returns what the maps of a picture are called, so that none replaces another's.

    The picture's name; where maps of the same picture under other settings have that
    name, the settings too; where those of another picture have it, as many folders
    before it as it takes.

    Args:
      folder: of the maps.
      picture: its file.
      ends: what follows in the names of the maps.
      about: what the maps are made of.
    """
    settings = f"{about['network']}_{'x'.join(map(str, about['size']))}"
    for name in path_names(picture):
        for stem in (name, f"{name}_{settings}"):
            paths = [folder / f"{stem}{end}" for end in ends]
            there = [_about(path) for path in paths if path.exists()]
            if all(other == about for other in there):
                return stem
            if any(other.get("picture") != about["picture"] for other in there):
                break
    raise AssertionError  # names do not end


def _about(path: Path) -> dict[str, Any]:
    """Returns what a map was made of, as far as it says so."""
    try:
        with Image.open(path, formats=("PNG",)) as file:
            found = loads(file.text.get(TEXT, "{}"))
    except (OSError, ValueError, SyntaxError):
        return {}
    return found if isinstance(found, dict) else {}
