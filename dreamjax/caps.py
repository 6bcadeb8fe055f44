"""The most that a config may ask for, counted before anything of it is made.

A misplaced exponent, or a recipe from elsewhere, should cost one line and no memory.
Who means it raises a cap, by the environment variable DREAMJAX_CAPS:

    DREAMJAX_CAPS='runs=100000, steps=1e9' python -m experiments.visualize …

It is a variable and no key of the config, so that no recipe raises its own.
"""

import math
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from dreamjax.errors import choose, require

VARIABLE = "DREAMJAX_CAPS"

CAPS: Mapping[str, int] = MappingProxyType(
    {
        "runs": 20_000,  # of one sweep: a product of tuples times its draws
        "steps": 10_000_000,  # of one run, or of one octave
        "batch": 10_000,  # images of one run
        "pixels": 200_000_000,  # height × width × images of one run, and of a view
        "side": 32_768,  # pixels along one side of an image or a view
        "channels": 4096,  # of an image
        "draws": 100_000,  # of the transforms, for the final score
        "octaves": 64,  # of a dream
        "frames": 1_000_000,  # of a film
        "list": 1_000_000,  # entries of a list, such as image_steps
        "transforms": 100,  # of images, or of gradients, one after the other
        "text": 20_000,  # characters of an objective, a list of transforms, a name
        "file": 1_000_000_000,  # bytes of a file that a config or a recipe names
    }
)
"""What is counted -> the most of it, unless DREAMJAX_CAPS says another."""


def cap(name: str) -> int:
    """Returns the most of something that may be asked for.

    Raises:
      ValueError: DREAMJAX_CAPS names another thing, or gives no number.
    """
    return _raised().get(name, CAPS[name])


def check_cap(count: float, name: str) -> None:
    """Raises ValueError where more is asked for than the cap of `name` allows."""
    most = cap(name)
    if count > most:
        raise ValueError(
            f"{told(count)} is above the cap on {name}, {most:,};"
            f" {VARIABLE}='{name}=…' raises it"
        )


def require_cap(argument: str, value: Any, count: float, name: str) -> None:
    """Raises ValueError where more is asked for than the cap allows.

    Args:
      argument: of the config.
      value: as it is given.
      count: how many of `name` that makes.
      name: of `CAPS`.
    """
    try:
        check_cap(count, name)
    except ValueError as error:
        raise ValueError(f"{argument}={value} is too much: {error}.") from None


def told(count: float) -> str:
    """Returns a count in few characters."""
    if isinstance(count, int) and count >= 10**15:
        return f"10^{int(math.log10(count))}"
    return f"{count:,.6g}" if isinstance(count, float) else f"{count:,}"


def _raised() -> dict[str, int]:
    found = {}
    for part in os.environ.get(VARIABLE, "").replace(";", ",").split(","):
        if not part.strip():
            continue
        name, _, number = (piece.strip() for piece in part.partition("="))
        choose(VARIABLE, name, CAPS)
        try:
            most = float(number)
        except ValueError:
            most = math.nan
        require(1 <= most < math.inf, f"{VARIABLE}: {name}", number, "a number from 1")
        found[name] = int(most)
    return found
