"""Settings for every test: ranks must match, programs compile fast, work is shared out.

Most of a test's time is XLA compiling. Without LLVM's optimizations, without the newer
emitters of fused loops and in one LLVM module a program takes a quarter of it. Tests
that are about the optimized program start a process of their own.
"""

import gc
import os
import signal

FAST_COMPILE = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FAST_COMPILE])

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
# Tracing makes many objects that live: a young collection after every 700 is in vain.
gc.set_threshold(200_000, 50, 100)
# A suite that is begun under nohup ignores SIGHUP, and so would all that it starts.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

LONG = ("test_parity", "test_figures", "test_deepdream", "test_cli", "test_devices")
"""Files that take long: they are begun first, so that no worker is left with one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups the tests for `--dist loadgroup`: what shares a program shares a worker.

    A file is a group; of the networks' parity each architecture is one.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    items.sort(key=lambda item: item.path.stem not in LONG)


def group_of(item: pytest.Item) -> str:
    """Returns the name of the group that a test is run with."""
    given = getattr(item, "callspec", None)
    if item.path.stem == "test_parity" and given is not None:
        return f"test_parity {given.params['name'].split('.')[0]}"
    return item.path.stem
