"""The atlas: its choices by hand; one of a tiny network, made, killed and resumed."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dreamjax.atlas import Wanted, make_atlas, overview, sprites
from dreamjax.atlas import run as atlas_run
from dreamjax.atlas.layer import judged, read_curves
from dreamjax.atlas.names import file_stem
from dreamjax.atlas.photos import (
    Activity,
    against_photos,
    measure,
    photo_paths,
    responder,
)
from dreamjax.atlas.recipe import MAIN, NEGATIVE, VARIANT, kind_of, tap_config
from dreamjax.atlas.site import open_site, read_script
from dreamjax.atlas.taps import SAME_CHANNELS, Tap, choose_taps, choose_units
from dreamjax.build import build
from dreamjax.models.layers import PLAIN
from tests.tiny import tiny_config, tiny_model

SIZE = (24, 20)
WANTED = Wanted(("a", "b", "logits"), channels=3, variants=1)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def recipe(**changes):
    config = tiny_config()
    config.steps, config.image_steps = 4, (0, 4)
    for name, value in changes.items():
        config[name] = value
    return config


# Choices


def test_default_layers_are_activations_in_order(model):
    taps = choose_taps(model, SIZE)
    assert [tap.name for tap in taps] == ["a", "b", "dead", "logits"]
    assert [tap.shape for tap in taps] == [(12, 10, 6), (12, 10, 4), (12, 10, 4), (3,)]
    # a, b, dead, logits, probabilities
    assert [tap.depth for tap in taps] == [0, 0.25, 0.5, 0.75]
    assert (taps[0].aim, taps[0].twin) == ("a", "a/pre")
    assert (taps[1].aim, taps[1].twin) == ("b", "b")


@pytest.mark.parametrize(
    "name,same",
    [
        ("mixed3a_pool", True),
        ("maxpool0", True),
        ("mixed3a_pool_reduce", False),
        ("encoder_layer_0.ln_1", True),
        ("encoder_layer_0/cls", True),
        ("ln", True),
        ("b0/depthwise/pre", True),
        ("b0/depthwise", False),
    ],
)
def test_layers_with_the_channels_of_another(name, same):
    assert bool(SAME_CHANNELS.search(name)) == same


def test_a_relu6_is_driven_before_it(model):
    def clipped(variables, images, rules):
        taps = model.taps(variables, images, rules)
        return {**taps, "a": rules.relu6(taps["a/pre"])}

    tap = choose_taps(model._replace(taps=clipped), SIZE, ["a"])[0]
    assert (tap.aim, tap.twin) == ("a/pre", "a/pre")


@pytest.mark.parametrize(
    "wanted,names",
    [
        (["logits", "a"], ["a", "logits"]),
        (["a*"], ["a"]),
        (["a/pre"], ["a/pre"]),
        (["*"], ["a", "b", "dead", "logits", "probabilities"]),
    ],
)
def test_wanted_layers(model, wanted, names):
    assert [tap.name for tap in choose_taps(model, SIZE, wanted)] == names


def test_unknown_layers_are_told_with_a_near_name(model):
    with pytest.raises(ValueError, match='Did you mean "logits"'):
        choose_taps(model, SIZE, ["logit"])
    with pytest.raises(ValueError, match=r"taps='z\*'.*fits none"):
        choose_taps(model, SIZE, ["z*"])


def test_channels_are_picked():
    tap = Tap("t", 0, (2, 2, 10), "t", "t")
    activity = np.array([0, 5, 1, 9, 2, 2, 0, 0, 0, 0.0])
    assert choose_units(tap, 3, "first", activity) == [0, 1, 2]
    assert choose_units(tap, 4, "spread", activity) == [0, 2, 5, 7]
    assert choose_units(tap, 4, "active", activity) == [3, 1, 4, 5]
    assert choose_units(tap, 0, "first", activity) == list(range(10))
    with pytest.raises(ValueError, match=r"channels=11.*t has 10"):
        choose_units(tap, 11, "first", activity)


# The sweep of a tap


def test_a_tap_is_one_sweep_of_pictures_variants_and_negatives(model):
    tap = choose_taps(model, SIZE, ["a"])[0]
    options = dict(variants=1, diversity=0.0, negative=True)
    config = tap_config(recipe(), tap, [4, 2], **options)
    assert config.objective == 'plus*channel("a", unit) - minus*channel("a/pre", unit)'
    runs = build(config, model).runs
    kinds = [(run["unit"], kind_of(run, 0), run["plus"], run["minus"]) for run in runs]
    assert kinds == [
        (4, MAIN, 1, 0),
        (4, VARIANT, 1, 0),
        (4, NEGATIVE, 0, 1),
        (2, MAIN, 1, 0),
        (2, VARIANT, 1, 0),
        (2, NEGATIVE, 0, 1),
    ]


def test_diversity_makes_one_batch(model):
    tap = choose_taps(model, SIZE, ["a"])[0]
    options = dict(variants=3, diversity=0.5, negative=False)
    experiment = build(tap_config(recipe(), tap, [0, 1], **options), model)
    assert experiment.config["batch"] == 4
    assert len(experiment.runs) == 2
    assert "diversity" in experiment.config["objective"]


def test_a_recipe_has_one_setting(model):
    tap = choose_taps(model, SIZE, ["a"])[0]
    options = dict(variants=1, diversity=0.0, negative=True)
    swept = tiny_config(tv=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"hparams.tv=\(0.0, 1.0\).*one setting"):
        tap_config(swept, tap, [0], **options)
    drawn = tiny_config(tv=("uniform(0, 1)",))
    with pytest.raises(ValueError, match="not a distribution"):
        tap_config(drawn, tap, [0], **options)
    with pytest.raises(ValueError, match="batch=2"):
        tap_config(recipe(batch=2), tap, [0], **options)


# Photos


def test_activity_is_that_of_the_photos(model):
    photos = np.random.default_rng(1).random((13, *SIZE, 3), np.float32)
    taps = ["a", "logits"]
    found = measure(responder(model, taps), taps, photos)
    for tap, activity in found.items():
        a = np.asarray(model.taps(model.variables, photos, PLAIN)[tap])
        flat = a.reshape(13, -1, a.shape[-1])
        np.testing.assert_allclose(activity.mean, flat.mean((0, 1)), atol=1e-5)
        np.testing.assert_allclose(activity.peak, flat.mean(1).max(0), atol=1e-5)
        np.testing.assert_allclose(activity.spread, flat.std((0, 1)), atol=1e-4)


def test_scores_against_photos():
    activity = Activity(*np.array([[1.0, 1, -1], [2, 2, -3], [0.5, 0, 2]]))
    assert against_photos(4.0, 0, activity) == dict(
        photo_mean=1, score_z=6, score_ratio=2
    )
    assert against_photos(4.0, 1, activity) == dict(photo_mean=1, score_ratio=2)
    assert against_photos(4.0, 2, activity) == dict(photo_mean=-1, score_z=2.5)


def test_a_folder_without_photos_is_told(tmp_path):
    with pytest.raises(ValueError, match="no picture"):
        photo_paths(tmp_path)
    with pytest.raises(ValueError, match="folder of pictures"):
        photo_paths(tmp_path / "gone")
    assert [path.stem for path in photo_paths(None)] == ["chelsea", "coffee"]


def test_what_a_run_lacks_is_judged_here():
    picture = np.full((16, 16, 3), 0.5)
    found = judged(picture, 1, np.array([1.0, 3, -1, 0]), {"total_variation": 7.0})
    assert found["selectivity"] == pytest.approx(3 / (3 + 2 / 3))
    assert found["selectivity_rank"] == 1
    assert found["high_frequency"] == 0 and "total_variation" not in found


# Pieces


def test_tiles_lie_in_rows_of_sixteen():
    pictures = np.zeros((18, 4, 6, 3), np.uint8)
    pictures[17] = 255
    sheet = np.asarray(sprites.grid(pictures, (4, 6)))
    assert sheet.shape == (8, 96, 3)
    assert (sheet[4:, 6:12] == 255).all() and sheet[4:, :6].max() == 0


def decode_size(path):
    with Image.open(path) as file:
        return file.size


def test_many_pictures_are_several_sheets(tmp_path):
    pictures = np.zeros((257, 4, 6, 3), np.uint8)
    found = sprites.write_sheets(tmp_path, "b0", pictures, sprites.STYLE)
    sizes = [decode_size(tmp_path / name) for name in found["files"]]
    assert sizes == [(96, 64), (6, 4)]
    assert (found["count"], found["per"], found["columns"]) == (257, 256, 16)


def test_style_is_checked():
    with pytest.raises(ValueError, match='Did you mean "webp"'):
        sprites.check_style(sprites.Style(format="webm"))
    with pytest.raises(ValueError, match="quality=0"):
        sprites.check_style(sprites.Style(quality=0))


def test_file_names():
    assert file_stem("b0/depthwise") == "b0--depthwise"
    assert file_stem("../x y#1") == "--x-y-1"
    assert file_stem("..") == "-"


def test_a_log_that_was_cut_short_is_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [dict(run=1, step=4, score=2.0), dict(run=1, step=2, score=1.0)]
    lines += [dict(run=2, step=2, score="nan")]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"run": 1, "st')
    assert read_curves(path) == {1: [[2, 1], [4, 2]]}


# The whole


@pytest.fixture(scope="module")
def made(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("atlas")
    said = []
    make_atlas(
        recipe(),
        folder / "work",
        folder / "site",
        wanted=WANTED,
        model=model,
        report=said.append,
    )
    return folder, said


def test_an_atlas_has_its_layers(made):
    site = open_site(made[0] / "site")
    (network,) = site.networks()
    assert [layer["tap"] for layer in network["layers"]] == ["a", "b", "logits"]
    a = network["layers"][0]
    assert [channel["unit"] for channel in a["channels"]] == [0, 1, 2]
    kinds = [picture["kind"] for picture in a["channels"][0]["pictures"]]
    assert kinds == [MAIN, VARIANT, NEGATIVE]
    curve = a["channels"][0]["pictures"][0]["curve"]
    assert [step for step, _ in curve] == [2, 4]
    assert curve[1][1] > curve[0][1]
    assert (a["main"]["count"], a["more"]["count"]) == (3, 6)
    metrics = a["channels"][0]["metrics"]
    assert {"score", "score_plain", "score_z", "color_distance"} <= set(metrics)
    assert all(
        -1 <= channel["metrics"]["selectivity"] <= 1 for channel in a["channels"]
    )
    assert network["layers"][2]["channels"][1]["label"] == "bee"


def test_classes_are_what_the_network_sees(made, model):
    folder = made[0] / "site" / "tiny"
    record = read_script(folder / "b.js")
    lists = read_script(folder / "classes.js")
    assert lists["labels"] == ["ant", "bee", "cat"]
    assert lists["own"] == {"0": ["logits", 0], "1": ["logits", 1], "2": ["logits", 2]}
    tops = {channel["unit"]: channel["classes"] for channel in record["channels"]}
    for top in tops.values():
        assert sum(share for _, share in top) == pytest.approx(1, abs=1e-3)
        assert [s for _, s in top] == sorted((s for _, s in top), reverse=True)
    number, share = tops[0][0]
    assert ["b", 0, share] in lists["seen"][str(number)]


def test_tables_have_a_line_for_each(made):
    site = made[0] / "site"
    layers = list(csv.DictReader(io.StringIO((site / "layers.csv").read_text())))
    channels = list(csv.DictReader(io.StringIO((site / "channels.csv").read_text())))
    assert [line["tap"] for line in layers] == ["a", "b", "logits"]
    assert len(channels) == 9
    scores = [float(line["score"]) for line in channels if line["tap"] == "b"]
    assert float(layers[1]["score_median"]) == pytest.approx(
        np.median(scores), rel=1e-4
    )
    assert (site / "plots" / "spectral_slope.svg").is_file()


def test_the_same_command_makes_nothing(made, model, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("nothing is left to run")

    monkeypatch.setattr(atlas_run, "run", never)
    said = []
    before = (made[0] / "site" / "tiny" / "b.js").stat().st_mtime_ns
    make_atlas(
        recipe(),
        made[0] / "work",
        made[0] / "site",
        wanted=WANTED,
        model=model,
        report=said.append,
    )
    assert sum("in the atlas" in line for line in said) == 3
    assert said[-1].startswith("0 of 3 layers made")
    assert (made[0] / "site" / "tiny" / "b.js").stat().st_mtime_ns == before


def test_more_channels_are_added_to_those_there(made, model, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(made[0] / "work", work)
    results = work / "tiny" / "b" / "results" / "block_0000.npz"
    before = results.read_bytes()
    wanted = WANTED._replace(taps=("b",), channels=4)
    site = tmp_path / "site"
    make_atlas(
        recipe(), work, site, wanted=wanted, model=model, report=lambda line: None
    )
    (layer,) = open_site(site).networks()[0]["layers"]
    assert [channel["unit"] for channel in layer["channels"]] == [0, 1, 2, 3]
    assert results.read_bytes() == before
    assert (results.parent / "block_0001.npz").exists()


def test_another_style_draws_sheets_anew_and_drops_the_old(made, model, tmp_path):
    folder = tmp_path / "site"
    given = dict(
        wanted=WANTED._replace(taps=("b",)), model=model, report=lambda _: None
    )
    work = made[0] / "work"
    make_atlas(recipe(), work, folder, **given)
    old = set((folder / "tiny").glob("b.*.webp"))
    make_atlas(recipe(), work, folder, style=sprites.Style(quality=20), **given)
    new = set((folder / "tiny").glob("b.*.webp"))
    assert len(old) == len(new) == 3 and not old & new


def test_a_killed_atlas_is_valid_and_goes_on(model, tmp_path, monkeypatch):
    real, calls = atlas_run.run, []

    def killed(*args, **kwargs):
        calls.append(args[1].name)
        if len(calls) == 2:  # what a kill leaves: nothing is written after it
            page = (tmp_path / "site" / "index.html").read_text()
            assert '"tap":"b"' in page and '"tap":"logits"' not in page
            assert read_script(tmp_path / "site" / "tiny" / "classes.js")["seen"]
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    given = dict(model=model, report=lambda _: None)
    given["wanted"] = WANTED._replace(taps=("b", "logits"))
    monkeypatch.setattr(atlas_run, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        make_atlas(recipe(), tmp_path / "work", tmp_path / "site", **given)
    make_atlas(recipe(), tmp_path / "work", tmp_path / "site", **given)
    assert calls == ["b", "logits", "logits"]
    page = (tmp_path / "site" / "index.html").read_text()
    assert '"tap":"b"' in page and '"tap":"logits"' in page


def test_networks_share_a_site(made, model):
    """The second network is the first under another name: its lines lie on the same."""
    networks = open_site(made[0] / "site").networks()
    other = {**networks[0], "name": "other", "folder": "other"}
    index = overview.index([*networks, other], {"score"})
    assert [network["folder"] for network in index["networks"]] == ["tiny", "other"]
    svg = overview.plots([*networks, other])["spectral_slope"]
    assert ">other</text>" in svg and "depth in the network" in svg
    lines = overview.layers_csv([*networks, other]).splitlines()
    assert len(lines) == 7
    assert lines[4].removeprefix("other") == lines[1].removeprefix("tiny")


def test_a_foreign_folder_is_refused(tmp_path, model):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"thesis.tex.*no atlas"):
        open_site(tmp_path)
    (tmp_path / "atlas.json").write_text("{}")
    with pytest.raises(ValueError, match="another version"):
        open_site(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        open_site(tmp_path / "thesis.tex")


def test_too_many_channels_are_told_before_any_run(model, tmp_path):
    with pytest.raises(ValueError, match=r"channels=9.*b has 4"):
        make_atlas(
            recipe(), tmp_path, wanted=Wanted(taps=("b",), channels=9), model=model
        )
    with pytest.raises(ValueError, match='Did you mean "first"'):
        make_atlas(recipe(), tmp_path, wanted=Wanted(pick="frist"), model=model)
    assert not list(tmp_path.iterdir())


def test_channel_numbers_as_runs():
    assert overview.units_text([0, 1, 2, 7, 9, 10]) == [[0, 2], [7, 7], [9, 10]]
    assert overview.units_text([5, 3]) == [[5, 5], [3, 3]]
