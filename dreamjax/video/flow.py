"""Optical flow: where each pixel of one frame is in another, and what follows from it.

A flow is float32 [H, W, 2] in pixels, (down, right) like every position here (OpenCV
and the literature say (right, down)). `optical_flow(a, b)[i, j] = w` says that what is
at (i, j) in frame a is at (i, j) + w in frame b. So `warp(b, optical_flow(a, b))` looks
like a: what carries the past into the present is the flow from the present back.

Frames are RGB float32 [H, W, 3] in [0, 1]. OpenCV is an extra; only `optical_flow`
needs it.
"""

from collections.abc import Sequence
from types import ModuleType

import numpy as np
from PIL import Image

from dreamjax.errors import choose, require
from dreamjax.images import to_uint8

METHODS = ("dis", "farneback")

SMALLEST = 16
"""The shortest side that a flow is computed for, pixels."""


def optical_flow(
    before: np.ndarray, after: np.ndarray, *, method: str, wrap: bool = False
) -> np.ndarray:
    """Returns the flow from `before` to `after`, estimated on 8-bit gray by OpenCV.

    "farneback" has the numbers of the Hallucination Machine (Suzuki et al. 2017):
    pyramid 0.5, 3 levels, window 15, 3 iterations, polynomials of 5 pixels and σ 1.2.
    It cannot see motions beyond about 20 pixels. "dis" (Kroeger et al. 2016, preset
    medium) can, and is sharper at edges; docs/video.md has both measured.

    The flow does not depend on the number of threads (OpenCV 4.14 and 5.0, 1 to 8 of
    them), so a resumed run sees the same one. Those two versions differ, by 0.003
    pixels in the median and 0.16 at most (DIS, two test photos).

    Args:
      before: [H, W, 3] in [0, 1].
      after: the same shape.
      method: "dis" or "farneback".
      wrap: the left and right edges are neighbors (an equirectangular panorama).

    Returns:
      float32 [H, W, 2], (down, right), pixels.

    Raises:
      ValueError: OpenCV is missing, the shapes differ, or a side is under `SMALLEST`.
    """
    choose("method", method, METHODS)
    _check_pair(before, after)
    cv2 = _opencv()
    pair = [_gray(cv2, image) for image in (before, after)]
    width = pair[0].shape[1]
    margin = width // 4 if wrap else 0
    pair = [np.pad(gray, ((0, 0), (margin, margin)), mode="wrap") for gray in pair]
    flow = (_dis if method == "dis" else _farneback)(cv2, *pair)
    flow = flow[:, margin : margin + width]
    return np.ascontiguousarray(flow[..., ::-1], np.float32)


def warp(image: np.ndarray, flow: np.ndarray, *, wrap: bool = False) -> np.ndarray:
    """Returns `out[p] = image(p + flow[p])`, bilinear.

    Beyond the border the nearest border pixel is seen; with `wrap` the columns go
    round.

    Args:
      image: float [H, W, C] or [H, W].
      flow: [H, W, 2], (down, right), pixels.
      wrap: the left and right edges are neighbors.

    Returns:
      float32, the shape of `image`.
    """
    image = np.asarray(image, np.float32)
    fits = image.shape[:2] == flow.shape[:2] and flow.shape[2:] == (2,)
    require(fits, "flow.shape", flow.shape, f"give {(*image.shape[:2], 2)}")
    height, width = image.shape[:2]
    y = np.arange(height)[:, None] + flow[..., 0].astype(np.float64)
    x = np.arange(width)[None, :] + flow[..., 1].astype(np.float64)
    y = np.clip(y, 0, height - 1)
    x = np.mod(x, width) if wrap else np.clip(x, 0, width - 1)
    top, left = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
    v, u = (y - top).astype(np.float32), (x - left).astype(np.float32)
    v, u = (part.reshape(part.shape + (1,) * (image.ndim - 2)) for part in (v, u))
    left = np.mod(left, width)  # a mod of -1e-20 rounds to the width itself
    bottom = np.minimum(top + 1, height - 1)
    right = np.mod(left + 1, width) if wrap else np.minimum(left + 1, width - 1)
    upper = (1 - u) * image[top, left] + u * image[top, right]
    lower = (1 - u) * image[bottom, left] + u * image[bottom, right]
    return (1 - v) * upper + v * lower


