"""Where the degrees of freedom lie: pixels, Fourier coefficients, a Laplacian pyramid.

Each is a `Spatial` pair over raw values [B, H, W, C]: unbounded, centered on 0, still
without color or range (see `dreamjax.params.image`). All are linear, so their gradient
is a fixed linear map of the image's: the choice is a preconditioner.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import require
from dreamjax.types import Array, HParams, Key

Shape = tuple[int, int, int, int]
"""(B, H, W, C) of the images of one run."""


class Spatial(NamedTuple):
    """Raw values and the parameters behind them.

    Attributes:
      init: (key, hp) -> params of Gaussian noise, hp["init_std"] wide in the
        parameters' own units.
      apply: (params, hp) -> raw [B, H, W, C].
      invert: (raw, hp) -> params, exactly.
    """

    init: Callable[[Key, HParams], Any]
    apply: Callable[[Any, HParams], Array]
    invert: Callable[[Array, HParams], Any]


def pixel(shape: Shape) -> Spatial:
    """The raw values themselves."""

    def init(key: Key, hp: HParams) -> Array:
        return hp["init_std"] * jax.random.normal(key, shape)

    return Spatial(init, lambda params, hp: params, lambda raw, hp: raw)


def frequencies(height: int, width: int) -> np.ndarray:
    """Returns |f| in cycles per pixel, [H, W//2 + 1], for `rfft2` of any size."""
    fy = np.fft.fftfreq(height)[:, None]
    fx = np.fft.rfftfreq(width)[None, :]
    return np.sqrt(fy**2 + fx**2).astype(np.float32)


def fourier_scale(height: int, width: int, decay_power: Array | float) -> Array:
    """Returns `sqrt(H W) / max(f, 1/max(H, W)) ** decay_power`, [H, W//2 + 1]."""
    floor = 1.0 / max(height, width)
    octaves = np.log(np.maximum(frequencies(height, width), floor))
    # exp of a constant: a power is several times as slow, and every step takes it.
    return math.sqrt(height * width) * jnp.exp(-decay_power * octaves)


def check_scale(size: tuple[int, int], powers: Sequence[float]) -> None:
    """Raises ValueError for a decay_power that scales by 0 or by what is not finite.

    Args:
      size: (H, W).
      powers: decay_power of each run.
    """
    low, high = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    floor = 1.0 / max(size)
    octaves = np.log(np.maximum(frequencies(*size), floor).astype(np.float64))
    ends = np.array([octaves.min(), octaves.max()])
    for power in powers:
        scales = math.sqrt(math.prod(size)) * np.exp(np.clip(-power * ends, -700, 700))
        require(
            bool(np.all((scales > low) & (scales < high))),
            "hparams.decay_power",
            power,
            f"1/f^decay_power is no float32 at {size[0]} × {size[1]}, give a number"
            " nearer to 1",
        )


def fourier(shape: Shape) -> Spatial:
    """Fourier coefficients that are scaled like a natural image's (Olah 2017, Lucid).

    `raw = irfft2(scale * z) / 4` with `scale` of `fourier_scale` and hp["decay_power"]
    (1 in Lucid, .85 in Xplique, 1.5 in Horama); 0 gives every frequency equal weight.
    The transform runs at exactly (H, W), odd sizes too, where Lucid makes an even
    image and crops a column. Params are real, [B, H, W//2 + 1, C, 2].
    """
    batch, height, width, channels = shape
    spectrum = (batch, height, width // 2 + 1, channels, 2)

    def scale(hp: HParams) -> Array:
        return fourier_scale(height, width, hp["decay_power"])[None, :, :, None]

    def init(key: Key, hp: HParams) -> Array:
        return hp["init_std"] * jax.random.normal(key, spectrum)

    def apply(params: Array, hp: HParams) -> Array:
        z = jax.lax.complex(params[..., 0], params[..., 1])
        return jnp.fft.irfft2(scale(hp) * z, s=(height, width), axes=(1, 2)) / 4

    def invert(raw: Array, hp: HParams) -> Array:
        z = jnp.fft.rfft2(4 * raw, axes=(1, 2)) / scale(hp)
        return jnp.stack([jnp.real(z), jnp.imag(z)], axis=-1)

    return Spatial(init, apply, invert)


def laplacian(shape: Shape, *, levels: int = 4) -> Spatial:
    """A pyramid: `raw = Σ_l upsample(level_l)`, level l at 1/2^l of the size.

    Bilinear upsampling; four levels as in Lucid. Params are a tuple of
    [B, ceil(H/2^l), ceil(W/2^l), C], the finest first. The inverse puts into each
    level, coarse to fine, what downsampling shows of the rest, and the remainder into
    the finest, so that the sum is exact.

    Raises:
      ValueError: fewer than one level, or more than the image has.
    """
    batch, height, width, channels = shape
    most = max(min(height, width).bit_length(), 1)
    require(1 <= levels <= most, "levels", levels, f"1 … {most} for {height}×{width}")
    sizes = [(-(-height // 2**n), -(-width // 2**n)) for n in range(levels)]

    def resize(x: Array, size: tuple[int, int]) -> Array:
        if x.shape[1:3] == size:
            return x
        return jax.image.resize(x, (batch, *size, channels), "bilinear")

    def init(key: Key, hp: HParams) -> tuple[Array, ...]:
        keys = jax.random.split(key, levels)
        return tuple(
            hp["init_std"] * jax.random.normal(k, (batch, *size, channels))
            for k, size in zip(keys, sizes, strict=True)
        )

    def apply(params: tuple[Array, ...], hp: HParams) -> Array:
        return sum(resize(level, (height, width)) for level in params)

    def invert(raw: Array, hp: HParams) -> tuple[Array, ...]:
        coarse, rest = [], raw
        for size in reversed(sizes[1:]):
            level = resize(rest, size)
            rest = rest - resize(level, (height, width))
            coarse.append(level)
        return (rest, *reversed(coarse))

    return Spatial(init, apply, invert)


def lowres_shared(shape: Shape) -> Spatial:
    """Fourier images of their own on top of coarse ones that all of a run share.

    `raw_i = fourier_i + Σ_j upsample(coarse_j)_i`: images of one run start alike and
    find it easier to stay alike than to part, so that the frames of an interpolation
    show the same thing at the same place (Lucid's notebook "neuron interaction"). The
    coarse ones are of 1/2, 1/4, 1/8 and 1/16 of the size, one for the whole run, and
    two more of 1/8 and 1/16 that are faded from one to another along the images.
    Bilinear. Params are (fourier's own, a tuple of [n, ceil(H/f), ceil(W/f), C]). The
    inverse leaves the coarse ones at 0: a start from a picture is all the images' own.
    """
    batch, height, width, channels = shape
    own = fourier(shape)
    layers = [
        (min(copies, batch), -(-height // part), -(-width // part), channels)
        for copies, part in SHARED
    ]

    def init(key: Key, hp: HParams) -> tuple[Array, tuple[Array, ...]]:
        first, *keys = jax.random.split(key, 1 + len(layers))
        coarse = tuple(
            hp["init_std"] * jax.random.normal(k, layer)
            for k, layer in zip(keys, layers, strict=True)
        )
        return own.init(first, hp), coarse

    def apply(params: tuple[Array, tuple[Array, ...]], hp: HParams) -> Array:
        fine, coarse = params
        return own.apply(fine, hp) + sum(
            jax.image.resize(layer, shape, "bilinear") for layer in coarse
        )

    def invert(raw: Array, hp: HParams) -> tuple[Array, tuple[Array, ...]]:
        return own.invert(raw, hp), tuple(jnp.zeros(layer) for layer in layers)

    return Spatial(init, apply, invert)


SHARED = ((1, 2), (1, 4), (1, 8), (2, 8), (1, 16), (2, 16))
"""(copies along the images of a run, divisor of the size) of each coarse layer."""

SPATIAL = {
    "pixel": pixel,
    "fourier": fourier,
    "laplacian": laplacian,
    "lowres-shared": lowres_shared,
}
FREQUENCIES = ("fourier", "lowres-shared")
"""Those that read hp["decay_power"]."""
