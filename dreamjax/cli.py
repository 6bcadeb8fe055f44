"""The command line: one line per error, and an exit status that scripts can use."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from dreamjax.devices import split_cpu
from dreamjax.interrupt import Interrupted
from dreamjax.memory import keep_memory

BAD_INPUT, STOPPED = 2, 130


def launch(main: Callable[[list[str]], int]) -> None:
    """Parses the flags and runs `main(arguments)`, the words that are no flags.

    A ValueError is bad input: one line on stderr, status 2. An interrupted run says
    how to go on, status 130. Anything else is a bug and keeps its traceback.
    """

    def guarded(arguments: list[str]) -> int:
        try:
            return main(arguments[1:])
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return BAD_INPUT
        except Interrupted as stopped:
            print(stopped, file=sys.stderr)
            return STOPPED

    keep_memory()
    split_cpu()
    app.run(guarded, flags_parser=parse_flags)


PARSING = (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError)
"""What ml_collections raises for a misspelt key, a value of another type, no file."""


def parse_flags(arguments: Sequence[str]) -> list[str]:
    """Returns what is left of the command line; exits with 2 where it is wrong."""
    with _one_line():
        return flags.FLAGS(list(arguments))


def config_flag(default: str) -> flags.FlagHolder:
    """Defines `--config`, a file with `:variant`, and `--config.key` for each key.

    ml_collections applies overrides of the default here already.
    """
    with _one_line():
        return config_flags.DEFINE_config_file(
            "config", default, "Config file, with :quicktest for a toy size."
        )


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except PARSING as error:
        said = str(error).replace("\\n", " ").replace("\\'", "'")
        key = said.strip("\"'")
        if key.isidentifier():  # all that ml_collections says where nothing is near
            said = f"config.{key} is no key; hyperparameters are config.hparams.NAME"
        print(f"error: {' '.join(said.split())}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def given_config(flag: flags.FlagHolder) -> ConfigDict:
    """Returns the config of a `DEFINE_config_file` flag.

    Raises:
      ValueError: the file is missing; ml_collections says so at the first use only.
    """
    try:
        list(flag.value)  # a file that failed to load fails here, not when read
        return flag.value
    except OSError as error:
        raise ValueError(f"--{flag.name}: {' '.join(str(error).split())}") from error


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
