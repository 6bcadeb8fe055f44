"""Transformation robustness: random views of an image that a dream must survive.

Makes `Transform`s: pure functions (key, image [H, W, C], hp) -> view [H', W', C] of
ONE image. The caller vmaps over images, and over runs, with a key for each, so that
every image of a batch gets its own view (Lucid draws one for the whole batch). Shapes
are static; draws get a zero gradient; the gradient with respect to the image is exact,
and reverse mode only (see resample.py).

Arguments typed `Value` take a number or `Hparam("name")`, a traced value of `hp` that
may be swept with no recompile. Numbers are checked when the transform is made; a
traced value cannot be.

Example:

    view = chain(pad(12), jitter(8), rotate(low=-10, high=10), jitter(4))
    views = jax.vmap(view, (0, 0, None))(jax.random.split(key, B), images, hp)
"""

import math
import numbers
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from dreamjax import resample
from dreamjax.caps import require_cap
from dreamjax.errors import choose, require
from dreamjax.hparams import Hparam, Value, resolve
from dreamjax.moves import Move, grouped, together
from dreamjax.types import Array, HParams, Key, Transform

GRAY = 0.5
ORIGIN = (0.0, 0.0)
Placed = tuple[tuple[int, int], resample.Affine]


# Checks, at construction and at trace time.


def _number(
    argument: str, value: Any, low: float = -math.inf, high: float = math.inf
) -> None:
    """Requires an Hparam, or a finite number in [low, high]."""
    if isinstance(value, Hparam):
        return
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    allowed = "a finite number"
    if low > -math.inf and high < math.inf:
        allowed += f" from {low:g} to {high:g}"
    elif low > -math.inf:
        allowed += f", at least {low:g}"
    allowed += ", or an Hparam, is allowed"
    fits = number and math.isfinite(value) and low <= value <= high
    require(fits, argument, value, allowed)


