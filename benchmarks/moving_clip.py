"""Writes the test clip: a photo panned and turned.

    python -m benchmarks.moving_clip results/runs/moving.mp4

24 frames of 240 × 320 px out of the shipped photo of a cat: 3 px and 0.3 degrees per
frame.
"""

import math
import sys

import numpy as np
from PIL import Image

from dreamjax.images import load_image
from dreamjax.labels import ASSETS
from dreamjax.video.synthetic import moving_photo
from dreamjax.video.writing import write_clip


def main(arguments: list[str]) -> None:
    """Writes the clip to the path given."""
    photo = load_image(ASSETS / "chelsea.png")
    height, width = photo.shape[:2]
    large = Image.fromarray((255 * photo).astype(np.uint8))
    large = large.resize((width * 5 // 4, height * 5 // 4), Image.Resampling.BICUBIC)
    clip = moving_photo(
        np.asarray(large, np.float32) / 255,
        24,
        (240, 320),
        pan=(0.5, 3.0),
        turn=math.radians(0.3),
    )
    print(write_clip(arguments[0], clip.frames, 12))


if __name__ == "__main__":
    main(sys.argv[1:])
