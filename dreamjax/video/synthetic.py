"""A clip whose motion is known exactly: a photo under a moving, turning camera.

Frames are RGB float32 [H, W, 3] in [0, 1]. Flows are float32 [H, W, 2] in pixels with
the convention of `dreamjax.video.flow`: (down, right).
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from dreamjax.errors import require


class MovingPhoto(NamedTuple):
    """A clip and its motion.

    Attributes:
      frames: float32 [T, H, W, 3] in [0, 1].
      forward: float32 [T - 1, H, W, 2]; `forward[t]` says for each pixel of frame t
        where it is in frame t + 1.
      backward: float32 [T - 1, H, W, 2]; `backward[t]` says for each pixel of frame
        t + 1 where it was in frame t.
    """

    frames: np.ndarray
    forward: np.ndarray
    backward: np.ndarray


def moving_photo(
    photo: np.ndarray,
    frames: int,
    size: tuple[int, int],
    *,
    pan: tuple[float, float] = (0.0, 0.0),
    turn: float = 0.0,
    zoom: float = 1.0,
) -> MovingPhoto:
    """Returns what a camera sees that moves over a photo at a constant rate.

    Pixel q of frame t, measured from the frame's center, shows the photo at

        c + (t - (T - 1)/2) pan + R(t turn) q / zoom^t,

    with c the photo's center and R a counterclockwise turn of the camera, so the
    picture turns clockwise. Sampled with a cubic spline; zooming out far (zoom^T < 1/2)
    aliases.

    Args:
      photo: [H, W, 3] float in [0, 1].
      frames: T, at least 1.
      size: (height, width) of a frame.
      pan: (down, right), how far the camera moves per frame, pixels of the photo.
      turn: radians per frame.
      zoom: magnification per frame; over 1 moves in.

    Raises:
      ValueError: the camera would see beyond the photo, or a value has no meaning.
    """
    photo = np.asarray(photo, np.float32)
    shaped = photo.ndim == 3 and photo.shape[2] == 3
    require(shaped, "photo.shape", photo.shape, "give [H, W, 3]")
    require(frames >= 1, "frames", frames, "give at least 1")
    require(min(size) >= 1, "size", size, "give (height, width) of at least 1")
    require(zoom > 0, "zoom", zoom, "give a positive factor")
    views = [_view(t, photo.shape[:2], frames, pan, turn, zoom) for t in range(frames)]
    grid = _grid(size)
    for t, view in enumerate(views):
        seen = view.of(grid)
        inside = np.all((seen >= 0) & (seen <= np.array(photo.shape[:2]) - 1))
        allowed = (
            f"frame {t} of {size} at pan={pan}, turn={turn}, zoom={zoom} would see"
            f" beyond the photo of {photo.shape[:2]}"
        )
        require(bool(inside), "frames", frames, allowed)
    shown = [_sample(photo, view.of(grid)) for view in views]
    pairs = list(itertools.pairwise(views))
    none = np.zeros((0, *size, 2), np.float32)
    ahead = [(b.back(a.of(grid)) - grid).astype(np.float32) for a, b in pairs]
    behind = [(a.back(b.of(grid)) - grid).astype(np.float32) for a, b in pairs]
    return MovingPhoto(
        np.stack(shown),
        np.stack(ahead) if pairs else none,
        np.stack(behind) if pairs else none,
    )


class _View(NamedTuple):
    """A similarity: frame coordinates, from the frame's center, -> photo pixels."""

    matrix: np.ndarray  # [2, 2]
    center: np.ndarray  # [2], photo pixels

    def of(self, points: np.ndarray) -> np.ndarray:
        return points @ self.matrix.T + self.center

    def back(self, points: np.ndarray) -> np.ndarray:
        return (points - self.center) @ np.linalg.inv(self.matrix).T


def _view(
    t: int,
    shape: tuple[int, int],
    frames: int,
    pan: tuple[float, float],
    turn: float,
    zoom: float,
) -> _View:
    sin, cos = math.sin(t * turn), math.cos(t * turn)
    # In (down, right) a counterclockwise turn by a takes (0, 1) to (-sin a, cos a).
    matrix = np.array([[cos, -sin], [sin, cos]]) / zoom**t
    middle = (np.array(shape, np.float64) - 1) / 2
    return _View(matrix, middle + (t - (frames - 1) / 2) * np.array(pan, np.float64))


def _grid(size: tuple[int, int]) -> np.ndarray:
    """Returns [H, W, 2]: each pixel's (down, right) from the center."""
    axes = [np.arange(n, dtype=np.float64) - (n - 1) / 2 for n in size]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _sample(photo: np.ndarray, points: np.ndarray) -> np.ndarray:
    places = np.moveaxis(points, -1, 0)
    channels = [
        ndimage.map_coordinates(photo[:, :, c], places, order=3, mode="mirror")
        for c in range(3)
    ]
    return np.clip(np.stack(channels, axis=-1), 0, 1).astype(np.float32)
