"""Equirectangular panoramas: views of them, and the way back.

A panorama is [H, W, C] with W = 2 H. Pixel (i, j) is a point at its center:

    latitude  φ = 90° - 180° (i + 1/2) / H      from the zenith down to the nadir
    longitude λ = 360° (j + 1/2) / W - 180°     grows to the right, and wraps

so no pixel lies on a pole or on the meridian of the wrap, and λ = 0 ("ahead") is the
middle of the picture, between two columns where W is even. The direction of a point is

    (x, y, z) = (cos φ sin λ, sin φ, cos φ cos λ)      x right, y up, z ahead.

A camera is turned by its yaw, positive to the right, after it was tilted by its pitch,
positive up; angles are in degrees. A camera that looks up therefore has "behind" at
its upper edge and "ahead" at its lower one; one that looks down, the other way round.

A view is a linear map, bilinear interpolation at positions that are worked out once,
in float64. It knows the sphere: it wraps at ±180°, and beyond the first row comes the
first row again, half a turn further.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import cosdg, sindg

from dreamjax.errors import choose, require
from dreamjax.types import Array

ASPECT_TOLERANCE = 4
"""How far W may be from 2 H, pixels: cameras and video codecs round their sizes."""

POLES = ("up", "down")

POLE_FOV = 120.0
"""A circle of 60° about the pole fits into the square: all of it above 30°."""

FACES = ("front", "right", "back", "left", "up", "down")
"""The order of cube faces; each is a camera with a field of view of 90°."""

_FACE_ANGLES = ((0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90))  # yaw, pitch

_STEPS = 2.0**16
"""Positions are kept in 1/65536 of a pixel: these are exact in float32, and rounding
errors of the trigonometry vanish, so that a turned panorama is seen bit for bit as the
panorama by a turned camera."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["corner", "down", "right", "inside"],
    meta_fields=["source", "sphere", "blank_rows"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """A bilinear map of one image: `view(image [H, W, C]) -> [*shape, C]`.

    A pytree: pass it to a jitted function as an argument. Closed over, its arrays (13
    bytes a pixel) become constants of the program.

    Attributes:
      corner: int32 [*shape], the flat index of the upper left of four pixels.
      down, right: float32 [*shape] in [0, 1], the weights of the lower and the right.
      inside: bool [*shape], where the view has content; None for everywhere.
      source: (H, W) of the images it takes.
      sphere: whether these are panoramas.
      blank_rows: rows of zeros above and below.
    """

    corner: Array
    down: Array
    right: Array
    inside: Array | None
    source: tuple[int, int]
    sphere: bool
    blank_rows: tuple[int, int]

    def __call__(self, image: Array) -> Array:
        """Returns [*shape, C].

        Args:
          image: [H, W, C] of the size that the view was made for; `jax.vmap` the view
            for a batch.
        """
        size = tuple(jnp.shape(image)[:2])
        fits = jnp.ndim(image) == 3 and size == self.source
        require(fits, "image.shape", jnp.shape(image), f"{[*self.source, 'C']}")
        image = jnp.asarray(image)
        if self.sphere:
            image = _surrounded(image)
        flat = image.reshape(-1, image.shape[-1])

        def at(offset: int) -> Array:
            return flat.at[self.corner + offset].get(mode="promise_in_bounds")

        width = image.shape[1]
        down, right = self.down[..., None], self.right[..., None]
        upper = (1 - right) * at(0) + right * at(1)
        lower = (1 - right) * at(width) + right * at(width + 1)
        out = (1 - down) * upper + down * lower
        if self.inside is not None:
            out = jnp.where(self.inside[..., None], out, 0)
        if any(self.blank_rows):
            out = jnp.pad(out, (self.blank_rows, (0, 0), (0, 0)))
        return out


def _surrounded(panorama: Array) -> Array:
    """Returns [H + 2, W + 1, C]: a row over either pole, and column 0 again."""

    def over_the_pole(row: Array) -> Array:
        half = row.shape[0] // 2
        turned = jnp.roll(row, -half, axis=0)
        if row.shape[0] % 2:  # half a turn ends between two columns
            turned = (turned + jnp.roll(row, -half - 1, axis=0)) / 2
        return turned[None]

    rows = [over_the_pole(panorama[0]), panorama, over_the_pole(panorama[-1])]
    tall = jnp.concatenate(rows, axis=0)
    return jnp.concatenate([tall, tall[:, :1]], axis=1)


def require_panorama(argument: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless (H, W, ...) is equirectangular: W = 2 H.

    Args:
      argument: its name for the message.
      shape: (H, W, ...); W may be `ASPECT_TOLERANCE` pixels off.
    """
    H, W = shape[:2]
    fits = H >= 4 and abs(W - 2 * H) <= ASPECT_TOLERANCE
    allowed = (
        "an equirectangular panorama is twice as wide as high, and at least 4 pixels"
        f" high; this one is {W} wide and {H} high, an aspect of {W / max(H, 1):.3f}"
    )
    require(fits, argument, tuple(shape), allowed)


# Directions [..., 3] in float64, and where they are found.


def _axes(yaw: float, pitch: float) -> np.ndarray:
    """Returns the camera's right, up and ahead as the rows of [3, 3]."""
    cos_y, sin_y = float(cosdg(yaw)), float(sindg(yaw))  # exact at multiples of 90
    cos_p, sin_p = float(cosdg(pitch)), float(sindg(pitch))
    right = (cos_y, 0.0, -sin_y)
    up = (-sin_p * sin_y, cos_p, -sin_p * cos_y)
    ahead = (cos_p * sin_y, sin_p, cos_p * cos_y)
    return np.array([right, up, ahead])


def _seen(
    yaw: float, pitch: float, fov: float, size: tuple[int, int], border: int = 0
) -> np.ndarray:
    """Returns what each pixel of a camera looks at, [h + 2 border, w + 2 border, 3]."""
    h, w = size
    focal = h / 2 / math.tan(math.radians(fov) / 2)  # pixels
    y = (h - 1) / 2 - np.arange(-border, h + border)
    x = np.arange(-border, w + border) - (w - 1) / 2
    grid = np.stack(np.broadcast_arrays(x[None, :], y[:, None], focal), axis=-1)
    return grid @ _axes(yaw, pitch)


def directions(H: int, W: int, rows: slice = slice(None)) -> np.ndarray:
    """Returns the direction of each pixel of a panorama.

    Args:
      H, W: its size.
      rows: which of its rows.

    Returns:
      [rows, W, 3] float64 of length 1: right, up, ahead.
    """
    latitude = np.pi * (0.5 - (np.arange(H)[rows, None] + 0.5) / H)
    longitude = np.pi * (2 * (np.arange(W)[None, :] + 0.5) / W - 1)
    parts = (
        np.cos(latitude) * np.sin(longitude),
        np.sin(latitude),
        np.cos(latitude) * np.cos(longitude),
    )
    return np.stack(np.broadcast_arrays(*parts), axis=-1)


def _rounded(position: np.ndarray) -> np.ndarray:
    return np.rint(position * _STEPS) / _STEPS


def _view_of_panorama(seen: np.ndarray, H: int, W: int) -> View:
    """Returns the view whose pixels look along `seen` [..., 3], of any length."""
    x, y, z = np.moveaxis(seen, -1, 0)
    longitude, latitude = np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))
    row = _rounded((0.5 - latitude / np.pi) * H - 0.5)  # in [-1/2, H - 1/2]
    column = _rounded((longitude / (2 * np.pi) + 0.5) * W - 0.5) % W
    i, j = np.floor(row), np.floor(column)
    return View(
        corner=jnp.asarray(((i + 1) * (W + 1) + j).astype(np.int32)),
        down=jnp.asarray((row - i).astype(np.float32)),
        right=jnp.asarray((column - j).astype(np.float32)),
        inside=None,
        source=(H, W),
        sphere=True,
        blank_rows=(0, 0),
    )


