"""Networks whose results have structure, or cannot be used: one line says why."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from dreamjax.build import build
from dreamjax.config import base_config
from dreamjax.models import Record, from_function, from_linen, from_nnx, tap_shapes
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, count_parameters
from tests.tiny import tiny_model

RECORD = Record("mine", "here", size=8, min_size=4)
LABELED = dataclasses.replace(RECORD, labels=("ant", "bee"))
IMAGE = jnp.zeros((1, 8, 8, 3))
KERNEL = jax.random.normal(jax.random.key(0), (3, 5))


class Answers(nn.Module):
    """What it calls logits comes after features in the alphabet."""

    @nn.compact
    def __call__(self, x):
        f = nn.relu(nn.Dense(6, name="c1")(x))
        logits = nn.Dense(2, name="fc")(f.mean((1, 2)))
        mask = nn.Dense(1, name="m")(f)
        return {"logits": logits, "features": f, "mask": mask}


class NnxAnswers(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Linear(3, 6, rngs=rngs)
        self.head = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        f = nnx.relu(self.conv(x))
        return {"logits": self.head(f.mean((1, 2))), "features": f}


def linen(module, record=RECORD, output=None, **arguments):
    variables = module.init(jax.random.key(0), IMAGE, **arguments)
    return from_linen(module, variables, record, output=output, **arguments)


def values(model):
    return dict(model.taps(model.variables, IMAGE + 0.5, PLAIN))


def shapes(model, size=(8, 8)):
    return dict(tap_shapes(model, size))


def config_of(objective):
    config = base_config()
    config.objective, config.size, config.param = objective, (8, 8), "pixel"
    config.transforms = ""
    return config


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_a11_keys_of_a_mapping_are_the_names_of_its_arrays(kind):
    if kind == "linen":
        model = linen(Answers(), LABELED, "logits")
    else:
        model = from_nnx(NnxAnswers(nnx.Rngs(0)), LABELED, output="logits")
    found = values(model)
    assert found["logits"].shape == found["probabilities"].shape == (1, 2)
    assert found["features"].shape == (1, 8, 8, 6)
    head = found["fc" if kind == "linen" else "head"]
    np.testing.assert_array_equal(found["logits"], head)
    experiment = build(config_of("logits:bee"), model)
    assert experiment.objective.reads[0].tap == "logits"


def test_a11_the_output_must_be_one_of_the_arrays():
    with pytest.raises(ValueError, match=r"logits \[1, 2\], features \[1, 8, 8, 6\]"):
        shapes(linen(Answers(), output="classes"))
    renamed = shapes(linen(Answers(), output={"mask": "mine", "logits": "scores"}))
    assert {"mine", "scores", "features"} < set(renamed)
    assert "logits" not in renamed and "mask" not in renamed
    with pytest.raises(ValueError, match="output='masc' is not known"):
        shapes(linen(Answers(), output={"masc": "mine"}))
    with pytest.raises(ValueError, match="two arrays one name"):
        shapes(linen(Answers(), output={"mask": "logits"}))


class Pair(NamedTuple):
    features: Any
    logits: Any


@dataclasses.dataclass
class Result:
    features: Any
    logits: Any
    loss: Any = None


class Returns(nn.Module):
    """Returns its features and its classes in a structure of one's own."""

    make: Any

    @nn.compact
    def __call__(self, x):
        return self.make(nn.Dense(6)(x), nn.Dense(2)(x.mean((1, 2))))


@pytest.mark.parametrize(
    "make, output, expected",
    [
        (Pair, None, {"features": 4, "logits": 2}),
        (Result, "logits", {"features": 4, "logits": 2}),
        (lambda f, c: (f, c), None, {"output#0": 4, "output#1": 2}),
        (lambda f, c: (f, c), "logits", {"output#0": 4, "logits": 2}),
        (lambda f, c: [c, f], "logits", {"logits": 2, "output#1": 4}),
        (lambda f, c: (f, c), {1: "logits"}, {"output#0": 4, "logits": 2}),
        (lambda f, c: (f, c), "mine", {"mine#0": 4, "mine#1": 2}),
        (lambda f, c: (c, None), "logits", {"logits": 2}),
        (
            lambda f, c: {"head": {"z": c, "a": f}, "all": [f, c]},
            {"head/z": "logits"},
            {"logits": 2, "head/a": 4, "all#0": 4, "all#1": 2},
        ),
    ],
)
def test_a11_structures_name_their_arrays(make, output, expected):
    found = shapes(linen(Returns(make), output=output))
    ours = {n: len(s) for n, s in found.items() if not n.startswith(("Dense", "prob"))}
    assert ours == expected


def test_a11_a_tuple_of_two_that_could_be_classes_is_refused():
    with pytest.raises(ValueError, match=r"is not clear.* output=\{0: 'logits'\}"):
        shapes(linen(Returns(lambda f, c: (f.mean((1, 2)), c)), output="logits"))


def test_a11_classes_are_one_number_each():
    def network(variables, x):
        y = x @ variables
        return {"conv": y, "logits": y.mean((1, 2), keepdims=True)}

    assert shapes(from_function(network, KERNEL, RECORD))["logits"] == (1, 5)
    with pytest.raises(ValueError, match=r"'logits' of mine is \[1, 8, 8, 5\], a map"):
        shapes(from_function(lambda v, x: {"logits": x @ v}, KERNEL, RECORD))
    with pytest.raises(ValueError, match="has 5 classes, and its record has 2 labels"):
        shapes(from_function(network, KERNEL, LABELED))


