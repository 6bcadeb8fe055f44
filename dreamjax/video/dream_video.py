"""A dream of every frame of a clip, each going on from the one before.

`dream_video(clip, dream_frame, workdir, settings)` writes into `workdir`:

    config.json         the clip and the settings
    env.json            what it was made on
    frames/000000.png … the dreams
    metrics.csv         a row per frame (see `COLUMNS`)
    state.npz           the last dream in full precision: what the next one needs
    out.mp4 or out.gif  the clip, with the source's sound and rate; out.….sha256

Killed at any moment and started again it goes on after the last whole frame, and ends
with the same bytes in every frame.
"""

import csv
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from dreamjax import checkpoint
from dreamjax.environment import UNKNOWN, environments, write_environment
from dreamjax.errors import choose, require
from dreamjax.files import write_bytes, write_text
from dreamjax.identity import Identity, content_digest
from dreamjax.images import load_image, png_bytes, to_uint8
from dreamjax.interrupt import Interrupted, stop_requests
from dreamjax.paths import given_path
from dreamjax.progress import Compiling
from dreamjax.terminal import tell
from dreamjax.video.carry import (
    carry,
    check_blends,
    motion,
    moved_dream,
    standing,
)
from dreamjax.video.clip import Clip
from dreamjax.video.cuts import is_cut
from dreamjax.video.flow import (
    METHODS,
    SMALLEST,
    consistency,
    optical_flow,
    pair_error,
    warp,
)
from dreamjax.video.writing import OUTPUTS, write_clip
from dreamjax.workdir import claim, locked

DreamFrame = Callable[[np.ndarray, int, bool], Any]
"""(image [H, W, 3] float32 in [0, 1], number of the dream: 0, 1, …, fresh) -> its
dream, the same shape and range.

`fresh` says that nothing was carried into the image: the first frame, one after a cut,
any frame where both blends are 0. Where something was, a quarter of the iterations
keeps the strength of the dream (measured in docs/video.md).

The same arguments must give the same bits, or a resumed clip differs from one that was
not interrupted.
"""

COLUMNS = (
    "frame",  # number of the dream
    "source",  # number of its frame in the clip
    "cut",  # 1: another scene begins here, nothing was carried
    "finite",  # 0: the dream was not finite; its start was kept instead
    "consistent",  # share of the picture where the two flows agree
    "moving",  # share of the picture that counts as moving
    "speed",  # mean length of the flow, pixels
    "change",  # 255 mean |dream - frame|: how strong the dream is
    "temporal_error",  # of the dreams, see `flow.pair_error`
    "temporal_error_plain",  # of the same frames dreamed without carry, if given
    "temporal_error_input",  # of the frames themselves: what the flow leaves
)


@dataclass(frozen=True)
class VideoSettings:
    """How a clip is dreamed. No defaults: see configs and `HALLUCINATION_MACHINE`.

    Attributes:
      blend_moving: share of the last dream's detail that moves along, 0 … 1.
      blend_static: share of the last dream where nothing moves, 0 … 1. Both 0: every
        frame is dreamed for itself.
      moving: what counts as motion, pixels per frame.
      settle: share of the last dream that stays as it is where the picture stands,
        0 … 1. At 1 a standing picture's dream stands too; at 0 it is dreamed anew in
        every frame, and flickers. See `carry.standing`.
      flow: "dis" or "farneback".
      wrap: the left and right edges are neighbors (an equirectangular panorama).
      start: first frame of the clip.
      stop: end, exclusive; None is the clip's.
      every: take each n-th frame; the rate of the output falls with it.
      dream: what `dream_frame` does, in words of JSON; so that other dreams are not
        mixed into a workdir.
      output: "mp4" or "gif"; may be changed later, on the same frames.
      quality: of an mp4, see `write_clip`; may be changed likewise.
    """

    blend_moving: float
    blend_static: float
    moving: float
    settle: float
    flow: str
    wrap: bool
    start: int
    stop: int | None
    every: int
    dream: Mapping[str, Any] = field(hash=False)
    output: str
    quality: int


HALLUCINATION_MACHINE = VideoSettings(
    blend_moving=0.9,
    blend_static=0.1,
    moving=1.0,
    settle=0.0,
    flow="dis",
    wrap=False,
    start=0,
    stop=None,
    every=1,
    dream={},
    output="mp4",
    quality=18,
)
"""The blends of Suzuki et al. 2017, with a better flow (theirs is "farneback")."""

STEADY = replace(HALLUCINATION_MACHINE, blend_static=0.8, settle=1.0)
"""The same where things move; where they stand, the dream stands (docs/video.md)."""

