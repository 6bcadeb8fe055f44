"""Dreaming clips: what is carried, what a kill costs, what is refused."""

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from dreamjax.images import load_image, png_bytes
from dreamjax.interrupt import Interrupted
from dreamjax.video.clip import open_clip
from dreamjax.video.dream_video import (
    COLUMNS,
    HALLUCINATION_MACHINE,
    STEADY,
    dream_video,
    summary,
)
from dreamjax.video.synthetic import moving_photo
from dreamjax.video.writing import write_clip

pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("av", reason="PyAV is not installed")

REPO = Path(__file__).resolve().parent.parent
ASSETS = REPO / "dreamjax" / "assets"
SIZE = (72, 96)
CARRY = replace(HALLUCINATION_MACHINE, output="gif")
STILL = replace(STEADY, output="gif")
ALONE = replace(CARRY, blend_moving=0.0, blend_static=0.0)


def panned(count=6, name="chelsea", pan=(0, 3)):
    return moving_photo(load_image(ASSETS / f"{name}.png"), count, SIZE, pan=pan).frames


def folder(path, frames):
    path.mkdir()
    for number, frame in enumerate(frames):
        (path / f"{number:03d}.png").write_bytes(png_bytes(frame))
    return open_clip(path)


def noise(number):
    """Blobs of about 6 pixels, -1 or 1, drawn for each frame."""
    drawn = np.random.default_rng(number).normal(size=SIZE)
    return np.sign(ndimage.gaussian_filter(drawn, 3))[..., None].astype(np.float32)


def add_noise(image, number, fresh):
    return image + 0.1 * noise(number)


def choosy(frames):
    """Returns a fake dream with the one property of dreams that carrying rests on.

    It strengthens what is there beyond the frame, up to ±.15, and makes something up
    where there is nothing.
    """

    def dream(image, number, fresh):
        there = ndimage.gaussian_filter(image - frames[number], (1, 1, 0))
        there = there.mean(axis=-1, keepdims=True)
        made = np.where(np.abs(there) > 0.02, np.sign(there), noise(number))
        return np.clip(frames[number] + 0.15 * made, 0, 1)

    return dream


def quiet(line):
    pass


def bytes_of(workdir):
    found = {p.name: p.read_bytes() for p in sorted((workdir / "frames").iterdir())}
    return found | {"metrics": (workdir / "metrics.csv").read_bytes()}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("clips") / "pan", panned())


@pytest.fixture(scope="module")
def finished(clip, tmp_path_factory):
    workdir, lines = tmp_path_factory.mktemp("finished") / "run", []
    result = dream_video(clip, add_noise, workdir, CARRY, lines.append)
    return workdir, result, lines


def test_what_it_writes(clip, finished):
    workdir, result, lines = finished
    assert result.dreamed == 6
    assert sorted(bytes_of(workdir)) == [f"{i:06d}.png" for i in range(6)] + ["metrics"]
    for name, path in result.files.items():
        assert path.exists() and any(name in line for line in lines)
    out = open_clip(workdir / "out.gif")
    assert (out.count, out.size) == (6, SIZE)
    assert out.duration == clip.duration
    with (workdir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["frame"]) for row in rows] == list(range(6))
    assert np.isnan(float(rows[0]["temporal_error"]))
    assert all(float(row["speed"]) == pytest.approx(3, abs=0.3) for row in rows[1:])
    assert not [p for p in workdir.rglob(".*") if p.name != ".lock"]


def test_the_first_frame_starts_from_itself(clip, finished):
    workdir, _, _ = finished
    expected = add_noise(next(clip.frames()), 0, True)
    np.testing.assert_allclose(
        load_image(workdir / "frames" / "000000.png"),
        np.clip(expected, 0, 1),
        atol=0.003,
    )


