"""A sweep costs no more than it did: counts, without a clock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.guard import grown

REPO = Path(__file__).resolve().parent.parent


def counted(**changes):
    programs = {"channel": {"flops": 100.0, "bytes": 100.0, "peak": 100.0}}
    found = {
        "jaxlib": "1",
        "backend": "cpu",
        "cores": 2,
        "sweep": {"compiles": 5, "fetches": 9},
        "programs": programs,
    }
    return {**found, **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"sweep": {"compiles": 4, "fetches": 9}}, []),
        ({"sweep": {"compiles": 6, "fetches": 9}}, ["sweep, compiles: 6, before 5"]),
        (
            {"programs": {"channel": {"flops": 109.0, "bytes": 120.0, "peak": 90.0}}},
            ["channel, bytes: 120, before 100"],
        ),
        ({"jaxlib": "2", "programs": {}}, []),
        ({"cores": 8, "programs": {}, "sweep": {"compiles": 7, "fetches": 9}}, []),
        ({"cores": 8, "sweep": {"fetches": 10}}, ["sweep, fetches: 10, before 9"]),
    ],
)
def test_only_growth_is_told(changes, said):
    assert grown(counted(**changes), counted()) == said


def test_nothing_has_grown():
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.guard"],
        cwd=REPO,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "nothing has grown" in done.stdout
