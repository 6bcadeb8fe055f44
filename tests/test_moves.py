"""Moves one by one and as one resampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import moves, transforms
from dreamjax.hparams import Hparam
from dreamjax.transforms import flip, jitter, noise, pad, rotate, scale

HP = {"degrees": jnp.float32(5.0)}


def smooth(height, width):
    """An image whose interpolations hardly differ: three slow waves."""
    y, x = np.mgrid[:height, :width] / 9.0
    waves = [np.sin(y + k) * np.cos(x - k) for k in range(3)]
    return (0.5 + 0.3 * np.stack(waves, -1)).astype(np.float32)


def one_by_one(members, key, image):
    keys = jax.random.split(key, len(members))
    for member, own in zip(members, keys, strict=True):
        image = member(own, image, HP)
    return image


@pytest.mark.parametrize(
    "members",
    [
        [pad(6), jitter(4), scale(0.95, 1.05, steps=3), rotate(-5, 5), jitter(2)],
        [jitter(3), scale(0.95, 1.02)],
        [rotate(-4, 4, fill=0.2), jitter(5)],
        [pad(3), rotate(-4, 4), flip(1.0), scale(0.97, 1.03), jitter(2), noise(0.0)],
    ],
)
def test_one_resampling_sees_what_the_moves_see(members):
    image = smooth(41, 38)
    chained, apart = (
        jax.jit(lambda key, image, f=f: f(key, image))
        for f in (
            lambda key, image: transforms.chain(*members)(key, image, HP),
            lambda key, image: one_by_one(members, key, image),
        )
    )
    for seed in range(3):
        key = jax.random.key(seed)
        found, wanted = chained(key, image), apart(key, image)
        assert found.shape == wanted.shape
        inside = slice(12, -12)  # the borders differ on purpose
        np.testing.assert_allclose(
            found[inside, inside], wanted[inside, inside], atol=0.004
        )


def test_what_is_put_together():
    def sizes(*members):
        return [len(group) for group in moves.grouped(members)]

    assert sizes(pad(4), jitter(4)) == [1, 1]  # whole pixels stay exact
    assert sizes(pad(4), jitter(4), scale(0.9, 1.1), rotate(-10, 10), jitter(2)) == [5]
    assert sizes(pad(4, 0.0), scale(0.9, 1.1)) == [1, 1]  # two colors
    assert sizes(pad(4, "reflect"), rotate(0, 5)) == [1, 1]
    assert sizes(rotate(-9, 9), flip(), rotate(-9, 9), jitter(2)) == [1, 1, 2]
    assert sizes(scale(1, 1.4), rotate(-45, 45)) == [1, 1]  # beyond the adjoint
    assert sizes(scale(1, 1.4), jitter(2)) == [2]
    assert sizes(scale(1, Hparam("degrees")), jitter(2)) == [1, 1]
    assert sizes(rotate(0, Hparam("degrees")), jitter(2)) == [2]
    assert sizes(rotate(0, 5, interpolation="nearest"), jitter(2)) == [1, 1]
    assert sizes() == []


def test_the_corners_keep_what_a_zoom_took_out():
    """Turned after a zoom, the image's own pixels fill the corners, not the gray."""
    image = np.ones((40, 40, 1), np.float32)
    members = [scale(1.2, 1.2), rotate(10, 10)]
    key = jax.random.key(0)
    assert float(one_by_one(members, key, image).min()) < 0.9
    np.testing.assert_allclose(transforms.chain(*members)(key, image, HP), 1, atol=1e-6)
