"""VGG with average pools, which no weight set has (Gatys et al. put them in)."""

import jax
import numpy as np
import pytest

from dreamjax.models.vgg import VGG


@pytest.mark.parametrize("ceil", [False, True])
def test_average_pools(ceil):
    x = np.random.RandomState(0).normal(size=(1, 5, 8, 3)).astype(np.float32)
    network = VGG((1,), head=None, ceil=ceil, pool="average")
    taps, _ = network.init_with_output(jax.random.key(0), x)
    conv = np.asarray(taps["conv1_1"])
    rows = [(0, 2), (2, 4), (4, 5)] if ceil else [(0, 2), (2, 4)]
    expected = np.stack(
        [
            np.stack([conv[:, a:b, 2 * j : 2 * j + 2].mean((1, 2)) for j in range(4)])
            for a, b in rows
        ]
    )  # [rows, 4, 1, 64]
    np.testing.assert_allclose(taps["pool1"][0], expected[:, :, 0], atol=1e-6)


def test_other_pools():
    x = np.zeros((1, 8, 8, 3), np.float32)
    with pytest.raises(KeyError, match="mean"):
        VGG((1,), head=None, pool="mean").init(jax.random.key(0), x)
