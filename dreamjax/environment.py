"""What a run ran on: versions, device, commit."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from dreamjax.files import write_text

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "pillow",
    "ml-collections",
    "tensorboardX",
)


def versions() -> dict[str, str]:
    """Returns the versions of all that shapes a picture."""
    from dreamjax import __version__

    found = {"dreamjax": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit() -> str:
    """Returns the commit of the source tree, "-dirty" if changed, or "unknown"."""
    folder = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip() or "unknown"


def environment() -> dict[str, Any]:
    """Returns versions, machine, devices and the git commit."""
    devices = jax.devices()
    return {
        "versions": versions(),
        "backend": jax.default_backend(),
        "device": devices[0].device_kind,
        "devices": len(devices),
        "machine": platform.machine(),
        "system": platform.platform(),
        "git": git_commit(),
    }


UNKNOWN = {
    "versions": {},
    **dict.fromkeys(("backend", "device", "machine", "system", "git"), "unknown"),
    "devices": 0,
}
"""The environment of what does not tell its own."""


def environments(earlier: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns what a result was made on: earlier ones of its making, then this one.

    Args:
      earlier: of its checkpoint.
    """
    found, now = [dict(one) for one in earlier], environment()
    return found if found and found[-1] == now else [*found, now]


def provenance(
    made_on: Sequence[Mapping[str, Any]], identity: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Returns what a result keeps of how it was computed; it is never asked again.

    Args:
      made_on: `environments`, the last one finished it.
      identity: `Identity.digests` of what it is of.
      **more: what JSON can hold.
    """
    *earlier, last = made_on
    said = {"environment": last, "identity": identity, **more}
    return said | ({"earlier": earlier} if earlier else {})


def write_environment(workdir: Path, found: Sequence[Mapping[str, Any]]) -> None:
    """Writes `env.json`: what the results of a workdir were made on.

    Args:
      workdir: the folder.
      found: of its results, in order. The last is the file's; others that differ are
        in it under "earlier". None leaves a file that is there as it is.
    """
    different = []
    for one in found:
        different = [other for other in different if other != one] + [one]
    path = workdir / "env.json"
    if path.exists() and not (different and os.access(workdir, os.W_OK)):
        return  # also where it can only be read
    *earlier, last = different or [UNKNOWN]
    text = json.dumps(
        {**last, "earlier": earlier} if earlier else last, indent=2, sort_keys=True
    )
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
