"""Numbers of independent runs of Mahendran and Vedaldi's recipes, and rows beside them.

One photo, GoogLeNet (BVLC): the runs of 2015 by their weight of the total variation, λ,
those of 2016 by their weight of the features, C.
"""

from collections.abc import Sequence
from typing import NamedTuple

from dreamjax.figures.record import Expected, Row

NETWORK = "googlenet.bvlc-noaux"


class Measured(NamedTuple):
    """A value of a run: its layer, λ or C, error in %, PSNR in dB if it was noted."""

    name: str
    weight: float
    error: float
    psnr: float | None = None

    def rows(
        self, label: str, error: float, psnr: float, *, judged: bool, why: str = ""
    ) -> list[Row]:
        """Returns what was found beside it.

        Args:
          label: of the rows.
          error, psnr: as found.
          judged: whether the photo is the measured one.
          why: the error may differ.
        """
        near = Expected(self.error, "measured", relative=0.1, network=NETWORK)
        found = [Row(f"{label}: error [%]", error, near if judged else None, why)]
        if self.psnr is not None:
            near = Expected(self.psnr, "measured", absolute=1.0, network=NETWORK)
            found.append(Row(f"{label}: PSNR [dB]", psnr, near if judged else None))
        return found


def layer_ticks(taps: Sequence[str]) -> dict[int, str]:
    """Returns the short names of layers by their places on an axis."""
    return {
        i: tap.split("/")[0].removeprefix("inception_") for i, tap in enumerate(taps)
    }
