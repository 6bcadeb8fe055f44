"""Projections: what is done to the image after the update.

A projection is `(images [B, H, W, C], gradient, step, hp) -> images`:

* `gradient` is d score / d images, [B, H, W, C], from before the update;
* `step` is the number of updates completed before this one, so 0 at the first.

Some come every few steps. Between two turns an image is on its way to the next one, so
what is shown and measured of a run is its image as it would be if all of them had had
their turn in the last update (`ended`; `dreamjax.dream.show`). The run itself goes on
by the step alone.

They are applied in the order of `PROJECTIONS`, which is that of Yosinski, Clune,
Nguyen, Fuchs & Lipson 2015 (their toolbox: decay, blur, small norms, small
contributions), then median and range. Each sees the image that the one before left,
and the same gradient. Their zero is the training mean; here it is mid-gray, 0.5, or
what is given as `gray`: 0 in a network's own units (`dreamjax.toolbox`).

All numbers come from `hp`, may be traced and may differ between the runs of one
program. A run at the neutral value gets its image back, and where every run is
neutral (`active` says so) the program leaves the projection out. Images in
[0, 1] stay there.

Where we differ: their loop skips the update and all this at the last step; and their
`px_benefit_percentile`, which no published setting uses, grays the pixels that it
would cost the score most to lose: it calls that their smallest benefit.
`contribution_percentile` grays those that it costs least.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from dreamjax.errors import require
from dreamjax.filters import gaussian_blur, median3, require_images
from dreamjax.hparams import read
from dreamjax.types import Array, HParams, Projection

GRAY = 0.5
CYCLE_ENDS = "a cycle ends"  # in `hp`, as no hyperparameter can be called


def _due(step: Array, every: Array, hp: HParams) -> Array:
    """Returns whether it is a step's turn: at 0, every, 2 every …, and at every step
    of a cycle that ends (`ended`); never where `every` is 0."""
    every = every.astype(jnp.int32)
    due = step % jnp.maximum(every, 1) == 0
    return (every > 0) & (due | hp.get(CYCLE_ENDS, False))


def ended(hp: HParams) -> HParams:
    """Returns hyperparameters with which every periodic projection takes its turn."""
    return {**hp, CYCLE_ENDS: jnp.ones((), bool)}


def _small(values: Array, percentile: Array) -> Array:
    """Returns which pixels are strictly below a percentile of their own image.

    `values < np.percentile(values, percentile)`: whatever lies between two
    neighboring values, the values below it are those below the upper neighbor, which
    is number `ceil(percentile/100 (n-1))` in ascending order.

    It is found by bisection over the bits of a float, which ascend with the float
    once those of negative numbers are turned around: 32 counts in place of a sort,
    0.8 ms an image of 224² on CPU against 13.

    Args:
      values: [B, H, W] float32.
      percentile: scalar, 0 to 100.

    Returns:
      [B, H, W] bool, none at 0.
    """
    flat = values.reshape(values.shape[0], -1).astype(jnp.float32)  # [B, HW]
    rank = jnp.ceil(percentile * (flat.shape[1] - 1) / 100).astype(jnp.int32)

    def turn(bits):
        return bits ^ ((bits >> 31) & 0x7FFFFFFF)

    keys = turn(jax.lax.bitcast_convert_type(flat, jnp.int32))

    def halve(_, bounds):
        low, high = bounds  # [B]
        middle = (low & high) + ((low ^ high) >> 1)  # the mean, without overflow
        below = jnp.sum(keys <= middle[:, None], axis=1)
        enough = below > rank
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    bounds = (jnp.min(keys, axis=1), jnp.max(keys, axis=1))
    key, _ = jax.lax.fori_loop(0, 32, halve, bounds)
    threshold = jax.lax.bitcast_convert_type(turn(key), jnp.float32)  # [B]
    # Compared as floats: -0 and 0 are a tie, and their bits are not.
    return (flat < threshold[:, None]).reshape(values.shape)


def _to_gray(images: Array, mask: Array, gray: float) -> Array:
    """Returns the images, gray where mask [B, H, W] holds."""
    return jnp.where(mask[..., None], gray, images)


def decay(
    images: Array, gradient: Array, step: Array, hp: HParams, *, gray: float = GRAY
) -> Array:
    """Returns images pulled toward gray, `x + decay (gray - x)`.

    Yosinski et al. 2015, x ← (1 - θ_decay) x about their mean.

    Args:
      images: [B, H, W, C].
      gradient: not read.
      step: not read.
      hp: `decay` in [0, 1]; 0 is the identity.
      gray: what it is pulled toward.

    Returns:
      [B, H, W, C].
    """
    require_images("images", images)
    return images + read("decay", hp) * (gray - images)


def blur(images: Array, gradient: Array, step: Array, hp: HParams) -> Array:
    """Returns images blurred by a Gaussian, at every few steps.

    Yosinski et al. 2015, θ_b_width and θ_b_every. The kernel is not truncated, and at
    the border is divided by what lies inside the image (theirs reflects).

    Args:
      images: [B, H, W, C].
      gradient: not read.
      step: int32 scalar.
      hp: `blur_width`, standard deviation in pixels, and `blur_every`, a whole number
        of steps: at 4, steps 0, 4, 8 … Either at 0 is the identity.

    Returns:
      [B, H, W, C].
    """
    require_images("images", images)
    width = read("blur_width", hp)
    on = _due(step, read("blur_every", hp), hp) & (width > 0)
    return jnp.where(on, gaussian_blur(images, width), images)


def norm_clip(
    images: Array, gradient: Array, step: Array, hp: HParams, *, gray: float = GRAY
) -> Array:
    """Returns images whose faintest pixels are gray.

    Yosinski et al. 2015, θ_n_pct: the pixels whose distance from gray, √Σ_c (x-½)², is
    strictly below a percentile of those of their image.

    Args:
      images: [B, H, W, C].
      gradient: not read.
      step: not read.
      hp: `norm_percentile` in 0 to 100; 0 is the identity.
      gray: where norms are measured from.

    Returns:
      [B, H, W, C].
    """
    require_images("images", images)
    squares = jnp.sum(jnp.square(images - gray), axis=3)  # [B, H, W]
    return _to_gray(images, _small(squares, read("norm_percentile", hp)), gray)


def _contribution(images: Array, gradient: Array, gray: float) -> Array:
    """Returns Σ_c (x-gray) g, [B, H, W]: what the score loses with a pixel, about."""
    require_images("images", images)
    require(
        gradient.shape == images.shape, "gradient", gradient.shape, f"{images.shape}"
    )
    return jnp.sum((images - gray) * gradient, axis=3)


def contribution_clip(
    images: Array, gradient: Array, step: Array, hp: HParams, *, gray: float = GRAY
) -> Array:
    """Returns images without the pixels that do the score least good.

    To first order the score changes by `b = -Σ_c (x-½) g` when a pixel is made gray.
    Gray become the pixels whose contribution -b is strictly below a percentile of
    those of their image: first the ones that it helps to lose (b > 0).

    Args:
      images: [B, H, W, C].
      gradient: [B, H, W, C], d score / d images from before the update.
      step: not read.
      hp: `contribution_percentile` in 0 to 100; 0 is the identity.
      gray: where contributions are measured from.

    Returns:
      [B, H, W, C].

    Raises:
      ValueError: a gradient of another shape than the images.
    """
    percentile = read("contribution_percentile", hp)
    contribution = _contribution(images, gradient, gray)
    return _to_gray(images, _small(contribution, percentile), gray)


def contribution_abs_clip(
    images: Array, gradient: Array, step: Array, hp: HParams, *, gray: float = GRAY
) -> Array:
    """Returns images without the pixels that do the score neither good nor harm.

    Yosinski et al. 2015, θ_c_pct: gray become the pixels whose `|Σ_c (x-½) g|` is
    strictly below a percentile of those of their image.

    Args:
      images: [B, H, W, C].
      gradient: [B, H, W, C], d score / d images from before the update.
      step: not read.
      hp: `contribution_abs_percentile` in 0 to 100; 0 is the identity.
      gray: where contributions are measured from.

    Returns:
      [B, H, W, C].

    Raises:
      ValueError: a gradient of another shape than the images.
    """
    percentile = read("contribution_abs_percentile", hp)
    contribution = jnp.abs(_contribution(images, gradient, gray))
    return _to_gray(images, _small(contribution, percentile), gray)


def median(images: Array, gradient: Array, step: Array, hp: HParams) -> Array:
    """Returns images under a 3x3 median filter, at every few steps.

    Args:
      images: [B, H, W, C].
      gradient: not read.
      step: int32 scalar.
      hp: `median_every`, a whole number of steps: at 4, steps 0, 4, 8 …; 0 is the
        identity.

    Returns:
      [B, H, W, C].
    """
    require_images("images", images)
    on = _due(step, read("median_every", hp), hp)
    return jnp.where(on, median3(images), images)


def clip(images: Array, gradient: Array, step: Array, hp: HParams) -> Array:
    """Returns images cut off at a lower and an upper value.

    Args:
      images: [B, H, W, C].
      gradient: not read.
      step: not read.
      hp: `clip_low` and `clip_high`, scalars or one of each channel [C]; 0 and 1 are
        the identity on images in [0, 1].

    Returns:
      [B, H, W, C].
    """
    require_images("images", images)
    low, high = (read(name, hp) for name in ("clip_low", "clip_high"))
    return jnp.clip(
        images, low.reshape(1, 1, 1, -1), high.reshape(1, 1, 1, -1)
    )  # [B, H, W, C]


SweptValues = Mapping[str, Sequence[float]]
"""Hyperparameter name -> all the values that it takes in some run."""


@dataclass(frozen=True)
class ProjectionEntry:
    """A projection, what it reads, and when it can be left out.

    Attributes:
      project: (images, gradient, step, hp) -> images.
      hparams: names of what it reads from `hp`.
      neutral: name -> value at which the images come back as they were.
      active: (name -> all swept values) -> whether it can change an image in any run.
      doc: one line.
      period: the hyperparameter that is its period in steps; "" for every step.
    """

    project: Projection
    hparams: tuple[str, ...]
    neutral: Mapping[str, float]
    active: Callable[[SweptValues], bool]
    doc: str
    period: str = ""

    def periodic(self, values: SweptValues) -> bool:
        """Returns whether it lets a step out in any run."""
        return bool(self.period) and any(v > 1 for v in values[self.period])


def _swept(values: SweptValues, name: str) -> Sequence[float]:
    given = ", ".join(sorted(values))
    require(name in values, name, None, f"it needs a value; given are: {given}")
    return values[name]


def _off_at_zero(
    project: Projection, doc: str, *names: str, period: str = ""
) -> ProjectionEntry:
    """Returns the entry of a projection that is off where one of `names` is 0."""

    def active(values: SweptValues) -> bool:
        return all([any(v != 0 for v in _swept(values, name)) for name in names])

    neutral = dict.fromkeys(names, 0.0)
    return ProjectionEntry(project, names, neutral, active, doc, period)


def _clip_active(values: SweptValues) -> bool:
    low, high = _swept(values, "clip_low"), _swept(values, "clip_high")
    return any(v > 0 for v in low) or any(v < 1 for v in high)


PROJECTIONS: dict[str, ProjectionEntry] = {
    "decay": _off_at_zero(decay, "pull toward gray", "decay"),
    "blur": _off_at_zero(
        *(blur, "Gaussian blur every few steps", "blur_width", "blur_every"),
        period="blur_every",
    ),
    "norm_clip": _off_at_zero(norm_clip, "faint pixels to gray", "norm_percentile"),
    "contribution_clip": _off_at_zero(
        contribution_clip, "least helpful pixels to gray", "contribution_percentile"
    ),
    "contribution_abs_clip": _off_at_zero(
        contribution_abs_clip,
        "least relevant pixels to gray",
        "contribution_abs_percentile",
    ),
    "median": _off_at_zero(
        *(median, "3x3 median every few steps", "median_every"),
        period="median_every",
    ),
    "clip": ProjectionEntry(
        clip,
        ("clip_low", "clip_high"),
        {"clip_low": 0.0, "clip_high": 1.0},
        _clip_active,
        "cut off at a lower and an upper value",
    ),
}
"""In the order in which they are applied."""
PERIODS = frozenset(entry.period for entry in PROJECTIONS.values() if entry.period)
