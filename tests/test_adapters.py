"""Networks of other people: taps, values and two steps of a dream; and the document."""

import re
import runpy
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from dreamjax.build import build
from dreamjax.config import base_config
from dreamjax.models import (
    Record,
    from_function,
    from_linen,
    from_nnx,
    load,
    tap_shapes,
)
from dreamjax.models.layers import PLAIN

RECORD = Record(
    "mine", "here", scale=2.0, mean=(1.0,), std=(0.5,), labels=("ant", "bee")
)
IMAGES = np.random.default_rng(0).uniform(size=(2, 5, 4, 3)).astype(np.float32)
SEEN = (IMAGES * 2 - 1) / 0.5
DOCUMENT = Path(__file__).parents[1] / "docs" / "own_model.md"


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4, name="dense")(x)
        self.sow("intermediates", "pre", x)
        self.sow("intermediates", "scalar", x.sum())  # no activation: no tap
        return nn.relu(x)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, double):
        x = Inner(name="block")(x)
        twice = nn.Dense(4, name="twice")
        x = twice(nn.relu(twice(x)))
        x = nn.BatchNorm(use_running_average=True)(x)
        return nn.Dense(2, name="head")(x.mean(axis=(1, 2))) * (2 if double else 1)


class Part(nnx.Module):
    def __init__(self, features, rngs):
        self.dense = nnx.Linear(features, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(nnx.relu(self.norm(self.dense(x))))


class Nnx(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.parts = nnx.List([Part(3, rngs), Part(4, rngs)])
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        for part in self.parts:
            x = part(x)
        return self.head(x.mean(axis=(1, 2)))


def linen_model():
    variables = Linen().init(jax.random.key(0), jnp.zeros((1, 5, 4, 3)), double=False)
    return from_linen(Linen(), variables, RECORD, output="logits", double=True)


def nnx_module():
    module = Nnx()
    module.parts[0].norm.mean[...] = jnp.full((4,), 0.25)
    module.parts[0].norm.var[...] = jnp.full((4,), 4.0)
    module.eval()
    return module


def function_model():
    weights = {"w": jnp.asarray([[1.0, 0.0], [0.0, 2.0], [0.0, -1.0]])}
    return from_function(
        lambda v, x: {"a": x @ v["w"], "logits": (x @ v["w"]).mean(axis=(1, 2))},
        weights,
        RECORD,
    )


def taps_of(model):
    found = jax.jit(lambda v, x: dict(model.taps(v, x, PLAIN)))(model.variables, IMAGES)
    assert all(np.all(np.isfinite(tap)) for tap in found.values())
    shapes = tap_shapes(model, IMAGES.shape[1:3])
    assert {n: (1, *tap.shape[1:]) for n, tap in found.items()} == dict(shapes)
    return found


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def softmax(x):
    x = np.exp(np.asarray(x, np.float64))
    return x / x.sum(axis=-1, keepdims=True)


def test_linen():
    model = linen_model()
    taps = taps_of(model)
    assert set(taps) == {
        *("block", "block/dense", "block/pre", "twice#0", "twice#1", "BatchNorm_0"),
        *("head", "logits", "probabilities"),
    }
    params = model.variables["params"]

    def dense(x, weights):
        return x @ np.asarray(weights["kernel"]) + np.asarray(weights["bias"])

    pre = dense(SEEN, params["block"]["dense"])
    close(taps["block/dense"], pre)
    close(taps["block/pre"], pre)
    close(taps["block"], np.maximum(pre, 0))
    first = dense(np.maximum(pre, 0), params["twice"])
    close(taps["twice#0"], first)
    second = dense(np.maximum(first, 0), params["twice"])
    close(taps["twice#1"], second)
    close(taps["BatchNorm_0"], second / np.sqrt(1 + 1e-5))  # as initialized
    close(taps["logits"], 2 * taps["head"])
    close(taps["probabilities"], softmax(taps["logits"]))


def test_nnx():
    module = nnx_module()
    model = from_nnx(module, RECORD, output="logits")
    taps = taps_of(model)
    inner = {f"parts/{n}/{p}" for n in (0, 1) for p in ("dense", "norm", "dropout")}
    assert set(taps) == inner | {
        *("parts/0", "parts/1", "head", "logits", "probabilities")
    }
    part = module.parts[0]
    dense = SEEN @ np.asarray(part.dense.kernel[...]) + np.asarray(part.dense.bias[...])
    close(taps["parts/0/dense"], dense)
    close(taps["parts/0/norm"], (dense - 0.25) / np.sqrt(4 + 1e-5))
    close(taps["parts/0"], np.maximum(taps["parts/0/norm"], 0))
    close(taps["head"], taps["logits"])
    close(taps["logits"], module(jnp.asarray(SEEN)))


def test_nnx_in_training_mode_is_refused():
    module = nnx_module()
    module.train()
    with pytest.raises(ValueError, match=r"parts/0/.* Call module.eval\(\)"):
        from_nnx(module, RECORD)


def test_function():
    model = function_model()
    taps = taps_of(model)
    assert list(taps) == ["a", "logits", "probabilities"]
    wanted = np.stack([SEEN[..., 0], 2 * SEEN[..., 1] - SEEN[..., 2]], axis=-1)
    close(taps["a"], wanted)
    close(taps["logits"], wanted.mean(axis=(1, 2)))
    close(taps["probabilities"], softmax(taps["logits"]))


def test_the_caller_s_probabilities_are_kept():
    def function(variables, x):
        flat = x.mean(axis=(1, 2))
        return {"logits": flat, "probabilities": 2 * flat}

    taps = taps_of(from_function(function, None, Record("mine", "here")))
    close(taps["probabilities"], 2 * taps["logits"])


def test_an_output_named_like_a_submodule_is_refused():
    variables = Linen().init(jax.random.key(0), jnp.zeros((1, 5, 4, 3)), double=False)
    model = from_linen(Linen(), variables, RECORD, output="head", double=False)
    with pytest.raises(ValueError, match="output='head' is also the name"):
        tap_shapes(model, (5, 4))


MODELS = {
    "linen": (linen_model, "twice#1:2"),
    "nnx": (lambda: from_nnx(nnx_module(), RECORD, output="logits"), "parts/1/dense:2"),
    "function": (function_model, "logits:bee"),
}


def small_config(objective):
    config = base_config()
    config.objective = objective
    config.size = (8, 9)
    config.param = "pixel"
    config.transforms = ""
    config.start = "coffee"
    config.hparams.learning_rate = (0.01,)
    return config


@pytest.mark.parametrize("name", MODELS)
def test_two_steps_raise_the_score(name):
    make, objective = MODELS[name]
    experiment = build(small_config(objective), make())
    hp = {n: jnp.asarray(values[0]) for n, values in experiment.values.items()}
    state = experiment.step.init(jax.random.key(0), hp)
    update = jax.jit(experiment.step.update)
    scores = []
    for _ in range(3):  # the third reports what the second reached
        state, info = update(state, hp, experiment.model.variables)
        scores.append(float(info.score[0]))
    assert bool(state.alive)
    assert np.all(np.isfinite(scores))
    assert scores[0] < scores[1] < scores[2]


def test_redirect_is_refused_for_a_foreign_model():
    config = small_config("a:0")
    config.redirect_relu = True
    with pytest.raises(ValueError, match="mine does not use dreamjax's ReLU"):
        build(config, function_model())


def test_a_label_of_ones_own_model():
    with pytest.raises(ValueError, match='Did you mean "bee"'):
        build(small_config("logits:bees"), function_model())


def test_the_document_runs_as_it_stands(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 5
    (tmp_path / "my_models.py").write_text("\n\n".join(blocks), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found = {
        name: dict(tap_shapes(load(f"my_models:load_{name}"), (24, 32)))
        for name in ("linen", "nnx", "function")
    }
    monkeypatch.delitem(sys.modules, "my_models")
    classes = {"logits": (1, 3), "probabilities": (1, 3)}
    assert found["linen"] == classes | {
        "block1": (1, 24, 32, 8),
        "block1/conv": (1, 24, 32, 8),
        "block1/pre": (1, 24, 32, 8),
        "norm": (1, 24, 32, 8),
        "block2": (1, 24, 32, 12),
        "block2/conv": (1, 24, 32, 12),
        "block2/pre": (1, 24, 32, 12),
        "head": (1, 3),
    }
    assert found["nnx"] == classes | {
        "convs/0": (1, 24, 32, 8),
        "convs/1": (1, 12, 16, 12),
        "norm": (1, 12, 16, 12),
        "head": (1, 3),
    }
    assert found["function"] == classes | {
        "conv/pre": (1, 24, 32, 8),
        "conv": (1, 24, 32, 8),
    }
    main = runpy.run_path(str(tmp_path / "my_models.py"), run_name="__main__")
    assert main["images"].shape == (1, 24, 32, 3)
    assert np.all(np.isfinite(main["scores"]))
    assert main["scores"][-1] > main["scores"][0]
