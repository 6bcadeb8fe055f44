"""Every objective against values by hand (ORACLES O1 to O6), on arrays of a few units.

The gradients of all of them come from one program.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.hparams import Hparam
from dreamjax.objectives import (
    OBJECTIVES,
    TARGET,
    Objective,
    Read,
    alignment,
    caricature,
    channel,
    check_objective,
    constant,
    difference,
    direction,
    direction_at,
    diversity,
    dot_cosine,
    energy,
    guided,
    interpolation,
    log_probability,
    logit,
    match,
    neuron,
    one_of,
    probability,
    random_direction,
)

# [B, h, w, K] = [2, 2, 2, 3]; channel 0 counts positions, 1 is their sign, 2 is off.
MIXED = np.zeros((2, 2, 2, 3), np.float32)
MIXED[0, ..., 0] = [[1, 2], [3, 4]]
MIXED[1, ..., 0] = [[5, 6], [7, 8]]
MIXED[..., 1] = [[1, -1], [1, -1]]
FLAT = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]], np.float32)  # [B, K]
# One position, two channels: the vector (3, 4) of O4.
THREE_FOUR = np.array([3.0, 4.0], np.float32).reshape(1, 1, 1, 2)
TWO_AXES = np.eye(2, dtype=np.float32).reshape(1, 1, 2, 2)  # positions (1,0), (0,1)
ONE_ZERO = np.array([1.0, 0.0], np.float32)
ODD = np.arange(15, dtype=np.float32).reshape(1, 3, 5, 1)  # middle: row 1, column 2

# Two images whose features are the same, and a third with others: G1 = G2, G1·G3 = 0.
GRAMS = np.zeros((3, 1, 2, 2), np.float32)
GRAMS[0, ..., 0] = GRAMS[1, ..., 0] = [[1, 2]]
GRAMS[2, ..., 1] = [[3, 4]]
ALIKE = np.repeat(MIXED[:1], 4, axis=0)
# Features 0, 1, 3 of three neighbors: apart by 1 and 4 (lag 1) and 9 (lag 2).
STEPS = np.array([0.0, 1.0, 3.0], np.float32).reshape(3, 1, 1, 1)

LOGITS = np.log(np.array([[1.0, 3.0], [4.0, 1.0]], np.float32))
# (taps, hp, objective, score by hand)
CASES = {
    "neuron": [
        # O1: the middle of an even size is the lower right of the central four.
        ({"a": MIXED}, {}, neuron("a", 0), [4, 8]),
        ({"a": ODD}, {}, neuron("a", 0), [7]),
        ({"a": MIXED}, {}, neuron("a", 0, 0, 1), [2, 6]),  # row 0, column 1
        ({"a": MIXED}, {}, neuron("a", 1, x=0), [1, 1]),
        (
            {"a": MIXED},
            {"y": 0, "x": 1},
            neuron("a", 0, Hparam("y"), Hparam("x")),
            [2, 6],
        ),
    ],
    "channel": [
        ({"a": MIXED}, {}, channel("a", 0), [2.5, 6.5]),
        ({"a": MIXED}, {}, channel("a", 1), [0, 0]),
        ({"a": FLAT}, {}, channel("a", 2), [3, 9]),
        ({"a": MIXED}, {"unit": 0}, channel("a", Hparam("unit")), [2.5, 6.5]),
    ],
    "direction": [
        # O4: dot × max(.1, cos)^p, 1e-4 added to both norms.
        ({"a": THREE_FOUR}, {}, direction("a", ONE_ZERO), [3]),
        ({"a": THREE_FOUR}, {}, direction("a", ONE_ZERO, cos_power=1), [1.799784]),
        ({"a": THREE_FOUR}, {}, direction("a", ONE_ZERO, cos_power=2), [1.079741]),
        ({"a": THREE_FOUR}, {}, direction("a", ONE_ZERO, cos_power=4), [0.388613]),
        ({"a": THREE_FOUR}, {}, direction("a", -ONE_ZERO, cos_power=2), [-0.03]),
        ({"a": MIXED}, {}, direction("a", [1.0, 1.0, 0.0]), [2.5, 6.5]),
        (
            {"a": FLAT},
            {"v": np.array([1.0, 0.0, -1.0], np.float32), "p": 0.0},
            direction("a", Hparam("v"), cos_power=Hparam("p")),
            [-2, -5],
        ),
    ],
    "direction_at": [
        ({"a": MIXED}, {}, direction_at("a", [1.0, 10.0, 0.0]), [-6, -2]),
        ({"a": MIXED}, {}, direction_at("a", [1.0, 0.0, 0.0], 0, 1), [2, 6]),
        (
            {"a": MIXED},
            {"y": 1},
            direction_at("a", [1.0, 0, 0], Hparam("y"), 0),
            [3, 7],
        ),
        ({"a": THREE_FOUR}, {}, direction_at("a", ONE_ZERO, cos_power=2), [1.079741]),
    ],
    "random_direction": [  # of one channel it is 1 or -1: see the test below, too
        (
            {"a": np.zeros((2, 1, 1, 4), np.float32)},
            {},
            random_direction("a", 3),
            [0, 0],
        ),
    ],
    "energy": [  # O2: mean(a²), not half the sum
        ({"a": MIXED}, {}, energy("a"), [(30 + 4) / 12, (174 + 4) / 12]),
        ({"a": FLAT}, {}, energy("a"), [14 / 3, 122 / 3]),
    ],
    "one_of": [
        (
            {"a": MIXED, "b": FLAT},
            {"which": 0},
            one_of("a, b", Hparam("which")),
            [(30 + 4) / 12, (174 + 4) / 12],
        ),
        (
            {"a": MIXED, "b": FLAT},
            {"which": 1},
            one_of("a, b", Hparam("which")),
            [14 / 3, 122 / 3],
        ),
    ],
    "guided": [
        # (3, 4) with (1, 0) and (0, 1) to choose from takes the second: 4.
        ({"a": THREE_FOUR}, {}, guided("a", TWO_AXES), [4]),
        ({"a": THREE_FOUR, TARGET + "a": -TWO_AXES}, {}, guided("a"), [-3]),
    ],
    "logit": [
        ({"logits": FLAT}, {}, logit(1), [2, 5]),
        ({"logits": FLAT}, {"c": 2}, logit(Hparam("c")), [3, 9]),
    ],
    "probability": [
        ({"probabilities": FLAT}, {}, probability(1), [2, 5]),
    ],
    "log_probability": [
        ({"logits": LOGITS}, {}, log_probability(0), np.log([0.25, 0.8])),
        ({"logits": 1000 * FLAT}, {}, log_probability(0), [-2000, -5000]),
    ],
    "diversity": [
        # O3: minus the likeness to the others; 1 - B for images alike (B = 4: -3).
        ({"a": GRAMS}, {}, diversity("a"), [-1, -1, 0]),
        ({"a": ALIKE}, {}, diversity("a"), [-3, -3, -3, -3]),
        ({"a": ALIKE[:1]}, {}, diversity("a"), [0]),
    ],
    "alignment": [
        ({"a": ALIKE}, {}, alignment("a"), [0, 0, 0, 0]),
        # Pairs (0,1): 1/2, (1,2): 4/2, (0,2): 9/4; half of each to either image.
        ({"a": STEPS}, {}, alignment("a"), [-1.375, -1.25, -2.125]),
        (
            {"a": STEPS},
            {"d": 1.0},
            alignment("a", decay=Hparam("d")),
            [-5, -2.5, -6.5],
        ),
    ],
    "interpolation": [
        # O6: weights 0, .25, .5, .75, 1 of five images.
        (
            {"a": np.tile(FLAT[:1], (5, 1))},
            {},
            interpolation("a", 0, "a", 2),
            [1, 1.5, 2, 2.5, 3],
        ),
        ({"a": MIXED, "b": FLAT}, {}, interpolation("a", 0, "b", 1), [2.5, 5]),
    ],
    "difference": [
        ({"a": MIXED}, {}, difference("a", 0, 1), [2.5, 6.5]),
        ({"a": FLAT}, {"u": 2}, difference("a", 0, Hparam("u")), [-2, -5]),
    ],
    "match": [
        # 0 at best, -1 for no features: Σ(Φ - Φ₀)² / ΣΦ₀².
        ({"a": THREE_FOUR}, {}, match("a", THREE_FOUR), [0]),
        ({"a": 0 * THREE_FOUR}, {}, match("a", THREE_FOUR), [-1]),
        ({"a": 3 * THREE_FOUR}, {}, match("a", THREE_FOUR), [-4]),
        ({"a": FLAT, TARGET + "a": 2 * FLAT}, {}, match("a"), [-0.25, -0.25]),
        ({"a": FLAT}, {}, match("a", FLAT[:1]), [0, -(9 + 9 + 36) / 14]),
    ],
    "caricature": [
        # O5: cos = dot / |Φ₀|, not divided by the image's own norm. Of (3,4) with
        # itself dot = 25, cos = 5; of (-3,-4), dot = -25, cos at the floor.
        ({"a": THREE_FOUR}, {}, caricature("a", THREE_FOUR), [125]),
        ({"a": THREE_FOUR}, {}, caricature("a", THREE_FOUR, cos_power=0), [25]),
        ({"a": 2 * THREE_FOUR}, {}, caricature("a", THREE_FOUR, cos_power=2), [5000]),
        ({"a": -THREE_FOUR}, {}, caricature("a", THREE_FOUR), [-2.5]),
        (
            {"a": THREE_FOUR, TARGET + "a": THREE_FOUR},
            {"p": 1.0},
            caricature("a", cos_power=Hparam("p")),
            [125],
        ),
    ],
}
FLAT_CASES = [(name, *case) for name, cases in CASES.items() for case in cases]


def scored(objective, taps, hp):
    values = {name: jnp.asarray(v) for name, v in hp.items()}
    return objective({name: jnp.asarray(tap) for name, tap in taps.items()}, values)


@pytest.fixture(scope="module")
def scores_and_slopes():
    """One program: score and slope of every case, at its taps and at zero taps."""

    def one(case, taps):
        _, _, hp, objective, _ = case
        values = {name: jnp.asarray(v) for name, v in hp.items()}

        def total(taps):
            score = objective(taps, values)
            return jnp.sum(score), score

        slope, score = jax.grad(total, has_aux=True)(taps)
        return score, slope

    def all_(taps):
        return [
            jax.vmap(lambda taps, case=case: one(case, taps))(both)
            for case, both in zip(FLAT_CASES, taps, strict=True)
        ]

    taps = [
        {name: jnp.stack([tap, 0 * tap]) for name, tap in case[1].items()}
        for case in FLAT_CASES
    ]
    fast = {"xla_backend_optimization_level": 0}  # compile time is all there is
    return jax.jit(all_, compiler_options=fast)(taps)


def test_every_objective_has_a_case():
    assert CASES.keys() == OBJECTIVES.keys()
    for name, _, _, objective, _ in FLAT_CASES:
        assert objective.text.startswith(f"{name}(")


@pytest.mark.parametrize("number", range(len(FLAT_CASES)))
def test_by_hand(scores_and_slopes, number):
    scores, slopes = scores_and_slopes[number]
    score, slope = jax.tree.map(lambda a: a[0], (scores, slopes))
    _, taps, hp, objective, by_hand = FLAT_CASES[number]
    assert score.shape == (len(by_hand),)
    assert objective.hparams - {"target"} == hp.keys()
    for leaf in jax.tree.leaves((scores, slopes)):  # at zero taps, too
        assert np.all(np.isfinite(leaf))
    np.testing.assert_allclose(score, by_hand, rtol=2e-6, atol=1e-6)
    assert {read.tap for read in objective.reads} == {
        name for name in taps if not name.startswith(TARGET)
    }
    # The image of the target gets no gradient.
    for name in taps:
        if name.startswith(TARGET):
            np.testing.assert_array_equal(slope[name], 0)


def test_slopes_by_hand(scores_and_slopes):
    """O7: a channel's slope is 1 over its positions, however many images there are."""
    slopes = {}
    for (name, *_), (_, slope) in zip(FLAT_CASES, scores_and_slopes, strict=True):
        slopes.setdefault(name, jax.tree.map(lambda a: a[0], slope))
    one = np.zeros(MIXED.shape)
    one[..., 0] = 0.25
    np.testing.assert_allclose(slopes["channel"]["a"], one)
    one = np.zeros(MIXED.shape)
    one[:, 1, 1, 0] = 1
    np.testing.assert_allclose(slopes["neuron"]["a"], one)
    np.testing.assert_allclose(slopes["energy"]["a"], 2 * MIXED / 12, rtol=1e-6)
    np.testing.assert_allclose(slopes["logit"]["logits"], [[0, 1, 0]] * 2)
    # log p0 = x0 - log Σ exp x: slope (1, 0) - p.
    wanted = np.array([[0.75, -0.75], [0.2, -0.2]])
    np.testing.assert_allclose(slopes["log_probability"]["logits"], wanted, rtol=1e-5)


