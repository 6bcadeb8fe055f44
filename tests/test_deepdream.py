"""The dream of a picture: tiles against the whole, octaves against the notebook."""

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from dreamjax.deepdream import plan
from dreamjax.deepdream import run as dream_run
from dreamjax.deepdream.config import dream_config, take_dream
from dreamjax.deepdream.film import film, moved
from dreamjax.deepdream.finish import blended, keep_color
from dreamjax.deepdream.plan import planned_memory
from dreamjax.deepdream.run import dream
from dreamjax.deepdream.studio import (
    keys_of,
    make_easel,
    make_painter,
    open_studio,
)
from dreamjax.inputs import load_photo
from dreamjax.models import load
from dreamjax.models.layers import PLAIN
from dreamjax.panorama import seam
from dreamjax.report.recipe import read_recipe
from tests.tiny import tiny_model

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def lite0():
    return load("efficientnet_lite0")


def config_of(**values):
    """Returns an unlocked config of the tiny network: one octave of 2 steps."""
    config = dream_config()
    config.model = "tests.tiny:tiny_model"
    config.objective = "b"
    config.transforms = "roll(5)"
    config.longest = 0
    config.octaves = 1
    config.steps = 2
    config.tensorboard = False
    config.memory = 1.0
    for name, value in values.items():
        if name in config.hparams:
            config.hparams[name] = value
        else:
            config[name] = value
    return config


