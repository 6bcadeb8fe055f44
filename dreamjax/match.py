"""Controls and dreams made comparable: equal light, contrast and spectrum, or a blend.

An image is [H, W, 3], a clip [T, H, W, 3], RGB in [0, 1]. Luminance and contrast are
matched in linear light, which the display shows; spectra in stored (sRGB) values, as is
customary for phase scrambling. What comes out of the spectral functions may leave
[0, 1]: `into_range` brings several pictures back by one common factor.

References: Willenbockel et al. 2010, "Controlling low-level image properties: the
SHINE toolbox", Behav. Res. Methods 42 (matching of light and of spectra; there on gray
images); Oppenheim and Lim 1981, "The importance of phase in signals", Proc. IEEE 69.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import fft, optimize

from dreamjax.errors import choose, require
from dreamjax.measures.histogram import LUMA
from dreamjax.measures.light import (
    REC709,
    encode_srgb,
    mean_luminance,
    rms_contrast,
)
from dreamjax.measures.spectrum import FLAT, rings

ROUNDS = 100
"""How often gain and offset are corrected at most."""

GAIN_LIMIT = 1e6
"""The largest gain; a picture multiplied by this is black and white."""

_AXES = (-3, -2)  # of height and width, with the channels last


class Matched(NamedTuple):
    """A clip brought to a reference's luminance and contrast.

    Attributes:
      frames: float32, the shape of the clip given, in [0, 1].
      reached: bool, [T] if matched per frame, else [1]: whether both are within the
        tolerance. False where no image of this kind has such a contrast: of a uniform
        frame, or one that is black and white already.
      luminance: mean luminance of `frames`, the shape of `reached`.
      contrast: RMS contrast of `frames`, the shape of `reached`.
    """

    frames: np.ndarray
    reached: np.ndarray
    luminance: np.ndarray
    contrast: np.ndarray


class Change(NamedTuple):
    """What is done to the stored values of a clip: see `match_luminance_contrast`."""

    offset: float
    gain: float


def match_luminance_contrast(
    clip: np.ndarray,
    reference: np.ndarray,
    *,
    per_frame: bool = False,
    tolerance: float = 1e-3,
) -> Matched:
    """Gives a clip the mean luminance and the RMS contrast of another.

    With l a pixel's luma and l̄ the clip's mean luma (both of stored values), a pixel x
    becomes `clip(m + a (l - l̄) + min(a, 1) (x - l), 0, 1)`: one gain a and one offset m
    for all pixels and channels, and colors are not made stronger by a gain above 1,
    which would spoil them long before the grays. a and m are solved for by least
    squares on the linear luminance that is measured after clipping.

    Args:
      clip: [T, H, W, 3] or one image [H, W, 3].
      reference: the same with any H and W. With `per_frame` it has as many frames as
        the clip, or one.
      per_frame: match each frame on its own, which also removes flicker; else one gain
        and offset for the clip, which keeps how frames differ.
      tolerance: allowed difference of luminance and of contrast, both in [0, 1].

    Returns:
      `Matched`, which says where the match was not reached; look at `reached`.

    Raises:
      ValueError: for other shapes, and a tolerance that is not positive.
    """
    require(tolerance > 0, "tolerance", tolerance, "above 0")
    clip, reference = np.asarray(clip), np.asarray(reference)
    frames, goals = _as_clip(clip, "clip"), _as_clip(reference, "reference")
    if not per_frame:
        parts = [
            _matched(frames, mean_luminance(goals), rms_contrast(goals), tolerance)
        ]
    else:
        fits = len(goals) in (1, len(frames))
        require(fits, "reference frames", len(goals), f"give 1 or {len(frames)}")
        parts = [
            _matched(frame[None], mean_luminance(goal), rms_contrast(goal), tolerance)
            for frame, goal in zip(
                frames,
                np.broadcast_to(goals, (len(frames), *goals.shape[1:])),
                strict=True,
            )
        ]
    pixels, means, contrasts, reached = zip(*parts, strict=True)
    return Matched(
        np.concatenate(pixels).reshape(clip.shape),
        np.array(reached),
        np.array(means),
        np.array(contrasts),
    )


def match_spectrum(
    image: np.ndarray,
    reference: np.ndarray,
    *,
    channels: str = "each",
    radial: bool = False,
) -> np.ndarray:
    """Gives an image the amplitude spectrum of another and keeps its phases.

    `F' = |F_reference| exp(i arg F)`. With `radial` only the power averaged over each
    ring of |f| is matched: `F' = F sqrt(P_reference(f) / P(f))`, which keeps what
    directions the image has. The mean comes from the reference in either case. Where
    the image has no amplitude, its phase counts as 0, and with `radial` there is none
    afterwards either.

    Args:
      image: [H, W, 3] or [T, H, W, 3]; every frame is matched.
      reference: the same shape, or one [H, W, 3] for all frames.
      channels: "each" matches R, G and B apart, and takes on the reference's colors;
        "luma" matches the gray .2126 R + .7152 G + .0722 B of the stored values and
        adds its change to all channels, so the image keeps its colors.
      radial: match rings, not single frequencies.

    Returns:
      float32 of the image's shape; may leave [0, 1].

    Raises:
      ValueError: where the shapes differ.
    """
    choose("channels", channels, ("each", "luma"))
    image, reference = np.asarray(image), np.asarray(reference)
    _as_clip(image, "image")
    _as_clip(reference, "reference")
    fits = reference.shape in (image.shape, image.shape[-3:])
    require(fits, "reference.shape", reference.shape, f"give {image.shape}")
    x, goal = image.astype(np.float64), reference.astype(np.float64)
    if channels == "luma":
        x, goal = (x @ LUMA)[..., None], (goal @ LUMA)[..., None]
    size = image.shape[-3:-1]
    have, want = fft.fft2(x, axes=_AXES), fft.fft2(goal, axes=_AXES)
    if radial:
        made = have * _ring_gain(have, want, rings(*size))
        made[..., 0, 0, :] = want[..., 0, 0, :]
    else:
        made = np.abs(want) * np.exp(1j * _phase(have))
        made[..., 0, 0, :] = want[..., 0, 0, :]
    matched = fft.ifft2(made, axes=_AXES).real
    if channels == "luma":
        matched = image + (matched - x)
    return matched.astype(np.float32)


def phase_scrambled(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns an image with the same spectrum and nothing to recognize in it.

    `F' = F exp(i φ)`, φ random, uniform and odd in f, the same for all channels and
    frames. So amplitudes, the mean color and the covariance of the colors stay, and a
    still clip stays still. φ is 0 at f = 0.

    Args:
      image: [H, W, 3] or [T, H, W, 3].
      seed: of φ; a size and a seed always give the same φ.

    Returns:
      float32 of the image's shape; may leave [0, 1].
    """
    image = np.asarray(image)
    _as_clip(image, "image")
    # Phases of real noise are odd in f, so the picture stays real.
    noise = np.random.default_rng(seed).normal(size=image.shape[-3:-1])
    spectrum = fft.fft2(noise)
    turn = (spectrum / np.abs(spectrum))[:, :, None]
    turn[0, 0] = 1.0
    scrambled = fft.ifft2(
        fft.fft2(image.astype(np.float64), axes=_AXES) * turn, axes=_AXES
    )
    return scrambled.real.astype(np.float32)


