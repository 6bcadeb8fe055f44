"""What is minimized: errors of features, and how unlike a photo a picture is.

Pictures are in the network's own units, [B, H, W, C]. Errors are scores (minus the
error) and the rest are penalties, as `dreamjax.dream` takes them.
"""

import jax
import jax.numpy as jnp

from dreamjax.filters import require_images
from dreamjax.hparams import read
from dreamjax.objectives import Objective, Read
from dreamjax.types import Array, HParams, Taps

GUARD = 1e-5
"""Least squared step whose slope is taken in the total variation (their code)."""


def matched(tap: str) -> Objective:
    """Minus the relative squared error of the features, times hp["fidelity"].

    `-f ‖m (Φ(x) - Φ₀)‖² / ‖m Φ₀‖²`

    Args:
      tap: Φ. hp["goal"] is Φ₀ and hp["mask"] is m, both [h, w, K] (or [K]), the same
        for all B; hp["fidelity"] is f: σ² in the paper of 2015, C in that of 2016.
    """

    def score(taps: Taps, hp: HParams) -> Array:
        goal, mask = read("goal", hp), read("mask", hp)
        apart = mask[None] * (taps[tap] - goal[None])
        size = jnp.maximum(jnp.sum(jnp.square(mask * goal)), 1e-12)
        return -read("fidelity", hp) * _squares(apart) / size

    names = frozenset(("goal", "mask", "fidelity"))
    return Objective(
        score, f'matched("{tap}")', (Read(tap, "layer"),), names, additive=False
    )


def aligned(tap: str) -> Objective:
    """The inner product of the features with a goal, `f ⟨Φ(x), Φ₀⟩`.

    Activation maximization where Φ₀ is 1 at some units, a caricature where it is the
    features of a photo (Mahendran & Vedaldi 2016).

    Args:
      tap: Φ. hp["goal"] is Φ₀, [h, w, K] (or [K]); hp["fidelity"] is f, their C.
    """

    def score(taps: Taps, hp: HParams) -> Array:
        product = taps[tap] * read("goal", hp)[None]
        return read("fidelity", hp) * jnp.sum(
            product, axis=tuple(range(1, product.ndim))
        )

    return Objective(
        score,
        f'aligned("{tap}")',
        (Read(tap, "layer"),),
        frozenset(("goal", "fidelity")),
        additive=False,
    )


def variation(images: Array, beta: Array | float) -> Array:
    """Returns the total variation `Σ_ijc v^(β/2)` of squared steps to the neighbors.

    `v = (x_i,j+1 - x_ij)² + (x_i+1,j - x_ij)²`, border pixels repeated. The slope is
    that of their code, `(β/2) max(v, 1e-5)^(β/2 - 1) dv`, finite for every β and exact
    at β = 2. (`regularizers.total_variation` is for images in [0, 1], where the guard
    would be half a gray level.)

    Args:
      images: [B, H, W, C].
      beta: positive scalar; may be traced.

    Returns:
      [B].

    Raises:
      ValueError: images without four axes.
    """
    require_images("images", images)
    down = jnp.pad(jnp.diff(images, axis=1), ((0, 0), (0, 1), (0, 0), (0, 0)))
    right = jnp.pad(jnp.diff(images, axis=2), ((0, 0), (0, 0), (0, 1), (0, 0)))
    squares = jnp.square(down) + jnp.square(right)
    return jnp.sum(_guarded(squares, jnp.asarray(beta) / 2), axis=(1, 2, 3))


@jax.custom_jvp
def _guarded(squares: Array, half: Array) -> Array:
    return squares**half


@_guarded.defjvp
def _guarded_jvp(primals, tangents):
    squares, half = primals
    slope = half * jnp.maximum(squares, GUARD) ** (half - 1)
    return squares**half, slope * tangents[0]


def half_variation(images: Array, hp: HParams) -> Array:
    """Returns `½ Σ v^(β/2)` [B], the penalty of 2015; hp["beta"] is β."""
    return variation(images, read("beta", hp)) / 2


def half_powers(images: Array, hp: HParams) -> Array:
    """Returns `½ Σ_ijc |x|^α` [B], that of 2015; hp["alpha"] is α >= 2."""
    powers = jnp.square(images) ** (read("alpha", hp) / 2)
    return jnp.sum(powers, axis=(1, 2, 3)) / 2


def mean_variation(images: Array, hp: HParams) -> Array:
    """Returns `1/(HW) Σ v^(β/2)` [B], the penalty of 2016; hp["beta"] is β."""
    return variation(images, read("beta", hp)) / (images.shape[1] * images.shape[2])


def mean_color_power(images: Array, hp: HParams) -> Array:
    """Returns `1/(HW) Σ_ij (Σ_c x²)^(α/2)` [B], that of 2016; hp["alpha"] is α >= 2."""
    squares = jnp.sum(jnp.square(images), axis=3)
    return jnp.mean(squares ** (read("alpha", hp) / 2), axis=(1, 2))


def within_color_ball(
    images: Array, gradient: Array, step: Array, hp: HParams
) -> Array:
    """Projection: no pixel's color is longer than hp["color_limit"], B₊.

    `x_ij ← x_ij min(1, B₊ / ‖x_ij‖₂)`; what is inside stays as it is. float32 may leave
    a scaled color a rounding too long, which a second scaling would not cure either, so
    the factor is rounded down: ‖x_ij‖ <= B₊ holds as float32 computes it.
    """
    del gradient, step
    limit = read("color_limit", hp)
    length = jnp.sqrt(jnp.sum(jnp.square(images), axis=3, keepdims=True))
    short = limit * (1 - 4 * jnp.finfo(jnp.float32).eps) / jnp.maximum(length, 1e-12)
    return jnp.where(length > limit, images * short, images)


def _squares(x: Array) -> Array:
    return jnp.sum(jnp.square(x), axis=tuple(range(1, x.ndim)))
