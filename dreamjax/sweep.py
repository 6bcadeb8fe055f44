"""Sweeps: which runs there are, and one compiled program for a block of them.

The only place that maps over runs. `expand` turns the tuples of `config.hparams` into
a list of runs; `compile_block` maps the pure step over R runs with shared weights and
compiles it once; other hyperparameter values need no other program.
"""

import itertools
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dreamjax.caps import require_cap
from dreamjax.draws import draw, is_drawn
from dreamjax.dream import Evaluation
from dreamjax.errors import choose, require
from dreamjax.footprint import Footprint, footprint, free_memory, tree_bytes
from dreamjax.types import Array, DreamState, DreamStep, HParams, Key

MODES = ("product", "zip", "zip(name, …)")

CPU_RUNS = 32
CPU_BYTES = (
    3_000_000_000  # of one call: VGG16's steps of 8 runs beat those of 32 by 1.3
)
RUNS = "runs"  # the mesh's only axis
LEAST = 2  # runs of a program: of one alone XLA drops the axis, and sums otherwise


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
      ValueError: an empty tuple, unequal lengths in a zip, an unknown distribution,
        more runs than `dreamjax.caps` allows.
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
    _check_count(plain, mode, samples)
    drawings = draw(drawn, samples=samples, seed=seed, design=draws)
    return [
        {name: {**combination, **drawing}[name] for name in hparams}
        for combination in _combine(plain, mode)
        for drawing in drawings
    ]


def _check_count(plain: Mapping[str, list], mode: str, samples: int) -> None:
    """Raises ValueError for more runs than are allowed, before any is made."""
    zipped = _zipped(plain, mode)
    lengths = [max((len(plain[name]) for name in zipped), default=1)]
    lengths += [len(values) for name, values in plain.items() if name not in zipped]
    several = [n for n in [*lengths, samples] if n > 1]
    told = " × ".join(map(str, several[:8])) + (" × …" if len(several) > 8 else "")
    require_cap("hparams", told, math.prod(several), "runs")


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


def run_keys(seeds: Array, salts: Array, *, common: bool) -> Key:
    """Returns one key per run, [R].

    With `common` runs of one seed start from the same noise and see the same draws, so
    that a row of a sweep differs in its settings alone; else each run folds its salt
    in and is independent.
    """

    def one(seed: Array, salt: Array) -> Key:
        key = jax.random.key(seed)
        return key if common else jax.random.fold_in(key, salt)

    return jax.vmap(one)(seeds, salts)


