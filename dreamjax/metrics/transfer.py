"""Does another network see what this one was made to see?

A picture made for one network may be its private pattern. `make_transfer` shows it to
a second one, which had no part in it, and asks for the same class, found by its name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax import models
from dreamjax.errors import require
from dreamjax.hparams import Hparam, resolve
from dreamjax.labels import match_labels
from dreamjax.metrics.network import LOGITS, aims_of, weight_of
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, Record, TapsOf, tap_shapes
from dreamjax.objectives import Objective
from dreamjax.types import Array, HParams

TransferJudge = Callable[[Any, Any, Array, HParams], dict[str, Array]]
"""(variables of the first network, of the second, images [B, H, W, C], hp) -> metric
name -> scalar, of one run."""


class Transfer(NamedTuple):
    """A second network that judges pictures made for a first one.

    Attributes:
      model: the second network.
      size: (height, width) at which it is shown the pictures.
      classes: int [K], the second network's index of each class of the first; -1 where
        it has no class of that name.
    """

    model: Model
    size: tuple[int, int]
    classes: np.ndarray


def load_transfer(
    name: str,
    *,
    objective: Objective,
    record: Record,
    shapes: Mapping[str, Sequence[int]],
    size: tuple[int, int],
    channels: int,
    values: Mapping[str, Any],
    model: Model | None = None,
) -> Transfer:
    """Returns the second network, checked against what it will be asked.

    The pictures are shown as they are where it can take them; enlarged to its smallest
    size where they are below it; and at the size it was trained at where its classifier
    exists at that one only.

    Args:
      name: of the second network, config["transfer"].
      objective: what is maximized in the first network.
      record: of the first network.
      shapes: of its taps at `size`.
      size: (height, width) of the pictures.
      channels: of the pictures.
      values: hyperparameter name -> all values that runs will use.
      model: the second network; None loads `name`.

    Raises:
      ValueError: a network without labels or without a classifier at this size, another
        number of channels, or a class that the second network does not have.
    """
    model = models.load(name) if model is None else model
    asked = f"transfer={name!r}"
    for one in (record, model.record):
        if not one.labels:
            raise ValueError(
                f"{asked}: classes are matched by their names, and the record of"
                f" {one.name} has no labels."
            )
    wanted = model.record.channels
    require(
        channels in (1, wanted), "channels", channels, f"{asked} takes {wanted} or 1"
    )
    shown = _size_for(model.record, size)
    found = tap_shapes(model, shown)
    if LOGITS not in found:
        raise ValueError(
            f"{asked}: {model.record.name} has no tap {LOGITS!r}, no classifier that"
            " could be asked."
        )
    _check_count(model.record, found)
    classes = match_labels(record.labels, model.record.labels)
    _check_classes(asked, objective, record, shapes, values, classes)
    return Transfer(model, shown, classes)


def _size_for(record: Record, size: tuple[int, int]) -> tuple[int, int]:
    if LOGITS in record.head_taps:
        return record.size, record.size
    scale = max(1.0, record.min_size / min(size))
    height, width = (max(record.min_size, round(scale * side)) for side in size)
    return height, width


def _check_count(record: Record, shapes: Mapping[str, Sequence[int]]) -> None:
    if len(record.labels) != shapes[LOGITS][-1]:
        raise ValueError(
            f"{record.name} has {shapes[LOGITS][-1]} logits, but its record has"
            f" {len(record.labels)} labels."
        )


def _check_classes(
    asked: str,
    objective: Objective,
    record: Record,
    shapes: Mapping[str, Sequence[int]],
    values: Mapping[str, Any],
    classes: np.ndarray,
) -> None:
    """Raises ValueError for a class that the second network cannot be asked for."""
    indices = [aim.read.index for aim in aims_of(objective) if _is_class(aim)]
    if not indices:
        if LOGITS not in shapes:
            raise ValueError(
                f"{asked}: the class is the one that {record.name} sees, but it has no"
                f" tap {LOGITS!r} at this size: aim at a class, or leave transfer out."
            )
        _check_count(record, shapes)
        if not (classes >= 0).any():
            raise ValueError(f"{asked} shares no class name with {record.name}.")
    for index in indices:
        swept = values[index.name] if isinstance(index, Hparam) else [index]
        for value in swept:
            if classes[int(value)] < 0:
                raise ValueError(
                    f"{asked} has no class {record.labels[int(value)]!r}, which is"
                    f" class {int(value)} of {record.name}."
                )


def _is_class(aim: Any) -> bool:
    return aim.read.kind == "class"


def make_transfer(
    transfer: Transfer, objective: Objective, taps: TapsOf
) -> TransferJudge:
    """Returns the function that gives the three transfer metrics of a run.

    The class is the objective's own (of several the one with the largest weight), else
    the one that the first network gives its highest logit, among those that the second
    has too. In the second network, without any transform:

        transfer_score = its logit
        transfer_rank = 1 + number of classes with a higher logit
        transfer_probability = its probability (softmax)

    Logits of different networks have different scales: compare scores within one
    second network only.

    Args:
      transfer: the second network (`load_transfer`).
      objective: what the run maximized.
      taps: the first network.

    Returns:
      (variables, variables of the second, images [B, H, W, C], hp) -> name -> scalar,
      the mean over B.
    """
    reads = [aim.read for aim in aims_of(objective) if _is_class(aim)]
    classes = np.asarray(transfer.classes, np.int32)

    def first_class(variables: Any, images: Array, hp: HParams) -> Array:
        """Returns [B], the class in the first network."""
        if not reads:
            logits = taps(variables, images, PLAIN)[LOGITS]
            return jnp.argmax(jnp.where(classes[None] >= 0, logits, -jnp.inf), axis=-1)
        weights = jnp.stack([weight_of(read, hp) for read in reads])
        indices = [jnp.asarray(resolve(r.index, hp), jnp.int32) for r in reads]
        index = jnp.stack(indices)[jnp.argmax(weights)]
        return jnp.broadcast_to(index, images.shape[:1])

    def judge(
        variables: Any, second: Any, images: Array, hp: HParams
    ) -> dict[str, Array]:
        index = jnp.take(classes, first_class(variables, images, hp), mode="clip")
        shown = _shown(images, transfer)
        logits = transfer.model.taps(second, shown, PLAIN)[LOGITS].astype(jnp.float32)
        score = jnp.take_along_axis(logits, index[:, None], axis=-1)  # [B, 1]
        log_total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        found = {
            "transfer_score": score[:, 0],
            "transfer_rank": 1.0 + jnp.sum(logits > score, axis=-1),
            "transfer_probability": jnp.exp(score - log_total)[:, 0],
        }
        known = index >= 0  # `load_transfer` refuses others; never another class
        return {
            name: jnp.mean(jnp.where(known, value, jnp.nan))
            for name, value in found.items()
        }

    return judge


def _shown(images: Array, transfer: Transfer) -> Array:
    """Returns images [B, H, W, C] at the second network's size and channels."""
    if images.shape[-1] != transfer.model.record.channels:
        images = jnp.repeat(images, transfer.model.record.channels, axis=-1)
    if images.shape[1:3] == tuple(transfer.size):
        return images
    shape = (images.shape[0], *transfer.size, images.shape[-1])
    return jax.image.resize(images, shape, "linear")
