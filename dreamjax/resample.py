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
from typing import NamedTuple

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
      offset_y: float [h, w] or [h, 1], h rows of the result.
      offset_x: float [h, w] or [1, w].
    """
    below_y, below_x = jnp.floor(offset_y), jnp.floor(offset_x)
    v = (offset_y - below_y)[..., None]  # [h, w or 1, 1]
    u = (offset_x - below_x)[..., None]  # [h or 1, w, 1]
    row = below_y.astype(jnp.int32) + jnp.arange(offset_y.shape[0])[:, None]
    column = below_x.astype(jnp.int32) + jnp.arange(offset_x.shape[1])[None, :]
    at = _window(image, row, column, 2)
    upper = (1 - u) * at(0, 0) + u * at(0, 1)
    lower = (1 - u) * at(1, 0) + u * at(1, 1)
    return (1 - v) * upper + v * lower


class Affine(NamedTuple):
    """Where each pixel of a result comes from: `s = (1 + less_1) q + shift`.

    Both points are (y, x), each counted from the center of its own image.

    Attributes:
      less_1: ((yy, yx), (xy, xx)), scalars: the matrix less the identity, exact where
        the map hardly moves anything.
      shift: (y, x), scalars, pixels.
    """

    less_1: tuple[tuple[Array, Array], tuple[Array, Array]]
    shift: tuple[Array, Array]

    def moved(self, y: Array, x: Array) -> tuple[Array, Array]:
        """Returns s - q of the points q = (y, x)."""
        (yy, yx), (xy, xx) = self.less_1
        return yy * y + yx * x + self.shift[0], xy * y + xx * x + self.shift[1]

    def inverse(self) -> "Affine":
        """Returns the map from s to q."""
        (yy, yx), (xy, xx) = self.less_1
        # (1 + D)⁻¹ - 1 = -(D + det D) / det(1 + D), in terms of what is small.
        small = yy * xx - yx * xy
        whole = 1 + yy + xx + small
        less_1 = (
            (-(yy + small) / whole, -yx / whole),
            (-xy / whole, -(xx + small) / whole),
        )
        back = Affine(less_1, (jnp.zeros(()), jnp.zeros(())))
        down, right = back.moved(*self.shift)
        return Affine(less_1, (-self.shift[0] - down, -self.shift[1] - right))

    def after(self, first: "Affine") -> "Affine":
        """Returns the map of this image of what `first` makes: s = first(self(q))."""
        (a, b), (c, d) = first.less_1
        (yy, yx), (xy, xx) = self.less_1
        less_1 = (
            (a + yy + a * yy + b * xy, b + yx + a * yx + b * xx),
            (c + xy + c * yy + d * xy, d + xx + c * yx + d * xx),
        )
        down, right = first.moved(*self.shift)
        return Affine(less_1, (self.shift[0] + down, self.shift[1] + right))


def turning(radians: Array) -> Affine:
    """Returns the map of an image turned counterclockwise."""
    sin = jnp.sin(radians)
    cos_less_1 = -2 * jnp.square(jnp.sin(radians / 2))  # exact for small angles
    zero = jnp.zeros(())
    return Affine(((cos_less_1, sin), (-sin, cos_less_1)), (zero, zero))


def zooming(factor: Array) -> Affine:
    """Returns the map of an image enlarged `factor` times."""
    zero = jnp.zeros(())
    return Affine(((1 / factor - 1, zero), (zero, 1 / factor - 1)), (zero, zero))


def shifting(down: Array, right: Array) -> Affine:
    """Returns the map of an image that is seen from so many pixels further."""
    zero = jnp.zeros(())
    return Affine(((zero, zero), (zero, zero)), (down, right))


NEAR = 1.5
"""How much `affine` may enlarge: the largest row sum of |A⁻¹| that its gradient allows.

