"""A short film in a small file, to lie beside a figure."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dreamjax.errors import require
from dreamjax.images import to_uint8


def gif(frames: Sequence[np.ndarray], *, fps: float, colors: int = 64) -> bytes:
    """Returns an endless GIF of few colors, without dithering, which costs bytes.

    `dreamjax.video.writing` writes films to be looked at; this one is to be small.

    Args:
      frames: [H, W, 3] each, in [0, 1], all of one size; at least one.
      fps: frames per second.
      colors: of each frame, 2 … 256.

    Raises:
      ValueError: no frames, or another number of colors.
    """
    require(len(frames) > 0, "frames", (), "at least one")
    require(2 <= colors <= 256, "colors", colors, "2 … 256")
    pictures = [
        Image.fromarray(to_uint8(frame)).quantize(
            colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
        for frame in frames
    ]
    file = io.BytesIO()
    pictures[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
        optimize=True,
    )
    return file.getvalue()
