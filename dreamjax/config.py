"""The configuration of a sweep: every key that there is, with its neutral value.

`configs/*.py` start from `base_config()` and set what their experiment is about. The
part under `config.hparams` is traced: each value is a tuple, and a tuple of several
values is a sweep (`--config.hparams.tv='(0., .1, 1.)'`) that compiles nothing new.
Everything else is static: another value is another program.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from dreamjax.caps import check_cap, require_cap
from dreamjax.errors import choose, did_you_mean
from dreamjax.fields import (
    PICTURE,
    TEXT,
    TRUTH,
    Field,
    array_name,
    convert,
    entries,
    is_array,
    pair_of,
    real,
    shown,
    tuple_of,
    whole,
)
from dreamjax.fields import plain as plain_scalar
from dreamjax.gradients import GRADIENT_TRANSFORMS
from dreamjax.optimizers import OPTIMIZERS
from dreamjax.projections import PROJECTIONS
from dreamjax.regularizers import REGULARIZERS

NO_IMAGE = "none"
LATER = {"weights": "", "labels": ""}
"""Keys that folders and recipes from before them lack, with what they then mean."""


def base_hparams() -> dict[str, tuple]:
    """Returns every hyperparameter of the library at the value that does nothing.

    Of a penalty that is the weight 0, of a projection the strength 0; a penalty or
    projection that is neutral in every run is left out of the program.
    """
    hparams: dict[str, tuple] = {
        "unit": (0,),  # read where the objective says "tap:unit"
        "seed": (0,),
        "learning_rate": (0.05,),
        "init_std": (0.01,),
        "decay_power": (1.0,),
        "redirect_steps": (16,),
        "target": (NO_IMAGE,),
        "reference": (NO_IMAGE,),
    }
    for _, neutral in OPTIMIZERS.values():
        hparams |= {name: (value,) for name, value in neutral.items()}
    for name, regularizer in REGULARIZERS.items():
        hparams[name] = (0.0,)
        hparams |= {n: (value,) for n, value in regularizer.neutral.items()}
    for entry in [*PROJECTIONS.values(), *GRADIENT_TRANSFORMS.values()]:
        hparams |= {n: (value,) for n, value in entry.neutral.items()}
    return hparams


def base_config() -> ml_collections.ConfigDict:
    """Returns a complete, unlocked configuration: one channel, Lucid's defaults."""
    # Types are checked by `FIELDS`, which also takes what can be converted.
    config = ml_collections.ConfigDict(type_safe=False)
    config.model = "efficientnet_lite0"  # or "package.module:function"
    config.weights = ""  # a file of your own for that network; '' is the published one
    config.labels = ""  # a file that names its classes
    config.precision = "float32"  # of the network; or bfloat16
    config.remat = False  # compute activations twice, to need less memory
    config.objective = "b8:unit"  # see dreamjax/text.py
    config.size = (128, 128)  # pixels: height, width
    config.batch = 1  # images of one run
    config.channels = 3  # of the image; 1 is gray
    config.param = "fourier"  # pixel, fourier, laplacian, lowres-shared
    config.color = "decorrelated"  # or rgb, or a .json of experiments.colors
    config.range = "sigmoid"  # or clip
    config.start = "noise"  # or gray, or an image file, or chelsea, coffee
    config.transforms = "lucid_standard"  # see dreamjax/transforms.py; '' is none
    config.gradient = ()  # names of dreamjax/gradients.py, in order
    config.optimizer = "adam"  # see dreamjax/optimizers.py
    config.redirect_relu = False  # Lucid's redirected gradients of dead ReLUs
    config.steps = 128
    config.sweep = "product"  # or zip, or zip(name, …)
    config.samples = 1  # draws of the hyperparameters that are distributions
    config.draws = "random"  # or latin, or sobol; see dreamjax/draws.py
    config.seed = 0  # of those draws
    config.rungs = ()  # steps after which the weak runs stop: successive halving
    config.keep = 0.5  # the part of each neuron's runs that goes on from a rung
    config.common_noise = True  # runs of one seed share noise and transforms
    config.runs_per_call = 0  # 0: as many as memory holds, on CPU at most 32
    config.steps_per_call = 0  # 0: 1 on CPU, up to 16 elsewhere
    config.log_every = 8  # steps
    config.image_steps = (0, 32, 64, 128)  # pictures for TensorBoard after so many
    config.checkpoint_seconds = 20.0
    config.keep_states = True  # so that more steps can be added later
    config.evaluation_draws = 4  # of the transforms, for the final score
    config.transfer = ""  # a second network that judges the pictures; '' is none
    config.rows = "unit"  # the hyperparameter that names the rows of the sheet
    config.tensorboard = True
    config.hparams = ml_collections.ConfigDict(base_hparams(), type_safe=False)
    return config


FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "model": TEXT,
        "weights": TEXT,
        "labels": TEXT,
        "precision": TEXT,
        "remat": TRUTH,
        "objective": TEXT,
        "size": pair_of(whole(1, "side"), one=True),
        "batch": whole(1, "batch"),
        "channels": whole(1, "channels"),
        "param": TEXT,
        "color": TEXT,
        "range": TEXT,
        "start": PICTURE,
        "transforms": TEXT,
        "gradient": tuple_of(TEXT, most="transforms"),
        "optimizer": TEXT,
        "redirect_relu": TRUTH,
        "steps": whole(1, "steps"),
        "sweep": TEXT,
        "samples": whole(1, "runs"),
        "draws": TEXT,
        "seed": whole(0, 2**63 - 1),
        "rungs": tuple_of(whole(1, "steps")),
        "keep": real(0, 1, above=True),
        "common_noise": TRUTH,
        "runs_per_call": whole(0, "runs"),
        "steps_per_call": whole(0, "steps"),
        "log_every": whole(1),
        "image_steps": tuple_of(whole(0)),
        "checkpoint_seconds": real(0),
        "keep_states": TRUTH,
        "evaluation_draws": whole(1, "draws"),
        "transfer": TEXT,
        "rows": TEXT,
        "tensorboard": TRUTH,
    }
)
"""Key of the config -> what it may be. `hparams` has rules of its own, see `take`."""

ALL = "all"
"""In place of numbers: every channel or class that the objective can read."""


class Taken(NamedTuple):
    """A config as everything behind the entrance may rely on it.

    Attributes:
      config: plain values, of the types that `FIELDS` says; JSON can hold it.
      given: name -> picture [H, W, C] in [0, 1], of those that came as arrays; the
        config calls them by these names.
    """

    config: dict[str, Any]
    given: dict[str, np.ndarray]


def take(config: Mapping[str, Any], fields: Mapping[str, Field] = FIELDS) -> Taken:
    """Checks and converts a config, once, where it enters.

    Args:
      config: a ConfigDict or nested mapping. Values may also be scalars, ranges and
        arrays of NumPy or JAX, and one value where a tuple is meant.
      fields: key -> what it may be.

    Raises:
      ValueError: naming the key, its value and what is allowed; nothing is loaded,
        compiled or expanded before.
    """
    given: dict[str, np.ndarray] = {}

    def named(value: Any) -> Any:
        if is_array(value):
            name = array_name(value)
            given[name] = value
            return name
        return value

    taken: dict[str, Any] = {}
    for name, value in dict(config).items():
        if name == "hparams":
            continue
        choose("config key", name, [*fields, "hparams"])
        taken[name] = named(convert(name, value, fields[name]))
    hparams = config.get("hparams", {})
    if not isinstance(hparams, Mapping | ml_collections.ConfigDict):
        raise ValueError(f"hparams={shown(hparams)} is no mapping of names to tuples.")
    check_cap(len(hparams), "list")
    found = {}
    for name, values in dict(hparams).items():
        key = f"hparams.{name}"
        if not re.fullmatch(r"[^\W\d]\w{0,99}", str(name)):
            raise ValueError(f"hparams: {shown(name)} is no name of a hyperparameter.")
        taken_values = convert(key, values, Field(HPARAM, _hparam_of(name)))
        found[name] = tuple(named(value) for value in taken_values)
    taken["hparams"] = found
    missing = [name for name in fields if name not in taken]
    missing += [f"hparams.{name}" for name in base_hparams() if name not in found]
    if missing:
        raise ValueError(f"config lacks {', '.join(missing)}.")
    if "size" in taken:
        height, width = taken["size"]
        pixels = height * width * taken.get("batch", 1)
        require_cap("size × batch", (height, width), pixels, "pixels")
    return Taken(taken, given)


