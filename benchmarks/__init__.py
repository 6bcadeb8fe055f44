"""Comparisons with PyTorch; the only code that imports it.

PyTorch's OpenMP threads spin between calls unless told not to. In one process with
JAX, on two busy cores, a spinning PyTorch took 182 ms per image-gradient and a passive
one 12; so passive it is here, before torch is imported, unless the caller has chosen.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