def into_range(*images: np.ndarray) -> tuple[list[np.ndarray], float]:
    """Brings pictures into [0, 1] by one factor: `x̄ + c (x - x̄)`, c <= 1.

    x̄ is each picture's mean color (of each frame), so means stay, and all spectra
    shrink by the same c: what was matched stays matched. c is 1 where nothing leaves
    [0, 1].

    Args:
      *images: [H, W, 3] or [T, H, W, 3]; their means must lie in [0, 1].

    Returns:
      (pictures float32, c).

    Raises:
      ValueError: where a mean is outside [0, 1], which no factor mends.
    """
    factor, parts = 1.0, []
    for image in images:
        image = np.asarray(image, np.float64)
        _as_clip(image, "image")
        mean = image.mean(axis=_AXES, keepdims=True)
        inside = bool((mean >= 0).all() and (mean <= 1).all())
        require(inside, "mean color", mean.ravel().tolist()[:3], "it must be in 0..1")
        rest = image - mean
        above = np.max(rest, axis=_AXES, keepdims=True)
        below = -np.min(rest, axis=_AXES, keepdims=True)
        for room, need in ((1 - mean, above), (mean, below)):
            over = need > room + 1e-7  # float32 rounding of a picture that fits
            factor = min(factor, *(room[over] / need[over]).tolist(), 1.0)
        parts.append((mean, rest))
    made = [np.clip(mean + factor * rest, 0.0, 1.0) for mean, rest in parts]
    return [picture.astype(np.float32) for picture in made], float(factor)


