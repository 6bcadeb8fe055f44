"""The logbook: `metrics.jsonl` and TensorBoard events of every run.

`metrics.jsonl` has one line per run and logged step. While blocks are being made each
has a file of its own, `metrics/block_0000.jsonl`, so that several processes can write;
`merge_metrics` joins them. Each run has its own TensorBoard
folder, `tb/run_0007`, so that runs can be overlaid, sorted by any hyperparameter and
filtered by score:

    dream/score dream/loss dream/grad_norm dream/update_norm    at each logged step
    penalty/NAME                                                 weighted, likewise
    image                                                        at the chosen steps
    dream-final/NAME penalty-final/NAME                          at the end
    an HParams session                                           from start to end

Events are appended record by record, and no file stays open. A tensorboardX writer per
run holds a queue, a thread and 3 file descriptors, takes 1.4 ms per logged step where
this takes 0.3 (200 runs, 2 cores), and may hold events back when a checkpoint is
written. tensorboardX supplies the message types and the checksum.
"""

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX.proto.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.record_writer import masked_crc32c

from dreamjax.files import atomic_open
from dreamjax.images import png_bytes
from dreamjax.types import DreamInfo

METRICS = "metrics.jsonl"

EVENTS = re.compile(r"events\.out\.tfevents\.\d{10,}\..*\.\d{9}")
"""Names of our event files; other writers end theirs otherwise."""


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


def metrics_path(workdir: Path, block: int) -> Path:
    """Returns the file of a block's logged numbers."""
    return workdir / "metrics" / f"block_{block:04d}.jsonl"


def merge_metrics(workdir: Path) -> Path:
    """Writes `metrics.jsonl`, the lines of all blocks; returns its path.

    A step of a run that two blocks logged, since the first one's result or states were
    lost, is there once: the later block's.
    """
    found = [
        pair
        for part in sorted((workdir / "metrics").glob("block_*.jsonl"))
        for pair in _lines(part)
    ]
    last = {(row["run"], row["step"]): i for i, (_, row) in enumerate(found)}
    path = workdir / METRICS
    with atomic_open(path, "w") as file:
        file.write("".join(f"{found[i][0]}\n" for i in sorted(last.values())))
    return path


def rewind(workdir: Path, block: int, step: int) -> None:
    """Drops the lines of a block that come after a checkpoint.

    A last line that a kill cut short goes too.
    """
    path = metrics_path(workdir, block)
    if not path.exists():
        return
    kept = [line for line, row in _lines(path) if row["step"] <= step]
    with atomic_open(path, "w") as file:
        file.write("".join(f"{line}\n" for line in kept))


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Returns the lines of a log and what they say, but for those cut short."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found.append((line, json.loads(line)))
    return found


def event_record(event: Event) -> bytes:
    """Returns an event as a TFRecord: length, its CRC, payload, its CRC."""
    payload = event.SerializeToString()
    length = len(payload).to_bytes(8, "little")
    return length + _crc(length) + payload + _crc(payload)


def _crc(data: bytes) -> bytes:
    return masked_crc32c(data).to_bytes(4, "little")


