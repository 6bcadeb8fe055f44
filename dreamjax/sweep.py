"""Sweeps: which runs there are, and one compiled program for a block of them.

The only place that maps over runs. `expand` turns the tuples of `config.hparams` into
a list of runs; `compile_block` maps the pure step over R runs with shared weights and
compiles it once; other hyperparameter values need no other program.
"""

import itertools
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.draws import draw, is_drawn
from dreamjax.dream import Evaluation
from dreamjax.errors import choose, require
from dreamjax.types import Array, DreamInfo, DreamState, DreamStep, HParams, Key

MODES = ("product", "zip", "zip(name, …)")

CPU_RUNS = 32


def expand(
    hparams: Mapping[str, Sequence[Any]],
    *,
    mode: str,
    samples: int,
    seed: int,
    draws: str = "random",
) -> list[dict[str, Any]]:
    """Returns the runs of a sweep, each a dict of one value per hyperparameter.

    Plain tuples are combined by `mode`; a tuple of one text such as
    `('log_uniform(1e-4, 1)',)` is drawn. `samples` draws of all drawn hyperparameters
    are each combined with every combination of the plain ones: runs = combinations ×
    samples, the combinations outermost. Names count in alphabetical order, the last
    one changes fastest.

    Args:
      hparams: name -> tuple of values.
      mode: "product" (every combination); "zip" (tuples of one length, or of length
        1, side by side); or "zip(tv, blur_every)" (these side by side, each such
        setting combined with every combination of the rest).
      samples: draws; must be 1 where nothing is drawn.
      seed: of the draws.
      draws: their design, "random", "latin" or "sobol" (`dreamjax.draws`).

    Raises:
      ValueError: an empty tuple, unequal lengths in a zip, an unknown distribution.
    """
    require(samples >= 1, "samples", samples, "at least 1")
    for name, values in hparams.items():
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise ValueError(
                f"hparams.{name}={values!r} is not a tuple of values:"
                f" write ({values!r},)."
            )
        require(len(values) > 0, f"hparams.{name}", tuple(values), "the sweep is empty")
    hparams = {name: hparams[name] for name in sorted(hparams)}
    drawn = {name: values[0] for name, values in hparams.items() if is_drawn(values)}
    if not drawn and samples != 1:
        raise ValueError(
            f"samples={samples} but nothing is drawn: give a hyperparameter a"
            " distribution, such as ('log_uniform(1e-4, 1)',)."
        )
    plain = {name: list(v) for name, v in hparams.items() if name not in drawn}
    drawings = draw(drawn, samples=samples, seed=seed, design=draws)
    return [
        {name: {**combination, **drawing}[name] for name in hparams}
        for combination in _combine(plain, mode)
        for drawing in drawings
    ]


def _combine(plain: Mapping[str, list], mode: str) -> list[dict[str, Any]]:
    zipped = _zipped(plain, mode)
    settings = _side_by_side({name: plain[name] for name in zipped})
    rest = {name: plain[name] for name in plain if name not in zipped}
    return [
        {**setting, **dict(zip(rest, values, strict=True))}
        for setting in settings
        for values in itertools.product(*rest.values())
    ]


def _zipped(plain: Mapping[str, list], mode: str) -> list[str]:
    """Returns the names that go side by side."""
    if mode == "product":
        return []
    if mode == "zip":
        return list(plain)
    found = re.fullmatch(r"zip\((.*)\)", mode.strip())
    if found is None:
        choose("sweep", mode, MODES)
    names = [name.strip() for name in found[1].split(",")]
    return [choose(f"sweep={mode!r}: name", name, plain) for name in names]


def _side_by_side(columns: Mapping[str, list]) -> list[dict[str, Any]]:
    length = max((len(values) for values in columns.values()), default=1)
    for name, values in columns.items():
        require(
            len(values) in (1, length),
            f"hparams.{name}",
            tuple(values),
            f"side by side every tuple has 1 or {length} values",
        )
    return [
        {name: v[i] if len(v) > 1 else v[0] for name, v in columns.items()}
        for i in range(length)
    ]


