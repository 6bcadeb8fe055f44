"""Dataset examples as panels of a figure."""

from collections.abc import Sequence

from dreamjax.figures.panels import Panel
from dreamjax.mining.choose import Example, picture_of
from dreamjax.mining.run import Mined


def example_panels(
    mined: Mined, examples: Sequence[Example], count: int
) -> list[Panel]:
    """Returns one panel for each example, its score under it; empty ones up to count.

    A panel shows the window as the network saw it.
    """
    found = [Panel(picture_of(mined, one), f"{one.score:.3g}") for one in examples]
    return found + [Panel(None)] * (count - len(found))
