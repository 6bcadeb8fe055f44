"""Optimizers: the gradient transforms, the optimizer, the learning rate, as one chain.

An entry of `OPTIMIZERS` makes an Optax transformation from traced hyperparameters, so
that runs of one program may differ in all of them.
"""

from collections.abc import Callable, Sequence

import optax

from dreamjax.errors import choose
from dreamjax.gradients import GRADIENT_TRANSFORMS, GradientEntry
from dreamjax.types import HParams

OPTIMIZERS = {
    "adam": (
        lambda hp: optax.scale_by_adam(b1=hp["adam_b1"], b2=hp["adam_b2"]),
        {"adam_b1": 0.9, "adam_b2": 0.999},
    ),
    "nadam": (
        lambda hp: optax.scale_by_adam(
            b1=hp["adam_b1"], b2=hp["adam_b2"], nesterov=True
        ),
        {"adam_b1": 0.9, "adam_b2": 0.999},
    ),
    "momentum": (lambda hp: optax.trace(decay=hp["momentum"]), {"momentum": 0.9}),
    "rmsprop": (
        lambda hp: optax.scale_by_rms(decay=hp["rms_decay"]),
        {"rms_decay": 0.99},
    ),
    "sgd": (lambda hp: optax.identity(), {}),
}
"""Name -> (hp -> transformation, neutral hyperparameters)."""


def make_optimizer(
    name: str, gradient: Sequence[str], image_shape: tuple[int, int, int]
) -> Callable[[HParams], optax.GradientTransformation]:
    """Returns hp -> the chain: gradient transforms, optimizer, -learning rate.

    Args:
      name: of `OPTIMIZERS`.
      gradient: names of `GRADIENT_TRANSFORMS`, applied in this order.
      image_shape: (H, W, C).

    Raises:
      ValueError: an unknown name.
    """
    choose("optimizer", name, OPTIMIZERS)
    for transform in gradient:
        _gradient(transform)

    def make(hp: HParams) -> optax.GradientTransformation:
        return optax.chain(
            *(_gradient(t).make(hp, image_shape) for t in gradient),
            OPTIMIZERS[name][0](hp),
            optax.scale(-hp["learning_rate"]),
        )

    return make


def _gradient(name: str) -> GradientEntry:
    return GRADIENT_TRANSFORMS[choose("gradient", name, GRADIENT_TRANSFORMS)]


def optimizer_hparams(name: str, gradient: Sequence[str]) -> frozenset[str]:
    """Returns the names of the hyperparameters that the chain reads."""
    return frozenset(
        ["learning_rate"]
        + list(OPTIMIZERS[choose("optimizer", name, OPTIMIZERS)][1])
        + [n for t in gradient for n in _gradient(t).hparams]
    )
