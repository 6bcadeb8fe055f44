"""Films of dreams that feed on themselves: the output again as the input.

    frame ─ dream ─ shown ─ a little closer, turned, moved ─ next frame

(The zoom of Mordvintsev, Olah and Tyka 2015.) Every frame is a file as soon as it is
made, and the float picture that the next one starts from is kept beside them: a film
that was interrupted goes on to the same frames.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from dreamjax import checkpoint
from dreamjax.deepdream.config import take_dream
from dreamjax.deepdream.plan import keep_memory_plan, planned_memory
from dreamjax.deepdream.run import find_photos, photo_files
from dreamjax.deepdream.studio import (
    dream_identity,
    make_painter,
    number_of_runs,
    open_studio,
)
from dreamjax.environment import UNKNOWN, environments, write_environment
from dreamjax.errors import require
from dreamjax.files import write_bytes
from dreamjax.images import load_image, png_bytes, to_uint8
from dreamjax.interrupt import Interrupted, stop_requests
from dreamjax.models.model import Model
from dreamjax.paths import given_path
from dreamjax.progress import Compiling
from dreamjax.terminal import tell
from dreamjax.video.clip import pyav
from dreamjax.video.writing import write_clip
from dreamjax.workdir import claim, locked

STRIP = 6  # frames of the strip that shows a film at a glance


class Film(NamedTuple):
    """What a film left behind.

    Attributes:
      frames: the pictures' files, in order.
      files: name -> path of the film and the strip.
    """

    frames: list[Path]
    files: dict[str, Path]


def moved(
    frame: np.ndarray, *, zoom: float, turn: float, shift: tuple[float, float]
) -> np.ndarray:
    """Returns a frame [H, W, C] seen closer, turned, and from further along.

    Linear interpolation about the center ((H - 1) / 2, (W - 1) / 2), as pixels are
    points; beyond the border it is mirrored.

    Args:
      frame: [H, W, C].
      zoom: s, the part of the width that is lost: 0.05 shows the middle 95 %.
      turn: degrees, counterclockwise.
      shift: (down, right), how many pixels the picture moves.
    """
    angle = np.deg2rad(turn)
    rotate = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = (1 - zoom) * rotate
    center = (np.array(frame.shape[:2]) - 1) / 2
    offset = center - matrix @ (center + np.array(shift))
    planes = [
        ndimage.affine_transform(
            frame[..., c], matrix, offset, order=1, mode="mirror", output=np.float32
        )
        for c in range(frame.shape[2])
    ]
    return np.stack(planes, axis=-1)


def film(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    model: Model | None = None,
    report: Callable[[str], None] = tell,
) -> Film:
    """Makes a film of config["frames"] frames; goes on where it was interrupted.

    Where the config sweeps hyperparameters, its settings take turns from frame to
    frame (a cycle of layers, say).

    Args:
      config: of `dream_config`, of one photo.
      workdir: folder: `frames/`, `film.mp4` or `film.gif`, `strip.png`.
      model: a network of your own; None loads config["model"].
      report: takes each line of what is said.

    Raises:
      ValueError: bad input, before any compile.
      Interrupted: Ctrl-C or SIGTERM, after a checkpoint.
    """
    config, given = take_dream(config)
    check_film(config)
    if config["film"] == "mp4":
        pyav()  # before the work, not after
    photos = find_photos(config, report, given)
    require(photos.alone, "image", config["image"], "a film starts from one photo")
    (found,) = photos.found.values()
    photo = found.load()
    identity = dream_identity(config, model, photo_files(found.source))
    workdir, count = given_path("workdir", workdir), config["frames"]
    paths = [workdir / "frames" / f"{i:06d}.png" for i in range(count)]
    saved = workdir / "frames" / "next.npz"
    with locked(workdir):
        claim(workdir, identity, report=report)
        first, start, marks, made_on = 0, photo, "", []
        if saved.exists():
            (start,), meta = checkpoint.load(saved, (np.zeros_like(photo),))
            first, marks = meta["frame"], meta.get("frames", "")
            made_on = meta.get("environments", [UNKNOWN])
            checkpoint.check_marks(
                paths,
                marks,
                f"Put it back, or delete {saved} to dream the film anew.",
            )
        if first < count:
            made_on = environments(made_on)
            write_environment(workdir, made_on)
            memory = planned_memory(workdir, config)
            keep_memory_plan(workdir, memory)
            sizes = [photo.shape[:2]]
            opened = open_studio(config, sizes, model, given, memory)
            settings = number_of_runs(opened.config)
            paint = make_painter(
                opened,
                photo.shape[:2],
                frozen=lambda frame: report(
                    f"frame {frame} froze: an update was not finite; the picture"
                    " before is kept."
                ),
            )
        else:
            report(f"{workdir} is finished: nothing to dream.")
        with (
            stop_requests() as stop,
            tqdm(initial=first, total=count, unit="frame", file=sys.stderr) as bar,
            Compiling(report, "compiling, and the first frame") as compiling,
        ):
            for i in range(first, count):
                dreamed = paint(start, frame=i, run=i % settings)
                compiling.end(bar)
                write_bytes(paths[i], png_bytes(to_uint8(dreamed)))
                start = moved(
                    dreamed,
                    zoom=config["zoom"],
                    turn=config["turn"],
                    shift=tuple(config["shift"]),
                )
                if len(marks) == checkpoint.MARK * i:  # else begun by an older version
                    marks += checkpoint.mark(paths[i])
                about = {"frame": i + 1, "frames": marks, "environments": made_on}
                checkpoint.save(saved, (start,), about)
                bar.update()
                if stop and i + 1 < count:
                    raise Interrupted(
                        f"stopped after frame {i + 1} of {count}. The same command goes"
                        " on from there."
                    )
        films = {"film": workdir / f"film.{config['film']}"}
        shown = (load_image(path) for path in paths)
        write_clip(films["film"], shown, config["fps"])
        films["strip"] = write_bytes(workdir / "strip.png", _strip(paths))
    for kind, path in films.items():
        report(f"{kind:9} {path}")
    return Film(paths, films)


def check_film(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a setting that makes no film."""
    require(config["frames"] >= 1, "frames", config["frames"], "at least 1")
    require(config["fps"] > 0, "fps", config["fps"], "above 0")
    require(-1 < config["zoom"] < 1, "zoom", config["zoom"], "between -1 and 1")
    shift = config["shift"]
    require(len(shift) == 2, "shift", shift, "(down, right) in pixels")


def _strip(paths: list[Path]) -> bytes:
    """Returns a PNG of some frames side by side, from the first to the last."""
    chosen = np.unique(np.linspace(0, len(paths) - 1, STRIP).round().astype(int))
    frames = [load_image(paths[i]) for i in chosen]
    return png_bytes(to_uint8(np.concatenate(frames, axis=1)))
