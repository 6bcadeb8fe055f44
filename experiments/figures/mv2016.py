"""Mahendran & Vedaldi 2016: visualizing deep networks using natural pre-images.

GoogLeNet stands for their four networks. Most pictures have 128 px, and all fewer
updates than the paper's 350; what figures share is remembered in WORKDIR/mv.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Drawing

from dreamjax.deepdream.reach import Reach, measure_reach
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.panels import Panel, boxed, draw, stretched
from dreamjax.figures.record import Expected, Row
from dreamjax.inversion import cvpr2015, ijcv2016
from dreamjax.inversion.compare import as_rgb, own_units, psnr, solved, top_classes
from dreamjax.inversion.cvpr2015 import Inversion
from dreamjax.inversion.ijcv2016 import Energy
from dreamjax.labels import class_index
from dreamjax.measures.gradient_histogram import gradient_histogram, intersection
from dreamjax.measures.spectrum import high_frequency
from dreamjax.models.model import tap_shapes
from dreamjax.report.plots import STYLE, Curve, curves, literal
from experiments.figures.measured import NETWORK, Measured, layer_ticks
from experiments.figures.mv2015 import MEASURED as FORMER
from experiments.figures.mv2015 import Layer, layers_of, percent, photo_of, study

PAPER = "Mahendran & Vedaldi 2016, Visualizing deep networks using natural pre-images"
SIDE = 128
WEIGHTS = (1.0, 20.0, 100.0, 300.0)  # C
FREE = 100.0  # C of the run without penalties
LAYERS = (
    Layer("conv1/7x7_s2", 0.0, 0),
    Layer("conv2/norm2", 0.1, 0),
    Layer("inception_3b/output", 0.3, 0),
    Layer("inception_4c/output", 0.6, 0),
    Layer("inception_5b/output", 1.0, 0),
    Layer("logits", 1.0, 0),
)
SHALLOW = 3
"""Layers, from the first, where the paper's classes are nearly always kept."""

UPDATES = (60, 10)
ALIKE = "within .01 of each other after 70 updates; why was not looked into"
SHORT = "one run each, of a quarter of the updates; at the paper's β = 2 it holds"
UNFINISHED = (
    "a fifth of the paper's updates: the errors of the last ten, without jitter, still"
    " fall by up to 30 points"
)


MEASURED = (
    Measured("conv1/7x7_s2", 100, 26.6, 21.1),
    Measured("conv2/norm2", 100, 17.9, 16.4),
    Measured("inception_3b/output", 100, 16.4, 13.9),
    Measured("inception_4a/output", 100, 18.1, 13.0),
    Measured("inception_4c/output", 1, 25.7),
    Measured("inception_4c/output", 20, 19.8),
    Measured("inception_4c/output", 100, 15.3),
    Measured("inception_4c/output", 300, 14.8, 12.5),
    Measured("inception_5b/output", 100, 32.1, 12.1),
    Measured("logits", 100, 12.4, 12.1),
)
CLASSES = (
    "black swan",
    "goose",
    "tree frog",
    "cheeseburger",
    "coffee mug",
    "comic book",
    "vending machine",
)


def strides(context: Context, taps: Sequence[str]) -> dict[str, int]:
    """Returns tap -> stride; that of the deepest where a unit sees everything."""
    reaches = measure_reach(context.model, list(taps))
    known = [reach.stride for reach in reaches.values() if reach is not None]
    return {
        t: r.stride if r is not None else max(known, default=1)
        for t, r in reaches.items()
    }


def made_with(
    context: Context, solve: ijcv2016.Solve, tap: str, goals: np.ndarray, **keys: Any
) -> Inversion:
    """Returns R runs of one layer, remembered."""
    steps = keys.pop("steps", UPDATES)
    steps = context.pick(steps, tuple(min(n, 4) for n in steps))
    folder = context.workdir.parent / "mv"
    return solved(folder, solve, context.model, tap, goals, steps=steps, **keys)


