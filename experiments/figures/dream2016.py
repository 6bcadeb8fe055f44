"""Mordvintsev 2016: the TensorFlow DeepDream notebook, from naive to Laplacian.

Its network is Inception "5h", whose weights are not at hand; the same layer and channel
number of another GoogLeNet is another feature.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import plain
from dreamjax.deepdream.config import dream_config
from dreamjax.deepdream.seams import error_by_distance, tiled_gradient
from dreamjax.deepdream.studio import make_painter, open_studio
from dreamjax.errors import require
from dreamjax.figures.dreams import dream_traces
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.panels import Panel, draw, standardized
from dreamjax.figures.record import Expected, Row
from dreamjax.figures.spectra import spectra
from dreamjax.measures.spectrum import high_frequency
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import tap_shapes
from dreamjax.report.plots import Curve, curves
from experiments.figures.dream2015 import NETWORK, photo_at, recipe, sky, title, told

PAPER = "Mordvintsev 2016, the DeepDream notebook of TensorFlow"
LAYER, CHANNELS = "inception_4d/3x3_reduce/pre", (139, 65)
SIDE, SCALE = 160, 1.4
WAYS = {  # name -> octaves, steps of each, gradient
    "naive": (1, 20, "std"),
    "multiscale": (3, 10, "std"),
    "Laplacian": (3, 10, "laplacian"),
}


def octave_config(objective: str, octaves: int, steps: int, gradient: str):
    """Returns the 2016 notebook's config: a picture that grows, without a photo."""
    config = dream_config()
    config.objective = objective
    config.octaves, config.octave_scale, config.steps = octaves, SCALE, steps
    config.inject = False
    config.gradient = (gradient,)
    config.transforms = "" if octaves == 1 else "roll(112)"
    config.hparams.learning_rate = (1 / 255,)
    config.tensorboard = False
    return config


def lapnorm(context: Context) -> Made:
    """Two channels from noise: naive, multiscale, Laplacian-normalized."""
    tap = context.layer(LAYER, 0.6, SIDE)
    count = tap_shapes(context.model, context.size(SIDE))[tap][-1]
    channels = sorted({c % count for c in CHANNELS}, reverse=True)
    channels = channels[: context.pick(2, 1)]
    panels, rows, shown, shares = [[] for _ in channels], [], {}, {}
    ways = context.pick(WAYS, {"Laplacian": WAYS["Laplacian"]})
    for way, (octaves, steps, gradient) in ways.items():
        side = context.size(SIDE)[0]
        for _ in range(context.pick(octaves - 1, 0)):
            side = round(side * SCALE)
        noise = np.random.default_rng(context.seed).random((side, side, 3))
        config = octave_config(f"{tap}:unit", octaves, steps, gradient)
        config.hparams.unit = tuple(channels)
        traces = dream_traces(context, way, config, ((100 + noise) / 255).astype("f4"))
        for line, channel, trace in zip(panels, channels, traces, strict=True):
            share = high_frequency(trace.image)
            shares[way, channel] = share
            said = f"{trace.image.shape[0]} px, mean activation {trace.after:.0f}"
            line.append(Panel(standardized(trace.image), said))
            name = f"{way}, channel {channel}"
            rows += [
                Row(f"{name}: power above .25 cycles/pixel", share),
                Row(f"{name}: mean activation", trace.after),
            ]
            shown[name] = standardized(trace.image)
    for second, first in itertools.pairwise(ways):
        for channel in channels:
            ratio = shares[first, channel] / shares[second, channel]
            rows.append(
                Row(
                    f"channel {channel}: power above .25, {first} / {second}",
                    ratio,
                    Expected(1.0, "derived", kind="at most"),
                )
            )
    drawings = {
        "": draw(
            panels,
            title=title(context, tap),
            rows=[f"channel {channel}" for channel in channels],
            columns=list(ways),
            side=2.8,
        ),
        "radial": spectra(shown),
    }
    settings = told(
        octave_config(tap, 3, 10, "laplacian"), channels=channels, ways=WAYS, side=SIDE
    )
    note = (
        "As in the notebook, pictures have mean .5 and a standard deviation of .1; here"
        f" they were kept within [0, 1] on the way, and begin with {SIDE} pixels, not"
        " with 224."
    )
    return Made(drawings, rows, settings, (note,))