def _view_of_frames(
    frame: np.ndarray,
    plane: np.ndarray,
    size: int,
    inside: np.ndarray | None = None,
    blank_rows: tuple[int, int] = (0, 0),
    frames: int = 1,
) -> View:
    """Returns the view of square frames stacked from top to bottom.

    Args:
      frame: int [...], which of the frames.
      plane: [..., 2], (right, up) in it, each in [-1, 1] from edge to edge. Between
        the edge and the outermost pixel centers lies what these hold.
      size: pixels of a side.
      inside, blank_rows: as in `View`.
      frames: how many there are.
    """
    column = _rounded((plane[..., 0] + 1) * size / 2 - 0.5)
    row = _rounded((1 - plane[..., 1]) * size / 2 - 0.5)
    i = np.clip(np.floor(row), 0, size - 2)
    j = np.clip(np.floor(column), 0, size - 2)
    return View(
        corner=jnp.asarray(((frame * size + i) * size + j).astype(np.int32)),
        down=jnp.asarray(np.clip(row - i, 0, 1).astype(np.float32)),
        right=jnp.asarray(np.clip(column - j, 0, 1).astype(np.float32)),
        inside=None if inside is None else jnp.asarray(inside),
        source=(frames * size, size),
        sphere=False,
        blank_rows=blank_rows,
    )


