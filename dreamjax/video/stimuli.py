"""Stimulus sets: one clip, dreamed at several strengths, and what is held equal."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_collections
import numpy as np

from dreamjax.deepdream.config import take_dream
from dreamjax.deepdream.studio import dream_identity, make_scorer, open_studio
from dreamjax.errors import require
from dreamjax.fields import TRUTH, Field, real, tuple_of
from dreamjax.match import (
    graded,
    into_range,
    match_luminance_contrast,
    match_spectrum,
    phase_scrambled,
)
from dreamjax.models import load_configured
from dreamjax.models.model import Model
from dreamjax.paths import given_path
from dreamjax.stimuli import statistics_table, write_csv
from dreamjax.terminal import tell
from dreamjax.video.clip import open_clip
from dreamjax.video.config import VIDEO, VIDEO_FIELDS
from dreamjax.video.flow import optical_flow
from dreamjax.video.run import run_video, scaled
from dreamjax.video.writing import write_clip
from dreamjax.workdir import claim, locked

OWN = ("grades", "luminance", "spectrum", "scrambled")
CONTROL, SCRAMBLED = "control", "scrambled"


def stimuli_config(video: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Returns the config of a dreamed clip with that of a stimulus set added."""
    config = ml_collections.ConfigDict(video.to_dict())
    config.grades = (0.33, 0.67, 1.0)  # share of the dream that is blended in
    config.luminance = True  # match mean and contrast of each frame to the control
    config.spectrum = False  # match the radial power spectrum of each frame
    config.scrambled = False  # a control with the dream's spectrum and no shapes
    return config


STIMULI_FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        **VIDEO_FIELDS,
        "grades": tuple_of(real(0, 1, above=True), least=1),
        "luminance": TRUTH,
        "spectrum": TRUTH,
        "scrambled": TRUTH,
    }
)
"""Key of a stimulus set's config -> what it may be."""


def make_stimuli(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    model: Model | None = None,
    report: Callable[[str], None] = tell,
) -> dict[str, Path]:
    """Writes a clip per condition and the table of their statistics.

    All frames are held in memory at once: cut long clips with `start` and `stop`.

    Args:
      config: of `stimuli_config`.
      workdir: folder: `dream/` as of `run_video`, `<condition>.mp4`, `statistics.csv`.
      model: a network of your own; None loads config["model"].
      report: takes each line of what is said.

    Returns:
      Condition -> its clip, and "statistics" -> the table.

    Raises:
      ValueError: bad input.
      Interrupted: as `run_video`.
    """
    config, given = take_dream(config, STIMULI_FIELDS)
    own = {name: config[name] for name in OWN}
    names = [_condition(grade) for grade in own["grades"]]
    allowed = "strengths that differ by at least a hundredth: they name the clips"
    require(len(set(names)) == len(names), "grades", own["grades"], allowed)
    config = {name: value for name, value in config.items() if name not in OWN}
    workdir = given_path("workdir", workdir)
    model = load_configured(config) if model is None else model
    with locked(workdir):
        files = {config["image"]: given_path("image", config["image"])}
        inner = {name: value for name, value in config.items() if name not in VIDEO}
        identity = dream_identity(inner, model, files)
        claimed = identity._replace(config={**config, **own})
        claim(workdir, claimed, ("output", "quality"), report)
        return _make_stimuli(config, own, workdir, model, given, report)


def _make_stimuli(
    config: Mapping[str, Any],
    own: Mapping[str, Any],
    workdir: Path,
    model: Model,
    given: Mapping[str, np.ndarray],
    report: Callable[[str], None],
) -> dict[str, Path]:
    """Writes the clips and their table into a folder that is held."""
    made = run_video(config, workdir / "dream", model=model, report=report)
    source = open_clip(config["image"])
    clip = scaled(source, config["longest"], panorama=config["panorama"])
    chosen = (config["start"], config["stop"] or None, config["every"])
    control = np.stack(list(clip.frames(*chosen)))
    dream = np.stack(list(open_clip(made.files["frames"]).frames()))
    conditions = _conditions(control, dream, own)
    flows = {
        name: _flows(frames, config["flow"]) for name, frames in conditions.items()
    }
    inner = {name: value for name, value in config.items() if name not in VIDEO}
    score = make_scorer(open_studio(inner, [clip.size], model, given), clip.size)
    objective = {
        name: np.array([score(frame) for frame in frames])
        for name, frames in conditions.items()
    }
    files = {}
    for name, frames in conditions.items():
        path = workdir / f"{name}.{config['output']}"
        files[name] = write_clip(
            path, frames, clip.fps / config["every"], quality=config["quality"]
        )
        report(f"{name:14} {path}")
    table = statistics_table(conditions, flows, objective)
    files["statistics"] = workdir / "statistics.csv"
    write_csv(files["statistics"], table)
    report(f"{'statistics':14} {files['statistics']}")
    return files


def _condition(grade: float) -> str:
    """Returns what the clip of a strength is called."""
    return f"dream_{round(100 * grade):03d}"


def _conditions(
    control: np.ndarray, dream: np.ndarray, own: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Returns condition -> frames [T, H, W, 3] in [0, 1], matched as is wished."""
    found = {CONTROL: control}
    for grade, frames in zip(
        own["grades"], graded(control, dream, own["grades"]), strict=True
    ):
        found[_condition(grade)] = np.asarray(frames)
    if own["scrambled"]:
        scrambled = [phase_scrambled(frame, seed=0) for frame in dream]
        pictures, _ = into_range(*scrambled)
        found[SCRAMBLED] = np.stack(list(pictures))
    for name in [name for name in found if name != CONTROL]:
        frames = found[name]
        if own["spectrum"] and name != SCRAMBLED:
            both = zip(frames, control, strict=True)
            matched = [
                match_spectrum(x, c, channels="luma", radial=True) for x, c in both
            ]
            pictures, _ = into_range(*matched)
            frames = np.stack(list(pictures))
        if own["luminance"]:
            frames = match_luminance_contrast(frames, control, per_frame=True).frames
        found[name] = frames
    return found


def _flows(frames: np.ndarray, method: str) -> np.ndarray:
    """Returns the optical flow [T - 1, H, W, 2] from each frame to the next."""
    pairs = itertools.pairwise(frames)
    flows = [optical_flow(before, after, method=method) for before, after in pairs]
    return np.stack(flows) if flows else np.zeros((0, *frames.shape[1:3], 2))