def consistency(
    forward: np.ndarray, backward: np.ndarray, *, wrap: bool = False
) -> np.ndarray:
    """Returns where the two flows agree, on the pixels of the frame after.

    A pixel p of the frame after was at q = p + backward(p); going forward from there
    should lead back to p. With w = backward(p) and w~ = forward(q) it is kept where

        |w + w~|² < 0.01 (|w|² + |w~|²) + 0.5,

    and q lies in the picture: Sundaram, Brox and Keutzer 2010 (eq. 5). What it drops is
    what the frame before did not show, or where the flow is wrong.

    Args:
      forward: [H, W, 2], `optical_flow(before, after)`.
      backward: [H, W, 2], `optical_flow(after, before)`.
      wrap: the left and right edges are neighbors.

    Returns:
      float32 [H, W], 0 or 1.
    """
    returned = warp(forward, backward, wrap=wrap)
    gap = _squared(backward + returned)
    agree = gap < 0.01 * (_squared(backward) + _squared(returned)) + 0.5
    height, width = backward.shape[:2]
    y = np.arange(height)[:, None] + backward[..., 0]
    x = np.arange(width)[None, :] + backward[..., 1]
    inside = (y >= 0) & (y <= height - 1)
    if not wrap:
        inside &= (x >= 0) & (x <= width - 1)
    return (agree & inside).astype(np.float32)


def pair_error(
    dream_before: np.ndarray,
    dream: np.ndarray,
    backward: np.ndarray,
    mask: np.ndarray,
    *,
    wrap: bool = False,
) -> float:
    """Returns how much a dream jumps beyond its motion, in units of 0 … 255.

    255 · mean |dream - warp(dream_before, backward)| over the channels of the pixels
    where the mask is 1. NaN where it is 0 everywhere: after a cut nothing can jump.

    Args:
      dream_before: [H, W, 3] in [0, 1].
      dream: [H, W, 3] in [0, 1], the next one.
      backward: [H, W, 2], the flow of the frames, from this one to the one before.
      mask: [H, W], see `consistency`.
      wrap: the left and right edges are neighbors.
    """
    jump = np.abs(np.asarray(dream) - warp(dream_before, backward, wrap=wrap))
    total = float(np.sum(mask, dtype=np.float64)) * jump.shape[-1]
    if total == 0:
        return float("nan")
    return 255.0 * float(np.sum(jump * mask[..., None], dtype=np.float64)) / total


def temporal_error(
    dreams: Sequence[np.ndarray],
    frames: Sequence[np.ndarray],
    *,
    method: str,
    wrap: bool = False,
) -> np.ndarray:
    """Returns the `pair_error` of each dream but the first.

    Args:
      dreams: T images [H, W, 3] in [0, 1].
      frames: the T frames that they are dreams of; their flow is the reference.
      method: see `optical_flow`.
      wrap: the left and right edges are neighbors.

    Returns:
      float64 [T - 1].
    """
    require(len(dreams) == len(frames), "dreams", len(dreams), f"give {len(frames)}")
    errors = []
    for t in range(1, len(frames)):
        before, after = frames[t - 1], frames[t]
        forward = optical_flow(before, after, method=method, wrap=wrap)
        backward = optical_flow(after, before, method=method, wrap=wrap)
        mask = consistency(forward, backward, wrap=wrap)
        pair = dreams[t - 1], dreams[t]
        errors.append(pair_error(*pair, backward, mask, wrap=wrap))
    return np.array(errors, np.float64)


def flow_picture(flow: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Returns a picture of a flow: hue is the direction, saturation the length.

    White stands still; right is red, down yellow-green, left cyan, up violet.

    Args:
      flow: [H, W, 2], (down, right).
      largest: length of full saturation, pixels; None takes the longest here.

    Returns:
      uint8 [H, W, 3].
    """
    length = np.sqrt(_squared(flow))
    full = float(np.max(length)) if largest is None else largest
    turns = np.arctan2(flow[..., 0], flow[..., 1]) / (2 * np.pi) % 1.0
    saturation = np.clip(length / max(full, 1e-9), 0, 1)
    parts = [turns, saturation, np.ones_like(turns)]
    levels = np.stack([np.rint(255 * part) for part in parts], axis=-1)
    return np.asarray(Image.fromarray(levels.astype(np.uint8), "HSV").convert("RGB"))


def _squared(flow: np.ndarray) -> np.ndarray:
    return np.sum(np.square(flow), axis=-1)


def _check_pair(before: np.ndarray, after: np.ndarray) -> None:
    shape = np.shape(before)
    shaped = len(shape) == 3 and shape[2] == 3 and min(shape[:2]) >= SMALLEST
    allowed = f"give [H, W, 3] with sides of at least {SMALLEST}"
    require(shaped, "before.shape", shape, allowed)
    require(np.shape(after) == shape, "after.shape", np.shape(after), f"give {shape}")


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise ValueError(
            "Optical flow needs OpenCV: pip install -r requirements-video.txt"
        ) from error
    return cv2


def _gray(cv2: ModuleType, image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(to_uint8(np.asarray(image, np.float32)), cv2.COLOR_RGB2GRAY)


def _farneback(cv2: ModuleType, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return cv2.calcOpticalFlowFarneback(
        before,
        after,
        None,
        pyr_scale=0.5,
        levels=3,
        winsize=15,
        iterations=3,
        poly_n=5,
        poly_sigma=1.2,
        flags=0,
    )


def _dis(cv2: ModuleType, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(
        before, after, None
    )
