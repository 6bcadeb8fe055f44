"""What is said while a program is compiled, and estimates that leave that time out."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable

from tqdm import tqdm

from dreamjax.interrupt import nothing_to_save

SILENT = 1.0
"""Seconds that a compile may take before it is spoken of."""

EVERY = 30.0
"""Seconds between lines about a compile, where there is no terminal to count them."""


class Compiling:
    """Says that a program is being compiled, and for how long; a context manager.

    In a terminal one line counts the seconds, else a line is reported now and then.
    Until it ends a request to stop ends a command at once: nothing is to be saved yet.
    """

    def __init__(self, report: Callable[[str], None], what: str = "compiling"):
        """Takes where lines go without a terminal, and what is going on."""
        self._report, self._what = report, what
        self._over = threading.Event()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Compiling":
        self._stack.enter_context(nothing_to_save())
        ticker = threading.Thread(target=self._tick, daemon=True)
        ticker.start()
        self._stack.callback(ticker.join)
        self._stack.callback(self._over.set)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self, bar: tqdm | None = None) -> None:
        """Ends it, for the first time that it is called.

        Args:
          bar: a progress bar whose clock does not count this time.
        """
        if not self._over.is_set():
            self._stack.close()
            if bar is not None:
                bar.unpause()

    def _tick(self) -> None:
        start, wait = time.monotonic(), SILENT
        terminal = sys.stderr.isatty()
        while not self._over.wait(wait):
            text = f"{self._what} … {time.monotonic() - start:.0f} s"
            try:
                if terminal:
                    print(f"\r{text}", end="", file=sys.stderr, flush=True)
                else:
                    self._report(text)
            except OSError:  # nobody reads any more: the command's next line ends it
                return
            wait = 1.0 if terminal else EVERY
        if terminal and wait == 1.0:
            print(f"\r{' ' * (len(self._what) + 12)}\r", end="", file=sys.stderr)
