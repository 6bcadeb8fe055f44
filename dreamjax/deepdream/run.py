"""Dreams of photos, with files: the one loop of `dreamjax.deepdream` with side effects.

Each photo has a folder: the pictures with their recipes, before and after side by side,
a sheet of all runs, the log. A photo that is finished is not made again; one that was
interrupted goes on at the octave it had reached.
"""

import functools
import hashlib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from dreamjax import checkpoint
from dreamjax.build import PHOTOS, Experiment, picture_path
from dreamjax.deepdream.config import NOISE, take_dream
from dreamjax.deepdream.engine import Passage
from dreamjax.deepdream.octaves import LEAST, resizer
from dreamjax.deepdream.plan import (
    allowed_bytes,
    keep_memory_plan,
    picture_bytes,
    planned_memory,
    runs_at_once,
)
from dreamjax.deepdream.studio import (
    Easel,
    Studio,
    dream_identity,
    finished,
    keys_of,
    make_easel,
    number_of_runs,
    open_studio,
)
from dreamjax.environment import (
    environment,
    environments,
    provenance,
    write_environment,
)
from dreamjax.errors import require
from dreamjax.fields import ARRAY
from dreamjax.files import write_bytes, write_text
from dreamjax.images import png_bytes, resized, to_uint8
from dreamjax.inputs import distinct_names, find_images, load_photo, photo_size
from dreamjax.interrupt import Interrupted, stop_requests
from dreamjax.logbook import (
    Ended,
    Logbook,
    mend_events,
    mend_logs,
    merge_metrics,
    rewind,
)
from dreamjax.memory import return_memory
from dreamjax.models.model import Model
from dreamjax.panorama import require_panorama
from dreamjax.paths import given_path
from dreamjax.progress import Compiling
from dreamjax.report.artifacts import write_artifacts
from dreamjax.report.panorama_page import data_url, panorama_page
from dreamjax.report.values import labels
from dreamjax.shards import (
    collect,
    other_block,
    result_path,
    set_damaged_aside,
    write_result,
)
from dreamjax.shards import environments as environments_of
from dreamjax.terminal import tell
from dreamjax.types import Array, DreamInfo
from dreamjax.workdir import claim, locked

LOOKED_AT = 4  # runs of a panorama that its page embeds
LARGE = 4_000_000  # pixels of a photo; from here on memory counts more than time
SHOWN = 1024  # pixels of the longer side of TensorBoard's pictures


class Photo(NamedTuple):
    """A photo to dream.

    Attributes:
      source: what `config.image` calls it alone: its file, a shipped photo, or noise.
      pixels: [H, W, 3] in [0, 1].
    """

    source: str
    pixels: np.ndarray


class Found(NamedTuple):
    """A photo whose file was looked into, but is not decoded.

    Attributes:
      source: as in `Photo`.
      size: (H, W) at which it is dreamed.
      load: () -> [H, W, 3] in [0, 1]; ValueError where its file is damaged.
    """

    source: str
    size: tuple[int, int]
    load: Callable[[], np.ndarray]


class Photos(NamedTuple):
    """What `config.image` means.

    Attributes:
      found: name -> photo, in the order of the files; names are folders.
      skipped: the files that cannot be dreamed.
    """

    found: dict[str, Found]
    skipped: tuple[str, ...]

    @property
    def alone(self) -> bool:
        """One photo was meant, whatever became of it."""
        return len(self.found) + len(self.skipped) == 1


