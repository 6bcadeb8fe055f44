"""Dreams of photos, with files: the one loop of `dreamjax.deepdream` with side effects.

Each photo has a folder: the pictures with their recipes, before and after side by side,
a sheet of all runs, the log. A photo that is finished is not made again; one that was
interrupted goes on at the octave it had reached.
"""

import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from dreamjax import checkpoint, models, sweep
from dreamjax import config as configs
from dreamjax.build import PHOTOS, Experiment, build
from dreamjax.deepdream.config import NOISE, check_dream, sweep_config
from dreamjax.deepdream.engine import Dreamed, Passage, make_dreamer
from dreamjax.deepdream.finish import blended, keep_color
from dreamjax.deepdream.network import Look, make_look
from dreamjax.deepdream.octaves import resizer
from dreamjax.deepdream.plan import make_plan, sizes_of, told
from dreamjax.deepdream.reach import Reach, measure_reach
from dreamjax.environment import environment
from dreamjax.errors import require
from dreamjax.files import write_bytes, write_text
from dreamjax.images import load_image, png_bytes, to_uint8
from dreamjax.inputs import find_images, load_photo
from dreamjax.labels import ASSETS
from dreamjax.logbook import Logbook, rewind
from dreamjax.memory import return_memory
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model
from dreamjax.panorama import require_panorama
from dreamjax.report.artifacts import write_artifacts
from dreamjax.report.panorama_page import data_url, panorama_page
from dreamjax.runner import Interrupted, claim, load_block, locked, stop_requests
from dreamjax.types import Array, DreamInfo

PHOTO = "photo"  # the name of a photo for its own hyperparameters
LOOKED_AT = 4  # runs of a panorama that its page embeds
LARGE = 4_000_000  # pixels of a photo; from here on memory counts more than time
SHOWN = 1024  # pixels of the longer side of TensorBoard's pictures


class Studio(NamedTuple):
    """What is made once and serves every picture.

    Attributes:
      config: of the dream, plain values.
      model: the network.
      reaches: of the taps that the objective reads.
      look: the network's program, compiled at its first call.
      pictures: (H, W) of all pictures to come, by which the tiles are chosen.
    """

    config: dict[str, Any]
    model: Model
    reaches: Mapping[str, Reach | None]
    look: Look
    pictures: tuple[tuple[int, int], ...]


class Photo(NamedTuple):
    """A photo to dream.

    Attributes:
      source: what `config.image` calls it alone: its file, a shipped photo, or noise.
      pixels: [H, W, 3] in [0, 1].
    """

    source: str
    pixels: np.ndarray


class Result(NamedTuple):
    """What became of one photo.

    Attributes:
      photo: [H, W, 3] in [0, 1], as it was dreamed into.
      images: [R, H, W, 3] in [0, 1].
      rows: one summary row per run.
      files: name -> path.
    """

    photo: np.ndarray
    images: np.ndarray
    rows: list[dict[str, Any]]
    files: dict[str, Path]


def open_studio(
    config: Mapping[str, Any],
    pictures: Sequence[tuple[int, int]],
    model: Model | None = None,
) -> Studio:
    """Checks a config and loads what every picture needs.

    Args:
      config: of `dream_config`.
      pictures: (H, W) of the pictures to come.
      model: a network of your own; None loads config["model"].

    Raises:
      ValueError: naming the key, its value and what is allowed.
    """
    config = configs.plain(config)
    check_dream(config)
    model = models.load(config["model"]) if model is None else model
    experiment = _experiment(config, model, pictures[0])
    objective = experiment.objective
    require(
        objective.additive,
        "objective",
        objective.text,
        "a dream is scored tile by tile, so it is a mean over positions or a class:"
        " a layer, channel, direction, guided, one_of, logit, sums of these",
    )
    reaches = measure_reach(model, sorted({read.tap for read in objective.reads}))
    look = make_look(experiment, reaches)
    return Studio(config, model, reaches, look, tuple(pictures))


def make_painter(studio: Studio, size: tuple[int, int]) -> Callable[..., np.ndarray]:
    """Returns (photo [H, W, 3], frame=0, run=0) -> dreamed picture [H, W, 3].

    For frames and for scripts of one's own: nothing is written. `frame` is folded into
    the random key, so that every frame has draws of its own; `run` is one of the
    config's settings. After-steps are made as the config says.

    Args:
      studio: from `open_studio`.
      size: (H, W) of all photos.

    Raises:
      ValueError: as for `open_studio`.
    """
    easel = _easel(studio, size, 1)

    def paint(photo: np.ndarray, frame: int = 0, run: int = 0) -> np.ndarray:
        require(photo.shape == (*size, 3), "photo", photo.shape, f"{(*size, 3)}")
        made = easel.dream(photo, [run], _keys(easel, [run], frame))
        return _finished(studio.config, made.images, photo)[0]

    return paint


