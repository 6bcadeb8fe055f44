"""What serves every dream of a config: the network once, and an easel per size.

    config ─ open_studio → Studio ─ make_easel(size) → Easel ─ dream(photo, runs, keys)

`make_painter` and `make_scorer` are the short way for frames and scripts.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax import config as configs
from dreamjax import models, sweep
from dreamjax.build import Experiment, build, files_read, picture_path, with_all
from dreamjax.deepdream.config import sweep_config, take_dream
from dreamjax.deepdream.engine import Dreamed, make_dreamer
from dreamjax.deepdream.finish import blended, keep_color
from dreamjax.deepdream.network import Look, make_look
from dreamjax.deepdream.plan import allowed_bytes, make_plan, sizes_of, told
from dreamjax.deepdream.reach import Reach, measure_reach
from dreamjax.errors import require
from dreamjax.identity import Identity, identify
from dreamjax.images import load_image, resized
from dreamjax.inputs import load_photo
from dreamjax.kept_programs import keep_program, program_key
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model
from dreamjax.types import Array

PHOTO = "photo"  # the name of a photo for its own hyperparameters


class Studio(NamedTuple):
    """What is made once and serves every picture.

    Attributes:
      config: of the dream, plain values.
      model: the network.
      reaches: of the taps that the objective reads.
      look: the network's program, compiled at its first call.
      goals: tap -> activations [R, h, w, K] of each run's guide.
      pictures: (H, W) of all pictures to come, by which the tiles are chosen.
      given: pictures that the config names and that came as arrays.
      memory: GB by which pictures are cut into tiles.
    """

    config: dict[str, Any]
    model: Model
    reaches: Mapping[str, Reach | None]
    look: Look
    goals: Mapping[str, Array]
    pictures: tuple[tuple[int, int], ...]
    given: Mapping[str, np.ndarray]
    memory: float


class Easel(NamedTuple):
    """What serves all photos of one size.

    Attributes:
      experiment: the sweep; the config in it is the dream's.
      sizes: of the octaves.
      said: a line about tiles and memory.
      dream: (photo, runs, keys, …) -> Dreamed.
      score: (photo, images [R, H, W, C], runs) -> [R].
    """

    experiment: Experiment
    sizes: list[tuple[int, int]]
    said: str
    dream: Callable[..., Dreamed]
    score: Callable[..., np.ndarray]


def make_easel(studio: Studio, size: tuple[int, int], runs: int) -> Easel:
    """Returns what serves all photos of one size.

    Args:
      studio: from `open_studio`.
      size: (H, W).
      runs: most runs side by side, for the memory.

    Raises:
      ValueError: naming the key, its value and what is allowed; or what does not fit
        the memory.
    """
    config, model = studio.config, studio.model
    experiment = _experiment(config, model, size, studio.given)
    planned = {**config, "memory": studio.memory}
    plan, memory = make_plan(planned, experiment, studio.reaches, studio.pictures, runs)
    dreamer = make_dreamer(experiment, plan, studio.look)
    sizes = sizes_of(config, size, plan.overlap.align)
    strengths = [run["octave_strength"] for run in experiment.runs]
    mask = _mask(config, size, studio.given)

    def pick(
        photo: np.ndarray, chosen: Sequence[int]
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Returns hp and the guides' activations of some runs."""
        hp = sweep.take(experiment.values, chosen)
        hp.pop("target", None)
        if "reference" in hp:
            own = [experiment.runs[i]["reference"] == PHOTO for i in chosen]
            own = np.array(own).reshape(-1, 1, 1, 1)
            hp["reference"] = jnp.where(own, photo[None], hp["reference"])
        rows = np.asarray(chosen)
        return hp, {name: goal[rows] for name, goal in studio.goals.items()}

    def dream_runs(
        photo: np.ndarray, chosen: Sequence[int], keys: Array, **options: Any
    ) -> Dreamed:
        hp, own = pick(photo, chosen)
        return dreamer.dream(
            np.repeat(photo[None], len(chosen), axis=0),
            sizes,
            keys,
            hp,
            steps=config["steps"],
            strength=np.array([strengths[i] for i in chosen], np.float32),
            goals=own,
            mask=mask,
            **options,
        )

    def score(
        photo: np.ndarray, images: np.ndarray, chosen: Sequence[int]
    ) -> np.ndarray:
        hp, own = pick(photo, chosen)
        return dreamer.score(images, hp, goals=own)

    return Easel(experiment, sizes, told(plan, memory), dream_runs, score)