def graded(
    control: np.ndarray, dream: np.ndarray, strengths: Sequence[float]
) -> list[np.ndarray]:
    """Returns `(1 - s) control + s dream` for every strength s: blended pictures.

    A blend of stored values: at s = .5 both pictures show through each other. The other
    meaning of a graded dream, fewer iterations of the same dream, is a matter of how
    the dream is made.

    Args:
      control, dream: of one shape.
      strengths: each in [0, 1]; 0 is the control, 1 the dream, to the bit.

    Returns:
      float32 arrays, one per strength.

    Raises:
      ValueError: where shapes differ or a strength is outside [0, 1].
    """
    control, dream = np.asarray(control, np.float32), np.asarray(dream, np.float32)
    require(
        dream.shape == control.shape, "dream.shape", dream.shape, str(control.shape)
    )
    for s in strengths:
        require(0 <= s <= 1, "strength", s, "0 (the control) to 1 (the dream)")
    return [np.float32(1 - s) * control + np.float32(s) * dream for s in strengths]


def _as_clip(image: np.ndarray, name: str) -> np.ndarray:
    shaped = image.ndim in (3, 4) and image.shape[-1] == 3 and image.size > 0
    require(shaped, f"{name}.shape", image.shape, "give [H, W, 3] or [T, H, W, 3]")
    finite = bool(np.isfinite(image).all())
    require(finite, name, "NaN or infinity", "give finite pixels")
    return image if image.ndim == 4 else image[None]


def _matched(
    frames: np.ndarray, mean: float, contrast: float, tolerance: float
) -> tuple[np.ndarray, float, float, bool]:
    """Returns (frames, mean luminance, contrast, reached) of one gain and offset."""
    luma = np.stack([frame @ LUMA for frame in frames])
    center, spread = float(luma.mean()), float(luma.std())
    change = Change(float(encode_srgb(mean)), 1.0)
    if spread > FLAT:
        steep = 2.4 / 1.055 * ((change.offset + 0.055) / 1.055) ** 1.4
        wanted = min(contrast / steep, 0.5)  # roughly, in stored values
        gain = float(np.clip(wanted / spread, 1 / GAIN_LIMIT, 0.9 * GAIN_LIMIT))
        start = change._replace(gain=gain)
        change = _solved(frames, center, start, (mean, contrast))
    made = np.stack([_changed(frame, center, change)[0] for frame in frames])
    made = np.clip(made, 0.0, 1.0)
    got_mean, got_contrast = mean_luminance(made), rms_contrast(made)
    error = max(abs(got_mean - mean), abs(got_contrast - contrast))
    return made, got_mean, got_contrast, error <= tolerance


