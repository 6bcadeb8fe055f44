"""A port: a published weight set, the network it fits, and how one fills the other."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dreamjax.models.converted import cached
from dreamjax.models.formats import FORMATS
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import Model, Record, from_network
from dreamjax.models.published import publish
from dreamjax.models.source import Source, check_content, locate
from dreamjax.types import Array, Taps

Shapes = Mapping[str, Any]
"""A network's parameters, with shapes for leaves."""
Convert = Callable[[Mapping[str, np.ndarray], Shapes, str], dict[str, Any]]
"""(tensors of the file, shapes of the parameters, name of the weight set, for errors)
-> variables."""


class Port(NamedTuple):
    """One weight set of the zoo.

    Attributes:
      record: what the weights are and what input they expect.
      source: the file that has them.
      format: of the file, a key of `FORMATS`.
      network: rules -> module, which maps preprocessed images [N, H, W, C] to taps.
      convert: what fills the network from the file, most often `fill` with a layout.
    """

    record: Record
    source: Source
    format: str
    network: Callable[[Rules], nn.Module]
    convert: Convert


def parameter_shapes(port: Port) -> Shapes:
    """Returns layer -> {"kernel": shape, …} of the port's network, computing none.

    The network is traced at the size that it was trained at, where even the layers of
    a head that takes one size only exist.
    """
    return _shapes(port.network(PLAIN), port.record.size, port.record.channels)


@cache
def _shapes(module: nn.Module, side: int, channels: int) -> Shapes:
    """Once for each network: a trace takes up to a second."""
    image = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
    return jax.eval_shape(module.init, key, image)["params"]


def convert(port: Port, tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the network's variables, float32, from the tensors of the port's file."""
    return port.convert(tensors, parameter_shapes(port), port.record.name)


def build(port: Port, variables: Any) -> Model:
    """Returns the port's network with the given variables."""
    return _model(port, jax.device_put(variables))


def outline(port: Port) -> Model:
    """Returns the port's network with shapes for weights: its taps can be listed.

    Reads no file; nothing can be computed with it.
    """
    return _model(port, {"params": parameter_shapes(port)})


def _model(port: Port, variables: Any) -> Model:
    def network(variables: Any, x: Array, rules: Rules) -> Taps:
        return port.network(rules).apply(variables, x)

    return from_network(network, variables, port.record)


def load_port(port: Port, path: str | Path | None = None) -> Model:
    """Returns the network with its published weights.

    Args:
      path: the weights file; None looks for it as `source.locate` says.

    Raises:
      ValueError: the file is nowhere, is not what was published, or does not fit.
    """
    if path is None:
        found = locate(port.source, port.record.name)
    else:
        found = check_content(path, port.source)
    variables = cached(
        port.record.name,
        found.sha256,
        lambda: convert(port, FORMATS[port.format](found.path)),
    )
    record = dataclasses.replace(port.record, sha256=found.sha256)
    model = build(port._replace(record=record), variables)
    publish(model.variables, found.sha256)
    return model
