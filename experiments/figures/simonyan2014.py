"""Simonyan, Vedaldi & Zisserman 2014: class models, saliency, localization."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax

from dreamjax.ascent import Ascent, ascend
from dreamjax.attribution import (
    check_rules,
    class_score,
    concentration,
    correlation,
    saliency,
)
from dreamjax.centered import uncentered
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.maps import (
    class_name,
    gradients_by_rule,
    gray_map,
    saliencies,
    top_classes,
)
from dreamjax.figures.panels import Panel, about_gray, draw
from dreamjax.figures.record import Expected, Row
from dreamjax.hparams import Hparam
from dreamjax.localization import (
    Box,
    box_of,
    composite,
    graph_cut,
    iou,
    largest_part,
    seeds,
)
from dreamjax.models.layers import RULES
from dreamjax.objectives import logit
from dreamjax.report.plots import Curve, curves
from dreamjax.toolbox import toolbox_hparams, toolbox_pieces

PAPER = "Simonyan, Vedaldi & Zisserman 2014, Deep Inside Convolutional Networks"
NETWORK = "googlenet.bvlc-noaux"
measured = partial(Expected, source="measured", network=NETWORK)

SIDE = 224
MOST = 6  # photos in a picture
FLAMINGO = 130
CLASSES = (  # of figure 1, as far as its list is remembered
    "dumbbell",
    "bell pepper",
    "lemon",
    "goose",
    "ostrich",
    "kit fox",
)
LAMBDAS = (0.0, 1e-4, 1e-3, 1e-2)
LAMBDA = 1e-4  # of the sweep, the largest that leaves objects whole
RATE, MOMENTUM, STEPS = 10.0, 0.9, 150  # the rate: see `lambda_sweep`'s notes
RATE_1 = 40.0  # of figure 1: more is seen in as many steps


def climb_classes(context: Context, runs: list[dict]) -> Ascent:
    """Maximizes S_c(x) - λ‖x‖² from the mean image, by momentum; runs are c and λ."""
    pieces, variables = toolbox_pieces(
        context.model, logit(Hparam("class")), context.size(SIDE)
    )
    pieces = pieces._replace(
        penalties={"l2": lambda x, hp: jnp.sum(jnp.square(x), axis=(1, 2, 3))},
        projections=pieces.projections[-1:],  # the range alone
        optimizer=lambda hp: optax.sgd(hp["rate"], momentum=MOMENTUM),
    )
    start = {"init_std": 0.0, "rate": RATE}
    hp = toolbox_hparams([start | run for run in runs], context.model.record)
    return ascend(pieces, variables, hp, steps=context.pick(STEPS, 3), lanes=6)


def classes_of(context: Context, names: tuple[str, ...]) -> list[int]:
    """Returns the classes of these names, or in a network without them the first."""
    labels = [label.split(",")[0] for label in context.model.record.labels]
    if all(name in labels for name in names):
        return [labels.index(name) for name in names]
    return [i % max(1, len(labels)) for i in range(len(names))]


def fig1(context: Context) -> Made:
    """Class models: what a class looks like to the network."""
    classes = classes_of(context, CLASSES)
    found = climb_classes(
        context, [{"class": c, "l2": LAMBDA, "rate": RATE_1} for c in classes]
    )
    images = found.images[:, 0]
    seen = np.clip(uncentered(images, context.model.record), 0, 1)
    order, p = top_classes(context.model, seen, 1)
    scores = found.trace.score[-1, :, 0]
    panels = [
        Panel(
            about_gray(images[i]),
            f"{class_name(context.model, c)}\nS {scores[i]:.1f}",
        )
        for i, c in enumerate(classes)
    ]
    right = float(np.mean(order[:, 0] == np.asarray(classes)))
    rows = [
        Row(
            "images whose first class is their own, part",
            right,
            Expected(1.0, "derived", network=NETWORK),
        ),
        Row("mean probability of the first class", float(p[:, 0].mean())),
        Row("mean S_c", float(scores.mean())),
    ]
    return Made(
        {"": draw([panels[:3], panels[3:]], title=_title(context), side=1.9)},
        rows,
        {"lambda": LAMBDA, **_recipe(context), "rate": RATE_1, "classes": classes},
        (
            "Shown is x with the mean at mid-gray, its contrast stretched. 6 classes of"
            " the paper's 12, as far as they are remembered.",
        ),
        {f"score/{i}": found.trace.score[:, i, 0] for i in range(len(classes))},
    )


def lambda_sweep(context: Context) -> Made:
    """The weight of the L2 norm: score and probability that are reached."""
    index = FLAMINGO % max(1, len(context.model.record.labels))
    found = climb_classes(
        context, [{"class": index, "l2": weight} for weight in LAMBDAS]
    )
    images = found.images[:, 0]
    seen = np.clip(uncentered(images, context.model.record), 0, 1)
    p = _probabilities(context, seen, index)
    scores = found.trace.score[-1, :, 0]
    # Independent single values; the recipe's rate was not stated.
    wanted = {
        0.0: (70.0, 1.0),
        1e-4: (59.2, 1.0),
        1e-3: (23.9, 0.84),
        1e-2: (-1.1, 0.0),
    }
    rows = []
    for i, weight in enumerate(LAMBDAS):
        score, chance = wanted[weight]
        name = f"λ = {weight:g}"
        fitted = Expected(score, "reported")  # the rate was chosen by it
        expected = measured(score, relative=0.15, absolute=2.0) if weight else fitted
        why = "" if weight else "judges nothing: the rate was chosen by it"
        rows += [
            Row(f"{name}: S_c", float(scores[i]), expected, why),
            Row(f"{name}: probability", float(p[i]), measured(chance, absolute=0.15)),
            Row(f"{name}: ‖x‖", float(np.linalg.norm(images[i]))),
        ]
    panels = [
        Panel(about_gray(images[i]), f"S {scores[i]:.1f}, p {p[i]:.2f}")
        for i in range(len(LAMBDAS))
    ]
    steps = np.arange(len(found.trace.score))
    lines = [
        Curve(f"λ = {weight:g}", steps, found.trace.score[:, i, 0])
        for i, weight in enumerate(LAMBDAS)
    ]
    columns = [f"λ = {weight:g}" for weight in LAMBDAS]
    name = class_name(context.model, index)
    return Made(
        {
            "": draw([panels], columns=columns, title=f"{name}: {_title(context)}"),
            "curves": curves(lines, x_label="step", y_label="S_c"),
        },
        rows,
        {"lambdas": LAMBDAS, **_recipe(context), "class": index},
        (
            "The rate of the expected values is not known: 10 is the power of ten that"
            " brings λ = 0 near its value in 150 steps (20 gives 91, 40 gives 119).",
        ),
        {line.label: line.y for line in lines},
    )


def fig2(context: Context) -> Made:
    """Saliency maps of the top class, image by image."""
    images, classes, p = _photos(context)
    maps = saliencies(
        context.model, images, classes, draws=context.pick(16, 2), seed=context.seed
    )
    panels, rows = [], []
    for i, index in enumerate(classes):
        name = class_name(context.model, index)
        line = [Panel(images[i], f"{name}, p {p[i]:.2f}")]
        for values in maps.values():
            peak, top = concentration(values[i])
            said = f"max/mean {peak:.0f}, top 5 % hold {top:.2f}"
            line.append(Panel(gray_map(values[i]), said))
        panels.append(line)
    tops = {n: np.mean([concentration(m)[1] for m in v]) for n, v in maps.items()}
    rows += [Row(f"share of the top 5 %: {n}", float(v)) for n, v in tops.items()]
    error = _first_order_error(context, images[0], int(classes[0]))
    rows.append(
        Row(
            "first order: 1 - (S(x+δ) - S(x-δ)) / 2w·δ, w·δ = 0.05",
            error,
            Expected(0.0, "derived", absolute=0.01),
        )
    )
    return Made(
        {
            "": draw(
                panels[:MOST], columns=["image", *maps], title=_title(context), side=1.8
            )
        },
        rows,
        {"side": SIDE, "classes": classes.tolist(), "views": 10, "noisy copies": 16},
        (
            "Ten views are five shifts of 8 px and their mirror images, where the paper"
            " averages over ten crops.",
        ),
    )


def _first_order_error(context: Context, image: np.ndarray, index: int) -> float:
    gradient = gradients_by_rule(context.model, image[None], np.asarray([index]))
    w = gradient["gradient"][0].astype(np.float64)
    # Along the gradient, so far that S, about 10, changes by much more than rounding.
    delta = (0.05 * w / np.sum(np.square(w))).astype(np.float32)
    model = context.model
    up, down = (
        float(class_score(model.taps, model.variables, jnp.asarray(x), index))
        for x in (image + delta, image - delta)
    )
    return 1 - (up - down) / float(2 * np.sum(w * delta))


# One photo's values, and twice their standard deviation over 20 ImageNet photos, which
# is how far apart two photos are.
RULE_VALUES = {
    "gradient": ((26.0, 13.0), (0.26, 0.07), None),
    "deconv": ((9.4, 6.5), (0.18, 0.03), (0.37, 0.18)),
    "guided": ((69.0, 66.0), (0.45, 0.22), (0.33, 0.22)),
}


def relu_rules(context: Context) -> Made:
    """Gradient, DeconvNet and guided backpropagation: one pass, three rules."""
    images, classes, _ = _photos(context)
    found = gradients_by_rule(context.model, images, classes)
    maps = {rule: saliency(g) for rule, g in found.items()}
    panels, labels = [], []
    for i, index in enumerate(classes[:MOST]):
        line, signed = [Panel(images[i])], [Panel(None)]
        for rule in RULES:
            peak, top = concentration(maps[rule][i])
            alike = correlation(maps[rule][i], maps["gradient"][i])
            line.append(
                Panel(
                    gray_map(maps[rule][i]),
                    f"max/mean {peak:.0f}, top 5 %: {top:.2f}, r {alike:.2f}",
                )
            )
            signed.append(Panel(about_gray(found[rule][i])))
        panels += [line, signed]
        labels += [class_name(context.model, index), "signed"]
    rows = []
    for rule, values in maps.items():
        peaks, tops = np.transpose([concentration(m) for m in values])
        alike = [
            correlation(m, g) for m, g in zip(values, maps["gradient"], strict=True)
        ]
        for name, value, wanted in zip(
            ("max / mean", "share of the top 5 %", "correlation with the gradient"),
            (np.mean(peaks), np.mean(tops), np.mean(alike)),
            RULE_VALUES[rule],
            strict=True,
        ):
            if wanted is not None:
                expected = measured(wanted[0], absolute=wanted[1])
                rows.append(Row(f"{rule}: {name}", float(value), expected))
    drawn = draw(
        panels, rows=labels, columns=["image", *RULES], title=_title(context), side=1.5
    )
    return Made(
        {"": drawn},
        rows,
        {"side": SIDE, "classes": classes.tolist(), "rules": list(RULES)},
        (
            f"Means over {len(images)} photos; what is expected is of one other photo,"
            " with twice the standard deviation between 20 photos as tolerance.",
            "r is the correlation of a saliency map with the gradient's. The rules"
            " agree bit for bit where all masks are 1 (tests/test_attribution.py).",
        ),
    )


def fig3(context: Context) -> Made:
    """Weakly supervised localization: image, saliency, seeds, graph cut."""
    images, classes, _ = _photos(context)
    images, classes = images[:MOST], classes[:MOST]
    maps = saliencies(context.model, images, classes, draws=0, seed=context.seed)
    panels = []
    for i, values in enumerate(maps["ten views"]):
        cut = largest_part(graph_cut(images[i], values, seed=context.seed))
        box = box_of(cut)
        panels.append(
            [
                Panel(images[i], class_name(context.model, classes[i])),
                Panel(gray_map(values)),
                Panel(_seeds_shown(images[i], values)),
                Panel(
                    _cut_shown(images[i], cut, box), f"{cut.mean():.0%} of the pixels"
                ),
            ]
        )
    columns = ["image", "saliency", "above 95 %, below 30 %", "graph cut, box"]
    drawn = draw(panels, columns=columns, title=_title(context), side=2.0)
    return Made(
        {"": drawn},
        [
            Row(f"part of photo {i} that is object", _part(p))
            for i, p in enumerate(panels)
        ],
        {"side": SIDE, "quantiles": (0.95, 0.3), "components": 5},
        ("Cyan: pixels whose colors are the object's; blue: the background's.",),
    )


def localization(context: Context) -> Made:
    """Objects on textures, localized: median intersection over union of the boxes."""
    random = np.random.default_rng(context.seed)
    count, side = context.pick(60, 2), context.size(SIDE)[0]
    photos, classes, _ = _photos(context)
    shown = [composite(random, photos[i % len(photos)], side) for i in range(count)]
    images = np.stack([c.image for c in shown]).astype(np.float32)
    wanted = classes[np.arange(count) % len(photos)]
    maps = saliencies(context.model, images, wanted, draws=0, seed=context.seed)
    overlaps, panels = [], []
    for i, values in enumerate(maps["ten views"]):
        cut = largest_part(graph_cut(images[i], values, seed=context.seed))
        overlaps.append(iou(box_of(cut), shown[i].box))
        if i < 2 * MOST:
            said = f"IoU {overlaps[-1]:.2f}"
            panels.append(
                Panel(_cut_shown(images[i], cut, box_of(cut), shown[i].box), said)
            )
    median, hits = (
        float(np.median(overlaps)),
        float(np.mean(np.asarray(overlaps) >= 0.5)),
    )
    rows = [
        Row(
            f"median IoU of {count} composites",
            median,
            Expected(0.5, "derived", kind="at least", network=NETWORK),
        ),
        Row("boxes with IoU below 0.5, %", 100 * (1 - hits)),
        Row(
            "ILSVRC-2013 localization error of the paper, %",
            100 * (1 - hits),
            Expected(46.4, "reported"),
            why="another task: comparable on ILSVRC's own boxes alone",
        ),
    ]
    drawn = draw(
        [panels[:MOST], panels[MOST:]] if len(panels) > MOST else [panels],
        title=_title(context),
    )
    return Made(
        {"": drawn},
        rows,
        {"composites": count, "side": side, "disk": (0.4, 0.65)},
        (
            "The disk is a photo's middle, the texture 1/f noise with the photo's own"
            " mean and covariance of colors. Red: box found; green: box known.",
        ),
    )


def _photos(context: Context) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the photos [N, H, W, 3], their first classes [N] and probabilities."""
    check_rules(context.model.record)
    size = context.size(SIDE)
    count = context.pick(len(context.photos), 2)
    images = np.stack([context.photo(i, size) for i in range(count)])
    classes, p = top_classes(context.model, images, 1)
    return images, classes[:, 0], p[:, 0]


