"""Makes `tests/golden/`: what the source frameworks answer to seeded weights.

    python -m benchmarks.golden                     # all
    python -m benchmarks.golden squeezenet1_1.torchvision

Each reference network gets the weights that `tests/seeded.py` draws from the names of
its own tensors, computes in float64 where its framework can, and part of its
activations and of its gradient is kept. Nothing of dreamjax takes part. Needs
`requirements-bench.txt`; the test suite needs only the files.
"""

import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from tests.seeded import GOLDEN, save_golden, seeded_image


class Reference(NamedTuple):
    """One network of another framework.

    Attributes:
      size: (height, width) of the image.
      answer: image [1, H, W, 3] in [0, 1] -> Answer. It maps the image to what the
        network wants.
      seed: of the image. Change it where a unit happens to lie so near the kink of its
        nonlinearity that float32 cannot tell the side.
      gradient: reference with a smaller image that the gradient is taken from, where
        this one is so large that some units always lie at their kinks. The same
        network, or less of it.
    """

    size: tuple[int, int]
    answer: Callable[[np.ndarray], "Answer"]
    seed: int = 0
    gradient: "Reference | None" = None


class Answer(NamedTuple):
    """What a network says.

    Attributes:
      taps: name of our tap -> [1, h, w, K] or [1, K].
      gradient: [1, H, W, 3], of sum(weighting(tap) * tap) in the image in [0, 1].
      gradient_of: names of those taps.
      tensors: (name, shape) of every tensor of the source's file, in its own terms.
      order: of the kernels' axes there.
      made_with: framework and version.
      gain: of the kernels, see `seeded`.
    """

    taps: Mapping[str, np.ndarray]
    gradient: np.ndarray
    gradient_of: tuple[str, ...]
    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    order: str
    made_with: str
    gain: float = 1.0


def make(name: str, reference: Reference) -> None:
    """Writes the golden file of one network."""
    answer = reference.answer(seeded_image(reference.seed, reference.size))
    elsewhere = {}
    if reference.gradient is not None:
        small = reference.gradient
        found = small.answer(seeded_image(small.seed, small.size))
        answer = answer._replace(gradient=found.gradient, gradient_of=found.gradient_of)
        shapes = {n: list(found.taps[n].shape) for n in found.gradient_of}
        at = {"size": list(small.size), "seed": small.seed, "shapes": shapes}
        elsewhere = {"gradient_at": at}
    meta = {
        "size": list(reference.size),
        "seed": reference.seed,
        "order": answer.order,
        "gain": answer.gain,
        "tensors": [[n, list(shape)] for n, shape in answer.tensors],
        "gradient_of": list(answer.gradient_of),
        "made_with": answer.made_with,
        **elsewhere,
    }
    path = GOLDEN / f"{name}.npz"
    save_golden(path, meta, answer.taps, answer.gradient)
    print(f"{path.name}: {len(answer.taps)} taps, {path.stat().st_size / 1e3:.0f} kB")
    assert path.stat().st_size < 200_000


def main(names: list[str]) -> None:
    """Makes the named golden files, or all."""
    from benchmarks.references import REFERENCES

    for name in names or REFERENCES:
        make(name, REFERENCES[name])


if __name__ == "__main__":
    main(sys.argv[1:])