def make_scorer(studio: Studio, size: tuple[int, int]) -> Callable[[np.ndarray], float]:
    """Returns (photo [H, W, 3]) -> the objective of the config's first run, as it is.

    Args:
      studio: from `open_studio`.
      size: (H, W) of all photos.
    """
    easel = _easel(studio, size, 1)
    return lambda photo: float(easel.score(photo, photo[None], [0])[0])


def dream(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    model: Model | None = None,
    report: Callable[[str], None] = print,
) -> list[Result]:
    """Dreams every photo that the config names; goes on where it was interrupted.

    Args:
      config: of `dream_config`.
      workdir: folder for everything; with several photos, one folder in it for each.
      model: a network of your own; None loads config["model"].
      report: takes each line of what is said.

    Raises:
      ValueError: bad input, before any compile; no photo that can be read.
      Interrupted: Ctrl-C or SIGTERM, after a checkpoint.
    """
    config = configs.plain(config)
    check_dream(config)
    photos = load_photos(config, report)
    workdir = Path(workdir)
    sizes = [photo.pixels.shape[:2] for photo in photos.values()]
    studio = open_studio(config, sizes, model)
    results = []
    for name, photo in photos.items():
        folder = workdir if len(photos) == 1 else workdir / name
        results.append(_make(studio, name, photo, folder, report))
    return results


