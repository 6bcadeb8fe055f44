"""Clips in: video files, animated pictures and folders of pictures, all one `Clip`.

PyAV is an extra; GIF, WebP, APNG and folders do without it.
"""

import contextlib
import itertools
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dreamjax.errors import require
from dreamjax.images import (
    MAX_PIXELS,
    ORIENTATIONS,
    UNREADABLE,
    check_pixels,
    check_samples,
    load_image,
    over_gray,
    own_limits,
    picture_size,
    rgb_of,
    upright,
)
from dreamjax.inputs import CLIPS, SUFFIXES, natural_key
from dreamjax.paths import given_path

FOLDER_FPS = Fraction(25)
"""The rate of a folder of pictures where the caller names none."""

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"  # FFmpeg's names
_CONTAINERS += ",mpegts,mpeg,asf,flv,live_flv,ogg"
_ACCEPTED = (
    f"video ({', '.join(CLIPS)}), an animated GIF, WebP or PNG, or a folder of numbered"
    " pictures"
)
_SECONDS = 30.0  # a read that takes longer is given up

_Shot = Callable[[], np.ndarray]
_Timed = Iterator[tuple[int, _Shot]]  # (the place in constant time, the picture)


@dataclass(frozen=True)
class Clip:
    """Pictures at a constant rate, read when they are asked for.

    Attributes:
      path: the file or folder.
      size: (height, width) as seen: a phone's rotation is applied. Pixels are taken to
        be square.
      fps: frames per second.
      count: how many frames there are at that rate.
      has_audio: the file has sound.
      begins: seconds on the file's own clock at which the first frame is shown; its
        sound runs on that clock.
      held: how many of `count` repeat the frame before, which the file holds longer.
      dropped: how many frames of the file are not among them, as they come too soon
        after one another for the rate.
    """

    path: Path
    size: tuple[int, int]
    fps: Fraction
    count: int
    has_audio: bool
    begins: Fraction
    held: int
    dropped: int
    _decode: Callable[[], _Timed] = field(repr=False, compare=False)

    @property
    def duration(self) -> Fraction:
        """Seconds, count / fps."""
        return self.count / self.fps

    def frames(
        self, start: int = 0, stop: int | None = None, every: int = 1
    ) -> Iterator[np.ndarray]:
        """Yields frames start, start + every, … below stop.

        Every frame before `start` is decoded too, and dropped.

        Returns:
          An iterator over float32 [H, W, 3] in [0, 1].

        Raises:
          ValueError: while reading, where the file is damaged or its size changes.
        """
        stop = self.count if stop is None else min(stop, self.count)
        with contextlib.closing(self._decode()) as decoded:
            chosen = itertools.islice(_held(decoded, self.count), start, stop, every)
            for shot in chosen:
                image = shot()
                if image.shape[:2] != self.size:
                    raise _bad(
                        self.path,
                        f"its picture changes from {self.size} to {image.shape[:2]}",
                    )
                yield image


def open_clip(path: str | Path, *, fps: Fraction | float | None = None) -> Clip:
    """Opens a video, an animation or a folder as frames at a constant rate.

    * **Video** (mp4, mov, webm, mkv, avi, ts, mpg, wmv, flv, …): the first stream, as
      seen: turned and mirrored as its display matrix says, to the nearest quarter.
      HDR is not tone mapped; other pixels than 8 bits are rounded to 8.
    * **GIF, WebP, APNG**: each frame has its own duration. Durations up to 10 ms mean
      100 ms, as in browsers.
    * **Both**: the rate is that of the usual interval between frames, the median and
      those near it; the container's own rate, where that is within 1 %. A frame that is
      held longer is repeated, so sound and picture keep together. Frames that come
      faster go to a free place less than one interval away; where there is none they
      are left out and counted (`Clip.dropped`). Where that would be over 5 % of all,
      the rate is that of the shorter intervals. Transparent parts lie over gray 0.5.
    * **Folder**: its pictures ordered by the numbers in their names, at `FOLDER_FPS`.

    Args:
      path: file or folder.
      fps: another rate, which plays the same frames faster or slower; sound would no
        longer fit, so it counts as absent.

    Raises:
      ValueError: naming the path and what is wrong with it: missing, empty, damaged,
        cut short, no video, a still picture, over `MAX_PIXELS`; or PyAV is missing.
    """
    path = given_path("path", path)
    if fps is not None:
        require(0 < fps < float("inf"), "fps", fps, "give frames per second")
    if not path.exists():
        raise ValueError(f"path={str(path)!r} does not exist: give {_ACCEPTED}.")
    if path.is_dir():
        clip = _open_folder(path)
    elif not path.is_file():
        raise _bad(path, "it is no regular file")
    elif path.stat().st_size == 0:
        raise _bad(path, "it is empty")
    elif _is_picture(path):
        clip = _open_animation(path)
    else:
        clip = _open_video(path)
    if fps is None:
        return clip
    rate = Fraction(fps).limit_denominator(100_000)
    return replace(clip, fps=rate, has_audio=False)


