"""The persistent compile cache: the second start of a program skips its compile."""

import os
import warnings
from pathlib import Path

import jax

from dreamjax.errors import os_error_text
from dreamjax.paths import cache_home, given_variable
from dreamjax.terminal import warn


def cache_folder() -> Path:
    """Returns DREAMJAX_CACHE, or `dreamjax` in the user's folder for caches.

    Raises:
      ValueError: DREAMJAX_CACHE holds no path.
    """
    given = given_variable("DREAMJAX_CACHE")
    return cache_home() / "dreamjax" if given is None else given


def use_compile_cache() -> Path | None:
    """Turns the persistent compile cache on, for every program; returns its folder.

    Where the folder cannot be made that is said, None is returned, and programs are
    compiled anew. One that can only be read is read.
    """
    folder = cache_folder() / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.scandir(folder).close()
    except OSError as error:
        said = f"no compile cache: {os_error_text(error)}"
        warn(f"{said}; programs are compiled anew.")
        return None
    if not os.access(folder, os.W_OK):
        said = f"{str(folder)!r} cannot be written: new programs are not kept."
        warn(said)
    # JAX warns of each program that it cannot keep or read, and compiles it.
    about = "Error (reading|writing) persistent compilation cache entry"
    warnings.filterwarnings("ignore", message=about)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return folder
