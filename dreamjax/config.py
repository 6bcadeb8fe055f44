"""The configuration of a sweep: every key that there is, with its neutral value.

`configs/*.py` start from `base_config()` and set what their experiment is about. The
part under `config.hparams` is traced: each value is a tuple, and a tuple of several
values is a sweep (`--config.hparams.tv='(0., .1, 1.)'`) that compiles nothing new.
Everything else is static: another value is another program.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import ml_collections

from dreamjax.errors import choose, did_you_mean
from dreamjax.gradients import GRADIENT_TRANSFORMS
from dreamjax.optimizers import OPTIMIZERS
from dreamjax.projections import PROJECTIONS
from dreamjax.regularizers import REGULARIZERS

NO_IMAGE = "none"


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
    config = ml_collections.ConfigDict()
    config.model = "efficientnet_lite0"  # or "package.module:function"
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
    config.hparams = ml_collections.ConfigDict(base_hparams())
    return config


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


def check_keys(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a missing or misspelt key of the config.

    Hyperparameters of one's own are allowed; `build` refuses those that nothing reads.
    """
    base = base_config()
    for name in config:
        choose("config key", name, base)
    missing = [name for name in base if name not in config]
    missing += [
        f"hparams.{name}" for name in base.hparams if name not in config["hparams"]
    ]
    if missing:
        raise ValueError(f"config lacks {', '.join(missing)}.")


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
