"""The core step: it climbs, freezes, redirects, and never minds its neighbors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import sweep
from dreamjax.build import build
from tests.tiny import tiny_config, tiny_model


class Loop:
    """A built experiment with its block program compiled once."""

    def __init__(self, config, lanes):
        self.experiment = build(config, tiny_model())
        self.lanes = lanes
        self.update = jax.jit(jax.vmap(self.experiment.step.update, (0, 0, None)))
        self.init = jax.jit(jax.vmap(self.experiment.step.init))

    def start(self, lanes=None, **changes):
        lanes = self.lanes if lanes is None else lanes
        hp = sweep.take(self.experiment.values, lanes)
        hp |= {name: jnp.asarray(value) for name, value in changes.items()}
        keys = sweep.run_keys(hp["seed"], jnp.asarray(lanes), common=True)
        return self.init(keys, hp), hp

    def steps(self, state, hp, n):
        infos = []
        for _ in range(n):
            state, info = self.update(state, hp, self.experiment.model.variables)
            infos.append(info)
        return state, infos

    def images(self, state, hp):
        return np.asarray(jax.vmap(self.experiment.images)(state, hp))


@pytest.fixture(scope="module")
def loop():
    config = tiny_config(
        unit=(0, 1, 2), tv=(0.0, 0.5), l2=(0.01,), learning_rate=(0.1,), decay=(0.01,)
    )
    config.batch = 2
    return Loop(config, list(range(6)))


def test_score_rises_in_every_run(loop):
    state, hp = loop.start()
    state, infos = loop.steps(state, hp, 12)
    first, last = np.asarray(infos[0].score), np.asarray(infos[-1].score)
    assert first.shape == (6, 2)
    assert np.isfinite(last).all()
    assert (last > first).all()
    assert np.median(last - first) > 0.3
    assert np.asarray(state.step).tolist() == [12] * 6
    assert np.asarray(state.alive).all()


def test_images_stay_in_range(loop):
    state, hp = loop.start()
    state, _ = loop.steps(state, hp, 12)
    images = loop.images(state, hp)
    assert images.shape == (6, 2, 24, 20, 3)
    assert np.isfinite(images).all()
    assert images.min() >= 0 and images.max() <= 1


def test_penalties_are_reported_weighted(loop):
    state, hp = loop.start()
    _, infos = loop.steps(state, hp, 2)
    penalty = {name: np.asarray(p) for name, p in infos[-1].penalty.items()}
    assert set(penalty) == {"tv", "l2"}
    assert (penalty["tv"][:3] == 0).all()  # runs 0–2 have tv=0
    assert (penalty["tv"][3:] > 0).all()
    loss = np.asarray(infos[-1].loss)
    total = -np.asarray(infos[-1].score) + penalty["tv"] + penalty["l2"]
    np.testing.assert_allclose(loss, total.sum(axis=1), rtol=1e-5)


def test_a_run_is_the_same_in_any_lane_and_crowd(loop):
    state, hp = loop.start()
    crowd = loop.images(loop.steps(state, hp, 8)[0], hp)
    shuffled = [4, 4, 0, 1, 4, 2]
    state, hp = loop.start(shuffled)
    again = loop.images(loop.steps(state, hp, 8)[0], hp)
    for lane, run in enumerate(shuffled):
        np.testing.assert_array_equal(again[lane], crowd[run])


def test_new_hyperparameters_compile_nothing(loop):
    state, hp = loop.start()
    loop.steps(state, hp, 1)
    before = loop.update._cache_size()
    state, hp = loop.start(learning_rate=np.full(6, 0.3, np.float32))
    loop.steps(state, hp, 1)
    assert loop.update._cache_size() == before == 1


def test_b8_nan_run_freezes_and_harms_no_neighbor(loop):
    state, hp = loop.start()
    healthy = loop.images(loop.steps(state, hp, 6)[0], hp)
    rates = np.full(6, 0.1, np.float32)
    rates[3] = np.nan
    state, hp = loop.start(learning_rate=rates)
    begin = loop.images(state, hp)
    state, infos = loop.steps(state, hp, 6)
    assert np.isfinite(np.asarray(infos[0].loss)).all(), "the loss alone hides it"
    assert np.asarray(state.alive).tolist() == [True, True, True, False, True, True]
    assert np.asarray(state.step).tolist() == [6, 6, 6, 0, 6, 6]
    images = loop.images(state, hp)
    np.testing.assert_array_equal(images[3], begin[3])
    for run in (0, 1, 2, 4, 5):
        np.testing.assert_array_equal(images[run], healthy[run])


def test_a_run_that_turns_bad_keeps_its_last_finite_picture(loop):
    state, hp = loop.start()
    state, _ = loop.steps(state, hp, 3)
    good = loop.images(state, hp)
    hp = {**hp, "tv": hp["tv"].at[4].set(jnp.inf)}
    state, _ = loop.steps(state, hp, 2)
    assert np.asarray(state.step)[4] == 3
    np.testing.assert_array_equal(loop.images(state, hp)[4], good[4])
    hp = {**hp, "tv": hp["tv"].at[4].set(0.5)}
    state, _ = loop.steps(state, hp, 1)
    assert not np.asarray(state.alive)[4], "a frozen run does not come back"


def test_a10_a_frozen_run_keeps_a_finite_picture():
    # Its parameters are finite, and so large that their picture is not.
    config = tiny_config(unit=(0,), learning_rate=(0.05, 1e38))
    config.optimizer = "sgd"
    loop = Loop(config, [0, 1])
    state, hp = loop.start()
    begin = loop.images(state, hp)
    state, _ = loop.steps(state, hp, 2)
    assert np.asarray(state.alive).tolist() == [True, False]
    assert np.asarray(state.step).tolist() == [2, 0]
    np.testing.assert_array_equal(loop.images(state, hp)[1], begin[1])
    assert np.abs(loop.images(state, hp)[0] - begin[0]).max() > 1e-5


def test_a10_the_last_finite_picture_is_kept_after_steps_and_projections():
    config = tiny_config(unit=(0,), learning_rate=(0.05,), decay=(0.1,))
    config.optimizer = "sgd"
    loop = Loop(config, [0, 0])
    state, hp = loop.start()
    state, _ = loop.steps(state, hp, 3)
    good = loop.images(state, hp)
    hp = {**hp, "learning_rate": jnp.asarray([0.05, 1e38])}
    state, _ = loop.steps(state, hp, 2)
    assert np.asarray(state.step).tolist() == [5, 3]
    np.testing.assert_array_equal(loop.images(state, hp)[1], good[1])


def periodic_config(steps=6):
    """Returns runs on pixels: no blur, one at every step, one at every fourth."""
    config = tiny_config(
        blur_width=(2.0,),
        blur_every=(0, 1, 4),
        median_every=(0, 1, 3),
        contribution_abs_percentile=(0.0, 0.0, 60.0),
        learning_rate=(0.5,),
    )
    config.sweep = "zip"
    config.param, config.color, config.range = "pixel", "rgb", "clip"
    config.optimizer, config.transforms, config.steps = "sgd", "", steps
    return config


def test_a12_a_picture_is_shown_after_a_full_cycle_at_any_step():
    loop = Loop(periodic_config(), [0, 1, 2])
    apply = jax.jit(jax.vmap(loop.experiment.pieces((24, 20)).param.apply))
    show = jax.jit(jax.vmap(loop.experiment.images))
    state, hp = loop.start()
    np.testing.assert_array_equal(show(state, hp), apply(state.params, hp))
    all_due = {**hp, "blur_every": jnp.float32([0, 1, 1])}
    all_due |= {"median_every": jnp.float32([0, 1, 1])}
    for step in range(1, 8):
        expected, _ = loop.steps(state, all_due, 1)
        state, _ = loop.steps(state, hp, 1)
        raw, shown = apply(state.params, hp), np.asarray(show(state, hp))
        np.testing.assert_allclose(shown, apply(expected.params, hp), atol=1e-6)
        # Where nothing lets a step out, the picture is the run's own.
        np.testing.assert_allclose(shown[:2], raw[:2], atol=1e-6)
        due = step % 12 == 1
        assert (np.abs(shown[2] - raw[2]).max() < 1e-6) == due, step


def test_a12_without_a_period_nothing_is_added():
    config = periodic_config()
    config.sweep = "product"
    config.hparams.blur_every, config.hparams.median_every = (0, 1), (1,)
    experiment = build(config, tiny_model())
    pieces = experiment.pieces((24, 20))
    assert not pieces.periodic and "shown" not in experiment.program
    hp = {name: jnp.asarray(rows[0]) for name, rows in experiment.values.items()}
    state = jax.eval_shape(experiment.step.init, jax.random.key(0), hp)
    assert state.last == ()
    shown = jax.make_jaxpr(experiment.images)(state, hp)
    plain = jax.make_jaxpr(lambda s, hp: pieces.param.apply(s.params, hp))(state, hp)
    assert str(shown) == str(plain)


def test_randomness_depends_on_the_step_not_on_the_call(loop):
    state, hp = loop.start()
    straight = loop.images(loop.steps(state, hp, 4)[0], hp)
    state, hp = loop.start()
    state, _ = loop.steps(state, hp, 2)
    resumed = jax.tree.map(lambda x: x, state)
    np.testing.assert_array_equal(
        loop.images(loop.steps(resumed, hp, 2)[0], hp), straight
    )


def test_images_of_a_batch_do_not_share_draws(loop):
    state, hp = loop.start()
    _, infos = loop.steps(state, hp, 1)
    score = np.asarray(infos[0].score)
    assert (score[:, 0] != score[:, 1]).all()


def test_scan_of_steps_gives_the_same_run():
    config = tiny_config(unit=(0, 1))
    experiment = build(config, tiny_model())
    hp = sweep.take(experiment.values, [0, 1])
    keys = sweep.run_keys(hp["seed"], jnp.arange(2), common=True)
    ends = []
    for steps in (1, 3):
        block = sweep.compile_program(
            experiment.step,
            experiment.evaluation,
            experiment.images,
            hp,
            experiment.model.variables,
            steps=steps,
        )
        state = block.init(keys, hp)
        for _ in range(6 // steps):
            state, info = block.update(state, hp, experiment.model.variables)
        assert info.score.shape == (steps, 2, 1)
        assert np.asarray(state.step).tolist() == [6, 6]
        ends.append(np.asarray(block.images(state, hp)))
    assert np.isfinite(ends[0]).all()
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)


def dead_unit(redirect, steps=16):
    config = tiny_config(redirect_steps=(steps,) if redirect else (16,))
    config.objective = "dead:0"
    config.redirect_relu = redirect
    loop = Loop(config, [0, 0])
    state, hp = loop.start()
    begin = loop.images(state, hp)
    state, infos = loop.steps(state, hp, 3)
    return begin, loop.images(state, hp), infos


def test_dead_unit_has_exactly_no_gradient_and_does_not_move():
    begin, end, infos = dead_unit(redirect=False)
    assert (np.asarray(infos[0].grad_norm) == 0).all()
    np.testing.assert_array_equal(begin, end)


def test_redirected_relu_moves_a_dead_unit():
    begin, end, infos = dead_unit(redirect=True)
    assert (np.asarray(infos[0].grad_norm) > 0).all()
    assert np.abs(end - begin).max() > 1e-3


def test_redirect_ends_after_its_steps():
    _, _, infos = dead_unit(redirect=True, steps=2)
    norms = [float(np.asarray(info.grad_norm)[0, 0]) for info in infos]
    assert norms[0] > 0 and norms[1] > 0
    assert norms[2] == 0


def test_target_sees_the_same_transform():
    config = tiny_config(target=("chelsea",))
    config.objective = 'match("b")'
    config.start = "chelsea"
    config.transforms = "jitter(6), noise(0.1)"
    loop = Loop(config, [0, 0])
    state, hp = loop.start()
    _, infos = loop.steps(state, hp, 1)
    # Started from the target, and both seen alike: nothing is left to match.
    np.testing.assert_allclose(np.asarray(infos[0].score), 0, atol=1e-4)


def test_inversion_brings_the_activations_back():
    config = tiny_config(target=("coffee",), learning_rate=(0.1,))
    config.objective = 'match("b")'
    config.transforms = ""
    loop = Loop(config, [0, 0])
    state, hp = loop.start()
    _, infos = loop.steps(state, hp, 80)
    assert float(np.asarray(infos[0].score)[0, 0]) < -0.9
    assert float(np.asarray(infos[-1].score)[0, 0]) > -0.15


def test_projection_holds_after_every_step():
    config = tiny_config(clip_low=(0.3,), clip_high=(0.6,), learning_rate=(1.0,))
    loop = Loop(config, [0, 0])
    state, hp = loop.start()
    for _ in range(3):
        state, _ = loop.steps(state, hp, 1)
        images = loop.images(state, hp)
        assert images.min() >= 0.3 - 1e-4 and images.max() <= 0.6 + 1e-4


def test_gray_image_is_shown_to_a_color_network():
    config = tiny_config()
    config.channels = 1
    config.color = "rgb"
    loop = Loop(config, [0, 0])
    state, hp = loop.start()
    state, infos = loop.steps(state, hp, 10)
    assert loop.images(state, hp).shape == (2, 1, 24, 20, 1)
    assert float(infos[-1].score[0, 0]) > float(infos[0].score[0, 0])