def test_dot_cosine_pulls_out_of_the_floor():
    """Below the floor, the slope is that of the dot product, .1^p times."""
    slope = jax.grad(lambda a: dot_cosine(a, ONE_ZERO, 2.0))(jnp.array([-3.0, 4.0]))
    np.testing.assert_allclose(slope, [0.01, 0], atol=1e-8)


def test_random_direction_has_length_one():
    """On the unit vectors it reads off its own coordinates, the same for any image."""
    units = {"a": jnp.eye(6).reshape(6, 1, 1, 6)}

    def drawn(seed):
        return np.asarray(random_direction("a", Hparam("s"))(units, {"s": seed}))

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert np.all(np.isfinite([first, other]))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(np.sum(first**2), 1, rtol=1e-5)
    assert abs(np.dot(first, other)) < 0.999


def test_algebra():
    taps = {"a": jnp.asarray(FLAT)}
    a, b = channel("a", 0), channel("a", 1)  # 1, 4 and 2, 5
    hp = {"w": jnp.float32(3.0)}
    for objective, values, text in [
        (a + b, [3, 9], '(channel("a", 0) + channel("a", 1))'),
        (a - b, [-1, -1], '(channel("a", 0) - channel("a", 1))'),
        (a * b, [2, 20], '(channel("a", 0) * channel("a", 1))'),
        (b / a, [2, 1.25], '(channel("a", 1) / channel("a", 0))'),
        (1 + a, [2, 5], '(1 + channel("a", 0))'),
        (a - 1, [0, 3], '(channel("a", 0) - 1)'),
        (1 - a, [0, -3], '(1 - channel("a", 0))'),
        (0.5 * a, [0.5, 2], '(0.5 * channel("a", 0))'),
        (a / 2, [0.5, 2], '(channel("a", 0) / 2)'),
        (4 / a, [4, 1], '(4 / channel("a", 0))'),
        (-a, [-1, -4], '(-1 * channel("a", 0))'),
        (Hparam("w") * a, [3, 12], '(w * channel("a", 0))'),
        (a + Hparam("w"), [4, 7], '(channel("a", 0) + w)'),
        (Hparam("w") - a, [2, -1], '(w - channel("a", 0))'),
        (0.2 * a + 0.8 * b, [1.8, 4.8], None),
    ]:
        assert isinstance(objective, Objective)
        np.testing.assert_allclose(objective(taps, hp), values, rtol=1e-6)
        assert text is None or objective.text == text
    both = Hparam("w") * channel("a", Hparam("u")) + match("b")
    assert both.hparams == {"w", "u", "target"}
    assert both.needs_target
    assert [read.tap for read in both.reads] == ["a", "b"]
    assert not a.needs_target
    assert constant(2).reads == ()


