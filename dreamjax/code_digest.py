"""Digests of a user's own code: the source of a function, and all that it reads.

A result depends on the body of a network's function, of a registered objective or
penalty as much as on the config. `users_code` finds such functions behind the
library's own closures, and `digest_of` reads them: source without comments and layout,
values of closures and defaults, the globals that they name, and of these again.
Of frameworks (JAX, Flax, NumPy, dreamjax itself) only names count: their versions
stand in the environment of a result.
"""

import ast
import dataclasses
import enum
import functools
import hashlib
import inspect
import linecache
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

FRAMEWORKS = frozenset(
    "dreamjax jax jaxlib flax optax chex numpy scipy ml_dtypes".split()  # noqa: SIM905
)
"""Top-level packages whose functions count by their names only."""

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))


def users_code(*values: Any) -> dict[str, str]:
    """Returns "module.name" -> digest of every user's function behind some values.

    Functions of frameworks are looked through: their closures, defaults and bound
    arguments. So a network's taps lead to the function that computes them.

    Args:
      *values: functions, modules of networks, entries of registries, tuples of these.
    """
    found: dict[str, str] = {}
    for value in values:
        for users in _users(value, set()):
            name, number = qualified(users), 1
            digest = digest_of(users)
            while found.get(name, digest) != digest:  # two lambdas of one function
                number += 1
                name = f"{qualified(users)}#{number}"
            found[name] = digest
    return found


def qualified(value: Any) -> str:
    """Returns "module.name" of a function, a class, or an object's class."""
    if not isinstance(value, type) and not hasattr(value, "__qualname__"):
        value = type(value)
    module = getattr(value, "__module__", None) or ""
    if module == "__main__":  # the same file, run as a script or imported
        file = getattr(sys.modules["__main__"], "__file__", None)
        module = Path(file).stem if file else module
    return f"{module}.{value.__qualname__}"


def is_users(value: Any) -> bool:
    """Tells whether a function, class or module is no framework's."""
    if isinstance(value, types.ModuleType):
        name = value.__name__
    else:
        name = getattr(value, "__module__", None) or "builtins"
    top = name.partition(".")[0]
    return top not in FRAMEWORKS and (
        top == "__main__" or top not in sys.stdlib_module_names
    )


def digest_of(value: Any) -> str:
    """Returns the SHA-256, in hex, of a function or value and of what it reads."""
    return _Reader().digest(value)


def _users(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yields users' functions, classes and objects behind a value, the nearest ones."""
    if isinstance(value, (*PLAIN, np.ndarray, jax.Array, types.ModuleType)):
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    named = value if isinstance(value, types.FunctionType | type) else type(value)
    if is_users(named) and not isinstance(value, tuple | list | Mapping):
        yield value
        return
    for inner in _inside(value):
        yield from _users(inner, seen)


def _inside(value: Any) -> Iterator[Any]:
    """Yields what a framework's function or object holds."""
    if isinstance(value, type):
        return
    if isinstance(value, types.FunctionType):
        yield from (c for _, c in _closure(value))
        yield from value.__defaults__ or ()
        yield from (value.__kwdefaults__ or {}).values()
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, tuple | list | set | frozenset):
        yield from value
    elif dataclasses.is_dataclass(value):
        yield from (part for _, part in _fields(value))
    if not isinstance(value, types.FunctionType) and hasattr(value, "__wrapped__"):
        yield value.__wrapped__  # jit, custom_vjp, functools.cache


def _closure(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not bound yet
            continue


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(value):
        if field.name != "parent" and hasattr(value, field.name):  # of Linen's modules
            yield field.name, getattr(value, field.name)


class _Reader:
    """Reads a value once; what it comes across again it calls by its place."""

    def __init__(self):
        self._places: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no id is used twice

    def digest(self, value: Any) -> str:
        total = hashlib.sha256()
        for part in self._parts(value):
            told = part if isinstance(part, bytes) else str(part).encode()
            total.update(len(told).to_bytes(8, "little") + told)
        return total.hexdigest()

    def _parts(self, value: Any) -> Iterator[Any]:
        if isinstance(value, enum.Enum):
            yield from (qualified(value), value.name)
        elif isinstance(value, PLAIN):
            yield from (type(value).__name__, repr(value))
        elif isinstance(value, np.generic | np.ndarray | jax.Array):
            yield from array_parts(value)
        elif id(value) in self._places:
            yield f"place {self._places[id(value)]}"
        else:
            self._places[id(value)] = len(self._places)
            self._kept.append(value)
            yield from self._deep_parts(value)

    def _deep_parts(self, value: Any) -> Iterator[Any]:
        if isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, types.ModuleType):
            yield value.__name__
        elif isinstance(value, Mapping):
            yield "mapping"
            for name in sorted(value, key=str):
                yield from (str(name), self.digest(value[name]))
        elif isinstance(value, set | frozenset):
            yield from ("set", *sorted(digest_of(part) for part in value))
        elif isinstance(value, tuple | list):
            yield type(value).__name__
            yield from (self.digest(part) for part in value)
        else:
            yield from self._object(value)

    def _object(self, value: Any) -> Iterator[Any]:
        yield qualified(value)
        if is_users(type(value)):
            yield self.digest(type(value))
        if dataclasses.is_dataclass(value):
            named = _fields(value)
        elif is_users(type(value)) and hasattr(value, "__dict__"):
            named = vars(value).items()
        else:  # no list of a framework's parts can be complete: what holds functions
            named = ((str(i), part) for i, part in enumerate(_inside(value)))
        for name, part in named:
            yield from (name, self.digest(part))

    def _class(self, value: type) -> Iterator[Any]:
        yield qualified(value)
        if not is_users(value):
            return
        yield from (self.digest(base) for base in value.__bases__)
        functions = [_function_of(part) for part in vars(value).values()]
        functions = [f for f in functions if f is not None and is_users(f)]
        try:
            yield _normal(inspect.getsource(value))
        except (OSError, TypeError):
            yield from (_bytecode(f.__code__) for f in functions)
        for function in functions:
            yield from self._read(function)

    def _function(self, function: types.FunctionType) -> Iterator[Any]:
        yield qualified(function)
        if is_users(function):
            yield source_of(function)
            yield from self._read(function)
        else:
            yield from (self.digest(part) for part in _inside(function))

    def _read(self, function: types.FunctionType) -> Iterator[Any]:
        """Yields what a user's function reads beside its arguments."""
        for name, part in _closure(function):
            yield from (name, self.digest(part))
        yield self.digest(function.__defaults__ or ())
        yield self.digest(function.__kwdefaults__ or {})
        names = sorted(_names(function.__code__))
        for name in names:
            if name not in function.__globals__:
                continue
            value = function.__globals__[name]
            yield from (name, self.digest(value))
            if isinstance(value, types.ModuleType) and is_users(value):
                inner = [n for n in names if n in vars(value)]
                for part in inner:
                    yield from (f"{name}.{part}", self.digest(vars(value)[part]))