# Cameras.


def perspective_view(
    H: int, W: int, yaw: float, pitch: float, fov: float, size: tuple[int, int]
) -> View:
    """Returns the view of a camera inside the panorama; arguments as `perspective`."""
    require_panorama("(H, W)", (H, W))
    _require_angle("fov", fov)
    for name, angle in (("yaw", yaw), ("pitch", pitch)):
        require(math.isfinite(angle), name, angle, "a number of degrees")
    require(min(size) >= 1, "size", size, "(height, width), at least 1 pixel each")
    return _view_of_panorama(_seen(yaw, pitch, fov, size), H, W)


def perspective(
    panorama: Array, yaw: float, pitch: float, fov: float, size: tuple[int, int]
) -> Array:
    """Returns a still: what a pinhole camera in the middle of the panorama sees.

    Bilinear, with no antialiasing: for a still coarser than the panorama ask for a
    larger one and shrink it.

    Args:
      panorama: [H, W, C].
      yaw: degrees to the right of the panorama's middle.
      pitch: degrees above the horizon.
      fov: vertical field of view, degrees in (0, 180).
      size: (h, w) pixels.

    Returns:
      [h, w, C].

    Raises:
      ValueError: for an array that is no panorama, or angles and sizes out of range.
    """
    require_panorama("panorama.shape", jnp.shape(panorama))
    H, W = jnp.shape(panorama)[:2]
    return perspective_view(H, W, yaw, pitch, fov, size)(panorama)


def _require_angle(name: str, fov: float) -> None:
    require(0 < fov < 180, name, fov, "degrees, above 0 and below 180")


# Poles.


def pole_size(W: int, fov: float = POLE_FOV) -> int:
    """Returns the side of a pole view as dense in its middle as the equator is.

    A camera has `size / (2 tan(fov / 2))` pixels per radian in its middle, the equator
    has `W / 2π`: `size = W / π · tan(fov / 2)`, 0.55 W at 120°.
    """
    _require_angle("fov", fov)
    return max(2, round(W / math.pi * math.tan(math.radians(fov) / 2)))


def pole_view(
    H: int, W: int, pole: str, size: int | None = None, fov: float = POLE_FOV
) -> View:
    """Returns the square view of a camera that looks straight up or straight down.

    Away from its middle a flat view is denser than the sphere, by `1 / sin² φ` along
    the radius and by `1 / sin φ` across it: 1.7 and 1.3 times at φ = 50°.

    Args:
      H, W: the panorama's size.
      pole: "up" or "down".
      size: pixels of a side; None for `pole_size(W, fov)`.
      fov: field of view, degrees.

    Returns:
      panorama [H, W, C] -> [size, size, C].

    Raises:
      ValueError: for an aspect other than 2, an unknown pole, a size below 2 or an
        angle out of range.
    """
    size = _pole_arguments(H, W, pole, size, fov)
    pitch = 90 if pole == "up" else -90
    return _view_of_panorama(_seen(0, pitch, fov, (size, size)), H, W)


