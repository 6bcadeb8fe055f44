"""Linear maps on one image whose gradients are exact and cheap: move, turn, zoom.

Each function here is linear in its image. Autodiff would turn their gathers into
scatters, which XLA runs as a serial loop on CPU and with unordered atomic additions
on GPU; so each map states its adjoint as another gather (or a matmul). Every sum then
has one order: the same key gives the same bits.

Milliseconds per 140 × 140 × 3 image, value and gradient, vmapped over 8 images, jax
0.10.2 on two CPU cores (medians of interleaved rounds, a busy machine):

    turn   4-tap gather, autodiff's scatter     1.5
           2 × 2 × C slice gather, autodiff     2.9
           3 × 3 slice gather as the adjoint    0.8
           nine flat gathers as the adjoint     0.6   <- here
    zoom   jax.image.scale_and_translate        1.1
           flat gathers, 3 × 3 adjoint          0.5   <- here
           flat gather, matmul adjoint          0.7   <- here, where no bound is known
    roll   jnp.roll, autodiff                   0.40
           one slice of the doubled image       0.07  <- here
    crop   dynamic_slice, autodiff's scatter    0.13
           dynamic_slice of the padded gradient 0.05  <- here

Reverse mode only: `jax.jvp` through them raises. Pixel (i, j) is a point at (i, j);
the center of an image is ((H - 1)/2, (W - 1)/2), which is the half-pixel convention of
`jax.image` and of OpenGL seen from the pixels' centers.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from dreamjax.types import Array


def _linear(
    forward: Callable[..., Array], adjoint: Callable[..., Array]
) -> Callable[..., Array]:
    """Returns `forward(image, *rest)` whose gradient is `adjoint(gradient, *rest)`.

    `rest` are draws: they get a zero gradient.
    """

    @jax.custom_vjp
    def apply(image, *rest):
        return forward(image, *rest)

    def bwd(rest, gradient):
        return (adjoint(gradient, *rest), *(None for _ in rest))

    apply.defvjp(lambda image, *rest: (forward(image, *rest), rest), bwd)
    return apply


# Move by whole pixels.


def crop_at(image: Array, offset: Array, margin: int) -> Array:
    """Returns the [H - margin, W - margin, C] crop whose corner is at `offset`.

    Args:
      image: [H, W, C].
      offset: int [2], (y, x), each in 0..margin.
      margin: static; what the crop lacks in height and width.
    """

    def forward(image, offset):
        H, W, C = image.shape
        corner = (offset[0], offset[1], 0)
        return lax.dynamic_slice(image, corner, (H - margin, W - margin, C))

    def adjoint(gradient, offset):
        h, w, C = gradient.shape
        around = ((margin, margin), (margin, margin), (0, 0))
        corner = (margin - offset[0], margin - offset[1], 0)
        size = (h + margin, w + margin, C)
        return lax.dynamic_slice(jnp.pad(gradient, around), corner, size)

    return _linear(forward, adjoint)(image, offset)


def roll_by(image: Array, shift: Array) -> Array:
    """Returns `out[i, j] = image[(i - shift[0]) mod H, (j - shift[1]) mod W]`.

    Args:
      image: [H, W, C].
      shift: int [2], (down, right), any integers.
    """

    def forward(image, shift):
        H, W, _ = image.shape
        doubled = jnp.concatenate([image, image], axis=0)
        doubled = jnp.concatenate([doubled, doubled], axis=1)  # [2H, 2W, C]
        corner = (jnp.mod(-shift[0], H), jnp.mod(-shift[1], W), 0)
        return lax.dynamic_slice(doubled, corner, image.shape)

    return _linear(forward, lambda gradient, shift: forward(gradient, -shift))(
        image, shift
    )


# Bilinear interpolation. Positions are kept as (whole pixel) + (small offset): a
# float32 coordinate of 140 is good to 8e-6 only, and the adjoint must find the very
# weights that the forward map used.


def _from_center(n: int) -> Array:
    return jnp.arange(n, dtype=jnp.float32) - (n - 1) / 2


def _hat(distance: Array) -> Array:
    return jnp.maximum(1 - jnp.abs(distance), 0)


def _window(
    image: Array, row: Array, column: Array, size: int
) -> Callable[[int, int], Array]:
    """Returns `at(a, b) = image[row + a, column + b]`, 0 outside the image.

    One clip serves all `size`² taps: the border of `size` zeros is as wide as the
    window, so that a window pushed back to the border sees zeros only.

    Args:
      image: [H, W, C].
      row: int [h, w] or [h, 1], any integers; column: [h, w] or [1, w].
      size: a and b are in 0..size - 1.
    """
    around = ((size, size), (size, size), (0, 0))
    padded = jnp.pad(image, around)
    height, width, C = padded.shape
    y = jnp.clip(row + size, 0, height - size)
    x = jnp.clip(column + size, 0, width - size)
    corner = y * width + x
    flat = padded.reshape(height * width, C)

    def at(a: int, b: int) -> Array:
        return flat.at[corner + (a * width + b)].get(mode="promise_in_bounds")

    return at


def _interpolate(image: Array, offset_y: Array, offset_x: Array) -> Array:
    """Returns the bilinear `out[i, j] = image(i + offset_y, j + offset_x)`, 0 outside.

    Args:
      image: [H, W, C].
      offset_y: float [H, W] or [H, 1].
      offset_x: float [H, W] or [1, W].
    """
    H, W, _ = image.shape
    below_y, below_x = jnp.floor(offset_y), jnp.floor(offset_x)
    v = (offset_y - below_y)[..., None]  # [H, W or 1, 1]
    u = (offset_x - below_x)[..., None]  # [H or 1, W, 1]
    row = below_y.astype(jnp.int32) + jnp.arange(H)[:, None]
    column = below_x.astype(jnp.int32) + jnp.arange(W)[None, :]
    at = _window(image, row, column, 2)
    upper = (1 - u) * at(0, 0) + u * at(0, 1)
    lower = (1 - u) * at(1, 0) + u * at(1, 1)
    return (1 - v) * upper + v * lower


def _turned(y: Array, x: Array, radians: Array) -> tuple[Array, Array]:
    """Returns (R - 1)(y, x): how far each point's source is from the point."""
    sin = jnp.sin(radians)
    cos_less_1 = -2 * jnp.square(jnp.sin(radians / 2))  # exact for small angles
    return cos_less_1 * y + sin * x, cos_less_1 * x - sin * y