def test_carry_halves_the_temporal_error_at_equal_strength(clip, tmp_path):
    dream = choosy(list(clip.frames()))
    dream_video(clip, dream, tmp_path / "alone", ALONE, quiet)
    plain = open_clip(tmp_path / "alone" / "frames")
    lines = []
    result = dream_video(
        clip, dream, tmp_path / "run", CARRY, lines.append, plain=plain
    )
    mean = {name: np.nanmean([row[name] for row in result.rows]) for name in COLUMNS}
    assert mean["temporal_error"] < 0.5 * mean["temporal_error_plain"]
    assert mean["temporal_error_input"] < 1.5
    assert "temporal_error_plain" in lines[-4]
    alone = dream_video(clip, dream, tmp_path / "alone", ALONE, quiet).rows
    for name, other in (("temporal_error", "temporal_error_plain"), ("change",) * 2):
        got = [row[name] for row in alone[1:]], [row[other] for row in result.rows[1:]]
        np.testing.assert_allclose(*got, rtol=0.02 if name == "change" else 1e-5)


def test_blends_of_zero_dream_every_frame_for_itself(clip, tmp_path):
    seen = []

    def dream(image, number, fresh):
        assert fresh
        seen.append(image)
        return image

    dream_video(clip, dream, tmp_path / "run", ALONE, quiet)
    np.testing.assert_array_equal(seen, list(clip.frames()))


def test_a_still_scene_builds_up_by_the_static_blend(tmp_path):
    clip = folder(tmp_path / "still", [panned(1)[0]] * 4)
    frame, starts = next(clip.frames()), []

    def dream(image, number, fresh):
        starts.append(image)
        return np.clip(image + 0.1, 0, 1)

    settings = replace(CARRY, blend_static=0.5)
    rows = dream_video(clip, dream, tmp_path / "run", settings, quiet).rows
    inner = (frame > 0) & (frame < 0.75)
    for t, added in enumerate([0, 0.05, 0.075, 0.0875]):
        np.testing.assert_allclose((starts[t] - frame)[inner], added, atol=1e-5)
    assert all(row["moving"] < 0.01 for row in rows[1:])


def test_a_cut_starts_anew(tmp_path):
    # Panned down, so that a few pixels of the two agree by chance.
    frames = [*panned(3, "coffee", (3, 0)), *panned(3, "chelsea", (3, 0))]
    clip = folder(tmp_path / "cut", frames)
    starts, told = [], []

    def dream(image, number, fresh):
        starts.append(image)
        told.append(fresh)
        return add_noise(image, number, fresh)

    rows = dream_video(clip, dream, tmp_path / "run", CARRY, quiet).rows
    assert [row["cut"] for row in rows] == [0, 0, 0, 1, 0, 0]
    fresh = [np.array_equal(s, f) for s, f in zip(starts, clip.frames(), strict=True)]
    assert fresh == told == [True, False, False, True, False, False]
    assert np.isnan(rows[3]["temporal_error"]) and rows[4]["temporal_error"] > 0
    assert "1 cuts" in summary(rows)


def test_layers_take_turns_by_the_number(clip, tmp_path):
    numbers = []

    def dream(image, number, fresh):
        numbers.append(number)
        return jnp.asarray(image)

    settings = replace(ALONE, start=1, stop=6, every=2)
    rows = dream_video(clip, dream, tmp_path / "run", settings, quiet).rows
    assert numbers == [0, 1, 2] and [row["source"] for row in rows] == [1, 3, 5]
    frames = list(clip.frames())
    for number in range(3):
        found = load_image(tmp_path / "run" / "frames" / f"{number:06d}.png")
        np.testing.assert_array_equal(found, frames[1 + 2 * number])
    assert rows[1]["speed"] == pytest.approx(6, abs=0.4)


def test_mp4_keeps_rate_and_range(clip, tmp_path):
    source = open_clip(write_clip(tmp_path / "a.mp4", panned(8), Fraction(30000, 1001)))
    settings = replace(ALONE, output="mp4", start=2, every=2)
    result = dream_video(source, add_noise, tmp_path / "run", settings, quiet)
    out = open_clip(result.files["video"])
    assert (out.fps, out.count) == (Fraction(15000, 1001), 3)


