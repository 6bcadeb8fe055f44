"""Selectivity by hand-made taps; what an objective's reads weigh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.hparams import Hparam
from dreamjax.metrics.network import aims_of, make_judge, weight_of
from dreamjax.objectives import (
    channel,
    difference,
    direction,
    direction_at,
    diversity,
    energy,
    logit,
    match,
    neuron,
    probability,
    random_direction,
)
from dreamjax.text import parse_objective

# [B, h, w, K]: channel means (4, 1, -2, 1) and, of the second image, all 0.
LAYER = np.zeros((2, 2, 2, 4), np.float32)
LAYER[0] = [4.0, 1.0, -2.0, 1.0]
LAYER[0, 0, 0] += [1.0, 0.0, 0.0, 2.0]
LAYER[0, 1, 1] -= [1.0, 0.0, 0.0, 2.0]
TAPS = {
    "layer": jnp.asarray(LAYER[:1]),
    "pair": jnp.asarray(LAYER),
    "single": jnp.ones((1, 2, 2, 1)),
    "logits": jnp.asarray([[3.0, 0.0, 1.0]]),
    "probabilities": jnp.asarray([[0.9, 0.0, 0.1]]),
}
IMAGES = jnp.zeros((1, 8, 8, 3))


def judged(objective, **hp):
    judge = make_judge(objective, lambda variables, images, rules: TAPS)
    hp = {name: jnp.asarray(value) for name, value in hp.items()}
    return {name: float(v) for name, v in jax.jit(judge)(None, IMAGES, hp).items()}


# Of 4 against (1, -2, 1): mean 0, mean magnitude 4/3. Of 1 against (4, -2, 1): mean 1,
# magnitude 7/3, one below and one tie. Of -2 against (4, 1, 1): mean 2.
@pytest.mark.parametrize(
    ("objective", "index", "rank"),
    [
        (channel("layer", 0), 4 / (4 + 4 / 3), 1.0),
        (channel("layer", 1), 0.0, 1.5 / 3),
        (channel("layer", 2), (-2 - 2) / (2 + 2), 0.0),
        (-channel("layer", 2), (2 + 2) / (2 + 2), 1.0),
        (neuron("layer", 3, 0, 0), (3 - 4 / 3) / (3 + 8 / 3), 2 / 3),
        (neuron("layer", 3), (-1 - 2 / 3) / (1 + 2), 1 / 3),  # (3, 1, -2, -1)
        (logit(0), (3 - 0.5) / (3 + 0.5), 1.0),
        (probability(2), (1 - 1.5) / (1 + 1.5), 0.5),  # at the logits
        # (3, 0, 4, 0) / 5 gives 4/5 against all four, mean 1, magnitude 2.
        (direction("layer", (3.0, 0.0, 4.0, 0.0)), (0.8 - 1) / (0.8 + 2), 1 / 4),
        (direction_at("layer", (0.0, 0.0, 0.0, 2.0), 0, 0), (3 - 7 / 4) / (3 + 11 / 4),
         2.5 / 4),
        (channel("pair", 0), (4 / (4 + 4 / 3) + 0) / 2, (1.0 + 0.5) / 2),
    ],
)  # fmt: skip
def test_selectivity_by_hand(objective, index, rank):
    found = judged(objective)
    assert found["selectivity"] == pytest.approx(index, abs=1e-6)
    assert found["selectivity_rank"] == pytest.approx(rank, abs=1e-6)


@pytest.mark.parametrize(
    "objective",
    [energy("layer"), diversity("layer"), match("layer"), random_direction("layer", 0)],
)
def test_absent_where_nothing_is_singled_out(objective):
    assert judged(objective) == {}
    with_channel = channel("layer", 0) + objective
    assert judged(with_channel) == judged(channel("layer", 0))


def test_absent_in_a_layer_of_one_channel():
    assert judged(channel("single", 0)) == {}


def test_joint_objectives_are_weighted_by_their_magnitudes():
    one, two = judged(channel("layer", 0)), judged(-channel("layer", 2))
    w = Hparam("w")
    text = parse_objective(
        '3 * channel("layer", 0) - w * channel("layer", 2) / 2', hparams=["w"]
    )
    for objective, constants in (
        (3 * channel("layer", 0) - w * channel("layer", 2) / 2, {}),
        (text.objective, text.constants),
    ):
        found = judged(objective, w=2.0, **constants)
        for name in found:
            assert found[name] == pytest.approx((3 * one[name] + two[name]) / 4)
    assert judged(difference("layer", 0, 2)) == pytest.approx(
        {name: (one[name] + two[name]) / 2 for name in one}
    )
    # Without any weight all count alike, and nothing is NaN.
    zero = judged(w * channel("layer", 0) - w * channel("layer", 2), w=0.0)
    assert zero["selectivity"] == pytest.approx((0.75 - 1) / 2)


def test_swept_indices_are_traced_and_vmapped():
    judge = make_judge(channel("layer", Hparam("unit")), lambda v, x, rules: TAPS)
    run = jax.jit(jax.vmap(judge, (None, 0, 0)))
    found = run(None, jnp.zeros((3, *IMAGES.shape)), {"unit": jnp.arange(3)})
    assert found["selectivity"].shape == (3,)
    np.testing.assert_allclose(found["selectivity"], [0.75, 0.0, -1.0], atol=1e-6)


def test_weights_of_reads():
    a, b, w = channel("x", 0), channel("x", 1), Hparam("w")
    cases = [
        (2 * a + b, [2, 1]),
        (a - b, [1, -1]),
        (-(a - 3 * b), [-1, 3]),
        ((a + b) * 2 / 4, [0.5, 0.5]),
        (a * b, [1, 1]),
        (a / b, [1, -1]),
        (w * a - 5, [7]),
        (2 * (3 * a), [6]),
    ]
    for objective, expected in cases:
        reads = [aim.read for aim in aims_of(objective)]
        got = [float(weight_of(read, {"w": jnp.float32(7.0)})) for read in reads]
        assert got == pytest.approx(expected)