def from_pole_view(
    H: int, W: int, pole: str, size: int | None = None, fov: float = POLE_FOV
) -> View:
    """Returns the map that paints a pole view onto the panorama, 0 where it is not.

    It interpolates, as `pole_view` does. It is not that map's adjoint, which would
    weigh a gradient by how many pixels of the view fall on one of the panorama.

    Args:
      H, W, pole, size, fov: as in `pole_view`.

    Returns:
      [size, size, C] -> [H, W, C].

    Raises:
      ValueError: as `pole_view`.
    """
    size = _pole_arguments(H, W, pole, size, fov)
    tangent = math.tan(math.radians(fov) / 2)
    reach = math.atan(math.sqrt(2) * tangent)  # from the pole to the square's corners
    rows = min(H, math.ceil(reach / math.pi * H + 0.5))
    top = pole == "up"
    these = slice(0, rows) if top else slice(H - rows, H)
    seen = directions(H, W, these) @ _axes(0, 90 if top else -90).T
    ahead = np.where(seen[..., 2] > 0, seen[..., 2], np.nan)
    plane = seen[..., :2] / ahead[..., None] / tangent
    inside = np.max(np.abs(plane), axis=-1) <= 1  # False for NaN
    plane = np.where(inside[..., None], plane, 0)
    blank = (0, H - rows) if top else (H - rows, 0)
    return _view_of_frames(np.zeros(1, int), plane, size, inside, blank)


def _pole_arguments(H: int, W: int, pole: str, size: int | None, fov: float) -> int:
    require_panorama("(H, W)", (H, W))
    choose("pole", pole, POLES)
    _require_angle("fov", fov)
    size = pole_size(W, fov) if size is None else size
    require(size >= 2, "size", size, "at least 2 pixels")
    return size


class PoleWeight(NamedTuple):
    """How much of each row is taken from the pole views, [H] each."""

    up: Array
    down: Array


def pole_weight(H: int, *, start: float, end: float) -> PoleWeight:
    """Returns how much of each row a pole view should decide.

    `w = t² (3 - 2 t)`, `t = (φ - start) / (end - start)` clipped to [0, 1], for the
    upper pole; the lower one is its mirror image. What is left, 1 - up - down, is the
    panorama's own.

    A row at latitude φ shows a circle of circumference cos φ with W pixels, so that a
    feature of a network, which has its size in pixels, comes out `1 / cos φ` times too
    narrow: 1.3 times at 40°, 1.7 at 55°, without bound at the pole. A pole view has
    the opposite fault (see `pole_view`). Both distort the shape equally at 45° and
    are equally dense at 55°, and between these one should take over.

    Args:
      H: rows.
      start, end: degrees of latitude, 0 <= start < end <= 90. Below 90 - fov/2 a pole
        view has no content.

    Returns:
      (up, down), float32 [H] in [0, 1].

    Raises:
      ValueError: for angles out of order.
    """
    require(H >= 1, "H", H, "at least 1 row")
    ordered = 0 <= start < end <= 90
    require(ordered, "(start, end)", (start, end), "0 <= start < end <= 90 degrees")
    latitude = 90 - 180 * (np.arange(H) + 0.5) / H
    t = np.clip((latitude - start) / (end - start), 0, 1)
    up = jnp.asarray((t * t * (3 - 2 * t)).astype(np.float32))
    return PoleWeight(up=up, down=up[::-1])


# Cubes.


def cube_view(H: int, W: int, size: int) -> View:
    """Returns the map panorama [H, W, C] -> faces [6, size, size, C], as `FACES`."""
    require_panorama("(H, W)", (H, W))
    require(size >= 2, "size", size, "at least 2 pixels")
    seen = [_seen(yaw, pitch, 90, (size, size)) for yaw, pitch in _FACE_ANGLES]
    return _view_of_panorama(np.stack(seen), H, W)


def cube_faces(panorama: Array, size: int) -> Array:
    """Returns the panorama on the six faces of a cube, each with 90° of view.

    Args:
      panorama: [H, W, C].
      size: pixels of a side; W / π makes the middle of a face as dense as the equator.

    Returns:
      [6, size, size, C], in the order of `FACES`.

    Raises:
      ValueError: for an array that is no panorama, or a size below 2.
    """
    require_panorama("panorama.shape", jnp.shape(panorama))
    return cube_view(*jnp.shape(panorama)[:2], size)(panorama)


