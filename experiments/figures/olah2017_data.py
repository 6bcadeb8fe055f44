"""Olah, Mordvintsev & Schubert 2017: what needs photos and gradients, not dreams.

Figure numbers are in the order of the article. Its network had Google's weights; the
neurons here have the article's numbers in BVLC's, so they are other neurons.
"""

from typing import NamedTuple

import jax
import numpy as np

from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.neurons import Neuron, aim_at
from dreamjax.figures.panels import Panel, draw
from dreamjax.figures.record import Expected, Row
from dreamjax.metrics.picture import covariance_distance
from dreamjax.mining import Mined, Settings, examples, mine
from dreamjax.mining.credits import credits_of
from dreamjax.mining.panels import example_panels
from dreamjax.mining.watch import watcher
from dreamjax.models.model import tap_shapes
from dreamjax.objectives import unit_vector
from dreamjax.params.color import COLOR, COLOR_SQRT
from dreamjax.params.estimate import colors_of, covariance, square_root
from dreamjax.params.spatial import fourier

PAPER = "Olah, Mordvintsev & Schubert 2017, Feature Visualization"
NETWORK = "googlenet.bvlc-noaux"
PHOTO_SIDE, DREAM_SIDE, STEPS = 224, 128, 96
DEPTHS = {"3a": 0.25, "4a": 0.4, "4b": 0.5, "4c": 0.6, "4d": 0.7, "4e": 0.8, "5a": 0.9}
WHY_OPTIMIZE = (("4a", 6), ("4a", 240), ("4a", 453), ("4a", 492))
SPECTRUM = (
    *(("4a", unit) for unit in (6, 41, 143, 240, 449, 492, 499)),
    *(("4b", 482), ("4d", 479), ("4e", 718), ("4e", 819)),
)
DIRECTIONS = ("3a", "4c", "4d", "5a")
SEEDS = (1, 2, 3)  # of the random directions of a layer


class Shared(NamedTuple):
    """What figures 4, 5 and 7 have in common: one look at the photos.

    Attributes:
      mined: dataset examples of all their layers.
      taps: short name of a layer -> its tap.
      channels: tap -> K; a random direction i is channel K + i.
    """

    mined: Mined
    taps: dict[str, str]
    channels: dict[str, int]


def shared(context: Context) -> Shared:
    """Looks at the photos, once for all figures."""
    size = context.size(PHOTO_SIDE)
    taps = {
        name: context.layer(f"inception_{name}/output/pre", depth, PHOTO_SIDE)
        for name, depth in DEPTHS.items()
        if name in context.pick(tuple(DEPTHS), ("4a", "4c"))
    }
    shapes = tap_shapes(context.model, size)
    channels = {tap: shapes[tap][-1] for tap in taps.values()}
    directions = {
        taps[name]: np.stack(
            [unit_vector(seed, channels[taps[name]]) for seed in SEEDS], axis=1
        )
        for name in DIRECTIONS
        if name in taps
    }
    mined = mine(
        context.model,
        list(channels),
        context.photos,
        Settings(size, levels=context.pick(2, 1), keep=context.pick(9, 4)),
        workdir=common(context).workdir / "photos",
        directions=directions,
        report=context.report,
    )
    return Shared(mined, taps, channels)


def common(context: Context) -> Context:
    """Returns the context of what several figures share."""
    name = f"olah2017.data-{context.model.record.name}"
    return context._replace(workdir=context.workdir.parent / name)


