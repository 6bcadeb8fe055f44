"""One dream with all that happened on the way: scores of every step, pictures between.

For figures; a run with files keeps the same in its log.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from dreamjax.deepdream.studio import Easel, finished, keys_of
from dreamjax.errors import require
from dreamjax.types import Array, DreamInfo


class Trace(NamedTuple):
    """A dream and its way.

    Attributes:
      image: [H, W, 3] in [0, 1].
      before, after: the objective of the photo and of the dream, as they are.
      scores: [octaves, steps], the objective before each step, on the jittered view.
      snapshots: (octave, steps done in it) -> [h, w, 3].
      reached: (octave, steps done in it) -> the objective of that snapshot.
    """

    image: np.ndarray
    before: float
    after: float
    scores: np.ndarray
    snapshots: dict[tuple[int, int], np.ndarray]
    reached: dict[tuple[int, int], float]


def trace_dream(
    easel: Easel,
    photo: np.ndarray,
    *,
    run: int = 0,
    snapshots: Collection[int] = (),
) -> Trace:
    """Dreams a photo as `make_painter` does, and keeps what it met.

    Args:
      easel: from `make_easel`, for photos of this size.
      photo: [H, W, 3] in [0, 1].
      run: which of the config's settings.
      snapshots: steps of each octave after which the picture is kept.

    Raises:
      ValueError: a snapshot beyond the steps.
    """
    config = easel.experiment.config
    steps = config["steps"]
    for step in snapshots:
        require(1 <= step <= steps, "snapshots", step, f"1 … {steps}")
    scores = np.full((len(easel.sizes), steps), np.nan)

    def watch(octave: int, done: int, info: DreamInfo, alive: Array) -> None:
        scores[octave, done - 1] = np.asarray(info.score)[0, 0]

    def score(image: np.ndarray) -> float:
        return float(easel.score(photo, image[None], [run])[0])

    keys = keys_of(easel, [run], 0)
    made = easel.dream(photo, [run], keys, watch=watch, snapshots=snapshots)
    kept = {where: images[0] for where, images in made.snapshots.items()}
    image = finished(config, made.images, photo)[0]
    return Trace(
        image,
        score(photo),
        score(image),
        scores,
        kept,
        {where: score(image) for where, image in kept.items()},
    )