RIPE = 8
"""Carried dreams after which a part of the picture is dreamed in full, and may settle;
after half of them it begins to. A carried frame has about a quarter of the iterations
of a fresh one, and some of its detail is lost on the way to the next."""


class VideoResult(NamedTuple):
    """A dreamed clip.

    Attributes:
      rows: one per frame, column -> number, NaN where there is none.
      files: what was written, name -> path.
      dreamed: how many frames this call dreamed.
    """

    rows: list[dict[str, float]]
    files: dict[str, Path]
    dreamed: int


class _Pair(NamedTuple):
    """How one frame follows from another."""

    backward: np.ndarray  # [H, W, 2]
    mask: np.ndarray  # [H, W], 0 everywhere after a cut
    cut: bool
    consistent: float


class _Last(NamedTuple):
    """What the next frame needs of the one before."""

    frame: np.ndarray
    dream: np.ndarray
    ripe: np.ndarray  # [H, W] in 0 … 1: how far it is dreamed in full
    plain: np.ndarray | None


def dream_video(
    clip: Clip,
    dream_frame: DreamFrame,
    workdir: str | Path,
    settings: VideoSettings,
    report: Callable[[str], None] = tell,
    *,
    plain: Clip | None = None,
    identity: Identity | None = None,
) -> VideoResult:
    """Dreams a clip, or goes on with it.

    Args:
      clip: see `open_clip`.
      dream_frame: see `DreamFrame`. To let layers take turns, let it look at the
        number.
      workdir: folder; made if missing. It may hold an unfinished run of the same clip
        and settings.
      settings: see `VideoSettings`.
      report: takes each line of what is said.
      plain: the same frames dreamed without carry, to compare with: for example
        `open_clip(other / "frames")` of a run with both blends 0.
      identity: which networks, pictures and code `dream_frame` is of; its config is
        not looked at. None leaves that to `settings.dream`.

    Raises:
      ValueError: settings without a meaning; a workdir in use, or of another clip or
        settings; a dream of another shape; a damaged clip.
      Interrupted: Ctrl-C or SIGTERM, after the frame in flight.
    """
    workdir = given_path("workdir", workdir)
    numbers = _check(clip, settings, plain)
    with locked(workdir):
        claimed = Identity({}) if identity is None else identity
        claimed = claimed._replace(config=_claimed(clip, settings, plain))
        claim(workdir, claimed, report=report)
        done = _done(workdir, clip, settings)
        _mend(workdir, numbers, report)
        if done == len(numbers) and _is_whole(_out(workdir, settings)):
            report(f"{workdir} is finished: nothing to dream.")
        else:
            if done < len(numbers):
                report(_plan(clip, settings, numbers, done))
                _dream(clip, dream_frame, workdir, settings, plain, done, report)
            _assemble(clip, workdir, settings, len(numbers))
        rows = _read_rows(workdir)
        report(summary(rows))
        files = {
            "video": _out(workdir, settings),
            "frames": workdir / "frames",
            "metrics": workdir / "metrics.csv",
        }
        for name, path in files.items():
            report(f"{name:9} {path}")
    return VideoResult(rows, files, len(numbers) - done)


def summary(rows: list[dict[str, float]]) -> str:
    """Returns a line with the means of what the rows say about coherence in time."""
    shown = []
    for name in ("temporal_error", "temporal_error_plain", "temporal_error_input"):
        values = [row[name] for row in rows if np.isfinite(row[name])]
        if values:
            shown.append(f"{name} {np.mean(values):.2f}")
    cuts = int(sum(row["cut"] for row in rows))
    bad = int(sum(1 - row["finite"] for row in rows))
    return f"{len(rows)} frames, {cuts} cuts" + "".join(
        f", {text}" for text in shown + ([f"{bad} not finite"] if bad else [])
    )


def _check(clip: Clip, settings: VideoSettings, plain: Clip | None) -> range:
    """Returns the numbers of the clip's frames to dream."""
    check_blends(settings.blend_moving, settings.blend_static, settings.moving)
    require(0 <= settings.settle <= 1, "settle", settings.settle, "a share, 0 … 1")
    allowed = f"a clip's sides must have at least {SMALLEST} pixels"
    require(min(clip.size) >= SMALLEST, "clip.size", clip.size, allowed)
    choose("flow", settings.flow, METHODS)
    choose("output", settings.output, OUTPUTS)
    require(settings.every >= 1, "every", settings.every, "give at least 1")
    last = clip.count - 1
    require(0 <= settings.start <= last, "start", settings.start, f"give 0 … {last}")
    stop = clip.count if settings.stop is None else settings.stop
    allowed = f"give {settings.start + 1} … {clip.count}, or None"
    require(settings.start < stop <= clip.count, "stop", settings.stop, allowed)
    numbers = range(settings.start, stop, settings.every)
    if plain is not None:
        allowed = f"the same frames are {len(numbers)} of {clip.size}"
        same = plain.count == len(numbers) and plain.size == clip.size
        require(same, "plain", f"{plain.count} of {plain.size}", allowed)
    return numbers


