"""A config climbed in memory for a figure: pictures on the way, and what they score.

`Context.sweep` is durable and judges the last pictures. A figure that shows how they
come about needs those of many steps: this is the same run by `dreamjax.ascent`, kept in
one file, so that a figure is drawn again without climbing again.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dreamjax.ascent import ascend
from dreamjax.build import build
from dreamjax.config import plain
from dreamjax.dream import Pieces, score_images
from dreamjax.figures.figure import Context
from dreamjax.figures.kept import kept
from dreamjax.identity import model_digest
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model
from dreamjax.text import parse_transforms
from dreamjax.transforms import TRANSFORMS, chain

LANES = 16  # runs that are climbed at once, at most
DRAWS = 8  # of the transforms, for the robust score


class Climb(NamedTuple):
    """What R runs came to.

    Attributes:
      runs: the hyperparameters of each as written, those that differ.
      images: [R, B, H, W, C] after the last step.
      snapshots: completed steps -> images then.
      scores: completed steps -> [R, B], the objective of those pictures as they are.
      robust: likewise, the mean objective under 8 fresh draws of `judge`.
      curve: [steps, R, B], the score during the climb.
    """

    runs: list[dict[str, Any]]
    images: np.ndarray
    snapshots: dict[int, np.ndarray]
    scores: dict[int, np.ndarray]
    robust: dict[int, np.ndarray]
    curve: np.ndarray


def climb(
    context: Context,
    name: str,
    config: ConfigDict,
    *,
    snapshots: Collection[int] = (),
    robust: Collection[int] = (),
    judge: str = "lucid_standard",
) -> Climb:
    """Climbs the runs of a config, or reads what they came to.

    Args:
      context: of the figure.
      name: of the file in its workdir.
      config: what a sweep takes; its `steps` are climbed.
      snapshots: completed steps after which pictures are kept, the last is.
      robust: those of them whose pictures are judged under transforms, too.
      judge: these transforms, as a config's text.

    Raises:
      ValueError: as `build` and `ascend`.
    """
    wanted = sorted({*snapshots, config.steps})
    recipe = {
        "config": plain(config),
        "weights": (context.model.record.name, model_digest(context.model)),
        "kept": (wanted, sorted(robust), judge),
    }
    experiment = build(config, context.model)
    if "shown" in experiment.program:
        recipe["shown"] = experiment.program["shown"]

    def make() -> dict[str, np.ndarray]:
        pieces = experiment.pieces(tuple(config.size))
        lanes = even_lanes(len(experiment.runs))
        found = ascend(
            pieces,
            context.model.variables,
            experiment.values,
            steps=config.steps,
            seeds=experiment.values["seed"],
            snapshots=wanted,
            lanes=lanes,
        )
        score = _scorer(context.model, pieces, experiment.values, lanes)
        look = parse_transforms(judge, factories=TRANSFORMS)[0]
        shaken = pieces._replace(transform=chain(*look))
        draw = _scorer(context.model, shaken, experiment.values, lanes)
        made = {"curve": found.trace.score}
        for step in wanted:
            made[f"images {step}"] = found.snapshots[step]
            made[f"scores {step}"] = score(found.snapshots[step], None)
        for step in robust:
            draws = [draw(found.snapshots[step], i) for i in range(DRAWS)]
            made[f"robust {step}"] = np.mean(draws, axis=0)
        report_frozen(context, name, found.alive)
        return made

    made = kept(context.workdir / f"{name}.npz", recipe, make)
    snapshots_ = {step: made[f"images {step}"] for step in wanted}
    varying = [n for n in experiment.runs[0] if n in experiment.values]
    return Climb(
        runs=[{n: run[n] for n in varying} for run in experiment.runs],
        images=snapshots_[config.steps],
        snapshots=snapshots_,
        scores={step: made[f"scores {step}"] for step in wanted},
        robust={step: made[f"robust {step}"] for step in sorted(robust)},
        curve=made["curve"],
    )


def even_lanes(runs: int, most: int = LANES) -> int:
    """Returns how many of R runs go at once, so that every part is as full as can be.

    20 runs, at most 16 at once, are two parts of 10.
    """
    return math.ceil(runs / math.ceil(runs / most))


def report_frozen(context: Context, name: str, alive: np.ndarray) -> None:
    """Says which runs met a non-finite update and stopped."""
    if not alive.all():
        context.report(f"{name}: frozen are runs {np.flatnonzero(~alive).tolist()}")


def _scorer(
    model: Model, pieces: Pieces, values: Mapping[str, Any], lanes: int
) -> Callable[[np.ndarray, int | None], np.ndarray]:
    """Returns (images [R, B, H, W, C], draw or None) -> [R, B], some runs at once."""

    def one(images: jax.Array, hp: Any, draw: jax.Array | None, variables: Any):
        keys = None
        if draw is not None:
            keys = jax.random.split(jax.random.key(draw), images.shape[0])
        return score_images(pieces, images, keys, PLAIN, hp, variables)

    program = jax.jit(jax.vmap(one, in_axes=(0, 0, None, None)))

    def score(images: np.ndarray, draw: int | None) -> np.ndarray:
        parts, runs = [], len(images)
        for first in range(0, runs, lanes):
            index = np.minimum(np.arange(first, first + lanes), runs - 1)
            hp = {name: jnp.asarray(rows[index]) for name, rows in values.items()}
            number = None if draw is None else jnp.asarray(draw, jnp.uint32)
            part = program(jnp.asarray(images[index]), hp, number, model.variables)
            parts.append(np.asarray(part)[: runs - first])
        return np.concatenate(parts)

    return score
