"""Activations computed twice: the same gradients from less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.build import build
from dreamjax.footprint import footprint
from dreamjax.models import Record, from_function, load
from dreamjax.models.layers import PLAIN, redirected
from dreamjax.remat import best_cuts, recomputed
from tests.tiny import tiny_config, tiny_model


def test_cuts_by_hand():
    # Five equations of 12 bytes; little is alive before the third.
    assert best_cuts([12] * 4, [1, 9, 1, 9, 1]) == [2]
    assert best_cuts([12] * 4, [0, 0, 0, 0, 0]) == [1, 2, 3]
    assert best_cuts([12] * 4, [1, 99, 99, 99, 1]) == []
    assert best_cuts([5], [1, 1]) == []


def gradient(taps, variables, tap, rules=None):
    """Value and gradient of 3 runs of one image each, compiled."""

    def one(image, on):
        given = redirected(on) if rules == "redirected" else PLAIN
        return jnp.mean(jnp.square(taps(variables, image[None], given)[tap]))

    return jax.jit(jax.vmap(jax.value_and_grad(one)))


def images(size, seed=0):
    random = np.random.default_rng(seed)
    return jnp.asarray(random.random((3, size, size, 3), np.float32))


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert np.all(np.isfinite(b)) and np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(b).max())


@pytest.mark.parametrize(("tap", "rules"), [("logits", None), ("dead", "redirected")])
def test_tiny_gradients_are_the_same(tap, rules):
    """Also with a traced switch in the rules, which some runs have on."""
    model = tiny_model()
    on = jnp.array([True, False, True])
    lean = recomputed(model.taps, [tap])
    assert set(lean(model.variables, images(24), PLAIN)) == {tap}
    expected = gradient(model.taps, model.variables, tap, rules)(images(24), on)
    found = gradient(lean, model.variables, tap, rules)(images(24), on)
    if rules is None:
        same(found, expected)
    else:
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-9)


def test_integers_may_cross_a_cut():
    """An adapter's function whose masks and indices live from end to end."""

    def function(weights, x):
        best = jnp.argmax(x, axis=-1)  # [B, H, W]
        y = x
        for _ in range(6):
            y = jnp.tanh(y @ weights)
        chosen = jnp.take_along_axis(y, best[..., None] % 3, axis=-1)
        return {"y": y, "chosen": chosen * (x[..., :1] > 0.5)}

    model = from_function(function, jnp.eye(3) * 0.7, Record("mine", "tests"))
    run = [
        gradient(taps, model.variables, "chosen")
        for taps in (recomputed(model.taps, ["chosen"]), model.taps)
    ]
    same(*(f(images(16), jnp.ones(3)) for f in run))


def deep():
    """A chain of layers as wide as each other: cuts are worth it."""

    def function(weights, x):
        for _ in range(12):
            x = jnp.tanh(x @ weights)
        return {"y": x}

    return from_function(function, jnp.eye(3) * 0.9, Record("deep", "tests"))


def test_lite0_needs_less_memory():
    """72 MB and 31 at 128 px and 8 images, optimized (docs/performance.md)."""
    model = load("efficientnet_lite0")
    x, on = images(40)[:2], jnp.ones(2)
    lean = recomputed(model.taps, ["b4"])
    plain = gradient(model.taps, model.variables, "b4").lower(x, on).compile()
    lean = gradient(lean, model.variables, "b4").lower(x, on).compile()
    same(lean(x, on), plain(x, on))
    ratio = footprint(lean).temporaries / footprint(plain).temporaries
    assert ratio < 0.8, ratio


def test_on_accelerators_a_barrier_keeps_the_two_apart():
    model = deep()
    lean = gradient(recomputed(model.taps, ["y"]), model.variables, "y")
    traced = lean.trace(images(24), jnp.ones(3))
    for platform, barrier in (("cuda", True), ("tpu", True), ("cpu", False)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("optimization_barrier" in text) == barrier, platform


def test_the_config_asks():
    config = tiny_config(unit=(0, 1))
    plain = build(config, tiny_model())
    config.remat = True
    lean = build(config, tiny_model())
    hp = {name: jnp.asarray(v[0]) for name, v in plain.values.items()}
    states = [
        jax.jit(e.step.update)(
            e.step.init(jax.random.key(0), hp), hp, e.model.variables
        )
        for e in (lean, plain)
    ]
    for a, b in zip(*map(jax.tree.leaves, (s[0].params for s in states)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    with config.ignore_type():
        config.remat = 3
    with pytest.raises(ValueError, match=r"remat=3.*True or False"):
        build(config, tiny_model())
