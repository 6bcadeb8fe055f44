"""The dream of a picture: octaves of steps, each step over tiles.

    picture ─ octaves, smallest first ─┐
                                       ▼
      see: params → picture → transforms → views, extended       a program per size
      look: tiles of the views → network → score, gradient       one program for all
      climb: gradient → optimizer → projections → params'        a program per size

    detail = dreamed octave - octave; the next one starts from its own + resized detail

(Mordvintsev, Olah and Tyka 2015.) The second half of a step is the sweep's own,
`dreamjax.dream.climb`, so every parametrization, penalty and projection works here.
Runs R share the picture's size and differ in hyperparameters; all their tiles go
through the network together.
"""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.build import Experiment
from dreamjax.deepdream.network import Lanes, Look, batches
from dreamjax.deepdream.octaves import Resize
from dreamjax.deepdream.tiles import Axis, Overlap, best_tile, cut, folded
from dreamjax.deepdream.views import Flat, Panorama
from dreamjax.dream import begin, climb, require_finite_start
from dreamjax.dream import show as after_cycle
from dreamjax.kept_programs import keep_program, program_key
from dreamjax.models.model import Record
from dreamjax.transforms import output_shape
from dreamjax.types import Array, DreamInfo, DreamState, HParams, Key


class Plan(NamedTuple):
    """What a dream is made with, besides the experiment; all static.

    Attributes:
      tiles: the (height, width) in pixels that tiles may have; each size of picture
        takes the one with the fewest pixels to compute, each is a program of its own.
      overlap: of the tiles.
      lanes: tiles of one call of the network.
      resize: between octaves.
      inject: detail is re-injected (2015); else each octave starts from the last
        one's picture, enlarged (TensorFlow's tutorial).
      views: how the network looks at a picture.
      border: what lies beyond a picture that does not fill its tiles: "mirror", or
        "blank", the color that the network sees as 0.
    """

    tiles: tuple[tuple[int, int], ...]
    overlap: Overlap
    lanes: int
    resize: Resize
    inject: bool
    views: Flat | Panorama
    border: str


class Dreamed(NamedTuple):
    """What came out of one picture.

    Attributes:
      images: [R, H, W, C] in [0, 1].
      alive: [R] bool; False where a run met a non-finite update.
      snapshots: (octave, steps done in it) -> [R, h, w, C], those asked for.
    """

    images: np.ndarray
    alive: np.ndarray
    snapshots: Mapping[tuple[int, int], np.ndarray]


class Dreamer(NamedTuple):
    """The compiled-once engine.

    Attributes:
      dream: (images [R, H, W, C], sizes of the octaves, keys [R], hp [R, ...], …) ->
        Dreamed. Told after each step (`watch`) and octave (`after`), it can go on from
        a `Passage`, and keeps the pictures after some steps of each octave
        (`snapshots`).
      score: (images, hp) -> [R], the objective without transforms.
    """

    dream: Callable[..., Dreamed]
    score: Callable[..., np.ndarray]


class Passage(NamedTuple):
    """Where a dream is between two octaves; all that a resume needs.

    Attributes:
      octave: number of octaves done.
      images: [R, h, w, C], of the last one done.
      alive: [R] bool.
    """

    octave: int
    images: np.ndarray
    alive: np.ndarray


Watch = Callable[[int, int, DreamInfo, Array], None]
"""(octave, steps done in it, info [R, ...], alive [R]) -> None."""


class _Programs(NamedTuple):
    """The small programs of one picture size; all mapped over runs."""

    begin: Callable  # (images, keys, hp) -> state
    see: Callable  # (state, hp) -> tuple of extended views
    show: Callable  # images -> tuple of extended views, no transforms
    images: Callable  # (state, hp, mask) -> images, as they are shown
    climb: Callable  # (state, hp, score, slopes of the views, mask) -> state, info
    axes: tuple[tuple[Axis, Axis], ...]  # of each transformed view: rows, columns
    plain_axes: tuple[tuple[Axis, Axis], ...]  # of each view
    tile: tuple[int, int]