def array_parts(array: Any) -> Iterator[Any]:
    """Yields dtype, shape and, last, bytes of an array, or of a random key's data."""
    if isinstance(array, jax.Array) and jax.dtypes.issubdtype(
        array.dtype, jax.dtypes.prng_key
    ):
        yield str(array.dtype)
        array = jax.random.key_data(array)
    array = np.asarray(array)
    yield from (str(array.dtype), str(array.shape))
    if array.dtype == object:
        yield "".join(digest_of(part) for part in array.reshape(-1)).encode()
    else:
        yield np.ascontiguousarray(array).tobytes()


def _function_of(part: Any) -> types.FunctionType | None:
    """Returns the function behind what a class holds: a method, a property, none."""
    part = getattr(part, "fget", None) or getattr(part, "__func__", part)
    part = inspect.unwrap(part) if callable(part) else part
    return part if isinstance(part, types.FunctionType) else None


def _names(code: types.CodeType) -> set[str]:
    """Returns the names that code reads, with that of functions inside it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def source_of(function: types.FunctionType) -> str:
    """Returns what a function does, as text: its source, or else its bytecode.

    The bytecode also where the file has changed since the function was read from it,
    for what runs is what counts.
    """
    code = function.__code__
    try:
        lines = inspect.getsource(function)
        if not _is_current(code):
            return _bytecode(code)
    except (OSError, TypeError, SyntaxError, ValueError):
        return _bytecode(code)
    if code.co_name != "<lambda>":
        return _normal(lines)
    return _segment(code) or _bytecode(code)


def _is_current(code: types.CodeType) -> bool:
    """Tells whether the function's file still has this code."""
    text = "".join(linecache.getlines(code.co_filename))
    return any(_alike(code, other) for other in _codes(code.co_filename, text))


@functools.lru_cache(maxsize=64)
def _codes(name: str, text: str) -> tuple[types.CodeType, ...]:
    found, left = [], [compile(text, name, "exec", dont_inherit=True)]
    while left:
        code = left.pop()
        found.append(code)
        left += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return tuple(found)


def _alike(a: types.CodeType, b: types.CodeType) -> bool:
    return a.co_name == b.co_name and _bytecode(a) == _bytecode(b)


def _bytecode(code: types.CodeType) -> str:
    constants = [
        _bytecode(part) if isinstance(part, types.CodeType) else _constant(part)
        for part in code.co_consts
    ]
    names = (code.co_names, code.co_varnames, code.co_freevars)
    return f"{code.co_code.hex()} {names} {constants}"


def _constant(value: Any) -> str:
    if isinstance(value, frozenset):  # whose order changes from process to process
        return repr(sorted(map(repr, value)))
    return repr(value)


def _normal(source: str) -> str:
    """Returns source without comments and layout, where it can be parsed."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(source)))
    except (SyntaxError, ValueError):
        return source


def _segment(code: types.CodeType) -> str:
    """Returns the text of a lambda's body; its line may hold several lambdas."""
    places = [p for p in code.co_positions() if None not in p and p[3] > 0]
    if not places:
        return ""
    first = min((line, column) for line, _, column, _ in places)
    last = max((line, column) for _, line, _, column in places)
    lines = [
        linecache.getline(code.co_filename, n).encode()
        for n in range(first[0], last[0] + 1)
    ]
    lines[-1] = lines[-1][: last[1]]
    lines[0] = lines[0][first[1] :]
    text = b"".join(lines).decode(errors="replace")
    return f"{code.co_varnames}: {text}"
