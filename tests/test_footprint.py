"""Memory figures: of programs, of what fits, and of hosts and containers."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.footprint import (
    container_memory,
    footprint,
    free_memory,
    host_memory,
    runs_that_fit,
    tree_bytes,
)

GB = 1 << 30


class Says:
    """A compiled program, or a device, as a backend without figures has it."""

    def memory_analysis(self):
        return None

    def memory_stats(self):
        return {"bytes_limit": 10 * GB, "bytes_in_use": 3 * GB}


def test_footprint_of_a_donating_program():
    x = jnp.zeros((1000,))
    run = jax.jit(lambda x, y: x + jnp.sum(y), donate_argnums=0)
    found = footprint(run.lower(x, jnp.zeros((10, 10))).compile())
    assert found.arguments == 4000 + 400
    assert found.outputs >= 4000 and 4000 <= found.aliased <= found.outputs
    inner = found.arguments + found.outputs - found.aliased
    assert found.peak == inner + found.temporaries
    assert footprint(Says()) is None


def test_tree_bytes():
    tree = {
        "a": np.zeros((2, 3), np.float32),
        "b": jax.ShapeDtypeStruct((5,), jnp.bfloat16),
        "c": jax.random.key(0),  # two words of 32 bits
    }
    assert tree_bytes(tree) == 24 + 10 + 8


def test_runs_that_fit_by_hand():
    # 10 for the weights and 5 for each run: (0.8 · 100 - 10) / 5 = 14.
    assert runs_that_fit(30, 4, 100, 10) == 14
    assert runs_that_fit(30, 4, 100, 10, margin=1.0) == 18
    assert runs_that_fit(30, 4, 10, 10) == 0
    for bad in ((30, 0, 100, 10), (30, 4, 100, 30), (30, 4, 100, -1)):
        with pytest.raises(ValueError, match="is not possible"):
            runs_that_fit(*bad)
    with pytest.raises(ValueError, match="margin"):
        runs_that_fit(30, 4, 100, 10, margin=0.0)


def test_an_accelerator_counts_itself():
    assert free_memory(Says()) == 7 * GB
    assert 0 < free_memory() < 1 << 50


def written(folder: Path, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def membership(tmp_path, text):
    path = tmp_path / "cgroup"
    path.write_text(text)
    return path


def test_the_second_version_of_control_groups(tmp_path):
    """The tightest of all groups above; files that are only cached count as free."""
    root = tmp_path / "fs"
    written(root / "a" / "b", memory__max="max", memory__current=GB)
    written(
        root / "a",
        memory__max=4 * GB,
        memory__current=3 * GB,
        memory__stat=f"anon 7\ninactive_file {GB}",
    )
    assert container_memory(root, membership(tmp_path, "0::/a/b\n")) == 2 * GB
    # In a container the path may be the host's: what is mounted at the root counts.
    written(root, memory__max=GB, memory__current=2 * GB)
    assert container_memory(root, membership(tmp_path, "0::/x/y\n")) == 0


def test_the_first_version_of_control_groups(tmp_path):
    root = tmp_path / "fs"
    names = {
        "memory__limit_in_bytes": 3 * GB,
        "memory__usage_in_bytes": 2 * GB,
        "memory__stat": f"inactive_file 1\ntotal_inactive_file {GB // 2}",
    }
    written(root / "memory" / "job", **names)
    inside = "5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n"
    assert container_memory(root, membership(tmp_path, inside)) == 3 * GB // 2


def test_no_limit_is_what_the_system_has(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable: 5 kB\n")
    nowhere = tmp_path / "nowhere"
    assert container_memory(nowhere, nowhere) is None
    assert host_memory(meminfo, nowhere, nowhere) == 5 * 1024
    assert host_memory(nowhere, nowhere, nowhere) > 1 << 20
    root = tmp_path / "fs"
    written(root, memory__max=3 * 1024, memory__current=0)
    inside = membership(tmp_path, "0::/\n")
    assert host_memory(meminfo, root, inside) == 3 * 1024