def make_dreamer(experiment: Experiment, plan: Plan, look: Look) -> Dreamer:
    """Returns the engine for an experiment.

    Args:
      experiment: from `dreamjax.build.build`.
      plan: the static rest.
      look: the network's program.
    """
    made_from = (plan.tiles, plan.overlap, plan.lanes, plan.border, plan.views)

    @functools.cache
    def programs(size: tuple[int, int]) -> _Programs:
        key = program_key(experiment, (), "pictures", size, *made_from)
        return keep_program(key, lambda: _programs(experiment, plan, size))

    def slopes(
        views: Sequence[Array],
        axes: Sequence[tuple[Axis, Axis]],
        tile: tuple[int, int],
        area: int,
        step: int,
        hp: HParams,
        goals: Mapping[str, Array],
    ) -> tuple[Array, list[Array]]:
        """Returns score [R] and d score / d views, tile by tile."""
        runs = views[0].shape[0]
        score = jnp.zeros((runs,))
        found = []
        for view, (rows, columns) in zip(views, axes, strict=True):
            total = jnp.zeros_like(view)
            for part in batches(_work(runs, rows, columns), plan.lanes):
                where = _padded(part, plan.lanes)
                lanes = Lanes(
                    tiles=_cut_out(view, where.at, tile),
                    owned=jnp.asarray(where.owned),
                    share=jnp.asarray(_areas(where, look.whole, tile) / area),
                    step=jnp.full((plan.lanes,), step, jnp.int32),
                    hp={name: hp[name][where.at[:, 0]] for name in look.hparams},
                    goals={tap: goal[where.at[:, 0]] for tap, goal in goals.items()},
                )
                part_score, slope = look.run(lanes, experiment.model.variables)
                total, score = _added(total, score, slope, part_score, where.at)
            found.append(total)
        return score, found

    def dream(
        images: np.ndarray,
        sizes: Sequence[tuple[int, int]],
        keys: Key,
        hp: HParams,
        *,
        steps: int,
        strength: np.ndarray,
        goals: Mapping[str, Array],
        mask: np.ndarray | None = None,
        watch: Watch | None = None,
        after: Callable[[Passage], None] | None = None,
        passage: Passage | None = None,
        snapshots: Collection[int] = (),
    ) -> Dreamed:
        bases, kept = [images], {}
        for size in reversed(sizes[:-1]):
            bases.append(_each(plan.resize, bases[-1], size))
        bases.reverse()
        if passage is None:
            passage = Passage(0, bases[0], np.ones(len(images), bool))
        for octave in range(passage.octave, len(sizes)):
            size, base = sizes[octave], bases[octave]
            start = passage.images
            if octave > 0 and plan.inject:
                detail = passage.images - bases[octave - 1]
                detail = _each(plan.resize, detail, size)
                start = base + strength.reshape(-1, 1, 1, 1) * detail
            elif octave > 0:
                start = _each(plan.resize, start, size)
            small = jnp.ones((1, 1, 1)) if mask is None else plan.resize(mask, size)
            here, hp_here = programs(size), _at_size(hp, size, plan.resize)
            keys_here = _fold_in(keys, octave)
            start = np.clip(start, 0, 1)
            state = here.begin(start, keys_here, hp_here)
            if octave == 0:
                told = [{n: v[i] for n, v in hp.items()} for i in range(len(images))]
                require_finite_start(state.alive, enumerate(told))
            # A run that froze stays so in the octaves to come.
            going = np.asarray(state.alive) & passage.alive
            state = state._replace(alive=jnp.asarray(going))
            for step in range(steps):
                views = here.see(state, hp_here)
                score, found = slopes(
                    views, here.axes, here.tile, size[0] * size[1], step, hp_here, goals
                )
                del views
                state, info = here.climb(state, hp_here, score, found, small)
                if watch is not None:
                    watch(octave, step + 1, info, state.alive)
                if step + 1 in snapshots:
                    shown = here.images(state, hp_here, small)
                    kept[octave, step + 1] = np.asarray(shown)
            dreamed = np.asarray(here.images(state, hp_here, small))
            dreamed = np.where(going.reshape(-1, 1, 1, 1), dreamed, start)
            passage = Passage(octave + 1, dreamed, np.asarray(state.alive))
            if after is not None:
                after(passage)
        return Dreamed(passage.images, passage.alive, kept)

    def score(
        images: np.ndarray, hp: HParams, *, goals: Mapping[str, Array]
    ) -> np.ndarray:
        size = images.shape[1:3]
        here = programs(size)
        views = here.show(images)
        return np.asarray(
            slopes(
                views,
                here.plain_axes,
                here.tile,
                size[0] * size[1],
                2**30,
                hp,
                goals,
            )[0]
        )

    return Dreamer(dream, score)


