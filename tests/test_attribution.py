"""Gradients of a class under three rules, saliency, Grad-CAM: exact cases first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.attribution import (
    check_rules,
    class_gradient,
    class_score,
    concentration,
    correlation,
    grad_cam,
    saliency,
    smooth_gradient,
)
from dreamjax.inside import shifted
from dreamjax.models import Record
from dreamjax.models.layers import PLAIN, RULES, Passing, backward_rules
from tests.tiny import tiny_model

PASSING = Passing(*(jnp.asarray(v) for v in zip(*RULES.values(), strict=True)))


def pulled(function, x, g):
    value, pull = jax.vjp(function, jnp.asarray(x, jnp.float32))
    return np.asarray(value), np.asarray(pull(jnp.asarray(g, jnp.float32))[0])


@pytest.mark.parametrize(
    "name, rule, slope",
    [
        ("relu", "gradient", [0, 0, 1, -2, -1]),
        ("relu", "deconv", [3, 0, 1, 0, 0]),
        ("relu", "guided", [0, 0, 1, 0, 0]),
        ("relu6", "gradient", [0, 0, 1, -2, 0]),
        ("relu6", "deconv", [3, 0, 1, 0, 0]),
        ("relu6", "guided", [0, 0, 1, 0, 0]),
    ],
)
def test_rules_by_hand(name, rule, slope):
    x, g = [-1, -1, 2, 2, 7], [3, -3, 1, -2, -1]
    function = getattr(backward_rules(RULES[rule]), name)
    value, found = pulled(function, x, g)
    np.testing.assert_array_equal(value, [0, 0, 2, 2, 7 if name == "relu" else 6])
    np.testing.assert_array_equal(found, slope)


def linear(variables, images, rules):
    return {"logits": jnp.einsum("bhwc,hwck->bk", images, variables)}


def hidden(variables, images, rules):
    """One layer of positive units and a head of positive weights."""
    first, head = variables
    a = rules.relu(jnp.einsum("bhwc,ck->bhwk", images, first))
    return {"a": a, "logits": jnp.mean(a, axis=(1, 2)) @ head}


def test_saliency_of_a_linear_classifier_is_its_weights():
    random = np.random.default_rng(0)
    weights = random.normal(size=(4, 5, 3, 2)).astype(np.float32)
    image = random.uniform(size=(4, 5, 3)).astype(np.float32)
    found = class_gradient(linear, weights, image, 1, RULES["gradient"])
    np.testing.assert_allclose(found, weights[..., 1], rtol=1e-6)
    np.testing.assert_array_equal(saliency(found), np.abs(weights[..., 1]).max(axis=-1))


def test_deconvnet_is_the_gradient_where_the_masks_are_one():
    random = np.random.default_rng(1)
    first = random.uniform(0.1, 1, size=(3, 4)).astype(np.float32)
    head = random.uniform(0.1, 1, size=(4, 2)).astype(np.float32)
    image = random.uniform(0.1, 1, size=(5, 5, 3)).astype(np.float32)
    found = {
        name: np.asarray(class_gradient(hidden, (first, head), image, 0, rule))
        for name, rule in RULES.items()
    }
    assert np.isfinite(found["gradient"]).all() and found["gradient"].all()
    np.testing.assert_array_equal(found["deconv"], found["gradient"])
    np.testing.assert_array_equal(found["guided"], found["gradient"])


@pytest.fixture(scope="module")
def network():
    """The tiny network with a classifier behind its ReLUs, and one program of it."""
    tiny = tiny_model()

    def taps(variables, images, rules):
        found = tiny.taps(variables, images, rules)
        behind = jnp.mean(found["a"], axis=(1, 2))[:, :4] @ variables["c"]
        return {**found, "logits": found["logits"] + behind}

    image = np.random.default_rng(2).uniform(size=(16, 16, 3)).astype(np.float32)

    @jax.jit
    def gradients(image):
        over = jax.vmap(
            lambda passing: class_gradient(taps, tiny.variables, image, 1, passing)
        )
        return over(PASSING)

    return taps, tiny.variables, image, np.asarray(gradients(image))


def test_the_gradient_is_the_slope_of_the_score(network):
    taps, variables, image, (gradient, deconv, guided) = network
    assert np.isfinite([gradient, deconv, guided]).all()
    step = 1e-3 * gradient / np.linalg.norm(gradient)

    def score(x):
        return float(class_score(taps, variables, x, 1))

    change = score(image + step) - score(image - step)
    assert change == pytest.approx(2 * float(np.sum(gradient * step)), rel=1e-2)
    assert correlation(gradient, deconv) < 0.999
    assert not np.array_equal(guided, deconv)


def test_rules_side_by_side_are_rules_alone(network):
    taps, variables, image, together = network
    for found, rule in zip(together, RULES.values(), strict=True):
        alone = class_gradient(taps, variables, image, 1, rule)
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-6)


def test_a_smooth_gradient_without_noise_is_the_gradient(network):
    taps, variables, image, together = network
    given = (taps, variables, image, 1, RULES["gradient"])
    found = smooth_gradient(jax.random.key(0), *given, noise=0.0, draws=2)
    np.testing.assert_allclose(found, together[0], rtol=1e-4, atol=1e-6)


def test_grad_cam_behind_a_mean_is_the_class_activation_map():
    model = tiny_model()
    image = np.random.default_rng(3).uniform(size=(16, 16, 3)).astype(np.float32)
    found = grad_cam(model.taps, model.variables, image, 2, "b")
    b = np.asarray(model.taps(model.variables, image[None], PLAIN)["b"])
    cam = np.maximum(b[0] @ np.asarray(model.variables["c"])[:, 2], 0)  # [8, 8]
    assert np.isfinite(found).all() and cam.max() > 0
    np.testing.assert_allclose(found, cam / 64, rtol=1e-4, atol=1e-7)
    with pytest.raises(ValueError, match="layer='dead' is not possible: no other"):
        grad_cam(model.taps, model.variables, image, 2, "dead")
    with pytest.raises(ValueError, match="a tap with positions"):
        grad_cam(model.taps, model.variables, image, 2, "probabilities")
    with pytest.raises(ValueError, match="layer='c' is not known"):
        grad_cam(model.taps, model.variables, image, 2, "c")


def test_what_is_added_to_a_layer_goes_through_the_rest():
    model = tiny_model()
    image = np.full((1, 16, 16, 3), 0.3, np.float32)
    rules = backward_rules(RULES["gradient"])
    play = shifted(model.taps, ("b",))
    plain = model.taps(model.variables, image, rules)
    added = np.zeros((1, 8, 8, 4), np.float32)
    same = play(model.variables, image, rules, {"b": jnp.asarray(added)})
    more = play(model.variables, image, rules, {"b": jnp.asarray(added + 1)})
    assert set(same) == set(plain)
    np.testing.assert_allclose(same["logits"], plain["logits"], atol=1e-5)
    shift = np.asarray(model.variables["c"]).sum(axis=0)
    np.testing.assert_allclose(
        more["logits"] - plain["logits"], shift[None], rtol=1e-3, atol=1e-4
    )
    np.testing.assert_array_equal(more["a"], same["a"])


def test_concentration_by_hand():
    values = np.ones((10, 10))
    assert concentration(values) == (1.0, pytest.approx(0.05))
    values[:1, :5] = 20.0  # 5 of 100 pixels
    peak, share = concentration(values)
    assert peak == pytest.approx(20 / 1.95) and share == pytest.approx(100 / 195)


def test_a_network_without_rules_is_refused():
    with pytest.raises(ValueError, match=r"rule='a\.b'"):
        check_rules(Record("a.b", "here"))