@pytest.mark.parametrize("other", ["a", None, [1.0], (1, 2), np.ones(3)])
def test_algebra_refuses(other):
    for combine in (lambda a: a + other, lambda a: other * a):
        with pytest.raises(ValueError, match="cannot be combined with"):
            combine(channel("a", 0))


def test_a_hyperparameter_that_is_not_given():
    with pytest.raises(ValueError, match="'unit' is read but not given"):
        scored(channel("a", Hparam("unit")), {"a": FLAT}, {"other": 1})


def test_traced_indices_are_the_constants_and_compile_once():
    random = np.random.default_rng(0)
    taps = {
        "a": random.normal(size=(2, 3, 4, 5)).astype(np.float32),
        "logits": random.normal(size=(2, 5)).astype(np.float32),
    }

    def objectives(unit, y, power):
        return [
            neuron("a", unit, y, 1),
            channel("a", unit),
            direction_at("a", np.arange(5.0), y, cos_power=power),
            logit(unit),
            log_probability(unit),
            difference("a", unit, 0),
            power * channel("a", unit),
        ]

    names = (Hparam("unit"), Hparam("y"), Hparam("power"))

    @jax.jit
    def program(hp, taps):
        return [objective(taps, hp) for objective in objectives(*names)]

    for values in ((0, 0, 1.0), (4, 2, 0.5)):
        hp = dict(zip(("unit", "y", "power"), map(np.asarray, values), strict=True))
        hp = {**hp, "power": np.float32(values[2])}
        found = program(hp, taps)
        for score, objective in zip(found, objectives(*values), strict=True):
            wanted = scored(objective, taps, {})
            assert np.all(np.isfinite(score))
            np.testing.assert_allclose(score, wanted, rtol=1e-5, atol=1e-6)
    assert program._cache_size() == 1


