"""Comparisons with PyTorch; the only code that imports it.

PyTorch's OpenMP threads wait for work by spinning. In one process with JAX, on two
cores, that decides who wins: spinning without end takes the cores from JAX's turn (8.6
ms per image-gradient instead of 6.2 alone), not spinning at all makes PyTorch wake its
threads for every operation (16.9 instead of 7.7). A spin of 100,000 rounds, about a
tenth of a millisecond, gives either side what it reaches alone in a process, so that
is what these comparisons set, before torch is imported, unless the caller has chosen.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "ACTIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "100000")
