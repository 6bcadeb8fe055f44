"""How much a clip [T, H, W, 3] changes from frame to frame, and how predictably."""

import numpy as np

from dreamjax.errors import require
from dreamjax.measures.lempel_ziv import lz_channels
from dreamjax.measures.light import luminance


def frame_difference(clip: np.ndarray) -> np.ndarray:
    """Returns the power of the difference of consecutive frames, [T - 1].

    The mean over pixels of (Y_t - Y_{t-1})^2, Y linear Rec. 709 luminance. Zeros for a
    still clip; empty for one frame.
    """
    _check(clip)
    planes = (luminance(frame) for frame in clip)
    before = next(planes)
    powers = []
    for plane in planes:
        powers.append(float(np.mean((plane - before) ** 2)))
        before = plane
    return np.array(powers)


def flow_magnitude(flows: np.ndarray) -> np.ndarray:
    """Returns the mean length of optical flow, pixels per frame: [T-1,H,W,2] -> [T-1].

    Raises:
      ValueError: for another shape, and for values that are not finite.
    """
    flows = np.asarray(flows)
    shaped = flows.ndim == 4 and flows.shape[3] == 2
    require(shaped, "flows.shape", flows.shape, "give [T - 1, H, W, 2]")
    finite = bool(np.isfinite(flows).all())
    require(finite, "flows", "NaN or infinity", "give finite flow")
    return np.array([np.hypot(f[..., 0], f[..., 1]).mean(dtype=float) for f in flows])


def pixel_series(clip: np.ndarray, grid: int = 8) -> np.ndarray:
    """Returns luminance over time at the centers of a grid, [grid^2 or fewer, T].

    A clip of fewer than `grid` rows or columns gives one series per row or column.
    """
    _check(clip)
    require(grid >= 1, "grid", grid, "at least 1 pixel per side")
    rows, columns = (_centers(size, grid) for size in clip.shape[1:3])
    picked = clip[:, rows[:, None], columns[None, :]]  # [T, grid, grid, 3]
    return luminance(picked).reshape(len(clip), -1).T


def pixel_lz(
    clip: np.ndarray, grid: int = 8, seed: int = 0, shuffles: int = 1
) -> float:
    """Returns LZc of a grid of pixels over time (`lempel_ziv.lz_channels`).

    0 for a still clip and for a single frame. Clips are short signals: compare only
    clips of equal length.
    """
    series = pixel_series(clip, grid)
    if series.shape[1] < 2:
        return 0.0
    return lz_channels(series, seed, shuffles)


def _check(clip: np.ndarray) -> None:
    shaped = np.ndim(clip) == 4 and np.shape(clip)[3] == 3 and np.size(clip) > 0
    require(shaped, "clip.shape", np.shape(clip), "give [T, H, W, 3]")


def _centers(size: int, grid: int) -> np.ndarray:
    """Returns the middle pixel of each of `grid` equal parts, without repeats."""
    parts = min(size, grid)
    return ((np.arange(parts) + 0.5) * size / parts).astype(np.int64)
