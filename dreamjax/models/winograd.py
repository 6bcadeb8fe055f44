"""3×3 convolutions with 4/9 of the multiplications (Winograd 1980; Lavin & Gray 2016).

F(2×2, 3×3): every 2 × 2 pixels of the output are made from 4 × 4 of the input and the
3 × 3 filter, both brought into a basis where the convolution is a product:

    Y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ d B) ] A

The product of each of the 16 places, summed over the input's channels, is a matmul over
all tiles, and matmuls are what a CPU does best. In float32 results are as exact as the
plain sum's (1e-6 of the largest; the larger F(4×4, 3×3), which needs a quarter of the
multiplications, is ten times off and was no faster as an XLA program).

On two cores, 8 images, GFLOP per second counted as if by the plain sum, where the
largest matmul reaches 195 (`python -m benchmarks.convolutions`):

    H², C -> K          XLA's own    here
    118², 128 -> 128      184        281
    59², 256 -> 256       204        350
    29², 512 -> 512       204        402
    59², 64 -> 64         104        235
    15², 256 -> 256       204        312
    236², 64 -> 64        189        179   <- memory for the 16 places, none in cache

The gradient in the image is the same with the filter turned by 180° and transposed. In
the basis that is another order of the 16 places, so the filter's transform is shared.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dreamjax.models.layers import Padding, interleaved
from dreamjax.types import Array

Places = list[list[Array]]
"""4 × 4 arrays, one of each place of the basis."""

TURNED = (3, 1, 2, 0)  # places of a filter turned by 180°, each axis


def wins(height: int, width: int, inputs: int, outputs: int) -> bool:
    """Returns whether this beats XLA's convolution of CPU, for a map of that size.

    Measured at 8 images, forward and backward. The gain, a part of C K multiplications,
    has to pay for reading and writing 4 (C + K) numbers a pixel, which is cheap while
    they stay in the cache, and for the filter's transform.
    """
    area, mean = height * width, inputs * outputs / (inputs + outputs)
    return area >= 14**2 and (mean >= 60 or (mean >= 30 and 20**2 <= area <= 64**2))


def convolve(x: Array, kernel: Array, padding: Padding) -> Array:
    """Returns the convolution [N, h, w, K] of x [N, H, W, C] with kernel [3, 3, C, K].

    Args:
      padding: ((top, bottom), (left, right)) pixels of zeros; h = H + top + bottom - 2.
    """
    places = _filter_places(kernel)

    def product(tiles: Array, i: int, j: int) -> Array:
        return tiles @ places[i][j]

    return _tiled(x, padding, product, kernel.shape[3])


def transposed(g: Array, kernel: Array, padding: Padding) -> Array:
    """Returns the gradient [N, H, W, C] in the input of `convolve`.

    Args:
      g: [N, h, w, K], the gradient in its output.
      kernel: [3, 3, C, K].
      padding: of `convolve`, each at most 2.
    """
    places = _filter_places(kernel)

    def product(tiles: Array, i: int, j: int) -> Array:
        turned = places[TURNED[i]][TURNED[j]]
        return jax.lax.dot_general(tiles, turned, (((1,), (1,)), ((), ())))

    (top, bottom), (left, right) = padding
    around = ((2 - top, 2 - bottom), (2 - left, 2 - right))
    return _tiled(g, around, product, kernel.shape[2])


def _filter_places(kernel: Array) -> Places:
    """Returns G w Gᵀ, 4 × 4 of [C, K]."""

    def one(a: Array, b: Array, c: Array) -> list[Array]:
        ends, middle = (a + c) / 2, b / 2
        return [a, ends + middle, ends - middle, c]

    rows = one(*kernel)  # 4 of [3, C, K]
    return [one(*row) for row in rows]


def _tiled(
    x: Array,
    padding: Padding,
    product: Callable[[Array, int, int], Array],
    channels: int,
) -> Array:
    n, height, width, inputs = x.shape
    (top, bottom), (left, right) = padding
    h, w = height + top + bottom - 2, width + left + right - 2
    rows, columns = -(-h // 2), -(-w // 2)  # of tiles
    odd = (2 * rows - h, 2 * columns - w)
    x = jnp.pad(x, ((0, 0), (top, bottom + odd[0]), (left, right + odd[1]), (0, 0)))

    def image(a: Array, b: Array, c: Array, d: Array) -> list[Array]:  # Bᵀ d
        return [a - c, b + c, c - b, b - d]

    lines = image(*[x[:, i : i + 2 * rows - 1 : 2] for i in range(4)])
    places = [
        image(*[line[:, :, j : j + 2 * columns - 1 : 2] for j in range(4)])
        for line in lines
    ]  # 4 × 4 of [N, rows, columns, C]
    products = [
        [product(places[i][j].reshape(-1, inputs), i, j) for j in range(4)]
        for i in range(4)
    ]  # of [N rows columns, K]

    def back(a: Array, b: Array, c: Array, d: Array) -> list[Array]:  # Aᵀ m
        return [a + b + c, b - c - d]

    halves = [back(*[products[i][j] for i in range(4)]) for j in range(4)]
    pixels = [back(*[half[p] for half in halves]) for p in range(2)]  # 2 × 2
    shape = (n, rows, columns, channels)
    y = interleaved([[pixel.reshape(shape) for pixel in line] for line in pixels])
    return y[:, :h, :w]
