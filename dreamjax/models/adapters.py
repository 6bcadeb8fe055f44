"""Any network as a `Model`: a Linen module, an NNX module, or a plain function.

Give the module, its weights and what input it wants (the record's scale, mean, std,
channels), and every activation it has becomes a tap. See docs/own_model.md.

What a network returns may have structure. Keys of mappings and fields of dataclasses
are names, `head/logits` where they are nested; places in tuples and lists are numbers,
`output#1`. JAX would sort the keys of a dict, so its flattening is never used here: a
name must stay with its array.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from flax.traverse_util import flatten_dict

from dreamjax.errors import choose
from dreamjax.models.layers import Rules, widened
from dreamjax.models.model import Model, Record, check_variables, from_network
from dreamjax.models.structure import flattened, kind_of, named, shown, usable
from dreamjax.models.trouble import remedy_of, said_by, where_of
from dreamjax.types import Array, Taps

OUTPUT = "output"  # the name of what a module returns, where it is given none
CLASSES = ("logits", "probabilities")
"""Taps that hold one number for each class: [B, K], whatever the image's size."""

Output = str | Mapping[Any, str] | None


def from_function(
    function: Callable[[Any, Array], Taps], variables: Any, record: Record
) -> Model:
    """Adapts a plain function.

    Args:
      function: (variables, x [B, H, W, C]) -> dict of activations, each [B, h, w, K] or
        [B, K] of floating-point numbers, where x has been preprocessed by `record`. A
        dict inside the dict gives names like "block/conv". Name the classifier's output
        "logits" to use labels; "probabilities" is added from it.
      variables: any pytree; an argument of every compiled program.
      record: input range and the rest; `Record(name="mine", source="mine")` is a
        network that wants RGB in [0, 1].

    Raises:
      ValueError: the variables hold a NaN or no numbers. When the model is first
        traced: the function fails, or returns something else.
    """
    check_variables(variables, record.name)
    what = f"function={getattr(function, '__qualname__', type(function).__name__)!r}"

    def network(variables: Any, x: Array, rules: Rules) -> Taps:
        del rules  # a foreign function keeps its own gradients
        with _guarded(what, x):
            result = function(variables, x)
        return _finish(_as_taps(result, x, what), record)

    return from_network(network, variables, record)


def from_linen(
    module: nn.Module,
    variables: Any,
    record: Record,
    *,
    output: Output = None,
    **arguments: Any,
) -> Model:
    """Adapts a Flax Linen module; the output of every submodule becomes a tap.

    Taps are named by the path of the submodule ("Conv_0", "block2/conv"), and what the
    module sows keeps its name. A method called n times has taps name#0 … name#n-1.

    Args:
      module: called as `module.apply(variables, x, **arguments)`.
      variables: as `module.init` returns them.
      record: see `from_function`.
      output: the tap name of what the module itself returns, "output" if not given;
        "logits" makes labels and "probabilities" usable. A module that returns a
        mapping or a dataclass names its arrays itself, and `output` can only be one of
        these names. {"prediction": "logits"} gives the array `prediction` another name,
        and {1: "logits"} that at place 1 of a tuple.
      **arguments: of the call, such as train=False.

    Raises:
      ValueError: as of `from_function`; when the model is first traced: the module is
        in training mode, lacks variables, or does not fit them.
    """
    check_variables(variables, record.name)
    what = f"module={type(module).__name__}"

    def network(variables: Any, x: Array, rules: Rules) -> Taps:
        del rules
        with _guarded(what, x, module, arguments):
            result, state = module.apply(
                variables,
                x,
                capture_intermediates=True,
                mutable=["intermediates"],
                **arguments,
            )
        found = flatten_dict(dict(state.get("intermediates", {})), sep="/")
        taps = _merge(_named(found, x), _outputs(result, output, x, what))
        return _finish(_some(taps, what), record)

    return from_network(network, variables, record)