def _programs(experiment: Experiment, plan: Plan, size: tuple[int, int]) -> _Programs:
    """Compiles, at first use, what is done to whole pictures of one size."""
    pieces = experiment.pieces(size)
    param = pieces.param
    clips = experiment.config["range"] == "clip"
    blank = blank_color(experiment.model.record) if plan.border == "blank" else None
    maps = plan.views.maps(size)
    sizes = plan.views.sizes(size)
    seen = [seen_size(experiment, view) for view in sizes]
    circles = (size[1],) if plan.views.wraps else ()
    tile = best_tile(plan.tiles, [*seen, *sizes], plan.overlap, circles)
    axes = tuple(_axes(plan, tile, view, circles) for view in seen)
    plain_axes = tuple(_axes(plan, tile, view, circles) for view in sizes)

    def extended(views: Sequence[Array], axes: Sequence) -> tuple[Array, ...]:
        return tuple(
            _extended(view, rows, columns, blank)
            for view, (rows, columns) in zip(views, axes, strict=True)
        )

    def keys_of(state: DreamState) -> list[Key]:
        """Returns a key for each view; the first is the one that a sweep would use."""
        key = jax.random.fold_in(state.key, state.step)
        (first,) = jax.random.split(key, 1)
        return [first, *(jax.random.fold_in(key, i) for i in range(1, len(sizes)))]

    def start(image: Array, key: Key, hp: HParams) -> DreamState:
        return begin(pieces, param.invert(image[None], hp), key, hp)

    def see(state: DreamState, hp: HParams, maps: Any) -> tuple[Array, ...]:
        views = plan.views.look(param.apply(state.params, hp)[0], maps)
        drawn = zip(keys_of(state), views, strict=True)
        return extended([pieces.transform(k, x, hp) for k, x in drawn], axes)

    def show(image: Array, maps: Any) -> tuple[Array, ...]:
        return extended(plan.views.look(image, maps), plain_axes)

    def ascend(
        state: DreamState,
        hp: HParams,
        score: Array,
        slopes: list[Array],
        mask: Array,
        maps: Any,
    ) -> tuple[DreamState, DreamInfo]:
        images, pull = jax.vjp(lambda params: param.apply(params, hp), state.params)
        views = plan.views.look(images[0], maps)
        parts = []
        for k, x, slope, (rows, columns) in zip(
            keys_of(state), views, slopes, axes, strict=True
        ):
            _, back = jax.vjp(lambda x, k=k: pieces.transform(k, x, hp), x)
            parts += back(folded(folded(slope, rows, 0), columns, 1))
        slope = plan.views.unite(parts, maps)[None]
        new, info = climb(pieces, state, hp, images, pull, score[None], -slope)
        if mask.shape == (1, 1, 1) and not clips:
            return new, info
        moved = param.apply(new.params, hp)  # in [0, 1]; the parameters may be beyond
        kept = param.invert(images + mask[None] * (moved - images), hp)
        params = jax.tree.map(
            lambda k, old: jnp.where(new.alive, k, old), kept, state.params
        )
        return new._replace(params=params), info

    def shown(state: DreamState, hp: HParams, mask: Array) -> Array:
        images = param.apply(state.params, hp)
        if not pieces.periodic:
            return images[0]
        # What a mask keeps is not blurred either.
        moved = after_cycle(pieces, state, hp)
        return (images + mask[None] * (moved - images))[0]

    see = jax.jit(jax.vmap(see, (0, 0, None)))
    show = jax.jit(jax.vmap(show, (0, None)))
    ascend = jax.jit(jax.vmap(ascend, (0, 0, 0, 0, None, None)), donate_argnums=0)
    return _Programs(
        begin=jax.jit(jax.vmap(start)),
        see=lambda state, hp: see(state, hp, maps),
        show=lambda images: show(images, maps),
        images=jax.jit(jax.vmap(shown, (0, 0, None))),
        climb=lambda *given: ascend(*given, maps),
        axes=axes,
        plain_axes=plain_axes,
        tile=tile,
    )


def seen_size(experiment: Experiment, size: tuple[int, int]) -> tuple[int, int]:
    """Returns the size (H, W) of a view after the transforms."""
    hp = {name: jnp.asarray(rows[0]) for name, rows in experiment.values.items()}
    shape = (*size, experiment.config["channels"])
    transform = experiment.pieces(size).transform
    return output_shape(transform, shape, hp)[:2]


