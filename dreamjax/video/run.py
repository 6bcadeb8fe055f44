"""A clip through the dream engine: frames in, frames and figures out."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dreamjax.deepdream.config import take_dream
from dreamjax.deepdream.octaves import resizer
from dreamjax.deepdream.plan import keep_memory_plan, planned_memory
from dreamjax.deepdream.studio import (
    Studio,
    dream_identity,
    make_painter,
    number_of_runs,
    open_studio,
)
from dreamjax.files import write_text
from dreamjax.models.model import Model
from dreamjax.panorama import require_panorama
from dreamjax.report.panorama_page import panorama_page
from dreamjax.terminal import tell
from dreamjax.video.clip import Clip, open_clip, pyav
from dreamjax.video.config import VIDEO, VIDEO_FIELDS
from dreamjax.video.dream_video import (
    DreamFrame,
    VideoResult,
    VideoSettings,
    dream_video,
)

SERVED = (
    "From disk a browser may refuse to read the video beside this page: run"
    " `python -m http.server` in this folder and open it from there.",
)
CIRCLE = 64  # a panorama's width is a multiple of it


def scaled(clip: Clip, longest: int, *, panorama: bool = False) -> Clip:
    """Returns a clip whose longer side has `longest` pixels; 0 leaves it as it is.

    A panorama becomes exactly twice as wide as high.
    """
    height, width = clip.size
    factor = longest / max(height, width) if longest else 1.0
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    if panorama:
        require_panorama("image", (*clip.size, 3))
        across = max(CIRCLE, round(size[1] / CIRCLE) * CIRCLE)
        size = (across // 2, across)
    if size == clip.size:
        return clip
    resize = resizer("smooth", wraps=panorama)

    def decode() -> Iterator:
        for place, shot in clip._decode():
            yield place, lambda shot=shot: resize(shot(), size)

    return dataclasses.replace(clip, size=size, _decode=decode)


def run_video(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    model: Model | None = None,
    report: Callable[[str], None] = tell,
) -> VideoResult:
    """Dreams the clip that the config names; goes on where it was interrupted.

    What is carried adds up, so a frame that does not start fresh takes fewer steps.
    Where the config sweeps hyperparameters, its settings take turns, and nothing
    settles.

    Args:
      config: of `video_config`.
      workdir: folder: `out.mp4` or `out.gif`, `frames/`, `metrics.csv`; with `compare`
        also `plain/`, the same without carry; of a panorama `look.html`.
      model: a network of your own; None loads config["model"].
      report: takes each line of what is said.

    Raises:
      ValueError: bad input, before any compile.
      Interrupted: Ctrl-C or SIGTERM, after the frame in flight.
    """
    config, given = take_dream(config, VIDEO_FIELDS)
    own = {name: config[name] for name in VIDEO}
    config = {name: value for name, value in config.items() if name not in VIDEO}
    if own["output"] == "mp4":
        pyav()  # before the work, not after
    clip = open_clip(config["image"])
    clip = scaled(clip, config["longest"], panorama=config["panorama"])
    settings = VideoSettings(
        blend_moving=own["blend_moving"],
        blend_static=own["blend_static"],
        moving=own["moving"],
        # Settings that take turns would never be seen where the first one settles.
        settle=own["settle"] if number_of_runs(config) == 1 else 0.0,
        flow=own["flow"],
        wrap=config["panorama"],
        start=own["start"],
        stop=own["stop"] or None,
        every=own["every"],
        dream={**config, "carry_steps": own["carry_steps"]},
        output=own["output"],
        quality=own["quality"],
    )
    dream_frame = _dreamer(config, own["carry_steps"], clip.size, model, given, workdir)
    identity = dream_identity(config, model)
    plain = None
    if own["compare"]:
        alone = dataclasses.replace(
            settings, blend_moving=0.0, blend_static=0.0, settle=0.0
        )
        folder = workdir / "plain"
        dream_video(clip, dream_frame, folder, alone, report, identity=identity)
        plain = open_clip(workdir / "plain" / "frames")

    made = dream_video(
        clip, dream_frame, workdir, settings, report, plain=plain, identity=identity
    )
    if not config["panorama"] or own["output"] != "mp4":
        return made
    page = panorama_page({"dream": made.files["video"].name}, workdir.name, SERVED)
    made.files["look"] = write_text(workdir / "look.html", page)
    report(f"{'look':9} {made.files['look']}")
    return made


def _dreamer(
    config: Mapping[str, Any],
    carry_steps: int,
    size: tuple[int, int],
    model: Model | None,
    given: Mapping[str, np.ndarray],
    workdir: Path,
) -> DreamFrame:
    """Returns what dreams a frame: in full where it starts fresh, else in a few steps.

    The network is loaded when the first frame is asked for: a finished clip needs none.
    """
    steps = {True: config["steps"], False: carry_steps or config["steps"]}

    @functools.cache
    def studio() -> Studio:
        memory = planned_memory(workdir, config)
        keep_memory_plan(workdir, memory)
        return open_studio(config, [size], model, given, memory)

    @functools.cache
    def turns() -> int:
        return number_of_runs(studio().config)

    froze: set[int] = set()

    @functools.cache
    def painter(steps: int) -> Callable[..., np.ndarray]:
        opened = studio()
        return make_painter(
            opened._replace(config={**opened.config, "steps": steps}),
            size,
            frozen=froze.add,
        )

    def dream_frame(image: np.ndarray, number: int, fresh: bool) -> np.ndarray:
        dreamed = painter(steps[fresh])(image, frame=number, run=number % turns())
        # What froze half way is no dream of this frame: `dream_video` keeps its start.
        return np.full_like(dreamed, np.nan) if number in froze else dreamed

    return dream_frame
