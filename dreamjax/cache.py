"""The persistent compile cache: the second start of a program skips its compile."""

import os
from pathlib import Path

import jax


def cache_folder() -> Path:
    """Returns DREAMJAX_CACHE, or `dreamjax` under the user's cache folder."""
    given = os.environ.get("DREAMJAX_CACHE")
    if given is not None:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    return Path(base) / "dreamjax"


def use_compile_cache() -> Path:
    """Turns the persistent compile cache on, for every program; returns its folder."""
    folder = cache_folder() / "xla"
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder
