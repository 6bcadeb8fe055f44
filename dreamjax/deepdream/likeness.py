"""How alike two dreams of one photo are, where jitter forbids comparing pixels.

A dream is told by how much of a layer's energy it reached, how far the picture moved,
and at which frequencies. Pictures that were published as JPEG files are compared with
pictures that went through the same compression: it takes a third of the energy off.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from dreamjax.images import to_uint8
from dreamjax.measures.spectrum import band_shares
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model
from dreamjax.objectives import guided

EDGES = (0, 0.01, 0.03, 0.06, 0.12, 0.25, 1)  # cycles per pixel
BANDS = ("< .01", ".01–.03", ".03–.06", ".06–.12", ".12–.25", "> .25")
QUALITY = 75  # of the JPEG pictures in the notebook of 2015


class Likeness(NamedTuple):
    """What a dream of a photo is told by.

    Attributes:
      energy: ‖a‖² of the dream over that of the photo.
      change: root mean square of dream - photo, of 255.
      bands: [6], shares of the power of the gray change between `EDGES`.
    """

    energy: float
    change: float
    bands: tuple[float, ...]


def compressed(image: np.ndarray, quality: int = QUALITY) -> np.ndarray:
    """Returns [H, W, 3] as it comes out of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / 255


def layer_energy(model: Model, tap: str) -> Callable[[np.ndarray], float]:
    """Returns (image [H, W, 3]) -> ‖a‖², the sum over all units of a tap."""

    def energy(variables, image):
        taps = model.taps(variables, image[None], PLAIN)
        return jnp.sum(jnp.square(taps[tap]))

    of = jax.jit(energy)
    return lambda image: float(of(model.variables, jnp.asarray(image)))


def guided_score(
    model: Model, tap: str, guide: np.ndarray
) -> Callable[[np.ndarray], float]:
    """Returns (image [H, W, 3]) -> how well it follows a guide [h, w, 3] at a tap.

    The objective `guided` of the whole image, without tiles.
    """

    def follow(variables, image, guide):
        target = model.taps(variables, guide[None], PLAIN)[tap]
        taps = model.taps(variables, image[None], PLAIN)
        return guided(tap, target)(taps, {})[0]

    of = jax.jit(follow)
    return lambda image: float(of(model.variables, image, guide))


def change(photo: np.ndarray, picture: np.ndarray) -> float:
    """Returns the root mean square of picture - photo, of 255."""
    return float(255 * np.sqrt(np.mean(np.square(picture - photo))))


def gain(after: float, before: float) -> float:
    """Returns after / before; NaN where there was nothing before."""
    return after / before if before else float("nan")


def likeness(
    energy: Callable[[np.ndarray], float], photo: np.ndarray, picture: np.ndarray
) -> Likeness:
    """Returns what a dream [H, W, 3] of a photo is told by.

    Args:
      energy: of a layer, from `layer_energy`.
    """
    return Likeness(
        energy=gain(energy(picture), energy(photo)),
        change=change(photo, picture),
        bands=tuple(band_shares((picture - photo).mean(axis=2), EDGES)),
    )
