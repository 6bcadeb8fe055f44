"""Makes `tests/vlfeat.npz`: what VLFeat's own HOG and dense SIFT say of a photo.

    python -m benchmarks.golden_vlfeat …/libvl.so    # a shared VLFeat of your own

The file holds the picture too. Nothing of dreamjax's networks takes part, and the test
suite needs only the file.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np

from dreamjax.images import load_image
from dreamjax.labels import ASSETS

FILE = Path(__file__).parents[1] / "tests" / "vlfeat.npz"
SIZE = (72, 56)
CELL, ORIENTATIONS = 8, 9
BIN, WINDOW = 5, 1.5  # pixels; bins
C_FLOATS = ctypes.POINTER(ctypes.c_float)


class DsiftFilter(ctypes.Structure):
    """VlDsiftFilter of vl/dsift.h, up to what is read here."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("width", "height", "step_x", "step_y")),
        ("bounds", ctypes.c_int * 4),
        ("geometry", ctypes.c_int * 5),
        ("flat", ctypes.c_int),
        ("window", ctypes.c_double),
        ("frames", ctypes.c_int),
        ("size", ctypes.c_int),
        ("keypoints", ctypes.c_void_p),
        ("descriptors", C_FLOATS),
    )


def hog(library: ctypes.CDLL, picture: np.ndarray, soft: bool) -> np.ndarray:
    """Returns vl_hog's UoCTTI features [h, w, 31] of [H, W] in 0 … 255."""
    size = ctypes.c_ulonglong
    library.vl_hog_new.restype = ctypes.c_void_p
    of = ctypes.c_void_p(library.vl_hog_new(1, size(ORIENTATIONS), 0))
    library.vl_hog_set_use_bilinear_orientation_assignments(of, int(soft))
    height, width = picture.shape
    sizes = (size(width), size(height), size(1), size(CELL))
    library.vl_hog_put_image(of, picture.ctypes.data_as(C_FLOATS), *sizes)
    shape = (ORIENTATIONS * 3 + 4, height // CELL, width // CELL)
    features = np.zeros(shape, np.float32)
    library.vl_hog_extract(of, features.ctypes.data_as(C_FLOATS))
    library.vl_hog_delete(of)
    return features.transpose(1, 2, 0)


def dsift(library: ctypes.CDLL, picture: np.ndarray) -> np.ndarray:
    """Returns vl_dsift's descriptors [h, w, 128], flat windows, halfway between pixels.

    There the network's cells have their centers; vl_dsift's lie on pixels, so that the
    mean is taken of four.
    """
    library.vl_dsift_new_basic.restype = ctypes.POINTER(DsiftFilter)
    height, width = picture.shape
    of = library.vl_dsift_new_basic(width, height, 1, BIN)
    of.contents.window, of.contents.flat = WINDOW, 1
    library.vl_dsift_process(of, picture.ctypes.data_as(C_FLOATS))
    shape = (height - 3 * BIN, width - 3 * BIN, of.contents.size)
    found = np.ctypeslib.as_array(of.contents.descriptors, shape).copy()
    library.vl_dsift_delete(of)
    return (found[1:, 1:] + found[:-1, 1:] + found[1:, :-1] + found[:-1, :-1]) / 4


def main(arguments: list[str]) -> None:
    """Writes the file."""
    (path,) = arguments
    library = ctypes.CDLL(path)
    gray = load_image(ASSETS / "chelsea.png", SIZE).mean(axis=2)
    picture = np.ascontiguousarray(255 * gray, np.float32)
    np.savez_compressed(
        FILE,
        picture=picture,
        hog=hog(library, picture, soft=False),
        hogb=hog(library, picture, soft=True),
        dsift=dsift(library, picture)[5::15, 5::15],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
