"""Which formulation of a layer is traced: that of the machine at hand.

XLA:CPU is slow where accelerators are fast, and the other way round. The choice is made
when a program is traced; `jax.lax.platform_dependent` would trace both, which doubles
the time to the first picture, and brings nothing to a program that is compiled where it
was traced.
"""

from collections.abc import Callable

import jax


def on_cpu() -> bool:
    """Returns whether programs run on a CPU: JAX's default device, or its backend."""
    device = jax.config.jax_default_device
    if device is None:
        return jax.default_backend() == "cpu"
    return getattr(device, "platform", device) == "cpu"


def by_platform(*args, cpu: Callable, default: Callable):
    """Returns `cpu(*args)` on a CPU, and `default(*args)` elsewhere."""
    return cpu(*args) if on_cpu() else default(*args)
