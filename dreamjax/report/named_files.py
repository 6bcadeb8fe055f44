"""Files that a recipe names: which of them are opened, and that they are the same.

A recipe is text from whoever made the picture, and may name any path. One is opened
only where it can be what the recipe says: a regular file (no pipe, no device, no
folder, no pattern), with the ending of a picture, or .json for colors, of at most
`dreamjax.caps`' "file" bytes. Where the recipe has its digest, the content must match.
"""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dreamjax.build import PHOTOS
from dreamjax.caps import require_cap
from dreamjax.config import NO_IMAGE, PICTURES
from dreamjax.deepdream.config import NOISE
from dreamjax.deepdream.studio import PHOTO
from dreamjax.fields import ARRAY
from dreamjax.inputs import READABLE
from dreamjax.models.own import split_key
from dreamjax.params.image import STARTS

NO_FILES = {*PHOTOS, *STARTS, NO_IMAGE, NOISE, PHOTO}


WEIGHTS = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".safetensors", ".h5", ".hdf5")
WEIGHTS += (".keras", ".npz", ".msgpack", ".caffemodel", ".pb", ".params", ".json")
ENDINGS = {"color": (".json",), "labels": (".txt", ".json"), "weights": WEIGHTS}
"""Key -> the endings that its file may have; of other keys, those of pictures."""


def files_of(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (key, name) of each file that a checked config names."""
    if config["color"].endswith(".json"):
        yield "color", config["color"]
    if config.get("weights"):
        yield "weights", split_key(config["weights"])[0]
    if config.get("labels"):
        yield "labels", config["labels"]
    named = [(key, config[key]) for key in ("start", "image", "mask") if key in config]
    for key in PICTURES:
        named += [(f"hparams.{key}", name) for name in config["hparams"][key]]
    for key, name in named:
        if name not in NO_FILES:
            yield key, name


def check_files(config: Mapping[str, Any], digests: Mapping[str, str]) -> list[str]:
    """Returns a line for each file whose content the recipe does not tell.

    Nothing is opened.

    Raises:
      ValueError: a file that is missing, or may not be opened.
    """
    lines = []
    for key, name in files_of(config):
        told = f"the recipe says {key}={name!r}"
        if name.startswith(ARRAY):
            raise ValueError(
                f"{told[:80]}…, a picture that was given as an array in Python: it"
                " cannot be made again from the recipe alone."
            )
        endings = ENDINGS.get(key, READABLE)
        if Path(name).suffix.lower() not in endings:
            raise ValueError(f"{told}, which does not end in {', '.join(endings)}.")
        try:
            found = Path(name).stat()
        except (OSError, ValueError):
            raise ValueError(
                f"{told}, and there is no such file: put it there, or start where its"
                " path holds."
            ) from None
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{told}, which is no regular file.")
        require_cap(key, repr(name), found.st_size, "file")
        if name not in digests and key != "weights":  # their digest is the network's
            lines.append(f"note: {key}={name!r}: its content was not recorded")
    return lines


def check_digests(found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raises ValueError where a picture is not the one that the recipe was made with.

    Args:
      found: name -> digest, of what was read now.
      wanted: name -> digest, of the recipe.
    """
    for name in sorted(found.keys() & wanted.keys()):
        if found[name] != wanted[name]:
            raise ValueError(
                f"the picture {name!r} is not what the recipe was made with: its"
                f" digest was {wanted[name][:12]}…, is {found[name][:12]}…."
            )