def optima(
    context: Context, name: str, neurons: list[Neuron], call: str
) -> tuple[np.ndarray, list[float]]:
    """Climbs neurons; returns pictures [R, H, W, 3] and the mean activation in each."""
    config = context.config("", DREAM_SIDE, steps=STEPS)
    config.hparams.seed = (context.seed,)
    config.transforms = context.pick(config.transforms, "")  # they compile long
    config.tensorboard = not context.quicktest
    aim_at(config, neurons, call)
    pictures = common(context).sweep(name, config).images[:, 0]
    shapes = tap_shapes(context.model, tuple(config.size))
    axes = {}
    if call == "random_direction":
        for neuron in neurons:
            axes[neuron.tap] = np.stack(
                [unit_vector(seed, shapes[neuron.tap][-1]) for seed in SEEDS], axis=1
            )
    taps = list(dict.fromkeys(neuron.tap for neuron in neurons))
    seen = watcher(context.model, taps, 8, axes)(pictures)
    found = []
    for row, (tap, unit, _) in enumerate(neurons):
        place = shapes[tap][-1] + SEEDS.index(unit) if axes else unit
        found.append(float(seen[tap].mean[row, place]))
    return pictures, found


def both_ends(context: Context, data: Shared) -> dict:
    """Returns (layer, unit, sign) -> (picture, mean activation) of figures 4 and 5."""
    asked = list(dict.fromkeys([*WHY_OPTIMIZE, *SPECTRUM]))
    asked = context.pick(asked, asked[:2])
    names = [(name, unit, sign) for name, unit in asked for sign in (1.0, -1.0)]
    neurons = [
        Neuron(data.taps[name], unit % data.channels[data.taps[name]], sign)
        for name, unit, sign in names
    ]
    found = optima(context, "neurons", neurons, "channel")
    return dict(zip(names, zip(*found, strict=True), strict=True))


def label(name: str, unit: int) -> str:
    """Returns "mixed4a:6", as the article names a neuron."""
    return f"{name}:{unit}"


def settings_of(context: Context, data: Shared) -> dict:
    """Returns the recipe that figures 4, 5 and 7 share."""
    return {
        "layers": data.taps,
        "photos": len(data.mined.pictures),
        "windows of a photo": "the whole and its quarters"
        if data.mined.settings.levels == 2
        else "the whole",
        "photo size": data.mined.settings.size,
        "picture size": context.size(DREAM_SIDE),
        "steps": context.pick(STEPS, 4),
        "ranked by": "mean over positions, before the nonlinearity",
        "ascent": "Adam 0.05, Fourier 1/f, decorrelated colors, Lucid's transforms",
    }


def photo_files(data: Shared, shown: set[str]) -> dict[str, bytes]:
    """Returns the credits of the photos shown, where their folder has a list."""
    found = credits_of(data.mined.folder / name for name in shown)
    return {} if found is None else {"photos.csv": found}


PHOTO_NOTE = (
    "Each photo is looked at whole and in quarters at 224 px, the optimum has 128 px,"
    " where borders weigh more: that does not favor the optimum."
)


def fig04(context: Context) -> Made:
    """Dataset examples against optimization."""
    data = shared(context)
    ends = both_ends(context, data)
    count = context.pick(5, 2)
    panels, rows, shown = [], [], set()
    chosen = context.pick(WHY_OPTIMIZE, WHY_OPTIMIZE[:2])
    for name, unit in chosen:
        tap = data.taps[name]
        picture, reached = ends[name, unit, 1.0]
        best = examples(data.mined, tap, unit % data.channels[tap], "top", count)
        shown |= {one.picture for one in best}
        photos = example_panels(data.mined, best, count)
        panels.append([Panel(picture, f"{reached:.3g}"), *photos])
        rows += [
            Row(f"{label(name, unit)}: optimum", reached),
            Row(f"{label(name, unit)}: best photo", best[0].score),
            Row(
                f"{label(name, unit)}: optimum above the best photo (1: yes)",
                float(reached > best[0].score),
                Expected(1.0, "derived"),
                "an ascent that ends below a photo has not found what excites a neuron",
            ),
        ]
    title = f"What the neurons like: made, and found ({context.model.record.name})"
    drawing = draw(
        panels,
        title=title,
        rows=[label(*neuron) for neuron in chosen],
        columns=["optimization", *(f"photo {i + 1}" for i in range(count))],
        side=1.3,
    )
    return Made(
        {"": drawing},
        rows,
        settings_of(context, data),
        (
            "Under each picture the neuron's mean activation. The neurons have the"
            " article's numbers in another weight set: they are other neurons.",
            PHOTO_NOTE,
        ),
        files=photo_files(data, shown),
    )