HPARAM = (
    "a tuple of numbers, labels, vectors of numbers or pictures, a range, or one text"
    " that is drawn from"
)
PICTURES = ("target", "reference")  # hyperparameters whose values are pictures
WHOLE = frozenset({"seed", "blur_every", "median_every", "redirect_steps"})
"""Hyperparameters that count: fractions would be cut off inside the program."""


def _hparam_of(name: str) -> Any:
    """Returns the function that takes what a hyperparameter is given."""

    def values_of(given: Any) -> tuple:
        given = plain_scalar(given)
        if isinstance(given, ml_collections.ConfigDict | Mapping):
            raise ValueError
        if name in PICTURES and is_array(given):
            return (given,) if given.ndim == 3 else tuple(np.asarray(given))
        if hasattr(given, "__len__") and not isinstance(given, str):
            check_cap(len(given), "runs")
        found = entries(given)
        if len(found) == 1 and isinstance(found[0], str):
            found = counted(found[0])
        return found

    def take_values(given: Any) -> tuple:
        found = values_of(given)
        if not found:
            raise ValueError("the sweep is empty")
        return tuple(_hparam_value(name, value) for value in found)

    return take_values


def _hparam_value(name: str, value: Any) -> Any:
    if name in PICTURES:
        return PICTURE.take(value)
    value = plain_scalar(value)
    if isinstance(value, str):
        value = TEXT.take(value)
        if name in NUMBERS and value != ALL and not re.fullmatch(r"\w+\(.*\)", value):
            raise ValueError("not all are numbers")
        return value
    if isinstance(value, bool):
        raise ValueError(f"not all are numbers: {value} is none")
    if isinstance(value, int | float):
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError("a whole number beyond 64 bits")
        if name in WHOLE and not _is_whole(value):
            raise ValueError(f"{value!r} is no whole number")
        return value
    if isinstance(value, list | tuple) or is_array(value):
        found = entries(value)
        check_cap(len(found), "list")
        if not found or name in NUMBERS:
            raise ValueError("not all are numbers")
        return tuple(_hparam_value(name, entry) for entry in found)
    raise ValueError("not all are numbers, or vectors of numbers")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def counted(text: str) -> tuple:
    """Returns the whole numbers of a text such as "range(512)"; of another, itself."""
    found = re.fullmatch(
        r"\s*range\(\s*(-?\d{1,18}(?:\s*,\s*-?\d{1,18}){0,2})\s*\)\s*", text
    )
    if found is None:
        return (text,)
    numbers = range(*(int(number) for number in found[1].split(",")))
    check_cap(len(numbers), "runs")
    return tuple(numbers)


def check_variant(variant: str, *known: str) -> None:
    """Raises ValueError for a variant of a config file that it does not have.

    Args:
      variant: what stands after the colon of `--config=FILE:VARIANT`, or "".
      known: the variants of the file, besides the config itself.
    """
    if variant != "":
        choose("variant", variant, known)