def test_neighbors_change_nothing():
    """Score and gradient of an image in a batch of three are those of it alone."""
    random = np.random.default_rng(1)
    a = random.normal(size=(3, 2, 2, 3)).astype(np.float32)
    logits = random.normal(size=(3, 3)).astype(np.float32)
    goal = random.normal(size=(1, 2, 2, 3)).astype(np.float32)
    list_ = [
        neuron("a", 1),
        channel("a", 1),
        direction("a", [1.0, 2.0, -1.0], cos_power=2.0),
        direction_at("a", [1.0, 2.0, -1.0], cos_power=2.0),
        random_direction("a", 0, cos_power=1.0),
        energy("a"),
        logit(1),
        probability(1),
        log_probability(1),
        difference("a", 0, 1),
        match("a", goal),
        caricature("a", goal),
        one_of("a, logits", 1),
        guided("a", goal),
    ]
    apart = {o.text.split("(")[0] for o in list_}
    assert apart == OBJECTIVES.keys() - {"diversity", "alignment", "interpolation"}

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(a, logits):
        def total(a, logits):
            soft = jax.nn.softmax(logits, axis=-1)
            taps = {"a": a, "logits": logits, "probabilities": soft}
            scores = jnp.stack([o(taps, {}) for o in list_])  # [objectives, B]
            return jnp.sum(scores, axis=1), scores

        return jax.jacrev(total, argnums=(0, 1), has_aux=True)(a, logits)

    (slope, slope_logits), scores = run(a, logits)
    (alone, alone_logits), score = run(a[1:2], logits[1:2])
    assert np.all(np.isfinite(scores))
    np.testing.assert_allclose(scores[:, 1:2], score, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope[:, 1:2], alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope_logits[:, 1:2], alone_logits, rtol=1e-5, atol=1e-6)