def _bad(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"path={str(path)!r} cannot be read as a clip: {reason}. Accepted: {_ACCEPTED}."
    )


def _held(decoded: _Timed, count: int) -> Iterator[_Shot]:
    """Yields `count` pictures: at each place the last one that came up to it."""
    current, place = None, 0
    for at, shot in decoded:
        while current is not None and place < min(at, count):
            yield current
            place += 1
        current = shot
        if place >= count:
            return
    while current is not None and place < count:
        yield current
        place += 1


# Times.


class _Places(NamedTuple):
    """Where frames go at a constant rate.

    Attributes:
      fps: the rate.
      places: of each frame; None: it is left out.
      count: of places.
    """

    fps: Fraction
    places: tuple[int | None, ...]
    count: int

    @property
    def dropped(self) -> int:
        return self.places.count(None)

    @property
    def held(self) -> int:
        return self.count - (len(self.places) - self.dropped)


def _placed(times: Sequence[Fraction], end: Fraction, fps: Fraction) -> _Places:
    """Returns the places of frames at a rate: the nearest, or the free one beside it.

    Args:
      times: of the frames in seconds, in order, from 0.
      end: when the last one is over.
      fps: the rate.
    """
    exact = [time * fps for time in times]
    places: list[int | None] = []
    taken = -1
    for i, at in enumerate(exact):
        following = exact[i + 1] if i + 1 < len(exact) else None
        place: int | None = round(at)
        if following is not None and following - at < SAME:
            place = None
        elif place <= taken:
            place = math.ceil(at) if math.ceil(at) > taken else None
        elif following is not None and round(following) == place:
            place = max(math.floor(at), taken + 1)  # and the next one comes here
        places.append(place)
        taken = taken if place is None else place
    return _Places(fps, tuple(places), max(taken + 1, round(end * fps)))


def _schedule(
    times: Sequence[Fraction],
    end: Fraction,
    near: Fraction,
    named: Sequence[Fraction],
) -> _Places:
    """Returns the places of frames at the rate that suits them.

    Args:
      times, end: as in `_placed`.
      near: intervals this many seconds from the median count as usual too.
      named: rates that the file names, the first first.
    """
    gaps = sorted(b - a for a, b in itertools.pairwise(times) if b > a)
    if not gaps:
        plausible = [rate for rate in named if rate <= FASTEST]
        return _placed(times, end, plausible[0] if plausible else FOLDER_FPS)
    whole = (len(times) - 1) / (times[-1] - times[0])
    for part in QUANTILES:
        middle = gaps[int(part * (len(gaps) - 1))]
        width = max(near, middle / 10)
        usual = [gap for gap in gaps if abs(gap - middle) <= width]
        mean = sum(usual) / len(usual)
        own = (1 / mean).limit_denominator(1001)
        rates = [rate for rate in (*named, whole) if abs(rate * mean - 1) < 0.01]
        rates = [rate.limit_denominator(100_000) for rate in rates] + [own]
        if part != QUANTILES[0] and own > FASTEST:
            break
        found = [_placed(times, end, rate) for rate in rates]
        best = min(found, key=lambda one: one.dropped + one.held)
        if best.dropped <= LOST * len(times):
            break
    return best


SAME = Fraction(1, 10)
"""Frames nearer than this share of an interval are of one moment: the later stays."""
LOST = 0.05
"""The share of frames that may be left out before a higher rate is tried."""
QUANTILES = (0.5, 0.25, 0.1)
"""Of the intervals between frames: which may be the usual one, the first first."""
FASTEST = 240
"""Frames per second that are not taken for the usual rate where they are few."""


# Video files.


class _Times(NamedTuple):
    """When the frames of a stream are shown.

    Attributes:
      schedule: of the frames in the order of their times.
      begins: of the first, seconds on the file's clock.
      stamps: its times in the stream's unit; None: packets have no times, and frames
        are counted instead.
    """

    schedule: _Places
    begins: Fraction
    stamps: tuple[int, ...] | None


