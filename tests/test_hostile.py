"""Text from a file runs nothing, and what is asked for is counted before it is made."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import config as configs
from dreamjax.build import build
from dreamjax.caps import CAPS, cap
from dreamjax.deepdream.config import DREAM_FIELDS, dream_config, take_dream
from dreamjax.images import png_bytes
from dreamjax.mining.run import Settings, checked
from dreamjax.report.named_files import check_digests
from dreamjax.report.recipe import check_recipe, read_recipe, write_picture
from dreamjax.runner import run
from dreamjax.video.config import VIDEO_FIELDS, video_config
from experiments import rerun
from tests.tiny import tiny_config, tiny_model

REPO = Path(__file__).resolve().parents[1]
SHARED = REPO.parent / "shared" / "inputs" / "recipes"


def recipe_of(**changes):
    """Returns a recipe as a sweep writes it, with changes of its config."""
    config = configs.plain(configs.base_config())
    hparams = {**config["hparams"], **changes.pop("hparams", {})}
    return {
        "recipe_version": 1,
        "config": {**config, **changes, "hparams": hparams},
        "run": 0,
        "crowd": {"runs": [0], "lanes": 2},
        "pictures": {},
        "network": "tiny",
        "weights": "",
        "environment": {"versions": {"jax": "0.1"}, "device": "cpu"},
    }


@pytest.mark.parametrize("part", ["model", "transfer"])
@pytest.mark.parametrize("code", ["evil:model", "os:abort", "timeit:main", "a.b:c"])
def test_b1_a_recipe_imports_nothing(part, code):
    config = rerun.checked(recipe_of(**{part: code})["config"])
    with pytest.raises(ValueError, match=f"{part}='{code}'.*runs no code by itself"):
        rerun.check_code(config, {"model": None, "transfer": None})
    with pytest.raises(ValueError, match=f"the recipe says {part}="):
        rerun.check_code(config, {"model": None, "transfer": None, part: "a:other"})
    rerun.check_code(config, {"model": None, "transfer": None, part: code})


@pytest.mark.parametrize(
    "path", sorted(SHARED.glob("*.png")), ids=lambda path: path.stem
)
def test_b1_recipes_from_elsewhere(path, tmp_path):
    with pytest.raises(ValueError) as error:
        recipe = read_recipe(path)
        check_recipe(recipe, path)
        config = rerun.checked(recipe["config"])
        rerun.check_code(config, {"model": None, "transfer": None})
        rerun.check_files(config, recipe["pictures"])
        build(config, tiny_model())
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)


if not SHARED.is_dir():

    def test_b1_recipes_from_elsewhere_are_missing():
        pytest.skip(f"{SHARED} is not here")


SHAPES = [
    {"run": "0"},
    {"run": -1},
    {"run": True},
    {"config": []},
    {"config": {"model": "a b", "hparams": {}}},
    {"config": {"model": "tiny", "hparams": []}},
    {"network": "\x1b[31m"},
    {"weights": "\n"},
    {"environment": {"versions": {"a": 1}, "device": "cpu"}},
    {"environment": {"versions": {"a\x1b": "1"}, "device": "cpu"}},
    {"crowd": {"runs": [], "lanes": 2}},
    {"crowd": {"runs": [0], "lanes": 0}},
    {"pictures": {"a.png": "zz"}},
]


def test_b1_a_recipe_of_another_shape(tmp_path):
    good = recipe_of()
    check_recipe(good, "a.png")
    for change in SHAPES:
        path = write_picture(
            tmp_path / "a.png", np.zeros((2, 2, 3)), {**good, **change}
        )
        with pytest.raises(ValueError, match="is no recipe of dreamjax"):
            check_recipe(read_recipe(path), path)


CHANGES = [
    {"steps": 10**12},
    {"batch": 10**8},
    {"size": (200_000, 200_000)},
    {"size": (20_000, 20_000)},
    {"transforms": "pad(1000000)"},
    {"transforms": "resize(1000000)"},
    {"evaluation_draws": 10**9},
    {"samples": 10**9, "hparams": {"tv": ("uniform(0, 1)",)}},
    {"hparams": {"unit": range(100), "tv": range(100), "seed": range(100)}},
    {"hparams": {name: range(100) for name in ("unit", "tv", "seed", "l1", "l2")}},
    {"hparams": {"unit": "range(1000000000)"}},
    {"hparams": {"unit": range(10**12)}},
    {"image_steps": range(10**9)},
    {"objective": "+".join(["b8:1"] * 10_000)},
    {"color": "/dev/zero"},
    {"transforms": ",".join(["jitter(0)"] * 1500)},
    {"gradient": ("mean_abs",) * 5000},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_b2_the_absurd_is_counted_before_it_is_made(changes):
    with pytest.raises(ValueError) as error:
        build(config_of(**changes), tiny_model())
    assert len(str(error.value)) < 500


def test_b2_a_run_must_fit_the_memory(monkeypatch):
    config = config_of(batch=100)
    build(config, tiny_model())
    monkeypatch.setattr("dreamjax.build.free_memory", lambda: 10**5)
    with pytest.raises(ValueError, match=r"size, batch=\(24, 20, 100\).*0.0 are free"):
        build(config, tiny_model())
    build({**config, "batch": 1}, tiny_model())


def test_b2_a_cap_is_raised_by_the_user(monkeypatch):
    wanted = config_of(hparams={"seed": range(200), "unit": (0, 1, 2, 3)})
    monkeypatch.setenv("DREAMJAX_CAPS", "runs=300")
    with pytest.raises(ValueError, match="800 is above the cap on runs, 300"):
        build(wanted, tiny_model())
    monkeypatch.setenv("DREAMJAX_CAPS", " runs = 1e5, steps=7 ")
    assert cap("runs") == 100_000 and cap("batch") == CAPS["batch"]
    assert len(build(wanted, tiny_model()).runs) == 800
    for bad in ("rums=3", "runs=many", "runs=0", "runs"):
        monkeypatch.setenv("DREAMJAX_CAPS", bad)
        with pytest.raises(ValueError, match="DREAMJAX_CAPS"):
            cap("runs")


def config_of(**changes):
    """Returns the tiny config with changes; a ConfigDict would convert some of them."""
    config = tiny_config().to_dict()
    config["hparams"] |= changes.pop("hparams", {})
    return config | changes


WRONG = [
    *({"steps": value} for value in (1.5, "x", None, True, 0, float("nan"), (3,), 1j)),
    *({"batch": value} for value in (1.5, "2", 0)),
    *({"log_every": value} for value in (2.5, None)),
    *({"image_steps": value} for value in (2.5, (1.5,), "x", None, {0: 1})),
    *({"rungs": value} for value in ((2.5,), "x", None)),
    *({"transforms": value} for value in (None, 3, ("pad(3)",))),
    *({"evaluation_draws": value} for value in (1.5, None)),
    *({"checkpoint_seconds": value} for value in ("x", None, -1, float("nan"))),
    *({"runs_per_call": value} for value in (1.5, -1, True)),
    *({"size": value} for value in (None, "x", (24.5, 24), (1, 2, 3), {})),
    *({"seed": value} for value in (0.5, -1, None)),
    *({"keep": value} for value in (0, 2, "x", True)),
    *({"remat": value} for value in (1, None, "True")),
    *({"model": value} for value in (None, 3, "a\0b", "\x1b[31m")),
    *({"hparams": {"seed": value}} for value in (0.5, (0.5,), None, True)),
    *({"hparams": {"learning_rate": value}} for value in (True, "x", None, ((1.0,),))),
    *({"hparams": {"blur_every": value}} for value in (1.5, (2, 2.5))),
    {"hparams": {"blur_every": ("uniform(1, 2)",), "blur_width": 1.0}},
    *({"hparams": {"unit": value}} for value in ((), {}, b"x", object(), (10**30,))),
    {"hparams": {"a b": (1,)}},
    {"hparams": {"tv": ("uniform(0, 1e400)",)}},
    {"transforms": "crop(100)"},
]


def without_address(changes):
    """Returns a test's name that is the same in every process."""
    return re.sub(r" at 0x\w+", "", str(changes))


