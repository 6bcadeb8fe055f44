"""Pictures of one target from several starts: how different, and do they agree?

`make_describe` gives a pure function from pictures to features; `seed_metrics`
compares the pictures of runs that are alike but for their seed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dreamjax.models.layers import PLAIN
from dreamjax.models.model import TapsOf
from dreamjax.objectives import Objective
from dreamjax.report.values import key_of
from dreamjax.types import Array

SEED = "seed"


class Features(NamedTuple):
    """What a network sees in pictures.

    Attributes:
      root: [B, r, K], a root of each Gram matrix: G = rootᵀ root.
      mean: [B, K], each channel's mean over positions.
    """

    root: Array
    mean: Array


def tap_of(objective: Objective, shapes: Mapping[str, Sequence[int]]) -> str:
    """Returns the tap at which pictures made for an objective are compared.

    The tap of its first read; where that has no positions (a class), the last one
    before it that has some: texture is lost in a single vector.

    Args:
      objective: what was maximized.
      shapes: tap name -> shape, in the network's order (`tap_shapes`).
    """
    aimed, names = objective.reads[0].tap, list(shapes)
    before = names[: names.index(aimed) + 1]
    spatial = [name for name in before if len(shapes[name]) == 4]
    return spatial[-1] if spatial else aimed


def make_describe(tap: str, taps: TapsOf) -> Callable[[Any, Array], Features]:
    """Returns (variables, images [B, H, W, C]) -> Features at `tap`."""

    def describe(variables: Any, images: Array) -> Features:
        a = taps(variables, images, PLAIN)[tap].astype(jnp.float32)
        a = a.reshape(a.shape[0], -1, a.shape[-1])  # [B, n, K]
        # Of many positions R of the QR decomposition is the smaller root, K × K.
        root = a if a.shape[1] <= a.shape[2] else jnp.linalg.qr(a, mode="r")
        return Features(root, jnp.mean(a, axis=1))

    return describe


def seed_metrics(
    rows: Sequence[Mapping[str, Any]],
    images: np.ndarray,
    describe: Callable[[np.ndarray], Features],
) -> list[dict[str, float]]:
    """Returns `diversity` and `agreement` for each run, or nothing for it.

    Runs whose hyperparameters differ in `seed` alone are one group, and all B pictures
    of all its runs are compared, pair by pair; every run of a group gets its values:

        diversity = mean over pairs of 1 - <G_i, G_j> / (|G_i| |G_j|), in [0, 1]
        agreement = mean over pairs of Spearman's correlation of the channel means

    G is the Gram matrix of the channels over positions, so a picture moved or mirrored
    is no other picture (its cosine is Lucid's diversity objective). Ranks, because the
    target itself is far above all channels in every run and would alone make a
    correlation of values high. A correlation without variance counts as 0.

    Runs that are not "alive" are left out, and a group of a single picture has nothing
    to compare: these get an empty dict.

    Args:
      rows: one summary row per run (`dreamjax.report.values`).
      images: [R, B, H, W, C], in the order of the rows.
      describe: images [B, H, W, C] of one run -> Features (`make_describe`, compiled).
    """
    groups: dict[Any, list[int]] = {}
    for i, row in enumerate(rows):
        if row.get("status", "alive") == "alive":
            same = {n: v for n, v in row["hparams"].items() if n != SEED}
            groups.setdefault(key_of(same), []).append(i)
    found: list[dict[str, float]] = [{} for _ in rows]
    for members in groups.values():
        if len(members) * images.shape[1] < 2:
            continue
        features = [describe(images[i]) for i in members]
        root = np.concatenate([np.asarray(f.root, np.float32) for f in features])
        mean = np.concatenate([np.asarray(f.mean, np.float64) for f in features])
        metrics = {"diversity": diversity(root), "agreement": agreement(mean)}
        for i in members:
            found[i] = dict(metrics)
    return found


def diversity(root: np.ndarray) -> float:
    """Returns the mean over pairs of 1 - cosine of their Gram matrices, in [0, 1].

    <G_i, G_j> = |root_i root_jᵀ|², so the Gram matrices themselves are never made. Two
    pictures without features are alike; one without is unlike any with.

    Args:
      root: [P, r, K], G = rootᵀ root, P >= 2.
    """
    peak = np.abs(root).max(axis=(1, 2), keepdims=True)
    root = root / np.where(peak > 0, peak, 1.0)
    norms = np.array([np.linalg.norm(one @ one.T) for one in root])
    cosines = []
    for i in range(1, len(root)):
        inner = np.square(np.linalg.norm(root[i] @ root[:i].mT, axis=(1, 2)))
        size = norms[i] * norms[:i]
        both_empty = (norms[i] == 0) & (norms[:i] == 0)
        cosine = inner / np.where(size > 0, size, 1.0)
        cosines.extend(np.where(both_empty, 1.0, cosine))
    return float(np.clip(1.0 - np.mean(cosines), 0.0, 1.0))


def agreement(mean: np.ndarray) -> float:
    """Returns the mean over pairs of Spearman's rank correlation, in [-1, 1].

    Args:
      mean: [P, K], P >= 2.
    """
    from scipy.stats import rankdata  # half a second, for sweeps with seeds only

    ranks = rankdata(mean, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1, keepdims=True)
    unit = ranks / np.where(norms > 0, norms, 1.0)
    pairs = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return float(np.mean(pairs))
