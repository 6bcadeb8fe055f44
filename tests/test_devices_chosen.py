"""How many devices a processor counts as, and how many a call takes."""

import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from dreamjax import devices
from dreamjax.devices import choose_devices

GB = 1_000_000_000


@pytest.fixture
def eight(monkeypatch):
    found = [SimpleNamespace(platform="cpu") for _ in range(8)]
    monkeypatch.setattr(jax, "local_devices", lambda: found)
    return found


@pytest.mark.parametrize(
    "runs, weights, taken",
    [
        (1, 1, 1),
        (7, 1, 1),
        (8, 1, 2),
        (32, 1, 8),
        (300, 1, 8),
        (32, 550_000_000, 4),  # VGG16: copies take a tenth of the memory
        (32, 30 * GB, 1),
    ],
)
def test_a_call_takes_as_many_as_it_can_fill(eight, runs, weights, taken):
    found = choose_devices(None, runs, weights, 24 * GB)
    assert found == eight[:taken]


def test_an_accelerator_is_taken_whole(eight):
    for device in eight:
        device.platform = "gpu"
    assert choose_devices(None, 1, GB, GB) == eight


def test_what_the_caller_says(eight):
    assert choose_devices(3, 1, GB, GB) == eight[:3]
    for count in (0, 9):
        with pytest.raises(ValueError, match=rf"devices={count} .* 1 … 8 are here"):
            choose_devices(count, 1, 1, GB)


SPLIT = "import jax; from dreamjax.devices import split_cpu; split_cpu();" + (
    " print(jax.local_device_count())"
)


@pytest.mark.parametrize(
    "given, count",
    [
        ({}, min(devices.MOST, devices.PER_CORE * len(os.sched_getaffinity(0)))),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, 3),
        ({"JAX_NUM_CPU_DEVICES": "2"}, 2),
    ],
)
def test_a_processor_counts_as_several(given, count):
    env = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", *given)}
    env["JAX_PLATFORMS"] = "cpu"
    said = subprocess.run(
        [sys.executable, "-c", SPLIT],
        env=env | given,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert int(said) == count
