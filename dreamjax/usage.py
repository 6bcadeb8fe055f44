"""What --help says: the command, its flags, the keys of its config and the variants."""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict

DOCUMENTED = {
    "dreamjax.config": "steps",
    "dreamjax.deepdream.config": "octaves",
    "dreamjax.video.config": "carry_steps",
}
"""Modules that define keys of configs with a comment behind each -> one of the keys."""

KEY = re.compile(r'^ +(?:config\.([\w.]+) =|"(\w+)":) .*?  # (.+)$', re.MULTILINE)
HELP = ("--help", "-help", "-h")
NO_VARIANT = "?"


def asks_for_help(arguments: list[str]) -> bool:
    """Tells whether --help is among the words of a command line."""
    stop = arguments.index("--") if "--" in arguments else len(arguments)
    return any(word in HELP for word in arguments[1:stop])


def usage(arguments: list[str], config: str | None) -> str:
    """Returns the text of --help.

    Args:
      arguments: the command line; a --config in it is the one whose keys are shown.
      config: the default of --config; None where a command has no such flag.

    Raises:
      ValueError: the config file cannot be read.
    """
    about = inspect.getdoc(sys.modules["__main__"]) or ""
    about = re.sub(r"(?<=\S) {8,}", " \\\\\n        ", about)  # a command of two lines
    parts = [about.strip(), flags.FLAGS.main_module_help().strip()]
    if config is not None:
        chosen = _given(arguments) or config
        path, _, variant = chosen.partition(":")
        module = _loaded(path)
        parts.append(_variants(module, path))
        parts.append(_keys(module.get_config(*([variant] if variant else [])), module))
    return "\n\n".join(parts)


def _given(arguments: list[str]) -> str | None:
    """Returns the last --config of a command line."""
    found = None
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if word in ("--config", "-config"):
            found = after
        elif re.match("--?config=", word):
            found = word.partition("=")[2]
    return found


def _loaded(path: str) -> ModuleType:
    """Returns a config file as a module."""
    spec = importlib.util.spec_from_file_location("shown_config", path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise ValueError(f"--config={path!r} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _variants(module: ModuleType, path: str) -> str:
    """Returns which configs there are beside this one, and the variants of this one."""
    near = sorted(p.as_posix() for p in Path(path).parent.glob("[!_]*.py"))
    lines = [f"Configs, for --config: {', '.join(near)}"]
    try:
        module.get_config(NO_VARIANT)
        lines.append(inspect.getdoc(module.get_config) or "")
    except TypeError:
        lines.append(f"{path} has no variants.")
    except ValueError as error:
        names = str(error).partition("Allowed: ")[2].rstrip(".").split(", ")
        shown = ", ".join(f"{path}:{name}" for name in names if name.strip("'\""))
        lines.append(f"Variants: {shown or 'none'}")
    return "\n".join(lines)


def _keys(config: ConfigDict, module: ModuleType) -> str:
    """Returns every key, its value in this config, and what is said of it."""
    known = [m for m, key in DOCUMENTED.items() if key in config]
    said = _comments([*map(importlib.import_module, known), module])
    values = dict(_leaves(config.to_dict()))
    top = {name: value for name, value in values.items() if "." not in name}
    below = {name: value for name, value in values.items() if "." in name}
    lines = ["Keys of the config, for --config.KEY=VALUE:", *_table(top, said)]
    if below:
        lines += ["", "Hyperparameters, each a tuple of the values to sweep"]
        lines[-1] += " (docs/reference.md):"
        lines += _table(below, said)
    return "\n".join(lines)


def _table(values: Mapping[str, Any], said: Mapping[str, str]) -> Iterator[str]:
    wide = max(len(f"{name}={value!r}") for name, value in values.items())
    for name, value in values.items():
        shown = f"{name}={value!r}"
        comment = said.get(name)
        line = f"  {shown:{min(wide, 36)}}" + (f"  {comment}" if comment else "")
        yield line.rstrip()


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _comments(modules: list[ModuleType]) -> dict[str, str]:
    """Returns key -> the comment behind it, in the last module that has one."""
    found = {}
    for module in modules:
        for key, name, comment in KEY.findall(inspect.getsource(module)):
            found[key or f"hparams.{name}"] = comment
    return found