def salts(runs: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Returns a number [R] for each run that depends on its hyperparameters alone.

    So a run keeps its key when a sweep is extended or cut in another way. Runs that
    are alike get different ones, by their order.
    """
    seen: dict[str, int] = {}
    found = []
    for run in runs:
        text = json.dumps(dict(run), sort_keys=True)
        seen[text] = seen.get(text, -1) + 1
        found.append(zlib.crc32(f"{text} {seen[text]}".encode()))
    return np.asarray(found, np.uint32)


class Program(NamedTuple):
    """The compiled programs of a call of R runs.

    Attributes:
      init: (keys [R], hp) -> DreamState of R runs.
      update: (state, hp, variables) -> (state, DreamInfo [n, R]): n steps; the state
        given is used up.
      plain: as in `Evaluation`, of R runs.
      robust: likewise; the draw is a Python number.
      images: (state, hp) -> [R, B, H, W, C].
      steps: n, steps of one call of `update`.
      runs: R.
      place: puts a tree of arrays [R, ...] where the programs want it.
      footprint: bytes of `update` on one device; None where the backend tells nothing.
      fixed: the part of it that does not grow with R.
    """

    init: Callable
    update: Callable
    plain: Callable
    robust: Callable
    images: Callable
    steps: int
    runs: int
    place: Callable[[Any], Any]
    footprint: Footprint | None
    fixed: int


def compile_program(
    step: DreamStep,
    evaluation: Evaluation,
    images: Callable,
    hp: HParams,
    variables: Any,
    second: Any = (),
    *,
    steps: int,
    devices: Sequence[jax.Device] | None = None,
) -> Program:
    """Compiles everything that R runs need, once.

    On several devices each one computes R / devices runs by itself: nothing passes
    between them, and what one computes is the program of so many runs on one device.

    Args:
      step: of one run.
      evaluation: of one run.
      images: (state, hp) of one run.
      hp: name -> [R, ...], for shapes only.
      variables: weights, shared by all runs; on every device (`everywhere`).
      second: likewise, of a network that judges the pictures.
      steps: of one call; more than one is a `lax.scan`, which pays on accelerators
        and costs 2.5–4 times on CPU.
      devices: that the runs are spread over; R is a multiple of their number. None
        takes the default device.
    """
    runs = len(next(iter(hp.values())))
    devices = jax.local_devices()[:1] if devices is None else devices
    mesh = Mesh(np.asarray(devices), (RUNS,))
    by_run, shared = NamedSharding(mesh, P(RUNS)), NamedSharding(mesh, P())

    def spread(function: Callable, *specs: P, out: Any = None) -> Callable:
        if len(devices) == 1:
            return function
        out = P(RUNS) if out is None else out
        return jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False
        )

    def like(tree: Any, where: NamedSharding = by_run) -> Any:
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree
        )

    def many(state: DreamState, hp: HParams, variables: Any):
        one = jax.vmap(step.update, in_axes=(0, 0, None))
        if steps == 1:
            state, info = one(state, hp, variables)
            return state, jax.tree.map(lambda x: x[None], info)
        return jax.lax.scan(
            lambda s, _: one(s, hp, variables), state, None, length=steps
        )

    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), runs))
    state = like(jax.eval_shape(jax.vmap(step.init), keys, hp))
    keys, hp = like(keys), like(hp)
    variables, second = like(variables, shared), like(second, shared)
    runs_, all_ = P(RUNS), P()

    init = spread(jax.vmap(step.init), runs_, runs_)
    update = spread(many, runs_, runs_, all_, out=(runs_, P(None, RUNS)))
    show = spread(jax.vmap(images), runs_, runs_)
    plain = jax.vmap(evaluation.plain, in_axes=(0, 0, None, None))
    plain = spread(plain, runs_, runs_, all_, all_)
    robust = jax.vmap(evaluation.robust, in_axes=(0, 0, None, None))
    robust = spread(robust, runs_, runs_, all_, all_)
    draw = jax.ShapeDtypeStruct((), jnp.int32, sharding=shared)
    judge = jax.jit(robust).lower(state, hp, variables, draw).compile()

    def robust_(state: DreamState, hp: HParams, variables: Any, draw: int) -> Array:
        number = jax.device_put(np.asarray(draw, np.int32), shared)
        return judge(state, hp, variables, number)

    compiled = jax.jit(update, donate_argnums=0).lower(state, hp, variables).compile()
    bytes_, growing = footprint(compiled), tree_bytes((state, hp)) // len(devices)
    return Program(
        jax.jit(init, out_shardings=by_run).lower(keys, hp).compile(),
        compiled,
        jax.jit(plain).lower(state, hp, variables, second).compile(),
        robust_,
        jax.jit(show).lower(state, hp).compile(),
        steps,
        runs,
        lambda tree: jax.device_put(tree, by_run),
        bytes_,
        0 if bytes_ is None else max(0, bytes_.arguments - growing),
    )


def everywhere(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Returns a tree of arrays with a copy on each device."""
    mesh = Mesh(np.asarray(devices), (RUNS,))
    return jax.device_put(tree, NamedSharding(mesh, P()))


def block_size(runs: int, limit: int, devices: int = 1) -> int:
    """Returns the runs of one block: as even as possible, at most `limit`.

    A multiple of the number of devices, so that each has as many.

    All blocks have one size, so that one program serves them; 300 runs of at most 32
    are 10 blocks of 30. A single run gets a second lane: in a block of 1 XLA drops the
    batch axis and sums in another order, so that the bits differ from those in a crowd;
    from 2 on they were the same at all but toy sizes (docs/architecture.md).
    """
    require(limit >= 1, "runs_per_call", limit, "at least 1")
    require(devices >= 1, "devices", devices, "at least 1")
    most = max(1, limit // devices)  # of one device
    shared = math.ceil(runs / devices)
    even = math.ceil(shared / math.ceil(shared / min(most, shared)))
    return devices * max(LEAST, min(most, even))


def estimated_runs(
    shapes: Mapping[str, tuple[int, ...]], batch: int, memory: int | None = None
) -> int:
    """Estimates how many runs one call can hold.

    A gradient keeps about every activation once: the compiled step's temporaries are
    0.57 of the taps' bytes for EfficientNet-Lite0 `b8` at 128 px, 0.74 for its logits.
    On a CPU more than 32 runs bring no speed, only coarser checkpoints, and runs with
    large activations cost each other the cache and the memory's bandwidth.

    Args:
      shapes: tap name -> [1, h, w, K], at the size of the views.
      batch: B, images of one run.
      memory: bytes; None takes half of what the device (or the host) has free.
    """
    size = 4 * batch * sum(math.prod(shape) for shape in shapes.values())
    on_cpu = jax.default_backend() == "cpu"
    if memory is None:
        memory = free_memory() // 2
        memory = min(memory, CPU_BYTES) if on_cpu else memory
    fit = max(1, memory // size)
    return min(fit, CPU_RUNS) if on_cpu else fit


def take(hp: Mapping[str, np.ndarray], runs: Sequence[int]) -> dict[str, Array]:
    """Returns the rows `runs` of each hyperparameter, on the device."""
    index = np.asarray(runs)
    return {name: jnp.asarray(values[index]) for name, values in hp.items()}
