"""Clips out: frames -> mp4 with the sound of the source, or GIF. Whole or absent."""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreamjax.errors import choose, require
from dreamjax.files import atomic_path
from dreamjax.images import to_uint8
from dreamjax.video.clip import Clip, demuxer, pyav

OUTPUTS = ("mp4", "gif")

COPIED = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")
"""Codecs of sound that an mp4 takes as they are; others become AAC."""

_SHORTEST = 2  # hundredths of a second: browsers show a shorter GIF frame for ten


def write_clip(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: Fraction | float,
    *,
    audio_from: Clip | None = None,
    audio_start: Fraction | float = 0,
    quality: int = 18,
) -> Path:
    """Writes frames as `.mp4` or `.gif`, under a temporary name until it is whole.

    * **mp4**: H.264, yuv420p, BT.709, index in front. An odd height or width grows by
      one pixel, the last row or column again, since yuv420p halves both. The sound is
      copied packet by packet where mp4 holds its codec (`COPIED`), else encoded to
      AAC; it ends with the pictures.
    * **gif**: 256 colors for each frame, dithered, endless. A GIF counts hundredths of
      a second: durations alternate so that the whole takes the right time, and above
      50 frames per second some are left out.

    Args:
      path: ends in .mp4 or .gif.
      frames: [H, W, 3] each, float in [0, 1] or uint8, all of one size; at least one.
      fps: frames per second.
      audio_from: whose sound; None, or one without sound, gives silence.
      audio_start: seconds after the first frame of `audio_from` that the frames begin.
      quality: x264's CRF, 0 (lossless in yuv420p) … 51; a GIF has no such thing.

    Returns:
      The path.

    Raises:
      ValueError: another suffix, no frames, frames of several sizes, a bad rate.
    """
    path = Path(path)
    choose("suffix of path", path.suffix.lower().removeprefix("."), OUTPUTS)
    require(0 < fps <= 1000, "fps", fps, "give frames per second, up to 1000")
    require(0 <= quality <= 51, "quality", quality, "give 0 … 51")
    fps = Fraction(fps).limit_denominator(100_000)
    pictures = _checked(frames)
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".gif":
            _write_gif(temporary, pictures, fps)
        else:
            heard = audio_from if audio_from and audio_from.has_audio else None
            _write_mp4(temporary, pictures, fps, heard, Fraction(audio_start), quality)
    return path


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields uint8 [H, W, 3], all of one shape, at least one."""
    shape = None
    for number, frame in enumerate(frames):
        frame = np.asarray(frame)
        shaped = frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0
        require(shaped, f"frames[{number}].shape", frame.shape, "give [H, W, 3]")
        shape = frame.shape if shape is None else shape
        same = frame.shape == shape
        require(same, f"frames[{number}].shape", frame.shape, f"all must be {shape}")
        yield frame if frame.dtype == np.uint8 else to_uint8(frame)
    require(shape is not None, "frames", "()", "give at least one")


# GIF.


def _write_gif(path: Path, pictures: Iterator[np.ndarray], fps: Fraction) -> None:
    shown = _gif_frames(pictures, fps)
    first = next(shown)
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=shown,
        loop=0,
        disposal=1,
        optimize=False,
    )


def _gif_frames(pictures: Iterator[np.ndarray], fps: Fraction) -> Iterator[Image.Image]:
    """Yields palette pictures with info["duration"], milliseconds."""
    held, began, end = None, 0, 0
    for number, pixels in enumerate(pictures):
        end = round(100 * (number + 1) / fps)
        at = round(100 * number / fps)
        if held is not None and at - began < _SHORTEST:
            continue
        if held is not None:
            yield _gif_frame(held, at - began)
        held, began = pixels, at
    if held is not None:
        yield _gif_frame(held, max(end - began, _SHORTEST))


def _gif_frame(pixels: np.ndarray, hundredths: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    palette = picture.quantize(256, method=Image.Quantize.MEDIANCUT)
    dithered = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    dithered.info["duration"] = 10 * hundredths
    return dithered


# mp4.


def _write_mp4(
    path: Path,
    pictures: Iterator[np.ndarray],
    fps: Fraction,
    heard: Clip | None,
    audio_start: Fraction,
    quality: int,
) -> None:
    av = pyav()
    first = next(pictures)
    height, width = (n + n % 2 for n in first.shape[:2])
    options = {"movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = 1 / fps
        stream.options = {"crf": str(quality), "preset": "medium"}
        _tag(stream.codec_context)
        sound = iter(()) if heard is None else _sound(container, heard, audio_start)
        waiting = next(sound, None)  # this adds its stream, before anything is written
        for number, pixels in enumerate(itertools.chain([first], pictures)):
            frame = _yuv(av, pixels)
            frame.pts, frame.time_base = number, 1 / fps
            container.mux(stream.encode(frame))
            while waiting is not None and waiting[0] < (number + 1) / fps:
                container.mux(waiting[1])
                waiting = next(sound, None)
        container.mux(stream.encode())


def _tag(context: Any) -> None:
    """Says BT.709, limited range: an untagged file looks different in each player."""
    context.color_primaries = context.color_trc = context.colorspace = 1
    context.color_range = 1


def _yuv(av: Any, pixels: np.ndarray) -> Any:
    """Returns an even-sized yuv420p frame of uint8 [H, W, 3]."""
    odd = [(0, n % 2) for n in pixels.shape[:2]]
    padded = np.ascontiguousarray(np.pad(pixels, [*odd, (0, 0)], mode="edge"))
    kinds = av.video.reformatter
    frame = av.VideoFrame.from_ndarray(padded, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=kinds.Colorspace.ITU709
    )
    frame.colorspace, frame.color_range = 1, 1
    return frame


def _sound(
    container: Any, clip: Clip, start: Fraction
) -> Iterator[tuple[Fraction, Any]]:
    """Adds a stream of sound, then yields (its time in the output, packet)."""
    with demuxer(clip.path) as source:
        stream = source.streams.audio[0]
        zero = clip.begins + start  # on the source's clock
        if stream.codec_context.codec.canonical_name in COPIED:
            packets = _copied(container, source, stream, zero)
        else:
            packets = _encoded(container, source, stream, zero)
        for packet in packets:
            yield packet.pts * Fraction(packet.time_base), packet


def _copied(container: Any, source: Any, stream: Any, zero: Fraction) -> Iterator[Any]:
    """Yields the packets as they are, from the last one that ends before `zero` on.

    A decoder needs that one to begin cleanly; its time is negative, which tells players
    not to sound it.
    """
    target = container.add_stream_from_template(stream)
    late = round(zero / Fraction(stream.time_base))
    for packet in source.demux(stream):
        if packet.pts is None or packet.size == 0:
            continue
        at = packet.pts - late
        if at + 2 * (packet.duration or 0) > 0:
            packet.pts = packet.dts = at
            packet.stream = target
            yield packet


def _encoded(container: Any, source: Any, stream: Any, zero: Fraction) -> Iterator[Any]:
    """Yields the sound as AAC, mono or stereo, at its own rate up to 48 kHz."""
    rate = min(stream.codec_context.sample_rate, 48_000)
    layout = "mono" if stream.codec_context.layout.nb_channels == 1 else "stereo"
    target = container.add_stream("aac", rate=rate, layout=layout)
    for frame in source.decode(stream):
        unit = Fraction(frame.time_base)
        at = frame.pts * unit - zero
        if at + Fraction(frame.samples, frame.sample_rate) > 0:
            frame.pts = max(round(at / unit), 0)
            yield from target.encode(frame)
    yield from target.encode()