class Grid(NamedTuple):
    """Inversions of N photos from every layer.

    Attributes:
      photos: [N, H, W, 3] in [0, 1].
      taps: the layers.
      images: tap -> [N, len(WEIGHTS), H, W, 3] in [0, 1].
      errors: tap -> [N, len(WEIGHTS)], %.
      same: tap -> [N, len(WEIGHTS)] bool, of the photo's class; None without classes.
      free: tap -> [H, W, 3], the first photo without penalties.
      longest: of any color, in gray levels.
    """

    photos: np.ndarray
    taps: list[str]
    images: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    same: dict[str, np.ndarray] | None
    free: dict[str, np.ndarray]
    longest: float


def grid_of(context: Context) -> Grid:
    """Returns the inversions that `inversion` and `curves` show."""
    model, size = context.model, context.size(SIDE)
    photos = np.stack([context.photo(i, size) for i in range(2)])
    x = own_units(model, photos)
    taps = list(layers_of(context, context.pick(LAYERS, LAYERS[-1:])))
    goals, steps = cvpr2015.features(model, taps, x), strides(context, taps)
    count, runs = len(photos), len(photos) * len(WEIGHTS)
    images, errors, same, free, longest = {}, {}, {}, {}, 0.0
    own = top_classes(model, x)
    unit = cvpr2015.gray_level(model.record)
    for tap in taps:
        many = np.repeat(goals[tap], len(WEIGHTS), 0)
        made = made_with(
            *(context, ijcv2016.invert, tap),
            np.concatenate([many, goals[tap][:1]]),
            size=size,
            energy=Energy(
                fidelity=np.asarray([*WEIGHTS * count, FREE], np.float32),
                penalty=np.asarray([1.0] * runs + [0.0], np.float32),
            ),
            jitter=ijcv2016.jitter_of(steps[tap]),
            lanes=runs + 1,
        )
        found = made.images[:, 0]
        longest = max(longest, float(np.linalg.norm(found, axis=-1).max() / unit))
        shape = (count, len(WEIGHTS))
        images[tap] = as_rgb(model, found[:-1]).reshape(*shape, *found.shape[1:])
        errors[tap] = percent(made.errors[:-1, 0]).reshape(shape)
        free[tap] = as_rgb(model, found[-1])
        if own is not None:
            classes = top_classes(model, found[:-1]).reshape(shape)
            same[tap] = classes == own[:, None]
        context.report(f"  {tap}: {np.round(errors[tap][0], 1)} %")
    return Grid(
        photos, taps, images, errors, None if own is None else same, free, longest
    )


def inversion(context: Context) -> Made:
    """Layers by weight C."""
    grid = grid_of(context)
    panels = [
        [
            Panel(stretched(image), f"{error:.0f} %")
            for image, error in zip(
                grid.images[tap][0], grid.errors[tap][0], strict=True
            )
        ]
        for tap in grid.taps
    ]
    rows = [
        Row(f"{tap}, C {weight:g}: error [%]", float(grid.errors[tap][0, i]))
        for tap in grid.taps
        for i, weight in enumerate(WEIGHTS)
    ]
    falls = min(
        float(-np.diff(grid.errors[tap].mean(axis=0)).max()) for tap in grid.taps
    )
    rows += [
        Row(
            "least fall of a layer's mean error from one C to the next [%]",
            falls,
            Expected(0, "derived", kind="at least"),
            why=UNFINISHED,
        ),
        Row(
            "longest color of all pictures [gray levels]",
            grid.longest,
            Expected(160, "derived", kind="at most", relative=1e-6),
        ),
    ]
    for panel_row in panels:
        panel_row.insert(0, Panel(None))
    panels[0][0] = Panel(grid.photos[0], "photo")
    title = f"Inversions by weight of the features, {context.model.record.name}"
    columns = ["", *(f"C = {weight:g}" for weight in WEIGHTS)]
    labels = [tap.replace("/", "\n") for tap in grid.taps]
    return Made(
        {"": draw(panels, title=title, rows=labels, columns=columns, side=1.15)},
        rows,
        {"side": SIDE, "updates": UPDATES, "C": WEIGHTS, "layers": grid.taps},
        (f"{SIDE} px and {sum(UPDATES)} updates, where the paper has 350.",),
    )