Pixel p collects the outputs q with |A q + t - p| < 1 in both axes, which lie within
that row sum of A⁻¹ (p - t), hence in the 3 × 3 window about its nearest pixel.
"""


def affine(image: Array, map_: Affine, size: tuple[int, int] | None = None) -> Array:
    """Returns `out[q] = image(A q + t)`, bilinear, 0 outside.

    Not antialiased. One interpolation, whatever moves the map is made of.

    Args:
      image: [H, W, C].
      map_: A and t; gets a zero gradient. A⁻¹ has row sums of absolute values up to
        `NEAR`, or the gradient is wrong: a turn by any angle, or a zoom by 1.2 with
        one by up to 10 degrees.
      size: static (h, w) of the result; None for the image's own.

    Returns:
      [h, w, C].
    """
    height, width, _ = image.shape
    h, w = (height, width) if size is None else size

    def from_corner(map_: Affine, rows: int, columns: int) -> Affine:
        # In pixels counted from the corner the centers' distance is a shift.
        down, right = map_.shift
        return map_._replace(shift=(down + rows / 2, right + columns / 2))

    def forward(image: Array, map_: Affine) -> Array:
        to = from_corner(map_, height - h, width - w)
        y, x = _from_center(h)[:, None], _from_center(w)[None, :]
        return _interpolate(image, *to.moved(y, x))

    def adjoint(gradient: Array, map_: Affine) -> Array:
        to = from_corner(map_, height - h, width - w)
        back = from_corner(map_.inverse(), h - height, w - width)
        y, x = _from_center(height)[:, None], _from_center(width)[None, :]
        to_y, to_x = (jnp.round(d) for d in back.moved(y, x))  # q0 - p, whole
        q_y, q_x = y + to_y + (height - h) / 2, x + to_x + (width - w) / 2
        by, bx = to.moved(q_y, q_x)
        at_y, at_x = to_y + by, to_x + bx  # A q0 + t - p
        row = to_y.astype(jnp.int32) + jnp.arange(height)[:, None] - 1
        column = to_x.astype(jnp.int32) + jnp.arange(width)[None, :] - 1
        at = _window(gradient, row, column, 3)
        (yy, yx), (xy, xx) = map_.less_1
        total = jnp.zeros((height, width, gradient.shape[2]), gradient.dtype)
        for a in (-1, 0, 1):
            for b in (-1, 0, 1):
                down = at_y + (yy * a + yx * b) + a
                right = at_x + (xy * a + xx * b) + b
                weight = _hat(down) * _hat(right)
                total = total + weight[..., None] * at(a + 1, b + 1)
        return total

    return _linear(forward, adjoint)(image, map_)


def turn(image: Array, radians: Array) -> Array:
    """Returns the image turned counterclockwise about its center, 0 outside.

    `out[q] = Σ_p hat(R q - p) image[p]`, with `hat` the product of 1 - |d| in both axes
    (bilinear interpolation) and q, p measured from the center.

    Args:
      image: [H, W, C].
      radians: scalar; gets a zero gradient.
    """
    return affine(image, turning(radians))


def _turn_nearest_forward(image: Array, radians: Array) -> Array:
    H, W, _ = image.shape
    y, x = _from_center(H)[:, None], _from_center(W)[None, :]
    to_y, to_x = (jnp.round(d).astype(jnp.int32) for d in turning(radians).moved(y, x))
    row, column = to_y + jnp.arange(H)[:, None], to_x + jnp.arange(W)[None, :]
    return _window(image, row, column, 1)(0, 0)


def _turn_nearest_adjoint(gradient: Array, radians: Array) -> Array:
    """Pixel p collects the outputs q whose R q is nearest to p.

    In the same 3 × 3 window as the bilinear adjoint's: R q is closer to p than there.
    """
    map_ = turning(radians)
    H, W, _ = gradient.shape
    y, x = _from_center(H)[:, None], _from_center(W)[None, :]
    to_y, to_x = (jnp.round(d) for d in turning(-radians).moved(y, x))  # q0 - p, whole
    row = to_y.astype(jnp.int32) + jnp.arange(H)[:, None] - 1
    column = to_x.astype(jnp.int32) + jnp.arange(W)[None, :] - 1
    at = _window(gradient, row, column, 3)
    total = jnp.zeros_like(gradient)
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            by, bx = map_.moved(y + to_y + a, x + to_x + b)
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
