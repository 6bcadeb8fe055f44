"""Pictures as the papers before 2017 have them: 0 … 255, minus the training mean.

`x = 255 (image - mean)`, RGB. Zero is the mean of what the network was trained on, one
unit is one gray level. Caffe networks see exactly that (in BGR, which changes no sum
over channels); for any other network it is a change of units, so that rates, decays
and λ that were published in these units mean the same everywhere.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from dreamjax.models.layers import Rules
from dreamjax.models.model import Model, Record
from dreamjax.types import Array, Taps

LEVELS = 255.0


def training_mean(record: Record) -> np.ndarray:
    """Returns the picture value in [0, 1] that the network sees as 0, RGB, [C]."""
    mean = np.asarray(record.mean, np.float32)
    if record.channel_order == "BGR":
        mean = mean[::-1]
    return np.broadcast_to(mean / np.float32(record.scale), (record.channels,))


def centered(images: np.ndarray, record: Record) -> np.ndarray:
    """Maps RGB [..., C] in [0, 1] to levels about the training mean."""
    return LEVELS * (images - _along(training_mean(record), images))


def uncentered(x: np.ndarray, record: Record) -> np.ndarray:
    """Maps levels about the training mean [..., C] back to RGB; not clipped."""
    return x / LEVELS + _along(training_mean(record), x)


def _along(mean: np.ndarray, images: Array) -> np.ndarray:
    return mean.reshape((1,) * (images.ndim - 1) + (-1,))


def centered_taps(model: Model) -> Callable[[Any, Array, Rules], Taps]:
    """Returns the model's taps as a function of levels about the training mean."""

    def taps(variables: Any, x: Array, rules: Rules) -> Taps:
        return model.taps(variables, uncentered(x, model.record), rules)

    return taps


def centered_range(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Returns the levels of black and of white in each channel, (low [C], high [C])."""
    mean = training_mean(record)
    return -LEVELS * mean, LEVELS * (1 - mean)
