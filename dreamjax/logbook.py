"""The logbook: `metrics.jsonl` and TensorBoard events of every run.

`metrics.jsonl` has one line per run and logged step. While blocks are being made each
has a file of its own, `metrics/block_0000.jsonl`, so that several processes can write;
`merge_metrics` joins them. The same lines travel in the block's checkpoint and in its
result, with their count and digest, so that the log is as durable as the pictures: a
file that is damaged or gone is written again from there (`mend_logs`).

Each run has its own TensorBoard folder, `tb/0007 unit=56`, so that runs can be
overlaid, sorted by any hyperparameter and filtered by score:

    dream/score dream/loss dream/grad_norm dream/update_norm    at each logged step
    penalty/NAME                                                 weighted, likewise
    image                                                        at the chosen steps
    dream-final-score/score dream-final/NAME penalty-final/NAME  at the end
    an HParams session                                           from start to end

The SHA-256 of these files stand in `metrics/block_0000.events.json`; events that are
damaged or gone are made again from the lines and the result (`mend_events`).
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamjax import checkpoint
from dreamjax.events import (
    FINALS,
    EventFile,
    digests,
    encoded_picture,
    event_files,
    is_whole_png,
    picture_value,
    read_events,
    run_folder,
    scalar_values,
    session_end,
    session_start,
    write_events,
)
from dreamjax.files import write_text
from dreamjax.json_file import loads, read_bytes
from dreamjax.shards import Result, read_result, result_path
from dreamjax.types import DreamInfo

METRICS = "metrics.jsonl"
HEAD = ("block", "run", "step")


SHEET = "0 sheet"
"""TensorBoard's run of the whole sweep. Lists of runs begin with it."""

QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9, "max": 1.0}
ENABLED = 40  # runs; with more TensorBoard's Images and Scalars select none at first


def run_name(run: int) -> str:
    """Returns the name of a run's picture, `run_0007`."""
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


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a line, as `scalars` gave them."""
    other = (*HEAD, "alive")
    return {name: float(value) for name, value in row.items() if name not in other}


def metrics_path(workdir: Path, block: int) -> Path:
    """Returns the file of a block's logged numbers."""
    return workdir / "metrics" / f"block_{block:04d}.jsonl"


def _events_path(workdir: Path, block: int) -> Path:
    return workdir / "metrics" / f"block_{block:04d}.events.json"


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
    write_text(path, "".join(f"{found[i][0]}\n" for i in sorted(last.values())))
    return path


def mend_logs(workdir: Path, blocks: Iterable[int]) -> list[str]:
    """Writes the logs of finished blocks again where they are not what was logged.

    The lines stand in the block's result. Results of older versions hold none; where
    the file of such a block has fewer lines than `metrics.jsonl` has of it, it gets
    these.

    Args:
      workdir: the folder.
      blocks: numbers; those without a result are left alone.

    Returns:
      A line for each log that was written again.
    """
    said, merged = [], None
    for number in blocks:
        result, path = result_path(workdir, number), metrics_path(workdir, number)
        if not result.exists():
            continue
        expected = checkpoint.read_meta(result).get("log")
        have = _text(path)
        if expected is not None:
            if checkpoint.count_and_digest(have) == expected:
                continue
            text, source = checkpoint.read(result).log, f"results/{result.name}"
        else:
            merged = _by_block(workdir / METRICS) if merged is None else merged
            text, source = merged.get(number, ""), METRICS
            if len(_lines(path)) >= text.count("\n"):
                continue
        why = "is damaged" if path.exists() else "is missing"
        write_text(path, text)
        said.append(f"metrics/{path.name} {why}: written again from {source}.")
    return said


def _by_block(path: Path) -> dict[int, str]:
    """Returns number -> the lines of a block in `metrics.jsonl`."""
    found: dict[int, str] = {}
    for line, row in _lines(path):
        found[row["block"]] = found.get(row["block"], "") + line + "\n"
    return found


