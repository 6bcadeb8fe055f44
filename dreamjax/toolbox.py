"""The ascent of Yosinski et al. 2015 and of Simonyan et al. 2014, in their own units.

Pictures are levels about the training mean (`dreamjax.centered`); the gradient is
followed as it is, with no parametrization and no transforms; after each step come four
operators and the range 0 … 255, in the order of the Deep Visualization Toolbox:

    x ← x + η g,  decay,  blur,  norm clip,  contribution clip (of the g before),  range

η is constant, or such that the score gains a constant amount per step.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from dreamjax.centered import centered_range, centered_taps
from dreamjax.dream import Pieces
from dreamjax.gradients import progress
from dreamjax.hparams import read
from dreamjax.measures.spectrum import power, share_above
from dreamjax.models.model import Model, Record
from dreamjax.objectives import Objective
from dreamjax.params.raw import raw_param
from dreamjax.projections import blur, clip, contribution_abs_clip, decay, norm_clip
from dreamjax.transforms import chain
from dreamjax.types import HParams

PLAIN_ASCENT = {
    "init_std": 10.0,
    "rate": 100.0,
    "progress": np.inf,
    "decay": 0.0,
    "blur_width": 0.0,
    "blur_every": 0.0,
    "norm_percentile": 0.0,
    "contribution_abs_percentile": 0.0,
}
"""Hyperparameters with no regularizer: `rate` is η, or with a finite `progress`, the
gain of score per step, its bound."""

TABLE_1: Mapping[str, Mapping[str, float]] = {
    "1": {
        "blur_width": 0.5,
        "blur_every": 4.0,
        "norm_percentile": 50.0,
        "progress": 2.0,
    },
    "2": {"decay": 0.3, "norm_percentile": 20.0},
    "3": {"decay": 1e-4, "blur_width": 1.0, "blur_every": 4.0},
    "4": {
        "blur_width": 0.5,
        "blur_every": 4.0,
        "contribution_abs_percentile": 90.0,
        "rate": 1e8,
        "progress": 2.0,
    },
}
"""Yosinski's Table 1, as its authors' toolbox has it; what is not said is off."""


def toolbox_pieces(
    model: Model, objective: Objective, size: tuple[int, int]
) -> tuple[Pieces, Any]:
    """Returns the pieces of a run and the weights, for `ascend`.

    Args:
      model: the network.
      objective: what to maximize, of logits; in the paper's units as it stands.
      size: (H, W).
    """
    shape = (1, *size, model.record.channels)

    def optimizer(hp: HParams) -> optax.GradientTransformation:
        return optax.chain(
            progress(read("rate", hp), read("progress", hp)), optax.scale(-1.0)
        )

    return Pieces(
        taps=centered_taps(model),
        param=raw_param(
            lambda key, hp: read("init_std", hp) * jax.random.normal(key, shape)
        ),
        transform=chain(),
        objective=objective,
        penalties={},
        projections=(
            partial(decay, gray=0.0),
            blur,
            partial(norm_clip, gray=0.0),
            partial(contribution_abs_clip, gray=0.0),
            clip,
        ),
        optimizer=optimizer,
        redirect=False,
        periodic=True,
    ), model.variables


def toolbox_hparams(
    runs: Sequence[Mapping[str, float]], record: Record
) -> dict[str, np.ndarray]:
    """Returns the hyperparameters of R runs, name -> [R, ...].

    Args:
      runs: what each has beside `PLAIN_ASCENT`; all name the same others.
      record: of the network, whose range is kept.
    """
    full = [{**PLAIN_ASCENT, **run} for run in runs]
    low, high = centered_range(record)
    return {
        name: np.asarray([run[name] for run in full], np.float32) for name in full[0]
    } | {
        "clip_low": np.tile(low, (len(full), 1)),
        "clip_high": np.tile(high, (len(full), 1)),
    }


def high_energy(x: np.ndarray, above: float = 0.25) -> float:
    """Returns the share of a picture's energy above `above` cycles per pixel.

    Of the mean over its channels, without that plane's mean; white noise has .804. (Of
    the channels apart it is less where a picture has colors: they are coarser.)

    Args:
      x: [H, W, C].
      above: cycles per pixel.
    """
    return share_above(power(np.mean(x, axis=-1), window=False), above)


def zeroed(x: np.ndarray) -> float:
    """Returns the part of a picture's pixels that are exactly 0 in all channels."""
    return float(np.mean(np.all(x == 0, axis=-1)))


def toolbox_info(
    setting: Mapping[str, float], scores: np.ndarray, x: np.ndarray, first: float
) -> str:
    """Returns a run in the fields of the toolbox's info.txt.

    Args:
      setting: its hyperparameters.
      scores: [steps], of the pictures before each update.
      x: the last picture, in levels.
      first: step at which the unit was first the largest of its layer; NaN for never.
    """
    found = np.isfinite(first)
    fields = {
        "best_ii": int(np.argmax(scores)),
        "best_obj": float(np.max(scores)),
        "last_ii": len(scores) - 1,
        "last_obj": float(scores[-1]),
        "majority_ii": int(first) if found else None,
        "majority_obj": float(scores[int(first)]) if found else None,
        "meta_result": f"Metaresult: majority {'success' if found else 'failure'}",
        "norm": float(np.linalg.norm(x)),
        "obj": f"[{scores[0]:.6g}, {scores[1]:.6g}, ..., {scores[-1]:.6g}]",
        "std": float(x.std()),
    }
    parts = []
    for title, values in (("FindParams:", setting), ("FindResults:", fields)):
        parts.append(title)
        parts += [f"{name:>30}: {values[name]}" for name in sorted(values)]
    return "\n".join(parts) + "\n"