def interval(values: np.ndarray) -> np.ndarray:
    """Returns half the width of the mean's 95 % confidence interval, over axis 0."""
    count = len(values)
    return 1.96 * np.std(values, axis=0, ddof=1) / np.sqrt(count)


def curves_(context: Context) -> Made:
    """Error, kept classes and naturalness over the layers."""
    grid = grid_of(context)
    taps = grid.taps
    x = np.arange(len(taps))
    ticks = layer_ticks(taps)
    error, natural, kept = [], [], []
    photos = [histogram_of(photo) for photo in grid.photos]

    def naturalness(images: np.ndarray) -> float:
        """Returns the mean intersection of pictures [N, …] with their own photos."""
        pairs = zip(images, photos, strict=True)
        return float(np.mean([intersection(histogram_of(i), p) for i, p in pairs]))

    scores = np.asarray(
        [[naturalness(grid.images[t][:, i]) for i in range(len(WEIGHTS))] for t in taps]
    )
    own = photos[0]
    free = np.asarray([intersection(histogram_of(grid.free[t]), own) for t in taps])
    held = [grid.images[tap][0, WEIGHTS.index(FREE)] for tap in taps]
    one = np.asarray([intersection(histogram_of(image), own) for image in held])
    for i, weight in enumerate(WEIGHTS):
        values = np.stack([grid.errors[tap][:, i] for tap in taps], axis=1)  # [N, L]
        mean, half = values.mean(axis=0), interval(values)
        label = f"C = {weight:g}"
        error.append(Curve(label, x, mean, mean - half, mean + half))
        natural.append(Curve(label, x, scores[:, i]))
        if grid.same is not None:
            share = [float(grid.same[tap][:, i].mean()) for tap in taps]
            kept.append(Curve(label, x, share))
    natural.append(Curve("C = 100, no penalty", x, free))
    keys = {"x_label": "layer", "marks": True, "ticks": ticks}
    name = context.model.record.name
    drawings = {
        "": curves(
            error, y_label="error [%]", title=f"Inversion error, {name}", **keys
        ),
        "naturalness": curves(
            natural,
            y_label="intersection of histograms",
            title="Gradient orientations, against the photos'",
            **keys,
        ),
    }
    rows = [
        Row(
            f"{tap}: gradients like the photo's, with penalties less without",
            float(one[i] - free[i]),
            Expected(0, "derived", kind="at least"),
            why=ALIKE,
        )
        for i, tap in enumerate(taps)
    ]
    if grid.same is not None:
        drawings["classes"] = curves(
            kept,
            y_label="share of the photo's class",
            title="Classification consistency",
            **keys,
        )
        shares = np.asarray([curve.y for curve in kept])  # [C, layers]
        rows += [
            Row(
                "shallow layers, C >= 100: least share of kept classes",
                float(shares[2:, :SHALLOW].min()),
                Expected(0.9, "derived", kind="at least"),
            ),
            Row(
                "least share of kept classes over that at C = 1",
                float((shares[1:] - shares[0]).min()),
                Expected(0, "derived", kind="at least"),
            ),
        ]
    return Made(
        drawings,
        rows,
        {"side": SIDE, "updates": UPDATES, "C": WEIGHTS, "photos": len(grid.photos)},
        (
            f"{len(grid.photos)} photos, so that the 95 % intervals are wide; {SIDE} px"
            f" and {sum(UPDATES)} updates, where the paper has 350.",
        ),
        {f"error at C {w:g}": c.y for w, c in zip(WEIGHTS, error, strict=True)},
    )


