"""A folder of results: who writes to it, and what it is of."""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamjax.config import LATER
from dreamjax.files import REFUSED, open_lock, sweep, write_text
from dreamjax.identity import KEY, UNRECORDED, Identity, changes, from_json
from dreamjax.json_file import anything, mapped, read_json, record
from dreamjax.terminal import tell, warn

CONFIG = "config.json"
SCHEMA = record({}, {"hparams": mapped(anything)})
REMEDY = "Bring back what was there, give another folder, or delete this one."

FOLDERS = (
    "checkpoints",
    "frames",
    "kept",
    "metrics",
    "pictures",
    "plots",
    "results",
    "runs",
    "states",
)
"""Subfolders of a workdir that commands write files into."""

_HELD: set[tuple[Path, int, int, int]] = set()
"""Folder, thread, process and processes of what this process holds."""


WRITTEN = (
    "before_after.png",
    "checkpoints/block_*.npz",
    "env.json",
    "film.gif",
    "film.mp4",
    "frames/*.png",
    "frames/next.npz",
    "index.html",
    "look.html",
    "metrics.csv",
    "metrics.jsonl",
    "metrics/block_*.jsonl",
    "out.gif",
    "out.mp4",
    "photo.png",
    "plan.json",
    "results/block_*.npz",
    "runs/run_*.png",
    "seeds.json",
    "sheet.png",
    "state.npz",
    "states/block_*.npz",
    "strip.png",
    "summary.csv",
    "summary.json",
)
"""Files that commands write into a workdir, after its config.json."""


@contextlib.contextmanager
def locked(workdir: Path, process: int = 0, processes: int = 1) -> Iterator[None]:
    """Holds the workdir; the lock goes with the process, however it ends.

    Temporary files that a killed process left in it are removed. The processes of one
    job share the folder, and each of them is in it once. What holds a folder may call
    what locks it too, in the same thread.

    Args:
      workdir: the folder; made if missing.
      process, processes: of a job of several (`dreamjax.hosts`).

    Raises:
      ValueError: another process holds it, or the path is not a folder.
    """
    if workdir.exists() and not workdir.is_dir():
        raise ValueError(f"workdir={str(workdir)!r} is a file, not a folder.")
    workdir.mkdir(parents=True, exist_ok=True)
    mine = (workdir.resolve(), threading.get_ident(), process, processes)
    if processes == 1 and mine in _HELD:
        yield
        return
    with contextlib.ExitStack() as stack:
        held = fcntl.LOCK_EX if processes == 1 else fcntl.LOCK_SH
        wanted = [(workdir / ".lock", held)]
        if processes > 1:
            wanted.append((_lock_of(workdir, process), fcntl.LOCK_EX))
        for path, kind in wanted:
            try:
                file = stack.enter_context(open_lock(path))
            except OSError as error:
                if error.errno not in REFUSED or os.access(workdir, os.W_OK):
                    raise
                continue  # what nobody can write can be read by many
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"workdir={str(workdir)!r} is in use by another process: wait for"
                    " it, or give another folder."
                ) from None
            except OSError as error:  # a file system without locks
                warn(
                    f"{str(path)!r} cannot be locked ({error.strerror}): let"
                    " one command at a time use the folder."
                )
        sweep(workdir, *(workdir / name for name in FOLDERS))
        if processes > 1:
            announce(workdir, process, "")
        _HELD.add(mine)
        try:
            yield
        finally:
            _HELD.discard(mine)


def announce(workdir: Path, process: int, text: str) -> None:
    """Tells the other processes of a job what this one, which holds it, works on."""
    # In place: a file of another name would not be the one that is locked.
    _lock_of(workdir, process).write_text(text, encoding="utf-8")


def announced(workdir: Path, process: int) -> str:
    """Returns what a process of a job told last; '' where it told nothing."""
    path = _lock_of(workdir, process)
    return path.read_text(encoding="utf-8") if path.exists() else ""


def is_running(workdir: Path, process: int) -> bool:
    """Tells whether that process of a job of several holds the workdir."""
    with open_lock(_lock_of(workdir, process)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _lock_of(workdir: Path, process: int) -> Path:
    return workdir / f".lock_{process}"


def claim(
    workdir: Path,
    identity: Identity,
    free: Sequence[str] = (),
    report: Callable[[str], None] = tell,
) -> None:
    """Writes config.json, or checks that what is there is of the same work.

    Call it before anything in the folder is called finished, or used again.

    Args:
      workdir: the folder.
      identity: the config, and which networks, pictures and code it means.
      free: keys ("steps", or "hparams" for all below) that may differ from those
        there; the file then gets the new ones. Files that only one of both has are
        left to the config too.
      report: takes a line where the folder does not say what it is of.

    Raises:
      ValueError: the workdir holds another config, or is of another network, picture
        or code; what differs is named, with both values.
    """
    old = check_claim(workdir, identity, free)
    path = workdir / CONFIG
    if path.exists() and old is None:
        report(
            f"{workdir}: which weights, pictures and code it was made with is"
            f" {UNRECORDED}; from now on it is."
        )
    if old is not None:
        identity = identity._replace(files={**old.files, **identity.files})
    wanted = as_json(identity.as_json())
    if path.exists() and not os.access(workdir, os.W_OK):
        return  # it is of this work, and can only be read
    if not path.exists() or path.read_text(encoding="utf-8") != wanted:
        write_text(path, wanted)


def check_claim(
    workdir: Path, identity: Identity, free: Sequence[str] = ()
) -> Identity | None:
    """Raises ValueError where `claim` would; writes nothing.

    Returns:
      The identity that the folder has, None where it has none.
    """
    path = workdir / CONFIG
    if not path.exists():
        _check_free(workdir)
        return None
    found = read_json(path, "config", schema=SCHEMA, remedy=REMEDY, nan=True)
    try:
        old = from_json(found)
    except ValueError as error:
        raise ValueError(
            f"config {str(path)!r} is damaged ({error}). {REMEDY}"
        ) from error
    found.pop(KEY, None)
    found = {n: v for n, v in LATER.items() if n in identity.config} | found
    lines = [
        line
        for name, line in differing(found, json.loads(as_json(identity.config))).items()
        if name.split(".")[0] not in free
    ]
    if lines:
        raise ValueError(
            f"workdir={str(workdir)!r} holds another config: {'; '.join(lines[:8])}."
            " Give another folder, or delete this one."
        )
    lines = [] if old is None else changes(old, identity)
    if lines:
        raise ValueError(
            f"workdir={str(workdir)!r} was made with something else:"
            f" {'; '.join(lines[:8])}. Bring back what was there, give another folder,"
            " or delete this one."
        )
    return old


def _check_free(workdir: Path) -> None:
    """Raises ValueError where a folder without config.json has files like ours.

    They are somebody's, and would be replaced.
    """
    for pattern in WRITTEN:
        for path in workdir.glob(pattern):
            raise ValueError(
                f"workdir={str(workdir)!r} has no {CONFIG}, but a"
                f" {path.relative_to(workdir).as_posix()!r} that would be replaced."
                " Give an empty or a new folder."
            )


def as_json(config: Mapping[str, Any]) -> str:
    """Returns a config as the text that is compared."""
    return json.dumps(config, indent=2, sort_keys=True)


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Returns key -> "key: this there, that now" for all keys that differ."""
    old, new = _flat(old), _flat(new)
    return {
        name: f"{name}: {old.get(name)!r} there, {new.get(name)!r} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
