"""What the dream of the next frame starts from: the frame, and what was dreamed before.

After Suzuki, Roseboom, Schwartzman and Seth 2017 (the Hallucination Machine), in the
form of their published program. Frames and dreams are RGB float32 [H, W, 3] in [0, 1],
flows [H, W, 2] as in `dreamjax.video.flow`. Pure NumPy.
"""

import numpy as np
from scipy import ndimage

from dreamjax.errors import require
from dreamjax.video.flow import warp

EDGE = 2.0
"""σ of the blur of the motion mask, pixels: no seam between moving and static."""

CHANGED = 18 / 255
"""A mean difference of the colors from which on a pixel does not stand any more."""


def motion(flow: np.ndarray, moving: float, *, wrap: bool = False) -> np.ndarray:
    """Returns how much of each pixel counts as moving, 0 … 1.

    A smooth step of the length of the flow, 0 up to moving/2, 1/2 at `moving`, 1 from
    3/2 moving on; then blurred with σ = `EDGE`. With moving = 0 everything moves.

    Args:
      flow: [H, W, 2], pixels.
      moving: pixels per frame, >= 0.
      wrap: the left and right edges are neighbors.

    Returns:
      float32 [H, W].
    """
    if moving == 0:
        return np.ones(flow.shape[:2], np.float32)
    length = np.sqrt(np.sum(np.square(flow), axis=-1))
    step = np.clip(length / moving - 0.5, 0, 1)
    step = (step * step * (3 - 2 * step)).astype(np.float32)
    around = ["nearest", "wrap" if wrap else "nearest"]
    return np.clip(ndimage.gaussian_filter(step, EDGE, mode=around), 0, 1)


def carry(
    frame: np.ndarray,
    frame_before: np.ndarray,
    dream_before: np.ndarray,
    flow_back: np.ndarray,
    mask: np.ndarray,
    *,
    blend_moving: float,
    blend_static: float,
    moving: float,
    wrap: bool = False,
) -> np.ndarray:
    """Returns the image that the next dream starts from.

        frame + k [ m bm W(dream_before - frame_before)
                    + (1 - m) bs (dream_before - frame) ],   clipped to [0, 1],

    with W(·) the warp along `flow_back`, m = `motion(flow_back, moving)` and k = mask.
    Where things move, what was dreamed into the last frame moves along with them; where
    they stand, the last dream shines through. Both blends 0 give the frame, to the bit.

    Different from the published program:

    * W reads along the flow from this frame back. The program reads along minus the
      flow forward, which belongs to other pixels and doubles edges at occlusions.
    * Nothing is carried where the two flows disagree: there the past did not see what
      is here. The program smears the background's dream over what appears.
    * `moving` is a length in pixels. The program scales each frame's flow to 0 … 255,
      so that in a still scene noise counts as motion.
    * Moving and static regions blend into each other over a few pixels.
    * The start is clipped to [0, 1]: pixels are.

    Args:
      frame: [H, W, 3], to be dreamed next.
      frame_before: [H, W, 3].
      dream_before: [H, W, 3], the dream of `frame_before`.
      flow_back: [H, W, 2], `optical_flow(frame, frame_before)`.
      mask: [H, W] in 0 … 1, see `consistency`; 0 everywhere after a cut.
      blend_moving: bm, in 0 … 1.
      blend_static: bs, in 0 … 1.
      moving: pixels per frame, >= 0.
      wrap: the left and right edges are neighbors.

    Returns:
      float32 [H, W, 3] in [0, 1].
    """
    check_blends(blend_moving, blend_static, moving)
    frame = np.asarray(frame, np.float32)
    detail = warp(dream_before - frame_before, flow_back, wrap=wrap)
    share = motion(flow_back, moving, wrap=wrap)[..., None]
    moved = share * (blend_moving * detail)
    stood = (1 - share) * (blend_static * (dream_before - frame))
    start = frame + mask[..., None] * (moved + stood)
    return np.clip(start, 0, 1).astype(np.float32)


def standing(
    frame: np.ndarray,
    frame_before: np.ndarray,
    flow_back: np.ndarray,
    mask: np.ndarray,
    *,
    moving: float,
    wrap: bool = False,
) -> np.ndarray:
    """Returns how much of each pixel stands as it stood before, 0 … 1.

    1 where nothing moves and nothing changes: (1 - length of the flow / moving) times
    (1 - difference / `CHANGED`), neither below 0, where the flows agree. The difference
    is that of the frame and the one before moved along the flow, blurred with σ =
    `EDGE`, as the motion is.

    Args:
      frame, frame_before, flow_back, mask: as in `carry`.
      moving: pixels per frame; 0: nothing stands that is not exactly where it was.
      wrap: the left and right edges are neighbors.

    Returns:
      float32 [H, W].
    """
    length = np.sqrt(np.sum(np.square(flow_back), axis=-1))
    moves = np.clip(length / max(moving, 1e-6), 0, 1)
    before = warp(frame_before, flow_back, wrap=wrap)
    changes = np.mean(np.abs(frame - before), axis=-1) / CHANGED
    around = ["nearest", "wrap" if wrap else "nearest"]
    moves, changes = (
        ndimage.gaussian_filter(x.astype(np.float32), EDGE, mode=around)
        for x in (moves, changes)
    )
    return mask * (1 - np.clip(moves, 0, 1)) * (1 - np.clip(changes, 0, 1))


def moved_dream(
    frame: np.ndarray,
    frame_before: np.ndarray,
    dream_before: np.ndarray,
    flow_back: np.ndarray,
    *,
    wrap: bool = False,
) -> np.ndarray:
    """Returns the frame with all that was dreamed into the last one, moved along.

    Args as in `carry`; float32 [H, W, 3] in [0, 1].
    """
    detail = warp(dream_before - frame_before, flow_back, wrap=wrap)
    return np.clip(frame + detail, 0, 1).astype(np.float32)


def check_blends(blend_moving: float, blend_static: float, moving: float) -> None:
    """Raises ValueError for a blend outside 0 … 1 or a negative threshold."""
    for name, value in [("blend_moving", blend_moving), ("blend_static", blend_static)]:
        require(0 <= value <= 1, name, value, "give a share, 0 … 1")
    require(0 <= moving < float("inf"), "moving", moving, "give pixels, at least 0")
