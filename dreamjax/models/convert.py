"""Source tensors -> a network's variables, layer by layer, all or nothing.

A weight file differs from a network in the names of its layers and in how its format
orders a kernel's axes. The second is a `Layout`, one per framework; the first is one
function per weight set, from the name of our layer to the `Layer` of the source.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dreamjax.models.weights import Tensors, fold_batch_norm


class Layout(NamedTuple):
    """How a framework stores layers.

    Attributes:
      order: of a convolution's axes; dense layers follow ("OIHW" has [O, I]).
      kernel, bias: appended to the name of a layer.
      norm: appended to the name of a batch norm: gamma (None: it has none), beta,
        mean, variance.
      leading_ones: arrays may have more axes than they need, of size 1, in front.
    """

    order: str
    kernel: str
    bias: str
    norm: tuple[str | None, str, str, str]
    leading_ones: bool = False


TORCH = Layout(
    "OIHW",
    ".weight",
    ".bias",
    (".weight", ".bias", ".running_mean", ".running_var"),
)
MXNET = Layout(
    "OIHW",
    "_weight",
    "_bias",
    ("_gamma", "_beta", "_running_mean", "_running_var"),
)
KERAS = Layout("HWIO", "/0", "/1", ("/0", "/1", "/2", "/3"))
# Before 2015 all of Caffe's arrays had four axes.
CAFFE = Layout("OIHW", "/0", "/1", ("", "", "", ""), leading_ones=True)


class Layer(NamedTuple):
    """What one of our layers is called in the source.

    Attributes:
      name: of the layer that has the kernel; of a single tensor, its full name; None
        for a batch norm on its own.
      norm: of the batch norm that follows and is folded in, or that stands alone.
      volume: (h, w, C) for a dense layer that reads a flattened map: where the source
        flattens channels first, its inputs are put into our order, channels last.
      shape: of the source's tensor where it has more or fewer axes than ours.
    """

    name: str | None
    norm: str | None = None
    volume: tuple[int, int, int] | None = None
    shape: tuple[int, ...] | None = None


def fill(
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, Any],
    source: str,
    *,
    layout: Layout,
    names: Callable[[str], Layer],
    epsilon: float = 1e-5,
    ignore: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Returns the variables of a network, filled with the tensors of a file.

    Args:
      tensors: of the file, by name.
      shapes: the network's parameters with anything that has a shape for leaves: layer
        name -> {"kernel", "bias"}, {"scale", "bias"}, or a single array.
      source: name of the weight set, for errors.
      layout, names: see the module.
      epsilon: of the batch norms.
      ignore: endings of tensor names that the network has no use for, such as counters.

    Raises:
      ValueError: listing every tensor that is missing, misshapen or left over.
    """
    source_tensors = Tensors(tensors, source, leading_ones=layout.leading_ones)
    for ending in ignore:
        source_tensors.ignore(ending)
    params = {}
    for name, leaves in shapes.items():
        layer = names(name)
        if not isinstance(leaves, Mapping):
            params[name] = _single(source_tensors, layer, leaves.shape)
        elif "scale" in leaves:
            params[name] = _scale(
                source_tensors, layer, leaves["scale"].shape, layout, epsilon
            )
        else:
            params[name] = _kernel(source_tensors, layer, leaves, layout, epsilon)
    source_tensors.finish()
    return {"params": params}


def _single(tensors: Tensors, layer: Layer, shape: tuple[int, ...]) -> np.ndarray:
    found = tensors.take(layer.name, shape if layer.shape is None else layer.shape)
    return found.reshape(shape).astype(np.float32)


def _scale(
    tensors: Tensors, layer: Layer, shape: tuple[int], layout: Layout, epsilon: float
) -> dict[str, np.ndarray]:
    """A layer norm's own scale and bias, or a batch norm as scale and bias."""
    if layer.norm is None:
        found = {
            "scale": tensors.take(layer.name + layout.kernel, shape),
            "bias": tensors.take(layer.name + layout.bias, shape),
        }
        return {key: value.astype(np.float32) for key, value in found.items()}
    statistics = _statistics(tensors, layer.norm, shape[0], layout)
    folded = fold_batch_norm(np.ones(shape), **statistics, epsilon=epsilon)
    return {"scale": folded["kernel"], "bias": folded["bias"]}


def _kernel(
    tensors: Tensors,
    layer: Layer,
    leaves: Mapping[str, Any],
    layout: Layout,
    epsilon: float,
) -> dict[str, np.ndarray]:
    shape = leaves["kernel"].shape
    kernel = _ordered(tensors, layer, shape, layout)
    if layer.norm is not None:
        statistics = _statistics(tensors, layer.norm, shape[-1], layout)
        if tensors.failed:
            return {}
        return fold_batch_norm(kernel, **statistics, epsilon=epsilon)
    found = {}
    if "bias" in leaves:
        bias = tensors.take(layer.name + layout.bias, leaves["bias"].shape)
        found["bias"] = bias.astype(np.float32)
    if tensors.failed:
        return {}
    return {"kernel": _copied(kernel).reshape(shape), **found}


def _ordered(
    tensors: Tensors, layer: Layer, shape: tuple[int, ...], layout: Layout
) -> np.ndarray:
    """Takes a kernel and puts its axes into our order, the flat input unflattened."""
    name = layer.name + layout.kernel
    if len(shape) == 3:  # depthwise: ours is [kh, kw, C]
        kh, kw, channels = shape
        if layout.order == "HWIO":
            return tensors.take(name, (kh, kw, channels, 1))[..., 0]
        return tensors.take(name, (channels, 1, kh, kw))[:, 0].transpose(1, 2, 0)
    if len(shape) == 2:
        if layout.order == "HWIO":
            return tensors.take(name, shape)
        found = tensors.take(name, shape[::-1])  # [O, I]
        if layer.volume is not None:
            h, w, c = layer.volume
            return found.reshape(-1, c, h, w).transpose(2, 3, 1, 0)
        return found.T
    sizes = dict(zip("HWIO", shape, strict=True))
    found = tensors.take(name, tuple(sizes[axis] for axis in layout.order))
    return found.transpose([layout.order.index(axis) for axis in "HWIO"])


def _copied(kernel: np.ndarray) -> np.ndarray:
    """Returns a kernel as contiguous float32.

    64 outputs at a time: that is kind to the processor's cache, and takes a third of
    the time of one transposed copy for the 400 MB of VGG's first dense layer.
    """
    if kernel.flags.c_contiguous:
        return kernel.astype(np.float32, copy=False)
    copy = np.empty(kernel.shape, np.float32)
    for i in range(0, kernel.shape[-1], 64):
        copy[..., i : i + 64] = kernel[..., i : i + 64]
    return copy


def _statistics(
    tensors: Tensors, name: str, channels: int, layout: Layout
) -> dict[str, np.ndarray]:
    keys = ("gamma", "beta", "mean", "variance")
    return {
        key: np.ones(channels) if end is None else tensors.take(name + end, (channels,))
        for key, end in zip(keys, layout.norm, strict=True)
    }