def from_cube_faces(faces: Array, H: int, W: int) -> Array:
    """Returns the panorama that the faces of a cube show.

    Bilinear; between the outermost pixels of two faces it blends these faces.

    Args:
      faces: [6, S, S, C] in the order of `FACES`.
      H, W: the size of the panorama.

    Returns:
      [H, W, C].

    Raises:
      ValueError: for another shape of the faces, or W other than 2 H.
    """
    require_panorama("(H, W)", (H, W))
    shape = jnp.shape(faces)
    square = len(shape) == 4 and shape[0] == 6 and shape[1] == shape[2] >= 2
    require(square, "faces.shape", shape, "[6, S, S, C] with S at least 2")
    size, channels = shape[1], shape[3]
    around = [_seen(yaw, pitch, 90, (size, size), 1) for yaw, pitch in _FACE_ANGLES]
    with_border = _view_of_cube(np.stack(around), size)
    wide = with_border(jnp.reshape(faces, (6 * size, size, channels)))
    wide = wide.reshape(6 * (size + 2), size + 2, channels)
    return _view_of_cube(directions(H, W), size, border=1)(wide)


def _view_of_cube(seen: np.ndarray, size: int, border: int = 0) -> View:
    """Returns the view along `seen` [..., 3] of faces with `border` more on each side.

    Args:
      seen: [..., 3]; the first of six for a stack of faces with a border of their own,
        whose inner pixels then look exactly at pixels.
      size: pixels of a side without the border.
      border: how many more there are on each side.
    """
    axes = np.stack([_axes(yaw, pitch) for yaw, pitch in _FACE_ANGLES])  # [6, 3, 3]
    face = np.argmax(seen @ axes[:, 2].T, axis=-1)
    local = np.einsum("...ab,...b->...a", axes[face], seen)
    plane = local[..., :2] / local[..., 2:]
    full = size + 2 * border
    return _view_of_frames(face, plane * size / full, full, frames=6)


# The seam.

_BANDS = 16


class Seam(NamedTuple):
    """How visible the wrap is; all scalars.

    Attributes:
      wrap: mean over rows and channels of |x[:, 0] - x[:, W-1]|.
      interior: the same between neighboring columns inside, mean over their W - 1
        pairs.
      quantile: its 95 % quantile over the pairs.
      ratio: wrap / interior, about 1 where there is no seam; 0 where neither has a
        step, and infinite where only the wrap has one.
      visible: whether wrap > quantile.
      worst: the largest ratio of 16 bands of rows, each with its own interior. A step
        in a clear sky is lost in the mean over rows if there are rocks below.
    """

    wrap: Array
    interior: Array
    quantile: Array
    ratio: Array
    visible: Array
    worst: Array


def seam(panorama: Array) -> Seam:
    """Returns how much larger the step at ±180° is than those between other columns.

    Args:
      panorama: [H, W, C].

    Raises:
      ValueError: for an array that is no panorama.
    """
    require_panorama("panorama.shape", jnp.shape(panorama))
    panorama = jnp.asarray(panorama)
    steps = jnp.abs(panorama - jnp.roll(panorama, -1, axis=1))  # the last is the wrap
    rows = jnp.mean(steps, axis=2)  # [H, W]

    def ratio(columns: Array) -> Array:
        wrap = columns[-1]
        return jnp.where(wrap == 0, 0, wrap / jnp.mean(columns[:-1]))

    columns = jnp.mean(rows, axis=0)
    wrap, interior = columns[-1], jnp.mean(columns[:-1])
    quantile = jnp.quantile(columns[:-1], 0.95)
    bands = jnp.array_split(rows, min(_BANDS, rows.shape[0]))
    worst = jnp.max(jnp.stack([ratio(jnp.mean(band, axis=0)) for band in bands]))
    return Seam(wrap, interior, quantile, ratio(columns), wrap > quantile, worst)