def _claimed(clip: Clip, settings: VideoSettings, plain: Clip | None) -> dict[str, Any]:
    """Returns what decides the bytes of the frames and of the metrics."""
    kept = {name: value for name, value in vars(settings).items()}
    del kept["output"], kept["quality"]
    if settings.settle == 0:  # as before there was such a setting
        del kept["settle"]
    described = {
        "name": clip.path.name,
        "sha256": content_digest(clip.path),
        "size": list(clip.size),
        "fps": str(clip.fps),
        "frames": clip.count,
    }
    other = None if plain is None else content_digest(plain.path)
    return {**kept, "clip": described, "plain": other}


def _plan(clip: Clip, settings: VideoSettings, numbers: range, done: int) -> str:
    height, width = clip.size
    return (
        f"{clip.path.name}: {len(numbers)} frames of {width} × {height} at"
        f" {float(clip.fps / settings.every):.5g} per second"
        + (", with sound" if clip.has_audio and settings.output == "mp4" else "")
        + (f"; {clip.held} repeat the frame before" if clip.held else "")
        + (f"; {clip.dropped} frames come too fast, left out" if clip.dropped else "")
        + (f"; {done} done before" if done else "")
    )


# The loop.


def _dream(
    clip: Clip,
    dream_frame: DreamFrame,
    workdir: Path,
    settings: VideoSettings,
    plain: Clip | None,
    done: int,
    report: Callable[[str], None],
) -> None:
    _rewind(workdir, done)
    made_on = environments(_made_on(workdir) if done else ())
    write_environment(workdir, made_on)
    total = len(range(settings.start, _stop(clip, settings), settings.every))
    frames = _numbered(clip, settings, plain, max(done - 1, 0))
    last = None
    if done:
        _, frame, shown = next(frames)
        dream, ripe, _ = _load_state(workdir, clip, settings)
        last = _Last(frame, dream, ripe, shown)
    with (
        stop_requests() as stop,
        tqdm(total=total, initial=done, unit="frame", file=sys.stderr) as bar,
        Compiling(report, "compiling, and the first frame") as compiling,
    ):
        for number, frame, shown in frames:
            pair = None if last is None else _compare(last.frame, frame, settings)
            start = frame if last is None else _start(frame, last, pair, settings)
            fresh = pair is None or pair.cut or _independent(settings)
            stays, ripe = _settled(frame, None if fresh else last, pair, settings)
            if stays.max() > 0:  # there the next dream begins with all of the last one
                start = _kept(start, frame, last, pair, stays, settings)
            if stays.min() < 1:
                dreamed = dream_frame(start, number, fresh)
                compiling.end(bar)
                dream, finite = _checked(dreamed, start, number)
            else:  # nothing of it would be seen
                dream, finite = start, True
            if not finite:
                report(f"frame {number}: the dream is not finite; its start is kept.")
            elif stays.max() > 0:
                dream = _kept(dream, frame, last, pair, stays, settings)
            now = _Last(frame, dream, ripe, shown)
            row = {"frame": number, "finite": int(finite)}
            row["source"] = settings.start + number * settings.every
            row |= _measure(now, last, pair, settings)
            _keep(workdir, now, row, settings, made_on)
            last = now
            bar.update()
            bar.set_postfix(error=f"{row['temporal_error']:.2f}")
            if stop and number + 1 < total:
                raise Interrupted(
                    f"stopped after frame {number + 1} of {total}. The same command"
                    " goes on from there."
                )


def _independent(settings: VideoSettings) -> bool:
    return settings.blend_moving == 0 and settings.blend_static == 0


def _stop(clip: Clip, settings: VideoSettings) -> int:
    return clip.count if settings.stop is None else settings.stop


