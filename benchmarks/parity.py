"""Compares dreamjax's EfficientNet-Lite0 with an independent PyTorch one.

    pip install -r requirements-bench.txt
    python -m benchmarks.parity [--limit 1e-4]

The same weights and images go through both. It prints the relative error,
`max|ours - theirs| / max|theirs|`, of all 84 taps and of image gradients `d mean(a
channel of a tap) / d image`, on a photo and on noise, at 97×130 and 128×128, and then
what both make of two photos. Exits with status 1 where an error is above the limit or
a photo is named wrongly. About a minute on two CPU cores; expect 2e-5 at most for the
taps and 1e-6 for the gradients.

A unit within rounding of 0 or 6 may be on one side of ReLU6's kink in one network and
on the other in the other; one such unit in a million moves an image gradient by
percents. So the PyTorch gradient takes its gates (0 < x < 6) from dreamjax's
activations, and the number of gates that PyTorch would have set otherwise is printed:
it must be below one in 10,000.
"""

import argparse
import sys

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import torch_lite0
from benchmarks.timing import table
from dreamjax.images import load_image
from dreamjax.labels import ASSETS
from dreamjax.models import load
from dreamjax.models.layers import PLAIN
from dreamjax.models.source import locate
from dreamjax.models.zoo import find_port

SIZES = ((97, 130), (128, 128))
GRADIENTS = ("stem", "b3", "b8", "b8/expand", "b15", "head", "logits")
FLIPS = 1e-4  # share of units that may lie on the other side of a kink
TOP = {"chelsea": (285, 282, 281), "coffee": (967,)}


def lite0_file() -> str:
    """Returns the path of the weights that dreamjax loads."""
    port = find_port("efficientnet_lite0")
    return str(locate(port.source, port.record.name).path)


def to_torch(images: np.ndarray) -> torch.Tensor:
    """Returns [N, H, W, C] as a tensor [N, C, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def to_numpy(tap: torch.Tensor) -> np.ndarray:
    """Returns a tap with its channels last."""
    array = tap.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Returns max|ours - theirs| / max|theirs|.

    Raises:
      ValueError: other shapes, or a value that is not finite.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes differ: ours {ours.shape}, theirs {theirs.shape}.")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise ValueError("an activation or gradient is not finite.")
    difference = np.abs(ours.astype(np.float64) - theirs)
    return float(difference.max() / np.abs(theirs).max())


def means(tap):
    """Returns the mean [N, K] over the positions of a tap [N, h, w, K] or [N, K]."""
    return tap.mean((1, 2)) if tap.ndim == 4 else tap


def test_images(size: tuple[int, int]) -> np.ndarray:
    """Returns [2, H, W, 3]: chelsea, and uniform noise."""
    noise = np.random.default_rng(0).random((*size, 3), np.float32)
    return np.stack([load_image(ASSETS / "chelsea.png", size), noise])


def compare_taps(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray]
) -> dict[str, float]:
    """Returns tap name -> relative error, the larger of the images'.

    Raises:
      ValueError: the two networks have other taps.
    """
    if set(found) != set(expected):
        raise ValueError(f"taps differ: {sorted(set(found) ^ set(expected))}.")
    return {name: _worst(found[name], expected[name]) for name in expected}


def _worst(ours: np.ndarray, theirs: np.ndarray) -> float:
    return max(relative_error(a, b) for a, b in zip(ours, theirs, strict=True))


def gates(taps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns, for each ReLU6, where its gradient passes."""
    return {
        name.removesuffix("/pre"): (tap > 0) & (tap < 6)
        for name, tap in taps.items()
        if name.endswith("/pre")
    }


