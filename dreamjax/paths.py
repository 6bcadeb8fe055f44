"""Paths that a user gives: flags, config keys, arguments, environment variables."""

import functools
import os
import stat
import tempfile
from pathlib import Path

from dreamjax.errors import require


def given_path(argument: str, value: str | Path) -> Path:
    """Returns a path that a user gave, its `~` or `~name` as a home folder.

    A relative path stays relative, to the current folder.

    Args:
      argument: the name of the flag, key or argument, for what is said.
      value: the path.

    Raises:
      ValueError: no path: empty, with a NUL in it, of another type; or a home folder
        that is not known.
    """
    is_path = isinstance(value, str | os.PathLike)
    require(is_path, argument, value, "give a path, as text")
    text = os.fspath(value)
    require(isinstance(text, str), argument, value, "give a path, as text")
    require(text.strip() != "", argument, value, 'give a path ("." is this folder)')
    require("\0" not in text, argument, value, "a path has no NUL in it")
    if not text.startswith("~"):
        return Path(value)
    user, _, rest = text[1:].partition(os.sep)
    home = _home(user)
    known = "no such user" if user else "no home folder is known; give the whole path"
    require(home is not None, argument, value, known)
    return Path(home) / rest.lstrip(os.sep)


def given_variable(name: str) -> Path | None:
    """Returns the path in an environment variable; None where it is unset or empty.

    Raises:
      ValueError: as `given_path`.
    """
    value = os.environ.get(name)
    return None if not value else given_path(name, value)


def cache_home() -> Path:
    """Returns the folder for caches: XDG_CACHE_HOME, or `.cache` in the home folder.

    Where no home folder is known it is a folder of this user's among the temporary
    files, which nobody else may write to.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # others have to be ignored, says the standard
        return Path(given)
    home = _home("")
    return _homeless() if home is None else Path(home) / ".cache"


def _home(user: str) -> str | None:
    """Returns a user's home folder, '' is one's own; None where it is not known."""
    if not user and os.path.isabs(os.environ.get("HOME", "")):
        return os.environ["HOME"]
    try:
        import pwd

        entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())
    except (ImportError, KeyError, ValueError):
        return None
    return entry.pw_dir if os.path.isabs(entry.pw_dir) else None


@functools.cache
def _homeless() -> Path:
    folder = Path(tempfile.gettempdir()) / f"dreamjax-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
        own = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
        if own and not about.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="dreamjax-"))
