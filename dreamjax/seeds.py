"""What runs of one setting have in common: metrics across seeds, once all are done.

They compare pictures of different blocks, so they are made when a sweep is finished,
and kept in `seeds.json` beside what they were made of.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.build import Experiment
from dreamjax.files import write_text
from dreamjax.logbook import add_finals
from dreamjax.metrics.seeds import Features, make_describe, seed_metrics, tap_of
from dreamjax.models.model import tap_shapes

SEEDS = "seeds.json"


def compare_seeds(
    experiment: Experiment,
    workdir: Path,
    rows: Sequence[dict[str, Any]],
    images: np.ndarray,
) -> None:
    """Adds `diversity` and `agreement` to the metrics of rows that have them.

    Args:
      experiment: the sweep.
      workdir: its folder.
      rows: summary rows; changed in place.
      images: [R, B, H, W, C].
    """
    path = workdir / SEEDS
    made_of = [[row["run"], row["stop"], row["status"]] for row in rows]
    found = _kept(path, made_of)
    if found is None:
        found = seed_metrics(rows, images, _describe(experiment, images.shape[2:4]))
        write_text(path, json.dumps({"of": made_of, "metrics": found}))
        if experiment.config["tensorboard"]:
            new = {r["run"]: m for r, m in zip(rows, found, strict=True) if m}
            add_finals(workdir, new, experiment.config["steps"])
    for row, metrics in zip(rows, found, strict=True):
        row["metrics"] |= metrics


def _kept(path: Path, made_of: list) -> list[dict[str, float]] | None:
    """Returns the metrics of the file, None where it is of other pictures."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept["metrics"] if kept["of"] == made_of else None
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _describe(experiment: Experiment, size: tuple[int, int]):
    """Returns images [B, H, W, C] -> Features, compiled when first called."""
    shapes = tap_shapes(experiment.model, size)
    tap = tap_of(experiment.objective, shapes)
    compiled = jax.jit(make_describe(tap, experiment.taps))

    def describe(pictures: np.ndarray) -> Features:
        return compiled(experiment.model.variables, jnp.asarray(pictures))

    return describe