def noise(height, width, seed=0):
    random = np.random.default_rng(seed)
    small = random.random((height // 4 + 2, width // 4 + 2, 3))
    smooth = ndimage.zoom(small, (4, 4, 1), order=1)[:height, :width]
    return (0.25 + smooth / 2).astype(np.float32)


def slopes(config, photo, model, tap):
    """Returns the gradient that one step follows, and that of the whole image.

    One step of plain ascent, so large that rounding does not count.
    """
    expected = np.asarray(jax.jit(jax.grad(partial(energy, model, tap)))(photo))
    rate = 0.2 / np.abs(expected).max()
    with config.unlocked():
        config.transforms = ""
        config.gradient = ()
        config.steps = 1
        config.hparams.learning_rate = (float(rate),)
    paint = make_painter(open_studio(config, [photo.shape[:2]], model), photo.shape[:2])
    return (paint(photo) - photo) / rate, expected


def energy(model, tap, image):
    """The mean of tap², the image [H, W, 3] looked at as a whole."""
    taps = model.taps(model.variables, image[None], PLAIN)
    return jnp.mean(jnp.square(taps[tap]))


def relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("tile", [(64, 96), (24, 96), (64, 20), (24, 20), (16, 12)])
def test_tiles_give_the_gradient_of_the_whole(tile):
    """Everywhere, borders included: the sizes are multiples of the stride."""
    model, photo = tiny_model(), noise(64, 96)
    found, expected = slopes(config_of(tile=tile, tile_batch=3), photo, model, "b")
    assert np.abs(expected).max() > 0
    assert relative(found, expected) <= 1e-4


def test_a_real_network_in_tiles(lite0):
    """EfficientNet-Lite0 `b5` sees 96 px; seams at 128 and between."""
    photo = noise(192, 256)
    config = config_of(model="efficientnet_lite0", objective="b5", tile=(128, 160))
    found, expected = slopes(config, photo, lite0, "b5")
    assert relative(found, expected) <= 1e-4


def test_an_odd_size_agrees_away_from_the_border():
    model, photo = tiny_model(), noise(61, 83)
    found, expected = slopes(config_of(tile=(24, 24)), photo, model, "b")
    inner = (slice(10, -10), slice(10, -10))  # a pixel's units, and what they see
    found, expected = found[inner], expected[inner]
    factor = (found * expected).sum() / (expected**2).sum()  # other number of units
    assert relative(found, factor * expected) <= 1e-4


def test_too_small_an_overlap_shows_at_the_seams():
    """The check above can fail."""
    model, photo = tiny_model(), noise(64, 96)
    config = config_of(tile=(24, 20), overlap=0)
    assert relative(*slopes(config, photo, model, "b")) > 1e-2


def notebook(model, tap, photo, rate, octaves=3, scale=1.4, steps=3):
    """The 2015 notebook's loop without jitter, written down once more in NumPy."""

    bases = [photo]
    for _ in range(octaves - 1):
        h, w = (round(n / scale) for n in bases[-1].shape[:2])
        zoom = (h / bases[-1].shape[0], w / bases[-1].shape[1], 1)
        bases.append(ndimage.zoom(bases[-1], zoom, order=1))
    detail = np.zeros_like(bases[-1])
    for base in reversed(bases):
        zoom = [a / b for a, b in zip(base.shape, detail.shape, strict=True)]
        x = np.clip(base + ndimage.zoom(detail, zoom, order=1), 0, 1)
        for _ in range(steps):
            x = jnp.asarray(x, jnp.float32)
            g = np.asarray(jax.grad(partial(energy, model, tap))(x))
            x = np.clip(np.asarray(x) + rate / np.abs(g).mean() * g, 0, 1)
        detail = x - base
    return x


def test_octaves_follow_the_notebook():
    model, photo = tiny_model(), noise(98, 70)  # octaves of 98, 70 and 50 by 70, 50, 36
    config = config_of(
        transforms="", resize="corner", octaves=3, steps=3, learning_rate=(0.02,)
    )
    paint = make_painter(open_studio(config, [(98, 70)], model), (98, 70))
    expected = notebook(model, "b", photo, 0.02)
    assert np.abs(expected - photo).mean() > 0.01
    np.testing.assert_allclose(paint(photo), expected, atol=2e-4)


def test_one_compiled_network_for_all_sizes(tmp_path):
    model, photos = tiny_model(), [noise(40, 64), noise(70, 30, 1)]
    config = config_of(octaves=3, tile=(24, 20))
    studio = open_studio(config, [photo.shape[:2] for photo in photos], model)
    for photo in photos:
        make_painter(studio, photo.shape[:2])(photo)
    assert studio.look.run._cache_size() == 1


def test_more_programs_compute_fewer_pixels_and_the_same_dream():
    """Sizes that fill their tiles: what is computed is the same in any tile."""
    model, photo = tiny_model(), noise(64, 96)
    made, programs = [], []
    for count in (1, 2):
        config = config_of(octaves=2, octave_scale=2.0, programs=count)
        studio = open_studio(config, [(64, 96)], model)
        made.append(make_painter(studio, (64, 96))(photo))
        programs.append(studio.look.run._cache_size())
    assert programs == [1, 2]
    inner = (slice(8, -8), slice(8, -8))
    assert (
        np.abs(made[0] - made[1])[inner].mean() < 0.1 * np.abs(made[0] - photo).mean()
    )


def test_runs_do_not_mix():
    """A setting gives the same picture alone and beside others."""
    model, photo = tiny_model(), noise(48, 40)
    config = config_of(
        octaves=2, octave_strength=(0.0, 1.0), learning_rate=(0.01, 0.03)
    )
    studio = open_studio(config, [(48, 40)], model)
    alone = [make_painter(studio, (48, 40))(photo, run=i) for i in range(4)]
    assert len({picture.tobytes() for picture in alone}) == 4
    easel = make_easel(studio, (48, 40), 4)
    made = easel.dream(photo, [0, 1, 2, 3], keys_of(easel, [0, 1, 2, 3], 0))
    np.testing.assert_allclose(made.images, alone, atol=1e-5)


def test_a10_a_dream_that_freezes_keeps_a_finite_picture():
    config = config_of(octaves=2, learning_rate=(0.01, 1e38))
    config.param, config.optimizer, config.gradient = "fourier", "sgd", ()
    photo = noise(48, 40)
    studio = open_studio(config, [(48, 40)], tiny_model())
    easel = make_easel(studio, (48, 40), 2)
    alive = []
    made = easel.dream(
        *(photo, [0, 1], keys_of(easel, [0, 1], 0)),
        watch=lambda octave, done, info, now: alive.append(np.asarray(now).tolist()),
    )
    assert made.alive.tolist() == [True, False] and alive == [[True, False]] * 4
    assert np.isfinite(made.images).all()
    # It stayed at its start, resized from octave to octave.
    np.testing.assert_allclose(made.images[1], photo, atol=1e-5)


def test_a12_an_octave_ends_after_a_full_cycle():
    # Of two steps the first is a turn of both, the second of the first only.
    photo = noise(48, 40)
    config = config_of(octaves=2, blur_width=(1.5,), blur_every=(1, 3))
    easel = make_easel(open_studio(config, [(48, 40)], tiny_model()), (48, 40), 2)
    made = easel.dream(photo, [0, 1], keys_of(easel, [0, 1], 0), snapshots=(1,))
    np.testing.assert_allclose(made.images[0], made.images[1], atol=1e-5)
    assert np.abs(made.images[0] - photo).max() > 1e-2
    for shot in made.snapshots.values():
        np.testing.assert_allclose(shot[0], shot[1], atol=1e-5)


def test_frames_have_draws_of_their_own():
    model, photo = tiny_model(), noise(48, 40)
    paint = make_painter(open_studio(config_of(), [(48, 40)], model), (48, 40))
    assert np.array_equal(paint(photo, frame=3), paint(photo, frame=3))
    assert not np.array_equal(paint(photo, frame=3), paint(photo, frame=4))


def test_a_mask_says_where(tmp_path):
    half = np.zeros((40, 48, 3), np.uint8)
    half[:, 24:] = 255
    Image.fromarray(half).save(tmp_path / "mask.png")
    model, photo = tiny_model(), noise(40, 48)
    config = config_of(mask=str(tmp_path / "mask.png"))
    masked = make_painter(open_studio(config, [(40, 48)], model), (40, 48))(photo)
    np.testing.assert_allclose(masked[:, :24], photo[:, :24], atol=1e-6)
    assert np.abs(masked[:, 24:] - photo[:, 24:]).mean() > 1e-3


def test_after_steps_by_hand():
    photo = np.full((1, 1, 3), 0.5, np.float32)
    dreamed = np.array([[[0.9, 0.5, 0.5]]], np.float32)
    np.testing.assert_allclose(keep_color(dreamed, photo), 0.5 + 0.299 * 0.4, rtol=1e-5)
    np.testing.assert_allclose(blended(dreamed, photo, 0.25)[0, 0], [0.6, 0.5, 0.5])
    assert blended(dreamed, photo, 1.0) is dreamed


def test_a_class_is_dreamed():
    """ "More cat-like": the log-probability of a class rises, tile by tile."""
    config = config_of(objective='log_probability("cat")', learning_rate=(0.005,))
    model, photo = tiny_model(), noise(64, 64)
    for tile in ((64, 64), (32, 32)):
        config.tile = tile
        paint = make_painter(open_studio(config, [(64, 64)], model), (64, 64))
        both = jnp.stack([photo, paint(photo)])
        logits = model.taps(model.variables, both, PLAIN)["logits"]
        before, now = jax.nn.log_softmax(logits)[:, 2]
        assert now > before + 1e-3


def test_a_dream_is_made_again_from_its_recipe(photos, tmp_path, monkeypatch, capsys):
    from absl import flags
    from absl.testing import flagsaver

    from experiments import rerun

    config = config_of(image=str(photos), keep_color=True)
    dream(config, tmp_path / "first", report=lambda line: None)
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["test"])
    monkeypatch.chdir(tmp_path)
    picture = tmp_path / "first" / "photo1" / "runs" / "run_0000.png"
    monkeypatch.setattr(sys, "path", [str(REPO), *sys.path])
    with pytest.raises(ValueError, match=r"tests\.tiny:tiny_model.*runs no code"):
        rerun.main([str(picture)])
    with flagsaver.flagsaver((rerun.OWN["model"], config.model)):
        assert rerun.main([str(picture)]) == 0
    assert "the same picture, to the last bit" in capsys.readouterr().out


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of two photos and one broken file."""
    folder = tmp_path_factory.mktemp("photos")
    for i, (h, w) in enumerate([(40, 56), (64, 48)]):
        picture = (255 * noise(h, w, i)).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"photo{i}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    return folder


def test_a_folder_is_dreamed_and_its_broken_file_skipped(photos, tmp_path):
    said = []
    config = config_of(image=str(photos), tensorboard=True, learning_rate=(0.01, 0.02))
    results = dream(config, tmp_path, report=said.append)
    assert [r.images.shape for r in results] == [(2, 40, 56, 3), (2, 64, 48, 3)]
    assert any("broken.jpg" in line for line in said)
    for name in ("photo0", "photo1"):
        folder = tmp_path / name
        for file in ("before_after.png", "sheet.png", "index.html", "summary.csv"):
            assert (folder / file).exists()
        recipe = read_recipe(folder / "runs" / "run_0001.png")
        assert recipe["config"]["octaves"] == 1 and recipe["run"] == 1
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 2 * 2  # runs × steps
        assert list((folder / "tb").iterdir())
    assert all(row["metrics"]["gain"] > 1 for r in results for row in r.rows)
    said.clear()
    again = dream(config, tmp_path, report=said.append)
    assert sum("nothing to dream" in line for line in said) == 2
    assert np.array_equal(again[0].images, results[0].images)


def test_a16_photos_of_one_name_are_all_dreamed(tmp_path):
    for i, folder in enumerate("abcd"):
        (tmp_path / "cards" / folder).mkdir(parents=True)
        pixels = (255 * noise(24, 24, i)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "cards" / folder / "IMG_0001.png")
    said = []
    config = config_of(image=f"{tmp_path}/cards/**/*.png", steps=1)
    results = dream(config, tmp_path / "out", report=said.append)
    names = [f"{folder}_IMG_0001" for folder in "abcd"]
    assert [result.folder.name for result in results] == names
    assert all((tmp_path / "out" / name / "sheet.png").exists() for name in names)
    assert said[-1] == "4 of 4 photos dreamed"
    assert not np.array_equal(results[0].photo, results[1].photo)


def test_c3_a_thin_photo_is_named_and_skipped(tmp_path, monkeypatch):
    """Judged by its head; and the others are decoded one at a time."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (1, 160)).save(tmp_path / "in" / "a_thin.png")
    for i in range(2):
        pixels = (255 * noise(24, 24, i)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"b{i}.png")
    events = []
    monkeypatch.setattr(
        dream_run,
        "load_photo",
        lambda path, **options: events.append(path.name) or load_photo(path, **options),
    )

    def report(line):
        events.append(line)

    config = config_of(image=str(tmp_path / "in"), steps=1)
    results = dream(config, tmp_path / "out", report=report)
    assert [result.folder.name for result in results] == ["b0", "b1"]
    assert "a_thin.png" in events[0] and "size=(160, 1)" in events[0]
    assert events.index("b1.png") > events.index("b0.png") + 3  # b0 was dreamed first
    assert events[-1].startswith("2 of 3 photos dreamed, skipped: ")
    with pytest.raises(ValueError, match=r"a_thin\.png.*size=\(160, 1\)"):
        config.image = str(tmp_path / "in" / "a_thin.png")
        dream(config, tmp_path / "alone", report=report)


def test_c3_a_photo_damaged_behind_its_head_is_skipped(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(2):
        pixels = (255 * noise(24, 24, i)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    whole = (tmp_path / "in" / "0.png").read_bytes()
    (tmp_path / "in" / "0.png").write_bytes(whole[: len(whole) // 2])
    said = []
    config = config_of(image=str(tmp_path / "in"), steps=1)
    (result,) = dream(config, tmp_path / "out", report=said.append)
    assert result.folder == tmp_path / "out" / "1"
    assert said[-1].startswith("1 of 2 photos dreamed, skipped: ")


@pytest.mark.parametrize("shape", [(7, 60), (60, 3), (5, 5)])
def test_c3_sides_shorter_than_the_network_takes_are_mirrored(shape):
    """The network takes 8 px: what is missing is the picture mirrored."""
    model, photo = tiny_model(), noise(*shape)
    config = config_of(transforms="", steps=1)
    dreamed = make_painter(open_studio(config, [shape], model), shape)(photo)
    assert dreamed.shape == (*shape, 3)
    assert np.isfinite(dreamed).all() and np.abs(dreamed - photo).max() > 1e-3


def test_a_dream_is_killed_and_goes_on(photos, tmp_path):
    """kill -9 between two octaves; the rest gives the same bits."""
    config = config_of(image=str(photos / "photo0.png"), octaves=2, steps=3)
    whole = dream(config, tmp_path / "whole", report=lambda line: None)[0]
    script = f"""
import sys, os, signal
sys.path.insert(0, {str(REPO)!r})
from dreamjax import checkpoint
from dreamjax.deepdream import run
from tests.test_deepdream import config_of
save = checkpoint.save
def save_and_die(*given):
    save(*given)
    os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save = save_and_die
config = config_of(image={str(photos / "photo0.png")!r}, octaves=2, steps=3)
run.dream(config, {str(tmp_path / "killed")!r})
"""
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert not (tmp_path / "killed" / "before_after.png").exists()
    resumed = dream(config, tmp_path / "killed", report=lambda line: None)[0]
    assert np.array_equal(resumed.images, whole.images)
    logs = [(tmp_path / n / "metrics.jsonl").read_text() for n in ("whole", "killed")]
    assert logs[0] == logs[1]


def test_another_config_is_refused(photos, tmp_path):
    config = config_of(image=str(photos / "photo0.png"))
    dream(config, tmp_path, report=lambda line: None)
    config.steps = 3
    with pytest.raises(ValueError, match="holds another config: steps: 2 there, 3 now"):
        dream(config, tmp_path, report=lambda line: None)


def test_moved_by_hand():
    ramp = np.broadcast_to(np.arange(9.0)[None, :, None], (9, 9, 1)).astype(np.float32)
    still = moved(ramp, zoom=0.0, turn=0.0, shift=(0, 0))
    np.testing.assert_allclose(still, ramp)
    np.testing.assert_allclose(
        moved(ramp, zoom=0.5, turn=0.0, shift=(0, 0))[4, :, 0], np.linspace(2, 6, 9)
    )
    turned = moved(ramp, zoom=0.0, turn=90.0, shift=(0, 0))
    np.testing.assert_allclose(turned[:, 4, 0], np.arange(9.0)[::-1], atol=1e-4)
    shifted = moved(ramp, zoom=0.0, turn=0.0, shift=(0, 2))
    np.testing.assert_allclose(shifted[0, 2:, 0], np.arange(7.0), atol=1e-5)


def test_a_film_feeds_on_itself_and_goes_on(photos, tmp_path):
    config = config_of(
        image=str(photos / "photo0.png"), frames=3, steps=1, learning_rate=(0.01, 0.03)
    )
    quiet = {"report": lambda line: None}
    made = film(config, tmp_path / "a", **quiet)
    assert [path.exists() for path in made.frames] == [True] * 3
    assert made.files["film"].stat().st_size > 0
    three = [path.read_bytes() for path in made.frames]
    assert len(set(three)) == 3
    # As if it had been killed after the second frame.
    from dreamjax import checkpoint

    (tmp_path / "b").mkdir()
    (start,), _ = checkpoint.load(
        tmp_path / "a" / "frames" / "next.npz", (np.zeros((40, 56, 3), np.float32),)
    )
    del start
    kept = checkpoint.save

    def stop_after_two(path, tree, meta):
        kept(path, tree, meta)
        if meta["frame"] == 2:
            raise KeyboardInterrupt

    checkpoint.save = stop_after_two
    try:
        with pytest.raises(KeyboardInterrupt):
            film(config, tmp_path / "b", **quiet)
    finally:
        checkpoint.save = kept
    again = film(config, tmp_path / "b", **quiet)
    assert [path.read_bytes() for path in again.frames] == three


def test_an_mp4_without_its_library_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)  # as if not installed
    config = config_of(frames=2, film="mp4")
    with pytest.raises(ValueError, match="requirements-video"):
        film(config, tmp_path / "film", report=lambda line: None)
    assert not (tmp_path / "film").exists()


def test_a_rolled_panorama_dreams_the_rolled_dream():
    """Around the equator and with the poles as they lie; exact but for rounding."""
    model, photo = tiny_model(), noise(64, 128)
    config = config_of(
        panorama=True, poles=False, octaves=2, octave_scale=2.0, tile=(64, 40)
    )
    paint = make_painter(open_studio(config, [(64, 128)], model), (64, 128))
    plain, rolled = paint(photo), paint(np.roll(photo, 32, axis=1))
    assert np.abs(plain - photo).mean() > 1e-3
    np.testing.assert_allclose(rolled, np.roll(plain, 32, axis=1), atol=1e-4)


def test_a_panorama_has_no_seam_and_its_poles_are_dreamed():
    model = tiny_model()
    y, x = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(0, 2 * np.pi, 129)[:-1])
    photo = 0.5 + 0.2 * np.stack([np.cos(x) * (1 - y**2), np.sin(x), y], -1)
    photo = photo.transpose(1, 0, 2).astype(np.float32)
    config = config_of(panorama=True, steps=4, learning_rate=(0.02,))
    paint = make_painter(open_studio(config, [(64, 128)], model), (64, 128))
    dreamed = paint(photo)
    assert not bool(seam(dreamed).visible)
    change = np.abs(dreamed - photo).mean(axis=(1, 2))
    assert change[:6].min() > 0.2 * change.mean()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("octaves", 0, "octaves=0"),
        ("octave_scale", 1.0, "octave_scale=1.0"),
        ("blend", 1.5, "blend=1.5"),
        ("programs", 0, "programs=0"),
        ("tile", (32, 0), "tile=(32, 0)"),
        ("border", "miror", "Did you mean"),
        ("resize", "corners", "Did you mean"),
        ("octave_strength", (-1.0,), "hparams.octave_strength=-1.0"),
    ],
)
def test_wrong_settings_are_named(key, value, said):
    with pytest.raises(ValueError) as error:
        take_dream(config_of(**{key: value}))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("neuron('b', 1)", "tile by tile"),
        ("energy('b') * energy('a')", "tile by tile"),
        ("diversity('b')", "tile by tile"),
        ("energy('c')", "tap='c'"),
    ],
)
def test_objectives_that_cannot_be_dreamed(objective, said):
    with pytest.raises(ValueError) as error:
        open_studio(config_of(objective=objective), [(40, 40)], tiny_model())
    assert said in str(error.value)


