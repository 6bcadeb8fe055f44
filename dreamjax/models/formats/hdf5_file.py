"""Reads the HDF5 files of Keras weights: "<layer>/<index of the weight>" -> array.

* Legacy, `.h5`: the root, or `model_weights` in the file of a whole model, lists its
  layers in `layer_names`, each layer its weights in `weight_names`. The names of the
  datasets changed between versions (`block1_conv1_W_1:0`, `kernel:0`, `kernel`), the
  order of a layer's weights never did: so it is what counts here.
* Keras 3, `.weights.h5`: `layers/conv2d/vars/0`. Keras names the layer after its class
  there, and nests: `layers/bidirectional/forward_layer/cell/vars/0` is
  "bidirectional/forward_layer/cell/0". The optimizer is left out.

Random damage to a file that Keras wrote makes a walk through it with the HDF5 library
(2.0.0) run forever or crash about once in 300 files, and no check before the call
prevents that. So the library runs in a process of its own, `hdf5_child`, with a limit
on memory and time, and hands the arrays over in a file.
"""

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dreamjax.json_file import loads
from dreamjax.models.formats.refuse import (
    add,
    byte_limit,
    first_bytes,
    map_file,
    reading,
    short,
)

_CHILD = Path(__file__).with_name("hdf5_child.py")
# A good file takes a fifth of a second to start and one per 200 MB.
_SECONDS = 30
_BYTES_PER_SECOND = 1 << 23
_ENVIRONMENT = {
    "HDF5_PLUGIN_PRELOAD": "::",  # loads no filter from a shared library
    "OPENBLAS_NUM_THREADS": "1",  # numpy starts faster, and in less memory
}


def read_hdf5_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the weights of a Keras model's HDF5 file.

    Args:
      path: a `.h5` or `.weights.h5` file, of weights or of a whole model.

    Returns:
      "<layer>/<i>" -> array, i counting the layer's weights in Keras' order (for a
      convolution 0 is the kernel, 1 the bias); weights that belong to no layer of a
      Keras 3 model are "<i>". A layer's name may have slashes.

    Raises:
      ValueError: naming the file and what is wrong with it: it is absent, damaged, no
        HDF5 file, holds no weight, two of one name, arrays much larger than the file,
        types that are no number, filters but gzip, shuffle and lzf, or links to other
        places; or the HDF5 library crashed on it, or did not come to an end.
    """
    with reading(path, "an HDF5 file of Keras weights (.h5 or .weights.h5)"):
        data = map_file(path)
        if data[:8] != b"\x89HDF\r\n\x1a\n":
            raise ValueError(first_bytes(data[:64]))
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "arrays"
            report = _run_child(Path(path).absolute(), output, len(data))
            return _arrays(report, output)


def _run_child(path: Path, output: Path, size: int) -> list:
    """Runs `hdf5_child`; returns its list of (name, dtype, shape)."""
    seconds = _SECONDS + size // _BYTES_PER_SECOND
    arguments = (path, output, byte_limit(size), seconds)
    try:
        child = subprocess.run(
            [sys.executable, "-P", str(_CHILD), *map(str, arguments)],
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(
            f"the HDF5 library did not end in {seconds} s: the file is damaged."
        ) from error
    if child.returncode:
        last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ValueError(
            "the HDF5 library crashed on it: the file is damaged (exit code"
            f" {child.returncode}, {short(last)})."
        )
    report = loads(child.stdout)
    if "error" in report:
        raise ValueError(report["error"])
    return report["arrays"]


def _arrays(report: list, output: Path) -> dict[str, np.ndarray]:
    if not report:
        raise ValueError("it holds no weights of Keras.")
    arrays: dict[str, np.ndarray] = {}
    with output.open("rb") as file:
        for name, dtype, shape in report:
            values = np.fromfile(file, dtype, math.prod(shape))
            add(arrays, name, values.reshape(shape))
    return arrays
