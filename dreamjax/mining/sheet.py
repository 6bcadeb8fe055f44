"""A layer's dataset examples as one picture: a row for each channel."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from dreamjax.deepdream.reach import Reach
from dreamjax.errors import choose
from dreamjax.images import to_uint8
from dreamjax.mining.choose import KINDS, Example, box, examples, picture_of
from dreamjax.mining.run import Mined
from dreamjax.report.sheet import contact_sheet

CROPS = ("unit", "window")
BACKGROUND = 1.0  # beside a crop that the border of the picture cuts short


def tile(
    mined: Mined, example: Example, reach: Reach | None, columns: int, crop: str
) -> np.ndarray:
    """Returns an example as a tile [H, W, 3].

    Args:
      mined: what it is of.
      example: which.
      reach: of the tap, as `measure_reach` gives it.
      columns: w, positions in a row of the tap.
      crop: "window" shows all that the network saw; "unit" only what the strongest unit
        sees of it, enlarged. Where a unit sees more than half of the window the two
        hardly differ.
    """
    image = picture_of(mined, example)
    if choose("crop", crop, CROPS) == "window":
        return image
    height, width = mined.settings.size
    top, left, bottom, right = box(example, reach, columns, (height, width))
    part = Image.fromarray(to_uint8(image[top:bottom, left:right]))
    scale = min(height / part.height, width / part.width)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    found = np.full((height, width, 3), BACKGROUND, np.float32)
    y, x = (height - size[1]) // 2, (width - size[0]) // 2
    enlarged = np.asarray(part.resize(size, Image.Resampling.BICUBIC), np.float32) / 255
    found[y : y + size[1], x : x + size[0]] = enlarged
    return found


def layer_sheet(
    mined: Mined,
    tap: str,
    channels: Sequence[int],
    *,
    each: int,
    reach: Reach | None,
    columns: int,
    crop: str = "unit",
    title: str = "",
) -> Image.Image:
    """Draws the examples of some channels of a tap, those of each kind side by side.

    Args:
      mined: what was found.
      tap: name.
      channels: rows of the sheet.
      each: examples of a kind; 12 / 5 kinds fit, more are wrapped.
      reach, columns, crop: as in `tile`.
      title: over it.
    """
    rows, images = [], []
    for channel in channels:
        for kind in KINDS:
            for n, one in enumerate(examples(mined, tap, channel, kind, each)):
                hparams = {"channel": channel, "kind": kind, "example": n}
                metrics = {"score": one.score}
                rows.append({"run": len(rows), "hparams": hparams, "metrics": metrics})
                images.append(tile(mined, one, reach, columns, crop))
    return contact_sheet(np.stack(images), rows, "channel", title)