def pyav() -> ModuleType:
    """Returns PyAV, or says how to get it."""
    try:
        import av
    except ImportError as error:
        raise ValueError(
            "Video files need PyAV: pip install -r requirements-video.txt"
        ) from error
    return av


@contextlib.contextmanager
def demuxer(path: Path) -> Iterator[Any]:
    """Opens a container, of the known kinds only and never the network.

    FFmpeg also reads playlists that name other files, and text as pictures.

    Raises:
      ValueError: whatever FFmpeg finds wrong, also while the container is in use.
    """
    av = pyav()
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(str(path), options=options, timeout=_SECONDS) as container:
            yield container
    except (av.FFmpegError, UnicodeDecodeError) as error:
        raise _bad(path, getattr(error, "strerror", None) or str(error)) from error


def _open_video(path: Path) -> Clip:
    with demuxer(path) as container:
        stream = _video_stream(path, container)
        height, width = stream.codec_context.height, stream.codec_context.width
        if height * width > MAX_PIXELS:
            raise _bad(path, f"its frames have {width} x {height} pixels")
        times = _times(path, container, stream)
        has_audio = bool(container.streams.audio)

    def decode() -> _Timed:
        return _decode_video(path, times)

    with contextlib.closing(decode()) as decoded:
        first = next(decoded, None)
        if first is None:
            raise _bad(path, "none of its frames can be decoded")
        size = first[1]().shape[:2]
    plan = times.schedule
    return Clip(
        path=path,
        size=size,
        fps=plan.fps,
        count=plan.count,
        has_audio=has_audio,
        begins=times.begins,
        held=plan.held,
        dropped=plan.dropped,
        _decode=decode,
    )


def _video_stream(path: Path, container: Any) -> Any:
    cover = pyav().stream.Disposition.attached_pic  # a song's cover is a video stream
    for stream in container.streams.video:
        if not stream.disposition & cover:
            return stream
    raise _bad(path, "it holds no video")


def _times(path: Path, container: Any, stream: Any) -> _Times:
    """Reads all packets, decoding none."""
    packets = [packet for packet in container.demux(stream) if packet.size > 0]
    if stream.frames > len(packets) and "mp4" in container.format.name:
        raise _bad(
            path, f"it is cut short: {len(packets)} of {stream.frames} frames are there"
        )
    shown = [packet for packet in packets if not packet.is_discard]
    if not shown:
        raise _bad(path, "it holds no frames")
    named = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    named = [Fraction(rate) for rate in named if rate]
    if any(packet.pts is None for packet in shown):
        require(bool(named), "path", str(path), "its frame rate is not known")
        count = len(shown)
        return _Times(_Places(named[0], tuple(range(count)), count), Fraction(0), None)
    shown.sort(key=lambda packet: packet.pts)
    unit = Fraction(stream.time_base)
    stamps = tuple(packet.pts for packet in shown)
    times = [(stamp - stamps[0]) * unit for stamp in stamps]
    end = times[-1] + (shown[-1].duration or 0) * unit
    return _Times(_schedule(times, end, unit, named), stamps[0] * unit, stamps)


def _decode_video(path: Path, times: _Times) -> _Timed:
    """Yields the frames that have a place, in the order of their times."""
    waiting = defaultdict(deque)  # time -> places of the frames of that time
    for stamp, place in zip(times.stamps or (), times.schedule.places, strict=False):
        waiting[stamp].append(place)
    with demuxer(path) as container:
        stream = _video_stream(path, container)
        stream.thread_type = "AUTO"
        unit = Fraction(stream.time_base)
        for number, frame in enumerate(_frames(path, container, stream)):
            place = number
            if times.stamps is not None and frame.pts is not None:
                if waiting[frame.pts]:
                    place = waiting[frame.pts].popleft()
                else:  # its packet was to be discarded, or had another time
                    seconds = frame.pts * unit - times.begins
                    place = round(seconds * times.schedule.fps)
            if place is not None:
                yield place, lambda frame=frame: _pixels(frame)


