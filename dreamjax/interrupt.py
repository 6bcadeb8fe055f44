"""Stopping on request: what Ctrl-C, SIGTERM and SIGHUP (a lost terminal) do.

A command `watch`es from its first moment to its last. A thread of its own is told of
each signal, even while the main thread is inside a compile, and answers at once:

* while a loop is at work that has something to save (`stop_requests`) it says so, and
  the loop stops after the step in flight;
* elsewhere, and at a second signal, the process ends there and then. Files are whole or
  absent (`dreamjax.files`), so nothing that was finished is lost.

Either way the exit status is `STOPPED`. Programs that call the library keep their own
handlers, except while a loop is at work.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

STOPPED = 130
"""Exit status of a command that was asked to stop, by whatever signal."""

REQUESTS = {
    signal.SIGINT: "Ctrl-C",
    signal.SIGTERM: "SIGTERM",
    signal.SIGHUP: "SIGHUP",
}

HASTE = 0.5
"""Seconds within which further signals count as the first one: a terminal that closes
and a batch system often send several."""

GO_ON = "stopped; the same command goes on from here."


class Interrupted(Exception):
    """The work was stopped from outside; everything up to here is saved."""


class _State:
    """What the process was asked for, and what it is doing."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.watched = False
        self.loops: list[list[int]] = []  # one per `stop_requests`, the inner one last
        self.unsaved = 0  # how deep in `nothing_to_save`
        self.first: float | None = None  # when the first request came


_state = _State()


def watch() -> None:
    """Answers signals from here to the end of the process; may be called again.

    Does nothing outside the main thread. SIGHUP stays ignored where it was (nohup).
    """
    if _state.watched or threading.current_thread() is not threading.main_thread():
        return
    _state.watched = True
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    signal.set_wakeup_fd(sink, warn_on_full_buffer=False)
    for number in _taken():
        signal.signal(number, _nothing)
    threading.Thread(target=_listen, args=(source,), daemon=True).start()


@contextlib.contextmanager
def stop_requests(*, raises: bool = True) -> Iterator[list[int]]:
    """Collects requests to stop in a list, for a loop that looks at it.

    An exception inside a donated call would lose the state that is being saved.

    Args:
      raises: raise `Interrupted` at the end where there was a request that the loop,
        which was at its last step, did not act on.

    Raises:
      Interrupted: see `raises`.
    """
    asked: list[int] = []
    with _state.lock:
        _state.loops.append(asked)
    old = {} if _state.watched else _handled(asked)
    try:
        yield asked
    finally:
        with _state.lock:
            _state.loops.remove(asked)
        for number, handler in old.items():
            signal.signal(number, handler)
        if not _state.watched:
            _state.first = None
    if asked and raises:
        raise Interrupted(GO_ON)


@contextlib.contextmanager
def nothing_to_save() -> Iterator[None]:
    """Marks a part of a loop where a command may end at once, such as a compile.

    Raises:
      Interrupted: there is a request already.
    """
    with _state.lock:
        if any(_state.loops):
            raise Interrupted(GO_ON)
        _state.unsaved += 1
    try:
        yield
    finally:
        with _state.lock:
            _state.unsaved -= 1


def _taken() -> list[int]:
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [n for n in REQUESTS if not (n == signal.SIGHUP and ignored)]


def _nothing(number: int, frame: Any) -> None:
    """Takes a signal in the main thread, where nothing is to be done about it."""


def _listen(source: int) -> None:
    """Answers the signals whose numbers Python writes into a pipe."""
    while True:
        for number in os.read(source, 64):
            if number in REQUESTS and not _answered(number):
                os._exit(STOPPED)


def _answered(number: int) -> bool:
    """Passes a request on to the loops at work; False where the process has to end."""
    name, now = REQUESTS[signal.Signals(number)], time.monotonic()
    with _state.lock:
        if _state.first is not None:
            return now - _state.first < HASTE
        _state.first = now
        if not _state.loops or _state.unsaved:
            _say(f"{name}: stopped. The same command goes on from what is saved.")
            return False
        _say(f"{name}: stopping when what is in flight is saved; again: at once.")
        for asked in _state.loops:
            asked.append(number)
        return True


def _say(text: str) -> None:
    """Writes a line on stderr, past every buffer and lock; a terminal may be gone."""
    with contextlib.suppress(OSError):
        lead = "\n" if os.isatty(2) else ""  # below a progress bar
        os.write(2, f"{lead}{text}\n".encode())


def _handled(asked: list[int]) -> dict[int, Any]:
    """Takes the signals of a program that does not `watch`; returns its handlers."""

    def ask(number: int, frame: Any) -> None:
        now = time.monotonic()
        if not asked:
            _state.first = now
            asked.append(number)
        elif now - (_state.first or now) >= HASTE:
            raise KeyboardInterrupt

    try:
        return {number: signal.signal(number, ask) for number in _taken()}
    except ValueError:  # not the main thread: signals are the caller's business
        return {}