def photo(context: Context) -> Made:
    """A photo by a layer's energy and by one channel."""
    size = (240, 320)
    base, _ = sky(context, size)
    tap = context.layer("inception_4c/output", 0.6, SIDE)
    narrow = context.layer(LAYER, 0.6, SIDE)
    count = tap_shapes(context.model, context.size(SIDE))[narrow][-1]
    objectives = {
        tap: tap,
        f"channel {139 % count} of {narrow}": f"{narrow}:{139 % count}",
    }
    panels, rows = [Panel(base, "the photo")], []
    for name, objective in list(objectives.items())[: context.pick(2, 1)]:
        config = recipe(objective, resize="smooth", border="mirror")
        (trace,) = dream_traces(context, objective.replace("/", "-"), config, base)
        panels.append(
            Panel(
                trace.image, f"{name}\nobjective {trace.before:.3g} → {trace.after:.3g}"
            )
        )
        rows += [
            Row(f"{name}: objective of the photo", trace.before),
            Row(
                f"{name}: objective of the dream",
                trace.after,
                Expected(trace.before, "derived", kind="at least"),
            ),
        ]
    drawing = draw(
        [panels],
        title=title(context, "render_deepdream, 4 octaves × 10 steps"),
        side=3.2,
        aspect=base.shape[0] / base.shape[1],
    )
    return Made({"": drawing}, rows, told(config, size=base.shape[:2]))


def tiled(context: Context) -> Made:
    """The gradient from tiles: without overlap, averaged over shifts, and ours."""
    side, tile = context.pick((320, 160), (64, 32))
    require(
        tile >= context.model.record.min_size,
        "model",
        context.model.record.name,
        f"a network that takes tiles of {tile} px",
    )
    tap = context.layer("inception_3b/5x5_reduce", 0.2, SIDE)
    base = photo_at(context, (side, side)) * 0.4 + 0.3  # room for a step without clips

    units = np.prod(tap_shapes(context.model, base.shape[:2])[tap])

    def energy(image):
        taps = context.model.taps(context.model.variables, image[None], PLAIN)
        return jnp.sum(jnp.square(taps[tap])) / units

    whole = np.asarray(jax.jit(jax.grad(energy))(base))
    tiles = jax.jit(jax.vmap(jax.grad(energy)))
    random = np.random.default_rng(context.seed)
    shifts = random.integers(0, tile, (context.pick(16, 2), 2))
    apart = tiled_gradient(tiles, base, tile)
    shifted = np.mean([tiled_gradient(tiles, base, tile, s) for s in shifts], axis=0)
    # A layer with a stride answers a shift: the whole picture is shifted as often.
    alike = np.mean([tiled_gradient(tiles, base, side, s) for s in shifts], axis=0)
    config = octave_config(tap, 1, 1, "std")
    config.gradient, config.tile = (), (tile, tile)
    config.hparams.learning_rate = (float(0.2 / np.abs(whole).max()),)
    studio = open_studio(plain(config), [base.shape[:2]], context.model)
    ours = make_painter(studio, base.shape[:2])(base) - base
    # The engine's mean is over other units: it is compared up to a factor.
    ours *= (ours * whole).sum() / np.square(ours).sum()
    ways = {
        f"tiles of {tile}, no overlap": (apart, whole),
        f"mean of {len(shifts)} random shifts": (shifted, alike),
        "dreamjax, tiles that overlap": (ours, whole),
    }
    scale = np.abs(whole).mean(axis=2).max() / 4
    panels = [
        Panel(np.clip(np.abs(whole).mean(axis=2) / scale, 0, 1), "|gradient|, whole")
    ]
    rows, lines = [], []
    for name, (gradient, right) in ways.items():
        wrong = np.abs(gradient - right).mean(axis=2) / scale
        error = float(
            np.sqrt(np.square(gradient - right).mean() / np.square(right).mean())
        )
        panels.append(Panel(wrong, f"error, {name}\n{100 * error:.2g} %"))
        lines.append(
            Curve(name, np.arange(tile // 2), error_by_distance(gradient, right, tile))
        )
        rows.append(Row(f"{name}: relative error", error))
    bound = Expected(1e-3, "derived", kind="at most")
    rows[-1] = rows[-1]._replace(expected=bound)
    drawings = {
        "": draw([panels], title=title(context, tap), side=2.6),
        "distance": curves(
            lines,
            x_label="pixels from the nearest seam",
            y_label="relative error",
            log_y=True,
        ),
    }
    settings = {"layer": tap, "side": side, "tile": tile, "shifts": len(shifts)}
    return Made(drawings, rows, settings)


FIGURES = (
    Figure(
        "dream2016.lapnorm",
        PAPER,
        "one channel: naive, multiscale, Laplacian-normalized",
        lapnorm,
        NETWORK,
    ),
    Figure(
        "dream2016.photo", PAPER, "a photo by a layer and by a channel", photo, NETWORK
    ),
    Figure(
        "dream2016.tiled", PAPER, "gradients from tiles and their seams", tiled, NETWORK
    ),
)
