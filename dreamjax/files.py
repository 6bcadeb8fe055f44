"""Files that are whole or absent: written under a temporary name, then renamed.

A temporary file is called `.dreamjax-<16 hex digits>.tmp`, then perhaps the suffix of
the file that it becomes. No other program uses such a name, so what a killed process
left can be told from everything else in a folder (`sweep`). While its writer lives it
holds a lock on it.
"""

import contextlib
import errno
import fcntl
import filecmp
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

TEMPORARY = re.compile(r"\.dreamjax-[0-9a-f]{16}\.tmp(\.[^.]+)?")
"""Names of temporary files; the whole name matches."""

REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What file systems say of a folder that may not be written."""

UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF)
"""What file systems say that cannot, or will not, sync a folder."""


@contextlib.contextmanager
def atomic_open(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Opens a temporary file beside `path`; on success syncs and renames it to `path`.

    On an exception `path` keeps what it held and the temporary file is removed. In a
    folder that may not be written it is no error to write what is there already.

    Raises:
      OSError: the file cannot be written; it names `path`.
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
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle, name = _created(path.parent, suffix)
        except OSError as error:
            if error.errno not in REFUSED or not path.is_file():
                raise
            with _compared(path, suffix, error) as elsewhere:
                yield elsewhere
            return
        try:
            yield name
            with open(name, "rb") as file:
                os.fsync(file.fileno())
            _move(name, path)
            sync_folder(path.parent)
        finally:
            os.close(handle)
    except BaseException as error:
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
        if isinstance(error, OSError) and _is_of(error, path.parent, name):
            code = errno.ENOTDIR if error.errno == errno.EEXIST else error.errno
            raise OSError(code, os.strerror(code), str(path)) from error
        raise


@contextlib.contextmanager
def _compared(path: Path, suffix: str, refusal: OSError) -> Iterator[Path]:
    """Gives an empty file elsewhere; what is written must be what `path` holds.

    So that what is finished can be reported again in a folder that may only be read.

    Raises:
      OSError: `refusal`, where it is something else.
    """
    with tempfile.TemporaryDirectory(prefix="dreamjax-") as folder:
        elsewhere = Path(folder) / f"file{suffix}"
        elsewhere.touch()
        yield elsewhere
        if not filecmp.cmp(elsewhere, path, shallow=False):
            raise refusal


def _created(folder: Path, suffix: str) -> tuple[int, Path]:
    """Makes a temporary file and locks it; returns its handle and its path."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    while True:
        name = folder / f".dreamjax-{secrets.token_hex(8)}.tmp{suffix}"
        handle = os.open(name, flags, 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink:  # else `sweep` was quicker than the lock
                return handle, name
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _move(name: Path, path: Path) -> None:
    """Renames a file; copies it where the file system cannot rename."""
    try:
        os.replace(name, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(name, path)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        os.unlink(name)


def _is_of(error: OSError, folder: Path, name: Path | None) -> bool:
    """Tells whether an error is of writing, and names nothing that a user knows."""
    if error.filename is None:
        return error.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EFBIG,
            errno.EROFS,
            errno.EIO,
        )
    return (
        str(error.filename) == str(name)
        or TEMPORARY.fullmatch(os.path.basename(str(error.filename))) is not None
        or str(error.filename) == str(folder)
    )


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable; until then a power cut undoes a rename."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written and not listed
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise
    finally:
        os.close(handle)


def sweep(*folders: Path) -> list[Path]:
    """Removes the temporary files that killed processes left in folders.

    Only files called like `TEMPORARY` go, and of these none whose writer still lives.
    Links of such a name are removed, never followed; subfolders are not entered. What
    cannot be removed stays, silently.

    Args:
      *folders: that belong to the caller. Those that are missing, or links, are
        skipped.

    Returns:
      The files removed.
    """
    removed = []
    for folder in folders:
        if folder.is_symlink():
            continue
        try:
            names = [name for name in os.listdir(folder) if TEMPORARY.fullmatch(name)]
        except OSError:
            continue
        for name in sorted(names):
            with contextlib.suppress(OSError):
                _remove_unlocked(folder / name)
                removed.append(folder / name)
    return removed


def _remove_unlocked(path: Path) -> None:
    """Removes a file that nobody holds, or a link.

    Raises:
      OSError: it is held, is something else, or cannot be removed.
    """
    if stat.S_ISLNK(path.lstat().st_mode):
        path.unlink()
        return
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(handle)


def open_lock(path: Path) -> IO[bytes]:
    """Opens a file to be locked, made if missing; what it holds is left alone.

    Raises:
      OSError: it cannot be opened; a link is not followed.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags, 0o666)
    return os.fdopen(handle, "r+b", buffering=0)


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
