"""Weights: where a folder has them, and merged strictly or not at all."""

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from dreamjax.paths import given_variable


def weights_folder() -> Path | None:
    """Returns the folder that DREAMJAX_WEIGHTS names, or None.

    Raises:
      ValueError: it names something that is not a folder.
    """
    folder = given_variable("DREAMJAX_WEIGHTS")
    if folder is not None and not folder.is_dir():
        raise ValueError(f"DREAMJAX_WEIGHTS={str(folder)!r} is not a folder.")
    return folder


Shape = tuple[int, ...]
_DRY: contextvars.ContextVar[bool] = contextvars.ContextVar("dry", default=False)


class DoesNotFit(ValueError):
    """Tensors that are not those of a network.

    Attributes:
      missing: name -> the shape that was expected.
      misshapen: name -> (expected, found).
      unused: name -> the shape that was found.
      line: all three, in one line.
    """

    def __init__(
        self,
        source: str,
        missing: Mapping[str, Shape],
        misshapen: Mapping[str, tuple[Shape, Shape]],
        unused: Mapping[str, Shape],
    ):
        self.missing, self.misshapen = dict(missing), dict(misshapen)
        self.unused = dict(unused)
        lines = [f"missing   {n}: expected {s}" for n, s in missing.items()]
        wrong = [
            f"misshapen {n}: expected {expected}, found {found}"
            for n, (expected, found) in misshapen.items()
        ]
        spare = [f"unused    {n}: found {s}" for n, s in unused.items()]
        shown = "\n  ".join(_first(lines) + _first(wrong) + _first(spare))
        super().__init__(f"weights of {source} do not fit the network:\n  {shown}")

    @property
    def line(self) -> str:
        parts = {
            "missing": [f"{n} {s}" for n, s in self.missing.items()],
            "misshapen": [
                f"{n} {found} for {expected}"
                for n, (expected, found) in self.misshapen.items()
            ],
            "left over": [f"{n} {s}" for n, s in self.unused.items()],
        }
        return "; ".join(
            f"{len(found)} {what}: {', '.join(_first(found, 8))}"
            for what, found in parts.items()
            if found
        )


@contextlib.contextmanager
def dry_run() -> Iterator[None]:
    """Converters, in the block, only compare names and shapes, and compute nothing."""
    token = _DRY.set(True)
    try:
        yield
    finally:
        _DRY.reset(token)


class Tensors:
    """Source tensors that are taken one by one, each exactly once.

    A converter takes what it needs with the shape that it needs; `finish` then fails
    if any tensor is left, so that a wrong file can never half fit.

    Args:
      leading_ones: a tensor may have axes of 1 before those that are asked for.
    """

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray],
        source: str,
        *,
        leading_ones: bool = False,
    ):
        self._left = dict(tensors)
        self._source = source
        self._leading_ones = leading_ones
        self._missing: dict[str, Shape] = {}
        self._misshapen: dict[str, tuple[Shape, Shape]] = {}

    @property
    def failed(self) -> bool:
        """Whether what is computed from the tensors will be of no use."""
        return _DRY.get() or bool(self._missing or self._misshapen)

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Returns the tensor `name` as it was stored and crosses it off.

        A missing or misshapen tensor is noted for `finish`, and zeros stand in, so
        that one error can list everything that does not fit.
        """
        found = self._left.pop(name, None)
        if found is not None and self._leading_ones:
            extra = (1,) * (found.ndim - len(shape))
            found = found.reshape(shape) if found.shape == (*extra, *shape) else found
        if found is None:
            self._missing[name] = tuple(map(int, shape))
            return np.broadcast_to(np.float32(0), shape)
        if found.shape != shape:
            self._misshapen[name] = tuple(map(int, shape)), found.shape
            return np.broadcast_to(np.float32(0), shape)
        return found

    def ignore(self, suffix: str) -> None:
        """Crosses off the tensors whose name ends with `suffix` (training counters)."""
        for name in [name for name in self._left if name.endswith(suffix)]:
            del self._left[name]

    def finish(self) -> None:
        """Raises DoesNotFit listing every missing, misshapen and unused tensor."""
        unused = {name: array.shape for name, array in self._left.items()}
        if self._missing or self._misshapen or unused:
            raise DoesNotFit(self._source, self._missing, self._misshapen, unused)


def _first(lines: list[str], limit: int = 30) -> list[str]:
    """Cuts a list short, saying by how much, so that both sides are seen."""
    more = [f"… {len(lines) - limit} more"] if len(lines) > limit else []
    return lines[:limit] + more


def fold_batch_norm(
    kernel: np.ndarray,
    *,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    epsilon: float,
) -> dict[str, np.ndarray]:
    """Folds a batch norm into the convolution before it, in float64.

    `gamma * (kernel * x - mean) / sqrt(variance + epsilon) + beta`
    is a convolution with `kernel * s` and bias `beta - mean * s`, for
    `s = gamma / sqrt(variance + epsilon)`.

    Args:
      kernel: [..., K], output channels last.
      gamma, beta, mean, variance: [K].

    Returns:
      {"kernel": [..., K], "bias": [K]}, float32.
    """
    gamma, beta, mean, variance = (
        np.asarray(array, np.float64) for array in (gamma, beta, mean, variance)
    )
    s = gamma / np.sqrt(variance + epsilon)
    return {
        "kernel": np.ascontiguousarray(kernel * s, np.float32),
        "bias": (beta - mean * s).astype(np.float32),
    }
