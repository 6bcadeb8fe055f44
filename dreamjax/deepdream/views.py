"""How the network looks at a picture: as it is, or, of a panorama, from more sides.

Each kind has the same four functions: what sizes the views have, the maps that make
them (arrays, which programs take as an argument), the views of a picture, and the
gradient in the picture from those in the views.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from dreamjax.panorama import from_pole_view, pole_size, pole_view, pole_weight
from dreamjax.types import Array

Size = tuple[int, int]

POLES = ("up", "down")
TAKES_OVER = (45.0, 55.0)  # degrees of latitude; see `pole_weight`


class Flat(NamedTuple):
    """A picture is looked at as it is."""

    wraps: bool = False

    def sizes(self, size: Size) -> list[Size]:
        """Returns the (height, width) of each view of a picture (H, W)."""
        return [size]

    def maps(self, size: Size) -> Any:
        """Returns what `look` and `unite` need for pictures (H, W)."""
        del size
        return ()

    def look(self, picture: Array, maps: Any) -> list[Array]:
        """Returns the views of a picture [H, W, C]."""
        del maps
        return [picture]

    def unite(self, slopes: Sequence[Array], maps: Any) -> Array:
        """Returns the gradient in the picture [H, W, C] from those in the views."""
        del maps
        return slopes[0]


class Panorama(NamedTuple):
    """An equirectangular picture: a circle of longitudes, and its poles seen straight.

    A row near a pole is stretched over the whole width; what is dreamed there at the
    network's own scale would be a smear on the sphere. So above about 50° the gradient
    comes from a camera that looks at the pole, and is painted back.
    """

    poles: bool
    wraps: bool = True

    def sizes(self, size: Size) -> list[Size]:
        """Returns the (height, width) of each view of a picture (H, W)."""
        side = pole_size(size[1])
        return [size] + [(side, side)] * (2 * self.poles)

    def maps(self, size: Size) -> Any:
        """Returns the cameras, the way back, and the rows' weights."""
        if not self.poles:
            return ()
        weight = pole_weight(size[0], start=TAKES_OVER[0], end=TAKES_OVER[1])
        return (
            [pole_view(*size, pole) for pole in POLES],
            [from_pole_view(*size, pole) for pole in POLES],
            [jnp.reshape(rows, (-1, 1, 1)) for rows in weight],
        )

    def look(self, picture: Array, maps: Any) -> list[Array]:
        """Returns the views of a picture [H, W, C]."""
        if not self.poles:
            return [picture]
        return [picture, *(camera(picture) for camera in maps[0])]

    def unite(self, slopes: Sequence[Array], maps: Any) -> Array:
        """Returns the gradient in the picture [H, W, C] from those in the views."""
        if not self.poles:
            return slopes[0]
        _, back, weights = maps
        total = (1 - weights[0] - weights[1]) * slopes[0]
        for paint, weight, slope in zip(back, weights, slopes[1:], strict=True):
            total = total + weight * paint(slope)
        return total
