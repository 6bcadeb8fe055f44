"""What is printed: at once, and nothing that moves a cursor by itself."""

import errno
import io
import os
import sys

from dreamjax.errors import printable

UP = "\x1b[A"
"""The one escape sequence that is written: progress bars below each other."""


class Terminal(io.TextIOWrapper):
    """A text stream that shows control characters, and outlives its terminal.

    Each line is flushed, into a file too. When the terminal has gone (SIGHUP) the rest
    is dropped, so that the work can be saved.
    """

    kept = "\n\t"

    def write(self, text: str) -> int:
        """Writes a text; returns its length."""
        try:
            super().write(printable(text, self.kept).replace(repr(UP)[1:-1], UP))
        except OSError as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Hands on what is buffered."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Sends everything from here on nowhere.

        Raises:
          OSError: `error`, where it is not that the terminal has gone.
        """
        if error.errno != errno.EIO:
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


class _WithBars(Terminal):
    kept = "\n\t\r"


def use_terminals() -> None:
    """Makes stdout and stderr `Terminal`s, once, where they are Python's own."""
    for name, kind in (("stdout", Terminal), ("stderr", _WithBars)):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            shown = kind(
                stream.buffer,
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=True,
            )
            setattr(sys, name, shown)


def tell(text: str) -> None:
    """Prints a line at once, with control characters shown."""
    print(printable(text, keep="\n\t"), flush=True)


def warn(text: str) -> None:
    """Prints a line on stderr at once, with control characters shown."""
    print(f"warning: {printable(text)}", file=sys.stderr, flush=True)
