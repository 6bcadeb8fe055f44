"""Mordvintsev, Olah and Tyka 2015: the DeepDream notebook and its own pictures.

The recipe is that of configs/dream_2015.py. Where `--photos` names a folder with the
notebook's `sky1024px.jpg` and `flowers.jpg`, and with what it published as
`published/dream_notebook_cell12.jpg` and so on, the sky is dreamed and compared with
Google's own pictures; else a photo is.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from configs.dream_2015 import get_config
from dreamjax.build import picture_path
from dreamjax.deepdream.likeness import (
    BANDS,
    change,
    compressed,
    gain,
    guided_score,
    layer_energy,
    likeness,
)
from dreamjax.deepdream.octaves import octave_sizes, resizer
from dreamjax.figures.dreams import dream_film, dream_size, dream_traces
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.film import gif
from dreamjax.figures.layers import layers_like
from dreamjax.figures.panels import Panel, draw
from dreamjax.figures.record import Expected, Row, verdict
from dreamjax.images import load_image
from dreamjax.inputs import load_photo
from dreamjax.models.model import tap_shapes
from dreamjax.report.plots import Curve, curves

PAPER = "Mordvintsev, Olah & Tyka 2015, Inceptionism, and the DeepDream notebook"
NETWORK = "googlenet.bvlc-noaux"
FULL = (575, 1024)  # (H, W) of the notebook's sky
ZOOMED, FRAMES = (126, 224), 31
SMALL_FILM = (63, 112)  # of the GIF
SMALL = (240, 320)  # of the reference runs
OUTPUT, STROKES, GUIDED = (
    "inception_4c/output",
    "inception_3b/5x5_reduce",
    "inception_3b/output",
)
DEPTHS = {  # of the layers, for other networks
    STROKES: 0.2,
    GUIDED: 0.3,
    "inception_4a/output": 0.4,
    "inception_4b/output": 0.5,
    OUTPUT: 0.6,
    "inception_4d/output": 0.7,
    "inception_4e/output": 0.8,
    "inception_5a/output": 0.9,
    "inception_5b/output": 1.0,
}


class Published(NamedTuple):
    """What a picture in the notebook measures, and an independent run before JPEG.

    Attributes:
      cell: of the notebook.
      energy: ‖a‖² over the sky's.
      change: root mean square, of 255.
      bands: shares of the change's power, see `dreamjax.deepdream.likeness`.
      raw: ‖a‖² over the sky's before compression, of a run of the same recipe.
    """

    cell: int
    energy: float
    change: float
    bands: tuple[float, ...]
    raw: float


PUBLISHED = {
    OUTPUT: Published(
        12, 21.63, 12.2, (0.018, 0.047, 0.106, 0.194, 0.327, 0.308), 34.2
    ),
    STROKES: Published(14, 6.52, 14.3, (0.025, 0.028, 0.078, 0.214, 0.4, 0.254), 8.45),
    GUIDED: Published(27, 5.4, 14.0, (0.031, 0.067, 0.175, 0.267, 0.293, 0.168), 9.33),
}
REFERENCE = {  # layer -> (gain, change) of the reference run at 320 × 240
    OUTPUT: (6.46, 12.4),
    STROKES: (4.06, 14.8),
}
SINGLE = {  # (layer, iterations) -> (gain, change), one scale
    (OUTPUT, 10): (3.11, 6.6),
    (OUTPUT, 50): (12.84, 15.7),
    (STROKES, 10): (2.80, 7.9),
    (STROKES, 50): (6.35, 19.8),
}
OCTAVES = ((277, 595), (380, 941), (405, 1246), (495, 1539))
"""½‖a‖² per pixel after the first and the last step of each octave."""

ZOOM = (6.06, 8.98, 11.0, 13.7, 14.0, 15.0)  # gain over the photo, frame by frame
FIRST = (
    "the same energy is reached, but the reference run's start is above the photo's own"
    " energy: it counts from the picture after its first step, as its octaves show"
)


def recipe(objective: str, hparams: Mapping[str, Any] | None = None, **keys: Any):
    """Returns the notebook's config, unlocked, for an objective, and more."""
    config: ConfigDict = get_config().unlock()
    config.objective = objective
    config.tensorboard = False
    config.update(keys)
    config.hparams.update(hparams or {})
    return config