def test_a11_scores_and_metrics_are_numbers_before_any_compile():
    tiny = tiny_model()

    def taps(variables, images, rules):
        found = dict(tiny.taps(variables, images, rules))
        return found | {"logits": found["b"]}  # around the adapters' own check

    model = Model(taps, tiny.variables, tiny.record)
    with pytest.raises(ValueError, match="a map, and classes are one number each"):
        build(config_of("logits:bee"), model)


def test_a11_two_arrays_of_one_name_are_refused():
    def network(variables, x):
        return {"a/b": x @ variables, "a": {"b": x}}

    with pytest.raises(ValueError, match="two arrays have the name 'a/b'"):
        shapes(from_function(network, KERNEL, RECORD))


class Norm(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(2, name="head")(x.mean((1, 2)))


class Drops(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic):
        return nn.Dropout(0.5)(nn.Dense(4)(x), deterministic=deterministic)


class Flat(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2, name="head")(x.reshape(len(x), -1))


class NnxFlat(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(192, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(x.reshape(len(x), -1))


def norm_variables():
    return Norm().init(jax.random.key(0), IMAGE, train=False)


def decide(variables, x):
    return {"a": x if x.sum() > 0 else -x}


TROUBLE = {
    "in training": (
        lambda: from_linen(Norm(), norm_variables(), RECORD, train=True),
        r"module=Norm fails in 'BatchNorm_0' .*training mode.*train=False",
    ),
    "no key for dropout": (
        lambda: from_linen(
            Drops(),
            Drops().init(jax.random.key(0), IMAGE, deterministic=True),
            RECORD,
            deterministic=False,
        ),
        r"module=Drops fails in 'Dropout_0' .*deterministic=True",
    ),
    "no statistics": (
        lambda: from_linen(
            Norm(), {"params": norm_variables()["params"]}, RECORD, train=False
        ),
        "lack the collection 'batch_stats'",
    ),
    "an argument is missing": (
        lambda: from_linen(Norm(), norm_variables(), RECORD),
        r"Give it: from_linen\(…, train=False\)",
    ),
    "parameters alone": (
        lambda: from_linen(Norm(), norm_variables()["params"], RECORD, train=False),
        r"\{'params': …",
    ),
    "another size": (lambda: linen(Flat()), r"module=Flat fails.* 16 × 12 px"),
    "another size, nnx": (
        lambda: from_nnx(NnxFlat(nnx.Rngs(0)), RECORD),
        "module=NnxFlat fails in 'head'.* 16 × 12 px",
    ),
    "an array": (
        lambda: from_function(lambda v, x: x @ v, KERNEL, RECORD),
        "return a dict that names its activations",
    ),
    "nothing": (
        lambda: from_function(lambda v, x: None, None, RECORD),
        "returns.*None",
    ),
    "nothing inside": (
        lambda: from_function(lambda v, x: {"a": x, "b": None}, None, RECORD),
        "returns b None: taps are",
    ),
    "tokens": (
        lambda: from_function(lambda v, x: {"a": x[:, 0]}, None, RECORD),
        r"returns a \[1, 12, 3\]: taps are",
    ),
    "mean of the images": (
        lambda: from_function(lambda v, x: {"a": x.sum((0, 1))}, None, RECORD),
        r"returns a \[12, 3\]: taps are",
    ),
    "whole numbers": (
        lambda: from_function(
            lambda v, x: {"a": x.argmax(-1, keepdims=True)}, 0, RECORD
        ),
        r"a \[1, 16, 12, 1\] int32: taps are",
    ),
    "bytes": (
        lambda: from_function(
            lambda v, x: {"a": jax.lax.conv(x, v, (1, 1), "SAME")},
            jnp.ones((5, 16, 1, 1), jnp.uint8),
            RECORD,
        ),
        r"uint8.* Images come as float32",
    ),
    "gray images": (
        lambda: from_function(
            lambda v, x: {"a": jax.lax.conv(x, v, (1, 1), "SAME")},
            jnp.ones((1, 3, 1, 1)),
            RECORD,
        ),
        "the record's channels",
    ),
    "a decision": (lambda: from_function(decide, 0, RECORD), "traced once"),
    "an error": (lambda: from_function(lambda v, x: {"a": v["b"]}, {}, RECORD), "'b'"),
}


@pytest.mark.parametrize("name", TROUBLE)
def test_c4_one_line_names_network_layer_and_remedy(name):
    make, expected = TROUBLE[name]
    model = make()
    with pytest.raises(ValueError, match=expected) as caught:
        shapes(model, (16, 12))
    text = str(caught.value)
    assert "\n" not in text and "http" not in text and len(text) < 700


def test_c4_variables_are_numbers():
    for wrong, at in (({"a": {"b": np.array([0.0, np.nan])}}, "a/b"), (["x"], "0")):
        with pytest.raises(ValueError, match=f"variables='{at}' is not possible"):
            from_function(lambda v, x: {"a": x}, wrong, RECORD)
    variables = norm_variables()
    mean = variables["batch_stats"]["BatchNorm_0"]["mean"] * jnp.nan
    variables["batch_stats"]["BatchNorm_0"]["mean"] = mean
    with pytest.raises(ValueError, match=r"batch_stats/BatchNorm_0/mean.*NaN"):
        from_linen(Norm(), variables, RECORD, train=False)


def test_parameters_of_ones_own_network_are_counted():
    model = tiny_model()
    assert model.record.parameters == 0
    leaves = jax.tree.leaves(model.variables)
    assert count_parameters(model) == sum(np.size(leaf) for leaf in leaves) > 100