def test_memory_is_estimated_before_anything_compiles():
    config = config_of(memory=0.001)
    with pytest.raises(ValueError, match=r"memory='0.0 GB needed.*longest"):
        make_painter(open_studio(config, [(200, 200)], tiny_model()), (200, 200))


def test_a_harmed_frame_of_a_film_is_refused_by_name(photos, tmp_path):
    config = config_of(image=str(photos / "photo0.png"), frames=2, steps=1)
    made = film(config, tmp_path, report=lambda line: None)
    one, two = (path.read_bytes() for path in made.frames)
    for first, second in ((two, one), (one, two[:-9]), (b"", two)):
        made.frames[0].write_bytes(first)
        made.frames[1].write_bytes(second)
        with pytest.raises(ValueError, match=r"00000.\.png.* not as written.*delete"):
            film(config, tmp_path, report=lambda line: None)


def test_a6_a_harmed_log_of_a_dream_is_written_again(photos, tmp_path):
    config = config_of(image=str(photos / "photo0.png"), octaves=2, steps=2)
    config.tensorboard = True
    dream(config, tmp_path, report=lambda line: None)
    log, merged = tmp_path / "metrics" / "block_0000.jsonl", tmp_path / "metrics.jsonl"
    kept, (events,) = merged.read_bytes(), (tmp_path / "tb").glob("0000*/*")
    log.write_bytes(b"")
    events.unlink()
    said = []
    dream(config, tmp_path, report=said.append)
    assert any("block_0000.jsonl is damaged: written again" in line for line in said)
    assert any("events of runs 0 were damaged or missing" in line for line in said)
    assert merged.read_bytes() == kept
    assert len(list((tmp_path / "tb").glob("0000*/*"))) == 1