def _event_file(folder: Path, resumed_at: int) -> Path:
    """Starts an event file that hides all later events of the folder's older files.

    TensorBoard reads the files of a folder in order of their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now, host = time.time(), socket.gethostname()
    path = folder / f"events.out.tfevents.{int(now):010d}.{host}.{resumed_at:09d}"
    start = SessionLog(status=SessionLog.START)
    purged = resumed_at + 1 if resumed_at else 0  # step 0 has a picture only
    path.write_bytes(
        event_record(Event(wall_time=now, file_version="brain.Event:2"))
        + event_record(Event(wall_time=now, step=purged, session_log=start))
    )
    return path


def _add(path: Path, values: Sequence[Summary.Value], step: int) -> None:
    event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
    with path.open("ab") as file:
        file.write(event_record(event))


def tag(name: str, *, final: bool = False) -> str:
    """Returns the TensorBoard tag of a number: `dream/score`, `penalty-final/tv`.

    The names are chosen for TensorBoard's order: Time Series puts "dream" before
    "dream-final", so the curves come first; the HParams table, which shows its first
    five metrics, sorts "-" before "/", so the final scores do.
    """
    group, _, rest = name.rpartition("/")
    return f"{group if group else 'dream'}{'-final' if final else ''}/{rest}"


def _scalars(row: Mapping[str, float], *, final: bool) -> list[Summary.Value]:
    return [
        Summary.Value(tag=tag(name, final=final), simple_value=value)
        for name, value in row.items()
    ]


def _hparams_value(name: str, **data: Any) -> Summary.Value:
    content = HParamsPluginData(**data).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    return Summary.Value(
        tag=f"_hparams_/{name}", metadata=SummaryMetadata(plugin_data=plugin)
    )


def _session_start(values: Mapping[str, Any]) -> Summary.Value:
    """Returns the start of a run's HParams session.

    There is no `_hparams_/experiment` on purpose: TensorBoard takes the first that it
    finds as the list of columns for all runs, so of two sweeps in one folder the
    second would lose what only it varies. Without one it joins the columns of all
    runs, and puts those that vary first; the constants stay, to tell sweeps apart.
    """
    start = SessionStartInfo()
    for name, value in values.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float) and np.isfinite(value):
            start.hparams[name].number_value = value
        else:  # the plugin's JSON holds no NaN
            start.hparams[name].string_value = str(value)
    return _hparams_value("session_start_info", session_start_info=start)


def _session_end(alive: bool) -> Summary.Value:
    end = SessionEndInfo(status=STATUS_SUCCESS if alive else STATUS_FAILURE)
    return _hparams_value("session_end_info", session_end_info=end)


def add_finals(
    workdir: Path, metrics: Mapping[int, Mapping[str, float]], step: int
) -> None:
    """Adds final metrics to the events of runs, by their numbers, after their end."""
    for run, final in metrics.items():
        path = _event_file(workdir / "tb" / run_name(run), step)
        _add(path, _scalars(final, final=True), step)


def write_events(
    folder: Path,
    curves: Mapping[str, Sequence[float]],
    numbers: Mapping[str, float],
    pictures: Mapping[str, bytes],
) -> Path:
    """Writes the events of something finished, anew, as one TensorBoard run.

    Args:
      folder: of the run; earlier events in it are removed, those of other programs
        are not.
      curves: tag -> [n], the value at each step.
      numbers: tag -> the one value.
      pictures: tag -> an encoded picture.
    """
    for old in folder.glob("events.out.tfevents.*"):
        if EVENTS.fullmatch(old.name):
            old.unlink()
    path = _event_file(folder, 0)
    for name, values in curves.items():
        for step, value in enumerate(values):
            _add(path, [Summary.Value(tag=name, simple_value=float(value))], step)
    for name, value in numbers.items():
        _add(path, [Summary.Value(tag=name, simple_value=value)], 0)
    for name, data in pictures.items():
        image = Summary.Image(colorspace=3, encoded_image_string=data)
        _add(path, [Summary.Value(tag=name, image=image)], 0)
    return path


class Logbook:
    """Writes the log of one block of runs; a context manager."""

    def __init__(
        self,
        workdir: Path,
        block: int,
        runs: Sequence[int],
        *,
        hparams: Sequence[Mapping[str, Any]] = (),
        resumed_at: int = 0,
        tensorboard: bool = True,
    ):
        """Opens the logs, after `rewind`.

        Args:
          workdir: the sweep's folder.
          block: its number.
          runs: numbers of the runs in its lanes.
          hparams: name -> value of each run, for the HParams table.
          resumed_at: steps done so far; later events of an earlier attempt are purged.
          tensorboard: write event files.
        """
        self._block, self._runs = block, list(runs)
        self._events = []
        if tensorboard:
            folders = [workdir / "tb" / run_name(run) for run in self._runs]
            self._events = [_event_file(folder, resumed_at) for folder in folders]
        for path, values in zip(self._events, hparams, strict=False):
            _add(path, [_session_start(values)], 0)
        path = metrics_path(workdir, block)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "Logbook":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

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
            line = jsonable({**head, **row, "alive": bool(alive[lane])})
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            if self._events:
                _add(self._events[lane], _scalars(row, final=False), step)
        self._file.flush()

    def pictures(self, step: int, pictures: Sequence[np.ndarray]) -> None:
        """Writes one uint8 picture [H, W, 3] per run."""
        for path, picture in zip(self._events, pictures, strict=False):
            height, width, _ = picture.shape
            image = Summary.Image(
                height=height,
                width=width,
                colorspace=3,
                encoded_image_string=png_bytes(picture),
            )
            _add(path, [Summary.Value(tag="image", image=image)], step)

    def finish(self, metrics: Sequence[Mapping[str, float]], step: int) -> None:
        """Writes the final metrics and ends the HParams session of each run.

        Args:
          metrics: name -> value of each run; "alive" decides between the session's
            states success and failure.
          step: completed steps.
        """
        for path, final in zip(self._events, metrics, strict=False):
            _add(path, _scalars(final, final=True), step)
            _add(path, [_session_end(bool(final["alive"]))], step)

    def flush(self) -> None:
        """Makes the lines logged so far durable; the events are written already."""
        self._file.flush()
        os.fsync(self._file.fileno())