def varying(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names whose value is not the same in all runs."""
    return [name for name in runs[0] if any(run[name] != runs[0][name] for run in runs)]


def run_keys(seeds: Array, run_ids: Array, *, common: bool) -> Key:
    """Returns one key per run, [R].

    With `common` runs of one seed start from the same noise and see the same draws, so
    that a row of a sweep differs in its settings alone; else each run folds its number
    in and is independent.
    """

    def one(seed: Array, run: Array) -> Key:
        key = jax.random.key(seed)
        return key if common else jax.random.fold_in(key, run)

    return jax.vmap(one)(seeds, run_ids)


class Block(NamedTuple):
    """The compiled programs of one block of R runs.

    Attributes:
      init: (keys [R], hp) -> DreamState of R runs.
      update: (state, hp, variables) -> (state, DreamInfo [n, R]): n steps; the state
        given is used up.
      plain, robust: as in `Evaluation`, of R runs.
      images: (state, hp) -> [R, B, H, W, C].
      steps: n, steps of one call of `update`.
    """

    init: Callable
    update: Callable
    plain: Callable
    robust: Callable
    images: Callable
    steps: int


def compile_block(
    step: DreamStep,
    evaluation: Evaluation,
    images: Callable,
    hp: HParams,
    variables: Any,
    *,
    steps: int,
) -> Block:
    """Compiles everything that a block of R runs needs, once.

    Args:
      step: of one run.
      evaluation: of one run.
      images: (state, hp) of one run.
      hp: name -> [R, ...], for shapes only.
      variables: weights, shared by all runs.
      steps: of one call; more than one is a `lax.scan`, which pays on accelerators
        and costs 2.5–4 times on CPU.
    """
    runs = len(next(iter(hp.values())))
    keys = jax.random.split(jax.random.key(0), runs)
    init = jax.jit(jax.vmap(step.init)).lower(keys, hp).compile()
    state = jax.eval_shape(jax.vmap(step.init), keys, hp)

    def many(state: DreamState, hp: HParams, variables: Any):
        one = jax.vmap(step.update, in_axes=(0, 0, None))
        if steps == 1:
            state, info = one(state, hp, variables)
            return state, jax.tree.map(lambda x: x[None], info)
        return jax.lax.scan(
            lambda s, _: one(s, hp, variables), state, None, length=steps
        )

    update = jax.jit(many, donate_argnums=0).lower(state, hp, variables).compile()
    shown = jax.jit(jax.vmap(images)).lower(state, hp).compile()
    plain = jax.jit(jax.vmap(evaluation.plain, in_axes=(0, 0, None)))
    robust = jax.jit(jax.vmap(evaluation.robust, in_axes=(0, 0, None, None)))
    draw = jnp.zeros((), jnp.int32)
    return Block(
        init,
        update,
        plain.lower(state, hp, variables).compile(),
        robust.lower(state, hp, variables, draw).compile(),
        shown,
        steps,
    )


def block_size(runs: int, limit: int) -> int:
    """Returns the runs of one block: as even as possible, at most `limit`.

    All blocks have one size, so that one program serves them; 300 runs of at most 32
    are 10 blocks of 30. A single run gets a second lane: in a block of 1 XLA drops the
    batch axis and sums in another order, so that the bits differ from those in a crowd;
    from 2 on they were the same at all but toy sizes (docs/architecture.md).
    """
    require(limit >= 1, "runs_per_call", limit, "at least 1")
    even = math.ceil(runs / math.ceil(runs / min(limit, runs)))
    return min(limit, max(2, even))


def runs_that_fit(
    shapes: Mapping[str, tuple[int, ...]], batch: int, memory: int | None = None
) -> int:
    """Estimates how many runs one call can hold.

    A gradient keeps about every activation once: the compiled step's temporaries are
    0.57 of the taps' bytes for EfficientNet-Lite0 `b8` at 128 px, 0.74 for its logits.
    On a CPU more than 32 runs bring no speed, only coarser checkpoints.

    Args:
      shapes: tap name -> [1, h, w, K], at the size of the views.
      batch: B, images of one run.
      memory: bytes; None takes half of what the device (or the host) has free.
    """
    size = 4 * batch * sum(math.prod(shape) for shape in shapes.values())
    fit = max(1, (free_memory() // 2 if memory is None else memory) // size)
    return min(fit, CPU_RUNS) if jax.default_backend() == "cpu" else fit


def free_memory() -> int:
    """Returns the bytes that the default device has free."""
    stats = jax.devices()[0].memory_stats()
    if stats is not None and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def take(hp: Mapping[str, np.ndarray], runs: Sequence[int]) -> dict[str, Array]:
    """Returns the rows `runs` of each hyperparameter, on the device."""
    index = np.asarray(runs)
    return {name: jnp.asarray(values[index]) for name, values in hp.items()}


def last_info(info: DreamInfo) -> DreamInfo:
    """Returns the last step's info of [n, R, ...] as NumPy arrays [R, ...]."""
    return jax.tree.map(lambda x: np.asarray(x[-1]), info)