def from_nnx(
    module: nnx.Module,
    record: Record,
    *,
    output: Output = None,
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
        would depend on chance and on its neighbors; else as of `from_linen`.
    """
    for path, part in nnx.iter_graph(module):
        for switch in ("use_running_average", "deterministic"):
            if getattr(part, switch, None) is False and switch not in arguments:
                raise ValueError(
                    f"module={type(module).__name__}: {'/'.join(map(str, path))} has"
                    f" {switch}=False, it is in training mode. Call module.eval()."
                )
    graph, state = nnx.split(module)
    check_variables(state, record.name)
    what = f"module={type(module).__name__}"

    def network(state: Any, x: Array, rules: Rules) -> Taps:
        del rules
        with _guarded(what, x, module, arguments):
            live = nnx.merge(graph, state)
            captured = nnx.capture(
                live, nnx.Intermediate, method_outputs=nnx.Intermediate
            )
            result, found = captured(x, **arguments)
        named = {
            "/".join(str(part) for part in path): variable.get_value()
            for path, variable in nnx.to_flat_state(found)
        }
        taps = _merge(_named(named, x), _outputs(result, output, x, what))
        return _finish(_some(taps, what), record)

    return from_network(network, state, record)


@contextlib.contextmanager
def _guarded(
    what: str,
    x: Array,
    module: Any = None,
    arguments: Mapping[str, Any] | None = None,
) -> Iterator[None]:
    """Turns whatever a foreign network raises while it is traced into one line.

    Raises:
      ValueError: naming the network, the layer if it is known, and a remedy.
    """
    try:
        yield
    except Exception as error:  # of anybody's code: any kind
        at = where_of(error, module)
        raise ValueError(
            f"{what} fails{f' in {at!r}' if at else ''} for images"
            f" {list(x.shape)} {x.dtype}: {said_by(error)}."
            f" {remedy_of(error, module, arguments or {}, x.shape[1:3])}".rstrip()
        ) from error


def _as_taps(result: Any, x: Array, what: str) -> dict[str, Array]:
    """Returns the taps that a plain function names, all of which must be usable."""
    leaves = flattened(result, OUTPUT)
    if not named(result):
        raise ValueError(
            f"{what} returns {shown(leaves) or 'nothing'}: return a dict that names its"
            " activations, such as {'conv': [B, h, w, K], 'logits': [B, K]}."
        )
    wrong = {n: leaf for n, leaf in leaves.items() if not usable(leaf, len(x))}
    if wrong or not leaves:
        raise ValueError(
            f"{what} returns {shown(wrong) or 'an empty dict'}: taps are"
            f" [{len(x)}, h, w, K] or [{len(x)}, K] of floating-point numbers, for"
            f" {len(x)} images here. Reshape it, or leave it out of the dict."
        )
    return leaves


def _named(found: Mapping[str, Any], x: Array) -> dict[str, Array]:
    """Returns tap -> array of what the calls of submodules returned, path -> outputs.

    What is no activation is left out.
    """
    taps = {}
    for path, outputs in found.items():
        name = path.removesuffix("/__call__")
        if name == "__call__":
            continue
        once = isinstance(outputs, tuple) and len(outputs) == 1
        leaves = flattened(outputs[0] if once else outputs, name, f"{name}/")
        taps |= _alone({n: a for n, a in leaves.items() if usable(a, len(x))}, name)
    return taps


def _outputs(result: Any, output: Output, x: Array, what: str) -> dict[str, Array]:
    """Returns tap -> array of what a module returned, named as `from_linen` says."""
    name = output if isinstance(output, str) else OUTPUT
    leaves = flattened(result, name)
    arrays = {n: leaf for n, leaf in leaves.items() if usable(leaf, len(x))}
    if output is None:
        return _alone(arrays, name)
    if not arrays:
        raise ValueError(
            f"output={output!r} is not possible: {what} returns {shown(leaves)}, and"
            f" taps are [B, h, w, K] or [B, K] of floating-point numbers."
        )
    if isinstance(output, Mapping):
        return _renamed(arrays, output)
    if named(result):
        if output not in arrays:
            raise ValueError(
                f"output={output!r} is none of what {what} returns: {shown(leaves)}."
                f" Another name for one of these: output={{{next(iter(arrays))!r}:"
                f" {output!r}}}."
            )
        return arrays
    arrays = _alone(arrays, name)
    if name in CLASSES and name not in arrays:
        return _found_classes(arrays, name, what)
    return arrays


def _alone(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    """Gives the only array its plain name, not that of its place."""
    numbered = [n for n in arrays if n.startswith(f"{name}#")]
    if len(numbered) == 1 and "/" not in numbered[0].removeprefix(name):
        return {name if n == numbered[0] else n: a for n, a in arrays.items()}
    return arrays


def _renamed(arrays: dict[str, Array], output: Mapping[Any, str]) -> dict[str, Array]:
    names = {f"{OUTPUT}#{k}" if isinstance(k, int) else k: n for k, n in output.items()}
    for name in names:
        choose("output", name, arrays)
    found = {names.get(name, name): array for name, array in arrays.items()}
    if len(found) < len(arrays):
        raise ValueError(f"output={dict(output)!r} gives two arrays one name.")
    return found


def _found_classes(arrays: dict[str, Array], name: str, what: str) -> dict[str, Array]:
    """Names the classes among a tuple's arrays, if only one of them can hold them."""
    able = [n for n, a in arrays.items() if a.ndim == 2 or a.shape[1:3] == (1, 1)]
    if len(able) != 1:
        raise ValueError(
            f"output={name!r} is not clear: {what} returns {shown(arrays)}. Say which"
            f" one by its place: output={{0: {name!r}}}."
        )
    place = {n: n.replace(name, OUTPUT, 1) for n in arrays}
    return {name if n == able[0] else place[n]: a for n, a in arrays.items()}


def _merge(inner: dict[str, Array], outputs: dict[str, Array]) -> dict[str, Array]:
    for name in inner.keys() & outputs.keys():
        if inner[name] is not outputs[name]:
            raise ValueError(
                f"output={name!r} is also the name of a submodule's tap: give another"
                f" name to what the module returns, output={{{name!r}: 'my_{name}'}}"
                " where it returns a mapping."
            )
    return inner | outputs


def _some(taps: dict[str, Array], what: str) -> dict[str, Array]:
    if not taps:
        raise ValueError(
            f"{what} has no activation that could be a tap: [B, h, w, K] or [B, K] of"
            " floating-point numbers."
        )
    return taps


def _finish(taps: dict[str, Array], record: Record) -> dict[str, Array]:
    """Checks the classes' taps and adds their probabilities."""
    for name in CLASSES:
        if name in taps:
            taps[name] = _classes(name, jnp.asarray(taps[name]), record)
    if "logits" in taps and "probabilities" not in taps:
        taps["probabilities"] = jax.nn.softmax(widened(taps["logits"]), axis=-1)
    return taps


def _classes(name: str, array: Array, record: Record) -> Array:
    """Returns a tap of classes as [B, K], its map of 1×1 squeezed."""
    if array.ndim == 4 and array.shape[1:3] == (1, 1):
        array = array[:, 0, 0]
    if array.ndim != 2:
        raise ValueError(
            f"tap={name!r} of {record.name} is {kind_of(array)}, a map: {name} are one"
            " number for each class, [B, K]. Take its mean over the map, or give it"
            " another name."
        )
    if record.labels and len(record.labels) != array.shape[1]:
        raise ValueError(
            f"tap={name!r} of {record.name} has {array.shape[1]} classes, and its"
            f" record has {len(record.labels)} labels: they would name other classes."
        )
    return array