def histogram_of(image: np.ndarray) -> np.ndarray:
    """Returns the histogram of gradient orientations of a picture's gray values."""
    return gradient_histogram(np.asarray(image).mean(axis=-1))


def table(context: Context) -> Made:
    """The errors of the recipes of 2016 and 2015 at 224 px, one photo."""
    model, size = context.model, context.size(224)
    photo, golden = photo_of(context)
    x = own_units(model, photo[None])
    wanted = [Layer(m.name, 0.5, 0) for m in MEASURED][:: context.pick(1, 99)]
    chosen = layers_of(context, list(dict.fromkeys(wanted)))
    goals, steps = cvpr2015.features(model, list(chosen), x), strides(context, chosen)
    rows, bars, traces = [], [], {}
    for tap, layer in chosen.items():
        values = [m for m in MEASURED if m.name == layer.name]
        made = made_with(
            *(context, ijcv2016.invert, tap),
            np.repeat(goals[tap], len(values), 0),
            size=size,
            energy=Energy(fidelity=np.asarray([m.weight for m in values], np.float32)),
            jitter=ijcv2016.jitter_of(steps[tap]),
            steps=(300, 50),
        )
        for i, m in enumerate(values):
            error = float(percent(made.errors[i, 0]))
            ratio = psnr(as_rgb(model, made.images[i, 0]), photo)
            name = f"{tap}, C {m.weight:g}"
            rows += m.rows(name, error, ratio, judged=golden)
            bars.append((f"2016: {name}", error, m.error))
            traces[name] = percent(made.curve[:, i, 0])
    older = study(context)
    names = {layer.name: tap for tap, layer in older.chosen.items()}
    for m in FORMER:
        tap = names.get(m.name)
        if (tap, m.weight) in older.found:
            found = older.found[tap, m.weight][0]
            bars.append((f"2015: {tap}, λ {m.weight:g}", found, m.error))
    return Made(
        {"": bars_of(bars, golden, f"Inversion errors, {model.record.name}")},
        rows,
        {"photo": "the measured one" if golden else context.photos[0].name},
        (
            "The measured values are of a golden"
            " retriever of ImageNet, given by --photos and not shown"
            + ("." if golden else "; it is not here, so they judge nothing."),
            "The rows of 2015 are those of mv2015.table3, which has their numbers.",
        ),
        traces,
    )


def bars_of(
    bars: Sequence[tuple[str, float, float]], both: bool, title: str
) -> Drawing:
    """Draws errors obtained, and measured elsewhere, as bars."""
    with matplotlib.rc_context(STYLE):
        drawing = Drawing(figsize=(6.4, 0.27 * len(bars) + 1.2), layout="constrained")
        axes = drawing.add_subplot()
        places = np.arange(len(bars))[::-1]
        axes.barh(places + 0.2, [b[1] for b in bars], 0.38, label="obtained")
        if both:
            axes.barh(places - 0.2, [b[2] for b in bars], 0.38, label="measured before")
        axes.set_yticks(places, [literal(b[0]) for b in bars])
        axes.set_ylim(-0.8, len(bars) - 0.2)
        axes.set_xlabel("error ‖Φ - Φ₀‖ / ‖Φ₀‖ [%]")
        axes.set_title(title)
        drawing.legend(loc="outside lower right", ncols=2)
    return drawing


class Filters(NamedTuple):
    """A layer and how many of its filters share a picture."""

    name: str
    depth: float
    count: int


MOSAICS = (
    Filters("conv1/7x7_s2", 0.0, 25),
    Filters("conv2/3x3", 0.1, 25),
    Filters("inception_3a/output", 0.2, 9),
    Filters("inception_4a/output", 0.4, 1),
)


