"""TensorBoard's event files: records, tags, HParams sessions, one folder per run.

A run's folder is named after its number and what varies in the sweep, such as
`tb/0007 unit=56 tv=400`. The number leads back to the run; a folder keeps its name for
good, also when a later extension makes something else vary.

Events are appended record by record, and no file stays open. A tensorboardX writer per
run holds a queue, a thread and 3 file descriptors, takes 1.4 ms per logged step where
this takes 0.3 (200 runs, 2 cores), and may hold events back when a checkpoint is
written. tensorboardX supplies the message types and the checksum.
"""

import hashlib
import os
import re
import socket
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorboardX.proto.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.record_writer import masked_crc32c

from dreamjax.files import sync_folder
from dreamjax.images import png_bytes

PREFIX = "events.out.tfevents"
OURS = re.compile(r"events\.out\.tfevents\.\d{10,}\..*\.\d{9}(\.run|\.finals)?")
"""Names of our event files, of older versions too; other writers end theirs otherwise,
and theirs are left alone."""

LONGEST = 100  # characters of a run's folder; file systems allow 255 bytes
TICK = 1e-6  # seconds between two events where the clock does not advance
HEADLINE = ("score", "score_plain")
FINALS = "finals"  # ends the names of files that `add_finals` writes


def run_folder(workdir: Path, run: int, label: str = "") -> Path:
    """Returns a run's TensorBoard folder: the one there is, or a new one's path.

    Args:
      workdir: the sweep's folder.
      run: its number.
      label: what is told of it, such as "unit=56 tv=400".
    """
    tb = workdir / "tb"
    number = f"{run:04d}"
    for found in (tb / f"run_{number}", tb / number, *sorted(tb.glob(f"{number} *"))):
        if found.is_dir():
            return found
    safe = re.sub(r"[^\w=.,+\-\[\] ]", "_", label).strip()
    return tb / f"{number} {safe}"[:LONGEST].strip(" .")


def event_files(folder: Path) -> list[Path]:
    """Returns our event files of a run in the order in which TensorBoard reads them."""
    return sorted(p for p in folder.glob(f"{PREFIX}.*") if OURS.fullmatch(p.name))


def final_files(folder: Path) -> list[Path]:
    """Returns those that `add_finals` wrote."""
    return [path for path in event_files(folder) if path.name.endswith(FINALS)]


class EventFile:
    """A new event file of a run, and where its clock is.

    TensorBoard reads the files of a folder in the order of their names, so a new one is
    named after the newest, whatever the clock says, and no event is dated before one
    that is there.
    """

    def __init__(self, folder: Path, purged: int, kind: str = "run"):
        """Starts the file; events of older files from step `purged` on are hidden.

        Final metrics that were added after the run's end go: it ends anew.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for path in final_files(folder):
            path.unlink()
        there = event_files(folder)
        at = max((_last_time(path) for path in there), default=0.0)
        newest = max((_number(path) for path in there), default=0)
        number = max(int(time.time()), newest + 1)
        name = f"{PREFIX}.{number:010d}.{socket.gethostname()}.{purged:09d}.{kind}"
        self.path = folder / name
        self._at, self._synced = at, False
        start = SessionLog(status=SessionLog.START)
        self.path.write_bytes(
            event_record(Event(wall_time=self._now(), file_version="brain.Event:2"))
            + event_record(Event(wall_time=self._now(), step=purged, session_log=start))
        )

    def _now(self) -> float:
        self._at = max(time.time(), self._at + TICK)
        return self._at

    def add(self, values: Sequence[Summary.Value], step: int) -> None:
        """Appends one event."""
        event = Event(wall_time=self._now(), step=step, summary=Summary(value=values))
        with self.path.open("ab") as file:
            file.write(event_record(event))

    def flush(self) -> None:
        """Makes what was added durable."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        if not self._synced:
            sync_folder(self.path.parent)
            self._synced = True


def event_record(event: Event) -> bytes:
    """Returns an event as a TFRecord: length, its CRC, payload, its CRC."""
    payload = event.SerializeToString()
    length = len(payload).to_bytes(8, "little")
    return length + _crc(length) + payload + _crc(payload)


def _crc(data: bytes) -> bytes:
    return masked_crc32c(data).to_bytes(4, "little")


def _number(path: Path) -> int:
    """Returns the number that a file's name begins with; seconds, as a rule."""
    found = re.match(rf"{re.escape(PREFIX)}\.(\d+)", path.name)
    return int(found[1]) if found else 0


