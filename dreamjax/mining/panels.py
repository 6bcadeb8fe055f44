"""Dataset examples as panels of a figure."""

from collections.abc import Sequence

import numpy as np

from dreamjax.figures.panels import Panel
from dreamjax.mining.choose import Example, picture_of
from dreamjax.mining.run import Mined

FRAME = 0.7  # gray


def example_panels(
    mined: Mined, examples: Sequence[Example], count: int
) -> list[Panel]:
    """Returns one panel for each example, its score under it; empty ones up to count.

    A panel shows the window as the network saw it, in a thin frame, since a part of a
    photo may be as white as the page.
    """
    found = [
        Panel(framed(picture_of(mined, one)), f"{one.score:.3g}") for one in examples
    ]
    return found + [Panel(None)] * (count - len(found))


def framed(image: np.ndarray) -> np.ndarray:
    """Returns a picture [H, W, C] with its outermost hundredth in gray."""
    found = np.array(image)
    width = max(1, round(min(image.shape[:2]) / 100))
    inside = np.s_[width:-width, width:-width]
    found[:] = FRAME
    found[inside] = image[inside]
    return found
