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
import itertools
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from dreamjax.caps import require_cap
from dreamjax.errors import choose, did_you_mean
from dreamjax.hparams import Hparam, Value
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
from dreamjax.types import Array, Transform

SHORT = re.compile(r"(?P<tap>[A-Za-z][\w./#-]*)(?::(?P<index>[^:()\"]+))?")
MAX_DEPTH = 100  # of nested syntax; a sum of n terms nests n deep
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
      constants: hyperparameter name (`c0`, `c1` …, none of those that the caller
        has) -> the number in the text.
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
    names = (f"c{i}" for i in itertools.count())

    def lift(number: float | int) -> Hparam:
        name = next(n for n in names if n not in hparams)
        constants[name] = number
        return Hparam(name)

    short = SHORT.fullmatch(text.strip())
    if short is not None:
        objective = _short(short["tap"], short["index"], hparams, labels, taps, lift)
    else:
        reader = _Reader("objective", text, OBJECTIVES, hparams, labels, lift)
        reader.algebra = True
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
    if index.removeprefix("-").isdecimal():
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
    require_cap("transforms", _cut(text), len(nodes), "transforms")
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
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(
            f"{argument}={_cut(text)} cannot be read: {why or 'too much of it'}."
        ) from None
    level, depth = [body], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(
                f"{argument}={_cut(text)} is nested more than {MAX_DEPTH} deep."
            )
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return body


def _cut(text: str) -> str:
    return repr(text) if len(text) <= 200 else f"{text[:200]!r} …"


def _fits(value: Any, annotation: Any) -> bool:
    """Tells whether a parameter so annotated takes what text can say."""
    if annotation is str:
        return isinstance(value, str)
    if annotation is int:
        return isinstance(value, int)  # static: no hyperparameter
    if annotation in (float, Value, Value | None):
        return not isinstance(value, str)
    return annotation != Array | None  # no text says an array


def _say(value: Any, annotation: Any) -> str:
    if annotation is int and not isinstance(value, str):
        return "anything but a whole number"
    if isinstance(value, Hparam):
        return "a number or a hyperparameter"
    return f"the text {value!r}" if isinstance(value, str) else repr(value)


class _Reader:
    """Evaluates the few kinds of syntax that are allowed, and refuses all others."""

    def __init__(
        self, argument, text, functions, hparams, labels, lift, limits=None
    ) -> None:
        self.argument, self.text, self.functions = argument, text, functions
        self.hparams, self.labels, self.lift = hparams, labels, lift
        self.limits = limits or {}
        self.algebra = False
        self.used: set[str] = set()

    def fail(self, problem: str) -> ValueError:
        return ValueError(f"{self.argument}={_cut(self.text)}: {problem}")

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
            case ast.UnaryOp(op=ast.USub()) if self.algebra:
                return -self.term(node.operand)
            case ast.BinOp() if self.algebra and type(node.op) in OPERATORS:
                left, right = self.term(node.left), self.term(node.right)
                return OPERATORS[type(node.op)](left, right)
            case ast.Name():
                return self.hparam(node.id)
            case ast.Call(func=ast.Name()):
                return self.call(node)
        raise self.fail(f"{ast.unparse(node)!r} is not allowed here")

    def term(self, node: ast.expr) -> Objective:
        value = self.read(node)
        if isinstance(value, str):
            raise self.fail(f"{ast.unparse(node)} is not an objective")
        return value if isinstance(value, Objective) else constant(value)

    def argument_of(self, name: str, node: ast.expr) -> Any:
        value = self.read(node)
        if isinstance(value, Objective):
            raise self.fail(f"{ast.unparse(node)!r} cannot be an argument of {name}")
        return value

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
        positional = [self.argument_of(name, arg) for arg in node.args]
        if any(word.arg is None for word in node.keywords):
            raise self.fail("** is not allowed here")
        named = {word.arg: self.argument_of(name, word.value) for word in node.keywords}
        if name in CLASS_CALLS:
            positional = [self.label(value) for value in positional]
            named = {word: self.label(value) for word, value in named.items()}
        signature = inspect.signature(factory)
        try:
            bound = signature.bind(*positional, **named).arguments
        except TypeError as error:
            raise self.fail(f"{name}{signature}: {error}") from None
        for word, value in bound.items():
            wanted = signature.parameters[word].annotation
            if not _fits(value, wanted):
                said = _say(value, wanted)
                raise self.fail(f"{name}{signature}: {word} cannot be {said}")
        if "limit" in signature.parameters and "limit" not in named:
            first = next(iter(bound.values()), None)
            if isinstance(first, Hparam) and first.name in self.limits:
                named["limit"] = int(self.limits[first.name])
        return factory(*positional, **named)