def told(config: ConfigDict, **more: Any) -> dict[str, Any]:
    """Returns what a reader wants to know of a config."""
    names = ("objective", "octaves", "octave_scale", "steps", "transforms", "gradient")
    names += ("optimizer", "resize", "border", "inject")
    rate = config.hparams.learning_rate
    return {n: config[n] for n in names} | {"learning_rate": rate} | more


def sky(context: Context, size: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """Returns the notebook's sky and True, or a photo and False; a toy if quick."""
    size = dream_size(context, *size)
    return photo_at(context, size), context.find("sky1024px.jpg") is not None


def photo_at(context: Context, size: tuple[int, int]) -> np.ndarray:
    """Returns the notebook's sky, or a photo, of this size."""
    file = context.find("sky1024px.jpg")
    return context.photo(0, size) if file is None else load_image(file, size)


def taps_of(context: Context, names: tuple[str, ...]) -> list[str]:
    """Returns the paper's layers, or those at the same depth."""
    size = (224, 224) if not context.quicktest else context.size(224)
    return layers_like(context.model, size, {name: DEPTHS[name] for name in names})


ARTICLE_NOTE = (
    "The reference run's gains, ×3.1 and ×12.8, are compared from the picture after the"
    " first step on, as its octaves are. Wikipedia's panel is a jellyfish, whose photo"
    " is not at hand; its Mona Lisa needs VGG-16, whose weights are not here."
)


def title(context: Context, what: str) -> str:
    """Returns a title that names the network."""
    return f"{what} ({context.model.record.name})"


def measured(value: float, relative: float = 0.35) -> Expected:
    """Returns the number of an independent run; 35 % is what jitter may do."""
    return Expected(value, "measured", relative=relative, network=NETWORK)


def explained(context: Context, row: Row, why: str = FIRST) -> Row:
    """Returns a row that says why where it differs."""
    differs = verdict(row, context.model.record.name) == "differs"
    return row._replace(why=why) if differs else row


def likeness_rows(
    tap: str,
    energy: Callable[[np.ndarray], float],
    photo: np.ndarray,
    picture: np.ndarray,
    of_sky: bool,
) -> list[Row]:
    """Returns the numbers of a dream, beside the notebook's where it is of the sky."""
    found = likeness(energy, photo, compressed(picture))
    theirs = PUBLISHED.get(tap) if of_sky else None

    def near(value: float, relative: float = 0.0, absolute: float = 0.0) -> Expected:
        return Expected(value, "published", relative, absolute, network=NETWORK)

    want = [None] * (2 + len(BANDS))
    raw = None
    if theirs is not None:
        want = [near(theirs.energy, 0.15), near(theirs.change, 0.05)]
        want += [near(share, absolute=0.05) for share in theirs.bands]
        raw = measured(theirs.raw)
    names = ["‖a‖² of dream / photo", "change, of 255"]
    names += [f"share of the change at {band} cycles/pixel" for band in BANDS]
    values = [found.energy, found.change, *found.bands]
    rows = [
        Row(f"{tap}: {name}", value, expected)
        for name, value, expected in zip(names, values, want, strict=True)
    ]
    before = gain(energy(picture), energy(photo))
    return [*rows, Row(f"{tap}: ‖a‖² of dream / photo before JPEG", before, raw)]


def published(context: Context, tap: str) -> np.ndarray | None:
    """Returns the notebook's picture of a layer where it is at hand."""
    if tap not in PUBLISHED or context.quicktest:
        return None
    file = context.find(f"published/dream_notebook_cell{PUBLISHED[tap].cell}.jpg")
    return None if file is None else load_image(file)


JPEG = (
    "Numbers of full pictures are measured after JPEG at quality 75, as the notebook"
    " stores its own; jitter is random, so that pixels cannot agree."
)


def default(context: Context) -> Made:
    """The sky at two layers, ours and the notebook's."""
    photo, of_sky = sky(context, FULL)
    panels, rows = [], []
    taps = taps_of(context, context.pick((OUTPUT, STROKES), (OUTPUT,)))
    for tap in taps:
        (trace,) = dream_traces(context, tap.replace("/", "-"), recipe(tap), photo)
        energy = layer_energy(context.model, tap)
        found = likeness_rows(tap, energy, photo, trace.image, of_sky)
        said = f"‖a‖² ×{found[0].obtained:.2f}, change {found[1].obtained:.1f} of 255"
        panels.append([Panel(trace.image, f"{tap}, ours: {said}")])
        theirs = published(context, tap) if of_sky else None
        if theirs is not None:
            of = PUBLISHED[tap]
            said = f"‖a‖² ×{of.energy:.2f}, change {of.change:.1f} of 255"
            panels[-1].append(Panel(theirs, f"{tap}, published: {said}"))
        rows += found
    drawing = draw(
        panels,
        title=title(context, "4 octaves × 10 steps"),
        side=4.2,
        aspect=photo.shape[0] / photo.shape[1],
    )
    settings = told(recipe(""), layers=taps, size=photo.shape[:2])
    return Made({"": drawing}, rows, settings, (JPEG,))


def layers(context: Context) -> Made:
    """One photo at nine layers."""
    photo, _ = sky(context, SMALL)
    taps = taps_of(context, tuple(DEPTHS))
    config = recipe(f'one_of("{", ".join(taps)}", layer)', {"layer": tuple(taps)})
    traces = dream_traces(context, "layers", config, photo)
    panels, rows = [Panel(photo, "the photo")], []
    for tap, trace in zip(taps, traces, strict=True):
        more = gain(trace.after, trace.before)
        moved = change(photo, trace.image)
        panels.append(Panel(trace.image, f"{tap}\n×{more:.1f}, change {moved:.1f}"))
        energy, way = Expected(1.0, "derived", kind="at least"), None
        if tap in REFERENCE:
            energy, way = measured(REFERENCE[tap][0]), measured(REFERENCE[tap][1], 0.15)
        rows.append(
            explained(context, Row(f"{tap}: ‖a‖² of dream / photo", more, energy))
        )
        rows.append(Row(f"{tap}: change, of 255", moved, way))
        if tap == OUTPUT:
            reached = per_pixel(context, tap) * trace.after
            want = measured(OCTAVES[-1][1])
            rows.append(Row(f"{tap}: ½‖a‖² of the dream, per pixel", reached, want))
    half = -(-len(panels) // 2)
    drawing = draw(
        [panels[:half], panels[half:]],
        title=title(context, "from low layers to high ones"),
        side=2.0,
        aspect=photo.shape[0] / photo.shape[1],
    )
    return Made({"": drawing}, rows, told(config, size=photo.shape[:2]))


def per_pixel(context: Context, tap: str) -> float:
    """Returns what turns a mean over units, mean(a²), into ½‖a‖² per pixel."""
    size = context.size(224)
    return 0.5 * np.prod(tap_shapes(context.model, size)[tap]) / np.prod(size)


def octaves(context: Context) -> Made:
    """Octave by octave, after 1, 5 and 10 steps."""
    photo, _ = sky(context, SMALL)
    (tap,) = taps_of(context, (OUTPUT,))
    config = recipe(tap)
    (trace,) = dream_traces(context, "octaves", config, photo, snapshots=(1, 5, 10))
    unit = per_pixel(context, tap)
    places = sorted(trace.snapshots)
    steps = sorted({step for _, step in places})
    sizes = octave_sizes(
        photo.shape[:2], len({o for o, _ in places}), config.octave_scale
    )
    panels = [
        [
            Panel(
                trace.snapshots[o, s], f"½‖a‖² {unit * trace.reached[o, s]:.0f} per px"
            )
            for s in steps
        ]
        for o in range(len(sizes))
    ]
    reached = np.array(
        [[trace.reached[o, s] for s in steps] for o in range(len(sizes))]
    )
    first, last = unit * reached[:, 0], unit * reached[:, -1]
    known = len(sizes) == len(OCTAVES)
    rows = []
    for o, ends in enumerate(zip(first, last, strict=True)):
        for step, value, which in zip((steps[0], steps[-1]), ends, (0, 1), strict=True):
            want = measured(OCTAVES[o][which]) if known else None
            name = f"octave {o + 1}, after {'last' if which else 'first'} step"
            rows.append(Row(f"{name} ({step}): ½‖a‖² per pixel", float(value), want))
    bound = Expected(1.0, "derived", kind="at least")
    rows.append(Row("least gain within an octave", float((last / first).min()), bound))
    if len(first) > 1:
        least = float((first[1:] / first[:-1]).min())
        name = "least start of an octave over the one before"
        rows.append(Row(name, least, measured(405 / 380) if known else None))
    lines = [
        Curve(f"{h} × {w}", np.arange(len(row)), unit * row)
        for (h, w), row in zip(sizes, trace.scores, strict=True)
    ]
    drawings = {
        "": draw(
            panels,
            title=title(context, tap),
            rows=[f"{h} × {w}" for h, w in sizes],
            columns=[f"step {s}" for s in steps],
            side=2.0,
            aspect=photo.shape[0] / photo.shape[1],
        ),
        "energy": curves(
            lines, x_label="steps of the octave", y_label="½‖a‖² per pixel", marks=True
        ),
    }
    curve = {"energy per pixel": (unit * trace.scores).ravel()}
    return Made(drawings, rows, told(config, size=photo.shape[:2]), curves=curve)


def guided(context: Context) -> Made:
    """Led by flowers, and not."""
    photo, of_sky = sky(context, FULL)
    (tap,) = taps_of(context, (GUIDED,))
    flowers = context.find("flowers.jpg")
    leader = "coffee" if flowers is None else str(flowers)
    longest = context.pick(0 if flowers else 320, 32)
    free_config = recipe(tap)
    led_config = recipe(
        f'guided("{tap}")', {"target": (leader,)}, guide_longest=longest
    )
    (free,) = dream_traces(context, "unguided", free_config, photo)
    (led,) = dream_traces(context, "guided", led_config, photo)
    guide = load_photo(picture_path(leader), longest=longest or None)
    score = guided_score(context.model, tap, guide)
    before = score(photo)
    energy = layer_energy(context.model, tap)
    rows = likeness_rows(tap, energy, photo, led.image, of_sky)
    goal = gain(score(led.image), before)
    free_goal = gain(score(free.image), before)
    own = energy(led.image) / energy(photo)
    free_own = gain(free.after, free.before)
    first = gain(score(compressed(led.image)), before)
    judged = Expected(5.12, "published", relative=0.15, network=NETWORK)
    rows += [
        Row(
            "guided objective ×, guided", goal, measured(6.77, 0.15) if of_sky else None
        ),
        Row(
            "guided objective ×, guided, after JPEG", first, judged if of_sky else None
        ),
        Row("guided objective ×, unguided", free_goal),
        Row("own ‖a‖² ×, unguided", free_own),
        Row(
            "guided objective, guided / unguided",
            goal / free_goal,
            measured(3.44 / 2.39),
        ),
        Row("own ‖a‖², guided / unguided", own / free_own, measured(4.12 / 4.60)),
    ]
    grid = [
        [Panel(photo, "the photo"), Panel(guide, "the guide")],
        [
            Panel(free.image, f"unguided: guided objective ×{free_goal:.2f}"),
            Panel(led.image, f"guided: guided objective ×{goal:.2f}"),
        ],
    ]
    theirs = published(context, tap) if of_sky else None
    if theirs is not None:
        grid[0].append(Panel(theirs, "guided, published"))
    drawing = draw(
        grid,
        title=title(context, f"{tap}, guided"),
        side=3.2,
        aspect=photo.shape[0] / photo.shape[1],
    )
    settings = told(led_config, size=photo.shape[:2], guide=Path(leader).stem)
    return Made({"": drawing}, rows, settings, (JPEG,))


def zoom(context: Context) -> Made:
    """The dream of the dream of the dream, each time a little closer."""
    photo, of_sky = sky(context, ZOOMED)
    (tap,) = taps_of(context, (OUTPUT,))
    config = recipe(tap, zoom=0.05, programs=4)
    film = dream_film(context, "zoom", config, photo, FRAMES)
    gains = film.scores / film.before
    shown = sorted({round(i) for i in np.linspace(0, len(gains) - 1, 8)})
    panels = [Panel(film.frames[i], f"frame {i}: ×{gains[i]:.1f}") for i in shown]
    rows = []
    if len(gains) >= len(ZOOM):
        for i, value in enumerate(ZOOM):
            name = f"frame {i}: ‖a‖² / the photo's"
            rows.append(explained(context, Row(name, gains[i], measured(value))))
        half = gains[len(ZOOM) - 1 :]
        late = float(half[-1] / half[0])
        early = float(half[0] / gains[0])
        rows += [
            Row("‖a‖², sixth frame / first", early, measured(15.0 / 6.06)),
            Row(
                f"‖a‖², frame {len(gains) - 1} / sixth: saturated",
                late,
                Expected(early, "derived", kind="at most"),
            ),
        ]
    if of_sky and len(gains) > 29:
        rows.append(
            Row(
                "frame 29: ‖a‖² per pixel / the photo's",
                gains[29],
                Expected(80.4, "published", relative=0.35, network=NETWORK),
                f"published is of 1024 × 575, here are {photo.shape[1]} ×"
                f" {photo.shape[0]}, whose sky has more energy per pixel to begin with",
            )
        )
    drawing = draw(
        [row for row in (panels[:4], panels[4:]) if row],
        title=title(context, f"{tap}, 5 % closer from frame to frame"),
        side=2.4,
        aspect=photo.shape[0] / photo.shape[1],
    )
    resize = resizer("smooth")
    small = [resize(frame, SMALL_FILM) for frame in film.frames[::2]]
    return Made(
        {"": drawing},
        rows,
        told(config, frames=len(gains), zoom=0.05, size=photo.shape[:2]),
        (
            f"{len(gains)} frames of {photo.shape[1]} × {photo.shape[0]}; the notebook"
            " made 100 of 1024 × 575.",
        ),
        {"gain": gains},
        {"dream2015.zoom.gif": gif(small, fps=8)},
    )


def article(context: Context) -> Made:
    """A photo after 10 and after 50 iterations at its own scale."""
    photo, _ = sky(context, SMALL)
    taps = taps_of(context, context.pick((OUTPUT, STROKES), (OUTPUT,)))
    city = context.find("city.jpg")
    pictures = {"the photo": photo}
    if city is not None:
        pictures["a city"] = load_image(city, photo.shape[:2])
    panels, rows = [], []
    for tap in taps:
        config = recipe(tap, octaves=1, steps=50)
        for name, picture in pictures.items():
            if tap != taps[0] and picture is not photo:
                continue
            (trace,) = dream_traces(
                context,
                f"{tap.replace('/', '-')}-{name.replace(' ', '-')}",
                config,
                picture,
                snapshots=(1, 10, 50),
            )
            line = [Panel(picture, name)]
            _, *steps = sorted(step for _, step in trace.snapshots)
            first = trace.reached[0, min(step for _, step in trace.snapshots)]
            for step in steps:
                image, reached = trace.snapshots[0, step], trace.reached[0, step]
                more, moved = gain(reached, trace.before), change(picture, image)
                said = f"{step} iterations: ×{more:.1f}, change {moved:.1f}"
                line.append(Panel(image, said))
                energy = way = None
                if (tap, step) in SINGLE and picture is photo:
                    energy = measured(SINGLE[tap, step][0])
                    way = measured(SINGLE[tap, step][1], 0.15)
                said = f"{name}, {tap}, {step} iterations"
                rows += [
                    Row(f"{said}: ‖a‖² / the photo's", more),
                    Row(f"{said}: ‖a‖² / that after 1", gain(reached, first), energy),
                    Row(f"{said}: change, of 255", moved, way),
                ]
            panels.append(line)
    drawing = draw(
        panels,
        title=title(context, "one scale"),
        side=2.2,
        aspect=photo.shape[0] / photo.shape[1],
    )
    return Made(
        {"": drawing}, rows, told(config, size=photo.shape[:2]), (ARTICLE_NOTE,)
    )


FIGURES = (
    Figure(
        "dream2015.default",
        PAPER,
        "the sky at two layers, beside the notebook's own pictures",
        default,
        NETWORK,
    ),
    Figure(
        "dream2015.layers", PAPER, "one photo, from low to high layers", layers, NETWORK
    ),
    Figure(
        "dream2015.article", PAPER, "original, 10 and 50 iterations", article, NETWORK
    ),
    Figure(
        "dream2015.guided", PAPER, "a dream led by another picture", guided, NETWORK
    ),
    Figure(
        "dream2015.octaves", PAPER, "octave by octave, step by step", octaves, NETWORK
    ),
    Figure("dream2015.zoom", PAPER, "a film that feeds on itself", zoom, NETWORK),
)
