"""Diversity and agreement of pictures whose features are made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

from dreamjax.metrics.seeds import (
    Features,
    agreement,
    diversity,
    make_describe,
    seed_metrics,
    tap_of,
)
from dreamjax.objectives import channel, logit


def as_taps(variables, images, rules):
    return {"layer": images, "logits": images.mean(axis=(1, 2))}


def describe(images):
    return make_describe("layer", as_taps)(None, jnp.asarray(images))


def rows_of(*settings):
    return [{"hparams": {"unit": u, "seed": s}, "status": "alive"} for u, s in settings]


def gram_distance(a, b):
    """1 - the cosine of Gram matrices, made in full."""
    grams = [x.reshape(-1, x.shape[-1]).T @ x.reshape(-1, x.shape[-1]) for x in (a, b)]
    inner = np.sum(grams[0] * grams[1])
    return 1 - inner / np.linalg.norm(grams[0]) / np.linalg.norm(grams[1])


@pytest.mark.parametrize("shape", [(2, 2, 5), (6, 7, 5)])
def test_values_as_of_whole_gram_matrices(shape):
    """With fewer positions than channels, and with more, where QR makes it smaller."""
    images = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    found = describe(images)
    assert found.root.shape == (3, min(shape[0] * shape[1], 5), 5)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([gram_distance(images[i], images[j]) for i, j in pairs])
    assert diversity(np.asarray(found.root)) == pytest.approx(expected, abs=1e-5)
    means = images.mean(axis=(1, 2))
    expected = np.mean([spearmanr(means[i], means[j]).statistic for i, j in pairs])
    assert agreement(means) == pytest.approx(expected)


def test_identical_and_orthogonal_pictures():
    image = np.random.default_rng(0).uniform(size=(1, 4, 4, 6)).astype(np.float32)
    same = describe(np.repeat(image, 3, axis=0))
    assert diversity(np.asarray(same.root)) == pytest.approx(0.0, abs=1e-6)
    assert agreement(np.asarray(same.mean)) == pytest.approx(1.0)
    moved = describe(np.concatenate([image, np.roll(image, 1, axis=1)]))
    assert diversity(np.asarray(moved.root)) == pytest.approx(0.0, abs=1e-6)
    apart = np.zeros((2, 4, 4, 6), np.float32)
    apart[0, ..., :3], apart[1, ..., 3:] = 1.0, 1.0
    other = describe(apart)
    assert diversity(np.asarray(other.root)) == pytest.approx(1.0)
    assert agreement(np.asarray(other.mean)) == pytest.approx(-1.0)


def test_empty_and_huge_features_are_defined():
    root = np.zeros((3, 2, 4), np.float32)
    assert diversity(root) == 0.0 and agreement(root[:, 0]) == 0.0
    root[0, 0, 0] = 1e30  # its fourth power is beyond float32
    assert diversity(root) == pytest.approx(2 / 3)


def test_groups_differ_in_the_seed_alone():
    random = np.random.default_rng(0)
    images = random.uniform(size=(6, 1, 4, 4, 3)).astype(np.float32)
    rows = rows_of((0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2))
    rows[5]["status"] = "frozen"
    found = seed_metrics(rows, images, describe)
    assert found[4] == {} and found[5] == {}
    assert found[0] == found[2] and found[1] == found[3] and found[0] != found[1]
    expected = gram_distance(images[0, 0], images[2, 0])
    assert found[0]["diversity"] == pytest.approx(expected, abs=1e-5)
    assert set(found[0]) == {"diversity", "agreement"}


def test_the_images_of_one_run_are_compared_too():
    images = np.random.default_rng(0).uniform(size=(1, 3, 4, 4, 3)).astype(np.float32)
    found = seed_metrics(rows_of((0, 0)), images, describe)
    assert found[0]["diversity"] == diversity(np.asarray(describe(images[0]).root))


def test_describe_is_asked_for_members_of_groups_only():
    calls = []

    def counted(images):
        calls.append(images.shape)
        return Features(np.ones((1, 1, 2)), np.arange(2.0)[None])

    images = np.zeros((3, 1, 4, 4, 3), np.float32)
    found = seed_metrics(rows_of((0, 0), (1, 0), (1, 1)), images, counted)
    assert calls == [(1, 4, 4, 3)] * 2 and found[0] == {}
    assert found[1] == {"diversity": 0.0, "agreement": pytest.approx(1.0)}


def test_a_class_is_compared_at_the_last_tap_with_positions():
    shapes = {"a": (1, 4, 4, 3), "b": (1, 2, 2, 5), "pool": (1, 5), "logits": (1, 7)}
    assert tap_of(logit(1), shapes) == "b"
    assert tap_of(channel("a", 0), shapes) == "a"
    assert tap_of(channel("pool", 0), {"pool": (1, 5), "b": (1, 2, 2, 5)}) == "pool"


def test_it_can_be_compiled():
    compiled = jax.jit(make_describe("layer", as_taps))
    images = jnp.ones((2, 3, 3, 2))
    assert compiled(None, images).mean.shape == (2, 2)