def rewind(
    workdir: Path, block: int, step: int, log: str | None = None
) -> tuple[str, str]:
    """Takes the log of a block back to a checkpoint.

    Args:
      workdir: the folder.
      block: its number.
      step: of the checkpoint; 0 starts anew.
      log: the lines that the checkpoint holds. None, of a checkpoint of an older
        version, keeps the file's lines up to the step; a last one that a kill cut short
        goes too.

    Returns:
      The lines that are left, and what there is to say: a line, or "".
    """
    path, said = metrics_path(workdir, block), ""
    have = _text(path)
    if log is None:
        kept = [line for line, row in _lines(path) if row["step"] <= step]
        log = "".join(f"{line}\n" for line in kept)
    elif not have.startswith(log):
        why = "is damaged" if path.exists() else "is missing"
        said = f"metrics/{path.name} {why}: written again from the checkpoint."
    if have != log:
        write_text(path, log)
    return log, said


def _text(path: Path) -> str:
    """Returns a log's text, "" where there is none; bytes that are no text differ."""
    if not path.exists():
        return ""
    return path.read_bytes().decode("utf-8", errors="replace")


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Returns the lines of a log and what they say, but for those cut short."""
    return _parsed(_text(path))


def _parsed(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for line in text.split("\n"):
        with contextlib.suppress(ValueError):
            row = loads(line)
            if isinstance(row, dict) and all(isinstance(row.get(n), int) for n in HEAD):
                found.append((line, row))
    return found


class Ended(NamedTuple):
    """How a run ended, as its result says.

    Attributes:
      run: its number.
      block: the number of the block that took it furthest.
      step: completed steps.
      label: what its folder is named after, beside the number.
      hparams: name -> value, as told.
      image_steps: those that have a picture.
    """

    run: int
    block: int
    step: int
    label: str
    hparams: Mapping[str, Any]
    image_steps: Sequence[int]


def mend_events(
    workdir: Path,
    ended: Sequence[Ended],
    shown: Callable[[np.ndarray], np.ndarray],
) -> list[str]:
    """Makes the events of runs again where they are not what was written.

    Curves come from the log, which must be whole (`mend_logs`), final numbers and the
    last picture from the result; other pictures are taken over where they can be read
    and are this run's. Blocks of older versions, which recorded no log, are left alone.

    Args:
      workdir: the folder.
      ended: the runs, all of them finished.
      shown: images of a run [B, H, W, C] -> its picture, uint8 [H, W, 3].

    Returns:
      What there is to say, a line for each block.
    """
    said = []
    for block in sorted({one.block for one in ended}):
        expected = _expected_events(workdir, block)
        members = [one for one in ended if one.block == block]
        wrong = [
            one
            for one in members
            if not _are_as(run_folder(workdir, one.run), expected.get(str(one.run)))
        ]
        if not wrong:
            continue
        result = read_result(result_path(workdir, block))
        if result.log is None:
            continue
        rows = [row for number in range(block + 1) for row in _rows(workdir, number)]
        lost = sum(_rebuild(workdir, one, rows, result, shown) for one in wrong)
        for one in wrong:
            kept = digests(run_folder(workdir, one.run))
            expected[str(one.run)] = {n: d for n, d in kept.items() if FINALS not in n}
        _write_expected(workdir, block, expected)
        runs = ", ".join(str(one.run) for one in wrong[:8])
        runs += f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        line = f"TensorBoard's events of runs {runs} were damaged or missing: made"
        line += " again from the log"
        said.append(line + (f"; {lost} pictures are lost." if lost else "."))
    return said


def _rows(workdir: Path, block: int) -> list[dict[str, Any]]:
    return [row for _, row in _lines(metrics_path(workdir, block))]


def _expected_events(workdir: Path, block: int) -> dict[str, dict[str, str]]:
    """Returns run -> file -> SHA-256 of what a finished block's runs must have."""
    try:
        read = loads(read_bytes(_events_path(workdir, block)))
        runs = read["runs"]
        if all(isinstance(files, dict) for files in runs.values()):
            return runs
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return {}


