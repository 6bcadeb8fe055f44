"""The one large program of a dream: the gradient of a batch of tiles.

It knows neither the picture's size nor its octave, so that it is compiled once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.build import Experiment
from dreamjax.deepdream.reach import GRID, Reach
from dreamjax.dream import Pieces
from dreamjax.kept_programs import keep_program, program_key
from dreamjax.models.layers import PLAIN, redirected
from dreamjax.objectives import TARGET
from dreamjax.types import Array, HParams, Taps


class Lanes(NamedTuple):
    """A batch of T tiles, each of some run.

    Attributes:
      tiles: [T, h, w, C] in [0, 1].
      owned: [T, 4] int, first and end row, first and end column of the tile's own
        units, in pixels.
      share: [T], what the tile's mean counts in the mean of the picture.
      step: [T] int, completed steps of the run.
      hp: name -> [T, ...].
      goals: tap -> [T, ...], activations of the target.
    """

    tiles: Array
    owned: Array
    share: Array
    step: Array
    hp: HParams
    goals: Taps


def tile_gradient(
    pieces: Pieces, reaches: Mapping[str, Reach | None]
) -> Callable[[Lanes, Any], tuple[Array, Array]]:
    """Returns (lanes, variables) -> (score [T], d score / d tiles [T, h, w, C]).

    A picture's score is the sum over its tiles: objectives are means over positions, so
    a tile's part counts with its share of the picture.

    Args:
      pieces: of a run, at any size.
      reaches: of the taps that the objective reads.
    """

    def one(lane: Lanes, variables: Any) -> tuple[Array, Array]:
        rules = PLAIN
        if pieces.redirect:
            rules = redirected(lane.step < lane.hp["redirect_steps"])

        def score(tile: Array) -> Array:
            taps = pieces.taps(variables, tile[None], rules)
            seen = {
                name: _own(taps[name], reach, lane.owned)
                for name, reach in reaches.items()
            }
            seen |= {TARGET + name: goal[None] for name, goal in lane.goals.items()}
            return jnp.sum(pieces.objective(seen, lane.hp)) * lane.share

        return jax.value_and_grad(score)(lane.tiles)

    return jax.vmap(one, in_axes=(0, None))


def _own(tap: Array, reach: Reach | None, owned: Array) -> Array:
    """Sets the units [1, h, w, K] that belong to other tiles to 0."""
    if reach is None or tap.ndim != 4:
        return tap
    rows = jnp.arange(tap.shape[1]) * reach.stride
    columns = jnp.arange(tap.shape[2]) * reach.stride
    mine = ((rows >= owned[0]) & (rows < owned[1]))[:, None]
    mine = mine & ((columns >= owned[2]) & (columns < owned[3]))[None, :]
    return jnp.where(mine[None, :, :, None], tap, 0)


class Look(NamedTuple):
    """The compiled network of a dream.

    Attributes:
      run: (lanes, variables) -> score [T], d score / d tiles.
      hparams: what it reads from `lanes.hp`.
      whole: a unit of some tap sees the whole image, so that a tile speaks for itself.
    """

    run: Callable[[Lanes, Any], tuple[Array, Array]]
    hparams: tuple[str, ...]
    whole: bool


def make_look(experiment: Experiment, reaches: Mapping[str, Reach | None]) -> Look:
    """Returns the network's program for an experiment, and for all like it.

    Experiments of one config share it, whatever the size of their pictures.
    """
    pieces = experiment.pieces((GRID, GRID))
    names = experiment.objective.hparams - {"target"}
    names |= {"redirect_steps"} if pieces.redirect else set()
    whole = any(reach is None for reach in reaches.values())
    key = program_key(experiment, (), "tiles", tuple(sorted(reaches.items())))
    gradient = keep_program(key, lambda: jax.jit(tile_gradient(pieces, reaches)))
    return Look(gradient, tuple(sorted(names)), whole)


def batches(work: Sequence[Any], size: int) -> list[list[Any]]:
    """Cuts a list into parts of at most `size`."""
    return [list(work[i : i + size]) for i in range(0, len(work), size)]
