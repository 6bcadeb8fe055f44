"""bfloat16 inside the network and nowhere else; float32 as if there were no choice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from dreamjax.build import build
from dreamjax.models import Record, from_function, from_linen, from_nnx, load
from dreamjax.models.layers import PLAIN, depthwise
from dreamjax.models.model import Model
from dreamjax.models.pooling import (
    adaptive_avg_pool,
    avg_pool,
    local_response_norm,
    max_pool,
)
from dreamjax.models.port import outline
from dreamjax.models.precision import halved, in_precision
from dreamjax.models.zoo import ARCHITECTURES, PORTS
from tests.tiny import tiny_config, tiny_model

HALF = jnp.bfloat16
ROOM = ((1, 1), (1, 1))
LAYERS = {
    "depthwise": lambda x: depthwise(x, jnp.full((3, 3, 8), 1 / 9, x.dtype), 2, ROOM),
    "max_pool": lambda x: max_pool(x, 3, 2, ROOM),
    "avg_pool": lambda x: avg_pool(x, 3, 1, ROOM, count_padding=False),
    "adaptive": lambda x: adaptive_avg_pool(x, (3, 2)),
    "norm": lambda x: local_response_norm(x, size=5, alpha=0.1, beta=0.75, k=1.0),
}


def adapted():
    """The tiny network's weights and form, by an adapter."""
    model = tiny_model()

    def function(weights, x):
        x = jax.lax.conv_general_dilated(
            x, weights["a"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        y = jax.nn.relu(x).mean(axis=(1, 2)) @ weights["a"][0, 0].T
        return {"a": x, "logits": y}

    return from_function(function, model.variables, Record("adapted", "tests"))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_in_bfloat16(name):
    """Each is float32 but for one rounding of what goes in and what comes out."""
    layer = LAYERS[name]
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, 9, 8, 8)), HALF)
    y, pull = jax.vjp(layer, x)
    expected, exact = jax.vjp(layer, x.astype(jnp.float32))
    g = jnp.asarray(random.normal(size=y.shape), HALF)
    assert y.dtype == pull(g)[0].dtype == HALF
    for found, wanted in (
        (y, expected),
        (pull(g)[0], exact(g.astype(jnp.float32))[0]),
    ):
        wanted = np.asarray(wanted)
        apart = np.abs(np.asarray(found, np.float32) - wanted)
        assert np.all(apart <= 2**-7 * np.abs(wanted) + 2**-9)
        assert np.abs(wanted).max() > 0.1


# One of each kind: the others are longer or wider.
LONGER = ("lite1", "lite2", "lite3", "lite4", "34", "101", "152", "vgg19", "caffenet")


@pytest.mark.parametrize(
    "name", [n for n in ARCHITECTURES.values() if not any(part in n for part in LONGER)]
)
def test_every_network_of_the_zoo_stays_in_bfloat16(name):
    """No layer widens what comes after it; only probabilities are float32."""
    model = outline(PORTS[name])
    side = 64 if name.startswith(("vgg", "vit", "resnet", "convnext")) else 96
    x = jax.ShapeDtypeStruct((1, side, side, 3), HALF)
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32), model.variables
    )
    weights = jax.eval_shape(halved, shapes)
    assert all(leaf.dtype == HALF for leaf in jax.tree.leaves(weights))
    taps = jax.eval_shape(lambda v, x: dict(model.network(v, x, PLAIN)), weights, x)
    wide = {tap for tap, value in taps.items() if value.dtype != HALF}
    assert wide <= {"probabilities"}


def test_float32_is_as_if_there_were_no_choice():
    model = tiny_model()
    assert in_precision(model, "float32") is model
    experiment = build(tiny_config(), model)
    assert experiment.model is model
    image = jnp.zeros((1, 24, 24, 3))

    def loss(x):
        return model.taps(model.variables, x, PLAIN)["logits"].sum()

    assert "bf16" not in str(jax.make_jaxpr(jax.grad(loss))(image))
    x = jnp.ones((1, 9, 9, 8))
    for layer in LAYERS.values():
        text = str(jax.make_jaxpr(lambda x, f=layer: jax.vjp(f, x)[1](f(x)))(x))
        assert "bf16" not in text and "new_dtype=float64" not in text


