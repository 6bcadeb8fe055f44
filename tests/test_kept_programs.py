"""The same work again, in one process: no program is compiled a second time."""

import contextlib

import jax
import numpy as np
import pytest
from PIL import Image

from dreamjax import kept_programs, runner
from dreamjax.deepdream.run import dream
from tests.test_deepdream import config_of as dream_config_of
from tests.test_deepdream import noise
from tests.tiny import tiny_config, tiny_model

COMPILED = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def compiles():
    """Counts what XLA compiles."""
    counted = []

    def listen(event, seconds, **_):
        if event == COMPILED:
            counted.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield counted
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(autouse=True)
def none_kept():
    kept_programs.forget_programs()
    yield
    kept_programs.forget_programs()


def silent(line):
    pass


def score(result):
    return result.rows[0]["metrics"]["score"]


def config_of(**hparams):
    config = tiny_config(unit=(0, 1), **hparams)
    config.steps, config.image_steps, config.tensorboard = 2, (), False
    return config


def test_d10_the_same_run_again_compiles_nothing(tmp_path):
    model = tiny_model()
    first = runner.run(config_of(), tmp_path / "a", model=model, report=silent)
    assert first.compile_seconds > 0
    with compiles() as counted:
        again = runner.run(config_of(), tmp_path / "b", model=model, report=silent)
    assert not counted
    np.testing.assert_array_equal(again.images, first.images)
    lower = config_of(learning_rate=(0.01,))
    with compiles() as counted:
        other = runner.run(lower, tmp_path / "c", model=model, report=silent)
    assert not counted  # a hyperparameter is an argument
    assert np.abs(other.images - first.images).max() > 1e-3


def test_what_changes_the_program_is_compiled(tmp_path):
    """Other weights are arguments; other code, transforms or terms are not."""
    model = tiny_model()
    first = runner.run(config_of(), tmp_path / "a", model=model, report=silent)
    twice = model._replace(variables=jax.tree.map(lambda x: 2 * x, model.variables))
    with compiles() as counted:
        other = runner.run(config_of(), tmp_path / "b", model=twice, report=silent)
    assert not counted
    assert score(other) > 2 * score(first)

    def doubled(variables, images, rules):
        found = model.taps(variables, images, rules)
        return {name: 2 * tap + tap**2 for name, tap in found.items()}

    code = model._replace(taps=doubled, network=None)
    squared = runner.run(config_of(), tmp_path / "c", model=code, report=silent)
    assert squared.compile_seconds > 0.05
    assert score(squared) != score(first)
    rolled = config_of()
    rolled.transforms = "roll(3)"
    with compiles() as counted:
        runner.run(rolled, tmp_path / "d", model=model, report=silent)
    assert counted
    with compiles() as counted:
        penalized = config_of(tv=(0.1,))
        runner.run(penalized, tmp_path / "e", model=model, report=silent)
    assert counted


def test_another_photo_of_one_size_compiles_nothing(tmp_path):
    model = tiny_model()
    config = dream_config_of(octaves=2)
    for name in "ab":
        pixels = np.uint8(255 * noise(40, 48, seed=ord(name)))
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    config.image = str(tmp_path / "a.png")
    first = dream(config, tmp_path / "first", model=model, report=silent)[0]
    config.image = str(tmp_path / "b.png")
    with compiles() as counted:
        other = dream(config, tmp_path / "other", model=model, report=silent)[0]
    assert not counted
    config.image = str(tmp_path / "a.png")
    again = dream(config, tmp_path / "again", model=model, report=silent)[0]
    np.testing.assert_array_equal(again.images, first.images)
    assert np.abs(other.images - first.images).max() > 0.1


def test_the_oldest_programs_are_let_go(monkeypatch):
    monkeypatch.setattr(kept_programs, "MOST", 2)
    made = []

    def make(key):
        return kept_programs.keep_program(key, lambda: made.append(key) or key)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert make(key) in (None, key)
    assert made == ["a", "b", "c", "b"]