def _records(path: Path) -> Iterator[bytes]:
    """Yields the payloads of a file, up to the first that is cut short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while True:
            head = file.read(12)
            length = int.from_bytes(head[:8], "little")
            if len(head) < 12 or file.tell() + length + 4 > size:
                return
            yield file.read(length)
            file.seek(4, os.SEEK_CUR)


def read_events(path: Path) -> list[Event]:
    """Returns the events of a file that can be read; checksums are not compared."""
    events = []
    for payload in _records(path):
        try:
            events.append(Event.FromString(payload))
        except DecodeError:
            break
    return events


def _last_time(path: Path) -> float:
    """Returns the time of a file's last event, 0 where none can be read."""
    payloads = deque(_records(path), maxlen=1)
    try:
        at = Event.FromString(payloads.pop() if payloads else b"").wall_time
    except DecodeError:
        return 0.0
    return at if 0 < at < 1e11 else 0.0  # else it is damaged


def digests(folder: Path) -> dict[str, str]:
    """Returns name -> SHA-256 of a run's event files."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in event_files(folder)
    }


def tag(name: str, *, final: bool = False) -> str:
    """Returns the TensorBoard tag of a number: `dream/score`, `penalty-final/tv`.

    The names are chosen for TensorBoard's order: Time Series puts "dream" before
    "dream-final", so the curves come first; the HParams table, which shows its first
    five metrics, sorts "-" before "/", so `dream-final-score/score` is its first.
    """
    group, _, rest = name.rpartition("/")
    if final and name in HEADLINE:
        return f"dream-final-score/{name}"
    return f"{group if group else 'dream'}{'-final' if final else ''}/{rest}"


def scalar_values(row: Mapping[str, float], *, final: bool) -> list[Summary.Value]:
    """Returns the numbers of a row as summary values."""
    return [
        Summary.Value(tag=tag(name, final=final), simple_value=value)
        for name, value in row.items()
    ]


def picture_value(picture: np.ndarray) -> Summary.Value:
    """Returns a picture, uint8 [H, W, 3], as the summary value "image"."""
    return encoded_picture(png_bytes(picture), picture.shape[0], picture.shape[1])


def encoded_picture(data: bytes, height: int = 0, width: int = 0) -> Summary.Value:
    """Returns an encoded picture as the summary value "image"."""
    image = Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=data
    )
    return Summary.Value(tag="image", image=image)


def _hparams_value(name: str, **data: Any) -> Summary.Value:
    content = HParamsPluginData(**data).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    return Summary.Value(
        tag=f"_hparams_/{name}", metadata=SummaryMetadata(plugin_data=plugin)
    )


def session_start(values: Mapping[str, Any]) -> Summary.Value:
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


def session_end(alive: bool) -> Summary.Value:
    """Returns the end of a run's HParams session: success, or failure if frozen."""
    end = SessionEndInfo(status=STATUS_SUCCESS if alive else STATUS_FAILURE)
    return _hparams_value("session_end_info", session_end_info=end)


def add_finals(
    workdir: Path, metrics: Mapping[int, Mapping[str, float]], step: int
) -> dict[str, str]:
    """Adds final metrics to the events of runs, by their numbers, after their end.

    Those that an earlier call added are replaced.

    Returns:
      Path in the workdir -> SHA-256 of each file.
    """
    written = {}
    for run, final in metrics.items():
        folder = run_folder(workdir, run)
        file = EventFile(folder, step + 1, FINALS)
        file.add(scalar_values(final, final=True), step)
        file.flush()
        name = file.path.relative_to(workdir).as_posix()
        written[name] = hashlib.sha256(file.path.read_bytes()).hexdigest()
    return written


def write_events(
    folder: Path,
    curves: Mapping[str, Sequence[float] | Mapping[int, float]],
    numbers: Mapping[str, float],
    pictures: Mapping[str, bytes],
) -> Path:
    """Writes the events of something finished, anew, as one TensorBoard run.

    Args:
      folder: of the run; earlier events in it are removed.
      curves: tag -> [n], the value at each step; or step -> value.
      numbers: tag -> the one value.
      pictures: tag -> an encoded picture.
    """
    earlier = event_files(folder)
    file = EventFile(folder, 0)
    for name, values in curves.items():
        steps = values if isinstance(values, Mapping) else dict(enumerate(values))
        for step, value in steps.items():
            file.add([Summary.Value(tag=name, simple_value=float(value))], step)
    for name, value in numbers.items():
        file.add([Summary.Value(tag=name, simple_value=value)], 0)
    for name, data in pictures.items():
        image = Summary.Image(colorspace=3, encoded_image_string=data)
        file.add([Summary.Value(tag=name, image=image)], 0)
    for old in earlier:
        old.unlink(missing_ok=True)
    return file.path


def is_whole_png(data: bytes) -> bool:
    """Tells whether the checksums of all chunks of a PNG hold."""
    at, kind = 8, b""
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        kind = data[at + 4 : at + 8]
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        at = end + 4
    return at == len(data) and kind == b"IEND"
