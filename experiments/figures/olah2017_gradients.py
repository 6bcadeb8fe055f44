"""Olah, Mordvintsev & Schubert 2017: what the gradient of a network looks like."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.layers import layers_like, spread
from dreamjax.figures.panels import Panel, about_gray, draw, enlarged
from dreamjax.figures.record import Expected, Row
from dreamjax.images import load_image
from dreamjax.inside import tap_gradients
from dreamjax.measures.checkerboard import parity_by_chance, parity_contrast
from dreamjax.measures.spectrum import power, radial_mean, slope_of
from dreamjax.metrics.picture import gray_share
from dreamjax.mining.credits import credits_of
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import tap_shapes
from dreamjax.steepest import METRICS, metric, steepest

PAPER = "Olah, Mordvintsev & Schubert 2017, Feature Visualization"
NETWORK = "googlenet.bvlc-noaux"
SIDE, PHOTOS, SHOWN = 224, 16, 6
LAYERS = {
    "conv1/7x7_s2": 0.0,
    "conv2/3x3_reduce": 0.05,
    "conv2/3x3": 0.15,
    **{f"inception_{n}/output": d for n, d in (("3a", 0.25), ("3b", 0.35))},
    **{f"inception_4{n}/output": 0.4 + i / 10 for i, n in enumerate("abcde")},
    **{f"inception_{n}/output": d for n, d in (("5a", 0.9), ("5b", 1.0))},
}
POOLED = ("conv1/7x7_s2", "conv2/3x3", "3b", "4e")
WINDOWS = 0.484  # parity contrast of the number of windows of a 3×3 pool of stride 2
FIT = (0.03, 0.3)  # cycles per pixel of a slope


def photos_of(context: Context) -> dict[Path, np.ndarray]:
    """Returns up to 16 of the photos, from all over their list."""
    chosen = spread(context.photos, context.pick(PHOTOS, 2))
    return {path: load_image(path, context.size(SIDE)) for path in chosen}


def class_score(taps) -> jax.Array:
    """Returns the logit of the class that the network sees; of none, its energy."""
    if "logits" in taps:
        return jnp.max(taps["logits"], axis=-1)
    last = [a for a in taps.values() if a.ndim == 4][-1]
    return jnp.mean(jnp.square(last), axis=(1, 2, 3))


def fig11(context: Context) -> Made:
    """Checkerboards in the gradient, layer by layer."""
    size, photos = context.size(SIDE), list(photos_of(context).values())
    names = layers_like(context.model, size, LAYERS)

    @jax.jit
    def gradients(variables, images):
        image, inside = tap_gradients(
            context.model.taps, class_score, names, variables, images, PLAIN
        )
        found = {"image": image, **inside}
        return {name: jnp.mean(jnp.abs(g[0]), axis=-1) for name, g in found.items()}

    found = jax.device_get(
        [gradients(context.model.variables, photo[None]) for photo in photos]
    )
    shapes = tap_shapes(context.model, size)
    sides = {"image": size[0], **{name: shapes[name][1] for name in names}}
    panels, rows, contrasts = [], [], {True: [], False: []}
    for name, after in zip(sides, [*list(sides)[1:], None], strict=True):
        plane = np.mean([one[name] for one in found], axis=0)
        if min(plane.shape) < 4:
            continue
        strided = after is not None and sides[after] < sides[name]
        contrast, chance = parity_contrast(plane), parity_by_chance(plane)
        contrasts[strided].append(contrast)
        short = name.removeprefix("inception_").removesuffix("/output")
        caption = f"{short}\n{contrast:.3f} ({chance:.3f})"
        caption += "\nread by a stride" * strided
        panels.append(Panel(enlarged(to_percentile(found[0][name]), 224), caption))
        expected = None
        if short in POOLED:
            expected = Expected(WINDOWS, "derived", kind="at least", network=NETWORK)
        rows += [
            Row(
                f"{short}: parity contrast",
                contrast,
                expected,
                "3×3 max pool of stride 2 reads it: 4, 2, 2, 1 windows"
                * bool(expected),
            ),
            Row(f"{short}: the same by chance", chance),
        ]
    beyond = rows[0].obtained / max(rows[1].obtained, 1e-12)
    least = Expected(3.0, "derived", kind="at least", network=NETWORK)
    means = {key: float(np.mean(some or [np.nan])) for key, some in contrasts.items()}
    rows += [
        Row("image: parity contrast / chance", beyond, least, "the grid of a 7×7/2"),
        Row("mean contrast where a stride reads", means[True]),
        Row("mean contrast elsewhere", means[False]),
    ]
    grid = [panels[i : i + 5] for i in range(0, len(panels), 5)]
    title = f"|∂ class logit / ∂ layer| ({context.model.record.name})"
    return Made(
        {"": draw(grid, title=title)},
        rows,
        {
            "score": "the largest logit",
            "photos": len(photos),
            "size": size,
            "layers": names,
            "shown": "mean of |gradient| over channels, first photo, to 99.5 %",
            "contrast": "std / mean of the four classes of positions mod 2, all photos",
        },
        (
            "Under each map the parity contrast of the photos' mean map (of a map"
            " without a grid: by chance). Max pools leave the strong grid: a position"
            " in more windows wins more often. A 7×7 convolution of stride 2 leaves a"
            " faint one, since its learned filters are even.",
            "The last map is gray where a mean over all positions follows: its gradient"
            " is the same everywhere.",
        ),
    )


def to_percentile(plane: np.ndarray, percentile: float = 99.5) -> np.ndarray:
    """Returns |gradient| [h, w] as a picture [h, w, 3]; gray if the same all over.

    The figure's own scale: white from the percentile on.
    """
    top = np.percentile(plane, percentile)
    if plane.std() <= 1e-6 * max(top, 1e-30):
        return np.full((*plane.shape, 3), 0.5, np.float32)
    return np.repeat(np.clip(plane / top, 0, 1)[..., None], 3, axis=-1)


TITLES = {
    "linf": "L∞",
    "l2": "L2",
    "spatial": "spatially\ndecorrelated",
    "full": "fully\ndecorrelated",
}


def fig14(context: Context) -> Made:
    """Directions of steepest ascent under four metrics."""
    chosen, hp = photos_of(context), {"decay_power": jnp.float32(1.0)}
    photos = list(chosen.values())

    @jax.jit
    def directions(variables, image):
        def score(image):
            return jnp.sum(class_score(context.model.taps(variables, image, PLAIN)))

        gradient = jax.grad(score)(image)
        found = {name: steepest(gradient, name, hp) for name in METRICS}
        rise = {}  # metric -> direction -> what a step of length 1 gains
        for one in METRICS:
            length = metric(one, image.shape, hp).length
            rise[one] = {
                name: jnp.sum(gradient * step) / length(step)[0]
                for name, step in found.items()
            }
        return {name: step[0] for name, step in found.items()}, rise

    answers = jax.device_get(
        [directions(context.model.variables, photo[None]) for photo in photos]
    )
    found = {name: [steps[name] for steps, _ in answers] for name in METRICS}
    slopes = {name: float(np.mean([slope(d) for d in found[name]])) for name in METRICS}
    rows = [Row(f"{name}: slope of log power", value) for name, value in slopes.items()]
    rows.append(
        Row(
            "slope, spatially decorrelated - L2",
            slopes["spatial"] - slopes["l2"],
            Expected(-4.0, "derived", absolute=0.15),
            "S Sᵀ divides amplitudes by f², power by f⁴",
        )
    )
    for name in METRICS:
        best = [r[name][name] >= (1 - 1e-4) * max(r[name].values()) for _, r in answers]
        rows += [
            Row(
                f"{name}: its own direction gains most of the four, share of photos",
                float(np.mean(best)),
                Expected(1.0, "derived"),
            ),
            Row(
                f"{name}: share of the direction that is gray",
                float(np.mean([gray_share(d) for d in found[name]])),
            ),
        ]
    panels = [
        [Panel(photo), *(Panel(about_gray(found[name][i])) for name in METRICS)]
        for i, photo in enumerate(photos[:SHOWN])
    ]
    half, listed = len(panels) // 2, credits_of(list(chosen)[:SHOWN])
    grid = [a + b for a, b in zip(panels[:half], panels[half:], strict=True)]
    title = f"Steepest ascent of the class logit ({context.model.record.name})"
    columns = ["photo", *TITLES.values()] * 2
    return Made(
        {"": draw(grid, title=title, columns=columns, side=0.95)},
        rows,
        {
            "score": "the largest logit",
            "photos": len(photos),
            "size": context.size(SIDE),
            "shown": "gray + direction, to its 99.5th percentile; the first photos",
            "slope": f"of the three channels' summed power, {FIT} cycles per pixel",
        },
        (
            "One gradient, four ways to measure a step: what looks like noise in L∞ and"
            " L2 is structure where a step is measured by how photos vary. Spatial"
            " decorrelation alone brings out colors: at low frequencies the gradient"
            " is color rather than luminance.",
        ),
        files={"photos.csv": listed} if listed else {},
    )


def slope(direction: np.ndarray) -> float:
    """Returns the slope of log power over log frequency of a direction [H, W, C]."""
    total = sum(power(plane, window=False) for plane in np.moveaxis(direction, -1, 0))
    frequency, mean = radial_mean(total)
    used = (FIT[0] <= frequency) & (frequency <= FIT[1])
    return slope_of(frequency[used], mean[used])


FIGURES = (
    Figure("olah2017.fig11", PAPER, "checkerboards in gradients", fig11, NETWORK),
    Figure("olah2017.fig14", PAPER, "steepest directions by metric", fig14, NETWORK),
)
