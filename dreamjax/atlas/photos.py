"""What channels do on photos: the yardstick that makes scores of layers comparable."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.build import PHOTOS, picture_path
from dreamjax.errors import require
from dreamjax.files import atomic_open
from dreamjax.images import load_image
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}
AT_ONCE = 10  # photos of one call


class Activity(NamedTuple):
    """What the channels of one tap do on photos; arrays [K].

    Attributes:
      mean: over photos and positions.
      peak: the largest mean over positions that one photo has.
      spread: standard deviation over photos and positions.
    """

    mean: np.ndarray
    peak: np.ndarray
    spread: np.ndarray


Respond = Callable[[np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]
"""Images [N, H, W, C] -> tap -> mean over positions, and mean of squares; [N, K]."""


def photo_paths(folder: str | Path | None) -> list[Path]:
    """Returns the pictures of a folder in order of name; None means the shipped ones.

    Raises:
      ValueError: not a folder, or none in it.
    """
    if folder is None:
        return [picture_path(name) for name in PHOTOS]
    folder = Path(folder)
    require(folder.is_dir(), "photos", str(folder), "give a folder of pictures")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    require(bool(found), "photos", str(folder), "there is no picture in this folder")
    return found


def views(paths: Sequence[Path], size: tuple[int, int]) -> np.ndarray:
    """Returns five views of each photo, [5·N, H, W, 3]: the whole and its quarters.

    Two photos alone would be few numbers to take a spread of.
    """
    found = []
    for path in paths:
        large = load_image(path, (2 * size[0], 2 * size[1]))
        rows = np.split(large, 2, axis=0)
        quarters = [part for row in rows for part in np.split(row, 2, axis=1)]
        found += [load_image(path, size), *quarters]
    return np.stack(found)


def responder(model: Model, taps: Sequence[str]) -> Respond:
    """Returns what says how the channels of each tap respond to images; compiled once.

    It may be called with any number of images [N, H, W, C] of one size.
    """

    def sums(variables: Any, images: jax.Array) -> dict[str, tuple]:
        found = model.taps(variables, images, PLAIN)
        flat = {t: found[t].reshape(len(images), -1, found[t].shape[-1]) for t in taps}
        return {
            t: (jnp.mean(a, 1), jnp.mean(jnp.square(a), 1)) for t, a in flat.items()
        }

    program = jax.jit(sums)

    def respond(images: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        filling = np.repeat(images[-1:], -len(images) % AT_ONCE, axis=0)
        filled = np.concatenate([images, filling])
        parts = [
            jax.tree.map(np.asarray, program(model.variables, filled[i : i + AT_ONCE]))
            for i in range(0, len(filled), AT_ONCE)
        ]
        return {
            t: tuple(
                np.concatenate([part[t][i] for part in parts])[: len(images)]
                for i in range(2)
            )
            for t in taps
        }

    return respond


def measure(
    respond: Respond, taps: Sequence[str], photos: np.ndarray
) -> dict[str, Activity]:
    """Returns what the channels of each tap do on photos [N, H, W, 3]."""
    found, responses = {}, respond(photos)
    for tap in taps:
        mean, square = responses[tap]
        variance = np.maximum(square.mean(0) - mean.mean(0) ** 2, 0)
        found[tap] = Activity(mean.mean(0), mean.max(0), np.sqrt(variance))
    return found


def kept(
    path: Path,
    model: Model,
    respond: Respond,
    taps: Sequence[str],
    photos: np.ndarray,
) -> dict[str, Activity]:
    """Returns `measure`, of what a file holds already from the file."""
    asked = hashlib.sha256(np.ascontiguousarray(photos)).hexdigest()
    asked = json.dumps([model.record.name, model.record.sha256, asked])
    found: dict[str, Activity] = {}
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            if str(file["asked"]) == asked:
                names = json.loads(str(file["taps"]))
                found = {t: Activity(*file[f"{i}"]) for i, t in enumerate(names)}
    rest = [tap for tap in dict.fromkeys(taps) if tap not in found]
    if rest:
        found |= measure(respond, rest, photos)
        arrays = {f"{i}": np.stack(part) for i, part in enumerate(found.values())}
        names = np.asarray(json.dumps(list(found)))
        with atomic_open(path) as file:
            np.savez(file, asked=np.asarray(asked), taps=names, **arrays)
    return {tap: found[tap] for tap in taps}


def against_photos(score: float, unit: int, activity: Activity) -> dict[str, float]:
    """Returns a score in two units that layers share.

    `score_z = (score - mean) / spread`: how far the mean activation of the picture
    lies above that of photos, in standard deviations of the channel on photos.
    `score_ratio = score / peak`: against the photo that the channel likes best; only
    where that is above 0.
    """
    mean, peak, spread = (float(part[unit]) for part in activity)
    found = {"photo_mean": mean}
    if spread > 0:
        found["score_z"] = (score - mean) / spread
    if peak > 0:
        found["score_ratio"] = score / peak
    return found
