"""Inversion: energies by hand, both optimizers, starts, masks, a run of each paper."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dreamjax.deepdream.reach import Reach
from dreamjax.figures.kept import kept_in
from dreamjax.figures.panels import boxed
from dreamjax.inversion import cvpr2015, ijcv2016, masks
from dreamjax.inversion import energy as terms
from dreamjax.inversion.descent import heavy_ball, leaky_adagrad, stable_rate
from dreamjax.measures.gradient_histogram import gradient_histogram, intersection
from dreamjax.models.model import preprocess
from tests.tiny import tiny_model

SIZE = (16, 12)


def test_variation_by_hand():
    image = jnp.zeros((1, 2, 2, 1)).at[0, 0, 0, 0].set(3.0).at[0, 1, 0, 0].set(7.0)
    # Steps down and right: (4, -3), (0, 0), (0, -7), (0, 0); borders repeated.
    np.testing.assert_allclose(terms.variation(image, 2.0), [25.0 + 49.0])
    np.testing.assert_allclose(terms.variation(image, 1.0), [5.0 + 7.0], rtol=1e-6)
    half = terms.half_variation(image, {"beta": 2.0})
    np.testing.assert_allclose(half, [37.0])
    mean = terms.mean_variation(image, {"beta": 2.0})
    np.testing.assert_allclose(mean, [74.0 / 4])


def test_the_guard_bounds_the_slope_of_the_variation():
    flat = jnp.zeros((1, 1, 2, 1)).at[0, 0, 1, 0].set(1e-4)
    slope = jax.grad(lambda x: terms.variation(x, 1.0).sum())(flat)
    # (1/2) max(1e-8, 1e-5)^(-1/2) 2 step, not the sign of the step.
    np.testing.assert_allclose(slope[0, 0, 1, 0], 1e-4 / np.sqrt(1e-5), rtol=1e-5)
    slope = jax.grad(lambda x: terms.variation(x, 2.0).sum())(flat)
    np.testing.assert_allclose(slope[0, 0, 1, 0], 2e-4, rtol=1e-5)
    zero = jax.grad(lambda x: terms.variation(x, 1.0).sum())(jnp.zeros((1, 3, 3, 2)))
    assert np.isfinite(zero).all() and not zero.any()


def test_powers_of_values_and_of_colors():
    image = jnp.asarray([[[[3.0, -4.0]], [[0.0, 1.0]]]])  # [1, 2, 1, 2]
    hp = {"alpha": 6.0}
    powers = (3.0**6 + 4.0**6 + 1) / 2
    np.testing.assert_allclose(terms.half_powers(image, hp), [powers], rtol=1e-6)
    colors = (5.0**6 + 1) / 2
    np.testing.assert_allclose(terms.mean_color_power(image, hp), [colors], rtol=1e-6)


def test_colors_end_within_the_ball():
    image = 300 * jax.random.normal(jax.random.key(0), (2, 40, 40, 3))
    image = image.at[0, 0, 0].set(jnp.asarray([1.0, 2.0, 3.0]))
    held = terms.within_color_ball(image, image, 0, {"color_limit": 160.0})
    length = np.linalg.norm(np.asarray(held), axis=-1)
    assert np.isfinite(length).all() and length.max() <= 160.0
    assert length.max() > 159.99
    np.testing.assert_array_equal(held[0, 0, 0], [1.0, 2.0, 3.0])


def test_errors_are_relative_and_masked():
    taps = {"a": jnp.asarray([[[[1.0, 5.0]]], [[[2.0, 0.0]]]])}  # [2, 1, 1, 2]
    hp = {"goal": jnp.asarray([[[2.0, 4.0]]]), "mask": jnp.ones((1, 1, 2))}
    hp |= {"fidelity": 10.0}
    score = terms.matched("a")(taps, hp)
    np.testing.assert_allclose(score, [-10 * 2 / 20, -10 * 16 / 20])
    hp["mask"] = jnp.asarray([[[1.0, 0.0]]])
    np.testing.assert_allclose(terms.matched("a")(taps, hp), [-10 / 4, 0])
    np.testing.assert_allclose(terms.aligned("a")(taps, hp), [220.0, 40.0])


def moves(optimizer, grads):
    """Returns the updates of a scalar parameter."""
    state, found = optimizer.init(jnp.zeros(())), []
    for grad in grads:
        move, state = optimizer.update(jnp.asarray(grad), state)
        found.append(float(move))
    return found


def test_the_heavy_ball_stops_whenever_its_rate_changes():
    ball = heavy_ball(jnp.asarray([1.0, 0.5]), jnp.asarray([2, 3]))
    found = moves(ball, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    # The last phase goes on after its end.
    expected = [-1, -1.9, -0.5, -0.95, -0.855, -0.7695]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="rates"):
        heavy_ball(jnp.asarray([1.0]), jnp.asarray([2, 3]))


def test_the_leaky_accumulator():
    found = moves(leaky_adagrad(2.0), [3.0, -1.0])
    first = -3 / (0.5 + 3)
    second = 0.9 * first + 1 / (0.5 + np.sqrt(0.9 * 9 + 1))
    np.testing.assert_allclose(found, [first, second], rtol=1e-6)
    steady = moves(leaky_adagrad(1e9, 0.5), [4.0] * 80)
    np.testing.assert_allclose(steady[-1], -0.5 * 10**0.5, rtol=1e-3)


def test_the_stable_rate_is_where_the_heavy_ball_stays_bounded():
    np.testing.assert_allclose(stable_rate(0.004, 1.0), 0.004)
    np.testing.assert_allclose(stable_rate(0.004, 100.0), 3 / 800, rtol=1e-6)
    np.testing.assert_allclose(stable_rate(0.004, 100.0, 700.0), 3 / 1500, rtol=1e-6)

    def runs_away(rate):
        # The board of ±1 is the vector of the largest curvature, 8 λ, of (λ/2) TV².
        board = (-1.0) ** np.add.outer(np.arange(12), np.arange(12))
        x = jnp.asarray(board, jnp.float32)[None, :, :, None]
        ball = heavy_ball(jnp.asarray([rate]), jnp.asarray([1]))
        state = ball.init(x)
        slope = jax.jit(jax.grad(lambda x: 100 * terms.variation(x, 2.0).sum() / 2))
        for _ in range(50):
            move, state = ball.update(slope(x), state)
            x = optax.apply_updates(x, move)
        assert np.isfinite(x).all()
        return float(jnp.max(jnp.abs(x))) > 10

    assert not runs_away(float(stable_rate(0.004, 100.0)))
    assert runs_away(4.2 / 800)


def test_all_repeats_start_on_one_sphere_or_each_on_its_own():
    hp, key = {"start": jnp.asarray(5.0)}, jax.random.key(0)
    start = cvpr2015.sphere((4, 3, 3, 2))(key, hp)
    np.testing.assert_allclose(jnp.linalg.norm(start), 5, rtol=1e-5)
    apart = cvpr2015.sphere((4, 3, 3, 2), apart=True)(key, hp)
    np.testing.assert_allclose(cvpr2015.norms(apart), [5, 5, 5, 5], rtol=1e-5)


def test_the_pixels_that_units_see():
    reach = Reach(stride=4, before=3, after=8)  # unit j sees 4 j - 3 … 4 j + 7
    assert masks.field(reach, (2, 4), 100) == (5, 20)
    assert masks.field(reach, (0, 6), 24) == (0, 24)
    image = boxed(np.zeros((5, 6, 3)), [(1, 2, 4, 5)], (1, 0, 0))
    assert image[..., 0].sum() == 8 and image[1, 2, 0] == 1 and image[3, 4, 0] == 1
    assert not image[2, 3].any()


def test_masks_lie_in_the_middle_or_in_a_group():
    mask = masks.neighborhood((7, 8, 3), 5)
    assert mask.sum() == 75 and mask[1:6, 1:6].all()
    assert masks.neighborhood((3, 3, 2), 5).all()
    both = masks.filter_group((2, 2, 5), 0) + masks.filter_group((2, 2, 5), 1)
    assert both.min() == both.max() == 1
    assert masks.filter_group((4,), 1).tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="positions"):
        masks.neighborhood((4,), 5)
    with pytest.raises(ValueError, match="group=2"):
        masks.filter_group((4,), 2)


@pytest.fixture(scope="module")
def pictures():
    photos = jax.random.uniform(jax.random.key(1), (2, *SIZE, 3))
    return np.asarray(preprocess(photos, tiny_model().record))


def test_features_of_parts_are_those_of_all(pictures):
    three = np.concatenate([pictures, pictures[:1]])
    found = cvpr2015.features(tiny_model(), ["a", "logits"], three, lanes=2)
    assert found["a"].shape == (3, 8, 6, 6) and found["logits"].shape == (3, 3)
    np.testing.assert_array_equal(found["a"][0], found["a"][2])
    with pytest.raises(ValueError, match="tap='c'"):
        cvpr2015.features(tiny_model(), ["c"], three)


def test_pictures_are_inverted_as_in_2015(pictures):
    model = tiny_model()
    goals = cvpr2015.features(model, ["a"], pictures)["a"]
    found = cvpr2015.invert(
        model,
        "a",
        goals[[0, 1, 0]],
        size=SIZE,
        sigma=cvpr2015.norms(pictures)[[0, 1, 0]],
        energy=cvpr2015.Energy(tv=np.asarray([0.01, 0.01, 30.0]), range=0.0),
        rates=((np.asarray([0.02, 0.02, 1e6]), 30), (0.004, 30)),
        repeats=2,
        snapshots=(0, 30),
    )
    assert found.images.shape == (3, 2, *SIZE, 3) and found.curve.shape == (61, 3, 2)
    assert found.alive.tolist() == [True, True, False]
    assert np.isfinite(found.errors).all()
    assert (found.errors[:2] < 0.2).all() and (found.curve[0, :2] > 0.5).all()
    seen = cvpr2015.features(model, ["a"], found.images[1])["a"]
    error = np.sum((seen - goals[1]) ** 2, axis=(1, 2, 3)) / np.sum(goals[1] ** 2)
    np.testing.assert_allclose(found.errors[1], error, rtol=1e-3)
    start = np.linalg.norm(found.snapshots[0][0])
    np.testing.assert_allclose(start, cvpr2015.norms(pictures)[0], rtol=1e-5)


def test_a_network_that_hides_its_preprocessing_cannot_be_inverted(pictures):
    model = tiny_model()._replace(network=None)
    with pytest.raises(ValueError, match="preprocessing is not known apart"):
        cvpr2015.features(model, ["a"], pictures)


def test_the_curvature_of_a_linear_layer_is_that_of_its_matrix(pictures):
    model, x = tiny_model(), pictures[0]
    points = np.eye(x.size, dtype=np.float32).reshape(-1, *SIZE, 3)
    columns = cvpr2015.features(model, ["a/pre"], points, lanes=x.size)["a/pre"]
    matrix = columns.reshape(x.size, -1).T
    goal = matrix @ x.ravel()
    top = 2 * 9.0 * np.linalg.norm(matrix, 2) ** 2 / np.sum(goal**2)
    found = cvpr2015.data_curvature(model, "a/pre", x, sigma=3.0, updates=60)
    np.testing.assert_allclose(found, top, rtol=0.02)


def test_weights_are_those_of_gray_levels_in_any_unit():
    hp = ijcv2016.weights(ijcv2016.Energy(), 2, (4, 5), 1.0)
    np.testing.assert_allclose(hp["range"], 80.0**-6, rtol=1e-5)
    np.testing.assert_allclose(hp["tv"], (6.5 / 80) ** 2, rtol=1e-5)
    np.testing.assert_allclose(hp["rate"], 20 * 0.05 * 6400 / 6, rtol=1e-5)
    image = 40 * jax.random.normal(jax.random.key(0), (1, 4, 5, 3))
    small = ijcv2016.weights(ijcv2016.Energy(), 2, (4, 5), 0.01)
    for name, term in (("range", terms.mean_color_power), ("tv", terms.mean_variation)):
        one = {"alpha": 6.0, "beta": 2.0}
        paid = hp[name][0] * term(image, one), small[name][0] * term(image / 100, one)
        np.testing.assert_allclose(*paid, rtol=1e-4)
    assert cvpr2015.gray_level(tiny_model().record) == pytest.approx(1 / 255 / 0.25)


def test_noise_has_the_colors_of_a_photo():
    drawn = ijcv2016.noise(0, (1, 64, 64, 3), 80.0)
    np.testing.assert_allclose(np.quantile(drawn, 0.95), 80 / 3**0.5, rtol=1e-4)
    assert abs(float(drawn.mean())) < 2


def test_cuts_fall_on_every_place_about_the_middle():
    canvas = jnp.arange(6.0)[:, None, None] * jnp.ones((1, 8, 1))
    crop = jax.jit(jax.vmap(ijcv2016.cut((3, 5)), in_axes=(0, None, None)))
    keys = jax.random.split(jax.random.key(0), 40)
    rows = crop(keys, canvas, {"jitter": 4})[:, 0, 0, 0]
    assert set(np.asarray(rows).tolist()) == {0.0, 1.0, 2.0, 3.0}
    rows = crop(keys, canvas, {"jitter": 1})[:, 0, 0, 0]
    assert set(np.asarray(rows).tolist()) == {1.0}
    images = np.random.default_rng(0).normal(size=(2, 3, 5, 1))
    wide = ijcv2016.spread(images, 3)
    assert wide.shape == (2, 6, 8, 1)
    np.testing.assert_array_equal(ijcv2016.middle(wide, (3, 5)), images)
    assert [ijcv2016.jitter_of(n) for n in (1, 2, 8, 16)] == [1, 1, 2, 4]


def test_a_mosaic_keeps_receptive_fields_apart():
    layout = ijcv2016.mosaic_of(4, 11, 4, grid=8)  # 1.1 · 11 / 4 = 3.03
    assert layout == (5, 2, 40)
    assert ijcv2016.mosaic_of(1, 11, 4, grid=8).side == 3
    maxima = np.asarray([1.0, 2.0, 4.0])
    goal = ijcv2016.mosaic((10, 10, 6), layout, (0, 5, 2), maxima, 11)
    assert np.count_nonzero(goal) == 3
    np.testing.assert_allclose(goal[2, 2, 0], 10000 / 121 / 3, rtol=1e-6)
    np.testing.assert_allclose(goal[2, 7, 5], 10000 / 121 / 6, rtol=1e-6)
    np.testing.assert_allclose(goal[7, 2, 2], 10000 / 121 / 12, rtol=1e-6)
    seen = np.asarray([[[[1.0, -2.0, 0.0], [3.0, -1.0, 7.0]]]])
    np.testing.assert_allclose(ijcv2016.largest(seen), [3.0, 5.0, 7.0])


def test_a_caricature_begins_at_one():
    features = np.asarray([[[1.0, -2.0, 2.0]]])
    goal = ijcv2016.caricature(features)
    np.testing.assert_allclose(goal, [[[0.2, 0.0, 0.4]]], rtol=1e-6)
    assert np.sum(goal * np.maximum(features, 0)) == pytest.approx(1)
    assert not ijcv2016.caricature(-np.ones((1, 2))).any()


def test_pictures_are_inverted_as_in_2016(pictures):
    model = tiny_model()
    goals = cvpr2015.features(model, ["a"], pictures)["a"]
    found = ijcv2016.invert(
        model,
        "a",
        goals[[0, 0, 1]],
        size=SIZE,
        energy=ijcv2016.Energy(fidelity=np.asarray([1.0, 300.0, 300.0])),
        jitter=np.asarray([1, 3, 3]),
        steps=(40, 10),
        repeats=2,
        snapshots=(0, 40),
    )
    assert found.images.shape == (3, 2, *SIZE, 3) and found.curve.shape == (51, 3, 2)
    assert found.alive.all() and np.isfinite(found.curve).all()
    assert found.errors[0].min() > found.errors[1].max()
    assert (found.errors[1:] < 0.4).all() and (found.curve[0] > 0.5).all()
    seen = cvpr2015.features(model, ["a"], found.images[2])["a"]
    error = np.sum((seen - goals[1]) ** 2, axis=(1, 2, 3)) / np.sum(goals[1] ** 2)
    np.testing.assert_allclose(found.errors[2], error, rtol=1e-3)
    limit = 160 * cvpr2015.gray_level(model.record)
    for images in (found.images, found.snapshots[40]):
        assert np.linalg.norm(images, axis=-1).max() <= limit * (1 + 1e-6)


def test_an_exaggeration_starts_at_the_picture(pictures):
    model = tiny_model()
    goals = ijcv2016.caricature(cvpr2015.features(model, ["a"], pictures)["a"])
    found = ijcv2016.maximize(
        *(model, "a", goals),
        size=SIZE,
        energy=ijcv2016.Energy(penalty=0.0),
        start=pictures,
        steps=(5, 0),
        snapshots=(0,),
    )
    np.testing.assert_allclose(found.snapshots[0][:, 0], pictures, rtol=1e-6)
    np.testing.assert_allclose(-found.curve[0, :, 0], 1, rtol=1e-4)
    assert (-found.errors > 1.1).all() and found.curve.shape == (6, 2, 1)


def test_histograms_of_gradients():
    rows = np.add.outer(np.arange(5.0), np.zeros(6))  # brighter downward: +90°
    found = gradient_histogram(rows)
    assert found.shape == (18,) and found[13] == 1 and found.sum() == 1
    other = gradient_histogram(rows.T)  # to the right: 0°
    assert other[9] == 1 and intersection(found, other) == 0
    assert intersection(found, found) == 1
    assert not gradient_histogram(np.ones((4, 4))).any()
    with pytest.raises(ValueError, match="at least 3"):
        gradient_histogram(np.ones((2, 9)))


def test_figures_share_what_is_kept_by_its_recipe(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"x": np.arange(3)}

    recipe = {"layer": "a", "rates": ((0.1, 2),), "goal": np.ones(2)}
    first = kept_in(tmp_path, recipe, make)
    second = kept_in(tmp_path, dict(recipe), make)
    np.testing.assert_array_equal(first["x"], second["x"])
    assert len(made) == 1
    kept_in(tmp_path, recipe | {"goal": np.zeros(2)}, make)
    assert len(made) == 2 and len(list(tmp_path.iterdir())) == 2
