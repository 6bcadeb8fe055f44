"""Clips in: video files, animated pictures and folders of pictures, all one `Clip`.

PyAV is an extra; GIF, WebP, APNG and folders do without it.
"""

import contextlib
import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dreamjax.errors import require
from dreamjax.images import BACKGROUND, MAX_PIXELS, load_image, picture_size
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
    """

    path: Path
    size: tuple[int, int]
    fps: Fraction
    count: int
    has_audio: bool
    begins: Fraction
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

    * **Video** (mp4, mov, webm, mkv, avi): the first video stream. Its rate is the
      container's average rate, or the measured one where the two differ by over 1 %.
      Frames that come at varying times are put in the nearest place of that rate: a
      place with none repeats the frame before it, of two in one place the later stays.
      So sound and picture keep together. HDR is not tone mapped; other pixels than 8
      bits are rounded to 8.
    * **GIF, WebP, APNG**: each frame has its own duration. The rate is that of the
      usual ones (the mean of those within 10 ms of the median), and a frame that is
      held longer is repeated. Durations up to 10 ms mean 100 ms, as in browsers.
      Transparent parts lie over gray 0.5.
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
    return Clip(
        clip.path, clip.size, rate, clip.count, False, clip.begins, clip._decode
    )


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


# Video files.


class _Times(NamedTuple):
    """When the frames of a stream are shown."""

    fps: Fraction
    count: int
    begins: Fraction
    stamped: bool  # False: packets have no times, and frames are counted instead


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
    return Clip(path, size, times.fps, times.count, has_audio, times.begins, decode)


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
    nominal = stream.average_rate or stream.guessed_rate
    if any(packet.pts is None for packet in shown):
        require(bool(nominal), "path", str(path), "its frame rate is not known")
        return _Times(Fraction(nominal), len(shown), Fraction(0), stamped=False)
    shown.sort(key=lambda packet: packet.pts)
    unit = Fraction(stream.time_base)
    first, last = shown[0].pts * unit, shown[-1].pts * unit
    fps = _rate(nominal, len(shown), last - first)
    end = last + (shown[-1].duration or 0) * unit
    count = max(round((last - first) * fps) + 1, round((end - first) * fps))
    return _Times(fps, count, first, stamped=True)


def _rate(nominal: Fraction | None, frames: int, seconds: Fraction) -> Fraction:
    """Returns the container's rate if the frames' times bear it out."""
    if frames < 2 or seconds <= 0:
        return Fraction(nominal or FOLDER_FPS)
    measured = (frames - 1) / seconds
    if nominal and abs(nominal / measured - 1) < 0.01:
        return Fraction(nominal)
    return measured.limit_denominator(1001)


def _decode_video(path: Path, times: _Times) -> _Timed:
    with demuxer(path) as container:
        stream = _video_stream(path, container)
        stream.thread_type = "AUTO"
        unit = Fraction(stream.time_base)
        for number, frame in enumerate(container.decode(stream)):
            place = number
            if times.stamped and frame.pts is not None:
                place = round((frame.pts * unit - times.begins) * times.fps)
            yield place, lambda frame=frame: _pixels(frame)


def _pixels(frame: Any) -> np.ndarray:
    """Returns a decoded frame as float32 [H, W, 3], upright."""
    colorspace = pyav().video.reformatter.Colorspace
    given = {int(c): c for c in colorspace}.get(int(frame.colorspace))
    if given is None:  # untagged: what players take it for
        given = colorspace.ITU709 if frame.height >= 720 else colorspace.ITU601
    rgb = frame.reformat(format="rgb24", src_colorspace=given).to_ndarray()
    upright = np.rot90(rgb, round(frame.rotation / 90))  # both counterclockwise
    return np.ascontiguousarray(upright, np.float32) / np.float32(255)


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
    usual = statistics.median(held)
    near = [milliseconds for milliseconds in held if abs(milliseconds - usual) <= 10]
    fps = (1000 / Fraction(sum(near) / len(near))).limit_denominator(1001)
    starts = list(itertools.accumulate(held, initial=0.0))
    places = [round(Fraction(start) / 1000 * fps) for start in starts]
    count = max(places[-1], places[-2] + 1)

    def decode() -> _Timed:
        for place, picture in zip(places, _pictures(path), strict=False):
            yield place, lambda picture=picture: _over_gray(picture)

    return Clip(path, sizes.pop(), fps, count, False, Fraction(0), decode)


def _pictures(path: Path) -> Iterator[Image.Image]:
    """Yields the frames of an animation, decoded; a PNG's stand-in is no frame."""
    try:
        with Image.open(path, formats=("GIF", "WEBP", "PNG", *_STILL)) as file:
            if file.width * file.height > MAX_PIXELS:
                raise _bad(path, f"it has {file.width} x {file.height} pixels")
            frames = getattr(file, "n_frames", 1)
            for number in range(frames):
                file.seek(number)
                file.load()
                if number == 0 and frames > 1 and file.info.get("default_image"):
                    continue
                picture = file.convert("RGBA")
                picture.info = dict(file.info)
                yield picture
    except (OSError, SyntaxError, EOFError, IndexError, KeyError, TypeError) as error:
        raise _bad(path, str(error) or type(error).__name__) from error
    except Image.DecompressionBombError as error:
        raise _bad(path, str(error)) from error


_STILL = ("JPEG", "BMP", "TIFF")  # opened to be refused as still


def _over_gray(picture: Image.Image) -> np.ndarray:
    rgba = np.asarray(picture, np.float32) / np.float32(255)
    alpha = rgba[:, :, 3:]
    return rgba[:, :, :3] * alpha + np.float32(BACKGROUND) * (1 - alpha)


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

    return Clip(path, size, FOLDER_FPS, len(files), False, Fraction(0), decode)


def _header_size(file: Path) -> tuple[int, int]:
    """Returns (height, width) without decoding."""
    try:
        return picture_size(file)
    except ValueError as error:
        raise _bad(file.parent, f"{file.name} is no picture ({error})") from error