def load_photos(
    config: Mapping[str, Any], report: Callable[[str], None]
) -> dict[str, Photo]:
    """Returns name -> photo, in the order of the files."""
    image, longest = config["image"], config["longest"]
    if image == NOISE:
        side = longest or 512
        size = (side // 2, side) if config["panorama"] else (side, side)
        random = np.random.Generator(np.random.PCG64(config["seed"]))
        deviation = config["hparams"]["init_std"][0]
        noise = 0.5 + deviation * random.standard_normal((*size, 3))
        noise = np.clip(noise, 0, 1).astype(np.float32)
        return {NOISE: Photo(NOISE, _panorama(noise) if config["panorama"] else noise)}
    paths = [Path(str(ASSETS / f"{image}.png"))] if image in PHOTOS else None
    paths = find_images([image]) if paths is None else paths
    photos: dict[str, Photo] = {}
    for path in paths:
        try:
            photo = load_photo(path, longest=longest or None, enlarge=True)
        except ValueError as error:
            if len(paths) == 1:
                raise
            report(f"skipped: {error}")
            continue
        if config["panorama"]:
            photo = _panorama(photo)
        name = path.stem if path.stem not in photos else path.name
        photos[name] = Photo(image if image in PHOTOS else str(path), photo)
    require(len(photos) > 0, "image", image, "none of its files can be read")
    return photos


def _panorama(photo: np.ndarray) -> np.ndarray:
    """Returns a panorama whose width is a multiple of 64, so that it closes."""
    require_panorama("image", photo.shape)
    width = max(64, round(photo.shape[1] / 64) * 64)
    return resizer("smooth", wraps=True)(photo, (width // 2, width))


class _Easel(NamedTuple):
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


def _easel(studio: Studio, size: tuple[int, int], runs: int) -> _Easel:
    config, model = studio.config, studio.model
    experiment = _experiment(config, model, size)
    taps = sorted({read.tap for read in experiment.objective.reads})
    plan, memory = make_plan(config, experiment, studio.reaches, studio.pictures, runs)
    dreamer = make_dreamer(experiment, plan, studio.look)
    sizes = sizes_of(config, size, plan.overlap.align)
    strengths = [run["octave_strength"] for run in experiment.runs]
    mask = _mask(config, size)
    goals = _goals(experiment, taps)

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
        return hp, {name: goal[np.asarray(chosen)] for name, goal in goals.items()}

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

    return _Easel(experiment, sizes, told(plan, memory), dream_runs, score)


def _experiment(
    config: Mapping[str, Any],
    model: Model,
    size: tuple[int, int],
) -> Experiment:
    """Returns the sweep of a photo (H, W), with the octaves' strength in its runs."""
    guides = {}
    for name in dict.fromkeys(config["hparams"]["target"]):
        if name != configs.NO_IMAGE:
            guides[name] = _guide(name, config["guide_longest"], guides)
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
    experiment = build(inner, model, given={PHOTO: blank, **guides})
    return experiment._replace(config=dict(config), runs=runs)


def _guide(name: str, longest: int, others: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns a guide picture; all have the shape of the first."""
    path = Path(str(ASSETS / f"{name}.png")) if name in PHOTOS else Path(name)
    if others:
        return load_image(path, next(iter(others.values())).shape[:2])
    return load_photo(path, longest=longest or None)


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


def _mask(config: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray | None:
    """Returns the mask [H, W, 1] in [0, 1], the brightness of a picture, or None."""
    if config["mask"] == "none":
        return None
    return load_image(config["mask"], size).mean(axis=2, keepdims=True)


def _keys(easel: _Easel, runs: Sequence[int], frame: int) -> Array:
    seeds = jnp.asarray(easel.experiment.values["seed"][np.asarray(runs)])
    keys = sweep.run_keys(seeds, jnp.asarray(runs), common=True)
    return jax.vmap(lambda key: jax.random.fold_in(key, frame))(keys)


def _finished(
    config: Mapping[str, Any], images: np.ndarray, photo: np.ndarray
) -> np.ndarray:
    """Returns images [R, H, W, 3] after the after-steps."""
    if config["keep_color"]:
        images = keep_color(images, photo[None])
    return blended(images, photo[None], config["blend"])


def _make(
    studio: Studio,
    name: str,
    given: Photo,
    folder: Path,
    report: Callable[[str], None],
) -> Result:
    """Dreams one photo under all settings, into its folder."""
    photo = given.pixels
    config = {**studio.config, "image": given.source}
    studio = studio._replace(config=config)
    if math.prod(photo.shape[:2]) > LARGE:
        return_memory()
    count = number_of_runs(config)
    size = min(count, _at_once(studio, photo))
    easel = _easel(studio, photo.shape[:2], size)
    digest = hashlib.sha256(np.ascontiguousarray(photo)).hexdigest()
    experiment = easel.experiment._replace(image_hashes={given.source: digest})
    blocks = [list(range(i, min(i + size, count))) for i in range(0, count, size)]
    with locked(folder):
        claim(folder, experiment.config)
        where = environment()
        write_text(folder / "env.json", json.dumps(where, indent=2, sort_keys=True))
        todo = [i for i in range(len(blocks)) if not _done(folder, i).exists()]
        height, width = photo.shape[:2]
        said = f"{name} ({height} × {width}): {config['objective']} of"
        said += f" {studio.model.record.name}, {count} run{'s' * (count > 1)} ×"
        said += f" {len(easel.sizes)} octaves × {config['steps']} steps"
        report(said if todo else f"{folder} is finished: nothing to dream.")
        if todo:
            report(easel.said)
        for i in todo:
            _block(easel, photo, folder, i, blocks[i])
        rows, images = _collect(experiment, folder, blocks)
        shown = _finished(config, images, photo)
        files = write_artifacts(
            experiment, folder, rows, shown[:, None], notes=_notes(experiment)
        )
        pair = png_bytes(to_uint8(np.concatenate([photo, shown[0]], axis=1)))
        files["pair"] = write_bytes(folder / "before_after.png", pair)
        if config["panorama"]:
            files["look"] = write_text(folder / "look.html", _look(folder, photo, rows))
    for row in rows:
        if row["status"] != "alive":
            report(f"run {row['run']}: {row['status']}")
    for kind, path in files.items():
        report(f"{kind:9} {path}")
    return Result(photo, shown, rows, files)


def _look(folder: Path, photo: np.ndarray, rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a page to look around in: the photo, then each run's panorama."""
    write_bytes(folder / "photo.png", png_bytes(to_uint8(photo)))
    sources = {"photo": data_url(folder / "photo.png")}
    for row in rows[:LOOKED_AT]:
        sources[f"run {row['run']}"] = data_url(folder / row["image"])
    return panorama_page(sources, folder.name)


def number_of_runs(config: Mapping[str, Any]) -> int:
    """Returns how many settings a config sweeps."""
    return len(_runs(config))


def _runs(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    return sweep.expand(
        config["hparams"],
        mode=config["sweep"],
        samples=config["samples"],
        seed=config["seed"],
    )


def _at_once(studio: Studio, photo: np.ndarray) -> int:
    """Returns how many runs are dreamed side by side."""
    config = studio.config
    if config["runs_per_call"]:
        return config["runs_per_call"]
    budget = config["memory"] * 1e9 or sweep.free_memory() / 2
    return max(1, min(sweep.CPU_RUNS, int(budget / 3 / (14 * photo.nbytes))))


def _block(
    easel: _Easel, photo: np.ndarray, folder: Path, number: int, runs: list[int]
) -> None:
    """Dreams one block of runs to its end, octave by octave."""
    config, experiment = easel.experiment.config, easel.experiment
    passage = _passage(easel, folder, number, len(runs))
    steps, first = config["steps"], 0 if passage is None else passage.octave
    rewind(folder, number, first * steps)
    with (
        stop_requests() as stop,
        tqdm(
            total=len(easel.sizes) * steps,
            initial=first * steps,
            unit="step",
            file=sys.stderr,
            mininterval=0.5,
        ) as bar,
        Logbook(
            folder,
            number,
            runs,
            hparams=[_told(experiment, run) for run in runs],
            resumed_at=first * steps,
            tensorboard=config["tensorboard"],
        ) as book,
    ):

        def watch(octave: int, done: int, info: DreamInfo, alive: Array) -> None:
            bar.update(1)
            step = octave * steps + done
            if done % config["log_every"] == 0 or done == steps:
                info = jax.tree.map(np.asarray, info)
                book.log(step, info, np.asarray(alive))
                score = float(np.nanmean(info.score))
                bar.set_postfix(octave=octave + 1, score=f"{score:.3g}")

        def after(passage: Passage) -> None:
            if config["tensorboard"]:
                pictures = [to_uint8(_small(image)) for image in passage.images]
                book.pictures(passage.octave * steps, pictures)
            book.flush()
            saved = _saved(folder, number, passage.octave)
            checkpoint.save(saved, (passage.images, passage.alive), {})
            _saved(folder, number, passage.octave - 1).unlink(missing_ok=True)
            if stop and passage.octave < len(easel.sizes):
                raise Interrupted(
                    f"stopped after octave {passage.octave} of {len(easel.sizes)};"
                    f" saved in {saved}. The same command goes on from there."
                )

        keys = _keys(easel, runs, 0)
        made = easel.dream(photo, runs, keys, watch=watch, after=after, passage=passage)
        before = easel.score(photo, np.repeat(photo[None], len(runs), axis=0), runs)
        reached = easel.score(photo, made.images, runs)
        moved = np.mean(np.square(made.images - photo), axis=(1, 2, 3))
        metrics = {
            "score": reached,
            "score_before": before,
            "gain": reached / np.where(before == 0, np.nan, before),
            "change": 255 * np.sqrt(moved),
            "steps": np.full(len(runs), len(easel.sizes) * steps, np.float32),
            "alive": made.alive.astype(np.float32),
        }
        book.finish(
            [{n: float(v[i]) for n, v in metrics.items()} for i in range(len(runs))],
            len(easel.sizes) * steps,
        )
        book.flush()
    checkpoint.save(
        _done(folder, number),
        {"images": made.images, "metrics": metrics},
        {"runs": runs, "metrics": list(metrics)},
    )
    _saved(folder, number, len(easel.sizes)).unlink(missing_ok=True)


def _saved(folder: Path, block: int, octave: int) -> Path:
    return folder / "checkpoints" / f"block_{block:04d}_octave_{octave}.npz"


def _passage(easel: _Easel, folder: Path, block: int, runs: int) -> Passage | None:
    """Returns where an interrupted dream had got to, or None."""
    for octave in range(len(easel.sizes), 0, -1):
        saved = _saved(folder, block, octave)
        if saved.exists():
            shape = (runs, *easel.sizes[octave - 1], 3)
            like = (np.zeros(shape, np.float32), np.zeros(runs, bool))
            (images, alive), _ = checkpoint.load(saved, like)
            return Passage(octave, images, alive)
    return None


def _small(image: np.ndarray) -> np.ndarray:
    """Returns every n-th pixel of a picture that is too large for a log."""
    step = max(1, math.ceil(max(image.shape[:2]) / SHOWN))
    return image[::step, ::step]


def _done(folder: Path, block: int) -> Path:
    return folder / "results" / f"block_{block:04d}.npz"


def _told(experiment: Experiment, run: int) -> dict[str, Any]:
    """Returns the hyperparameters of a run that the dream reads, as written."""
    values = experiment.runs[run]
    read = {*experiment.values, "octave_strength"}
    return {name: values[name] for name in values if name in read}


def _collect(
    experiment: Experiment, folder: Path, blocks: list[list[int]]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Returns the summary rows and pictures [R, H, W, C] of all blocks."""
    rows, images = [], []
    for number, block in enumerate(blocks):
        found, metrics = load_block(_done(folder, number))
        images.append(found)
        for lane, run in enumerate(block):
            row = {name: float(values[lane]) for name, values in metrics.items()}
            alive = bool(row.pop("alive"))
            rows.append(
                {
                    "run": run,
                    "hparams": _told(experiment, run),
                    "metrics": {**row, "steps": int(row["steps"])},
                    "status": "alive" if alive else "frozen",
                    "crowd": {"runs": block, "lanes": len(block)},
                }
            )
    return rows, np.concatenate(images)


def _notes(experiment: Experiment) -> tuple[str, ...]:
    config = experiment.config
    return (
        f"{len(experiment.runs)} dreams of {config['octaves']} octaves ×"
        f" {config['steps']} steps; transforms: {config['transforms'] or 'none'};"
        f" gradient: {', '.join(config['gradient']) or 'as it is'}.",
        "score: the objective on the finished picture; gain: against the photo's;"
        " change: root mean square, of 255.",
    )
