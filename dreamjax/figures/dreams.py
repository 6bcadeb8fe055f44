"""Dreams for figures: traced, and kept so that a figure is drawn again at once."""

import functools
import hashlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from dreamjax import config as configs
from dreamjax.deepdream.film import moved
from dreamjax.deepdream.studio import (
    Easel,
    make_easel,
    make_painter,
    make_scorer,
    number_of_runs,
    open_studio,
)
from dreamjax.deepdream.trace import Trace, trace_dream
from dreamjax.figures.figure import Context
from dreamjax.figures.kept import kept
from dreamjax.identity import model_digest
from dreamjax.images import to_uint8

TOY = (24, 32)  # pixels of a quicktest's photo


def dream_size(context: Context, height: int, width: int) -> tuple[int, int]:
    """Returns (height, width); of a quicktest a toy that the network can take."""
    low, wide = TOY
    low = max(low, context.model.record.min_size)
    return context.pick((height, width), (low, max(wide, low)))


def dream_traces(
    context: Context,
    name: str,
    config: Any,
    photo: np.ndarray,
    *,
    snapshots: Collection[int] = (),
) -> list[Trace]:
    """Returns the traced dream of a photo under each of a config's settings.

    They share one compiled network; in a quicktest the config is shrunk, and snapshots
    that its steps do not reach are taken at the last step.

    Args:
      context: of the figure, whose network is taken whatever the config says.
      name: of the file that keeps them.
      config: of `dream_config`.
      photo: [H, W, 3] in [0, 1].
      snapshots: steps of each octave after which the picture is kept.
    """
    config = _shrunk(context, config)
    steps = {step: min(step, config["steps"]) for step in snapshots}
    easel = functools.cache(lambda: _easel(context, config, photo.shape[:2]))
    traces = []
    for run in range(number_of_runs(config)):

        def make(run: int = run) -> Mapping[str, np.ndarray]:
            found = trace_dream(easel(), photo, run=run, snapshots=set(steps.values()))
            places = {f"at {o} {s}": i for (o, s), i in found.snapshots.items()}
            reached = [(*where, value) for where, value in found.reached.items()]
            return {
                "image": found.image,
                "numbers": np.array([found.before, found.after]),
                "scores": found.scores,
                "reached": np.array(reached).reshape(-1, 3),
                **places,
            }

        recipe = _recipe(context, config, photo)
        recipe |= {"run": run, "snapshots": sorted(steps.values())}
        path = context.workdir / "kept" / f"{name}-{run}.npz"
        traces.append(_trace(kept(path, recipe, make)))
    return traces


def _easel(context: Context, config: Any, size: tuple[int, int]) -> Easel:
    return make_easel(open_studio(config, [size], context.model), size, 1)


class Filmed(NamedTuple):
    """A film that feeds on itself.

    Attributes:
      frames: [N, H, W, 3] in [0, 1], at 8 bits.
      before: the objective of the photo.
      scores: [N], of the frames.
    """

    frames: np.ndarray
    before: float
    scores: np.ndarray


def dream_film(
    context: Context, name: str, config: Any, photo: np.ndarray, frames: int
) -> Filmed:
    """Returns a film: each frame is dreamed from the last one, seen closer.

    Args:
      context: of the figure; a quicktest makes two frames with a shrunk config.
      name: of the file that keeps it.
      config: of `dream_config`; `zoom`, `turn` and `shift` move the frames.
      photo: [H, W, 3] in [0, 1].
      frames: how many.
    """
    config = _shrunk(context, config)
    frames = context.pick(frames, 2)

    def make() -> Mapping[str, np.ndarray]:
        size = photo.shape[:2]
        studio = open_studio(config, [size], context.model)
        paint, score = make_painter(studio, size), make_scorer(studio, size)
        picture, pictures, scores = photo, [], [score(photo)]
        for i in range(frames):
            dreamed = paint(picture, frame=i)
            pictures.append(to_uint8(dreamed))
            scores.append(score(dreamed))
            picture = moved(
                dreamed,
                zoom=config["zoom"],
                turn=config["turn"],
                shift=tuple(config["shift"]),
            )
        return {"frames": np.stack(pictures), "scores": np.array(scores)}

    recipe = _recipe(context, config, photo) | {"frames": frames}
    made = kept(context.workdir / "kept" / f"{name}.npz", recipe, make)
    shown = made["frames"].astype(np.float32) / 255
    return Filmed(shown, float(made["scores"][0]), made["scores"][1:])


def _shrunk(context: Context, config: Any) -> dict[str, Any]:
    """Returns plain values, of the context's network, and a toy in a quicktest."""
    config = configs.as_config(configs.plain(config))
    config.model = context.model.record.name
    if context.quicktest:
        config.octaves, config.steps = 1, 2
    return configs.plain(config)


def _recipe(
    context: Context, config: Mapping[str, Any], photo: np.ndarray
) -> dict[str, Any]:
    """Returns what a dream depends on."""
    return {
        "config": config,
        "photo": hashlib.sha256(np.ascontiguousarray(photo)).hexdigest(),
        "weights": model_digest(context.model),
    }


def _trace(arrays: Mapping[str, np.ndarray]) -> Trace:
    places = {tuple(map(int, n.split()[1:])): n for n in arrays if n[:3] == "at "}
    return Trace(
        arrays["image"],
        float(arrays["numbers"][0]),
        float(arrays["numbers"][1]),
        arrays["scores"],
        {where: arrays[name] for where, name in places.items()},
        {(int(o), int(s)): float(v) for o, s, v in arrays["reached"]},
    )