def _axes(
    plan: Plan, tile: tuple[int, int], size: tuple[int, int], circles: Sequence[int]
) -> tuple[Axis, Axis]:
    """Returns how a view is cut: one of a pole has ends where a panorama has none."""
    return (
        cut(size[0], tile[0], plan.overlap),
        cut(size[1], tile[1], plan.overlap, wraps=size[1] in circles),
    )


def blank_color(record: Record) -> np.ndarray:
    """Returns the RGB in [0, 1] that a network's preprocessing turns into 0."""
    mean = np.asarray(record.mean, np.float32) / record.scale
    return mean[::-1] if record.channel_order == "BGR" else mean


def _extended(
    view: Array, rows: Axis, columns: Axis, blank: np.ndarray | None
) -> Array:
    """Returns a view [H, W, C] with what its tiles see beyond its ends."""
    wide = jnp.take(jnp.take(view, rows.source, axis=0), columns.source, axis=1)
    if blank is None:
        return wide
    inside = (np.arange(len(rows.source)) < rows.length)[:, None]
    if not columns.wraps:
        inside = inside & (np.arange(len(columns.source)) < columns.length)[None, :]
    return jnp.where(inside[..., None], wide, blank[: view.shape[-1]])


class _Where(NamedTuple):
    """Which tiles of which runs a call sees; fillers count nothing."""

    at: np.ndarray  # [T, 3] int: run, row, column
    owned: np.ndarray  # [T, 4] int
    counts: np.ndarray  # [T] float32: 1, or 0 for a filler


def _work(runs: int, rows: Axis, columns: Axis) -> list[tuple]:
    """Returns (run, row, column, owned) of every tile of every run."""
    return [
        (run, y, x, (*down, *right))
        for run in range(runs)
        for y, down in zip(rows.offsets, rows.owned, strict=True)
        for x, right in zip(columns.offsets, columns.owned, strict=True)
    ]


def _padded(part: list[tuple], lanes: int) -> _Where:
    count = len(part)
    part = part + [part[-1]] * (lanes - count)
    return _Where(
        at=np.array([work[:3] for work in part], np.int32),
        owned=np.array([work[3] for work in part], np.int32),
        counts=(np.arange(lanes) < count).astype(np.float32),
    )


def _areas(where: _Where, whole: bool, tile: tuple[int, int]) -> np.ndarray:
    """Returns the pixels [T] that a tile's score is a mean over.

    Units of other tiles count as 0 in a mean over positions, so that is the whole tile;
    a tap without positions speaks for the tile's own part of the picture.
    """
    top, bottom, left, right = where.owned.T
    own = (bottom - top) * (right - left)
    areas = own if whole else np.full(len(own), np.prod(tile))
    return where.counts * areas.astype(np.float32)


@functools.partial(jax.jit, static_argnums=2)
def _cut_out(view: Array, at: Array, tile: tuple[int, int]) -> Array:
    """Returns the tiles [T, h, w, C] of views [R, H, W, C]."""

    def one(where: Array) -> Array:
        start = (where[0], where[1], where[2], 0)
        return jax.lax.dynamic_slice(view, start, (1, *tile, view.shape[3]))[0]

    return jnp.stack([one(where) for where in at])


@functools.partial(jax.jit, donate_argnums=0)
def _added(
    total: Array, score: Array, slope: Array, part: Array, at: Array
) -> tuple[Array, Array]:
    """Adds the tiles' gradients where they lie, and their scores; fillers add 0."""
    for tile, where in zip(slope, at, strict=True):
        start = (where[0], where[1], where[2], 0)
        old = jax.lax.dynamic_slice(total, start, (1, *tile.shape))
        total = jax.lax.dynamic_update_slice(total, old + tile[None], start)
    return total, score.at[at[:, 0]].add(part)


@jax.jit
def _fold_in(keys: Key, number: int) -> Key:
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def _each(resize: Resize, images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.stack([resize(image, size) for image in images]).astype(np.float32)


def _at_size(hp: HParams, size: tuple[int, int], resize: Resize) -> dict[str, Any]:
    """Returns hp with the reference pictures [R, H, W, C], if any, in another size."""
    if "reference" not in hp:
        return dict(hp)
    reference = _each(resize, np.asarray(hp["reference"]), size)
    return {**hp, "reference": jnp.asarray(reference)}