def shrink(config: ml_collections.ConfigDict) -> None:
    """Makes a config a toy, for its :quicktest: 32 px on the short side, 4 steps."""
    height, width = config.size
    side = min(height, width)
    config.size = (32 * height // side, 32 * width // side)
    config.steps = 4
    config.log_every = 2
    config.image_steps = (0, 4)


def plain(config: Any) -> Any:
    """Returns a config as dicts, tuples and plain values, for JSON and comparison."""
    if isinstance(config, ml_collections.ConfigDict):
        return plain(config.to_dict())
    if isinstance(config, Mapping):
        return {str(name): plain(value) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return tuple(plain(value) for value in config)
    return config


def as_config(values: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """Returns a ConfigDict from what `plain` gave, also after a trip through JSON."""
    config = ml_collections.ConfigDict()
    for name, value in values.items():
        if isinstance(value, Mapping):
            config[name] = as_config(value)
        else:
            config[name] = plain(value)
    return config


def check_read(
    hparams: Mapping[str, Sequence[Any]], read: frozenset[str], varying: Sequence[str]
) -> None:
    """Raises ValueError for a hyperparameter that is swept, or new, but never read."""
    known = base_hparams()
    for name in hparams:
        if name in read or (name in known and name not in varying):
            continue
        why = UNREAD.get(name, "nothing in this configuration reads it")
        near = "" if name in known else did_you_mean(name, known)
        raise ValueError(
            f"hparams.{name}={tuple(hparams[name])!r} has no effect: {why}.{near}"
            f" Read are: {', '.join(sorted(read))}."
        )


def check_limits(swept: Mapping[str, Sequence[Any]], read: Collection[str]) -> None:
    """Raises ValueError for a number that its hyperparameter cannot have.

    Inside the program such a value would silently do nothing, or something else.
    """
    for name in sorted(set(read) & WHOLE):
        for value in swept[name]:
            if isinstance(value, int | float) and not _is_whole(value):
                raise ValueError(f"hparams.{name}={value!r} is no whole number.")
    for name in sorted(set(read) & set(LIMITS)):
        low, high = LIMITS[name]
        for value in swept[name]:
            if isinstance(value, int | float) and not low <= value <= high:
                most = "" if high == math.inf else f" and at most {high:g}"
                raise ValueError(
                    f"hparams.{name}={value!r} is out of range: at least {low:g}{most}."
                )


LIMITS = {
    "init_std": (0, math.inf),
    "redirect_steps": (0, math.inf),
    "seed": (0, 2**31 - 1),
    "adam_b1": (0, 1),
    "adam_b2": (0, 1),
    "momentum": (0, 1),
    "rms_decay": (0, 1),
    "tv_beta": (1, math.inf),
    "lp_power": (1, math.inf),
    "boundary_width": (0, math.inf),
    "decay": (0, 1),
    "blur_width": (0, math.inf),
    "blur_every": (0, math.inf),
    "norm_percentile": (0, 100),
    "contribution_percentile": (0, 100),
    "contribution_abs_percentile": (0, 100),
    "median_every": (0, math.inf),
    "clip_low": (0, 1),
    "clip_high": (0, 1),
    "smooth_sigma": (0, math.inf),
    "progress_max_rate": (0, math.inf),
    "progress_desired": (0, math.inf),
}
"""Hyperparameter -> its least and largest value, both allowed."""

NUMBERS = frozenset(name for name in base_hparams() if name not in ("unit", *PICTURES))
"""Hyperparameters of the library that are one number in each run."""

UNREAD = {
    "unit": "the objective does not read it; write for example 'b8:unit'",
    "decay_power": "only param='fourier' and 'lowres-shared' have it",
    "init_std": "the start is not noise",
    "redirect_steps": "redirect_relu is False",
    "target": "the objective compares with no target; match and caricature do",
    "reference": "the penalty 'distance' is 0 in every run",
    **{
        name: f"the penalty {penalty!r} is 0 in every run"
        for penalty, regularizer in REGULARIZERS.items()
        for name in regularizer.neutral
    },
    **{
        name: f"{' or '.join(entry.hparams)} leaves the projection off in every run"
        for entry in PROJECTIONS.values()
        for name in entry.hparams
    },
    **{
        name: f"config.gradient does not name {transform!r}"
        for transform, entry in GRADIENT_TRANSFORMS.items()
        for name in entry.hparams
    },
    **{
        name: f"the optimizer is not {optimizer!r}"
        for optimizer, (_, neutral) in OPTIMIZERS.items()
        for name in neutral
    },
}
