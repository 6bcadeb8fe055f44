"""Clips in and out: kinds, rates, rotation, sound, and files that are none."""

import itertools
import struct
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamjax.images import load_image, png_bytes
from dreamjax.video.clip import FOLDER_FPS, _schedule, open_clip
from dreamjax.video.dream_video import HALLUCINATION_MACHINE, dream_video
from dreamjax.video.synthetic import moving_photo
from dreamjax.video.writing import write_clip

ASSETS = Path(__file__).parent.parent / "dreamjax" / "assets"
SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "images" / "video"
INPUTS = SHARED.parent.parent / "inputs"


@pytest.fixture(scope="module")
def frames():
    photo = load_image(ASSETS / "coffee.png")
    return moving_photo(photo, 12, (64, 96), pan=(0, 3)).frames


@pytest.fixture(scope="module")
def av():
    return pytest.importorskip("av", reason="PyAV is not installed")


@pytest.fixture(scope="module")
def mp4(av, frames, tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", frames, 24, quality=4)


def levels(image):
    """Returns a gray level, 0 … 255, told by the middle of the picture."""
    height, width = image.shape[:2]
    return 255 * image[height // 3 : -height // 3, width // 3 : -width // 3].mean()


def flat(level, size=(32, 48)):
    return np.full((*size, 3), level / 255, np.float32)


def difference(found, expected):
    return 255 * np.mean(np.abs(np.asarray(found) - np.asarray(expected)))


def make(
    av,
    path,
    images,
    times,
    *,
    codec="libx264",
    unit=Fraction(1, 1000),
    rate=25,
    audio=None,
    seconds=1.0,
):
    """Writes pictures at the given times (in units), and a growing tone of 440 Hz."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", unit
        stream.codec_context.time_base = unit
        track = None if audio is None else container.add_stream(audio, rate=48_000)
        if track is not None:
            track.layout = "mono"
        for image, time in zip(images, times, strict=True):
            pixels = np.rint(255 * image).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track is not None:
            time = np.arange(round(48_000 * seconds)) / 48_000
            tone = (4000 + 4000 * time / seconds) * np.sin(2 * np.pi * 440 * time)
            whole = tone.astype(np.int16)
            for start in range(0, len(whole), 960):
                piece = whole[None, start : start + 960]
                frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
                frame.sample_rate, frame.pts = 48_000, start
                frame.time_base = Fraction(1, 48_000)
                container.mux(track.encode(frame))
            container.mux(track.encode())
    return path


def hear(av, path):
    """Returns the sound as float, and when it begins."""
    with av.open(str(path)) as container:
        pieces = list(container.decode(audio=0))
    samples = [piece.to_ndarray().astype(np.float64).mean(axis=0) for piece in pieces]
    scale = 1.0 if pieces[0].format.name.startswith("flt") else 1 / 32768
    return scale * np.concatenate(samples), float(pieces[0].time)


def sound_packets(av, path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        name = stream.codec_context.codec.canonical_name
        return name, [bytes(p) for p in container.demux(stream) if p.size]


# mp4 there and back.


def test_mp4_comes_back(mp4, frames):
    clip = open_clip(mp4)
    assert (clip.size, clip.fps, clip.count) == ((64, 96), 24, 12)
    assert clip.duration == Fraction(1, 2) and not clip.has_audio
    found = list(clip.frames())
    assert len(found) == 12
    assert all(f.dtype == np.float32 and f.shape == (64, 96, 3) for f in found)
    assert difference(found, frames) < 4


def test_colors_come_back(av, tmp_path):
    """A wrong matrix (BT.601 for BT.709) would turn these by up to 25 levels."""
    colors = [(220, 30, 40), (30, 200, 60), (40, 60, 220), (128, 128, 128), (0, 0, 0)]
    images = [np.full((32, 32, 3), np.float32(c) / 255, np.float32) for c in colors]
    clip = open_clip(write_clip(tmp_path / "a.mp4", images, 10, quality=1))
    for found, color in zip(clip.frames(), colors, strict=True):
        assert np.abs(255 * found - np.float32(color)).max() < 4


def test_index_is_in_front_and_players_know_the_format(av, mp4):
    data = mp4.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(mp4)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)


def test_odd_sizes_grow_by_a_pixel(av, tmp_path):
    image = np.zeros((33, 47, 3), np.float32)
    image[:, -1:] = image[-1:] = 1
    clip = open_clip(write_clip(tmp_path / "a.mp4", [image] * 3, 10, quality=0))
    assert clip.size == (34, 48)
    last = list(clip.frames())[-1]
    assert last[-2:].min() > 0.9 and last[:, -2:].min() > 0.9
    assert last[:-3, :-3].max() < 0.1


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(25), 12.5])
def test_rates_are_kept_exactly(av, tmp_path, fps):
    path = write_clip(tmp_path / "a.mp4", [flat(50)] * 31, fps)
    clip = open_clip(path)
    assert clip.fps == Fraction(fps) and clip.count == 31


def test_a_range_of_frames(mp4):
    clip = open_clip(mp4)
    whole = list(clip.frames())
    for start, stop, every in [(0, None, 1), (3, 9, 2), (11, 99, 1), (5, 5, 1)]:
        part = list(clip.frames(start, stop, every))
        for a, b in itertools.zip_longest(part, whole[start:stop:every]):
            np.testing.assert_array_equal(a, b)


def test_another_rate_on_request(mp4):
    clip = open_clip(mp4, fps=12)
    assert (clip.fps, clip.count, clip.duration) == (12, 12, 1)
    with pytest.raises(ValueError, match="fps=0"):
        open_clip(mp4, fps=0)


# Containers, times, rotation.


@pytest.mark.parametrize(
    ("name", "codec", "audio"),
    [
        ("a.webm", "libvpx-vp9", "libopus"),
        ("a.mkv", "libx264", "pcm_s16le"),
        ("a.mov", "libx264", "pcm_s16le"),
        ("a.avi", "mpeg4", "pcm_s16le"),
        ("a.avi", "libx264", None),
    ],
)
def test_containers(av, tmp_path, frames, name, codec, audio):
    unit = Fraction(1, 24) if name == "a.avi" else Fraction(1, 24000)
    times = range(12) if name == "a.avi" else range(0, 12_000, 1000)
    path = tmp_path / name
    make(
        av,
        path,
        frames,
        times,
        codec=codec,
        unit=unit,
        rate=24,
        audio=audio,
        seconds=0.5,
    )
    clip = open_clip(path)
    assert (clip.size, clip.fps, clip.count) == ((64, 96), 24, 12)
    assert clip.has_audio == (audio is not None)
    assert difference(list(clip.frames()), frames) < 8


def test_varying_times_go_to_the_nearest_place(av, tmp_path):
    """A second at 10 per second on average: one picture is late, one is missing."""
    times = [0, 100, 230, 300, 400, 600, 700, 800, 900]
    levels_in = [20, 40, 60, 80, 100, 140, 160, 180, 200]
    path = tmp_path / "a.mkv"
    make(av, path, [flat(v) for v in levels_in], times, rate=10)
    clip = open_clip(path)
    assert (clip.fps, clip.count) == (10, 10) or clip.fps == Fraction(80, 9)
    found = [levels(frame) for frame in open_clip(path).frames()]
    if clip.fps == 10:
        expected = [20, 40, 60, 80, 100, 100, 140, 160, 180, 200]
    else:  # the measured rate: 8 intervals in .9 s
        expected = levels_in
    np.testing.assert_allclose(found, expected, atol=3)


def test_jittered_times_of_a_constant_rate_lose_nothing(av, tmp_path):
    times = [round(1000 * k / 30) for k in range(30)]  # webm counts milliseconds
    images = [flat(20 + 7 * k) for k in range(30)]
    path = make(av, tmp_path / "a.mkv", images, times, rate=30)
    clip = open_clip(path)
    assert (clip.fps, clip.count) == (30, 30)
    found = [levels(frame) for frame in clip.frames()]
    np.testing.assert_allclose(found, 20 + 7 * np.arange(30), atol=3)


# Sound.


def test_sound_is_copied_packet_by_packet(av, tmp_path, frames):
    source = tmp_path / "a.mp4"
    times = range(0, 12_000, 1000)
    unit = Fraction(1, 24_000)
    make(av, source, frames, times, unit=unit, rate=24, audio="aac", seconds=0.5)
    clip = open_clip(source)
    out = write_clip(tmp_path / "b.mp4", clip.frames(), clip.fps, audio_from=clip)
    assert sound_packets(av, out) == sound_packets(av, source)
    assert open_clip(out).duration == clip.duration
    before, after = hear(av, source), hear(av, out)
    assert after[1] == pytest.approx(before[1], abs=1e-3)
    np.testing.assert_allclose(after[0], before[0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "audio", "kept"),
    [("a.webm", "libopus", "opus"), ("a.mkv", "pcm_s16le", "aac")],
)
def test_sound_that_mp4_does_not_hold_is_encoded(av, tmp_path, name, audio, kept):
    video = "libvpx-vp9" if name == "a.webm" else "libx264"
    images, times = [flat(90)] * 25, range(0, 1000, 40)
    source = make(av, tmp_path / name, images, times, codec=video, audio=audio)
    clip = open_clip(source)
    out = write_clip(tmp_path / "b.mp4", clip.frames(), clip.fps, audio_from=clip)
    assert sound_packets(av, out)[0] == kept
    samples, begins = hear(av, out)
    assert abs(len(samples) / 48_000 - 1) < 0.05 and abs(begins) < 0.03
    middle = samples[12_000:36_000]
    tone = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(tone) * 48_000 / len(middle) == pytest.approx(440, abs=3)
    assert np.abs(middle).max() == pytest.approx(7000 / 32768, rel=0.1)


def test_sound_of_a_range_begins_and_ends_with_it(av, tmp_path):
    images, times = [flat(90)] * 50, range(0, 2000, 40)
    source = tmp_path / "a.mkv"
    make(av, source, images, times, audio="aac", seconds=2)
    clip = open_clip(source)
    part = list(clip.frames(10, 35))
    out = tmp_path / "b.mp4"
    write_clip(out, part, clip.fps, audio_from=clip, audio_start=Fraction(10, 25))
    samples, begins = hear(av, out)
    assert begins + len(samples) / 48_000 == pytest.approx(1, abs=0.05)
    assert abs(begins) < 0.025
    whole, _ = hear(av, source)
    late = round((0.4 + begins) * 48_000)
    np.testing.assert_allclose(samples, whole[late : late + len(samples)], atol=1e-3)


def test_sources_without_sound_give_silence(av, mp4, tmp_path):
    clip = open_clip(mp4)
    out = write_clip(tmp_path / "b.mp4", clip.frames(), clip.fps, audio_from=clip)
    assert not open_clip(out).has_audio


# GIF, WebP, APNG, folders.


@pytest.mark.parametrize("fps", [10, 30, Fraction(24000, 1001), 50])
def test_gif_takes_the_right_time(tmp_path, frames, fps):
    path = write_clip(tmp_path / "a.gif", frames, fps)
    with Image.open(path) as file:
        assert file.n_frames == 12 and file.info["loop"] == 0
    clip = open_clip(path)
    assert clip.count == 12 and clip.size == (64, 96)
    assert float(clip.duration) == pytest.approx(12 / float(fps), abs=0.02)
    assert difference(list(clip.frames()), frames) < 8


def test_gif_over_50_frames_per_second_leaves_some_out(tmp_path):
    images = [flat(4 * k) for k in range(60)]
    path = write_clip(tmp_path / "a.gif", images, 60)
    with Image.open(path) as file:
        held = []
        for number in range(file.n_frames):
            file.seek(number)
            held.append(file.info["duration"])
    assert min(held) >= 20 and sum(held) == 1000


def save(path, images, durations, **options):
    pictures = [Image.fromarray(np.uint8(255 * image + 0.5)) for image in images]
    first, *rest = pictures
    options = {"save_all": True, "append_images": rest, "duration": durations} | options
    first.save(path, **options)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_durations_become_a_constant_rate(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    lossless = {"lossless": True} if suffix == "webp" else {}
    save(path, [flat(v) for v in (0, 90, 170, 250)], [100, 100, 300, 100], **lossless)
    clip = open_clip(path)
    assert (clip.fps, clip.count, clip.duration) == (10, 6, Fraction(6, 10))
    found = [levels(frame) for frame in clip.frames()]
    np.testing.assert_allclose(found, [0, 90, 170, 170, 170, 250], atol=1)


def test_a_last_frame_that_is_held_does_not_slow_the_others(tmp_path):
    save(tmp_path / "a.gif", [flat(v) for v in range(0, 200, 20)], [50] * 9 + [1000])
    clip = open_clip(tmp_path / "a.gif")
    assert (clip.fps, clip.count) == (20, 29)


def test_durations_of_nothing_are_those_of_browsers(tmp_path):
    save(tmp_path / "a.gif", [flat(v) for v in (0, 90, 170)], [0, 10, 0])
    assert open_clip(tmp_path / "a.gif").fps == 10


def test_png_stand_in_is_no_frame(tmp_path):
    path = tmp_path / "a.png"
    images = [flat(v) for v in (10, 90, 170)]
    save(path, images, 100, default_image=True)
    clip = open_clip(path)
    found = [levels(frame) for frame in clip.frames()]
    np.testing.assert_allclose(found, [90, 170], atol=1)


def test_transparent_parts_lie_over_gray(tmp_path):
    pixels = np.zeros((2, 20, 20, 4), np.uint8)
    pixels[:, 5:, :, :] = 255
    pixels[1, :, 5:, :] = (255, 0, 0, 255)
    pictures = [Image.fromarray(p) for p in pixels]
    path = tmp_path / "a.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], lossless=True)
    first, second = open_clip(path).frames()
    assert first[0, 0].tolist() == [0.5, 0.5, 0.5] and first[9, 9].tolist() == [1, 1, 1]
    assert second[0, 9].tolist() == [1, 0, 0]


def test_folder_in_the_order_of_its_numbers(tmp_path):
    for number in (1, 2, 10, 9):
        (tmp_path / f"frame{number}.png").write_bytes(png_bytes(flat(20 * number)))
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / ".frame3.png").write_bytes(b"half")
    clip = open_clip(tmp_path)
    assert (clip.count, clip.fps, clip.size) == (4, FOLDER_FPS, (32, 48))
    found = [levels(frame) for frame in clip.frames()]
    np.testing.assert_allclose(found, [20, 40, 180, 200], atol=0.6)


def test_c6_a_folder_takes_every_suffix_of_pictures(tmp_path):
    for number, name in enumerate(["a1.jfif", "a2.JPE", "a3.TIFF", "a4.Pgm"]):
        level = Image.new("L", (48, 32), 40 * number)
        level.save(
            tmp_path / name, format={"T": "TIFF", "P": "PPM"}.get(name[3], "JPEG")
        )
    clip = open_clip(tmp_path)
    found = [levels(frame) for frame in clip.frames()]
    np.testing.assert_allclose(found, [0, 40, 80, 120], atol=1)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.ts", "libx264"),
        ("a.MPG", "mpeg2video"),
        ("a.wmv", "wmv2"),
        ("a.flv", "flv"),
        ("a.m4v", "libx264"),
        ("a.3gp", "libx264"),
    ],
)
def test_c6_other_containers(av, tmp_path, frames, name, codec):
    path = tmp_path / name
    make(av, path, frames, range(12), codec=codec, unit=Fraction(1, 25))
    clip = open_clip(path)
    assert (clip.size, clip.fps, clip.count) == ((64, 96), 25, 12)
    assert difference(list(clip.frames()), frames) < 10


# The corners tell the eight ways apart, in what is stored and in what is seen.
CORNERS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 50, 210)}
CORNERS["yellow"] = (210, 200, 40)


def colored(size=(32, 48)):
    """Returns a picture with red, green, blue and yellow quarters, uint8."""
    pixels = np.zeros((*size, 3), np.uint8)
    half = [slice(None, n // 2) for n in size], [slice(n // 2, None) for n in size]
    for name, (down, right) in zip(CORNERS, np.ndindex(2, 2), strict=True):
        pixels[half[down][0], half[right][1]] = CORNERS[name]
    return pixels


def corners(image):
    """Returns the names of the colors: top left, top right, bottom left and right."""
    height, width = image.shape[:2]
    found = []
    for row in (height // 4, -height // 4):
        for column in (width // 4, -width // 4):
            here = 255 * image[row, column]
            apart = {n: np.abs(here - np.array(c)).max() for n, c in CORNERS.items()}
            assert min(apart.values()) < 25
            found.append(min(apart, key=apart.get))
    return found


SEEN = {  # EXIF's orientation: the quarters of the stored picture where they are seen
    1: ["red", "green", "blue", "yellow"],
    2: ["green", "red", "yellow", "blue"],
    3: ["yellow", "blue", "green", "red"],
    4: ["blue", "yellow", "red", "green"],
    5: ["red", "blue", "green", "yellow"],
    6: ["blue", "red", "yellow", "green"],
    7: ["yellow", "green", "blue", "red"],
    8: ["green", "yellow", "red", "blue"],
}

MATRIX = {  # the same as a display matrix (a, b, c, d): (x, y) -> (ax + cy, bx + dy)
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


@pytest.fixture(scope="module")
def quarters(av, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    image = colored().astype(np.float32) / 255
    return write_clip(path, [image] * 3, 10, quality=4)


@pytest.mark.parametrize("orientation", SEEN)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "mp4"])
def test_a13_all_eight_orientations(quarters, tmp_path, suffix, orientation):
    path = tmp_path / f"a.{suffix}"
    if suffix == "mp4":
        path.write_bytes(with_matrix(quarters, MATRIX[orientation]))
        clip = open_clip(path)
        image = next(clip.frames())
        assert image.shape[:2] == clip.size
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(colored()).save(path, exif=exif, quality=95)
        image = load_image(path)
    assert corners(image) == SEEN[orientation]
    assert image.shape[:2] == ((48, 32) if orientation > 4 else (32, 48))


def with_matrix(mp4, matrix, shift=(0, 0)):
    """Returns an mp4 with a display matrix, by hand (ISO 14496-12, 8.3.2)."""
    data = bytearray(mp4.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: nine 32-bit numbers follow
    a, b, c, d = (round(n * 65536) for n in matrix)
    x, y = (n << 16 for n in shift)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, x, y, 1 << 30)
    return bytes(data)


def test_a13_a_matrix_that_is_askew_goes_to_the_nearest_quarter(quarters, tmp_path):
    path = tmp_path / "a.mp4"
    for degrees, orientation in [(10, 1), (80, 6), (190, 3), (265, 8)]:
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        path.write_bytes(with_matrix(quarters, (c, s, -s, c)))
        assert corners(next(open_clip(path).frames())) == SEEN[orientation]
    path.write_bytes(with_matrix(quarters, (0, 0, 0, 0)))
    assert corners(next(open_clip(path).frames())) == SEEN[1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hflip.mp4", ["green", "red", "yellow", "blue"]),
        ("vflip.mp4", ["blue", "yellow", "red", "green"]),
    ],
)
def test_a13_the_shared_mirrored_clips(av, name, expected):
    if not INPUTS.is_dir():
        pytest.skip("the shared inputs are not here")
    image = next(open_clip(INPUTS / name).frames())
    pure = {"red": "r", "green": "g", "blue": "b", "yellow": "rg"}
    for corner, (row, column) in zip(
        expected, [(5, 5), (5, -5), (-5, 5), (-5, -5)], strict=True
    ):
        bright = {c for c, v in zip("rgb", image[row, column], strict=True) if v > 0.5}
        assert bright == set(pure[corner])


def shown(clip):
    """Returns the gray levels of all frames, and checks their number."""
    found = [levels(frame) for frame in clip.frames()]
    assert len(found) == clip.count
    return np.round(found)


def timed(av, path, times, **options):
    """Writes a clip of levels 20, 30, … at the given milliseconds."""
    images = [flat(20 + 10 * k) for k in range(len(times))]
    return open_clip(make(av, path, images, times, **options))


def test_a14_two_bursts_keep_all_their_frames(av, tmp_path):
    times = [0, 33, 67, 100, 2100, 2133, 2167, 2200]
    clip = timed(av, tmp_path / "a.mkv", times, rate=30)
    assert (clip.fps, clip.count, clip.held, clip.dropped) == (30, 67, 59, 0)
    expected = [20, 30, 40] + [50] * 60 + [60, 70, 80, 90]
    np.testing.assert_allclose(shown(clip), expected, atol=3)


def test_a14_the_shared_clip_of_two_bursts(av):
    if not INPUTS.is_dir():
        pytest.skip("the shared inputs are not here")
    frames = list(open_clip(INPUTS / "vfr2.mkv").frames())
    different = [
        k
        for k in range(1, len(frames))
        if np.abs(frames[k] - frames[k - 1]).max() > 0.02
    ]
    assert len(different) == 7


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24000, 1001), 60])
@pytest.mark.parametrize("begins", [0, 1400])
def test_a14_rounded_times_of_a_constant_rate_have_no_holds(av, tmp_path, fps, begins):
    times = [begins + round(1000 * k / Fraction(fps)) for k in range(20)]
    clip = timed(av, tmp_path / "a.mkv", times, rate=Fraction(fps))
    assert (clip.fps, clip.count, clip.held, clip.dropped) == (fps, 20, 0, 0)
    assert clip.begins == Fraction(begins, 1000)


def placed(times, end=None, named=(), near=Fraction(1, 1000)):
    times = [Fraction(time) / 1000 for time in times]
    end = times[-1] if end is None else Fraction(end) / 1000
    return _schedule(times, end, near, [Fraction(rate) for rate in named])


def test_a14_places_by_hand():
    # A rate that the container overstates does not slip over a long clip.
    whole = placed([round(k * 1001 / 30) for k in range(3000)], named=[30])
    assert (whole.held, whole.dropped) == (0, 0)
    # Jitter of a phone: two frames nearest to one place go side by side.
    jitter = placed([0, 100, 240, 260, 400, 500, 600], named=[10])
    assert jitter.places == (0, 1, 2, 3, 4, 5, 6)
    # Frames of one moment: the later stays, and it is counted.
    double = placed([0, 100, 100, 200, 300, 301, *range(400, 4000, 100)])
    assert double.places[:7] == (0, None, 1, 2, None, 3, 4) and double.dropped == 2
    # A burst at twice the rate: over 5 % would be lost, so the rate is the burst's.
    burst = placed([*range(0, 1000, 100), *range(1000, 1500, 50)])
    assert (burst.fps, burst.dropped, burst.held) == (20, 0, 10)
    # One frame; a last frame that is held; a few frames at a mad rate.
    assert placed([0], end=40, named=[25]) == (25, (0,), 1)
    assert placed([0], end=0, named=[90_000]) == (25, (0,), 1)
    assert placed([0, 100, 200], end=1000).count == 10
    fast = placed([0, 100, 101, 102, 103, 104, *range(200, 3000, 100)])
    assert float(fast.fps) == pytest.approx(10, rel=0.01) and fast.dropped == 4


def test_a14_short_frames_of_an_animation_are_kept(tmp_path):
    """Durations of 40 ms among those of 100."""
    held = [100] * 5 + [40] * 5
    images = [flat(20 * k) for k in range(10)]
    save(tmp_path / "a.png", images, held)
    clip = open_clip(tmp_path / "a.png")
    assert clip.dropped == 0
    assert len(set(shown(clip))) == 10


def test_a14_what_is_dropped_and_held_is_said(av, tmp_path):
    times = [0, 100, 100, *range(200, 2500, 100), 3000]
    images = [flat(20 + 3 * k) for k in range(len(times))]
    path = tmp_path / "a.gif"
    save(path, images[:4], [100, 100, 400, 100])
    said = []
    settings = replace(HALLUCINATION_MACHINE, output="gif")
    dream_video(open_clip(path), lambda x, *_: x, tmp_path / "w", settings, said.append)
    assert "7 frames of 48 × 32 at 10 per second; 3 repeat the frame before" in said[0]


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("a.mov", "prores_ks", "yuva444p10le", {"profile": "4444"}),
        ("a.mov", "png", "rgba", {}),
        ("a.mov", "qtrle", "argb", {}),
        ("a.webm", "libvpx-vp9", "yuva420p", {"auto-alt-ref": "0"}),
        ("a.webm", "libvpx", "yuva420p", {"auto-alt-ref": "0"}),
    ],
)
def test_a15_transparent_video_lies_over_gray(
    av, tmp_path, name, codec, pixels, options
):
    rgba = np.zeros((32, 48, 4), np.uint8)
    rgba[:, :, 0] = 220
    rgba[:, 24:, 3] = 255
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, pixels
        stream.options = options
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
            frame = frame.reformat(format=pixels)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = open_clip(tmp_path / name)
    frames = list(clip.frames())
    assert (clip.count, clip.held, len(frames)) == (3, 0, 3)
    for image in frames:
        np.testing.assert_allclose(image[:, :16], 0.5, atol=0.01)
        red = [220 / 255, 0, 0]
        np.testing.assert_allclose(image[16, 40], red, atol=0.03)


def test_a15_pages_of_16_bits_are_frames(tmp_path):
    pages = [
        Image.fromarray(np.full((32, 48), level, np.uint16))
        for level in (0, 30_000, 65_535)
    ]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found = [levels(frame) for frame in open_clip(tmp_path / "a.tif").frames()]
    np.testing.assert_allclose(found, [0, 255 * 30_000 / 65_535, 255], atol=0.1)


def test_a15_the_shared_transparent_clip(av):
    if not INPUTS.is_dir():
        pytest.skip("the shared inputs are not here")
    image = next(open_clip(INPUTS / "png.mov").frames())
    assert np.mean(np.all(np.abs(image - 0.5) < 0.01, axis=2)) > 0.2


# What is no clip.


def broken(kind, tmp_path, mp4):
    path = tmp_path / "x.mp4"
    data = mp4.read_bytes()
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path = tmp_path / "x.txt"
            path.write_text("FFmpeg would draw these letters\n" * 50)
        case "playlist":
            path = tmp_path / "x.m3u8"
            path.write_text(f"#EXTM3U\n#EXTINF:1,\n{mp4}\n#EXT-X-ENDLIST\n")
        case "concat":
            path = tmp_path / "x.ffconcat"
            (tmp_path / "a.mp4").write_bytes(data)
            path.write_text("ffconcat version 1.0\nfile a.mp4\n")
        case "random":
            path.write_bytes(np.random.default_rng(0).bytes(20_000))
        case "half":
            path.write_bytes(data[: len(data) // 2])
        case "head":
            path.write_bytes(data[:600])
        case "still":
            path.write_bytes(png_bytes(flat(3)))
        case "jpeg":
            Image.new("RGB", (20, 20)).save(path, format="JPEG")
        case "half gif":
            rng = np.random.default_rng(0)
            save(tmp_path / "a.gif", list(rng.random((3, 40, 40, 3))), 100)
            path.write_bytes((tmp_path / "a.gif").read_bytes()[:2000])
        case "folder of nothing":
            path.mkdir()
        case "sizes":
            path.mkdir()
            (path / "1.png").write_bytes(png_bytes(flat(3)))
            (path / "2.png").write_bytes(png_bytes(flat(3, (20, 20))))
        case "broken picture":
            path.mkdir()
            (path / "1.png").write_bytes(png_bytes(flat(3)))
            (path / "2.png").write_bytes(b"\x89PNG no")
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "does not exist"),
        ("empty", "it is empty"),
        ("text", "cannot be read as a clip"),
        ("playlist", "cannot be read as a clip"),
        ("concat", "cannot be read as a clip"),
        ("random", "cannot be read as a clip"),
        ("half", "cut short: . of 12 frames"),
        ("head", "cannot be read as a clip"),
        ("still", "still picture"),
        ("jpeg", "still picture"),
        ("half gif", "cannot be read as a clip"),
        ("folder of nothing", "holds no pictures"),
        ("sizes", r"2\.png has the size \(20, 20\)"),
        ("broken picture", r"2\.png is no picture"),
    ],
)
def test_one_error_that_says_what_is_wrong(mp4, tmp_path, kind, reason):
    path = broken(kind, tmp_path, mp4)
    with pytest.raises(ValueError, match=reason) as found:
        list(open_clip(path).frames())
    assert str(path) in str(found.value)


def test_sound_alone_is_no_clip(av, tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=48_000, layout="mono")
        samples = np.zeros((1, 4800), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 48_000
        container.mux(track.encode(frame))
        container.mux(track.encode())
    with pytest.raises(ValueError, match="holds no video"):
        open_clip(path)


def test_missing_pyav_says_how_to_get_it(mp4, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"requirements-video\.txt"):
        open_clip(mp4)
    with pytest.raises(ValueError, match=r"requirements-video\.txt"):
        write_clip(tmp_path / "b.mp4", [flat(1)], 10)
    write_clip(tmp_path / "b.gif", [flat(1), flat(99)], 10)
    assert open_clip(tmp_path / "b.gif").count == 2


# What is not written.


def failing():
    yield flat(1)
    raise RuntimeError("the source broke")


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_a_clip_is_whole_or_absent(av, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with pytest.raises(RuntimeError, match="the source broke"):
        write_clip(path, failing(), 10)
    with pytest.raises(ValueError, match="at least one"):
        write_clip(path, [], 10)
    with pytest.raises(ValueError, match=r"frames\[1\]\.shape"):
        write_clip(path, [flat(1), flat(1, (20, 20))], 10)
    assert list(tmp_path.iterdir()) == []


def test_write_refuses_what_it_cannot_do(tmp_path):
    with pytest.raises(ValueError, match="Allowed: mp4, gif"):
        write_clip(tmp_path / "a.mkv", [flat(1)], 10)
    with pytest.raises(ValueError, match="fps=0"):
        write_clip(tmp_path / "a.mp4", [flat(1)], 0)
    with pytest.raises(ValueError, match="quality=60"):
        write_clip(tmp_path / "a.mp4", [flat(1)], 10, quality=60)


def test_the_shared_clips_keep_picture_and_sound(av, tmp_path):
    if not SHARED.is_dir():
        pytest.skip("the shared clips are not here")
    clip = open_clip(SHARED / "realshort.mp4")
    assert (clip.size, clip.count, clip.has_audio) == ((240, 320), 36, True)
    assert clip.fps == Fraction(45000, 1499)
    out = write_clip(tmp_path / "a.mp4", clip.frames(), clip.fps, audio_from=clip)
    found = open_clip(out)
    assert found.fps == clip.fps and found.duration == clip.duration
    assert sound_packets(av, out) == sound_packets(av, clip.path)
    animation = open_clip(SHARED / "newtonscradle.gif")
    assert (animation.size, animation.fps) == ((150, 200), 50)
    assert float(animation.duration) == pytest.approx(0.82)
