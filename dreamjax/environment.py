"""What a run ran on: versions, device, commit."""

import importlib.metadata
import json
import os
import platform
import subprocess
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


def write_environment(workdir: Path) -> None:
    """Writes `env.json` into a workdir; keeps that of one that can only be read."""
    if (workdir / "env.json").exists() and not os.access(workdir, os.W_OK):
        return
    text = json.dumps(environment(), indent=2, sort_keys=True)
    write_text(workdir / "env.json", text)
