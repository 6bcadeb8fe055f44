"""A network small enough to compile in a second: two convolutions and a classifier."""

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import base_config
from dreamjax.models import Model, Record
from dreamjax.models.layers import Rules
from dreamjax.models.model import from_network

RECORD = Record(
    name="tiny",
    source="tests",
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    size=24,
    min_size=8,
    labels=("ant", "bee", "cat"),
    redirectable=True,
)


def tiny_model() -> Model:
    """Returns the network; its weights are the same every time."""
    random = np.random.default_rng(0)
    variables = {
        "a": random.normal(size=(3, 3, 3, 6)).astype(np.float32) / 5,
        "b": random.normal(size=(3, 3, 6, 4)).astype(np.float32) / 5,
        "c": random.normal(size=(4, 3)).astype(np.float32),
        "off": np.full((4,), -1e3, np.float32),
    }

    def conv(x, kernel, stride):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def network(variables, x, rules: Rules):
        pre = conv(x, variables["a"], 2)
        a = rules.relu(pre)
        b = conv(a, variables["b"], 1)
        dead = rules.relu(b + variables["off"][None, None, None, :])
        logits = jnp.mean(b, axis=(1, 2)) @ variables["c"]
        return {
            "a/pre": pre,
            "a": a,
            "b": b,
            "dead": dead,
            "logits": logits,
            "probabilities": jax.nn.softmax(logits, axis=-1),
        }

    return from_network(network, jax.tree.map(jnp.asarray, variables), RECORD)


def tiny_config(**hparams):
    """Returns an unlocked config of the tiny network: 24 × 20 px, 6 steps."""
    config = base_config()
    config.model = "tests.tiny:tiny_model"
    config.objective = "b:unit"
    config.size = (24, 20)
    config.steps = 6
    config.transforms = "jitter(4)"
    config.log_every = 2
    config.image_steps = (0, 6)
    config.tensorboard = False
    config.evaluation_draws = 2
    for name, values in hparams.items():
        config.hparams[name] = values
    return config
