"""From a config to everything that a sweep needs, checked before anything compiles.

All that a user can get wrong is found here, in the order in which it is read: keys,
model, taps, objective, runs, image sizes. What comes out is pure functions and arrays.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax import config as configs
from dreamjax import models, sweep, text
from dreamjax.caps import require_cap
from dreamjax.draws import DESIGNS
from dreamjax.dream import (
    Evaluation,
    Judge,
    Pieces,
    make_evaluation,
    make_step,
    show,
)
from dreamjax.errors import choose, require
from dreamjax.fields import ARRAY
from dreamjax.footprint import free_memory
from dreamjax.hparams import Hparam
from dreamjax.identity import Identity, content_digest, identify
from dreamjax.images import load_image, resized
from dreamjax.labels import ASSETS, class_index
from dreamjax.metrics.network import make_judge
from dreamjax.metrics.transfer import Transfer, load_transfer, make_transfer
from dreamjax.models.layers import Rules
from dreamjax.models.model import Model, TapsOf, check_size, check_taps, tap_shapes
from dreamjax.models.precision import PRECISIONS, in_precision
from dreamjax.objectives import TARGET, Objective, check_objective
from dreamjax.optimizers import make_optimizer, optimizer_hparams
from dreamjax.params.color import read_color_space
from dreamjax.params.image import STARTS, image_param
from dreamjax.params.spatial import FREQUENCIES, SPATIAL, check_scale
from dreamjax.paths import given_path
from dreamjax.plan import stages
from dreamjax.projections import PERIODS, PROJECTIONS
from dreamjax.regularizers import REGULARIZERS
from dreamjax.remat import recomputed
from dreamjax.transforms import TRANSFORMS, chain, output_shape
from dreamjax.types import Array, DreamStep, HParams, Key, Taps

PHOTOS = ("chelsea", "coffee")
IMAGES = ("target", "reference")  # hyperparameters whose values are pictures
WHOLE = {"class", "channel", "y", "x", "seed", "choice"}  # reads of a whole number


class Experiment(NamedTuple):
    """A sweep that is ready to compile.

    Attributes:
      config: as plain values.
      model: the network, in the config's precision.
      second: a second network that judges the pictures, or None.
      taps: of the network, for images of config["channels"].
      pieces: (H, W) -> what one run is put together from at that size; its start is
        the config's at the config's own size, and gray at others.
      step: the pure step of one run.
      evaluation: how the images of one run are judged.
      images: (state, hp) -> [B, H, W, C] of one run.
      runs: one dict of the values as written (labels, file names) per run.
      values: hyperparameter name -> [R, ...], what the program is given.
      objective: what is maximized.
      penalties: names of the penalties in the program.
      image_hashes: picture name -> sha256 of its pixels, and of a file of colors, for
        the recipe.
      identity: which networks, files and code it is of.
      limit: the most runs of one call.
      program: what the hyperparameters' values decide about the program: penalties,
        projections, and the largest value of what transforms make room for.
    """

    config: dict[str, Any]
    model: Model
    second: Model | None
    taps: TapsOf
    pieces: Callable[[tuple[int, int]], Pieces]
    step: DreamStep
    evaluation: Evaluation
    images: Callable
    runs: list[dict[str, Any]]
    values: dict[str, np.ndarray]
    objective: Objective
    penalties: tuple[str, ...]
    image_hashes: dict[str, str]
    identity: Identity
    limit: int
    program: dict[str, Any]

    def told(self, run: int) -> dict[str, Any]:
        """Returns the hyperparameters of a run that the program reads, as written."""
        values = self.runs[run]
        return {name: values[name] for name in values if name in self.values}


def build(
    config: Mapping[str, Any],
    model: Model | None = None,
    *,
    given: Mapping[str, np.ndarray] | None = None,
    tiled: bool = False,
) -> Experiment:
    """Returns the experiment that a config describes.

    Args:
      config: a ConfigDict or nested dict with every key of `base_config`.
      model: the network; None loads config["model"].
      given: pictures [H, W, C] in [0, 1] by the names that hyperparameters call them
        by, instead of files. Those of one hyperparameter have one size.
      tiled: the network sees tiles of the image, which are filled up to what it can
        take, so that the image may be smaller.

    Raises:
      ValueError: naming the key, its value and what is allowed.
    """
    config, arrays = configs.take(config)
    given = {**arrays, **(given or {})}
    size = check_numbers(config)
    choose("precision", config["precision"], PRECISIONS)
    check_runs(config)
    model = models.load_configured(config) if model is None else model
    loaded, model = model, in_precision(model, config["precision"])
    least = model.record.min_size if tiled else 1

    def seen(shape: tuple[int, int]) -> tuple[int, int]:
        return max(shape[0], least), max(shape[1], least)

    check_size(model.record, seen(size))
    config = with_all(config, model, seen(size))
    runs = sweep.expand(
        config["hparams"],
        mode=config["sweep"],
        samples=config["samples"],
        seed=config["seed"],
        draws=config["draws"],
    )

    shapes = tap_shapes(model, seen(size))
    parsed = text.parse_objective(
        config["objective"],
        hparams=config["hparams"],
        labels=model.record.labels,
        taps=[*shapes, *model.record.head_taps],
    )
    objective = parsed.objective
    aims = [read.tap for read in objective.reads]
    check_taps(model.record, aims, shapes, size)
    swept = {name: [run[name] for run in runs] for name in runs[0]}
    swept |= {name: [value] for name, value in parsed.constants.items()}
    for name in _names(objective, {"class"}):
        swept[name] = [_as_class(v, model.record.labels) for v in swept[name]]
    for read in objective.reads:
        if read.kind == "choice" and isinstance(read.index, Hparam):
            name = read.index.name
            swept[name] = [_as_choice(name, v, read.choices) for v in swept[name]]
    check_objective(objective, shapes, swept, parsed.constants)

    numbers = {n: v for n, v in swept.items() if n not in IMAGES}
    penalties = _active_penalties(numbers)
    projections = _active_projections(numbers)
    periodic = any(PROJECTIONS[name].periodic(numbers) for name in projections)
    limits = _limits(numbers)
    transforms, names = text.parse_transforms(
        config["transforms"], factories=TRANSFORMS, hparams=numbers, limits=limits
    )
    read = objective.hparams | names | _read_names(config, penalties, projections)
    configs.check_read(config["hparams"], read, sweep.varying(runs))
    configs.check_limits(swept, read)
    for name in sorted(PERIODS & read):
        for value in swept[name]:
            require(value % 1 == 0, f"hparams.{name}", value, "a whole number of steps")
    _check_redirect(config, model)

    pictures = _pictures(swept, read, size, config["channels"], given)
    whole = _names(objective, WHOLE) | {"seed"}
    values = {
        name: _stack(name, swept[name], len(runs), pictures, whole)
        for name in sorted(read)
    }
    _check_finite(values, swept)
    if config["param"] in FREQUENCIES:
        check_scale(size, swept["decay_power"])
    start = config["start"]
    if start not in STARTS:
        pictures |= {start: _picture(start, size, config["channels"], given)}
        start = pictures[start]

    palette, files = config["color"], {}
    if palette.endswith(".json"):  # the colors of one's own photos
        palette = read_color_space(palette)
        files[config["color"]] = content_digest(Path(config["color"]))

    taps = kept = _with_channels(model, config["channels"])
    if config["remat"]:
        taps = recomputed(taps, list(dict.fromkeys(aims)))

    @functools.cache
    def pieces_at(size_: tuple[int, int]) -> Pieces:
        return Pieces(
            taps=taps,
            param=image_param(
                choose("param", config["param"], SPATIAL),
                size=size_,
                batch=config["batch"],
                channels=config["channels"],
                color=palette,
                range_=config["range"],
                start=start if size_ == size else "gray",
            ),
            transform=chain(*transforms),
            objective=objective,
            penalties={name: REGULARIZERS[name].penalty for name in penalties},
            projections=tuple(PROJECTIONS[name].project for name in projections),
            optimizer=make_optimizer(
                config["optimizer"], config["gradient"], (*size_, config["channels"])
            ),
            redirect=config["redirect_relu"],
            periodic=periodic,
        )

    pieces = pieces_at(size)
    _check_optimizer(pieces, config)
    first: HParams = {name: jnp.asarray(rows[0]) for name, rows in values.items()}
    shape = (*size, config["channels"])
    try:
        view = seen(output_shape(pieces.transform, shape, first)[:2])
    except ValueError as error:
        raise ValueError(f"transforms={config['transforms']!r}: {error}") from None
    require_cap("transforms: a view", view, max(view), "side")
    pixels = math.prod(view) * config["batch"]
    require_cap("transforms: a view × batch", view, pixels, "pixels")
    check_size(model.record, view)
    view_shapes = tap_shapes(model, view)
    check_taps(model.record, aims, view_shapes, view)
    _check_scores(objective, view_shapes, config["batch"], first)
    transfer = None
    if config["transfer"]:
        transfer = load_transfer(
            config["transfer"],
            objective=objective,
            record=model.record,
            shapes=shapes,
            size=size,
            channels=config["channels"],
            values=swept,
        )
    if not tiled:
        _check_memory(view_shapes, config)
    estimated = sweep.estimated_runs(view_shapes, config["batch"])
    return Experiment(
        config=config,
        model=model,
        second=None if transfer is None else transfer.model,
        taps=kept,
        pieces=pieces_at,
        step=make_step(pieces),
        evaluation=make_evaluation(pieces, _judge(objective, kept, transfer)),
        images=lambda state, hp: show(pieces, state, hp),
        runs=runs,
        values=values,
        objective=objective,
        penalties=tuple(penalties),
        image_hashes={
            name: hashlib.sha256(np.ascontiguousarray(image)).hexdigest()
            for name, image in pictures.items()
        }
        | files,
        identity=identify(
            config,
            loaded,
            second=None if transfer is None else transfer.model,
            files=files_read(config, given or {}),
        ),
        limit=config["runs_per_call"] or estimated,
        program={
            "penalties": list(penalties),
            "projections": list(projections),
            "limits": {name: limits[name] for name in sorted(names & limits.keys())},
        }
        | ({"shown": "after a full cycle of the projections"} if periodic else {}),
    )


def _judge(objective: Objective, taps: TapsOf, transfer: Transfer | None) -> Judge:
    """Returns what is asked of finished pictures beside their score."""
    own, other = make_judge(objective, taps), None
    if transfer is not None:
        other = make_transfer(transfer, objective, taps)

    def judge(
        variables: Any, second: Any, images: Array, hp: HParams
    ) -> dict[str, Array]:
        found = own(variables, images, hp)
        if other is not None:
            found |= other(variables, second, images, hp)
        return found

    return judge


def check_numbers(config: Mapping[str, Any]) -> tuple[int, int]:
    """Returns (H, W) after checking what of a config depends on several of its keys.

    Args:
      config: as `dreamjax.config.take` gives it.

    Raises:
      ValueError: naming the key, its value and what is allowed.
    """
    stages(config)
    choose("rows", config["rows"], config["hparams"])
    choose("draws", config["draws"], DESIGNS)
    return config["size"]


def check_runs(config: Mapping[str, Any]) -> None:
    """Raises ValueError for runs that cannot be, before a network is loaded.

    What stands for all channels counts as one: how many there are, the network knows.
    """
    sweep.expand(
        config["hparams"],
        mode=config["sweep"],
        samples=config["samples"],
        seed=config["seed"],
        draws=config["draws"],
    )


def with_all(
    config: Mapping[str, Any], model: Model, size: tuple[int, int]
) -> dict[str, Any]:
    """Returns a config whose "all" are the numbers that the objective can read.

    Args:
      config: as `dreamjax.config.take` gives it.
      model: the network.
      size: (H, W) of the images.

    Raises:
      ValueError: "all" of a hyperparameter that the objective reads no channel, class
        or layer by.
    """
    config, hparams = dict(config), dict(config["hparams"])
    wanted = [name for name, v in hparams.items() if v == (configs.ALL,)]
    if not wanted:
        return config
    shapes = tap_shapes(model, size)
    objective = text.parse_objective(
        config["objective"],
        hparams=hparams,
        labels=model.record.labels,
        taps=[*shapes, *model.record.head_taps],
    ).objective
    for name in wanted:
        counts = {
            len(read.choices) if read.kind == "choice" else shapes[read.tap][-1]
            for read in objective.reads
            if isinstance(read.index, Hparam)
            and read.index.name == name
            and read.kind in ("channel", "class", "choice")
            and read.tap in shapes
        }
        require(
            len(counts) > 0,
            f"hparams.{name}",
            configs.ALL,
            "it stands for what an objective such as 'b8:unit' reads by this name",
        )
        require_cap(f"hparams.{name}", repr(configs.ALL), min(counts), "runs")
        hparams[name] = tuple(range(min(counts)))
    return {**config, "hparams": hparams}


def picture_path(name: str) -> Path:
    """Returns the file of a picture: a shipped photo by its name, or the path given."""
    if name in PHOTOS:
        return Path(str(ASSETS / f"{name}.png"))
    return given_path("picture", name)


def files_read(
    config: Mapping[str, Any], given: Mapping[str, np.ndarray] | None = None
) -> dict[str, Path | np.ndarray]:
    """Returns name -> file of every picture, and of colors, that a config names.

    Args:
      config: plain values, of a sweep or of a dream, whose photos are not among them.
      given: pictures by name, instead of files. A picture that the config names by its
        digest needs no other.
    """
    names = [value for name in IMAGES for value in config["hparams"].get(name, ())]
    names += [config.get("start", STARTS[0]), config.get("mask", configs.NO_IMAGE)]
    names += [config["color"]] if config["color"].endswith(".json") else []
    found = {
        name: picture_path(name)
        for name in dict.fromkeys(names)
        if name not in (*STARTS, configs.NO_IMAGE) and not name.startswith(ARRAY)
    }
    return found | {name: given[name] for name in found.keys() & (given or {}).keys()}


def load_picture(name: str, size: tuple[int, int], channels: int) -> np.ndarray:
    """Returns a picture [H, W, C] in [0, 1], cropped to the aspect and resized.

    Args:
      name: a file, or "chelsea" or "coffee", the photos that come with dreamjax.
      size: (H, W).
      channels: 3, or 1 for the mean of RGB.

    Raises:
      ValueError: no such picture, or a number of channels that no photo has.
    """
    if name == configs.NO_IMAGE:
        raise ValueError(
            "a picture is needed here (hparams.target or hparams.reference): give a"
            f" file, or one of {', '.join(PHOTOS)}."
        )
    if name.startswith(ARRAY):
        raise ValueError(
            f"the picture {name[: len(ARRAY) + 8]!r} was given as an array, which is"
            " not here: give it again, in Python."
        )
    image = load_image(picture_path(name), size)
    require(channels in (1, 3), "channels", channels, "1 or 3 to start from a picture")
    return image if channels == 3 else image.mean(axis=2, keepdims=True)


def fitted(picture: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    """Returns a picture given as an array, cropped and resized as a file's would be."""
    have = picture.shape[2]
    if have != channels:
        allowed = f"[H, W, {channels}], or [H, W, 3] for gray images"
        require((have, channels) == (3, 1), "picture.shape", picture.shape, allowed)
        picture = picture.mean(axis=2, keepdims=True)
    return resized(picture, size)


