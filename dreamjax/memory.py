"""The C library's memory: kept by the process, not given back after every step.

XLA's CPU programs allocate their temporaries anew at each call (75 MB for eight
128 px image-gradients of EfficientNet-Lite0), and glibc maps and unmaps blocks of that
size: 18,000 page faults per call, on a busy machine half of the time. Keeping them
makes a gradient up to 1.8 times as fast (docs/performance.md); the price is that the
process holds its peak.
"""

import ctypes
from collections.abc import Mapping

# Of glibc's mallopt.
ARENA_MAX, MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = -8, -4, -3, -1


def keep_memory() -> bool:
    """Tells glibc's malloc to keep freed memory; call before JAX has a backend.

    One arena (others are limited to 64 MB), no mmap for large blocks, no trimming.

    Returns:
      Whether it took effect; False where the C library is not glibc.
    """
    return _set({ARENA_MAX: 1, MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1})


def return_memory() -> bool:
    """Undoes `keep_memory`: large blocks go back to the system when they are freed.

    For pictures so large that memory counts more than time: the dream of 12 megapixels
    peaks at 3.5 GB with kept memory and at 2.3 GB without.

    Returns:
      Whether it took effect.
    """
    return _set({MMAP_MAX: 65536, MMAP_THRESHOLD: 1 << 25, TRIM_THRESHOLD: 1 << 27})


def _set(settings: Mapping[int, int]) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(name, value) == 1 for name, value in settings.items())
