"""Settings for every test: ranks must match, and programs compile fast.

Most of a test's time is XLA compiling; without LLVM's optimizations it takes a third.
Tests that are about the optimized program start a process of their own.
"""

import os

FAST_COMPILE = "--xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FAST_COMPILE}".strip()

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
