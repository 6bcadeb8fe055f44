"""Any network as a `Model`: a Linen module, an NNX module, or a plain function.

Give the module, its weights and what input it wants (the record's scale, mean, std,
channels), and every activation it has becomes a tap. See docs/own_model.md.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from flax.traverse_util import flatten_dict

from dreamjax.models.layers import Rules, widened
from dreamjax.models.model import Model, Record, from_network
from dreamjax.types import Array, Taps


def from_function(
    function: Callable[[Any, Array], Taps], variables: Any, record: Record
) -> Model:
    """Adapts a plain function.

    Args:
      function: (variables, x [B, H, W, C]) -> dict of activations, each [B, h, w, K] or
        [B, K], where x has been preprocessed by `record`. Name the classifier's output
        "logits" to use labels; "probabilities" is added from it.
      variables: any pytree; an argument of every compiled program.
      record: input range and the rest; `Record(name="mine", source="mine")` is a
        network that wants RGB in [0, 1].
    """

    def network(variables: Any, x: Array, rules: Rules) -> Taps:
        del rules  # a foreign function keeps its own gradients
        return _finish(dict(function(variables, x)))

    return from_network(network, variables, record)


def from_linen(
    module: nn.Module,
    variables: Any,
    record: Record,
    *,
    output: str = "output",
    **arguments: Any,
) -> Model:
    """Adapts a Flax Linen module; the output of every submodule becomes a tap.

    Taps are named by the path of the submodule ("Conv_0", "block2/conv"), and what the
    module sows keeps its name. A method called n times has taps name#0 … name#n-1.

    Args:
      module: called as `module.apply(variables, x, **arguments)`.
      variables: as `module.init` returns them.
      record: see `from_function`.
      output: the tap name of what the module itself returns; "logits" makes labels
        and "probabilities" usable.
      **arguments: of the call, such as train=False.
    """

    def function(variables: Any, x: Array) -> Taps:
        result, state = module.apply(
            variables,
            x,
            capture_intermediates=True,
            mutable=["intermediates"],
            **arguments,
        )
        found = flatten_dict(state["intermediates"], sep="/")
        return _merge(_named(found), _outputs(result, output))

    return from_function(function, variables, record)


def from_nnx(
    module: nnx.Module,
    record: Record,
    *,
    output: str = "output",
    **arguments: Any,
) -> Model:
    """Adapts a Flax NNX module; the output of every submodule becomes a tap.

    Taps are named by the attribute path ("conv1", "blocks/0/conv"). Put the module in
    evaluation mode first (`module.eval()`): what a call updates is dropped.

    Args:
      module: called as `module(x, **arguments)`.
      record, output: as in `from_linen`.

    Raises:
      ValueError: dropout or batch norm is in training mode, where the taps of an image
        would depend on chance and on its neighbors.
    """
    for path, part in nnx.iter_graph(module):
        for switch in ("use_running_average", "deterministic"):
            if getattr(part, switch, None) is False and switch not in arguments:
                raise ValueError(
                    f"module={type(module).__name__}: {'/'.join(map(str, path))} has"
                    f" {switch}=False, it is in training mode. Call module.eval()."
                )
    graph, state = nnx.split(module)

    def function(state: Any, x: Array) -> Taps:
        live = nnx.merge(graph, state)
        captured = nnx.capture(live, nnx.Intermediate, method_outputs=nnx.Intermediate)
        result, found = captured(x, **arguments)
        named = {
            "/".join(str(part) for part in path): variable.get_value()
            for path, variable in nnx.to_flat_state(found)
        }
        return _merge(_named(named), _outputs(result, output))

    return from_function(function, state, record)


def _named(found: dict[str, Any]) -> dict[str, Array]:
    """Flattens path -> list of outputs into tap -> array, leaving out non-arrays."""
    taps = {}
    for path, outputs in found.items():
        name = path.removesuffix("/__call__")
        if name == "__call__":
            continue
        arrays = [a for a in jax.tree.leaves(outputs) if _is_activation(a)]
        for i, array in enumerate(arrays):
            taps[name if len(arrays) == 1 else f"{name}#{i}"] = array
    return taps


def _outputs(result: Any, output: str) -> dict[str, Array]:
    arrays = [a for a in jax.tree.leaves(result) if _is_activation(a)]
    return {
        output if i == 0 else f"{output}#{i}": array for i, array in enumerate(arrays)
    }


def _merge(inner: dict[str, Array], outputs: dict[str, Array]) -> dict[str, Array]:
    for name in inner.keys() & outputs.keys():
        raise ValueError(
            f"output={name!r} is also the name of a submodule's tap: give another"
            " name to what the module returns."
        )
    return inner | outputs


def _is_activation(value: Any) -> bool:
    return hasattr(value, "ndim") and value.ndim in (2, 4)


def _finish(taps: dict[str, Array]) -> dict[str, Array]:
    if "logits" in taps and "probabilities" not in taps:
        logits = widened(jnp.asarray(taps["logits"]))
        taps["probabilities"] = jax.nn.softmax(logits, axis=-1)
    return taps
