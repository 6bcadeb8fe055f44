"""What channels do on photos: the yardstick that makes scores of layers comparable."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dreamjax.build import PHOTOS, picture_path
from dreamjax.checkpoint import DAMAGE
from dreamjax.files import atomic_open
from dreamjax.identity import model_digest
from dreamjax.inputs import pictures_under
from dreamjax.json_file import loads
from dreamjax.mining.watch import Watch, watcher
from dreamjax.mining.windows import look
from dreamjax.models.model import Model

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


def photo_paths(folder: str | Path | None) -> list[Path]:
    """Returns the pictures under a folder in order of name; None: the shipped ones.

    Raises:
      ValueError: not a folder, or none in it.
    """
    if folder is None:
        return [picture_path(name) for name in PHOTOS]
    return pictures_under(folder)


def views(paths: Sequence[Path], size: tuple[int, int]) -> np.ndarray:
    """Returns five views of each photo, [5·N, H, W, 3]: the whole and its quarters.

    Two photos alone would be few numbers to take a spread of.
    """
    return np.concatenate([look(path, size, 2) for path in paths])


def responder(model: Model, taps: Sequence[str]) -> Watch:
    """Returns what says how the channels of each tap respond to images.

    It may be called with any number of images [N, H, W, C] of one size.
    """
    return watcher(model, taps, AT_ONCE)


def measure(
    respond: Watch, taps: Sequence[str], photos: np.ndarray
) -> dict[str, Activity]:
    """Returns what the channels of each tap do on photos [N, H, W, 3]."""
    found, responses = {}, respond(photos)
    for tap in taps:
        mean, square = responses[tap].mean, responses[tap].square
        variance = np.maximum(square.mean(0) - mean.mean(0) ** 2, 0)
        found[tap] = Activity(mean.mean(0), mean.max(0), np.sqrt(variance))
    return found


def kept(
    path: Path,
    model: Model,
    respond: Watch,
    taps: Sequence[str],
    photos: np.ndarray,
) -> dict[str, Activity]:
    """Returns `measure`, of what a file holds already from the file."""
    asked = hashlib.sha256(np.ascontiguousarray(photos)).hexdigest()
    asked = json.dumps([model.record.name, model_digest(model), asked])
    found: dict[str, Activity] = {}
    if path.is_file():
        with (
            contextlib.suppress(*DAMAGE),  # then it is measured again
            np.load(path, allow_pickle=False) as file,
        ):
            if str(file["asked"]) == asked:
                names = loads(str(file["taps"]))
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
