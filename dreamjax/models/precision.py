"""In how many bits a network is evaluated: float32, or bfloat16 at half the memory.

    image, transforms, preprocessing     float32
      └► network                         weights and activations in bfloat16
           └► taps, objective, penalties, optimizer    float32

bfloat16 has the range of float32 and 8 bits of mantissa. Inside the network, sums of
depthwise filters and pools, the statistics of normalizations and softmax stay float32;
what the effect on pictures is, docs/performance.md tells.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.tree_util import tree_map_with_path

from dreamjax.errors import choose
from dreamjax.models.layers import Rules
from dreamjax.models.model import Model, preprocess
from dreamjax.models.trouble import said_by
from dreamjax.types import Array, Taps

PRECISIONS = ("float32", "bfloat16")


def in_precision(model: Model, precision: str) -> Model:
    """Returns the model with its network evaluated in `precision`.

    The weights are cast here, once. Images go in and taps come out as float32 either
    way, and "float32" is the model as it is.

    Args:
      model: any; one that is already in bfloat16 gives the same again.
      precision: one of `PRECISIONS`.

    Raises:
      ValueError: an unknown precision, or a model that cannot be evaluated in
        bfloat16. Where its network insists on another type, that shows once the taps
        are traced.
    """
    if choose("precision", precision, PRECISIONS) == "float32":
        return model
    network, name = model.network, model.record.name
    refused = f"precision={precision!r} is not possible for {name}"
    if network is None:
        raise ValueError(
            f"{refused}: its taps include the preprocessing. Make it with"
            " from_function, from_linen, from_nnx or from_network."
        )

    def taps(variables: Any, images: Array, rules: Rules) -> Taps:
        x = preprocess(images, model.record).astype(jnp.bfloat16)
        try:
            found = dict(network(variables, x, rules))
        except (TypeError, ValueError) as error:
            # An adapter tells a layer's TypeError as a ValueError with a remedy.
            cause = error if isinstance(error, TypeError) else error.__cause__
            if not isinstance(cause, TypeError):
                raise
            raise ValueError(
                f"{refused}: its layers need other types ({said_by(cause)})."
            ) from error
        if all(tap.dtype != jnp.bfloat16 for tap in found.values()):
            raise ValueError(
                f"{refused}: its layers set a type of their own, and no tap is"
                " bfloat16."
            )
        return {tap: x.astype(jnp.float32) for tap, x in found.items()}

    return model._replace(taps=taps, variables=halved(model.variables))


def halved(variables: Any) -> Any:
    """Returns weights with float32 arrays as bfloat16.

    The running statistics of batch norms (Flax's "batch_stats" and `nnx.BatchStat`)
    stay as they are: a mean is subtracted from what may be close to it.
    """

    def cast(path: tuple, leaf: Any) -> Any:
        statistic = isinstance(leaf, nnx.BatchStat) or (
            path and getattr(path[0], "key", None) == "batch_stats"
        )
        if statistic or getattr(leaf, "dtype", None) != jnp.float32:
            return leaf
        return jnp.asarray(leaf, jnp.bfloat16)

    return tree_map_with_path(
        cast, variables, is_leaf=lambda leaf: isinstance(leaf, nnx.BatchStat)
    )
