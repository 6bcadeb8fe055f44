"""How the network looks at a picture: as it is, or, of a panorama, from more sides."""

from collections.abc import Sequence
from typing import NamedTuple

from dreamjax.types import Array

Size = tuple[int, int]


class Flat(NamedTuple):
    """A picture is looked at as it is."""

    def sizes(self, size: Size) -> list[tuple[Size, bool]]:
        """Returns (height, width) and whether the width wraps, for each view."""
        return [(size, False)]

    def look(self, picture: Array) -> list[Array]:
        """Returns the views of a picture [H, W, C]."""
        return [picture]

    def unite(self, slopes: Sequence[Array], shape: tuple[int, ...]) -> Array:
        """Returns the gradient in the picture [H, W, C] from those in the views."""
        del shape
        return slopes[0]


class Panorama(NamedTuple):
    """stub"""