def compare_gradients(
    ours, theirs, images: np.ndarray, found: dict[str, np.ndarray]
) -> dict[str, float]:
    """Returns tap name -> relative error of the image gradient.

    Of each tap that channel is taken which is the loudest in the image where it is the
    quieter: a dead one would have no gradient.

    Args:
      ours: the dreamjax model.
      theirs: the PyTorch network.
      images: [N, H, W, 3].
      found: ours's taps of them.
    """

    def score(x, weights):
        taps = ours.taps(ours.variables, x, PLAIN)
        return sum(jnp.sum(w[None, :] * means(taps[t])) for t, w in weights.items())

    gradient = jax.jit(jax.grad(score))  # one program: the weights pick the channel
    silent = {name: np.zeros(found[name].shape[-1], np.float32) for name in GRADIENTS}
    relu6 = torch_lite0.gated_relu6(
        {name: to_torch(gate) for name, gate in gates(found).items()}
    )
    errors = {}
    for tap in GRADIENTS:
        channel = int(means(found[tap]).min(axis=0).argmax())
        one = silent[tap].copy()
        one[channel] = 1
        answer = np.asarray(gradient(jnp.asarray(images), {**silent, tap: one}))
        leaf = to_torch(images).requires_grad_()
        value = theirs.cut_at(tap, relu6)(leaf)[:, channel]
        total = value.mean(dim=(1, 2)).sum() if value.ndim == 3 else value.sum()
        (expected,) = torch.autograd.grad(total, leaf)
        errors[tap] = _worst(answer, to_numpy(expected))
    return errors


def classify(ours, theirs) -> list[tuple[str, list[int], list[int], float, float]]:
    """Returns per photo the top classes of ours and theirs, and both probabilities."""
    size = ours.record.size
    images = np.stack([load_image(ASSETS / f"{p}.png", (size, size)) for p in TOP])
    both = (
        _ours(ours, images)["probabilities"],
        _theirs(theirs, images)["probabilities"],
    )
    rows = []
    for (photo, top), p, q in zip(TOP.items(), *both, strict=True):
        best = [np.argsort(-x)[: len(top)].tolist() for x in (p, q)]
        rows.append((photo, *best, float(p.max()), float(q.max())))
    return rows


def _ours(model, images: np.ndarray) -> dict[str, np.ndarray]:
    taps = jax.jit(lambda v, x: dict(model.taps(v, x, PLAIN)))
    return jax.tree.map(np.asarray, taps(model.variables, jnp.asarray(images)))


def _theirs(network, images: np.ndarray) -> dict[str, np.ndarray]:
    with torch.no_grad():
        taps = network.taps(to_torch(images))
    return {name: to_numpy(tap) for name, tap in taps.items()}


def main() -> int:
    """Prints the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=1e-4)
    limit = parser.parse_args().limit
    ours, theirs = load("efficientnet_lite0"), torch_lite0.load(lite0_file())

    errors: dict[str, list[dict[str, float]]] = {"tap": [], "gradient": []}
    flips, units = 0, 0
    for size in SIZES:
        images = test_images(size)
        found, expected = _ours(ours, images), _theirs(theirs, images)
        errors["tap"].append(compare_taps(found, expected))
        errors["gradient"].append(compare_gradients(ours, theirs, images, found))
        both = gates(found), gates(expected)
        flips += sum(int(np.sum(both[0][name] != both[1][name])) for name in both[0])
        units += sum(gate.size for gate in both[0].values())

    names = [f"{height}×{width}" for height, width in SIZES]
    for what, columns in errors.items():
        rows = [
            [name, *(f"{column[name]:.1e}" for column in columns)]
            for name in columns[0]
        ]
        print(table([what, *names], rows), "\n")
    worst = {
        what: max(max(column.values()) for column in columns)
        for what, columns in errors.items()
    }
    print(f"largest: {worst}")
    print(f"{flips} of {units} gates of ReLU6 differ\n")

    right = True
    rows = []
    for photo, a, b, p, q in classify(ours, theirs):
        right &= tuple(a) == tuple(b) == TOP[photo]
        rows.append([photo, str(a), str(b), f"{p:.4f}", f"{q:.4f}"])
    print(table(["photo", "ours", "theirs", "p ours", "p theirs"], rows), "\n")
    if max(worst.values()) > limit or flips > FLIPS * units or not right:
        print(f"FAILED: limit {limit:.0e}", file=sys.stderr)
        return 1
    print(f"all within {limit:.0e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
