"""The logbook: `metrics.jsonl` and TensorBoard events of every run.

`metrics.jsonl` has one line per run and logged step. Each run has its own TensorBoard
folder, `tb/run_0007`, with scalars, pictures at chosen steps and an HParams session,
so that runs can be overlaid, sorted by any hyperparameter and filtered by score.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams as hparams_summaries

from dreamjax.files import atomic_open
from dreamjax.types import DreamInfo

METRICS = "metrics.jsonl"


def run_name(run: int) -> str:
    """Returns the name of a run's files, `run_0007`."""
    return f"run_{run:04d}"


def scalars(info: DreamInfo, lane: int) -> dict[str, float]:
    """Returns the numbers of one run of an info [R, ...]; means over its images."""
    row = {
        "score": float(np.mean(info.score[lane])),
        "loss": float(info.loss[lane]),
        "grad_norm": float(np.mean(info.grad_norm[lane])),
        "update_norm": float(info.update_norm[lane]),
    }
    for name, penalty in sorted(info.penalty.items()):
        row[f"penalty/{name}"] = float(np.mean(penalty[lane]))
    return row


def jsonable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row with non-finite numbers as text, which strict JSON can hold."""
    return {
        name: str(value)
        if isinstance(value, float) and not np.isfinite(value)
        else value
        for name, value in row.items()
    }


def rewind(workdir: Path, block: int, step: int) -> None:
    """Drops the lines of `metrics.jsonl` that come after a checkpoint.

    Kept are all lines of earlier blocks, and those of `block` up to `step`; also a
    last line that a kill cut short goes.
    """
    path = workdir / METRICS
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if (row["block"], row["step"]) <= (block, step):
            kept.append(line)
    with atomic_open(path, "w") as file:
        file.write("".join(f"{line}\n" for line in kept))


class Logbook:
    """Writes the log of one block of runs; a context manager."""

    def __init__(
        self,
        workdir: Path,
        block: int,
        runs: Sequence[int],
        *,
        resumed_at: int = 0,
        tensorboard: bool = True,
    ):
        """Opens the logs, after `rewind`.

        Args:
          workdir: the sweep's folder.
          block: its number.
          runs: numbers of the runs in its lanes.
          resumed_at: steps done so far; later events of an earlier attempt are purged.
          tensorboard: write event files.
        """
        self._block, self._runs = block, list(runs)
        self._file = (workdir / METRICS).open("a", encoding="utf-8")
        self._writers = []
        if tensorboard:
            purge = resumed_at + 1 if resumed_at else None
            self._writers = [
                SummaryWriter(
                    str(workdir / "tb" / run_name(run)),
                    purge_step=purge,
                    max_queue=1000,
                    flush_secs=10,
                )
                for run in self._runs
            ]

    def __enter__(self) -> "Logbook":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        for writer in self._writers:
            writer.close()

    def log(self, step: int, info: DreamInfo, alive: np.ndarray) -> None:
        """Writes one line and one event per run.

        Args:
          step: completed steps.
          info: arrays [R, ...].
          alive: [R] bool.
        """
        for lane, run in enumerate(self._runs):
            row = scalars(info, lane)
            head = {"block": self._block, "run": run, "step": step}
            state = {"alive": bool(alive[lane])}
            self._file.write(json.dumps(jsonable({**head, **row, **state})) + "\n")
            if self._writers:
                for name, value in row.items():
                    self._writers[lane].add_scalar(name, value, step)

    def pictures(self, step: int, pictures: Sequence[np.ndarray]) -> None:
        """Writes one uint8 picture [H, W, 3] per run."""
        for writer, picture in zip(self._writers, pictures, strict=False):
            writer.add_image("image", picture, step, dataformats="HWC")

    def finish(
        self,
        hparams: Sequence[Mapping[str, Any]],
        metrics: Sequence[Mapping[str, float]],
        step: int,
    ) -> None:
        """Writes the final metrics and the HParams session of each run."""
        rows = zip(self._writers, hparams, metrics, strict=False)
        for writer, values, final in rows:
            tags = {f"final/{name}": value for name, value in final.items()}
            for tag, value in tags.items():
                writer.add_scalar(tag, value, step)
            shown = {
                name: value
                if isinstance(value, bool | int | float | str)
                else str(value)
                for name, value in values.items()
            }
            for summary in hparams_summaries(shown, tags):
                writer.file_writer.add_summary(summary)

    def flush(self) -> None:
        """Makes what was logged so far durable."""
        self._file.flush()
        os.fsync(self._file.fileno())
        for writer in self._writers:
            writer.flush()