def _solved(
    frames: np.ndarray, center: float, start: Change, goal: tuple[float, float]
) -> Change:
    """Returns the change that comes nearest to the mean and contrast of `goal`."""

    @functools.lru_cache(maxsize=1)
    def evaluated(offset: float, log_gain: float) -> tuple[np.ndarray, np.ndarray]:
        return _moments(frames, center, Change(offset, float(np.exp(log_gain))))

    # A logarithm keeps the gain positive.
    found = optimize.least_squares(
        lambda x: evaluated(*x)[0] - goal,
        (start.offset, np.log(start.gain)),
        jac=lambda x: evaluated(*x)[1],
        bounds=([-GAIN_LIMIT, -np.inf], [GAIN_LIMIT, np.log(GAIN_LIMIT)]),
        max_nfev=ROUNDS,
    )
    return Change(float(found.x[0]), float(np.exp(found.x[1])))


def _changed(
    frame: np.ndarray, center: float, change: Change
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (the pixels before clipping, their derivative by log gain), float32."""
    frame = frame.astype(np.float32)
    luma = (frame @ LUMA.astype(np.float32))[..., None]
    gray = np.float32(change.gain) * (luma - np.float32(center))
    color = np.float32(min(change.gain, 1.0)) * (frame - luma)
    by_gain = gray + color if change.gain < 1.0 else np.broadcast_to(gray, frame.shape)
    return np.float32(change.offset) + gray + color, by_gain


def _moments(
    frames: np.ndarray, center: float, change: Change
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of luminance, and their derivatives.

    Returns:
      ([2], [2, 2]): rows mean and standard deviation; columns offset and log gain.
    """
    sums = np.zeros(6)
    weights = REC709.astype(np.float32)
    for frame in frames:  # one at a time: a clip's temporaries would be gigabytes
        stored, by_gain = _changed(frame, center, change)
        free = (stored > 0.0) & (stored < 1.0)
        x = np.clip(stored, 0.0, 1.0)
        low, base = x <= 0.04045, (x + 0.055) / 1.055
        steep = base**1.4
        plane = np.where(low, x / 12.92, base * steep) @ weights
        slope = free * np.where(low, 1 / 12.92, 2.4 / 1.055 * steep)
        by_offset = slope @ weights
        by_gain = (slope * by_gain) @ weights
        terms = plane, plane**2, by_offset, by_gain, plane * by_offset, plane * by_gain
        sums += [term.mean(dtype=np.float64) for term in terms]
    mean, square, *d_mean, d_square_offset, d_square_gain = sums / len(frames)
    spread = np.sqrt(max(square - mean**2, 1e-14))
    d_square = np.array([d_square_offset, d_square_gain])
    d_spread = (d_square - mean * np.array(d_mean)) / spread
    return np.array([mean, spread]), np.stack([d_mean, d_spread])


def _phase(spectrum: np.ndarray) -> np.ndarray:
    """Returns the phases; 0 where the amplitude is only rounding."""
    amplitude = np.abs(spectrum)
    rounding = amplitude <= 1e-12 * amplitude.max()
    return np.where(rounding, 0.0, np.angle(spectrum))


def _ring_gain(have: np.ndarray, want: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Returns sqrt(power of want / power of have) per ring; broadcasts to `have`."""
    count = int(ring.max()) + 1

    def ring_power(spectrum: np.ndarray) -> np.ndarray:
        power = np.moveaxis(np.abs(spectrum) ** 2, -1, -3)  # [..., C, H, W]
        flat = power.reshape(-1, ring.size)
        sums = [np.bincount(ring.ravel(), row, minlength=count) for row in flat]
        return np.stack(sums).reshape(*power.shape[:-2], count)

    mine, theirs = ring_power(have), ring_power(want)
    some = mine > 1e-24 * mine.max(axis=-1, keepdims=True)
    gain = np.sqrt(
        np.divide(theirs, mine, out=np.zeros_like(mine + theirs), where=some)
    )
    return np.moveaxis(gain[..., ring], -3, -1)  # [..., H, W, C]
