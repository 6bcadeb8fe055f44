"""Readers of pretrained-weight files; none needs the framework that wrote the file.

Each reads a path into a dict name -> array and executes nothing from the file. What is
missing, damaged, of another kind or malicious gives one ValueError that names the file
and what is wrong. Bytes changed inside plain numbers go unnoticed in a format without
checksums: a hash of the file is checked elsewhere.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dreamjax.models.formats.caffe_file import read_caffe_file
from dreamjax.models.formats.graphdef_file import read_graphdef_file
from dreamjax.models.formats.hdf5_file import read_hdf5_file
from dreamjax.models.formats.npz_file import read_npz_file
from dreamjax.models.formats.safetensors_file import read_safetensors_file
from dreamjax.models.formats.torch_file import read_torch_file

FORMATS: dict[str, Callable[[str | Path], dict[str, np.ndarray]]] = {
    "torch": read_torch_file,
    "safetensors": read_safetensors_file,
    "hdf5": read_hdf5_file,
    "caffe": read_caffe_file,
    "graphdef": read_graphdef_file,
    "npz": read_npz_file,
}
