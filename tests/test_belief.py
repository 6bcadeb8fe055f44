"""Stacks of Boltzmann machines and autoencoders, and what their units stand for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.belief.agreement import cosines, pairing, pairwise
from dreamjax.belief.autoencoder import denoising_loss, masked
from dreamjax.belief.data import MNIST, digits, patches
from dreamjax.belief.layers import Layer, as_model, down, up
from dreamjax.belief.maximize import maximize
from dreamjax.belief.rbm import contrastive_divergence, gibbs
from dreamjax.belief.training import Recipe, train_stack
from dreamjax.belief.units import clamped_samples, combined_filters, onto_sphere
from dreamjax.images import load_image
from dreamjax.labels import ASSETS
from dreamjax.models.model import tap_shapes

SMALL = Layer(
    jnp.asarray([[1.5, -1.0], [-0.5, 2.0], [1.0, 0.5]]),
    jnp.asarray([0.2, -0.4, 0.1]),
    jnp.asarray([-0.3, 0.6]),
)


def joint(layer):
    """Returns every state (v, h) of a small machine and its probability."""
    states = [
        (np.asarray(v, np.float32), np.asarray(h, np.float32))
        for v in itertools.product((0, 1), repeat=len(layer.visible))
        for h in itertools.product((0, 1), repeat=len(layer.hidden))
    ]
    w, b, c = (np.asarray(a, np.float64) for a in layer)
    weights = np.asarray([np.exp(v @ w @ h + b @ v + c @ h) for v, h in states])
    return states, weights / weights.sum()


def test_conditionals_are_those_of_the_energy():
    states, p = joint(SMALL)
    v = np.asarray([1.0, 0.0, 1.0], np.float32)
    seen = np.asarray([(s[0] == v).all() for s in states])
    expected = (
        sum(q * s[1] for s, q in zip(states, p * seen, strict=True)) / p[seen].sum()
    )
    np.testing.assert_allclose(up(SMALL, v[None])[0], expected, rtol=1e-5)
    h = np.asarray([0.0, 1.0], np.float32)
    above = np.asarray([(s[1] == h).all() for s in states])
    expected = sum(q * s[0] for s, q in zip(states, p * above, strict=True))
    expected = expected / p[above].sum()
    np.testing.assert_allclose(down(SMALL, h[None])[0], expected, rtol=1e-5)
    mean = down(SMALL, h[None], gaussian=True)[0]
    np.testing.assert_allclose(mean, SMALL.weights[:, 1] + SMALL.visible, rtol=1e-6)


def test_gibbs_samples_the_machine_and_its_clamped_unit():
    states, p = joint(SMALL)
    start = jnp.zeros((20000, 3))
    run = jax.jit(gibbs, static_argnums=3)
    free = run(SMALL, start, jax.random.key(0), 30).mean(axis=0)
    expected = sum(q * s[0] for s, q in zip(states, p, strict=True))
    np.testing.assert_allclose(free, expected, atol=0.01)
    held = np.zeros(20000, np.int32)
    found = run(SMALL, start, jax.random.key(1), 30, clamp=held).mean(axis=0)
    on = np.asarray([s[1][0] == 1 for s in states])
    expected = sum(q * s[0] for s, q in zip(states, p * on, strict=True)) / p[on].sum()
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert np.abs(free - found).max() > 0.05


def test_contrastive_divergence_vanishes_where_data_are_the_machines_own():
    """In the mean over its own distribution CD-1 moves nothing, but elsewhere it does.

    What is below is given by its means, which leaves a small bias; with weak weights
    it is below the tolerance.
    """
    weak = Layer(0.1 * SMALL.weights, SMALL.visible, SMALL.hidden)
    states, p = joint(weak)
    random = np.random.default_rng(0)
    index = random.choice(len(p), size=40000, p=p)
    own = np.stack([s[0] for s in states])[index]
    step = jax.jit(contrastive_divergence)
    _, still = step(weak, own, jax.random.key(0))
    ones, other = np.ones_like(own), jax.random.key(1)
    _, moving = step(weak, ones, other)
    for a, b in zip(still, moving, strict=True):
        assert np.abs(a).max() < 0.02
        assert np.isfinite(b).all()
    # Data of ones ask for higher biases below: descent raises them.
    assert (np.asarray(moving.visible) < -0.2).all()


def test_sparsity_pulls_the_biases_only():
    data, key = np.ones((4, 3), np.float32), jax.random.key(0)
    _, free = contrastive_divergence(SMALL, data, key)
    _, held = contrastive_divergence(SMALL, data, key, sparsity=0.1)
    np.testing.assert_array_equal(held.weights, free.weights)
    pull = 3 * (np.asarray(up(SMALL, data))[0] - 0.1)
    np.testing.assert_allclose(held.hidden - free.hidden, pull, rtol=1e-5)


def test_denoising_loss_by_hand():
    v = np.asarray([[1.0, 0.0, 1.0]], np.float32)
    z = np.asarray(down(SMALL, up(SMALL, v)))
    expected = -np.sum(v * np.log(z) + (1 - v) * np.log(1 - z))
    loss = denoising_loss(SMALL, v, jax.random.key(0), share=0.0)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    real = denoising_loss(SMALL, v, jax.random.key(0), share=0.0, gaussian=True)
    guess = np.asarray(down(SMALL, up(SMALL, v), gaussian=True))
    assert float(real) == pytest.approx(np.sum((v - guess) ** 2) / 2, rel=1e-5)
    gone = np.asarray(masked(jnp.ones((100, 100)), jax.random.key(0), 0.25) == 0)
    assert gone.mean() == pytest.approx(0.25, abs=0.02)


def bars(count):
    """Returns 4 × 4 pictures of one row or one column that is on, [N, 16]."""
    random = np.random.default_rng(0)
    pictures = np.zeros((count, 4, 4), np.float32)
    for picture in pictures:
        line = random.integers(4)
        if random.random() < 0.5:
            picture[line] = 1
        else:
            picture[:, line] = 1
    return pictures.reshape(count, 16)


@pytest.fixture(scope="module")
def stacks():
    """Kind -> (layers, errors of each) of a stack that has learned bars."""
    return {
        kind: train_stack(
            Recipe(kind, (16, 8), epochs=12, batch=20, rate=0.1, decay=0.0),
            bars(1000),
            jax.random.key(0),
            lambda line: None,
        )
        for kind in ("rbm", "autoencoder")
    }


@pytest.mark.parametrize("kind", ["rbm", "autoencoder"])
def test_a_stack_learns(stacks, kind):
    layers, curves = stacks[kind]
    assert [layer.weights.shape for layer in layers] == [(16, 16), (16, 8)]
    assert all(np.isfinite(curve).all() for curve in curves)
    assert curves[0][-1] < 0.5 * curves[0][0]


def test_recipes_and_sizes_are_checked():
    data, key = bars(10), jax.random.key(0)
    with pytest.raises(ValueError, match="kind='rmb'"):
        train_stack(Recipe("rmb", (3,), 1, batch=5), data, key)
    with pytest.raises(ValueError, match="batch=100"):
        train_stack(Recipe("rbm", (3,), 1), data, key, lambda line: None)
    with pytest.raises(ValueError, match="16 pixels"):
        as_model([Layer(np.zeros((16, 3)), np.zeros(16), np.zeros(3))], "x", (4, 5))


@pytest.fixture(scope="module")
def maxima(stacks):
    model = as_model(stacks["rbm"][0], "dbn.bars", (4, 4))
    assert tap_shapes(model, (4, 4))["h2/pre"] == (1, 8)
    found = maximize(
        model,
        ["h1/pre", "h2/pre"],
        range(8),
        radius=2.0,
        restarts=3,
        steps=150,
        rate=0.1,
        seed=0,
    )
    return model, found


def test_maxima_of_the_first_layer_are_its_filters(stacks, maxima):
    _, (first, _) = maxima
    layer = stacks["rbm"][0][0]
    own = np.asarray(layer.weights).T[:8]
    for start in range(3):
        cosine = np.diag(cosines(first.pictures[:, start], own))
        assert np.isfinite(cosine).all() and (cosine > 0.9999).all()
    expected = 2 * np.linalg.norm(own, axis=1) + np.asarray(layer.hidden)[:8]
    np.testing.assert_allclose(first.values[:, 0], expected, rtol=1e-4)


def test_maxima_of_the_second_layer_are_on_the_sphere_and_higher(maxima):
    model, (_, second) = maxima
    norms = np.linalg.norm(second.pictures.reshape(8, 3, -1), axis=-1)
    np.testing.assert_allclose(norms, 2.0, rtol=1e-5)
    assert (second.curves[-1] > second.curves[0]).all()
    images = second.pictures[:, 1, :, :, None]  # [8, 4, 4, 1]
    seen = model.network(model.variables, jnp.asarray(images), None)["h2/pre"]
    np.testing.assert_allclose(second.values[:, 1], np.diag(seen), rtol=1e-4)


def test_onto_the_sphere():
    images = jnp.asarray([[[[3.0], [4.0]]], [[[0.0], [0.5]]]])
    found = onto_sphere(images, images, 0, {"radius": 2.0})
    np.testing.assert_allclose(found[:, 0, :, 0], [[1.2, 1.6], [0, 2]], rtol=1e-6)


def test_combined_filters_by_hand():
    below = Layer(jnp.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), *(jnp.zeros(2),) * 2)
    above = Layer(jnp.asarray([[0.1], [-2.0], [1.0]]), *(jnp.zeros(3),) * 2)
    np.testing.assert_allclose(combined_filters([below], keep=1), below.weights)
    every = combined_filters([below, above], keep=9)
    np.testing.assert_allclose(every, below.weights @ above.weights)
    most = combined_filters([below, above], keep=2)
    np.testing.assert_allclose(most[:, 0], [-2 * 2 + 3, -2 * 5 + 6])


def test_clamped_samples_are_taken_down_to_the_pixels(stacks):
    layers = stacks["rbm"][0]
    options = {"chains": 5, "steps": 4}
    found = clamped_samples(layers, np.arange(3), jax.random.key(0), **options)
    assert found.shape == (3, 5, 16)
    assert np.isfinite(found).all() and (found > 0).all() and (found < 1).all()


def test_pairs_that_belong_together_are_found():
    random = np.random.default_rng(0)
    a = random.normal(size=(20, 5, 6))
    own, others, p = pairing(a, a + random.normal(size=a.shape), draws=999)
    assert own > 0.5 > abs(others) and p == pytest.approx(1 / 1000)
    _, _, p = pairing(a, random.normal(size=a.shape), draws=999)
    assert 0.02 < p <= 1
    same = pairwise(np.asarray([[1.0, 0], [0, 2], [3, 3]]))
    np.testing.assert_allclose(same, [0, 0.5**0.5, 0.5**0.5], atol=1e-12)


def test_digits_are_mnist_where_a_folder_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMJAX_DATA", str(tmp_path))
    images = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
    np.savez(tmp_path / MNIST, images=images, labels=np.zeros(3, np.uint8))
    found = digits(2)
    assert found.name == "mnist" and found.images.shape == (2, 28, 28)
    np.testing.assert_allclose(found.images, images[:2] / 255, rtol=1e-6)
    assert found.rows.shape == (2, 784)
    length = np.linalg.norm(found.rows, axis=1).mean()
    assert found.radius == pytest.approx(length, rel=1e-6)
    np.savez(tmp_path / MNIST, images=images.astype(np.float32))
    with pytest.raises(ValueError, match="uint8"):
        digits()
    monkeypatch.setenv("DREAMJAX_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="DREAMJAX_DATA"):
        digits()


def test_digits_are_scikit_learns_elsewhere(monkeypatch):
    pytest.importorskip("sklearn", reason="needs requirements-figures.txt")
    monkeypatch.delenv("DREAMJAX_DATA", raising=False)
    found = digits()
    assert found.name == "digits" and found.images.shape == (1797, 8, 8)
    assert found.images.min() == 0 and found.images.max() == 1


def test_digits_say_what_to_install(monkeypatch):
    monkeypatch.delenv("DREAMJAX_DATA", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ValueError, match=r"requirements-figures\.txt"):
        digits()


def test_patches_are_whitened():
    photos = [load_image(ASSETS / "chelsea.png", (64, 64))]
    found, matrix = patches(photos, side=6, count=3000, seed=0)
    assert found.images.shape == (3000, 6, 6) and matrix.shape == (36, 36)
    assert np.std(found.rows) == pytest.approx(1, abs=1e-3)
    values = np.linalg.eigvalsh(np.cov(found.rows.T))
    # Not all of it: a direction of variance v keeps v / (v + 0.1 of the largest).
    assert values[-1] / np.median(values) < 30