def test_a_dream_that_is_not_finite_goes_no_further(clip, tmp_path):
    lines = []

    def dream(image, number, fresh):
        return image * np.nan if number == 2 else add_noise(image, number, fresh)

    rows = dream_video(clip, dream, tmp_path / "run", CARRY, lines.append).rows
    assert [row["finite"] for row in rows] == [1, 1, 0, 1, 1, 1]
    assert any("frame 2" in line for line in lines) and "1 not finite" in lines[-4]
    assert all(np.isfinite(row["temporal_error"]) for row in rows[1:])


# Going on.


class Stop(Exception):
    pass


def interrupted(at):
    def dream(image, number, fresh):
        if number == at:
            raise Stop
        return add_noise(image, number, fresh)

    return dream


def test_going_on_gives_the_same_bytes(clip, finished, tmp_path):
    for at in (0, 1, 3, 5):
        with pytest.raises(Stop):
            dream_video(clip, interrupted(at), tmp_path / "run", CARRY, quiet)
    lines = []
    result = dream_video(clip, add_noise, tmp_path / "run", CARRY, lines.append)
    assert result.dreamed == 1 and "5 done before" in lines[0]
    assert bytes_of(tmp_path / "run") == bytes_of(finished[0])


def test_any_file_that_a_kill_leaves_is_made_again(clip, finished, tmp_path):
    """Killed after the picture and half a row, before the state: at each place."""
    with pytest.raises(Stop):
        dream_video(clip, interrupted(3), tmp_path / "run", CARRY, quiet)
    (tmp_path / "run" / "frames" / "000003.png").write_bytes(b"another dream")
    half = tmp_path / "run" / "frames" / ".dreamjax-0123456789abcdef.tmp"
    half.write_bytes(b"half")
    with (tmp_path / "run" / "metrics.csv").open("a") as file:
        file.write("3,3,0,1,0.9")
    dream_video(clip, add_noise, tmp_path / "run", CARRY, quiet)
    assert bytes_of(tmp_path / "run") == bytes_of(finished[0])


def test_a20_hidden_files_of_a_user_stay(clip, tmp_path):
    places = (tmp_path, tmp_path / "frames")
    files = [p / n for p in places for n in (".env.local.example", ".the.notes.v2")]
    (tmp_path / ".a.b.c").mkdir()
    (tmp_path / "frames").mkdir()
    for file in files:
        file.write_text("mine")
    with pytest.raises(Stop):
        dream_video(clip, interrupted(1), tmp_path, CARRY, quiet)
    dream_video(clip, add_noise, tmp_path, CARRY, quiet)
    assert [file.read_text() for file in files] == ["mine"] * 4


def test_finished_run_started_again_does_nothing(clip, finished):
    workdir, result, _ = finished
    before, lines = bytes_of(workdir), []
    again = dream_video(clip, interrupted(0), workdir, CARRY, lines.append)
    assert "finished" in lines[0] and again.dreamed == 0
    assert bytes_of(workdir) == before
    np.testing.assert_equal(again.rows, result.rows)


def test_another_output_of_the_same_frames(clip, finished):
    workdir, _, _ = finished
    settings = replace(CARRY, output="mp4", quality=30)
    result = dream_video(clip, interrupted(0), workdir, settings, quiet)
    assert result.dreamed == 0 and open_clip(workdir / "out.mp4").count == 6


def test_ctrl_c_waits_for_the_frame(clip, finished, tmp_path):
    def dream(image, number, fresh):
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return add_noise(image, number, fresh)

    with pytest.raises(Interrupted, match="after frame 3 of 6"):
        dream_video(clip, dream, tmp_path / "run", CARRY, quiet)
    assert dream_video(clip, add_noise, tmp_path / "run", CARRY, quiet).dreamed == 3
    assert bytes_of(tmp_path / "run") == bytes_of(finished[0])


SLOW = """
import sys, time
from pathlib import Path
from dreamjax.video.clip import open_clip
from dreamjax.video.dream_video import dream_video
from tests.test_dream_video import CARRY, add_noise

def dream(image, number, fresh):
    time.sleep(0.05)
    return add_noise(image, number, fresh)

dream_video(open_clip(sys.argv[1]), dream, sys.argv[2], CARRY)
"""


