"""Clips through the dream engine, and stimulus sets, on the tiny network."""

import csv

import numpy as np
import pytest

from dreamjax.video.config import video_config
from dreamjax.video.stimuli import make_stimuli, stimuli_config
from dreamjax.video.synthetic import moving_photo
from tests.test_deepdream import noise
from tests.tiny import tiny_model

pytest.importorskip("cv2", reason="needs requirements-video.txt")
pytest.importorskip("av", reason="needs requirements-video.txt")

QUIET = {"report": lambda line: None}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A GIF of 4 frames of 40 × 48 px, panned by 2 px a frame."""
    from dreamjax.video.writing import write_clip

    moving = moving_photo(noise(80, 90), 4, (40, 48), pan=(0.0, 2.0))
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_clip(path, moving.frames, 10, quality=4)


def config_of(clip, **values):
    config = video_config()
    config.model = "tests.tiny:tiny_model"
    config.objective = "b"
    config.image = str(clip)
    config.transforms = "roll(4)"
    config.longest = 0
    config.octaves = 1
    config.steps = 6
    config.carry_steps = 2
    config.memory = 1.0
    config.hparams.learning_rate = (0.02,)
    for name, value in values.items():
        config[name] = value
    return config


def test_a10_a_frame_that_froze_is_told_and_keeps_its_start(clip, tmp_path):
    from dreamjax.video.run import run_video

    config = config_of(clip, stop=2, param="fourier", optimizer="sgd", gradient=())
    config.hparams.learning_rate = (1e38,)
    lines = []
    made = run_video(config, tmp_path, model=tiny_model(), report=lines.append)
    assert [row["finite"] for row in made.rows] == [0, 0]
    assert made.rows[0]["change"] == 0
    assert any(line.startswith("frame 1: the dream is not finite") for line in lines)


def test_carried_dreams_flicker_less(clip, tmp_path):
    from dreamjax.video.run import run_video

    config = config_of(clip, compare=True)
    made = run_video(config, tmp_path, model=tiny_model(), **QUIET)
    assert made.files["video"].exists() and len(made.rows) == 4
    later = made.rows[1:]
    carried = np.mean([row["temporal_error"] for row in later])
    alone = np.mean([row["temporal_error_plain"] for row in later])
    assert np.isfinite(carried) and carried < 0.8 * alone
    again = run_video(config, tmp_path, model=tiny_model(), **QUIET)
    assert again.dreamed == 0


def test_a_stimulus_set_is_matched_and_graded(clip, tmp_path):
    config = stimuli_config(config_of(clip))
    config.grades = (0.5, 1.0)
    config.scrambled = True
    files = make_stimuli(config, tmp_path, model=tiny_model(), **QUIET)
    assert set(files) == {
        "control",
        "dream_050",
        "dream_100",
        "scrambled",
        "statistics",
    }
    with files["statistics"].open() as file:
        rows = [row for row in csv.DictReader(file) if row["frame"].isdigit()]
    assert len(rows) == 4 * 4
    table = {(row["condition"], int(row["frame"])): row for row in rows}
    for condition in ("dream_050", "dream_100", "scrambled"):
        for i in range(4):
            row, control = table[condition, i], table["control", i]
            for name in ("luminance", "contrast"):
                assert float(row[name]) == pytest.approx(float(control[name]), rel=5e-3)
    scores = [
        np.mean([float(table[name, i]["objective"]) for i in range(4)])
        for name in ("control", "dream_050", "dream_100")
    ]
    assert scores[0] < scores[1] < scores[2]


def test_a_panoramic_clip_wraps_and_has_a_page(tmp_path):
    from dreamjax.video.clip import open_clip
    from dreamjax.video.run import run_video
    from dreamjax.video.writing import write_clip

    around = noise(64, 128)
    frames = [np.roll(around, 3 * i, axis=1) for i in range(3)]
    clip = write_clip(tmp_path / "around.mp4", frames, 10, quality=4)
    config = config_of(clip, panorama=True)
    made = run_video(config, tmp_path / "out", model=tiny_model(), **QUIET)
    assert open_clip(made.files["video"]).size == (64, 128)
    assert "out.mp4" in made.files["look"].read_text("utf-8")
    assert all(row["consistent"] > 0.9 for row in made.rows[1:])  # also at the wrap


def test_wrong_settings_are_named(clip, tmp_path):
    from dreamjax.video.run import run_video

    with pytest.raises(ValueError, match="carry_steps=-1"):
        run_video(config_of(clip, carry_steps=-1), tmp_path, **QUIET)
    with pytest.raises(ValueError, match=r"clip\.mov.*does not exist"):
        run_video(config_of("clip.mov"), tmp_path, **QUIET)
    config = stimuli_config(config_of(clip))
    config.grades = (0.0,)
    with pytest.raises(ValueError, match=r"grades=\(0\.0,\)"):
        make_stimuli(config, tmp_path, **QUIET)