def _turn_forward(image: Array, radians: Array) -> Array:
    H, W, _ = image.shape
    y, x = _from_center(H)[:, None], _from_center(W)[None, :]
    return _interpolate(image, *_turned(y, x, radians))


def _turn_adjoint(gradient: Array, radians: Array) -> Array:
    """Pixel p collects the outputs q with |R q - p| < 1 in both axes.

    They lie within |cos| + |sin| <= 1.415 < 1.5 of R⁻¹ p in both axes, hence in the
    3 × 3 window about its nearest pixel, at any angle.
    """
    H, W, _ = gradient.shape
    y, x = _from_center(H)[:, None], _from_center(W)[None, :]
    to_y, to_x = (jnp.round(d) for d in _turned(y, x, -radians))  # q0 - p, whole
    by, bx = _turned(y + to_y, x + to_x, radians)
    at_y, at_x = to_y + by, to_x + bx  # R q0 - p
    row = to_y.astype(jnp.int32) + jnp.arange(H)[:, None] - 1
    column = to_x.astype(jnp.int32) + jnp.arange(W)[None, :] - 1
    at = _window(gradient, row, column, 3)
    cos, sin = jnp.cos(radians), jnp.sin(radians)
    total = jnp.zeros_like(gradient)
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            weight = _hat(at_y + (cos * a + sin * b)) * _hat(at_x + (cos * b - sin * a))
            total = total + weight[..., None] * at(a + 1, b + 1)
    return total


def turn(image: Array, radians: Array) -> Array:
    """Returns the image turned counterclockwise about its center, 0 outside.

    `out[q] = Σ_p hat(R q - p) image[p]`, with `hat` the product of 1 - |d| in both axes
    (bilinear interpolation) and q, p measured from the center.

    Args:
      image: [H, W, C].
      radians: scalar; gets a zero gradient.
    """
    return _linear(_turn_forward, _turn_adjoint)(image, radians)


