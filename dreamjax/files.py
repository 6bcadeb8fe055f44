"""Files that are whole or absent: written under a temporary name, then renamed."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomic_open(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Opens a temporary file beside `path`; on success syncs and renames it to `path`.

    On an exception `path` keeps what it held and the temporary file is removed.
    """
    encoding = None if "b" in mode else "utf-8"
    with (
        _temporary(Path(path), suffix="") as name,
        name.open(mode, encoding=encoding) as file,
    ):
        yield file


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives the path of an empty temporary file beside `path`, with the same suffix.

    For writers that want a name and not a file. On success it is synced and renamed to
    `path`; on an exception `path` keeps what it held and the temporary file is removed.
    """
    with _temporary(Path(path), suffix=Path(path).suffix) as name:
        yield name


@contextlib.contextmanager
def _temporary(path: Path, *, suffix: str) -> Iterator[Path]:
    """Gives an empty file beside `path` that takes its place in the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{path.name}.", suffix=suffix, dir=path.parent
    )
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable; until then a power cut undoes a rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> Path:
    """Writes UTF-8 text atomically; returns the path."""
    with atomic_open(path, "w") as file:
        file.write(text)
    return Path(path)


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Writes bytes atomically; returns the path."""
    with atomic_open(path, "wb") as file:
        file.write(data)
    return Path(path)
