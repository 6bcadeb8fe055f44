"""What the figures of dreams are made with: likeness, traces, classes, seams."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dreamjax.deepdream.classes import (
    DEEPDRAW,
    Stage,
    draw_classes,
    falling_blur,
    normal_crop,
)
from dreamjax.deepdream.config import dream_config
from dreamjax.deepdream.likeness import (
    EDGES,
    change,
    compressed,
    gain,
    layer_energy,
    likeness,
)
from dreamjax.deepdream.seams import error_by_distance, tiled_gradient
from dreamjax.deepdream.single_scale import climb_pictures
from dreamjax.deepdream.studio import make_easel, make_painter, open_studio
from dreamjax.deepdream.trace import trace_dream
from dreamjax.figures.classes import said_of
from dreamjax.figures.film import gif
from dreamjax.figures.panels import standardized
from dreamjax.filters import gaussian_blur
from dreamjax.hparams import Hparam
from dreamjax.measures.spectrum import band_shares, high_frequency
from dreamjax.models.layers import PLAIN
from dreamjax.objectives import energy, logit
from tests.tiny import tiny_model

SIDE = 16


def picture(seed=0, height=24, width=20):
    random = np.random.default_rng(seed)
    return (0.3 + 0.4 * random.random((height, width, 3))).astype(np.float32)


def test_shares_of_bands():
    """A cosine of 4 periods in 64 pixels has all of its power at 1/16 c/px."""
    wave = np.cos(2 * np.pi * 4 * np.arange(64) / 64)[None] * np.ones((64, 1))
    assert band_shares(wave, (0, 0.03, 0.06, 0.07, 1)) == pytest.approx([0, 0, 1, 0])
    mixed = 1 + np.sqrt(2) * wave  # mean² = 1, and a variance of 1
    assert band_shares(mixed, (0, 0.01, 0.1)) == pytest.approx([0.5, 0.5])
    assert band_shares(np.zeros((8, 8)), EDGES) == [0.0] * 6
    with pytest.raises(ValueError, match=r"edges=\(0\.1, 0\.1\)"):
        band_shares(wave, (0.1, 0.1))


def test_a_dream_is_told_by_energy_change_and_bands():
    model, photo = tiny_model(), picture()
    of = layer_energy(model, "b")
    taps = model.taps(model.variables, photo[None], PLAIN)["b"]
    assert of(photo) == pytest.approx(float(jnp.sum(jnp.square(taps))), rel=1e-5)
    brighter = photo + np.float32(0.1)
    found = likeness(of, photo, brighter)
    assert found.change == pytest.approx(25.5, rel=1e-4)
    assert found.bands == pytest.approx((1, 0, 0, 0, 0, 0), abs=1e-6)
    assert found.energy == pytest.approx(of(brighter) / of(photo))
    assert change(photo, photo) == 0 and np.isnan(gain(1.0, 0.0))


def test_compression_is_that_of_a_jpeg_file():
    flat = np.full((16, 16, 3), 0.5, np.float32)
    assert np.abs(compressed(flat) - flat).max() <= 1 / 255
    photo = np.repeat(picture()[..., :1], 3, axis=2)  # color would be halved in size
    rough, fine = (compressed(photo, quality) for quality in (20, 95))
    assert change(photo, rough) > 2 * change(photo, fine) > 0


@pytest.fixture(scope="module")
def traced():
    config = dream_config()
    config.model = "tests.tiny:tiny_model"
    config.objective = "b"
    config.transforms = "roll(3)"
    config.octaves, config.steps = 2, 3
    config.hparams.learning_rate = (2 / 255, 4 / 255)
    photo = picture(1, 32, 28)
    studio = open_studio(config, [photo.shape[:2]], tiny_model())
    easel = make_easel(studio, photo.shape[:2], 1)
    trace = trace_dream(easel, photo, run=1, snapshots=(1, 3))
    return trace, make_painter(studio, photo.shape[:2])(photo, run=1), easel, photo


def test_a_traced_dream_is_the_painted_one(traced):
    trace, painted, _, photo = traced
    assert np.array_equal(trace.image, painted)
    assert trace.after > trace.before > 0
    assert change(photo, painted) > 1


def test_a_trace_has_every_step_and_the_pictures_asked_for(traced):
    trace, painted, easel, _ = traced
    assert trace.scores.shape == (2, 3) and np.isfinite(trace.scores).all()
    assert sorted(trace.snapshots) == [(0, 1), (0, 3), (1, 1), (1, 3)]
    assert np.array_equal(trace.snapshots[1, 3], painted)
    assert trace.snapshots[0, 1].shape[:2] == easel.sizes[0]
    assert trace.reached[1, 3] == pytest.approx(trace.after, rel=1e-6)
    assert trace.reached[1, 3] > trace.reached[1, 1]


def test_a_snapshot_beyond_the_steps_is_refused(traced):
    _, _, easel, photo = traced
    with pytest.raises(ValueError, match=r"snapshots=4.*1 … 3"):
        trace_dream(easel, photo, snapshots=(4,))


def test_a_crop_lies_near_the_middle():
    ramp = jnp.broadcast_to(jnp.arange(30.0)[:, None, None], (30, 30, 1))
    crop = normal_crop(20)
    keys = jax.random.split(jax.random.key(0), 400)
    corners = np.asarray(jax.vmap(lambda key: crop(key, ramp, {})[0, 0, 0])(keys))
    assert corners.min() == 0 and corners.max() == 10
    # floor of N(5, 3) clipped to 0 … 10: 4.5 on average, 2.7 apart
    assert abs(corners.mean() - 4.5) < 0.5 and 2.2 < corners.std() < 3.2
    assert crop(keys[0], ramp[:20, :20], {}).shape == (20, 20, 1)
    with pytest.raises(ValueError, match="at least 20"):
        crop(keys[0], ramp[:10, :10], {})


def test_the_blur_falls_from_step_to_step():
    images = jnp.asarray(picture()[None]) * 2 - 0.4
    hp = {"sigma_first": jnp.array(2.0), "sigma_last": jnp.array(1.0)}
    found = falling_blur(4)(images, images, jnp.array(2), hp)
    expected = gaussian_blur(jnp.clip(images, 0, 1), 1.5)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    off = {name: jnp.array(0.0) for name in hp}
    plain = falling_blur(4)(images, images, jnp.array(2), off)
    np.testing.assert_allclose(plain, jnp.clip(images, 0, 1), atol=1e-6)


def test_stages_of_deepdraw():
    assert [stage.steps for stage in DEEPDRAW] == [190, 150, 150, 10]
    assert np.prod([stage.scale for stage in DEEPDRAW]) == pytest.approx(1.44)


def test_class_pictures_grow_and_rise():
    model = tiny_model()
    start = np.full((3, SIDE, SIDE, 3), 0.5) + picture(2, SIDE, SIDE)[None] / 10
    stages = [Stage(1.0, 3, (1.0, 0.5), (4.0, 4.0)), Stage(1.25, 2, (0.5, 0.5), (2, 1))]
    drawn = draw_classes(
        model,
        logit(Hparam("class")),
        start,
        {"class": np.array([0, 1, 1])},
        stages,
        view=SIDE,
        blur=[True, True, False],
    )
    assert [ascent.images.shape[2] for ascent in drawn] == [SIDE, 20]
    score = drawn[0].trace.score[:, :, 0]  # [steps, R]
    assert np.isfinite(score).all() and (score[-1] > score[0]).all()
    assert not np.allclose(drawn[0].images[0], drawn[0].images[1])
    rough = [np.abs(np.diff(image[0], axis=0)).mean() for image in drawn[0].images]
    assert rough[2] > 1.5 * rough[1] > 0
    with pytest.raises(ValueError, match=r"start=.*\[2, S, S, 3\]"):
        draw_classes(
            model, logit(0), start, {"x": np.zeros(2)}, stages, view=4, blur=[True] * 2
        )


def test_one_scale_with_and_without_priors():
    """Three runs of one program: plain, blurred, of a gradient alike in all octaves."""
    model, start = tiny_model(), np.stack([picture(5, SIDE, SIDE)] * 3)
    hp = {"blur_width": np.array([0.0, 1.0, 0.0]), "laplacian": np.array([0, 0, 1])}
    climbed = climb_pictures(
        model, energy("b"), start, hp, steps=2, levels=1, snapshots=(1,)
    )
    free, blurred, even = climbed.images[:, 0]
    assert np.isfinite(climbed.images).all()
    assert climbed.images.min() >= 0 and climbed.images.max() <= 1
    score = climbed.trace.score[:, :, 0]
    assert score[1, 0] > score[0, 0]
    assert high_frequency(blurred) < 0.5 * high_frequency(free)
    assert np.abs(even - free).max() > 1 / 255
    first = climbed.snapshots[1][0, 0] - start[0]
    inside = (start[0] > 0.1) & (start[0] < 0.9)
    assert inside.all() and np.abs(first).mean() == pytest.approx(1.5 / 255, rel=1e-3)
    with pytest.raises(ValueError, match="levels=0"):
        climb_pictures(model, energy("b"), start, hp, steps=1)


def test_what_a_network_says_of_its_classes():
    model, images = tiny_model(), np.stack([picture(6), picture(7) ** 2])
    said = said_of(model, images, [2, 0])
    logits = np.asarray(model.taps(model.variables, images, PLAIN)["logits"])
    assert said.logits == pytest.approx([logits[0, 2], logits[1, 0]], rel=1e-5)
    whole = np.exp(logits).sum(axis=1)
    assert said.chances == pytest.approx(np.exp(said.logits) / whole, rel=1e-4)
    assert said.first.tolist() == [logits[0].argmax() == 2, logits[1].argmax() == 0]


def test_tiles_without_overlap_are_wrong_at_their_seams():
    """The gradient of Σ (x[i+1] - x[i])² misses the steps across seams."""
    image = picture(3, 16, 8)

    def rough(tiles):
        return jnp.sum(jnp.square(jnp.diff(tiles, axis=1)))

    slope = jax.jit(jax.grad(rough))
    whole = np.asarray(slope(image[None]))[0]
    found = tiled_gradient(slope, image, 8)
    inner = np.r_[0:7, 9:16]
    np.testing.assert_allclose(found[inner], whole[inner], atol=1e-6)
    assert np.abs(found[7:9] - whole[7:9]).max() > 0.1
    error = error_by_distance(found, whole, 8)
    assert error[0] > 0.1 and error[1:].max() < 1e-6
    moved = tiled_gradient(slope, image, 8, (3, 0))
    assert np.abs(moved[4:6] - whole[4:6]).max() > 0.1  # the seams of the shifted tiles
    with pytest.raises(ValueError, match="multiples of 5"):
        tiled_gradient(slope, image, 5)


def test_a_small_film_plays_every_frame():
    frames = [np.full((8, 10, 3), level, np.float32) for level in (0.2, 0.5, 0.8)]
    film = Image.open(io.BytesIO(gif(frames, fps=10, colors=4)))
    assert film.n_frames == 3 and film.size == (10, 8) and film.info["loop"] == 0
    assert film.info["duration"] == 100
    with pytest.raises(ValueError, match="frames="):
        gif([], fps=10)
    with pytest.raises(ValueError, match="colors=1"):
        gif(frames, fps=10, colors=1)


def test_standardized_pictures_have_one_contrast():
    shown = standardized(picture(4) * 3 - 7)
    assert shown.mean() == pytest.approx(0.5, abs=1e-3)
    assert shown.std() == pytest.approx(0.1, abs=1e-3)
    assert (standardized(np.ones((2, 2, 3))) == 0.5).all()