def _as_class(value: Any, labels: tuple[str, ...]) -> Any:
    return class_index(value, labels) if isinstance(value, str) else value


def _as_choice(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    if not isinstance(value, str):
        return value
    return choices.index(choose(f"hparams.{name}", value, choices))


def _names(objective: Objective, kinds: set[str]) -> set[str]:
    """Returns the hyperparameters that select by one of these kinds of index."""
    return {
        read.index.name
        for read in objective.reads
        if read.kind in kinds and isinstance(read.index, Hparam)
    }


def _read_names(
    config: Mapping[str, Any], penalties: Sequence[str], projections: Sequence[str]
) -> frozenset[str]:
    """Returns the hyperparameters that the program reads, but for the objective's and
    the transforms' own."""
    read = {"seed"} | optimizer_hparams(config["optimizer"], config["gradient"])
    for name in penalties:
        read |= {name, *REGULARIZERS[name].hparams}
    for name in projections:
        read |= set(PROJECTIONS[name].hparams)
    read |= {"decay_power"} if config["param"] in FREQUENCIES else set()
    read |= {"init_std"} if config["start"] == "noise" else set()
    read |= {"redirect_steps"} if config["redirect_relu"] else set()
    return frozenset(read)


def _active_penalties(swept: Mapping[str, Sequence]) -> list[str]:
    return [name for name in REGULARIZERS if any(v != 0 for v in swept[name])]


def _active_projections(swept: Mapping[str, Sequence]) -> list[str]:
    return [name for name, entry in PROJECTIONS.items() if entry.active(swept)]


def _limits(swept: Mapping[str, Sequence]) -> dict[str, int]:
    """Returns the largest value of each hyperparameter, for static margins."""
    limits = {}
    for name, values in swept.items():
        if all(isinstance(v, int | float) and math.isfinite(v) for v in values):
            limits[name] = math.ceil(max(values))
    return limits


def _pictures(
    swept: Mapping[str, Sequence],
    read: Collection[str],
    size: tuple[int, int],
    channels: int,
    given: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    names = {value for name in IMAGES if name in read for value in swept[name]}
    return {name: _picture(name, size, channels, given) for name in sorted(names)}


def _picture(
    name: str,
    size: tuple[int, int],
    channels: int,
    given: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Returns a picture [H, W, C] that was given as an array, or a file's."""
    if name not in given:
        return load_picture(name, size, channels)
    if not name.startswith(ARRAY):
        return given[name]
    return fitted(given[name], size, channels)


def _stack(
    name: str,
    values: Sequence[Any],
    runs: int,
    pictures: Mapping[str, np.ndarray],
    whole: set[str],
) -> np.ndarray:
    """Returns one hyperparameter of all runs, [R, ...], as the program takes it."""
    if name in IMAGES:
        return np.stack([pictures[value] for value in values])
    dtype = np.int32 if name in whole else np.float32
    if not all(_is_number(value) for value in values):
        raise ValueError(
            f"hparams.{name}={tuple(values)[:5]!r}: not all are numbers, or vectors of"
            " numbers."
        )
    try:
        with np.errstate(over="ignore"):  # `_check_finite` tells
            array = np.asarray(values, dtype)
    except ValueError:
        raise ValueError(f"hparams.{name} has vectors of unequal length.") from None
    if len(array) == 1:
        array = np.repeat(array, runs, axis=0)  # a constant of the objective's text
    return array


def _check_finite(
    values: Mapping[str, np.ndarray], swept: Mapping[str, Sequence]
) -> None:
    """Raises ValueError for a number that float32 has no finite value for."""
    for name, rows in values.items():
        finite = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
        if not finite.all():
            value = swept[name][int(np.argmin(finite))]
            raise ValueError(
                f"hparams.{name}={value!r} is not allowed: give finite numbers"
                " (float32, below 3.4e38)."
            )


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) > 0 and all(_is_number(v) for v in value)
    return isinstance(value, int | float)


def _with_channels(model: Model, channels: int) -> Callable[[Any, Array, Rules], Taps]:
    """Returns the model's taps for images of `channels`; gray is shown to all."""
    wanted = model.record.channels
    if channels == wanted:
        return model.taps
    require(channels == 1, "channels", channels, f"{model.record.name} takes {wanted}")
    return lambda variables, images, rules: model.taps(
        variables, jnp.repeat(images, wanted, axis=-1), rules
    )


def _check_redirect(config: Mapping[str, Any], model: Model) -> None:
    if config["redirect_relu"] and not model.record.redirectable:
        raise ValueError(
            f"redirect_relu=True is not possible: {model.record.name} does not use"
            " dreamjax's ReLU. Aim at a tap before the nonlinearity instead."
        )


def _check_scores(
    objective: Objective, shapes: Mapping[str, tuple[int, ...]], batch: int, hp: HParams
) -> None:
    """Raises ValueError where a score is not one number an image, a metric not one.

    Arrays of the taps' shapes stand for the network, so that nothing is computed.
    """
    taps = {
        name: jax.ShapeDtypeStruct((batch, *shape[1:]), jnp.float32)
        for name, shape in shapes.items()
    }

    def asked(taps: Taps, hp: HParams) -> tuple[Array, dict[str, Array]]:
        seen = {**taps, **{TARGET + name: tap for name, tap in taps.items()}}
        judge = make_judge(objective, lambda *_: taps)
        return objective(seen, hp), judge(None, jnp.zeros((batch, 1, 1, 1)), hp)

    score, metrics = jax.eval_shape(asked, taps, hp)
    require(
        score.shape == (batch,),
        "objective",
        objective.text,
        f"its score has the shape {score.shape}, not one number for each of {batch}"
        " images",
    )
    for name, value in metrics.items():
        require(
            value.shape == (),
            "objective",
            objective.text,
            f"its metric {name!r} has the shape {value.shape}, not one number",
        )


def _check_memory(
    shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]
) -> None:
    """Raises ValueError for a run that cannot fit the memory, by far.

    A gradient takes more than half of the bytes of all activations; here a quarter has
    to fit, and less where activations are computed twice or kept in 16 bits.
    """
    size = 4 * config["batch"] * sum(math.prod(shape) for shape in shapes.values())
    least = size // 4 // (4 if config["remat"] else 1)
    least //= 2 if config["precision"] == "bfloat16" else 1
    free = free_memory()
    require(
        least <= free,
        "size, batch",
        (*config["size"], config["batch"]),
        f"one run takes more than {least / 1e9:.1f} GB, {free / 1e9:.1f} are free;"
        " a smaller size or batch, remat=True or precision=bfloat16 take less",
    )


def _check_optimizer(pieces: Pieces, config: Mapping[str, Any]) -> None:
    """Raises ValueError where a gradient transform does not fit the parameters."""
    hp = {name: jnp.zeros(()) for name in config["hparams"]}

    def first(key: Key) -> Any:
        params = pieces.param.init(key, hp)
        chain_ = pieces.optimizer(hp)
        return chain_.update(params, chain_.init(params), params)

    jax.eval_shape(first, jax.random.key(0))