def test_killed_at_any_moment_it_ends_with_the_same_bytes(clip, finished, tmp_path):
    workdir = tmp_path / "run"
    command = [sys.executable, "-c", SLOW, str(clip.path), str(workdir)]
    for wanted in (2, 4):
        process = subprocess.Popen(
            command, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        last = workdir / "frames" / f"{wanted - 1:06d}.png"
        deadline = time.monotonic() + 60
        while not last.exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (workdir / "frames" / "000005.png").exists()
    result = dream_video(clip, add_noise, workdir, CARRY, quiet)
    assert 1 <= result.dreamed <= 3
    assert bytes_of(workdir) == bytes_of(finished[0])


# What is refused.


def test_other_settings_are_refused_by_name(clip, finished, tmp_path):
    workdir = finished[0]
    other = replace(CARRY, blend_moving=0.5, dream={"layer": "b8"})
    with pytest.raises(ValueError, match=r"blend_moving: 0\.9 there, 0\.5 now.*layer"):
        dream_video(clip, add_noise, workdir, other, quiet)
    copy = folder(tmp_path / "pan", [*list(clip.frames())[:5], panned(1, "coffee")[0]])
    with pytest.raises(ValueError, match=r"clip\.sha256"):
        dream_video(copy, add_noise, workdir, CARRY, quiet)
    assert json.loads((workdir / "config.json").read_text())["clip"]["name"] == "pan"


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"blend_moving": 2.0}, "blend_moving=2"),
        ({"moving": -1.0}, "moving=-1"),
        ({"flow": "raft"}, "flow='raft'.*Allowed: dis, farneback"),
        ({"output": "avi"}, "output='avi'"),
        ({"every": 0}, "every=0"),
        ({"start": 6}, r"start=6.*0 … 5"),
        ({"stop": 7}, r"stop=7.*1 … 6"),
        ({"start": 3, "stop": 3}, "stop=3"),
    ],
    ids=str,
)
def test_settings_without_a_meaning_are_refused(clip, tmp_path, bad, match):
    with pytest.raises(ValueError, match=match):
        dream_video(clip, add_noise, tmp_path / "run", replace(CARRY, **bad), quiet)
    assert not (tmp_path / "run").exists()


def test_dreams_and_clips_that_do_not_fit(clip, tmp_path):
    with pytest.raises(ValueError, match=r"dream_frame\(0\)\.shape"):
        dream_video(clip, lambda x, n, fresh: x[:5], tmp_path / "run", CARRY, quiet)
    few = folder(tmp_path / "few", panned(3))
    with pytest.raises(ValueError, match="plain='3 of"):
        dream_video(clip, add_noise, tmp_path / "run", CARRY, quiet, plain=few)
    tiny = folder(tmp_path / "tiny", panned(3)[:, :12, :12])
    with pytest.raises(ValueError, match="at least 16"):
        dream_video(tiny, add_noise, tmp_path / "tiny_run", CARRY, quiet)


def harmed(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "harmed"))


@pytest.mark.parametrize("harm", ["emptied", "zeros", "gone", "cut at a line"])
def test_a6_a_harmed_table_is_written_again(clip, finished, tmp_path, harm):
    workdir, said = harmed(finished[0], tmp_path), []
    path = workdir / "metrics.csv"
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        cut = b"".join(data.splitlines(keepends=True)[:3])
        harms = {"emptied": b"", "zeros": bytes(len(data)), "cut at a line": cut}
        path.write_bytes(harms[harm])
    dream_video(clip, add_noise, workdir, CARRY, said.append)
    assert any("metrics.csv is damaged or missing: written" in line for line in said)
    assert path.read_bytes() == data


@pytest.mark.parametrize("harm", ["swap", "flip", "cut", "gone"])
def test_a_harmed_frame_is_refused_by_name(clip, finished, tmp_path, harm):
    workdir = harmed(finished[0], tmp_path)
    one, two = (workdir / "frames" / f"{i:06d}.png" for i in (1, 2))
    data = one.read_bytes()
    if harm == "swap":
        one.write_bytes(two.read_bytes())
        two.write_bytes(data)
    elif harm == "flip":
        one.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    elif harm == "cut":
        one.write_bytes(data[:-20])
    else:
        one.unlink()
    with pytest.raises(ValueError, match=r"000001\.png.* missing, or not as written"):
        dream_video(clip, add_noise, workdir, CARRY, quiet)