def test_only_the_network_is_in_bfloat16():
    config = tiny_config(tv=(0.1,), unit=(0, 1))
    config.precision = "bfloat16"
    config.objective = "a:unit"
    experiment = build(config, adapted())
    leaves = jax.tree.leaves(experiment.model.variables)
    assert all(leaf.dtype == HALF for leaf in leaves)
    again = in_precision(experiment.model, "bfloat16")
    assert all(
        a is b for a, b in zip(jax.tree.leaves(again.variables), leaves, strict=True)
    )
    taps = experiment.model.taps(again.variables, jnp.full((1, 24, 20, 3), 0.3), PLAIN)
    assert {tap.dtype for tap in taps.values()} == {jnp.dtype("float32")}
    hp = {name: jnp.asarray(v[0]) for name, v in experiment.values.items()}
    state = experiment.step.init(jax.random.key(0), hp)
    update = jax.jit(experiment.step.update)
    after, info = update(state, hp, experiment.model.variables)
    floats = [
        leaf
        for leaf in jax.tree.leaves((after._replace(key=0), info))
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    assert len(floats) > 5 and all(leaf.dtype == jnp.float32 for leaf in floats)
    assert np.all(np.isfinite(np.asarray(after.params)))
    text = update.lower(state, hp, experiment.model.variables).as_text()
    assert "bf16" in text


def test_gradients_of_lite0_are_close_to_float32():
    """At b8, 0.91 to 0.94; 8-bit rounding of the image does as much (benchmarks)."""
    model = load("efficientnet_lite0")
    random = np.random.default_rng(0)
    image = jnp.asarray(random.random((1, 40, 40, 3), np.float32))
    found = []
    for precision in ("float32", "bfloat16"):
        m = in_precision(model, precision)
        run = jax.jit(
            jax.grad(lambda x, v, m=m: m.taps(v, x, PLAIN)["b3"][..., 5].mean())
        )
        found.append(np.asarray(run(image, m.variables)).ravel())
    a, b = found
    assert np.all(np.isfinite(b)) and a.dtype == b.dtype == np.float32
    assert a @ b / np.sqrt((a @ a) * (b @ b)) > 0.9


class Net(nn.Module):
    dtype: object = None

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), dtype=self.dtype, name="conv")(x)
        return nn.BatchNorm(use_running_average=True, dtype=self.dtype, name="norm")(x)


class Live(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.conv(x))


def linen(dtype=None):
    module, record = Net(dtype), Record("net", "tests")
    variables = module.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    return from_linen(module, variables, record)


def live():
    module = Live(nnx.Rngs(0))
    module.eval()
    return from_nnx(module, Record("live", "tests"))


@pytest.mark.parametrize("make", [linen, live])
def test_adapters(make):
    """Weights are cast, running statistics are not; taps come out as float32."""
    model = make()
    half = in_precision(model, "bfloat16")
    kinds = sorted(leaf.dtype.name for leaf in jax.tree.leaves(half.variables))
    assert kinds == ["bfloat16"] * 4 + ["float32"] * 2
    images = jnp.asarray(np.random.default_rng(0).random((1, 8, 8, 3), np.float32))
    wanted = model.taps(model.variables, images, PLAIN)
    found = half.taps(half.variables, images, PLAIN)
    for name, tap in wanted.items():
        assert found[name].dtype == jnp.float32
        np.testing.assert_allclose(found[name], tap, atol=0.03)
        assert not np.array_equal(found[name], tap)


def test_what_is_not_possible_says_why():
    images = jnp.zeros((1, 8, 8, 3))
    with pytest.raises(ValueError, match='Did you mean "bfloat16"'):
        in_precision(tiny_model(), "bfloat")
    with pytest.raises(ValueError, match=r"tiny: its taps include .*from_function"):
        in_precision(tiny_model()._replace(network=None), "bfloat16")
    wide = in_precision(linen(jnp.float32), "bfloat16")
    with pytest.raises(ValueError, match="net: its layers set a type of their own"):
        wide.taps(wide.variables, images, PLAIN)
    kernel = np.ones((3, 3, 3, 2), np.float32)

    def stubborn(_, x):
        return {"y": jax.lax.conv(x, jnp.asarray(kernel).T, (1, 1), "SAME")}

    model = in_precision(
        from_function(stubborn, jnp.ones(3), Record("stubborn", "tests")), "bfloat16"
    )
    with pytest.raises(ValueError, match="stubborn: its layers need other types"):
        model.taps(model.variables, images.transpose(0, 3, 1, 2)[..., :3], PLAIN)
    config = tiny_config()
    config.precision = "float16"
    with pytest.raises(ValueError, match="precision='float16'"):
        build(config, tiny_model())
    assert isinstance(model, Model)