def test_a8_a_dream_goes_on_in_the_blocks_and_tiles_that_it_was_begun_in(
    tmp_path, monkeypatch
):
    """Less memory is free at the second start; nothing is made again, or otherwise."""
    free = [8_000_000_000]
    monkeypatch.setattr(plan, "free_memory", lambda: free[0])
    config = config_of(memory=0.0, objective="b:unit", unit=(0, 1, 2), longest=64)
    Image.fromarray(np.uint8(255 * noise(60, 64))).save(tmp_path / "photo.png")
    config.image = str(tmp_path / "photo.png")
    sizes = [(60, 64)]
    begun = open_studio(config, sizes, memory=planned_memory(tmp_path / "a", config))
    first = dream(config, tmp_path / "a", report=lambda line: None)[0]
    result = tmp_path / "a" / "results" / "block_0000.npz"
    before = result.read_bytes()
    free[0] = 3_000_000  # for one run at a time, in smaller tiles
    assert plan.runs_at_once(config, (60, 64)) == 1
    lines = []
    again = dream(config, tmp_path / "a", report=lines.append)[0]
    assert result.read_bytes() == before and any("is finished" in x for x in lines)
    np.testing.assert_array_equal(again.images, first.images)
    memory = planned_memory(tmp_path / "a", config)
    gone_on = open_studio(config, sizes, memory=memory)
    tiles = [make_easel(studio, (60, 64), 3).said for studio in (begun, gone_on)]
    assert tiles[0] == tiles[1]
    (tmp_path / "a" / "memory.json").write_text('{"bytes": 0}')
    with pytest.raises(ValueError, match=r"memory\.json.*damaged.*Delete it"):
        dream(config, tmp_path / "a", report=lambda line: None)
