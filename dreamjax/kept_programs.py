"""Compiled programs that this process keeps, so that the same work again compiles none.

A notebook calls `run` or `dream` with one config again and again: with other units,
other weights of a penalty, another photo, a network that was trained on. These are
arguments of the program. What the program itself depends on is its key: the rest of
the config, the networks' structure, the files
and the user's own code (`dreamjax.identity`), the shapes, the devices, JAX's settings.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax

from dreamjax.build import Experiment
from dreamjax.identity import Identity
from dreamjax.models.model import Model
from dreamjax.workdir import as_json

MOST = 32
"""Programs that are kept; of more, those that were not used for longest are let go."""

ARGUMENTS = frozenset(
    (
        *("hparams", "sweep", "samples", "seed", "draws", "rungs", "keep"),
        *("common_noise", "evaluation_draws", "runs_per_call", "steps_per_call"),
        *("log_every", "image_steps", "checkpoint_seconds", "keep_states"),
        *("rows", "tensorboard", "image"),
    )
)
"""Config keys that no program depends on: they decide about the runs, about how often
a program is called, about what is written, or, of a dream, which photo it is of. Of
hyperparameters the names and shapes count, and `Experiment.program`."""

SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_debug_nans",
    "jax_disable_jit",
    "jax_threefry_partitionable",
    "jax_default_prng_impl",
)
"""Settings of JAX that change what a function is compiled to."""

_kept: OrderedDict[Hashable, Any] = OrderedDict()
_lock = threading.Lock()


def keep_program(key: Hashable, make: Callable[[], Any]) -> Any:
    """Returns the program that is kept under a key, or makes it and keeps it."""
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    made = make()  # without the lock: other threads compile meanwhile
    with _lock:
        _kept[key] = made
        while len(_kept) > MOST:
            _kept.popitem(last=False)
    return made


def forget_programs() -> None:
    """Lets all programs go, and the memory that they take."""
    with _lock:
        _kept.clear()


def program_key(
    experiment: Experiment, devices: Sequence[jax.Device] = (), *more: Hashable
) -> Hashable:
    """Returns all that the programs of an experiment depend on.

    Args:
      experiment: the sweep, or that of a dream.
      devices: that the program runs on.
      *more: what else the program is made from.
    """
    identity = experiment.identity
    config = {n: v for n, v in experiment.config.items() if n not in ARGUMENTS}
    photo = str(experiment.config.get("image", ""))
    files = {name: digest for name, digest in identity.files.items() if name != photo}
    config["program"] = experiment.program
    networks = {n: v._replace(weights="") for n, v in identity.networks.items()}
    told = Identity(config, networks, files, identity.code)
    shapes = tuple(
        (name, rows.shape[1:], rows.dtype.str)
        for name, rows in sorted(experiment.values.items())
    )
    functions = tuple(
        _own_function(model, identity.networks.get(part))
        for part, model in (
            ("model", experiment.model),
            ("transfer", experiment.second),
        )
    )
    settings = tuple(str(getattr(jax.config, name, None)) for name in SETTINGS)
    return (as_json(told.as_json()), shapes, functions, settings, tuple(devices), more)


def _own_function(model: Model | None, network: Any) -> Hashable:
    """Returns the function of a network of one's own; a name says all of the zoo's."""
    if model is None or (network is not None and not network.record):
        return None
    return model.taps