def _numbered(
    clip: Clip, settings: VideoSettings, plain: Clip | None, first: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Yields (number of the dream, its frame, its plain dream) from `first` on."""
    start = settings.start + first * settings.every
    frames = clip.frames(start, _stop(clip, settings), settings.every)
    others = None if plain is None else plain.frames(first)
    for number, frame in enumerate(frames, start=first):
        yield number, frame, None if others is None else next(others)


def _compare(before: np.ndarray, after: np.ndarray, settings: VideoSettings) -> _Pair:
    how = {"method": settings.flow, "wrap": settings.wrap}
    forward = optical_flow(before, after, **how)
    backward = optical_flow(after, before, **how)
    mask = consistency(forward, backward, wrap=settings.wrap)
    cut = is_cut(before, after, mask)
    consistent = float(np.mean(mask))
    return _Pair(backward, np.zeros_like(mask) if cut else mask, cut, consistent)


def _start(
    frame: np.ndarray, last: _Last, pair: _Pair, settings: VideoSettings
) -> np.ndarray:
    return carry(
        frame,
        last.frame,
        last.dream,
        pair.backward,
        pair.mask,
        blend_moving=settings.blend_moving,
        blend_static=settings.blend_static,
        moving=settings.moving,
        wrap=settings.wrap,
    )


def _settled(
    frame: np.ndarray,
    last: _Last | None,
    pair: _Pair | None,
    settings: VideoSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the share [H, W] of the last dream that stays, and how ripe this one is.

    A fresh dream (`last` is None) is ripe. What appears in a carried frame ripens with
    the dreams that it gets.
    """
    shape = frame.shape[:2]
    if last is None or pair is None:
        return np.zeros(shape, np.float32), np.ones(shape, np.float32)
    ripe = warp(last.ripe[..., None], pair.backward, wrap=settings.wrap)[..., 0]
    ripe = np.clip(pair.mask * ripe, 0, 1)
    stands = standing(
        frame,
        last.frame,
        pair.backward,
        pair.mask,
        moving=settings.moving,
        wrap=settings.wrap,
    )
    stays = (settings.settle * stands * np.clip(2 * ripe - 1, 0, 1)).astype(np.float32)
    return stays, np.minimum(1, ripe + np.float32(1 / RIPE)).astype(np.float32)


def _kept(
    dream: np.ndarray,
    frame: np.ndarray,
    last: _Last,
    pair: _Pair,
    stays: np.ndarray,
    settings: VideoSettings,
) -> np.ndarray:
    """Returns the dream of a frame, with the last one where that stays."""
    old = moved_dream(frame, last.frame, last.dream, pair.backward, wrap=settings.wrap)
    return (dream + stays[..., None] * (old - dream)).astype(np.float32)


def _checked(dream: Any, start: np.ndarray, number: int) -> tuple[np.ndarray, bool]:
    """Returns the dream as float32 in [0, 1], or its start where it is not finite.

    A NaN that is carried would never leave the clip.
    """
    dream = np.asarray(jax.device_get(dream), np.float32)
    same = dream.shape == start.shape
    require(same, f"dream_frame({number}).shape", dream.shape, f"give {start.shape}")
    if not np.all(np.isfinite(dream)):
        return start, False
    return np.clip(dream, 0, 1), True


def _measure(
    now: _Last, last: _Last | None, pair: _Pair | None, settings: VideoSettings
) -> dict[str, float]:
    nan = float("nan")
    change = 255 * float(np.mean(np.abs(now.dream - now.frame)))
    if last is None or pair is None:
        empty = dict.fromkeys(COLUMNS[4:], nan)
        return {"cut": 0, **empty, "change": change}

    def error(before: np.ndarray | None, after: np.ndarray | None) -> float:
        if before is None or after is None:
            return nan
        # As written, with 8 bits: plain dreams come from such files.
        shown = [to_uint8(image) / np.float32(255) for image in (before, after)]
        return pair_error(*shown, pair.backward, pair.mask, wrap=settings.wrap)

    moves = motion(pair.backward, settings.moving, wrap=settings.wrap)
    return {
        "cut": int(pair.cut),
        "consistent": pair.consistent,
        "moving": float(np.mean(moves)),
        "speed": float(np.mean(np.linalg.norm(pair.backward, axis=-1))),
        "change": change,
        "temporal_error": error(last.dream, now.dream),
        "temporal_error_plain": error(last.plain, now.plain),
        "temporal_error_input": error(last.frame, now.frame),
    }


# What is kept.


def _picture(workdir: Path, number: int) -> Path:
    return workdir / "frames" / f"{number:06d}.png"


def _out(workdir: Path, settings: VideoSettings) -> Path:
    return workdir / f"out.{settings.output}"


def _keep(
    workdir: Path,
    now: _Last,
    row: Mapping[str, float],
    settings: VideoSettings,
    made_on: Sequence[Mapping[str, Any]],
) -> None:
    """Makes a frame durable: the state comes last, and says that the rest is there."""
    number = int(row["frame"])
    write_bytes(_picture(workdir, number), png_bytes(now.dream))
    path = workdir / "metrics.csv"
    with path.open("a", encoding="utf-8", newline="") as file:
        values = [_text(row[name]) for name in COLUMNS]
        csv.writer(file, lineterminator="\n").writerow(values)
        file.flush()
        os.fsync(file.fileno())
    marks = _kept_marks(workdir)
    if len(marks) == checkpoint.MARK * number:  # else begun by an older version
        marks += checkpoint.mark(_picture(workdir, number))
    meta = {"done": number + 1, "frames": marks, "environments": made_on}
    log = path.read_bytes().decode("utf-8")
    checkpoint.save(workdir / "state.npz", _state(now, settings), meta, log)


def _state(now: _Last, settings: VideoSettings) -> dict[str, np.ndarray]:
    """Returns what is kept of a dream for the next one."""
    kept = {"dream": now.dream}
    return {**kept, "ripe": now.ripe} if settings.settle > 0 else kept


def _kept_marks(workdir: Path) -> str:
    """Returns the marks of all frames that are whole, one after the other."""
    path = workdir / "state.npz"
    return checkpoint.read_meta(path).get("frames", "") if path.exists() else ""


def _mend(workdir: Path, numbers: Sequence[int], report: Callable[[str], None]) -> None:
    """Writes metrics.csv again where it is not what the state says.

    Raises:
      ValueError: a frame is gone or another one.
    """
    state, path = workdir / "state.npz", workdir / "metrics.csv"
    if not state.exists():
        return
    kept = checkpoint.read(state)
    pictures = [_picture(workdir, number) for number in range(len(numbers))]
    checkpoint.check_marks(
        pictures,
        kept.meta.get("frames", ""),
        f"Put it back, or delete {state} to dream the clip anew.",
    )
    if kept.log is None:  # of an older version
        return
    have = path.read_bytes() if path.exists() else b""
    if not have.startswith(kept.log.encode("utf-8")):
        report(f"{path.name} is damaged or missing: written again from {state.name}.")
        write_text(path, kept.log)


def _is_whole(video: Path) -> bool:
    """Tells whether the finished clip is as it was written."""
    if not video.exists():
        return False
    written = _digest_path(video)
    line = written.read_bytes() if written.exists() else b""
    return not line or line == _digest_line(video).encode("utf-8")


def _digest_path(video: Path) -> Path:
    return video.with_name(f"{video.name}.sha256")


def _digest_line(video: Path) -> str:
    """Returns the line that `sha256sum --check` reads."""
    return f"{content_digest(video)}  {video.name}\n"


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _load_state(
    workdir: Path, clip: Clip, settings: VideoSettings
) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns the last dream, how ripe it is, and how many dreams are whole."""
    empty = np.zeros((*clip.size, 3), np.float32)
    blank = _Last(empty, empty, np.ones(clip.size, np.float32), None)
    like = _state(blank, settings)
    tree, meta = checkpoint.load(workdir / "state.npz", like)
    return tree["dream"], tree.get("ripe", blank.ripe), int(meta["done"])


def _done(workdir: Path, clip: Clip, settings: VideoSettings) -> int:
    """Returns how many dreams are whole."""
    if not (workdir / "state.npz").exists():
        return 0
    return _load_state(workdir, clip, settings)[2]


def _made_on(workdir: Path) -> list[dict[str, Any]]:
    """Returns what the dreams that are whole were made on."""
    return checkpoint.read_meta(workdir / "state.npz").get("environments", [UNKNOWN])


def _rewind(workdir: Path, done: int) -> None:
    """Cuts metrics.csv back to the dreams that are whole."""
    path = workdir / "metrics.csv"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = text.splitlines()[1 : 1 + done]
    write_text(path, "\n".join([",".join(COLUMNS), *lines]) + "\n")


def _read_rows(workdir: Path) -> list[dict[str, float]]:
    text = (workdir / "metrics.csv").read_text(encoding="utf-8")
    return [
        {name: float(value) for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    ]


def _assemble(clip: Clip, workdir: Path, settings: VideoSettings, total: int) -> None:
    write_clip(
        _out(workdir, settings),
        (load_image(_picture(workdir, number)) for number in range(total)),
        clip.fps / settings.every,
        audio_from=clip,
        audio_start=settings.start / clip.fps,
        quality=settings.quality,
    )
    video = _out(workdir, settings)
    write_text(_digest_path(video), _digest_line(video))