def test_a_harmed_clip_is_written_again(clip, finished, tmp_path):
    workdir = harmed(finished[0], tmp_path)
    video = workdir / "out.gif"
    data = video.read_bytes()
    video.write_bytes(data[: len(data) // 2])
    dream_video(clip, add_noise, workdir, CARRY, quiet)
    assert video.read_bytes() == data


# A standing picture.


def partial_dream(image, number, fresh):
    """Draws another pattern for each frame, a quarter as strong where not fresh."""
    return image + (0.08 if fresh else 0.02) * noise(number)


def stands(tmp_path, frames, settings, name="run"):
    """Returns the rows of a dream, and the mean steps from frame to frame of 255."""
    clip = folder(tmp_path / f"{name}_frames", frames)
    workdir = tmp_path / name
    rows = dream_video(clip, partial_dream, workdir, settings, quiet).rows
    dreams = [load_image(p) for p in sorted((workdir / "frames").iterdir())]
    steps = [255 * np.mean(np.abs(b - a)) for a, b in itertools.pairwise(dreams)]
    return rows, steps


def test_a17_a_standing_picture_converges(tmp_path):
    """Also after a cut; by the blends of 2017 it halves there, and flickers."""
    frames = [panned(1)[0]] * 5 + [panned(1, "coffee")[0]] * 5
    rows, steps = stands(tmp_path, frames, STILL)
    assert [row["cut"] for row in rows] == [0] * 5 + [1] + [0] * 4
    for scene in (rows[:5], rows[5:]):
        changes = [row["change"] for row in scene]
        assert max(changes) < 1.2 * changes[0] and min(changes) > changes[0] / 1.2
    del steps[4]  # the cut
    assert max(steps) < 1.5
    old, steps = stands(tmp_path, frames, CARRY, "old")
    assert old[1]["change"] < 0.7 * old[0]["change"] and steps[1] > 2


def test_a17_a_camera_s_noise_flickers_little(tmp_path):
    random = np.random.default_rng(0)
    still = panned(1)[0]
    frames = [
        np.clip(still + random.normal(0, 2 / 255, still.shape), 0, 1) for _ in range(6)
    ]
    _, steps = stands(tmp_path, frames, STILL)
    own = 255 * np.mean(np.abs(frames[1] - frames[0]))
    assert np.mean(steps) < own + 1.5


def test_a17_what_appears_is_dreamed_till_it_is_ripe(tmp_path):
    """A square leaves; what was behind it gets more dreams before it settles."""
    still = panned(1)[0]
    covered = still.copy()
    covered[20:50, 30:60] = 1
    frames = [covered, covered, *[still] * 12]
    clip = folder(tmp_path / "frames", frames)
    made = []

    def growing(image, number, fresh):
        made.append(number)
        return image + (0.08 if fresh else 0.02)

    dream_video(clip, growing, tmp_path / "run", STILL, quiet)
    last = load_image(tmp_path / "run" / "frames" / "000013.png")
    change = 255 * np.mean(np.abs(last - still)[25:45, 35:55])
    assert change > 0.6 * 255 * 0.08  # one carried dream has a quarter
    assert made[-1] < 13  # and when all is settled nothing is dreamed any more


def test_a17_going_on_with_settled_frames_gives_the_same_bytes(tmp_path):
    still = panned(1)[0]
    moved = np.roll(still, 5, axis=1)
    clip = folder(tmp_path / "frames", [still, still, moved, moved, moved])
    dream_video(clip, partial_dream, tmp_path / "whole", STILL, quiet)

    def stops(image, number, fresh):
        if number == 3:
            raise Stop
        return partial_dream(image, number, fresh)

    with pytest.raises(Stop):
        dream_video(clip, stops, tmp_path / "run", STILL, quiet)
    dream_video(clip, partial_dream, tmp_path / "run", STILL, quiet)
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")
