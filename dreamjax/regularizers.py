"""Regularizers: penalties on the raw image, before any transform.

A penalty is `(images [B, H, W, C] in [0, 1], hp) -> [B]`, zero or more, without its
weight: the caller multiplies it with `hp["<its name>"]` and subtracts it from the
score. Whatever else it reads from `hp` is listed in its entry of `REGULARIZERS`, may
be traced, and changes no program.

All are sums over channels and means over pixels, `1/(H W) Σ_ij Σ_c`, as in Mahendran
& Vedaldi 2016, so that a weight carries over to another image size. The published
sums (their 2015 paper, Lucid) are H W times that. "Zero" is mid-gray, 0.5.

Mahendran & Vedaldi's images are in units of 1/255. Their weight (6.5/80)^β of the
total variation is (6.5 * 255 / 80)^β here, 429 at β = 2; their (1/80)^α of the norm
is (127.5 / 80)^α here, 16.4 at α = 6.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import require
from dreamjax.filters import lucid_blur, require_images
from dreamjax.hparams import read
from dreamjax.types import Array, HParams, Penalty

GRAY = 0.5

_EPSILON = 1e-10
"""Added to a sum of squares before a traced power is taken of it: (1e-5)², where one
gray level is (4e-3)². Without it the slope at a flat image is 0 times infinity for
every power below 2."""


def _pixel_mean(values: Array) -> Array:
    """Returns 1/(HW) Σ_ij Σ_c of [B, H, W, C] as [B]."""
    return jnp.mean(jnp.sum(values, axis=3), axis=(1, 2))


def _half_power(squares: Array, power: Array | float) -> Array:
    """Returns squares^(power/2), to rounding 0 at 0, with a finite slope there."""
    half = jnp.asarray(power, jnp.float32) / 2
    return (squares + _EPSILON) ** half - jnp.asarray(_EPSILON) ** half


def _abs(values: Array) -> Array:
    """Returns |values| with the slope 0 at 0, where `jnp.abs` has 1."""
    return values * jnp.sign(values)


def l1(images: Array, hp: HParams) -> Array:
    """Returns the mean absolute distance from gray, `1/(HW) Σ |x - 0.5|`.

    Lucid's L1 objective (constant 0.5) is the sum.

    Args:
      images: [B, H, W, C].
      hp: nothing of it is read.

    Returns:
      [B].
    """
    require_images("images", images)
    return _pixel_mean(_abs(images - GRAY))


def l2(images: Array, hp: HParams) -> Array:
    """Returns the mean squared distance from gray, `1/(HW) Σ (x - 0.5)²`.

    Simonyan et al. 2014 take the sum of squares, as here; Lucid's L2 is the square
    root of the sum.

    Args:
      images: [B, H, W, C].
      hp: nothing of it is read.

    Returns:
      [B].
    """
    require_images("images", images)
    return _pixel_mean(jnp.square(images - GRAY))


def lp(images: Array, hp: HParams) -> Array:
    """Returns the α-norm of the colors, `1/(HW) Σ_ij (Σ_c x̂²)^(α/2)`, x̂ = 2x - 1.

    Mahendran & Vedaldi 2016, where it keeps colors from growing: at α = 6 it is flat
    around gray and steep at the border of the range.

    Args:
      images: [B, H, W, C].
      hp: `lp_power` is α, positive.

    Returns:
      [B].
    """
    require_images("images", images)
    squares = jnp.sum(jnp.square(2 * images - 1), axis=3)  # [B, H, W]
    return jnp.mean(_half_power(squares, read("lp_power", hp)), axis=(1, 2))


def _differences(images: Array) -> tuple[Array, Array]:
    """Returns the steps to the lower and to the right neighbor, 0 at the border."""
    down = jnp.diff(images, axis=1)
    right = jnp.diff(images, axis=2)
    down = jnp.pad(down, ((0, 0), (0, 1), (0, 0), (0, 0)))
    right = jnp.pad(right, ((0, 0), (0, 0), (0, 1), (0, 0)))
    return down, right


def total_variation(images: Array, beta: Array | float) -> Array:
    """Returns the total variation to the β, a sum over pixels and channels.

    `Σ_ijc ((x_i,j+1 - x_ij)² + (x_i+1,j - x_ij)²)^(β/2)`

    Mahendran & Vedaldi 2015 (the sum, border pixels repeated): β = 1 allows edges,
    β = 2 smooths them, and more than 2 spreads them wide. `_EPSILON` is added to the
    inner sum and its power subtracted again: a flat image pays 0, and its slope is
    finite from β = 1 on.

    Args:
      images: [B, H, W, C].
      beta: scalar, positive; may be traced.

    Returns:
      [B], the sum and not the mean.

    Raises:
      ValueError: images without four axes.
    """
    require_images("images", images)
    down, right = _differences(images)
    squares = jnp.square(down) + jnp.square(right)
    return jnp.sum(_half_power(squares, beta), axis=(1, 2, 3))


def tv(images: Array, hp: HParams) -> Array:
    """Returns `total_variation / (HW)`, as in Mahendran & Vedaldi 2016.

    Args:
      images: [B, H, W, C].
      hp: `tv_beta` is β, positive.

    Returns:
      [B].
    """
    variation = total_variation(images, read("tv_beta", hp))
    return variation / (images.shape[1] * images.shape[2])


def tv_aniso(images: Array, hp: HParams) -> Array:
    """Returns the anisotropic variation `1/(HW) Σ |x_i,j+1 - x_ij| + |x_i+1,j - x_ij|`.

    `tf.image.total_variation`, and so Lucid's, is the sum.

    Args:
      images: [B, H, W, C].
      hp: nothing of it is read.

    Returns:
      [B].
    """
    require_images("images", images)
    down, right = _differences(images)
    return _pixel_mean(_abs(down) + _abs(right))


def spectral(images: Array, hp: HParams) -> Array:
    """Returns the energy weighted by frequency, `1/(HW) Σ_uv f^(2p) |F x|²`.

    F is the unitary transform, so that by Parseval's theorem p = 0 gives the variance
    of the pixels, summed over channels. f is in units of the Nyquist frequency: 1 is
    half a cycle per pixel along one axis, and the corner has √2. The constant part is
    free at any p. p = 1 is the mean squared slope of the image divided by π².

    An image whose amplitudes fall as 1/f, as a photo's do, pays the same for every
    octave at p = 0 and the same for every coefficient at p = 1, where the higher of
    two octaves, which has four times the coefficients, pays four times as much.

    Args:
      images: [B, H, W, C].
      hp: `spectral_power` is p.

    Returns:
      [B].
    """
    require_images("images", images)
    height, width = images.shape[1:3]
    rows = 2 * np.fft.fftfreq(height)[:, None]
    columns = 2 * np.fft.rfftfreq(width)[None, :]
    squares = rows**2 + columns**2  # f², [H, W//2+1]
    # The half plane stands for both halves, but for the columns that are their own
    # mirror image: the first, and at an even width the last.
    copies = np.full(squares.shape, 2.0)
    copies[:, 0] = 1
    if width % 2 == 0:
        copies[:, -1] = 1
    copies[0, 0] = 0
    squares[0, 0] = 1  # any positive number: 0^p has no slope in p
    power = jnp.asarray(read("spectral_power", hp), jnp.float32)
    weights = jnp.asarray(squares, jnp.float32) ** power
    weights = weights * jnp.asarray(copies, jnp.float32)
    spectrum = jnp.fft.rfft2(images, axes=(1, 2), norm="ortho")
    energy = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    energy = jnp.sum(energy, axis=3)  # [B, H, W//2+1]
    weighted = energy * jnp.broadcast_to(weights[None], energy.shape)
    return jnp.sum(weighted, axis=(1, 2)) / (height * width)


def boundary(images: Array, hp: HParams) -> Array:
    """Returns the complexity of the border, `1/(HW) Σ m [(blur₅ x - x)² + 0.8 (x-½)²]`.

    Lucid's `penalize_boundary_complexity` (the sum), which keeps the icons of an
    activation atlas round: blur₅ is its 5x5 blur, and the mask m is 1 on the
    outermost `boundary_width` pixels. Here the mask falls linearly within one pixel
    when the width is not a whole number.

    Args:
      images: [B, H, W, C].
      hp: `boundary_width` in pixels.

    Returns:
      [B].
    """
    require_images("images", images)
    height, width = images.shape[1:3]
    rows = np.minimum(np.arange(height), np.arange(height)[::-1])
    columns = np.minimum(np.arange(width), np.arange(width)[::-1])
    to_edge = np.minimum(rows[:, None], columns[None, :]).astype(np.float32)
    mask = jnp.clip(read("boundary_width", hp) - to_edge, 0, 1)
    rough = jnp.square(lucid_blur(images, 5) - images)
    complexity = rough + 0.8 * jnp.square(images - GRAY)
    return _pixel_mean(
        complexity * jnp.broadcast_to(mask[None, :, :, None], images.shape)
    )


def blur3(images: Array, hp: HParams) -> Array:
    """Returns the distance from the blurred image, `1/(HW) Σ ½ (x - stop(blur₃ x))²`.

    Lucid's `blur_input_each_step` (the sum): the blurred image counts as a constant,
    so the slope is x - blur₃ x and a descent step of rate k gives (1-k) x + k blur₃ x.
    blur₃ is Lucid's 3x3 blur.

    Args:
      images: [B, H, W, C].
      hp: nothing of it is read.

    Returns:
      [B].
    """
    target = jax.lax.stop_gradient(lucid_blur(images, 3))
    return _pixel_mean(0.5 * jnp.square(images - target))


def distance(images: Array, hp: HParams) -> Array:
    """Returns the squared distance to an image, `1/(HW) Σ (x - reference)²`.

    Args:
      images: [B, H, W, C].
      hp: `reference` is [H, W, C], RGB in [0, 1].

    Returns:
      [B].

    Raises:
      ValueError: a reference of another shape than one image.
    """
    require_images("images", images)
    reference = read("reference", hp)
    shape = jnp.shape(reference)
    require(shape == images.shape[1:], "reference", shape, f"{images.shape[1:]}")
    return _pixel_mean(
        jnp.square(images - jnp.broadcast_to(reference[None], images.shape))
    )


@dataclass(frozen=True)
class Regularizer:
    """A penalty and what it reads.

    Attributes:
      penalty: (images [B, H, W, C], hp) -> [B], without its weight.
      hparams: names of what it reads from `hp`; its weight is not among them.
      neutral: name -> value that a base configuration gives it. A name without one
        has no default and must be given.
      doc: one line.
    """

    penalty: Penalty
    hparams: tuple[str, ...]
    neutral: Mapping[str, float]
    doc: str


REGULARIZERS: dict[str, Regularizer] = {
    "l1": Regularizer(l1, (), {}, "absolute distance from gray"),
    "l2": Regularizer(l2, (), {}, "squared distance from gray"),
    "lp": Regularizer(lp, ("lp_power",), {"lp_power": 6.0}, "α-norm of the colors"),
    "tv": Regularizer(tv, ("tv_beta",), {"tv_beta": 2.0}, "total variation to the β"),
    "tv_aniso": Regularizer(tv_aniso, (), {}, "sum of absolute steps to neighbors"),
    "spectral": Regularizer(
        spectral,
        ("spectral_power",),
        {"spectral_power": 1.0},
        "energy, weighted by frequency to the 2p",
    ),
    "boundary": Regularizer(
        boundary,
        ("boundary_width",),
        {"boundary_width": 5.0},
        "roughness and color of the border",
    ),
    "blur3": Regularizer(blur3, (), {}, "squared distance from its own 3x3 blur"),
    "distance": Regularizer(
        distance, ("reference",), {}, "squared distance to a reference image"
    ),
}