def _probabilities(context: Context, images: np.ndarray, index: int) -> np.ndarray:
    order, p = top_classes(context.model, images, len(context.model.record.labels) or 1)
    return p[order == index]


def _seeds_shown(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    sure, never = seeds(values)
    shown = 0.35 * np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1) + 0.3
    shown[sure] = (0.0, 1.0, 1.0)
    shown[never] = (0.1, 0.1, 0.8)
    return shown


def _cut_shown(
    image: np.ndarray, mask: np.ndarray, box: Box, known: Box | None = None
) -> np.ndarray:
    shown = np.where(mask[..., None], image, 0.25 * image + 0.6)
    for edge, color in ((known, (0.0, 0.8, 0.2)), (box, (1.0, 0.1, 0.1))):
        if edge is not None and edge.area:
            lines = np.zeros(mask.shape, bool)
            lines[edge.top : edge.bottom, edge.left : edge.right] = True
            lines[edge.top + 2 : edge.bottom - 2, edge.left + 2 : edge.right - 2] = (
                False
            )
            shown[lines] = color
    return shown


def _part(panels: list[Panel]) -> float:
    return float(panels[-1].caption.split("%")[0]) / 100


def _title(context: Context) -> str:
    return context.model.record.name


def _recipe(context: Context) -> dict:
    return {
        "side": SIDE,
        "steps": STEPS,
        "rate": RATE,
        "momentum": MOMENTUM,
        "start": "the mean image",
    }


FIGURES = (
    Figure("simonyan2014.fig1", PAPER, "class models with L2", fig1, NETWORK),
    Figure("simonyan2014.lambda", PAPER, "the weight of L2", lambda_sweep, NETWORK),
    Figure("simonyan2014.fig2", PAPER, "saliency of the top class", fig2, NETWORK),
    Figure("simonyan2014.fig3", PAPER, "localization by graph cut", fig3, NETWORK),
    Figure(
        "simonyan2014.relu_rules",
        PAPER,
        "gradient, DeconvNet and guided backpropagation",
        relu_rules,
        NETWORK,
    ),
    Figure(
        "simonyan2014.localization",
        PAPER,
        "objects on textures, with known boxes",
        localization,
        NETWORK,
    ),
)