@pytest.mark.parametrize("changes", WRONG, ids=without_address)
def test_b7_wrong_types_are_refused_in_one_line(changes):
    name = next(iter(changes))
    name = next(iter(changes["hparams"])) if name == "hparams" else name
    with pytest.raises(ValueError, match=name) as error:
        build(config_of(**changes), tiny_model())
    assert "\n" not in str(error.value)


WRONG_DREAMS = [
    *({"octaves": value} for value in (1.5, "x", None, 10**6)),
    *({"octave_scale": value} for value in (1, None, "x", float("inf"))),
    *({"tile": value} for value in ((1.5, 2), (64, 0), 64, None)),
    *({"shift": value} for value in ((1, 2, 3), None, ("x", 1))),
    *({"panorama": value} for value in (1, None)),
    *({"fps": value} for value in (0, "x")),
    *({"image": value} for value in (None, 3, np.zeros((2, 2)))),
]


def dream_of(**changes):
    return dream_config().to_dict() | changes


@pytest.mark.parametrize("changes", WRONG_DREAMS, ids=str)
def test_b7_wrong_types_of_a_dream(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        take_dream(dream_of(**changes))


def test_b7_settings_of_mining():
    good = Settings(size=(24, 24))
    assert checked(good) == good
    assert checked(Settings(size=np.int64(24), keep=3.0)) == good._replace(keep=3)
    for changes in [{"keep": 1.5}, {"levels": "2"}, {"seed": -1}, {"sample": None}]:
        with pytest.raises(ValueError, match=next(iter(changes))):
            checked(good._replace(**changes))


def test_b7_every_key_has_a_field():
    for config, fields in [
        (configs.base_config(), configs.FIELDS),
        (dream_config(), DREAM_FIELDS),
        (video_config(), VIDEO_FIELDS),
    ]:
        assert set(config) == {*fields, "hparams"}
        taken = configs.take(config, fields).config
        assert taken == configs.plain(config), "what is right already stays"


def test_c5_numbers_of_numpy_and_jax_are_taken():
    config = config_of(
        steps=np.int64(4),
        batch=jnp.asarray(2),
        size=24,
        image_steps=np.arange(0, 5, 2),
        log_every=2.0,
        gradient="mean_abs",
        rungs=jnp.asarray(2),
        keep=np.float32(0.5),
        tensorboard=np.bool_(False),
        hparams={
            "unit": range(2),
            "tv": np.float32(0.5),
            "l1": jnp.float32(0.5),
            "seed": jnp.arange(2),
            "learning_rate": np.array([0.25, 0.5]),
        },
    )
    experiment = build(config, tiny_model())
    taken = experiment.config
    assert taken["steps"] == 4 and type(taken["steps"]) is int
    assert taken["size"] == (24, 24) and taken["image_steps"] == (0, 2, 4)
    assert taken["gradient"] == ("mean_abs",) and taken["log_every"] == 2
    assert taken["hparams"]["unit"] == (0, 1) and taken["hparams"]["tv"] == (0.5,)
    assert taken["hparams"]["learning_rate"] == (0.25, 0.5)
    assert all(type(value) is int for value in taken["hparams"]["seed"])
    assert len(experiment.runs) == 8
    assert configs.take(taken).config == taken


def test_c5_ranges_and_all_in_text():
    assert configs.counted("range(1, 7, 2)") == (1, 3, 5)
    for value, units in [("range(3)", [0, 1, 2]), ("all", [0, 1, 2, 3])]:
        for written in (value, (value,)):
            experiment = build(config_of(hparams={"unit": written}), tiny_model())
            assert experiment.values["unit"].tolist() == units
            assert experiment.config["hparams"]["unit"] == tuple(units)
    classes = config_of(objective="logits:unit", hparams={"unit": "all"})
    assert build(classes, tiny_model()).values["unit"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"hparams\.tv='all'"):
        build(config_of(hparams={"tv": "all"}), tiny_model())


def test_c5_pictures_as_arrays():
    random = np.random.default_rng(0)
    start = random.random((24, 20, 3), np.float32)
    target = random.random((48, 40, 3))
    config = config_of(objective='match("b")', start=start, hparams={"target": target})
    experiment = build(config, tiny_model())
    (name,) = experiment.config["hparams"]["target"]
    assert name.startswith("array:") and set(experiment.image_hashes) == {
        name,
        experiment.config["start"],
    }
    assert experiment.values["target"].shape == (1, 24, 20, 3)
    with pytest.raises(ValueError, match=r"give it again, in Python"):
        build(experiment.config, tiny_model())
    with pytest.raises(ValueError, match=r"start=an array .*not all in"):
        build(config_of(start=start + 1), tiny_model())


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """Every hostile input, tried in one process under an audit hook."""
    folder = tmp_path_factory.mktemp("hostile")
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile_inputs", folder],
        cwd=REPO,
        env=dict(os.environ, DREAMJAX_CACHE=str(folder / "cache"), JAX_PLATFORMS="cpu"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"]


def test_b1_b2_b3_hostile_inputs_get_one_line(tried):
    assert len(tried) >= 250
    for one in tried:
        assert one["kind"] == "ValueError", one
        assert one["said"].isprintable() and 10 < len(one["said"]) < 1000, one


def test_b1_hostile_inputs_import_open_and_start_nothing(tried):
    assert [one for one in tried if one["seen"]] == []


def test_b2_hostile_inputs_take_no_time_and_no_memory(tried):
    # Ten inputs may wait for other processes of a busy machine.
    slow = sorted(one["seconds"] for one in tried)
    assert slow[-10] < 1 and slow[-1] < 10
    assert max(one["bytes"] for one in tried) < 200e6
    assert sum(one["bytes"] for one in tried) < 400e6


def test_b3_an_edited_folder_is_refused_by_name(tmp_path):
    config, quiet = config_of(steps=2, image_steps=(0,), log_every=2), lambda line: None
    run(config, tmp_path, model=tiny_model(), report=quiet)
    plan, kept = tmp_path / "plan.json", (tmp_path / "plan.json").read_text()
    for old, new in [('"size": 2', '"size": 3'), ('"stop": 2', '"stop": 1')]:
        assert old in kept
        plan.write_text(kept.replace(old, new))
        with pytest.raises(ValueError, match=r"plan\.json' is damaged .*Delete it"):
            run(config, tmp_path, model=tiny_model(), report=quiet)
    plan.unlink()
    run(config, tmp_path, model=tiny_model(), report=quiet)
    assert json.loads(plan.read_text())["blocks"] == json.loads(kept)["blocks"]
    older = {name: v for name, v in json.loads(kept).items() if name != "sha256"}
    plan.write_text(json.dumps(older))
    run(config, tmp_path, model=tiny_model(), report=quiet)
    assert "sha256" in json.loads(plan.read_text())
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"batch": 1', '"batch": 2'))
    with pytest.raises(ValueError, match="batch: 2 there, 1 now"):
        run(config, tmp_path, model=tiny_model(), report=quiet)


def test_b1_a_file_that_a_recipe_names_must_be_the_same(tmp_path):
    path, other = tmp_path / "a.png", np.random.default_rng(0).random((9, 9, 3))
    path.write_bytes(png_bytes(other))
    config = rerun.checked(recipe_of(start=str(path))["config"])
    assert rerun.check_files(config, {str(path): "ab"}) == []
    assert "not recorded" in rerun.check_files(config, {})[0]
    with pytest.raises(ValueError, match=r"a\.png' is not what the recipe was made"):
        check_digests({str(path): "12"}, {str(path): "ab", "b.png": "cd"})