def _frames(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Yields the decoded frames of a stream.

    FFmpeg's own decoder of VP8 and VP9 passes over their transparency, libvpx does not.
    """
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        yield from container.decode(stream)
        return
    av = pyav()
    try:
        decoder = av.CodecContext.create(name, "r")
    except av.codec.codec.UnknownCodecError as error:
        reason = f"it is transparent, and this PyAV has no {name} to decode that"
        raise _bad(path, reason) from error
    for packet in container.demux(stream):
        yield from decoder.decode(packet)


ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def _pixels(frame: Any) -> np.ndarray:
    """Returns a decoded frame as float32 [H, W, 3], upright, over gray 0.5."""
    colorspace = pyav().video.reformatter.Colorspace
    given = {int(c): c for c in colorspace}.get(int(frame.colorspace))
    if given is None:  # untagged: what players take it for
        given = colorspace.ITU709 if frame.height >= 720 else colorspace.ITU601
    kind = frame.format
    clear = kind.has_palette or any(part.is_alpha for part in kind.components)
    wanted = "rgba" if clear else "rgb24"
    stored = frame.reformat(format=wanted, src_colorspace=given).to_ndarray()
    pixels = np.ascontiguousarray(upright(stored, _orientation(frame)))
    if clear:
        return over_gray(pixels)
    return np.asarray(pixels, np.float32) / np.float32(255)


def _orientation(frame: Any) -> int:
    """Returns EXIF's number for a frame's display matrix.

    The matrix is of ISO 14496-12: a pixel (x, y) is shown at (a x + c y, b x + d y).
    """
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32).tolist()
            break
    else:
        return 1
    swapped = abs(b) + abs(c) > abs(a) + abs(d)
    columns, rows = (c < 0, b < 0) if swapped else (a < 0, d < 0)
    flips = (swapped, rows, columns)
    return next(number for number, how in ORIENTATIONS.items() if how == flips)


# Animated pictures.


def _is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    webp = head[:4] == b"RIFF" and head[8:] == b"WEBP"
    known = (b"GIF8", b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
    return webp or head.startswith(known)


def _open_animation(path: Path) -> Clip:
    sizes, held = set(), []
    for picture in _pictures(path):
        sizes.add(picture.size[::-1])
        milliseconds = float(picture.info.get("duration", 0))
        held.append(milliseconds if milliseconds > 10 else 100.0)
    if len(held) < 2:
        raise _bad(path, "it is a still picture")
    starts = [Fraction(x) / 1000 for x in itertools.accumulate(held, initial=0.0)]
    plan = _schedule(starts[:-1], starts[-1], Fraction(10, 1000), ())

    def decode() -> _Timed:
        for place, picture in zip(plan.places, _pictures(path), strict=False):
            if place is not None:
                image = rgb_of(picture)  # now: it is another frame by and by
                yield place, lambda image=image: image

    return Clip(
        path=path,
        size=sizes.pop(),
        fps=plan.fps,
        count=plan.count,
        has_audio=False,
        begins=Fraction(0),
        held=plan.held,
        dropped=plan.dropped,
        _decode=decode,
    )


def _pictures(path: Path) -> Iterator[Image.Image]:
    """Yields the frames of an animation, decoded; a PNG's stand-in is no frame.

    They are one object, which shows another frame each time.
    """
    try:
        kinds = ("GIF", "WEBP", "PNG", *_STILL)
        with own_limits(), Image.open(path, formats=kinds) as file:
            check_pixels(file)
            check_samples(file)
            frames = getattr(file, "n_frames", 1)
            for number in range(frames):
                file.seek(number)
                file.load()
                if number == 0 and frames > 1 and file.info.get("default_image"):
                    continue
                yield file
    except UNREADABLE as error:
        raise _bad(path, str(error) or type(error).__name__) from error


_STILL = ("JPEG", "BMP", "TIFF")  # opened to be refused as still


# Folders.


def _open_folder(path: Path) -> Clip:
    files = sorted(
        (
            file
            for file in path.iterdir()
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        ),
        key=natural_key,
    )
    if not files:
        clips = sum(file.suffix.lower() in CLIPS for file in path.iterdir())
        also = f", but {clips} video files: give one of them" if clips else ""
        raise _bad(path, f"the folder holds no pictures{also}")
    size = _header_size(files[0])
    for file in files:
        found = _header_size(file)
        if found != size:
            reason = f"{file.name} has the size {found}, {files[0].name} has {size}"
            raise _bad(path, reason)

    def decode() -> _Timed:
        for place, file in enumerate(files):
            yield place, lambda file=file: load_image(file)

    return Clip(
        path=path,
        size=size,
        fps=FOLDER_FPS,
        count=len(files),
        has_audio=False,
        begins=Fraction(0),
        held=0,
        dropped=0,
        _decode=decode,
    )


def _header_size(file: Path) -> tuple[int, int]:
    """Returns (height, width) without decoding."""
    try:
        return picture_size(file)
    except ValueError as error:
        raise _bad(file.parent, f"{file.name} is no picture ({error})") from error
