"""Pictures and their inversions side by side: how alike they are."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dreamjax.errors import require
from dreamjax.figures.kept import kept_in
from dreamjax.identity import model_digest
from dreamjax.inversion.cvpr2015 import Inversion, features
from dreamjax.inversion.ijcv2016 import Solve
from dreamjax.models.model import Model, postprocess, preprocess, tap_shapes


def own_units(model: Model, rgb: Any) -> np.ndarray:
    """Returns pictures [N, H, W, 3], RGB in [0, 1], as the network wants them."""
    return np.asarray(preprocess(np.asarray(rgb, np.float32), model.record))


def as_rgb(model: Model, x: Any) -> np.ndarray:
    """Returns pictures [..., H, W, C] of the network's units as RGB, cut to [0, 1]."""
    return np.clip(postprocess(np.asarray(x), model.record), 0, 1)


def psnr(found: np.ndarray, wanted: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio in dB of pictures in [0, 1]."""
    apart = np.mean(np.square(np.asarray(found, np.float64) - wanted))
    return float(10 * np.log10(1 / max(apart, 1e-12)))


def pixel_correlation(images: np.ndarray) -> float:
    """Returns the mean over pairs of the correlation of B pictures [B, …].

    Raises:
      ValueError: fewer than two.
    """
    require(len(images) >= 2, "images", len(images), "at least two pictures")
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    table = np.corrcoef(flat)
    pairs = itertools.combinations(range(len(images)), 2)
    return float(np.mean([table[pair] for pair in pairs]))


def top_classes(model: Model, x: Any) -> np.ndarray | None:
    """Returns the likeliest class of pictures [..., H, W, C]; None without classes."""
    x = np.asarray(x, np.float32)
    if "logits" not in tap_shapes(model, x.shape[-3:-1]):
        return None
    logits = features(model, ["logits"], x.reshape(-1, *x.shape[-3:]), lanes=4)
    return logits["logits"].argmax(axis=-1).reshape(x.shape[:-3])


def solved(
    folder: Path, solve: Solve, model: Model, tap: str, goals: Any, **keys: Any
) -> Inversion:
    """Returns `solve(model, tap, goals, **keys)`, from the folder if it is there."""

    def make() -> dict[str, np.ndarray]:
        found = solve(model, tap, goals, **keys)
        kept = {f"at {n}": images for n, images in found.snapshots.items()}
        return {**found._asdict(), **kept, "snapshots": np.zeros(0)}

    recipe: Mapping[str, Any] = {
        "solve": f"{solve.__module__}.{solve.__name__}",
        "network": (model.record.name, model_digest(model)),
        "tap": tap,
        "goals": np.asarray(goals),
        "keys": {
            k: v._asdict() if hasattr(v, "_asdict") else v for k, v in keys.items()
        },
    }
    found = kept_in(folder, recipe, make)
    return Inversion(
        found["images"],
        found["errors"],
        found["curve"],
        {int(n[3:]): found[n] for n in found if n.startswith("at ")},
        found["alive"],
    )