class Result:
    """What became of one photo; pictures are read back from the folder when asked for.

    Attributes:
      folder: of the photo.
      rows: one summary row per run.
      files: name -> path.
    """

    def __init__(
        self,
        folder: Path,
        rows: list[dict[str, Any]],
        files: dict[str, Path],
        load: Callable[[], np.ndarray],
        read: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.folder, self.rows, self.files = folder, rows, files
        self._load, self._read = load, read

    @property
    def photo(self) -> np.ndarray:
        """[H, W, 3] in [0, 1], as it was dreamed into."""
        return self._load()

    @property
    def images(self) -> np.ndarray:
        """[R, H, W, 3] in [0, 1], the dreams."""
        return self._read(self._load())


def dream(
    config: Mapping[str, Any],
    workdir: str | Path,
    *,
    model: Model | None = None,
    report: Callable[[str], None] = tell,
) -> list[Result]:
    """Dreams every photo that the config names; goes on where it was interrupted.

    Args:
      config: of `dream_config`.
      workdir: folder for everything; with several photos, one folder in it for each.
      model: a network of your own; None loads config["model"].
      report: takes each line of what is said.

    Raises:
      ValueError: bad input, before any compile; no photo that can be dreamed.
      Interrupted: Ctrl-C or SIGTERM, after a checkpoint.
    """
    config, given = take_dream(config)
    photos = find_photos(config, report, given)
    workdir = given_path("workdir", workdir)
    sizes = [photo.size for photo in photos.found.values()]
    studio = open_studio(config, sizes, model, given)
    results, skipped = [], list(photos.skipped)
    for name, photo in photos.found.items():
        folder = workdir if photos.alone else workdir / name
        try:
            pixels = photo.load()
        except ValueError as error:
            if photos.alone:
                raise
            report(f"skipped: {error}")
            skipped.append(photo.source)
            continue
        made = _make(studio, name, Photo(photo.source, pixels), folder, report)
        rows, files, read = made
        results.append(Result(folder, rows, files, photo.load, read))
    require(len(results) > 0, "image", config["image"], "none of its files can be read")
    if not photos.alone:
        total = len(results) + len(skipped)
        line = f"{len(results)} of {total} photos dreamed"
        report(f"{line}, skipped: {', '.join(skipped)}" if skipped else line)
    return results


def find_photos(
    config: Mapping[str, Any],
    report: Callable[[str], None],
    given: Mapping[str, np.ndarray] | None = None,
) -> Photos:
    """Returns the photos that a config names, judged by the heads of their files.

    Those that cannot be dreamed are named and left out: unreadable, too large for the
    memory, shorter than the smallest octave on one side, or no panorama where one is
    wanted.

    Args:
      config: as `take_dream` gives it.
      report: takes a line on each file that is left out.
      given: pictures by the name that the config calls them by, instead of files.

    Raises:
      ValueError: the only photo cannot be dreamed, or none of many.
    """
    image, longest = config["image"], config["longest"]
    if image == NOISE:
        noise = _noise(config)
        return Photos({NOISE: Found(NOISE, noise.shape[:2], lambda: noise)}, ())
    if image.startswith(ARRAY):
        require(image in (given or {}), "image", image, "give the array again")
        photo = _given(given[image], config)
        name = image[: len(ARRAY) + 12].replace(":", "_")
        return Photos({name: Found(image, photo.shape[:2], lambda: photo)}, ())
    paths = [picture_path(image)] if image in PHOTOS else find_images([image])
    options = {"longest": longest or None, "enlarge": True}
    found, skipped = {}, []
    for path, name in zip(paths, distinct_names(paths), strict=True):
        source = image if image in PHOTOS else str(path)
        try:
            size = _judged(path, photo_size(path, **options), config)
        except ValueError as error:
            if len(paths) == 1:
                raise
            report(f"skipped: {error}")
            skipped.append(source)
            continue
        load = functools.partial(_load, path, options, config["panorama"])
        found[name] = Found(source, size, load)
    require(len(found) > 0, "image", image, "none of its files can be read")
    return Photos(found, tuple(skipped))


def _noise(config: Mapping[str, Any]) -> np.ndarray:
    """Returns gray noise to dream from, [H, W, 3] in [0, 1]."""
    side = config["longest"] or 512
    size = (side // 2, side) if config["panorama"] else (side, side)
    _require_memory(config, size)
    random = np.random.Generator(np.random.PCG64(config["seed"]))
    deviation = config["hparams"]["init_std"][0]
    noise = 0.5 + deviation * random.standard_normal((*size, 3))
    noise = np.clip(noise, 0, 1).astype(np.float32)
    return _panorama(noise) if config["panorama"] else noise


def _judged(
    path: Path, size: tuple[int, int], config: Mapping[str, Any]
) -> tuple[int, int]:
    """Returns the size (H, W) at which a photo is dreamed, or says why it cannot be."""
    name = f"image {str(path)!r}: size"
    if config["panorama"]:
        require_panorama(name, size)
        size = _closed(size)
    allowed = f"sides have at least {LEAST} pixels when it is dreamed (see longest)"
    require(min(size) >= LEAST, name, size, allowed)
    needed, most = picture_bytes(size), allowed_bytes(config)
    allowed = f"it takes {needed / 1e9:.1f} GB of {most / 1e9:.1f} (longest, memory)"
    require(needed <= most, name, size, allowed)
    return size


def _load(path: Path, options: Mapping[str, Any], panorama: bool) -> np.ndarray:
    photo = load_photo(path, **options)
    return _panorama(photo) if panorama else photo


def _given(photo: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """Returns a photo that was given as an array, at the size that a file would get."""
    require(photo.shape[2] == 3, "image.shape", photo.shape, "give [H, W, 3]")
    longest = config["longest"] or max(photo.shape[:2])
    factor = longest / max(photo.shape[:2])
    height, width = (max(1, round(factor * side)) for side in photo.shape[:2])
    require(min(height, width) >= LEAST, "image", (height, width), f"at least {LEAST}")
    _require_memory(config, (height, width))
    photo = resized(photo, (height, width))
    return _panorama(photo) if config["panorama"] else photo


def _require_memory(config: Mapping[str, Any], size: tuple[int, int]) -> None:
    """Raises ValueError for a picture (H, W) that the memory cannot hold."""
    needed, allowed = picture_bytes(size), allowed_bytes(config)
    what = f"{size[0]} × {size[1]} px take {needed / 1e9:.1f} GB"
    allows = f"{what} of {allowed / 1e9:.1f} (longest, memory)"
    require(needed <= allowed, "longest", config["longest"], allows)


def _panorama(photo: np.ndarray) -> np.ndarray:
    """Returns a panorama whose width is a multiple of 64, so that it closes."""
    require_panorama("image", photo.shape)
    return resizer("smooth", wraps=True)(photo, _closed(photo.shape[:2]))


def _closed(size: tuple[int, int]) -> tuple[int, int]:
    width = max(64, round(size[1] / 64) * 64)
    return width // 2, width


def _make(
    studio: Studio,
    name: str,
    given: Photo,
    folder: Path,
    report: Callable[[str], None],
) -> tuple[list[dict[str, Any]], dict[str, Path], Callable[[np.ndarray], np.ndarray]]:
    """Dreams one photo under all settings, into its folder.

    Returns:
      The summary rows, the files, and what reads the dreams [R, H, W, 3] back, given
      the photo.
    """
    photo = given.pixels
    config = {**studio.config, "image": given.source}
    memory = planned_memory(folder, config)
    studio = studio._replace(config=config, memory=memory)
    if math.prod(photo.shape[:2]) > LARGE:
        return_memory()
    count = number_of_runs(config)
    planned = {**config, "memory": memory}
    size = min(count, runs_at_once(planned, photo.shape[:2]))
    easel = make_easel(studio, photo.shape[:2], size)
    identity = dream_identity(config, studio.model, photo_files(given.source))
    digest = hashlib.sha256(np.ascontiguousarray(photo)).hexdigest()
    hashes = {given.source: digest}
    experiment = easel.experiment._replace(image_hashes=hashes, identity=identity)
    blocks = [list(range(i, min(i + size, count))) for i in range(0, count, size)]
    with locked(folder):
        claim(folder, identity, report=report)
        keep_memory_plan(folder, memory)
        if not (folder / "env.json").exists():
            write_environment(folder, [environment()])
        parts = [{"runs": block} for block in blocks]
        lines = set_damaged_aside(folder, parts, identity)
        for line in lines + mend_logs(folder, range(len(blocks))):
            report(line)
        todo = [i for i in range(len(blocks)) if not result_path(folder, i).exists()]
        height, width = photo.shape[:2]
        said = f"{name} ({height} × {width}): {config['objective']} of"
        said += f" {studio.model.record.name}, {count} run{'s' * (count > 1)} ×"
        said += f" {len(easel.sizes)} octaves × {config['steps']} steps"
        report(said if todo else f"{folder} is finished: nothing to dream.")
        if todo:
            report(easel.said)
        for i in todo:
            held = easel._replace(experiment=experiment)
            _block(held, photo, folder, i, blocks[i], report)
        told = functools.partial(_told, experiment)
        numbered = dict(enumerate(blocks))
        rows, images = collect(folder, numbered, told)
        check_size(folder, images.shape[1:3], photo.shape[:2])
        if config["tensorboard"]:
            for line in mend_events(folder, _ended(easel, blocks), _shown):
                report(line)
        merge_metrics(folder)
        write_environment(folder, environments_of(folder))
        shown = finished(config, images, photo)
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

    def read(photo: np.ndarray) -> np.ndarray:
        return finished(config, collect(folder, numbered, told)[1], photo)

    return rows, files, read


def photo_files(source: str) -> dict[str, Path]:
    """Returns a photo's source and file; none of what the config itself describes."""
    named = source == NOISE or source.startswith(ARRAY)
    return {} if named else {source: picture_path(source)}


def check_size(folder: Path, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Raises ValueError where a folder's pictures are not of the photo's size.

    A folder that does not say which photo it is of cannot be told otherwise.
    """
    if tuple(found) != tuple(wanted):
        raise ValueError(
            f"workdir={str(folder)!r} holds dreams of another picture:"
            f" {found[0]} × {found[1]} px there, {wanted[0]} × {wanted[1]} px now."
            " Give another folder, or delete this one."
        )


def _look(folder: Path, photo: np.ndarray, rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a page to look around in: the photo, then each run's panorama."""
    write_bytes(folder / "photo.png", png_bytes(to_uint8(photo)))
    sources = {"photo": data_url(folder / "photo.png")}
    for row in rows[:LOOKED_AT]:
        sources[f"run {row['run']}"] = data_url(folder / row["image"])
    return panorama_page(sources, folder.name)


def _block(
    easel: Easel,
    photo: np.ndarray,
    folder: Path,
    number: int,
    runs: list[int],
    report: Callable[[str], None],
) -> None:
    """Dreams one block of runs to its end, octave by octave."""
    config, experiment = easel.experiment.config, easel.experiment
    passage, log, made_on = _passage(easel, folder, number, runs)
    made_on = environments(made_on)
    steps, first = config["steps"], 0 if passage is None else passage.octave
    log, said = rewind(folder, number, first * steps, log)
    if said:
        print(said, file=sys.stderr)
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
            labels=_labels(experiment),
            log=log,
            resumed_at=first * steps,
            tensorboard=config["tensorboard"],
        ) as book,
        Compiling(report, "compiling, and the first step") as compiling,
    ):

        def watch(octave: int, done: int, info: DreamInfo, alive: Array) -> None:
            compiling.end(bar)
            bar.update(1)
            step = octave * steps + done
            if done % config["log_every"] == 0 or done == steps:
                info = jax.tree.map(np.asarray, info)
                book.log(step, info, np.asarray(alive))
                score = float(np.nanmean(info.score))
                bar.set_postfix(octave=octave + 1, score=f"{score:.3g}")

        def show(passage: Passage) -> None:
            if config["tensorboard"]:
                book.pictures(
                    passage.octave * steps, [_shown(image) for image in passage.images]
                )

        def after(passage: Passage) -> None:
            show(passage)
            book.flush()
            saved = _saved(folder, number, passage.octave)
            meta = {"runs": runs, "octave": passage.octave, "environments": made_on}
            checkpoint.save(saved, (passage.images, passage.alive), meta, book.text)
            _saved(folder, number, passage.octave - 1).unlink(missing_ok=True)
            if stop and passage.octave < len(easel.sizes):
                raise Interrupted(
                    f"stopped after octave {passage.octave} of {len(easel.sizes)};"
                    f" saved in {saved}. The same command goes on from there."
                )

        if passage is not None:
            show(passage)
        keys = keys_of(easel, runs, 0)
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
        said = provenance(made_on, experiment.identity.digests())
        meta = {"runs": runs, "provenance": said}
        write_result(result_path(folder, number), made.images, metrics, meta, book.text)
    _saved(folder, number, len(easel.sizes)).unlink(missing_ok=True)


def _saved(folder: Path, block: int, octave: int) -> Path:
    return folder / "checkpoints" / f"block_{block:04d}_octave_{octave}.npz"


def _passage(
    easel: Easel, folder: Path, block: int, runs: Sequence[int]
) -> tuple[Passage | None, str | None, Sequence[Mapping[str, Any]]]:
    """Returns where an interrupted dream had got to, its log, and what made it.

    None where it had got nowhere. A checkpoint that is damaged is set aside, and said.
    """
    for octave in range(len(easel.sizes), 0, -1):
        saved = _saved(folder, block, octave)
        if not saved.exists():
            continue
        shape = (len(runs), *easel.sizes[octave - 1], 3)
        like = (np.zeros(shape, np.float32), np.zeros(len(runs), bool))
        try:
            kept = checkpoint.read(saved)
            why = other_block(kept.meta, {"runs": list(runs), "octave": octave})
        except checkpoint.Damaged as error:
            why = f"is damaged ({error})"
        if why:
            aside = checkpoint.set_aside(saved)
            print(f"{saved.name} {why}: kept as {aside}, made again.", file=sys.stderr)
            continue
        images, alive = checkpoint.unpacked(saved, kept, like)
        made_on = kept.meta.get("environments", ())
        return Passage(octave, images, alive), kept.log, made_on
    return None, "", ()


def _ended(easel: Easel, blocks: Sequence[Sequence[int]]) -> list[Ended]:
    """Returns how the runs ended, for TensorBoard."""
    experiment, steps = easel.experiment, easel.experiment.config["steps"]
    named, octaves = _labels(experiment), len(easel.sizes)
    return [
        Ended(
            run=run,
            block=number,
            step=octaves * steps,
            label=named[run],
            hparams=_told(experiment, run),
            image_steps=[octave * steps for octave in range(1, octaves + 1)],
        )
        for number, runs in enumerate(blocks)
        for run in runs
    ]


def _labels(experiment: Experiment) -> dict[int, str]:
    told = [_told(experiment, run) for run in range(len(experiment.runs))]
    return dict(enumerate(labels(told)))


def _shown(image: np.ndarray) -> np.ndarray:
    """Returns TensorBoard's picture of a dream [H, W, C], or of one [1, H, W, C]."""
    return to_uint8(_small(image.reshape(image.shape[-3:])))


def _small(image: np.ndarray) -> np.ndarray:
    """Returns every n-th pixel of a picture that is too large for a log."""
    step = max(1, math.ceil(max(image.shape[:2]) / SHOWN))
    return image[::step, ::step]


def _told(experiment: Experiment, run: int) -> dict[str, Any]:
    """Returns the hyperparameters of a run that the dream reads, as written."""
    values = experiment.runs[run]
    read = {*experiment.values, "octave_strength"}
    return {name: values[name] for name in values if name in read}


def _notes(experiment: Experiment) -> tuple[str, ...]:
    config = experiment.config
    return (
        f"{len(experiment.runs)} dreams of {config['octaves']} octaves ×"
        f" {config['steps']} steps; transforms: {config['transforms'] or 'none'};"
        f" gradient: {', '.join(config['gradient']) or 'as it is'}.",
        "score: the objective on the finished picture; gain: against the photo's;"
        " change: root mean square, of 255.",
    )