def max_mosaic(context: Context) -> Made:
    """The first filters of several layers, many in one picture."""
    model = context.model
    size = context.size(224)
    count = context.pick(min(8, max(2, len(context.photos))), 2)
    photos = own_units(model, np.stack([context.photo(i, size) for i in range(count)]))
    chosen = {}
    for filters in context.pick(MOSAICS, MOSAICS[:1]):
        tap = context.layer(filters.name, filters.depth, 224)
        chosen.setdefault(tap, filters)
    seen = cvpr2015.features(model, list(chosen), photos)
    reaches = measure_reach(model, list(chosen))
    panels, rows = [], []
    for tap, filters in chosen.items():
        reach = reaches[tap] or Reach(size[0], size[0] // 2, size[0] // 2)
        field = reach.before + reach.after
        number = context.pick(min(filters.count, seen[tap].shape[-1]), 2)
        layout = ijcv2016.mosaic_of(number, field, reach.stride, grid=32)
        pixels = max(layout.pixels, model.record.min_size)
        shape = tap_shapes(model, (pixels, pixels))[tap][1:]
        channels = range(number)
        most = ijcv2016.largest(seen[tap])[:number]
        goal = ijcv2016.mosaic(shape, layout, channels, most, field)
        made = made_with(
            *(context, ijcv2016.maximize, tap, goal[None]),
            size=(pixels, pixels),
            energy=Energy(fidelity=STRENGTH),
            jitter=ijcv2016.jitter_of(reach.stride),
            steps=(60, 0),
        )
        image = as_rgb(model, made.images[0, 0])
        found = cvpr2015.features(model, [tap], made.images[0])[tap][0]
        gains, boxes = [], []
        for place in range(number):
            y, x = unit_of(layout, place)
            gains.append(float(found[y, x, place] / most[place]))
            boxes.append(box_of(reach, y, x, pixels))
        side = layout.columns * layout.side * reach.stride
        shown = boxed(stretched(image), boxes)
        panels.append(
            Panel(
                shown[:side, :side],
                f"{tap}\n{number} filter{'s' * (number > 1)}, {field} px\n"
                f"{np.median(gains):.1f} × a photo's largest",
            )
        )
        rows.append(
            Row(
                f"{tap}: filters driven beyond the photos' largest response",
                float(np.mean(np.asarray(gains) > 1)),
                Expected(0.9, "derived", kind="at least"),
                why="the others stay at 0 after their ReLU",
            )
        )
        rows.append(Row(f"{tap}: median response over that", float(np.median(gains))))
    title = f"Filters at their largest, {model.record.name}"
    return Made(
        {"": draw([panels], title=title, side=2.6)},
        rows,
        {"C": STRENGTH, "updates": 60, "photos": count},
        (
            "Red: the receptive field of the unit that is maximized. max_k is the"
            f" largest response to {count} photos, where the paper has a thousandth of"
            " ImageNet; each filter has its own (their code takes one's for all).",
            "A filter that noise does not excite has no slope after its ReLU and stays"
            " empty, as in the paper's setting without leak. 60 updates, where the"
            " paper has 300; the contrast is stretched.",
        ),
    )


STRENGTH = 1.0


def unit_of(layout: ijcv2016.Mosaic, place: int) -> tuple[int, int]:
    """Returns the (y, x) of the unit of a filter of a mosaic."""
    row, column = divmod(place, layout.columns)
    return tuple(i * layout.side + layout.side // 2 for i in (row, column))


def box_of(reach: Reach, y: int, x: int, pixels: int) -> tuple[int, int, int, int]:
    """Returns the receptive field (top, left, bottom, right) of one unit."""
    ends = [
        (
            max(i * reach.stride - reach.before, 0),
            min(i * reach.stride + reach.after, pixels),
        )
        for i in (y, x)
    ]
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def categories(context: Context) -> Made:
    """Classes at their largest."""
    model, size = context.model, context.size(SIDE)
    names = classes_of(context)
    goals = class_goals(context, names)
    made = made_with(
        *(context, ijcv2016.maximize, "logits", goals),
        size=size,
        energy=Energy(fidelity=STRENGTH),
        jitter=8,
        steps=(100, 0),
        lanes=len(names),
    )
    images = as_rgb(model, made.images[:, 0])
    found = cvpr2015.features(model, ["probabilities"], made.images[:, 0])
    panels, rows, first = [], [], []
    for i, (index, name) in enumerate(names.items()):
        p = float(found["probabilities"][i, index])
        first.append(found["probabilities"][i].argmax() == index)
        panels.append(Panel(stretched(images[i]), f"{name}\np = {p:.2f}"))
        rows.append(Row(f"{name}: probability", p))
    rows.append(
        Row(
            "share of pictures classified as asked",
            float(np.mean(first)),
            Expected(1, "derived", absolute=0.15),
        )
    )
    half = (len(panels) + 1) // 2
    title = f"Classes at their largest, {model.record.name}"
    return Made(
        {"": draw([panels[:half], panels[half:]], title=title)},
        rows,
        {"C": STRENGTH, "updates": 100, "side": SIDE},
        (
            f"{SIDE} px and 100 updates, where the paper has 300.",
            "Contrast is stretched.",
        ),
    )


def classes_of(context: Context, wanted: Sequence[str] = CLASSES) -> dict[int, str]:
    """Returns index -> name of the paper's classes, or of as many of the first ones.

    Raises:
      ValueError: a network without classes.
    """
    model = context.model
    shapes = tap_shapes(model, context.size(SIDE))
    if "logits" not in shapes:
        raise ValueError(
            f"model={model.record.name!r} has no tap 'logits': give one with classes."
        )
    labels = model.record.labels
    if all(name in labels for name in wanted):
        return {class_index(name, labels): name for name in wanted}
    count = min(shapes["logits"][-1], len(wanted))
    return {i: labels[i] if i < len(labels) else f"class {i}" for i in range(count)}


def class_goals(context: Context, names: dict[int, str]) -> np.ndarray:
    """Returns Φ₀ of classes [R, K]: 10000/field² over the photos' largest response."""
    model, size = context.model, context.size(SIDE)
    photos = np.stack([context.photo(i, size) for i in range(2)])
    logits = cvpr2015.features(model, ["logits"], own_units(model, photos))["logits"]
    goals = np.zeros((len(names), logits.shape[-1]), np.float32)
    for row, index in enumerate(names):
        goals[row, index] = 10000 / size[0] ** 2 / max(float(logits.max()), 1e-6)
    return goals


def caricature(context: Context) -> Made:
    """A photo, and what layers make of it."""
    model, size = context.model, context.size(224)
    photo = context.photo(0, size)
    x = own_units(model, photo[None])
    chosen = layers_of(
        context,
        [
            Layer("inception_3b/output", 0.3, 0),
            Layer("inception_4c/output", 0.6, 0),
            Layer("inception_4e/output", 0.8, 0),
            Layer("inception_5b/output", 1.0, 0),
        ],
    )
    taps = list(chosen)
    seen, steps = cvpr2015.features(model, taps, x), strides(context, taps)
    panels, rows = [Panel(photo, "photo\n")], []
    for tap in taps:
        made = made_with(
            *(context, ijcv2016.maximize, tap, ijcv2016.caricature(seen[tap])),
            size=size,
            energy=Energy(fidelity=EXAGGERATION),
            jitter=ijcv2016.jitter_of(steps[tap]),
            start=x,
            steps=(40, 0),
        )
        image, gain = as_rgb(model, made.images[0, 0]), float(-made.errors[0, 0])
        panels.append(Panel(image, f"{tap}\n{gain:.1f} × the photo's"))
        rows.append(
            Row(
                f"{tap}: inner product over the photo's",
                gain,
                Expected(1, "derived", kind="at least"),
            )
        )
    title = f"Caricatures, {model.record.name}"
    return Made(
        {"": draw([panels], title=title)},
        rows,
        {"C": EXAGGERATION, "updates": 40, "layers": taps},
        ("40 updates, where the paper has 300.",),
    )


EXAGGERATION = 10.0


def variants(context: Context) -> Made:
    """Jitter by β, for an inversion and for a class."""
    model, size = context.model, context.size(SIDE)
    photo = context.photo(0, size)
    (tap, _), *_ = layers_of(context, [Layer("inception_4c/output", 0.6, 0)]).items()
    goal = cvpr2015.features(model, [tap], own_units(model, photo[None]))[tap]
    jitters = np.asarray([4, 4, 4, 1, 1, 1], np.int32)
    betas = np.asarray([1.0, 1.5, 2.0] * 2, np.float32)
    inversions = made_with(
        *(context, ijcv2016.invert, tap, np.repeat(goal, 6, 0)),
        size=size,
        energy=Energy(fidelity=20.0, beta=betas),
        jitter=jitters,
        steps=(60, 10),
        lanes=6,
    )
    grids = {"inversion": as_rgb(model, inversions.images[:, 0])}
    rows = []
    if "logits" in tap_shapes(model, size):
        name = CLASSES[2:3]
        names = classes_of(context, name)
        goals = class_goals(context, names)
        maxima = made_with(
            *(context, ijcv2016.maximize, "logits", np.repeat(goals, 6, 0)),
            size=size,
            energy=Energy(fidelity=STRENGTH, beta=betas),
            jitter=np.where(jitters > 1, 8, 1).astype(np.int32),
            steps=(80, 0),
            lanes=6,
        )
        grids[next(iter(names.values()))] = as_rgb(model, maxima.images[:, 0])
    panels, labels = [], []
    for name, images in grids.items():
        fine = np.asarray([high_frequency(image) for image in images])
        for row, said in enumerate(("jitter", "no jitter")):
            part = slice(3 * row, 3 * row + 3)
            panels.append(
                [
                    Panel(
                        image if name == "inversion" else stretched(image),
                        f"fine detail {f:.3f}",
                    )
                    for image, f in zip(images[part], fine[part], strict=True)
                ]
            )
            labels.append(f"{name},\n{said}")
        for i, beta in enumerate(betas[:3]):
            rows.append(
                Row(
                    f"{name}, β {beta:g}: fine detail with jitter over that without",
                    float(fine[i] / max(fine[i + 3], 1e-12)),
                    Expected(1, "derived", kind="at most"),
                    why=SHORT,
                )
            )
    rows += [
        Row(
            f"inversion, β {betas[i]:g}, jitter {jitters[i]}: error [%]",
            float(percent(inversions.errors[i, 0])),
        )
        for i in range(6)
    ]
    title = f"Jitter and β at {tap}, {model.record.name}"
    columns = [f"β = {beta:g}" for beta in betas[:3]]
    return Made(
        {"": draw(panels, title=title, rows=labels, columns=columns)},
        rows,
        {"layer": tap, "C": (20.0, STRENGTH), "jitter": jitters.tolist()},
        (
            "Fine detail: the share of power above .25 cycles per pixel."
            f" {SIDE} px; 70 and 80 updates, where the paper has 350 and 300.",
            "The contrast of the class is stretched for show.",
        ),
    )


FIGURES = (
    Figure("mv2016.inversion", PAPER, "layers by weight C", inversion, NETWORK),
    Figure("mv2016.curves", PAPER, "error, classes, naturalness", curves_, NETWORK),
    Figure("mv2016.table", PAPER, "errors of the recipe", table, NETWORK),
    Figure("mv2016.max_mosaic", PAPER, "filters at their largest", max_mosaic, NETWORK),
    Figure("mv2016.categories", PAPER, "classes at their largest", categories, NETWORK),
    Figure("mv2016.caricature", PAPER, "a photo exaggerated", caricature, NETWORK),
    Figure("mv2016.variants", PAPER, "jitter by β", variants, NETWORK),
)