def _write_expected(
    workdir: Path, block: int, expected: Mapping[str, Mapping[str, str]]
) -> None:
    write_text(_events_path(workdir, block), json.dumps({"runs": expected}))


def _are_as(folder: Path, expected: Mapping[str, str] | None) -> bool:
    """Tells whether a folder has exactly these event files, but for finals."""
    found = {n: d for n, d in digests(folder).items() if not n.endswith(FINALS)}
    return expected is not None and found == expected


def _rebuild(
    workdir: Path,
    one: Ended,
    rows: Sequence[Mapping[str, Any]],
    result: Result,
    shown: Callable[[np.ndarray], np.ndarray],
) -> int:
    """Writes the events of a run anew; returns how many pictures are lost for it."""
    lane = result.meta["runs"].index(one.run)
    final = {name: float(values[lane]) for name, values in result.metrics.items()}
    folder = run_folder(workdir, one.run, one.label)
    curve = {row["step"]: row for row in rows if row["run"] == one.run}
    earlier = event_files(folder)
    pictures = _salvaged(earlier, curve, one.step)
    if one.step in one.image_steps:
        pictures.setdefault(one.step, picture_value(shown(result.images[lane])))
    file = EventFile(folder, 0)
    file.add([session_start(one.hparams)], 0)
    for step in sorted({*curve, *pictures}):
        if step in curve:
            file.add(scalar_values(numbers_of(curve[step]), final=False), step)
        if step in pictures:
            file.add([pictures[step]], step)
    file.add(scalar_values(final, final=True), one.step)
    file.add([session_end(bool(final["alive"]))], one.step)
    file.flush()
    for old in earlier:
        old.unlink(missing_ok=True)
    return sum(n <= one.step and n not in pictures for n in set(one.image_steps))


def _salvaged(
    paths: Sequence[Path], curve: Mapping[int, Mapping[str, Any]], last: int
) -> dict[int, Any]:
    """Returns step -> picture of a run's old event files, where it is whole.

    A file counts as the run's where all of its scores are those of the run's log.
    """
    found = {}
    for path in paths:
        values = [(e.step, v) for e in read_events(path) for v in e.summary.value]
        scores = [(s, v.simple_value) for s, v in values if v.tag == "dream/score"]
        own = {s: np.float32(numbers_of(r)["score"]) for s, r in curve.items()}
        if any(s not in own or not _same(own[s], value) for s, value in scores):
            continue
        for step, value in values:
            if value.tag != "image" or step > last:
                continue
            data, image = value.image.encoded_image_string, value.image
            if is_whole_png(data):
                found[step] = encoded_picture(data, image.height, image.width)
    return found


def _same(a: float, b: float) -> bool:
    return a == np.float32(b) or (np.isnan(a) and np.isnan(b))


def write_sheet_run(workdir: Path, sheet: bytes) -> None:
    """Writes TensorBoard's run of the whole sweep, anew.

    It has the sheet as a picture and, at each logged step, quantiles of the scores.

    Args:
      workdir: the folder, with `metrics.jsonl`.
      sheet: a picture, encoded.
    """
    if not os.access(workdir, os.W_OK):
        return  # a finished folder that may only be read has its sheet
    scores: dict[int, list[float]] = {}
    for _, row in _lines(workdir / METRICS):
        score = numbers_of(row)["score"]
        if np.isfinite(score):
            scores.setdefault(row["step"], []).append(score)
    curves = {
        f"all/score_{name}": {
            step: float(np.quantile(scores[step], part)) for step in sorted(scores)
        }
        for name, part in QUANTILES.items()
    }
    write_events(workdir / "tb" / SHEET, curves, {}, {"all/sheet": sheet})


def where_to_look(runs: int) -> list[str]:
    """Returns what to say of TensorBoard to someone with so many runs: a line, or none.

    Its Images and Scalars begin with no run selected where more than `ENABLED` match
    the filter.
    """
    if runs <= ENABLED:
        return []
    return [
        f"TensorBoard selects none of more than {ENABLED} runs by itself: begin at"
        " http://localhost:6006/?runFilter=sheet#images&regexInput=sheet"
    ]