def fig05(context: Context) -> Made:
    """The spectrum of activation, from the negative to the positive optimum."""
    data = shared(context)
    ends = both_ends(context, data)
    kinds = ("bottom", "slightly negative", "slightly positive", "top")
    panels, below, above, shown, apart = [], 0, 0, set(), []
    chosen = context.pick(SPECTRUM, WHY_OPTIMIZE[:2])
    for name, unit in chosen:
        tap = data.taps[name]
        found = {
            kind: examples(data.mined, tap, unit % data.channels[tap], kind, 1)
            for kind in kinds
        }
        shown |= {one.picture for some in found.values() for one in some}
        row = [
            panel
            for kind in kinds
            for panel in example_panels(data.mined, found[kind], 1)
        ]
        (low, least), (high, most) = (ends[name, unit, sign] for sign in (-1.0, 1.0))
        row = [Panel(low, f"{least:.3g}"), *row, Panel(high, f"{most:.3g}")]
        panels.append(row)
        below += least < found["bottom"][0].score
        above += most > found["top"][0].score
        range_ = found["top"][0].score - found["bottom"][0].score
        apart.append((most - least) / max(range_, 1e-12))
    count = len(chosen)
    every = Expected(float(count), "derived")
    rows = [
        Row(f"positive optimum above every photo, neurons of {count}", above, every),
        Row(f"negative optimum below every photo, neurons of {count}", below, every),
        Row("range of the optima / range of the photos, median", np.median(apart)),
        Row("the same, least", min(apart)),
    ]
    columns = ["negative\noptimum", "minimum", "slightly −", "slightly +", "maximum"]
    columns.append("positive\noptimum")
    title = f"The spectrum of activation ({context.model.record.name})"
    half = -(-count // 2)
    drawings = {
        part: draw(
            panels[where],
            title=title,
            rows=[label(*neuron) for neuron in chosen[where]],
            columns=columns,
            side=1.0,
        )
        for part, where in (("", slice(half)), ("more", slice(half, None)))
    }
    return Made(
        drawings,
        rows,
        settings_of(context, data)
        | {"slightly": "25th percentile of the positive, of the negative examples"},
        (
            "Under each picture the neuron's mean activation before the nonlinearity."
            " The article's neurons, in another weight set.",
            PHOTO_NOTE,
        ),
        files=photo_files(data, shown),
    )


def fig07(context: Context) -> Made:
    """Random directions: what photos they like, beside single channels."""
    data = shared(context)
    count, each = context.pick(4, 2), 2
    layers = [name for name in DIRECTIONS if name in data.taps]
    neurons = [
        Neuron(data.taps[name], seed) for name in layers for seed in SEEDS[:each]
    ]
    pictures, reached = optima(context, "directions", neurons, "random_direction")
    panels, names, rows, shown = [], [], [], set()
    for row, neuron in enumerate(neurons):
        tap, channels = neuron.tap, data.channels[neuron.tap]
        place = channels + SEEDS.index(neuron.unit)
        best = examples(data.mined, tap, place, "top", count)
        shown |= {one.picture for one in best}
        panels.append(
            [
                Panel(pictures[row], f"{reached[row]:.3g}"),
                *example_panels(data.mined, best, count),
            ]
        )
        names.append(f"{layers[row // each]}, {neuron.unit}")
    for name in layers:
        tap, channels = data.taps[name], data.channels[data.taps[name]]
        ledger = data.mined.ledgers[tap]
        scores = ledger.sample.high[ledger.sample.example >= 0]
        spread = np.maximum(scores.std(axis=0), 1e-12)
        peak = (ledger.peak - ledger.total / ledger.count) / spread
        rows += [
            Row(f"{name}: best photo of a random direction, σ", peak[channels:].mean()),
            Row(
                f"{name}: best photo of a channel, σ, median",
                np.median(peak[:channels]),
            ),
        ]
    title = f"Random directions ({context.model.record.name})"
    drawing = draw(
        panels,
        title=title,
        rows=names,
        columns=["optimization", *(f"photo {i + 1}" for i in range(count))],
        side=1.1,
    )
    return Made(
        {"": drawing},
        rows,
        settings_of(context, data) | {"seeds": SEEDS[:each]},
        (
            "Rows: layer, seed of the direction. σ: of the mean activation over all"
            f" windows of the photos; of {len(SEEDS)} directions the mean.",
            PHOTO_NOTE,
        ),
        files=photo_files(data, shown),
    )


def colors(context: Context) -> Made:
    """The color correlation of photos, against the matrix in Lucid."""
    longest = context.pick(512, 64)
    found = colors_of(context.photos, longest, context.report)
    own = covariance(found)
    root = square_root(own)
    rows = [
        Row(
            f"root, {channel}, axis {j + 1}",
            root[i, j],
            Expected(COLOR_SQRT[i, j], "published", absolute=0.02),
        )
        for i, channel in enumerate("RGB")
        for j in range(3)
    ]
    rows.append(
        Row("Bures distance of the covariances (0 … 1.41)", covariance_distance(own))
    )
    noise = pink_noise(context.pick(128, 32), context.seed)
    length = np.linalg.norm(root, axis=0).max()  # one divisor for all that is ours

    def texture(matrix: np.ndarray, caption: str) -> Panel:
        return Panel(1 / (1 + np.exp(-1.5 * (noise @ matrix.T))), caption)

    def ramps(matrix: np.ndarray, whose: str) -> list[Panel]:
        return [
            Panel(
                ramp(matrix[:, j], found.mean),
                f"{whose}, axis {j + 1}\n" + " ".join(f"{x:.3f}" for x in matrix[:, j]),
            )
            for j in range(3)
        ]

    grid = [
        [
            *ramps(COLOR_SQRT, "Lucid's"),
            texture(COLOR, "noise in Lucid's"),
            texture(np.eye(3) / 3**0.5, "noise in RGB"),
        ],
        [
            *ramps(root, "the photos'"),
            texture(root / length, "noise in the photos'"),
            texture(square_root(own, "symmetric") / length, "the symmetric root"),
        ],
    ]
    return Made(
        {"": draw(grid, title="Axes along which colors vary apart")},
        rows,
        {
            "photos": found.photos,
            "mean": found.mean.tolist(),
            "covariance": own.tolist(),
            "ramp": "the mean color ± 2 standard deviations along an axis",
            "noise": "1/f, through the root over its largest column norm, a sigmoid",
        },
        (
            "Lucid's matrix is printed with two digits, and its columns are not quite"
            " orthogonal: the principal axes of its own covariance differ from it by up"
            " to 0.007. The roots of one covariance differ by a rotation: noise has the"
            " same colors through all of them.",
        ),
    )


def pink_noise(side: int, seed: int) -> np.ndarray:
    """Returns 1/f noise, [side, side, 3], as Fourier images start from."""
    space = fourier((1, side, side, 3))

    @jax.jit
    def draw_(key):
        hp = {"init_std": 1.0, "decay_power": 1.0}
        return space.apply(space.init(key, hp), hp)[0]

    noise = np.asarray(draw_(jax.random.key(seed)))
    return noise / noise.std()


def ramp(axis: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Returns the colors from mean - 2 axis to mean + 2 axis, [64, 64, 3]."""
    steps = np.linspace(-2, 2, 64)[:, None]
    return np.tile(np.clip(mean + steps * axis, 0, 1)[None], (64, 1, 1))


FIGURES = (
    Figure(
        "olah2017.fig04", PAPER, "dataset examples and optimization", fig04, NETWORK
    ),
    Figure("olah2017.fig05", PAPER, "the spectrum of activation", fig05, NETWORK),
    Figure(
        "olah2017.fig07_data", PAPER, "random directions, on photos", fig07, NETWORK
    ),
    Figure(
        "olah2017.colors", PAPER, "the color correlation of photos", colors, NETWORK
    ),
)
