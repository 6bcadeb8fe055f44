"""Objectives and transforms in one line of text, read without `eval`.

    b8:12                       channel 12 of tap b8
    b8:unit                     the channel that hyperparameter `unit` names
    logits:espresso             a class by its label
    b8                          the whole layer (DeepDream's energy)
    0.2*channel("b8", 3) + 0.8*channel("b8", 7) - 1e-3*energy("b2")
    pad(12), jitter(8), rotate(low, high)

In a call, a quoted word is a tap or a label, a bare word is a hyperparameter. Numbers
of an objective become hyperparameters of their own, so that `b8:12` and `b8:13` are one
program.
"""

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from dreamjax.errors import choose, did_you_mean
from dreamjax.hparams import Hparam
from dreamjax.labels import class_index
from dreamjax.objectives import (
    OBJECTIVES,
    Objective,
    channel,
    constant,
    energy,
    logit,
    probability,
)
from dreamjax.types import Transform

SHORT = re.compile(r"(?P<tap>[A-Za-z][\w./-]*)(?::(?P<index>[^:()\"]+))?")
CLASS_TAPS = {"logits": logit, "probabilities": probability}
CLASS_CALLS = {"logit", "probability", "log_probability"}
OPERATORS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


class ParsedObjective(NamedTuple):
    """An objective and the numbers of its text.

    Attributes:
      objective: reads the numbers as hyperparameters.
      constants: hyperparameter name (`c0`, `c1` …) -> the number in the text.
    """

    objective: Objective
    constants: dict[str, float | int]


def parse_objective(
    text: str,
    *,
    hparams: Collection[str] = (),
    labels: tuple[str, ...] = (),
    taps: Collection[str] = (),
) -> ParsedObjective:
    """Returns the objective that a line of text says.

    Args:
      text: see the module.
      hparams: names that bare words may have.
      labels: class names that may stand for an index.
      taps: tap names, for "did you mean" in the short form.

    Raises:
      ValueError: naming what is not understood, with a near name.
    """
    constants: dict[str, float | int] = {}

    def lift(number: float | int) -> Hparam:
        name = f"c{len(constants)}"
        constants[name] = number
        return Hparam(name)

    short = SHORT.fullmatch(text.strip())
    if short is not None:
        objective = _short(short["tap"], short["index"], hparams, labels, taps, lift)
    else:
        reader = _Reader("objective", text, OBJECTIVES, hparams, labels, lift)
        objective = reader.read(_tree("objective", text))
    if not isinstance(objective, Objective) or not objective.reads:
        raise ValueError(f"objective={text!r} reads no tap.")
    objective = dataclasses.replace(objective, text=text.strip())
    return ParsedObjective(objective, constants)


def _short(tap, index, hparams, labels, taps, lift) -> Objective:
    if taps:
        choose("tap", tap, taps)
    if index is None:
        return energy(tap)
    index = index.strip()
    make = CLASS_TAPS.get(tap, lambda i: channel(tap, i))
    if index.lstrip("-").isdigit():
        return make(lift(int(index)))
    if index in hparams:
        return make(Hparam(index))
    if tap in CLASS_TAPS:
        return make(lift(class_index(index, labels)))
    raise ValueError(
        f"objective={f'{tap}:{index}'!r}: {index!r} is neither a number nor a"
        f" hyperparameter.{did_you_mean(index, hparams)}"
        f" Hyperparameters: {', '.join(sorted(hparams)) or 'none'}."
    )


def parse_transforms(
    text: str,
    *,
    factories: Mapping[str, Callable[..., Transform]],
    hparams: Mapping[str, Any] | Collection[str] = (),
    limits: Mapping[str, int] | None = None,
) -> tuple[tuple[Transform, ...], frozenset[str]]:
    """Returns the transforms that a line of comma-separated calls says.

    Args:
      text: such as 'pad(12), jitter(8)'; '' is no transform. A name alone is a call
        without arguments.
      factories: name -> factory.
      hparams: names that bare words may have.
      limits: hyperparameter name -> its largest value in the sweep; given as `limit`
        to a factory that has one and reads that hyperparameter first (a crop's static
        margin).

    Returns:
      The transforms in order, and the names of the hyperparameters that they read.

    Raises:
      ValueError: naming what is not understood, with a near name.
    """
    if not text.strip():
        return (), frozenset()
    body = _tree("transforms", text)
    reader = _Reader("transforms", text, factories, hparams, (), lambda n: n, limits)
    nodes = body.elts if isinstance(body, ast.Tuple) else [body]
    transforms = []
    for node in nodes:
        if isinstance(node, ast.Name):
            node = ast.Call(func=node, args=[], keywords=[])
        if not isinstance(node, ast.Call):
            raise ValueError(
                f"transforms={text!r}: {ast.unparse(node)!r} is not a call."
            )
        transforms.append(reader.read(node))
    return tuple(transforms), frozenset(reader.used)


