"""Weights and images out of a name, and the form in which reference values are kept.

`benchmarks/golden.py` gives these weights to another framework's network and keeps some
of what it answers in `tests/golden/`; the tests give the same weights, through the
converter of the source's own format, to ours. `RandomState` is used because NumPy
promises that its stream never changes.
"""

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

GOLDEN = Path(__file__).parent / "golden"
BLOCK = 1 << 20  # values drawn for one tensor; a larger one repeats them
ODD_BLOCK = 999_983  # prime: where outputs are last, 1 << 20 would repeat whole rows
GRADIENT = 4096  # values kept of the gradient
TAPS = 100_000  # bytes kept of all taps together
POSITIVE = (".weight", "_gamma", "/0", "running_var", "/3", "gamma", "variance")
# Keras' variances where there is no scale before them: Inception-v3's, and an input's.
NO_SCALE = re.compile(r"batch_normalization_\d+/2$|^normalization/1$")


def seeded(
    name: str, shape: Sequence[int], order: str = "OIHW", gain: float = 1.0
) -> np.ndarray:
    """Returns float32 weights that depend on the name and shape of a tensor only.

    Kernels keep the size of a rectified signal (variance 2 / fan-in). What is the scale
    or the variance of a batch norm, by its name, lies in 0.4 … 1; biases and means are
    normal with deviation 0.1. Three axes are no kernel's: the position embeddings and
    the class token of a transformer, normal with deviation 0.5.

    Args:
      order: "OIHW" or "HWIO" (and "OHWI"), which says where the inputs of a kernel are.
      gain: multiplies kernels. Below 1, many residual blocks do not add up to numbers
        beside which a bias is nothing.
    """
    random = np.random.RandomState(zlib.crc32(name.encode()))
    size = int(np.prod(shape, dtype=np.int64))
    if len(shape) < 2 and (name.endswith(POSITIVE) or NO_SCALE.search(name)):
        return random.uniform(0.4, 1.0, size).astype(np.float32).reshape(shape)
    block = ODD_BLOCK if order == "HWIO" else BLOCK
    values = random.standard_normal(min(size, block)).astype(np.float32)
    if len(shape) < 2:
        return (0.1 * values).reshape(shape)
    if len(shape) == 3:
        return np.resize(0.5 * values, shape)
    outputs = shape[0] if order.startswith("O") else shape[-1]
    fan_in = size // outputs
    if order == "HWIO" and len(shape) == 4 and shape[-1] == 1:  # depthwise
        fan_in = shape[0] * shape[1]
    values *= np.float32(gain * np.sqrt(2 / fan_in))
    return np.resize(values, size).reshape(shape)


def seeded_tensors(meta: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns every tensor that a golden file lists."""
    options = {"order": meta["order"], "gain": meta.get("gain", 1.0)}
    return {n: seeded(n, shape, **options) for n, shape in meta["tensors"]}


def seeded_image(seed: int, size: Sequence[int]) -> np.ndarray:
    """Returns a picture [1, H, W, 3] float32 in [0, 1]."""
    random = np.random.RandomState(seed)
    return random.uniform(size=(1, *size, 3)).astype(np.float32)


def weighting(name: str, shape: Sequence[int]) -> np.ndarray:
    """Returns what the gradient is of: the sum of a tap times these, float32."""
    random = np.random.RandomState(zlib.crc32(name.encode()) ^ 1)
    size = int(np.prod(shape))
    values = random.standard_normal(min(size, BLOCK)).astype(np.float32)
    return np.resize(values / np.sqrt(size), size).reshape(shape).astype(np.float32)


def positions(size: int, count: int) -> np.ndarray:
    """Returns `count` indices below `size`, spread evenly but in step with no axis."""
    if size <= count:
        return np.arange(size)
    return np.unique((np.arange(count) * (size / count)).astype(np.int64))


class Golden(NamedTuple):
    """What another framework answered.

    Attributes:
      meta: "size" and "seed" of the image, "order", "gain" and "tensors" (name,
        shape) of the weights, "gradient_of" (names of taps), "shapes" of the taps,
        "made_with". Where the gradient is taken from another image, "gradient_at" has
        "size", "seed" and "shapes" of that one.
      taps: name -> (values at `positions` of the flattened tap [1, h, w, K], largest
        magnitude of the whole tap).
      gradient: (values at `positions`, largest magnitude) of the gradient in the image
        of `sum(weighting(tap) * tap)` over the taps of `gradient_of`.
    """

    meta: dict[str, Any]
    taps: dict[str, tuple[np.ndarray, float]]
    gradient: tuple[np.ndarray, float]


def kept(array: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """Returns some values of an array, and its largest magnitude."""
    flat = np.asarray(array).reshape(-1)
    return flat[positions(flat.size, count)], float(np.abs(flat).max())


def save_golden(
    path: Path,
    meta: Mapping[str, Any],
    taps: Mapping[str, np.ndarray],
    gradient: np.ndarray,
) -> None:
    """Writes a golden file: a part of each tap and of the gradient."""
    count = int(np.clip(TAPS // (4 * len(taps)), 24, 512))
    found = {name: kept(tap, count) for name, tap in taps.items()}
    shapes = {name: list(np.shape(tap)) for name, tap in taps.items()}
    part, largest = kept(gradient, GRADIENT)
    np.savez_compressed(
        path,
        meta=json.dumps(dict(meta) | {"shapes": shapes, "count": count}),
        values=np.concatenate([v for v, _ in found.values()]).astype(np.float32),
        largest=np.array([m for _, m in found.values()] + [largest], np.float32),
        gradient=part.astype(np.float32),
    )


def load_golden(name: str) -> Golden:
    """Reads `tests/golden/<name>.npz`."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        meta = json.loads(str(file["meta"]))
        values, largest = file["values"], file["largest"]
        gradient = file["gradient"]
    taps, at = {}, 0
    for i, (tap, shape) in enumerate(meta["shapes"].items()):
        size = len(positions(int(np.prod(shape)), meta["count"]))
        taps[tap] = values[at : at + size], float(largest[i])
        at += size
    return Golden(meta, taps, (gradient, float(largest[-1])))


def error(found: np.ndarray, expected: tuple[np.ndarray, float], count: int) -> float:
    """Returns the largest difference relative to the largest magnitude of the tap."""
    values, largest = expected
    part, our_largest = kept(found, count)
    assert part.shape == values.shape, (part.shape, values.shape)
    assert np.all(np.isfinite(part)) and largest > 0
    apart = max(np.abs(part - values).max(), abs(our_largest - largest))
    return float(apart / largest)
