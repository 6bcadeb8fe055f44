"""The command line: one line per error, and an exit status that scripts can use."""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from dreamjax.devices import split_cpu
from dreamjax.errors import os_error_text, printable
from dreamjax.interrupt import STOPPED, Interrupted, watch
from dreamjax.memory import keep_memory
from dreamjax.paths import given_path
from dreamjax.terminal import use_terminals
from dreamjax.usage import asks_for_help, usage

BAD_INPUT, UNREAD = 2, 141


def launch(main: Callable[[list[str]], int]) -> None:
    """Parses the flags and runs `main(arguments)`, the words that are no flags.

    A ValueError is bad input, an OSError a file system that refuses: one line on
    stderr, status 2. A run that is stopped by Ctrl-C, SIGTERM, SIGHUP or a full disk
    says how to go on, status 130 always (`dreamjax.interrupt`). Where nobody
    reads the output any more (`| head`) it ends with 141. Anything else is a bug and
    keeps its traceback.
    """

    def guarded(arguments: list[str]) -> int:
        try:
            return main(arguments[1:])
        except ValueError as error:
            print(f"error: {printable(error)}", file=sys.stderr)
            return BAD_INPUT
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes at the end
            return UNREAD
        except OSError as error:
            if error.errno is None:
                raise
            print(f"error: {os_error_text(error)}", file=sys.stderr)
            return BAD_INPUT
        except Interrupted as stopped:
            print(printable(stopped), file=sys.stderr)
            return STOPPED
        except KeyboardInterrupt:
            print("stopped.", file=sys.stderr)
            return STOPPED

    watch()
    use_terminals()
    # It says at each start which accelerators are not there.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    keep_memory()
    split_cpu()
    app.run(guarded, flags_parser=parse_flags)


flags.disclaim_key_flags()  # a flag is of the command that defines it, for --help

MISSPELT = re.compile(
    r"""['"]*(\w+)['"]*( Did you mean "(?P<near>\w+)".*)?""", re.DOTALL
)
"""What ml_collections says of a key that is none."""

_default_config: str | None = None  # of the command that this process is

PARSING = (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError)
"""What ml_collections raises for a misspelt key, a value of another type, no file."""


def parse_flags(arguments: Sequence[str]) -> list[str]:
    """Returns what is left of the command line; exits with 2 where it is wrong.

    --help is answered here, with the keys of the config too; it exits with 0.
    """
    with _one_line():
        if asks_for_help(list(arguments)):
            print(usage(list(arguments), _default_config))
            sys.exit(0)
        return flags.FLAGS(list(arguments))


def config_flag(default: str) -> flags.FlagHolder:
    """Defines `--config`, a file with `:variant`, and `--config.key` for each key.

    ml_collections applies overrides of the default here already.
    """
    global _default_config
    _default_config = default
    with _one_line():
        return config_flags.DEFINE_config_file(
            "config", default, "A config file, or FILE:VARIANT."
        )


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except PARSING as error:
        said = _of_key(error) or _of_file(error) or str(error).replace("\\n", " ")
        said = _without_frames(" ".join(said.split()))
        print(f"error: {printable(said)}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def _of_key(error: Exception) -> str | None:
    """Returns what is wrong with a key of the config, where an error is of one.

    ml_collections raises the bare key, or `'key' Did you mean "near" instead of "key"?`
    quoted once more.
    """
    said = " ".join(str(error).replace("\\n", " ").split()).replace("\\", "")
    found = MISSPELT.fullmatch(said)
    if found is None:
        return None
    key, near = found[1], found["near"]
    whole = re.compile(rf"--?((?:\w+\.)*{re.escape(key)})(?![\w])")
    typed = [match[1] for word in sys.argv if (match := whole.match(word))]
    name = typed[0] if typed else f"config.{key}"
    if near:
        return f'{name} is no key. Did you mean "{near}"?'
    return f"{name} is no key; hyperparameters are config.hparams.NAME"


def _without_frames(said: str) -> str:
    """Returns an error without the traceback that ml_collections puts into it."""
    start, traceback, rest = said.partition(": Error whilst parsing config file: Trace")
    errors = re.split(r"\b(?=\w*(?:Error|Exception): )", rest)
    if not traceback or len(errors) == 1:
        return said
    kind, _, message = errors[-1].partition(": ")
    told = message if kind == "ValueError" else f"{kind}: {message}"
    return f"{start.removeprefix('flag ')}: {told}"


class _PathParser(flags.ArgumentParser):
    """Makes a `Path` of the text of a flag."""

    def __init__(self, name: str):
        self._name = name

    def parse(self, argument: str | Path) -> Path:
        return given_path(f"--{self._name}", argument)

    def flag_type(self) -> str:
        return "path"


def path_flag(
    name: str, default: str | None, about: str, *, required: bool = False
) -> flags.FlagHolder:
    """Defines a flag that is a path; its value is a `Path`, or None.

    Args:
      name: without the dashes.
      default: used where the flag is not given.
      about: a sentence for --help.
      required: the command does not start without it.
    """
    parser, text = _PathParser(name), flags.ArgumentSerializer()
    return flags.DEFINE(
        parser, name, default, about, serializer=text, required=required
    )


def _of_file(error: Exception) -> str | None:
    """Returns which config file cannot be read, where an error is of one."""
    found = re.search(r"\[Errno \d+\] ([^:]+): '([^']+)'", str(error))
    return None if found is None else f"--config={found[2]!r}: {found[1]}"


def given_config(flag: flags.FlagHolder) -> ConfigDict:
    """Returns the config of a `DEFINE_config_file` flag.

    Raises:
      ValueError: the file is missing; ml_collections says so at the first use only.
    """
    try:
        list(flag.value)  # a file that failed to load fails here, not when read
        return flag.value
    except OSError as error:
        said = f"--{flag.name}: {' '.join(str(error).split())}"
        raise ValueError(_of_file(error) or said) from error


def image_size(given: list[str] | None, default: int) -> tuple[int, int]:
    """Returns (H, W) from a flag of one or two numbers; `default` where there is none.

    Raises:
      ValueError: for anything else.
    """
    if given is None:
        return default, default
    if not 1 <= len(given) <= 2 or not all(n.strip().isdigit() for n in given):
        raise ValueError(f"size={','.join(given)!r}: give one side, or height,width.")
    sides = [int(n) for n in given]
    return sides[0], sides[-1]