def parse_call(text: str, *, argument: str, functions: Mapping[str, Callable]) -> Any:
    """Returns the value of one call of numbers, such as 'log_uniform(1e-4, 1)'.

    Raises:
      ValueError: naming what is not understood, with a near name.
    """
    node = _tree(argument, text)
    if not isinstance(node, ast.Call):
        raise ValueError(f"{argument}={text!r} is not a call.")
    return _Reader(argument, text, functions, (), (), lambda n: n).read(node)


def _tree(argument: str, text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"{argument}={text!r} cannot be read: {error.args[0]}."
        ) from None


class _Reader:
    """Evaluates the few kinds of syntax that are allowed, and refuses all others."""

    def __init__(
        self, argument, text, functions, hparams, labels, lift, limits=None
    ) -> None:
        self.argument, self.text, self.functions = argument, text, functions
        self.hparams, self.labels, self.lift = hparams, labels, lift
        self.limits = limits or {}
        self.used: set[str] = set()

    def fail(self, problem: str) -> ValueError:
        return ValueError(f"{self.argument}={self.text!r}: {problem}")

    def read(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool()):
                return node.value
            case ast.Constant(value=int() | float()):
                return self.lift(node.value)
            case ast.Constant(value=str()):
                return node.value
            case ast.UnaryOp(
                op=ast.USub(), operand=ast.Constant(value=int() | float())
            ):
                return self.lift(-node.operand.value)
            case ast.UnaryOp(op=ast.USub()):
                return -self.read(node.operand)
            case ast.BinOp() if type(node.op) in OPERATORS:
                left, right = self.read(node.left), self.read(node.right)
                for side, value in ((node.left, left), (node.right, right)):
                    if isinstance(value, str):
                        raise self.fail(f"{ast.unparse(side)} is not an objective")
                if not isinstance(left, Objective):
                    left = constant(left)
                return OPERATORS[type(node.op)](left, right)
            case ast.Name():
                return self.hparam(node.id)
            case ast.Call(func=ast.Name()):
                return self.call(node)
        raise self.fail(f"{ast.unparse(node)!r} is not allowed here")

    def hparam(self, name: str) -> Hparam:
        if name not in self.hparams:
            hint = " (tap names and labels are quoted)" if self.labels else ""
            raise self.fail(
                f"{name!r} is not a hyperparameter{hint}."
                f"{did_you_mean(name, self.hparams)}"
                f" Known: {', '.join(sorted(self.hparams)) or 'none'}."
            )
        self.used.add(name)
        return Hparam(name)

    def label(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.lift(class_index(value, self.labels))
        return value

    def call(self, node: ast.Call) -> Any:
        name = node.func.id
        factory = self.functions[
            choose(f"{self.argument}'s function", name, self.functions)
        ]
        positional = [self.read(arg) for arg in node.args]
        if any(word.arg is None for word in node.keywords):
            raise self.fail("** is not allowed here")
        named = {word.arg: self.read(word.value) for word in node.keywords}
        if name in CLASS_CALLS:
            positional = [self.label(value) for value in positional]
            named = {word: self.label(value) for word, value in named.items()}
        signature = inspect.signature(factory)
        if "limit" in signature.parameters and positional and "limit" not in named:
            first = positional[0]
            if isinstance(first, Hparam) and first.name in self.limits:
                named["limit"] = int(self.limits[first.name])
        try:
            signature.bind(*positional, **named)
        except TypeError as error:
            raise self.fail(f"{name}{signature}: {error}") from None
        return factory(*positional, **named)
