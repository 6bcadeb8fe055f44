"""What runs of one setting have in common: metrics across seeds, once all are done.

They compare pictures of different blocks, so they are made when a sweep is finished,
and kept in `seeds.json` beside what they were made of.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.build import Experiment
from dreamjax.events import add_finals, final_files
from dreamjax.files import write_text
from dreamjax.json_file import loads, read_bytes
from dreamjax.metrics.seeds import Features, make_describe, seed_metrics, tap_of
from dreamjax.models.model import tap_shapes

SEEDS, SEAL = "seeds.json", "sha256"


def compare_seeds(
    experiment: Experiment,
    workdir: Path,
    rows: Sequence[dict[str, Any]],
    images: np.ndarray,
) -> list[str]:
    """Adds `diversity` and `agreement` to the metrics of rows that have them.

    `seeds.json` is written after TensorBoard's events, with their digests: where it is
    there and agrees, they are.

    Args:
      experiment: the sweep.
      workdir: its folder.
      rows: summary rows; changed in place.
      images: [R, B, H, W, C].

    Returns:
      What there is to say: a line if the file was damaged.
    """
    path, tensorboard = workdir / SEEDS, experiment.config["tensorboard"]
    made_of = [
        [row["run"], row["stop"], row["status"], _digest(picture.tobytes())]
        for row, picture in zip(rows, images, strict=True)
    ]
    kept, said = _kept(path)
    same = kept is not None and kept["of"] == made_of
    if same:
        found = kept["metrics"]
    else:
        found = seed_metrics(rows, images, _describe(experiment, images.shape[2:4]))
    events = kept["events"] if same else {}
    if tensorboard and not (same and _are_there(workdir, events, found)):
        if events:
            said.append("TensorBoard's diversity and agreement: made again.")
        new = {r["run"]: m for r, m in zip(rows, found, strict=True) if m}
        events = add_finals(workdir, new, experiment.config["steps"])
        same = False
    if not same:
        content = {"of": made_of, "metrics": found, "events": events}
        write_text(path, json.dumps({**content, SEAL: _digest(json.dumps(content))}))
    for row, metrics in zip(rows, found, strict=True):
        row["metrics"] |= metrics
    return said


def _are_there(
    workdir: Path, events: Mapping[str, str], metrics: Sequence[Mapping[str, float]]
) -> bool:
    """Tells whether the events of all metrics are what was written."""
    folders = {(workdir / name).parent for name in events}
    found = {path for folder in folders for path in final_files(folder)}
    if found != {workdir / name for name in events}:
        return False
    if len(events) != sum(bool(one) for one in metrics):
        return False
    try:
        return all(
            _digest((workdir / name).read_bytes()) == digest
            for name, digest in events.items()
        )
    except OSError:
        return False


def _kept(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Returns what the file holds, None without one, and what there is to say."""
    if not path.exists():
        return None, []
    try:
        kept = loads(read_bytes(path), nan=True)
        content = {name: kept[name] for name in ("of", "metrics", "events")}
    except KeyError:  # of an older version
        return None, []
    except (OSError, TypeError, ValueError, RecursionError):
        return None, [f"{SEEDS} is damaged: made again."]
    if kept.get(SEAL) != _digest(json.dumps(content)):
        return None, [f"{SEEDS} is damaged: made again."]
    return content, []


def _digest(data: str | bytes) -> str:
    data = data.encode("utf-8") if isinstance(data, str) else data
    return hashlib.sha256(data).hexdigest()


def _describe(experiment: Experiment, size: tuple[int, int]):
    """Returns images [B, H, W, C] -> Features, compiled when first called."""
    shapes = tap_shapes(experiment.model, size)
    tap = tap_of(experiment.objective, shapes)
    compiled = jax.jit(make_describe(tap, experiment.taps))

    def describe(pictures: np.ndarray) -> Features:
        return compiled(experiment.model.variables, jnp.asarray(pictures))

    return describe