def _whole(argument: str, value: Any, low: int) -> None:
    """Requires a static integer >= low."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    fits = whole and value >= low
    require(fits, argument, value, f"an integer, at least {low}, is allowed")
    require_cap(argument, value, value, "side")


def _pixels(argument: str, value: Any) -> None:
    """Requires an Hparam, or a static integer >= 0."""
    if not isinstance(value, Hparam):
        _whole(argument, value, 0)


def _interval(low: Value, high: Value, steps: int, rest: int) -> None:
    if not isinstance(low, Hparam) and not isinstance(high, Hparam):
        require(low <= high, "low", low, f"it must not be above high={high!r}")
    _whole("steps", steps, 0)
    require(steps != 1, "steps", steps, "0 (any value) or at least 2 is allowed")
    _whole("rest", rest, 0)
    require(
        rest == 0 or steps > 0, "rest", rest, "it adds draws to a list: give steps too"
    )


def _size(argument: str, size: int | tuple[int, int]) -> tuple[int, int]:
    pair = isinstance(size, tuple | list)
    if pair:
        require(len(size) == 2, argument, size, "an integer or (height, width)")
    height, width = size if pair else (size, size)
    _whole(argument, height, 1)
    _whole(argument, width, 1)
    return int(height), int(width)


def _check_image(name: str, image: Array) -> None:
    if image.ndim != 3:
        raise ValueError(
            f"{name} takes one image [H, W, C], not an array of shape {image.shape}:"
            " use jax.vmap, with one key per image, for a batch."
        )


# Draws.


def _whole_draw(
    key: Key, low: Array | int, high: Array | int, shape: tuple[int, ...] = ()
) -> Array:
    """Returns random integers in low..high, both included.

    `floor(u n)` of one uniform, as n is far below 2²³: `jax.random.randint` draws twice
    and splits, which more than doubles the time to compile a view (0.65 s against 0.27
    s each on CPU).
    """
    n = high - low + 1
    u = jax.random.uniform(key, shape)
    return low + jnp.minimum(jnp.floor(u * n).astype(jnp.int32), n - 1)


def draw(
    key: Key, low: Array | float, high: Array | float, *, steps: int = 0, rest: int = 0
) -> Array:
    """Returns a random float32 in [low, high], from a list or from all of it.

    With steps = 0, uniform in [low, high). Otherwise one of the steps + rest values
    `low + (high - low) i / (steps - 1)`, i in 0..steps - 1, and `rest` times 0, all
    equally likely: rest = 5 and the 21 whole degrees -10..10 give P(0) = 6/26.

    Args:
      key: consumed.
      low: scalar; gets a zero gradient, as does high.
      high: scalar.
      steps: static, 0 or at least 2.
      rest: static.
    """
    low = lax.stop_gradient(jnp.asarray(low, jnp.float32))
    high = lax.stop_gradient(jnp.asarray(high, jnp.float32))
    if steps == 0:
        return low + (high - low) * jax.random.uniform(key)
    i = _whole_draw(key, 0, steps + rest - 1)
    last = steps - 1
    # Weighted from both ends, so that a symmetric list holds its middle exactly.
    value = (low * (last - i) + high * i) / last
    return jnp.where(i < steps, value, 0.0)


def _whole_value(value: Value, hp: HParams) -> Array:
    """A swept hyperparameter is a float: the nearest integer is meant."""
    return jnp.round(jnp.asarray(resolve(value, hp), jnp.float32)).astype(jnp.int32)


def _plain(value: Value, hp: HParams) -> Array:
    return lax.stop_gradient(jnp.asarray(resolve(value, hp), jnp.float32))


# Borders and moves by whole pixels.


def pad(
    pixels: int, value: Value | Literal["reflect", "wrap", "edge"] = GRAY
) -> Transform:
    """Surrounds the image: [H, W, C] -> [H + 2 pixels, W + 2 pixels, C].

    Lucid pads with gray, so that jitter and rotation do not waste image and the
    network never sees a black border.

    Args:
      pixels: static width of the border, in pixels.
      value: what fills it (RGB in [0, 1]), or the name of a `jnp.pad` mode.

    Raises:
      ValueError: if pixels is negative, or value is no number and no known mode.
    """
    _whole("pixels", pixels, 0)
    around = ((pixels, pixels), (pixels, pixels), (0, 0))
    if isinstance(value, str):
        mode = choose("value", value, ("reflect", "wrap", "edge"))
    else:
        mode = None
        _number("value", value)

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("pad", image)
        if mode is not None:
            return jnp.pad(image, around, mode=mode)
        fill = jnp.asarray(resolve(value, hp), image.dtype)
        return lax.pad(image, fill, [(before, after, 0) for before, after in around])

    if isinstance(value, str | Hparam):
        return transform

    def place(key: Key, size: tuple[int, int], hp: HParams) -> Placed:
        height, width = size
        return (height + 2 * pixels, width + 2 * pixels), resample.shifting(*ORIGIN)

    return Move(transform, place, 1.0, float(value), interpolates=False)


def jitter(pixels: Value, *, limit: int | None = None) -> Transform:
    """Crops at random: [H, W, C] -> [H - limit, W - limit, C] (Lucid's jitter).

    Both corners' coordinates are uniform on the pixels + 1 integers of the window
    `(limit - pixels) // 2 + {0..pixels}`, which is {0..limit}, Lucid's, where pixels
    = limit. pixels = 0 is a center crop.

    Args:
      pixels: width of the window; a traced value is rounded and held in 0..limit.
      limit: static; what the crop takes off height and width. By default, pixels.

    Raises:
      ValueError: if pixels is traced and no limit is given; if pixels is negative or
        above limit; at trace time, if limit >= H or W.
    """
    _pixels("pixels", pixels)
    if limit is None:
        if isinstance(pixels, Hparam):
            raise ValueError(
                f"jitter(pixels={pixels!r}) needs limit=, the static number of pixels"
                " that the crop takes off height and width."
            )
        limit = int(pixels)
    _whole("limit", limit, 0)
    if not isinstance(pixels, Hparam):
        require(pixels <= limit, "pixels", pixels, f"it must be within limit={limit}")

    def corner(key: Key, size: tuple[int, int], hp: HParams) -> Array:
        if limit >= min(size):
            raise ValueError(
                f"jitter(limit={limit}) does not fit an image of {size[0]} × {size[1]}"
                " px: limit must be below height and width."
            )
        window = jnp.clip(_whole_value(pixels, hp), 0, limit)
        first = (limit - window) // 2
        return _whole_draw(key, first, first + window, (2,))

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("jitter", image)
        return resample.crop_at(image, corner(key, image.shape[:2], hp), limit)

    def place(key: Key, size: tuple[int, int], hp: HParams) -> Placed:
        down, right = corner(key, size, hp) - limit / 2  # of the view's center
        view = (size[0] - limit, size[1] - limit)
        return view, resample.shifting(down, right)

    return Move(transform, place, 1.0, None, interpolates=False)


def roll(pixels: Value) -> Transform:
    """Shifts on the torus by U{-pixels..pixels} in both axes; same shape.

    Nothing is lost and no border appears; what leaves on one side enters on the other
    (Mordvintsev et al. 2015, the DeepDream notebook).

    Args:
      pixels: the largest shift; a traced value is rounded, a negative one counts as 0.

    Raises:
      ValueError: if pixels is negative or no integer.
    """
    _pixels("pixels", pixels)

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("roll", image)
        most = jnp.maximum(_whole_value(pixels, hp), 0)
        return resample.roll_by(image, _whole_draw(key, -most, most, (2,)))

    return transform


def crop(size: int | tuple[int, int]) -> Transform:
    """Cuts the middle out: -> [height, width, C].

    An odd difference takes its extra pixel at the bottom and right.

    Args:
      size: static side, or (height, width), in pixels.

    Raises:
      ValueError: if a side is below 1; at trace time, if it is above the image's.
    """
    target = _size("size", size)
    cut = crop_or_pad(size)

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("crop", image)
        height, width = image.shape[:2]
        if target[0] > height or target[1] > width:
            raise ValueError(
                f"crop(size={size}) does not fit an image of {height} × {width} px:"
                " crop_or_pad surrounds it with gray."
            )
        return cut(key, image, hp)

    return transform


def crop_or_pad(size: int | tuple[int, int], *, fill: Value = GRAY) -> Transform:
    """Cuts the middle out, or surrounds with gray: -> [height, width, C].

    `tf.image.resize_with_crop_or_pad`: an odd difference takes (or adds) its extra
    pixel at the bottom and right.

    Args:
      size: static side, or (height, width), in pixels.
      fill: the color outside.

    Raises:
      ValueError: if a side is below 1.
    """
    target = _size("size", size)
    _number("fill", fill)

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("crop_or_pad", image)
        border = []
        for have, want in zip(image.shape[:2], target, strict=True):
            before = -((have - want) // 2) if have > want else (want - have) // 2
            border.append((before, want - have - before, 0))  # negative: cut
        outside = jnp.asarray(resolve(fill, hp), image.dtype)
        return lax.pad(image, outside, [*border, (0, 0, 0)])

    return transform


# Geometry, bilinear.


def scale(low: Value, high: Value, *, steps: int = 0, fill: Value = GRAY) -> Transform:
    """Zooms about the center by a random factor in [low, high]; same shape.

    Bilinear, not antialiased: `view[q] = image(q / factor)` with q from the center,
    the image being surrounded by `fill`. A factor above 1 crops.

    Args:
      low: smallest factor, above 0.
      high: largest factor. The gradient is faster where both are numbers up to 1.5.
      steps: static; 0 draws any factor, otherwise one of that many evenly spaced ones,
        both ends included.
      fill: the color outside.

    Raises:
      ValueError: if low <= 0, low > high, or steps is 1 or negative.
    """
    _number("low", low)
    _number("high", high)
    for argument, value in (("low", low), ("high", high)):
        if not isinstance(value, Hparam):
            require(value > 0, argument, value, "a factor above 0 is allowed")
    _interval(low, high, steps, 0)
    _number("fill", fill)
    # Both: a traced low may be above high.
    known = not isinstance(low, Hparam) and not isinstance(high, Hparam)
    largest = high if known else None

    def factor(key: Key, hp: HParams) -> Array:
        return draw(key, resolve(low, hp), resolve(high, hp), steps=steps)

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("scale", image)
        outside = jnp.asarray(resolve(fill, hp), image.dtype)
        zoomed = resample.zoom(image - outside, factor(key, hp), largest)
        return zoomed + outside

    def place(key: Key, size: tuple[int, int], hp: HParams) -> Placed:
        return size, resample.zooming(factor(key, hp))

    if isinstance(fill, Hparam):
        return transform
    stretch = math.inf if largest is None else float(largest)
    return Move(transform, place, stretch, float(fill), interpolates=True)


def rotate(
    low: Value,
    high: Value,
    *,
    steps: int = 0,
    rest: int = 0,
    fill: Value = GRAY,
    interpolation: str = "linear",
) -> Transform:
    """Turns about the center by a random angle in [low, high] degrees; same shape.

    Counterclockwise: `view[q] = image(R q)` with q from the center, the image being
    surrounded by `fill`. (`tf.contrib.image.rotate` as Lucid calls it takes the nearest
    pixel and surrounds with black.)

    Args:
      low: smallest angle, in degrees.
      high: largest angle, in degrees.
      steps: static; 0 draws any angle, otherwise one of that many evenly spaced ones,
        both ends included.
      rest: static; so many draws of 0 are added to the list of `steps` angles.
      fill: the color outside.
      interpolation: static, "linear" or "nearest". The nearest pixel is off by up to
        half a pixel, another one in each draw: what is finer does not survive.

    Raises:
      ValueError: if low > high, steps is 1 or negative, rest is given and steps not, or
        for another interpolation.
    """
    turn = TURNS[choose("interpolation", interpolation, TURNS)]
    _number("low", low)
    _number("high", high)
    _interval(low, high, steps, rest)
    _number("fill", fill)

    def angle(key: Key, hp: HParams) -> Array:
        low_, high_ = resolve(low, hp), resolve(high, hp)
        return jnp.deg2rad(draw(key, low_, high_, steps=steps, rest=rest))

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("rotate", image)
        outside = jnp.asarray(resolve(fill, hp), image.dtype)
        return turn(image - outside, angle(key, hp)) + outside

    def place(key: Key, size: tuple[int, int], hp: HParams) -> Placed:
        return size, resample.turning(angle(key, hp))

    if isinstance(fill, Hparam) or interpolation != "linear":
        return transform
    stretch = math.sqrt(2)  # |cos| + |sin| at 45 degrees, and less before
    if not isinstance(low, Hparam) and not isinstance(high, Hparam):
        most = math.radians(min(45.0, max(abs(low), abs(high))))
        stretch = math.cos(most) + math.sin(most)
    return Move(transform, place, stretch, float(fill), interpolates=True)


def resize(size: int | tuple[int, int]) -> Transform:
    """Resizes to [height, width, C], bilinear, antialiased where it shrinks.

    Not random, and needed where a model takes one size only.

    Args:
      size: static side, or (height, width), in pixels.

    Raises:
      ValueError: if a side is below 1.
    """
    target = _size("size", size)

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("resize", image)
        shape = (*target, image.shape[2])
        return jax.image.resize(image, shape, "linear", antialias=True)

    return transform


TURNS = {"linear": resample.turn, "nearest": resample.turn_nearest}


def flip(probability: Value = 0.5) -> Transform:
    """Mirrors left and right with the given probability; same shape.

    Raises:
      ValueError: if probability is outside [0, 1].
    """
    _number("probability", probability, 0, 1)

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("flip", image)
        mirrored = jax.random.uniform(key) < _plain(probability, hp)
        return jnp.where(mirrored, image[:, ::-1], image)

    return transform


# Color.


def noise(sigma: Value) -> Transform:
    """Adds Gaussian noise: `image + sigma · N(0, 1)`, for every number; same shape.

    Args:
      sigma: standard deviation, in units of the image's range [0, 1].

    Raises:
      ValueError: if sigma is negative.
    """
    _number("sigma", sigma, 0)

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("noise", image)
        sample = jax.random.normal(key, image.shape, image.dtype)
        return image + _plain(sigma, hp) * sample

    return transform


def color_jitter(*, mean: Value = 1.0, std: Value = 1.0) -> Transform:
    """Shifts and stretches each channel: `x · exp(std · U) + mean · U'`; same shape.

    U and U' are uniform in [-1, 1], one of each per channel (ColorShift of Ghiasi et
    al. 2022, "What do Vision Transformers Learn?"). The result leaves [0, 1]; theirs
    acts on images normalized by mean and deviation, where 1 is about a quarter of the
    range here.

    Args:
      mean: size of the shift, in units of the image's range [0, 1].
      std: size of the logarithm of the stretch.

    Raises:
      ValueError: if mean or std is negative.
    """
    _number("mean", mean, 0)
    _number("std", std, 0)

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("color_jitter", image)
        shape = (2, 1, 1, image.shape[2])
        shift, stretch = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
        return image * jnp.exp(_plain(std, hp) * stretch) + _plain(mean, hp) * shift

    return transform


# Composition and presets.


def chain(*transforms: Transform) -> Transform:
    """Applies the transforms in turn, with an independent key for each.

    With none, the image itself comes back. Pads, jitters, zooms and turns that follow
    one another, surrounded by one color, are done as one resampling (`dreamjax.moves`):
    inside the image that is what they do one by one but for one interpolation in place
    of several, and what a zoom took out of the frame is still there for a turn.

    Raises:
      ValueError: if a member is not callable.
    """
    for transform in transforms:
        require(callable(transform), "transforms", transform, "give Transforms")

    groups = grouped(transforms)

    def chained(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("chain", image)
        if not transforms:
            return image
        keys = iter(jax.random.split(key, len(transforms)))
        for group in groups:
            own = [next(keys) for _ in group]
            if len(group) == 1:
                image = group[0](own[0], image, hp)
            else:
                image = together(group, own, image, hp)
        return image

    return chained


def lucid_standard() -> Transform:
    """Lucid's `standard_transforms`: [H, W, C] -> [H + 12, W + 12, C].

    Pad 12 of gray, jitter 8, scale by one of .90, .92 … 1.10, rotate by one of the 21
    whole degrees -10..10 and 5 zeros, jitter 4.

    Four differences: Lucid's scaled image changes its size (the network sees 125 to
    154 pixels for an image of 128), ours keeps it and shows more or less of the image
    and of gray; Lucid takes 3.14 for π, 0.05 % less of an angle; what it rotates is
    surrounded with black, ours with gray; and it scales bilinearly and then rotates by
    nearest neighbors, where ours are one bilinear resampling (`olah2017.fig15` has what
    the nearest neighbors do to high frequencies).
    """
    return chain(*lucid_moves())


def lucid_moves() -> tuple[Transform, ...]:
    """Returns the members of `lucid_standard`."""
    return (
        pad(12),
        jitter(8),
        scale(low=0.9, high=1.1, steps=11),
        rotate(low=-10, high=10, steps=21, rest=5),
        jitter(4),
    )


def distill_2017() -> Transform:
    """The transforms of Olah et al. 2017, "Feature Visualization": same shape.

    Pad 16, jitter 16, scale by one of .95, .975, 1, 1.025, 1.05, rotate by one of the
    11 whole degrees -5..5, jitter 8, "crop the padding" (a footnote of the article).
    We read the last as a center crop to the image's own size: jitter has left 8 of the
    32 pixels, and 4 more go on each side. (A crop of 16 on each side would cut into the
    image.)
    """
    moves = chain(
        pad(16),
        jitter(16),
        scale(low=0.95, high=1.05, steps=5),
        rotate(low=-5, high=5, steps=11),
        jitter(8),
    )

    def transform(key: Key, image: Array, hp: HParams) -> Array:
        _check_image("distill_2017", image)
        return crop_or_pad(image.shape[:2])(key, moves(key, image, hp), hp)

    return transform


def deepdream_2015(pixels: Value = 32) -> Transform:
    """The DeepDream notebook's jitter: a roll by U{-32..32}; same shape."""
    return roll(pixels)


def output_shape(transform: Transform, shape: tuple[int, ...], hp: HParams) -> tuple:
    """Returns the shape of the views of an image [H, W, C] of the given shape.

    Nothing is computed.

    Raises:
      ValueError: where the transform does not fit the image.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    try:
        return jax.eval_shape(transform, key, image, dict(hp)).shape
    except ValueError as error:  # JAX adds lines about its frames
        raise ValueError(str(error).partition("\n")[0]) from None


TRANSFORMS = {
    "pad": pad,
    "jitter": jitter,
    "roll": roll,
    "crop": crop,
    "crop_or_pad": crop_or_pad,
    "scale": scale,
    "rotate": rotate,
    "resize": resize,
    "flip": flip,
    "noise": noise,
    "color_jitter": color_jitter,
    "chain": chain,
    "lucid_standard": lucid_standard,
    "distill_2017": distill_2017,
    "deepdream_2015": deepdream_2015,
}
