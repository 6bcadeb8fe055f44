"""How much pictures agree: cosines of restarts, and whether pairs belong together."""

import numpy as np

from dreamjax.errors import require


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the cosine of each row of a [N, D] with each row of b [M, D], [N, M]."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (a, b))
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1), 1e-12)[:, None] for x in (a, b))
    return a @ b.T


def pairwise(pictures: np.ndarray) -> np.ndarray:
    """Returns the cosines of all pairs of pictures [N, ...], [N (N - 1) / 2]."""
    return cosines(pictures, pictures)[np.triu_indices(len(pictures), 1)]


def pairing(
    a: np.ndarray, b: np.ndarray, *, draws: int = 9999, seed: int = 0
) -> tuple[float, float, float]:
    """Asks whether row i of a resembles row i of b more than it does the other rows.

    Args:
      a: [N, ...].
      b: [N, ...].
      draws: permutations of b's rows.
      seed: of those.

    Returns:
      (mean cosine of the pairs, mean cosine of all others, p): p is the part of the
      permutations, and of the pairing itself, whose mean cosine is as large.
    """
    require(len(a) == len(b) >= 2, "b", len(b), f"{len(a)} rows, at least 2")
    found = cosines(a, b)
    count = len(found)
    own = np.trace(found) / count
    others = (found.sum() - np.trace(found)) / (count * (count - 1))
    random, rows = np.random.default_rng(seed), np.arange(count)
    means = [found[rows, random.permutation(count)].mean() for _ in range(draws)]
    p = (1 + np.sum(np.asarray(means) >= own - 1e-12)) / (draws + 1)
    return float(own), float(others), float(p)
