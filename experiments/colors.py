"""Finds the axes along which the colors of your photos vary apart.

    python -m experiments.colors --photos=FOLDER --out=colors.json
    python -m experiments.visualize --config.color=colors.json

The second command dreams in the colors of these photos, where `decorrelated` has
ImageNet's.
"""

import json
import math

import numpy as np
from absl import flags

from dreamjax.cli import launch, path_flag
from dreamjax.files import write_text
from dreamjax.inputs import pictures_under
from dreamjax.metrics.picture import covariance_distance
from dreamjax.params.color import COLOR_SQRT
from dreamjax.params.estimate import ROOTS, colors_of, covariance, square_root

PHOTOS = path_flag("photos", None, "Folder of pictures, at any depth.")
OUT = path_flag("out", None, "A JSON file for config.color.")
FORM = flags.DEFINE_enum("root", "svd", ROOTS, "Which root of the covariance.")
LONGEST = flags.DEFINE_integer("longest", 512, "Pixels; larger pictures are reduced.")


def main(arguments: list[str]) -> int:
    """Prints and writes; returns the exit status."""
    if arguments or PHOTOS.value is None:
        raise ValueError("give --photos=FOLDER; see --help.")
    colors = colors_of(pictures_under(PHOTOS.value), LONGEST.value, print)
    matrix = covariance(colors)
    root = square_root(matrix, FORM.value)
    print(f"{colors.photos} photos, mean color {_text(colors.mean)}")
    print(f"{'root of the covariance':32}  ImageNet's (Lucid)")
    for own, theirs in zip(root, COLOR_SQRT, strict=True):
        print(f"{_text(own):32}  {_text(theirs)}")
    apart = covariance_distance(matrix)
    print(f"distance from ImageNet's: {apart:.3f} (0 … {math.sqrt(2):.3f})")
    if OUT.value is not None:
        about = {
            "photos": colors.photos,
            "mean": colors.mean.tolist(),
            "covariance": matrix.tolist(),
            "form": FORM.value,
            "root": root.tolist(),
        }
        print(write_text(OUT.value, json.dumps(about, indent=1)))
    return 0


def _text(values: np.ndarray) -> str:
    return "  ".join(f"{value:7.4f}" for value in values)


if __name__ == "__main__":
    launch(main)