# Checks before any compile.

SHAPES = {"b8": (1, 4, 6, 10), "b2": (1, 8, 12, 3), "logits": (1, 5)}


def test_check_accepts():
    swept = {"unit": [0, 9, np.int32(3), 2.0], "v": [np.ones(10)], "w": [0.1]}
    check_objective(
        Hparam("w") * channel("b8", Hparam("unit"))
        + neuron("b8", 9, 3, 5)
        + direction("b8", Hparam("v"))
        + logit(4)
        + energy("b2"),
        SHAPES,
        swept,
    )
    check_objective(match("b8"), SHAPES, {"target": ["coffee"]})


@pytest.mark.parametrize(
    "objective, values, says",
    [
        (channel("b9", 0), {}, "tap='b9' is not known."),
        (channel("logit", 0), {}, 'Did you mean "logits"'),
        (channel("b8", 10), {}, "channel=10 is out of range"),
        (channel("b8", 10), {}, "0 … 9"),
        (channel("b8", -1), {}, "channel=-1 is out of range"),
        (channel("b8", 1.5), {}, "channel=1.5 is out of range"),
        (channel("b8", float("nan")), {}, "channel=nan is out of range"),
        (channel("b8", float("inf")), {}, "channel=inf is out of range"),
        (channel("b8", "espresso"), {}, "channel='espresso' is out of range"),
        (channel("b8", Hparam("unit")), {"unit": [0, 12]}, "hparams.unit=12 is out"),
        (channel("b8", Hparam("unit")), {"unit": [(1, 2)]}, "hparams.unit=(1, 2) is"),
        (channel("b8", Hparam("unti")), {"unit": [0]}, 'Did you mean "unit"'),
        (neuron("b8", 0, 4, 0), {}, "y=4 is out of range"),
        (neuron("b8", 0, 0, 6), {}, "x=6 is out of range"),
        (neuron("logits", 0), {}, "no positions"),
        (direction_at("logits", np.ones(5)), {}, "no positions"),
        (logit(5), {}, "class=5 is out of range"),
        (logit(Hparam("unit")), {"unit": [7]}, "hparams.unit=7"),
        (probability(0), {}, "tap='probabilities' is not known"),
        (direction("b8", np.ones(3)), {}, "has 10 channels"),
        (direction("b8", Hparam("v")), {"v": [np.ones(10), np.ones(9)]}, "shape (9,)"),
        (interpolation("b8", 0, "b2", 3), {}, "channel=3 is out of range"),
        (difference("b8", 0, 10), {}, "channel=10 is out of range"),
        (0.5 * energy("b8") - energy("b3"), {}, "tap='b3'"),
        (Hparam("w") * energy("b8"), {"unit": [0]}, "'w' is not known"),
        (match("b8"), {}, "'target' is not known"),
    ],
)
def test_check_refuses(objective, values, says):
    with pytest.raises(ValueError) as error:
        check_objective(objective, SHAPES, values)
    assert says in str(error.value)


def test_reads_say_what_is_read():
    assert neuron("a", 1, x=Hparam("x")).reads == (
        Read("a", "channel", 1),
        Read("a", "y", None),
        Read("a", "x", Hparam("x")),
    )
    assert energy("a").reads == (Read("a", "layer"),)
    assert logit(3).reads == (Read("logits", "class", 3),)
