"""Every config builds, in full and as :quicktest, and does what its name says."""

import importlib
from pathlib import Path

import pytest

from dreamjax.build import build
from dreamjax.config import base_config, take
from dreamjax.deepdream.config import take_dream
from dreamjax.deepdream.studio import make_painter, open_studio
from dreamjax.models import load
from dreamjax.video.config import VIDEO_FIELDS, video_config
from dreamjax.video.stimuli import STIMULI_FIELDS

CONFIGS = sorted(
    path.stem
    for path in (Path(__file__).resolve().parent.parent / "configs").glob("*.py")
    if path.stem != "__init__"
)


DREAMS = [name for name in CONFIGS if name.startswith("dream")]
CLIPS = ["video", "stimuli"]
SWEEPS = [name for name in CONFIGS if name not in [*DREAMS, *CLIPS]]


@pytest.fixture(scope="module")
def lite0():
    return load("efficientnet_lite0")


def config_of(name, variant=""):
    return importlib.import_module(f"configs.{name}").get_config(variant)


@pytest.mark.parametrize("name", DREAMS)
def test_dream_config_is_complete_and_locked(name, lite0):
    for variant in ("", "quicktest"):
        config = config_of(name, variant)
        assert config.is_locked
        take_dream(config)
    if config.model == "efficientnet_lite0":
        studio = open_studio(config, [(64, 128)], lite0)
        assert make_painter(studio, (64, 128))


@pytest.mark.parametrize("name", CLIPS)
def test_config_of_a_clip_is_complete_and_locked(name):
    for variant in ("", "panorama", "quicktest"):
        config = config_of(name, variant)
        assert config.is_locked
        assert set(video_config()) <= set(config)
        take_dream(config, VIDEO_FIELDS if name == "video" else STIMULI_FIELDS)
    assert config.longest <= 128 and config.octaves * config.steps <= 8


@pytest.mark.parametrize("variant", ["", "quicktest"])
@pytest.mark.parametrize("name", SWEEPS)
def test_config_builds_and_is_locked(name, variant, lite0):
    config = config_of(name, variant)
    assert config.is_locked
    take(config)
    experiment = build(config, lite0)
    assert experiment.runs
    assert config.steps % config.log_every == 0
    assert max(config.image_steps) == config.steps


@pytest.mark.parametrize("name", CONFIGS)
def test_config_says_its_command(name):
    text = importlib.import_module(f"configs.{name}").__doc__
    assert f"--config=configs/{name}.py" in text
    assert "--workdir=results/runs/" in text


@pytest.mark.parametrize("name", SWEEPS)
def test_quicktest_is_small(name):
    config = config_of(name, "quicktest")
    assert max(config.size) <= 48 and config.steps <= 8


@pytest.mark.parametrize("name", DREAMS)
def test_a_quick_dream_is_small(name):
    config = config_of(name, "quicktest")
    assert config.longest <= 128 and config.octaves * config.steps <= 8


def test_quickstart_is_24_runs_at_128_px(lite0):
    experiment = build(config_of("quickstart"), lite0)
    assert len(experiment.runs) == 24
    assert tuple(experiment.config["size"]) == (128, 128)
    assert experiment.limit >= 24, "one block, on any machine with 8 GB"


def test_the_search_is_300_settings_of_three_classes(lite0):
    experiment = build(config_of("regularizer_search"), lite0)
    assert len(experiment.runs) == 900
    settings = [tuple(sorted(run.items())) for run in experiment.runs]
    assert len(set(settings)) == 900
    drawn = {run["decay"] for run in experiment.runs}
    assert len(drawn) == 300 and 1e-4 <= min(drawn) < 1.1e-4
    assert build(config_of("regularizer_search", "halving"), lite0).config["rungs"] == (
        *(24, 48),
    )


def test_table_1_is_four_settings_of_the_same_classes(lite0):
    table = build(config_of("regularizer_search", "table1"), lite0)
    search = build(config_of("regularizer_search"), lite0)
    assert len(table.runs) == 12
    assert {r["unit"] for r in table.runs} == {r["unit"] for r in search.runs}
    assert (table.config["size"], table.config["steps"]) == (
        search.config["size"],
        search.config["steps"],
    )


def test_base_config_is_complete_and_neutral(lite0):
    experiment = build(base_config(), lite0)
    assert experiment.penalties == ()
    assert len(experiment.runs) == 1


@pytest.mark.parametrize("name", CONFIGS)
def test_a18_a_variant_that_a_config_does_not_have_is_refused(name):
    for variant in ("nonsense", "quick", "Quicktest", " "):
        with pytest.raises(ValueError, match=r"variant=.* is not known.*quicktest"):
            config_of(name, variant)
    assert config_of(name, "quicktest").is_locked