def _turn_nearest_forward(image: Array, radians: Array) -> Array:
    H, W, _ = image.shape
    y, x = _from_center(H)[:, None], _from_center(W)[None, :]
    to_y, to_x = (jnp.round(d).astype(jnp.int32) for d in _turned(y, x, radians))
    row, column = to_y + jnp.arange(H)[:, None], to_x + jnp.arange(W)[None, :]
    return _window(image, row, column, 1)(0, 0)


def _turn_nearest_adjoint(gradient: Array, radians: Array) -> Array:
    """Pixel p collects the outputs q whose R q is nearest to p.

    In the same 3 × 3 window as the bilinear adjoint's: R q is closer to p than there.
    """
    H, W, _ = gradient.shape
    y, x = _from_center(H)[:, None], _from_center(W)[None, :]
    to_y, to_x = (jnp.round(d) for d in _turned(y, x, -radians))  # q0 - p, whole
    row = to_y.astype(jnp.int32) + jnp.arange(H)[:, None] - 1
    column = to_x.astype(jnp.int32) + jnp.arange(W)[None, :] - 1
    at = _window(gradient, row, column, 3)
    total = jnp.zeros_like(gradient)
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            by, bx = _turned(y + to_y + a, x + to_x + b, radians)
            hit = (to_y + a + jnp.round(by) == 0) & (to_x + b + jnp.round(bx) == 0)
            total = total + jnp.where(hit[..., None], at(a + 1, b + 1), 0)
    return total


def turn_nearest(image: Array, radians: Array) -> Array:
    """Returns `turn` with nearest neighbors: `out[q] = image[round(R q)]`.

    Args:
      image: [H, W, C].
      radians: scalar; gets a zero gradient.
    """
    return _linear(_turn_nearest_forward, _turn_nearest_adjoint)(image, radians)


def _zoom_forward(image: Array, factor: Array) -> Array:
    H, W, _ = image.shape
    pull = 1 / factor - 1
    y, x = _from_center(H)[:, None], _from_center(W)[None, :]
    return _interpolate(image, pull * y, pull * x)


def _zoom_adjoint_gather(gradient: Array, factor: Array) -> Array:
    """Pixel p collects the outputs q with |q / factor - p| < 1 in both axes.

    They lie within `factor` of factor · p, hence in the 3 × 3 window about its nearest
    pixel where factor <= 1.5.
    """

    def axis(n):
        p = _from_center(n)
        to = jnp.round((factor - 1) * p)  # q0 - p, whole
        at = to + (1 / factor - 1) * (p + to)  # q0 / factor - p
        weights = [_hat(at + k / factor) for k in (-1, 0, 1)]
        return to.astype(jnp.int32) + jnp.arange(n) - 1, weights

    H, W, _ = gradient.shape
    row, weight_y = axis(H)
    column, weight_x = axis(W)
    at = _window(gradient, row[:, None], column[None, :], 3)
    total = jnp.zeros_like(gradient)
    for a, v in enumerate(weight_y):
        for b, u in enumerate(weight_x):
            total = total + v[:, None, None] * u[None, :, None] * at(a, b)
    return total


def _zoom_adjoint_matmul(gradient: Array, factor: Array) -> Array:
    """The same sum as two matrices, whatever the factor."""

    def axis(n):
        o = _from_center(n)
        return _hat(o[None, :] - o[:, None] + (1 / factor - 1) * o[None, :])  # [p, q]

    H, W, _ = gradient.shape
    exact = lax.Precision.HIGHEST  # a GPU would take TF32, good to 1e-3
    rows = jnp.einsum("pq,qwc->pwc", axis(H), gradient, precision=exact)
    return jnp.einsum("pq,hqc->hpc", axis(W), rows, precision=exact)


def zoom(image: Array, factor: Array, largest: float | None = None) -> Array:
    """Returns the image enlarged `factor` times about its center, 0 outside.

    `out[q] = Σ_p hat(q / factor - p) image[p]`: bilinear, with no antialiasing. The
    same shape comes out: a smaller image is surrounded by 0, a larger one is cropped.

    Args:
      image: [H, W, C].
      factor: positive scalar; gets a zero gradient.
      largest: a static bound on `factor`, where one is known: up to 1.5 the gradient is
        a gather, 1.5 times faster, and wrong for factors beyond 1.5.
    """
    near = largest is not None and largest <= 1.5
    adjoint = _zoom_adjoint_gather if near else _zoom_adjoint_matmul
    return _linear(_zoom_forward, adjoint)(image, factor)