class Logbook:
    """Writes the log of one block of runs; a context manager."""

    def __init__(
        self,
        workdir: Path,
        block: int,
        runs: Sequence[int],
        *,
        hparams: Sequence[Mapping[str, Any]] = (),
        labels: Mapping[int, str] | None = None,
        log: str | None = None,
        resumed_at: int = 0,
        tensorboard: bool = True,
    ):
        """Opens the logs, after `rewind`.

        A picture of the step that it goes on from is to be given again: the events of
        an earlier attempt are purged from that step on.

        Args:
          workdir: the sweep's folder.
          block: its number.
          runs: numbers of the runs in its lanes.
          hparams: name -> value of each run, for the HParams table.
          labels: run -> what its TensorBoard folder is named after, beside the number.
          log: the lines logged so far, as `rewind` gave them; None reads the file.
          resumed_at: steps done so far.
          tensorboard: write event files.
        """
        self._workdir, self._block, self._runs = workdir, block, list(runs)
        path, labels = metrics_path(workdir, block), labels or {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._text = [_text(path) if log is None else log]
        self._events = []
        if tensorboard:
            folders = [run_folder(workdir, r, labels.get(r, "")) for r in self._runs]
            self._events = [EventFile(folder, resumed_at) for folder in folders]
        for file, values in zip(self._events, hparams, strict=False):
            file.add([session_start(values)], 0)
        if tensorboard and resumed_at > 0:
            self._log_again(resumed_at)
        self._file = path.open("a", encoding="utf-8")

    def _log_again(self, step: int) -> None:
        """Writes the events of the step that is purged and not made again."""
        rows = [row for n in range(self._block) for row in _rows(self._workdir, n)]
        rows += [row for _, row in _parsed(self._text[0])]
        at = {row["run"]: row for row in rows if row["step"] == step}
        for file, run in zip(self._events, self._runs, strict=True):
            if run in at:
                file.add(scalar_values(numbers_of(at[run]), final=False), step)

    def __enter__(self) -> "Logbook":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def text(self) -> str:
        """All lines of the block so far, for its checkpoint and its result."""
        self._text = ["".join(self._text)]
        return self._text[0]

    def log(self, step: int, info: DreamInfo, alive: np.ndarray) -> None:
        """Writes one line and one event per run.

        Args:
          step: completed steps.
          info: arrays [R, ...].
          alive: [R] bool.
        """
        lines = []
        for lane, run in enumerate(self._runs):
            row = scalars(info, lane)
            head = {"block": self._block, "run": run, "step": step}
            line = jsonable({**head, **row, "alive": bool(alive[lane])})
            lines.append(json.dumps(line, allow_nan=False) + "\n")
            if self._events:
                self._events[lane].add(scalar_values(row, final=False), step)
        self._text += lines
        self._file.write("".join(lines))
        self._file.flush()

    def pictures(self, step: int, pictures: Sequence[np.ndarray]) -> None:
        """Writes one uint8 picture [H, W, 3] per run."""
        for file, picture in zip(self._events, pictures, strict=False):
            file.add([picture_value(picture)], step)

    def finish(self, metrics: Sequence[Mapping[str, float]], step: int) -> None:
        """Writes the final metrics and ends the HParams session of each run.

        What was logged is durable then, and its events can be told from others.

        Args:
          metrics: name -> value of each run; "alive" decides between the session's
            states success and failure.
          step: completed steps.
        """
        for file, final in zip(self._events, metrics, strict=False):
            file.add(scalar_values(final, final=True), step)
            file.add([session_end(bool(final["alive"]))], step)
        self.flush()
        if self._events:
            found = {
                str(run): {
                    name: digest
                    for name, digest in digests(file.path.parent).items()
                    if not name.endswith(FINALS)
                }
                for run, file in zip(self._runs, self._events, strict=True)
            }
            _write_expected(self._workdir, self._block, found)

    def flush(self) -> None:
        """Makes what was logged so far durable."""
        self._file.flush()
        os.fsync(self._file.fileno())
        for file in self._events:
            file.flush()