def _experiment(
    config: Mapping[str, Any],
    model: Model,
    size: tuple[int, int],
    given: Mapping[str, np.ndarray],
) -> Experiment:
    """Returns the sweep of a photo (H, W), with the octaves' strength in its runs."""
    guides = {}
    for name in dict.fromkeys(config["hparams"]["target"]):
        if name != configs.NO_IMAGE:
            guides[name] = _guide(name, config["guide_longest"], guides, given)
    inner = sweep_config(config, size)
    # Strengths are not the program's: they are swept along under a name that it reads.
    runs = _runs(config)
    columns = {
        name: tuple(run[name] for run in runs)
        for name in runs[0]
        if name != "octave_strength"
    }
    columns = {
        name: values if len(set(map(repr, values))) > 1 else values[:1]
        for name, values in columns.items()
    }
    if all(len(values) == 1 for values in columns.values()):
        columns["seed"] = columns["seed"] * len(runs)
    inner |= {"hparams": columns, "sweep": "zip", "samples": 1}
    blank = np.zeros((*size, 3), np.float32)  # each photo takes its place
    pictures = {**given, PHOTO: blank, **guides}
    experiment = build(inner, model, given=pictures, tiled=True)
    return experiment._replace(config=dict(config), runs=runs)


def _guide(
    name: str,
    longest: int,
    others: Mapping[str, np.ndarray],
    given: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Returns a guide picture; all have the shape of the first."""
    size = next(iter(others.values())).shape[:2] if others else None
    if name in given:
        return given[name] if size is None else resized(given[name], size)
    path = picture_path(name)
    return (
        load_photo(path, longest=longest or None)
        if size is None
        else load_image(path, size)
    )


def _goals(experiment: Experiment, taps: Sequence[str]) -> dict[str, Array]:
    """Returns tap -> activations [R, h, w, K] of each run's guide."""
    if not experiment.objective.needs_target:
        return {}
    model = experiment.model
    guides = experiment.values["target"]
    unique, back = np.unique(guides, axis=0, return_inverse=True)

    def features(variables: Any, images: Array) -> dict[str, Array]:
        found = model.taps(variables, images, PLAIN)
        return {tap: found[tap] for tap in taps}

    found = jax.jit(features)(model.variables, jnp.asarray(unique))
    return {tap: found[tap][back.reshape(-1)] for tap in taps}


def _mask(
    config: Mapping[str, Any], size: tuple[int, int], given: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """Returns the mask [H, W, 1] in [0, 1], the brightness of a picture, or None."""
    name = config["mask"]
    if name == "none":
        return None
    mask = resized(given[name], size) if name in given else load_image(name, size)
    return mask.mean(axis=2, keepdims=True)


def keys_of(easel: Easel, runs: Sequence[int], frame: int) -> Array:
    """Returns one key per run, [R], for one frame of a film or clip."""
    seeds = jnp.asarray(easel.experiment.values["seed"][np.asarray(runs)])
    keys = sweep.run_keys(seeds, jnp.asarray(runs), common=True)
    return jax.vmap(lambda key: jax.random.fold_in(key, frame))(keys)


def finished(
    config: Mapping[str, Any], images: np.ndarray, photo: np.ndarray
) -> np.ndarray:
    """Returns images [R, H, W, 3] after the after-steps."""
    if config["keep_color"]:
        images = keep_color(images, photo[None])
    return blended(images, photo[None], config["blend"])


def open_studio(
    config: Mapping[str, Any],
    pictures: Sequence[tuple[int, int]],
    model: Model | None = None,
    given: Mapping[str, np.ndarray] | None = None,
    memory: float | None = None,
) -> Studio:
    """Checks a config and loads what every picture needs.

    Args:
      config: of `dream_config`.
      pictures: (H, W) of the pictures to come.
      model: a network of your own; None loads config["model"].
      given: pictures by the names that the config calls them by, instead of files.
      memory: GB by which pictures are cut into tiles; None takes the config's, or half
        of what is free.

    Raises:
      ValueError: naming the key, its value and what is allowed.
    """
    config, arrays = take_dream(config)
    given = {**arrays, **(given or {})}
    model = models.load_configured(config) if model is None else model
    config = with_all(config, model, pictures[0])
    experiment = _experiment(config, model, pictures[0], given)
    objective = experiment.objective
    require(
        objective.additive,
        "objective",
        objective.text,
        "a dream is scored tile by tile, so it is a mean over positions or a class:"
        " a layer, channel, direction, guided, one_of, logit, sums of these",
    )
    taps = sorted({read.tap for read in objective.reads})
    key = program_key(experiment, (), "reach")  # no weights: reach depends on none
    reaches = keep_program(key, lambda: measure_reach(model, taps))
    look = make_look(experiment, reaches)
    goals = _goals(experiment, list(reaches))
    memory = allowed_bytes(config) / 1e9 if memory is None else memory
    return Studio(config, model, reaches, look, goals, tuple(pictures), given, memory)


def say_frozen(frame: int) -> None:
    """Says that a frame's dream met an update that was not finite."""
    print(f"frame {frame} froze: an update was not finite; the picture before is kept.")


def make_painter(
    studio: Studio,
    size: tuple[int, int],
    *,
    frozen: Callable[[int], None] = say_frozen,
) -> Callable[..., np.ndarray]:
    """Returns (photo [H, W, 3], frame=0, run=0) -> dreamed picture [H, W, 3].

    For frames and for scripts of one's own: nothing is written. `frame` is folded into
    the random key, so that every frame has draws of its own; `run` is one of the
    config's settings. After-steps are made as the config says.

    Args:
      studio: from `open_studio`.
      size: (H, W) of all photos.
      frozen: told the number of a frame whose dream met an update that was not finite;
        its picture is the last finite one.

    Raises:
      ValueError: as for `open_studio`.
    """
    easel = make_easel(studio, size, 1)

    def paint(photo: np.ndarray, frame: int = 0, run: int = 0) -> np.ndarray:
        require(photo.shape == (*size, 3), "photo", photo.shape, f"{(*size, 3)}")
        made = easel.dream(photo, [run], keys_of(easel, [run], frame))
        if not made.alive.all():
            frozen(frame)
        return finished(studio.config, made.images, photo)[0]

    return paint


def make_scorer(studio: Studio, size: tuple[int, int]) -> Callable[[np.ndarray], float]:
    """Returns (photo [H, W, 3]) -> the objective of the config's first run, as it is.

    Args:
      studio: from `open_studio`.
      size: (H, W) of all photos.
    """
    easel = make_easel(studio, size, 1)
    return lambda photo: float(easel.score(photo, photo[None], [0])[0])


def dream_identity(
    config: Mapping[str, Any],
    model: Model | None = None,
    photos: Mapping[str, Path | np.ndarray] | None = None,
) -> Identity:
    """Returns what the dreams of a config are of; of no network that must be compiled.

    Args:
      config: of `dream_config`, plain values; it may have further keys.
      model: the network; None means the config's, which is not loaded.
      photos: name -> file or pixels of what is dreamed into.
    """
    files = files_read(config)
    files.pop(PHOTO, None)  # each photo for itself
    return identify(config, model, files={**files, **(photos or {})})


def number_of_runs(config: Mapping[str, Any]) -> int:
    """Returns how many settings a config sweeps."""
    return len(_runs(config))


def _runs(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    return sweep.expand(
        config["hparams"],
        mode=config["sweep"],
        samples=config["samples"],
        seed=config["seed"],
        draws=config["draws"],
    )
