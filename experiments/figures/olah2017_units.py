"""Olah et al. 2017: what units, layers, classes, directions and pairs of units show."""

import itertools

import jax.numpy as jnp
import numpy as np

from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.mixture import Term, channel_term
from dreamjax.figures.panels import Panel, draw
from dreamjax.figures.record import Expected, Row
from dreamjax.figures.units import Unit
from dreamjax.models.activations import activations
from dreamjax.models.model import tap_shapes
from dreamjax.objectives import diversity as gram_diversity
from experiments.figures.olah2017_recipes import (
    ARTICLES,
    NETWORK,
    PAPER,
    STAND_IN,
    short,
    together,
    told,
    unit,
    units,
)

HERO = {
    "Edges": (3, 12, 20, 33, 41, 55),
    "Textures": (0, 25, 51, 76, 102, 204),
    "Patterns": (51, 102, 153, 204, 256, 460),
    "Parts": (102, 51, 256, 256, 153, 204),
    "Objects": (52, 249, 369, 748, 422, 332),
}
DIVERSE = (
    unit("4a", 97, 204),
    unit("4a", 143, 102),
    unit("4e", 55, 748),
    unit("5a", 9, 0),
)
LEFT = (
    unit("4b", 111, 77),
    unit("3a", 139, 105),
    unit("3b", 81, 80),
    unit("4a", 97, 84),
    unit("4a", 41, 42),
    unit("4a", 479, 210),
)
TOP = (
    unit("4a", 476, 336),
    unit("4b", 360, 168),
    unit("4b", 482, 210),
    unit("4c", 440, 126),
    unit("4d", 479, 176),
    unit("4e", 718, 276),
)
PAIRS = (
    (unit("3a", 145, 102), unit("4e", 710, 748)),
    (unit("4d", 503, 52), unit("5a", 791, 0)),
    (unit("5a", 810, 249), unit("5a", 200, 665)),
)
SIGNED = (
    unit("4a", 492, 204),
    unit("4a", 240, 102),
    unit("4b", 482, 102),
    unit("4d", 479, 369),
)
ALIGN = 0.1
LAYERS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


def hero(context: Context) -> Made:
    """Figure 1: from edges to objects, six channels of each depth."""
    side, steps, count = 80, 96, context.pick(6, 1)
    columns = {
        # After its ReLU: before it a filter is linear, and its mean asks for a color.
        "Edges": [("conv2d0:{}", "conv1/7x7_s2:{}", 0.0)],
        "Textures": [unit("3a", "{}", "{}")],
        "Patterns": [unit("4a", "{}", "{}")],
        "Parts": [unit("4b", "{}", "{}"), unit("4c", "{}", "{}")],
        "Objects": [unit("4d", "{}", "{}"), unit("4e", "{}", "{}")],
    }
    names = context.pick(list(columns), list(columns)[:2])
    chosen: dict[str, list[Unit]] = {}
    for name in names:
        wanted = []
        for i, n in enumerate(HERO[name][:count]):
            theirs, ours, depth = columns[name][i % len(columns[name])]
            wanted.append((theirs.format(n), ours.format(n), depth))
        chosen[name] = units(context, side, *wanted)
    drawn = {}
    # Early layers need not run as deep as late ones: two programs.
    for number, part in enumerate(context.pick((names[:2], names[2:]), (names,))):
        shown = [u for name in part for u in chosen[name]]
        panels = [[channel_term(*u)] for u in shown]
        run, config = together(context, f"part{number}", "article", panels, side, steps)
        drawn |= dict(zip(shown, run.images[:, 0], strict=True))
    grid = [
        [Panel(drawn[chosen[n][i]], short(chosen[n][i])) for n in names]
        for i in range(count)
    ]
    drawing = draw(
        grid, title=f"Channels, {config.size[0]} px", columns=names, side=1.0
    )
    settings = told("article", config) | {
        "units": {name: [str(u) for u in found] for name, found in chosen.items()}
    }
    notes = (STAND_IN, f"{config.steps} steps, the article has 2560.")
    return Made({"": drawing}, (), settings, notes)


def objectives(context: Context) -> Made:
    """Figure 3: one neuron, channel, layer, class before and after the softmax."""
    side, steps = 96, 128
    size = context.size(side)
    first, second = units(context, side, unit("4b", 452, 77), unit("4e", 710, 276))
    classes = [_class(context, name) for name in ("flamingo", "volcano")]
    kinds = {
        "neuron": [
            Term(f'neuron("{u.tap}", {{}})', (u.channel,)) for u in (first, second)
        ],
        "channel": [channel_term(*u) for u in (first, second)],
        "layer": [Term(f'energy("{after(u)}")') for u in (first, second)],
        "class logit": [Term("logit({})", (c,)) for c, _ in classes],
        "class probability": [Term("probability({})", (c,)) for c, _ in classes],
    }
    panels = [[term] for terms in kinds.values() for term in terms]
    run, config = together(context, "run", "lucid", panels, side, steps)
    found = activations(
        *context.model[:2], run.images[:, 0], ("logits", "probabilities")
    )
    rows, captions = [], []
    for number, (kind, terms) in enumerate(kinds.items()):
        for i in range(len(terms)):
            j = 2 * number + i
            score = float(run.scores[config.steps][j, 0])
            if not kind.startswith("class"):
                rows.append(Row(f"{kind} of {(first, second)[i]}: objective", score))
                captions.append(f"{score:.3g}")
                continue
            c, label = classes[i]
            logit, p = (float(found[n][j, c]) for n in ("logits", "probabilities"))
            rows.append(Row(f"{label}, {kind} as objective: logit", logit))
            rows.append(Row(f"{label}, {kind} as objective: probability", p))
            captions.append(f"{label}\nlogit {logit:.1f}, p {p:.2f}")
    gaps = {row.name: row.obtained for row in rows}
    for _, label in classes if not context.quicktest else ():
        more = (
            gaps[f"{label}, class logit as objective: logit"]
            - gaps[f"{label}, class probability as objective: logit"]
        )
        goal = Expected(0.0, "derived", kind="at least")
        rows.append(Row(f"{label}: logit gained by aiming at it", more, goal))
    grid = [
        [
            Panel(run.images[2 * n + i, 0], captions[2 * n + i])
            for n in range(len(kinds))
        ]
        for i in range(2)
    ]
    drawing = draw(
        grid,
        columns=list(kinds),
        title=(
            f"Objectives: {short(first)} and {short(second)}, {size[0]} px,"
            f" {config.steps} steps"
        ),
        side=1.5,
    )
    notes = (
        "All ten are one program: weights choose among the objectives.",
        "Lucid's preset with fewer steps and pixels than its 512 and 128.",
        STAND_IN,
    )
    settings = told("lucid", config) | {
        "units": [str(first), str(second)],
        "classes": [label for _, label in classes],
    }
    return Made({"": drawing}, rows, settings, notes)


def _class(context: Context, label: str) -> tuple[int, str]:
    """Returns a class and its label: the one named, or some class of the network."""
    labels = context.model.record.labels
    shape = tap_shapes(context.model, context.size(96)).get("logits")
    if shape is None:
        raise ValueError(
            f"model={context.model.record.name!r} has no classes, which this figure"
            " shows: take a network with logits."
        )
    where = [i for i, name in enumerate(labels) if name.startswith(label)]
    number = where[0] if where else len(label) % shape[-1]
    return number, labels[number].split(",")[0] if labels else f"class {number}"


def diversity(context: Context) -> Made:
    """Figure 6: one picture of a channel, and four that must differ."""
    side, weight = 80, 25.0
    chosen = units(context, side, *context.pick(DIVERSE, DIVERSE[:1]))
    panels = [
        [channel_term(*u), Term(f'diversity("{after(u)}")', (), w)]
        for u in chosen
        for w in (0.0, weight)
    ]
    run, config = together(context, "run", "lucid", panels, side, 96, batch=4)
    rows, grid = [], []
    for i, u in enumerate(chosen):
        simple, diverse = run.images[2 * i], run.images[2 * i + 1]
        seen = np.concatenate([simple, diverse])
        taps = activations(*context.model[:2], seen, [u.tap, after(u)])
        parts = slice(4), slice(4, 8)
        alike = [likeness(taps[after(u)][part]) for part in parts]
        mean = [float(taps[u.tap][part][..., u.channel].mean()) for part in parts]
        goal = Expected(alike[0], "derived", kind="at most")
        rows += [
            Row(f"{u}: likeness of four pictures without the term", alike[0]),
            Row(f"{u}: likeness of four diverse pictures", alike[1], goal),
            Row(f"{u}: activation of those, of that without", mean[1] / mean[0]),
        ]
        caption = f"likeness {alike[1]:.2f}"
        grid.append(
            [
                Panel(simple[0], f"without: {alike[0]:.2f}"),
                *(Panel(image, caption * (n == 0)) for n, image in enumerate(diverse)),
            ]
        )
    drawing = draw(
        grid,
        title="Diversity: a channel's picture, and four of one run that differ",
        rows=[short(u) for u in chosen],
        columns=["simple", *(f"diverse {n + 1}" for n in range(4))],
        side=1.25,
    )
    settings = told("lucid", config) | {"diversity": weight, "batch": 4}
    notes = (
        "Likeness is the mean cosine of the Gram matrices of two pictures of four; the"
        " pictures without the term start from four noises. Lucid's weight is 100; at"
        " 80 px, where units are weaker, that leaves pictures without their unit.",
        STAND_IN,
    )
    return Made({"": drawing}, rows, settings, notes)


def directions(context: Context) -> Made:
    """Figure 7, the optimized half: random directions in four layers."""
    side, count = 80, context.pick(4, 2)
    names = context.pick(("3a", "4c", "4d", "5a"), ("3a",))
    taps = [u.tap for u in units(context, side, *(unit(name) for name in names))]
    panels = [
        [Term(f'random_direction("{tap}", {{}})', (seed,))]
        for tap in taps
        for seed in range(count)
    ]
    run, config = together(context, "run", "lucid", panels, side, 96)
    scores = run.scores[config.steps][:, 0]
    grid = [
        [
            Panel(run.images[i * count + j, 0], f"{scores[i * count + j]:.3g}")
            for j in range(count)
        ]
        for i in range(len(taps))
    ]
    rows = [
        Row(
            f"{tap}: mean projection on a random unit vector, {count} seeds",
            float(scores[i * count : (i + 1) * count].mean()),
        )
        for i, tap in enumerate(taps)
    ]
    drawing = draw(
        grid,
        title="Random directions (a unit vector of normal numbers): projection",
        rows=[short(Unit(tap, 0)).split(":")[0] for tap in taps],
        columns=[f"seed {n}" for n in range(count)],
        side=1.3,
    )
    notes = (
        "Seeds as they come; the article's are picked by hand. Its half of dataset"
        " examples is another figure.",
        STAND_IN,
    )
    return Made({"": drawing}, rows, told("lucid", config), notes)


def arithmetic(context: Context) -> Made:
    """Figure 8: what two units show together, six by six, beside each alone."""
    side = 64
    few = context.pick(6, 2)
    left = units(context, side, *LEFT[:few])
    top = units(context, side, *TOP[:few])
    pairs = list(itertools.product(range(few), range(few)))
    panels = [[channel_term(*left[i]), channel_term(*top[j])] for i, j in pairs]
    panels += [[channel_term(*u)] for u in (*left, *top)]
    run, config = together(context, "run", "lucid", panels, side, 96)
    scores = run.scores[config.steps][:, 0]
    joint = scores[: few**2].reshape(few, few)
    alone = scores[few**2 :]
    share = joint / (alone[:few, None] + alone[None, few:])
    images = run.images[:, 0]
    grid = [
        [
            Panel(None),
            *(
                Panel(images[few**2 + few + j], f"{alone[few + j]:.0f}")
                for j in range(few)
            ),
        ]
    ]
    for i in range(few):
        grid.append(
            [
                Panel(images[few**2 + i], f"{alone[i]:.0f}"),
                *(
                    Panel(images[i * few + j], f"{100 * share[i, j]:.0f} %")
                    for j in range(few)
                ),
            ]
        )
    rows = [
        Row("joint objective over the sum of both alone, mean", float(share.mean())),
        Row(
            "the largest of them",
            float(share.max()),
            Expected(1.0, "derived", relative=0.02, kind="at most"),
        ),
        Row(
            f"that of {left[0]} and {top[0]}",
            float(share[0, 0]),
            Expected(
                1272.9 / (791.3 + 1146.8), "published", absolute=0.1, network=ARTICLES
            ),
        ),
    ]
    drawing = draw(
        grid,
        title="Units added: objective alone; together, in % of both alone",
        rows=["", *(short(u) for u in left)],
        columns=["", *(short(u) for u in top)],
        side=0.66,
    )
    settings = told("lucid", config) | {
        "left": [str(u) for u in left],
        "top": [str(u) for u in top],
    }
    notes = (
        f"All {len(panels)} panels are runs of one program.",
        "The published share is of mixed4b:111 and mixed4a:476 with Lucid's 128 px and"
        " 512 steps.",
        STAND_IN,
    )
    return Made({"": drawing}, rows, settings, notes)


def interpolation(context: Context) -> Made:
    """Figure 9: from one unit to another, in frames that are held together."""
    side, frames, steps = 80, context.pick(6, 3), 96
    pairs = [
        tuple(units(context, side, a, b)) for a, b in context.pick(PAIRS, PAIRS[:1])
    ]

    def terms(a: Unit, b: Unit, weight: float) -> list[Term]:
        call = f'interpolation("{a.tap}", {{}}, "{b.tap}", {{}})'
        return [
            Term(call, (a.channel, b.channel)),
            Term(f'alignment("{after(b)}")', (), weight),
        ]

    bound, config = together(
        context,
        "aligned",
        "lucid",
        [terms(a, b, ALIGN) for a, b in pairs],
        side,
        steps,
        batch=frames,
        param="lowres-shared",
    )
    shown = list(bound.images)
    if not context.quicktest:
        free, _ = together(
            context,
            "free",
            "lucid",
            [terms(*pairs[0], 0.0)],
            side,
            steps,
            batch=frames,
        )
        shown.append(free.images[0])
    distance = [neighbors(images) for images in shown]
    goal = Expected(distance[-1], "derived", kind="at most")
    rows = [
        Row(f"{a} to {b}: RMS difference of neighbors", d, goal if i == 0 else None)
        for i, ((a, b), d) in enumerate(zip(pairs, distance, strict=False))
    ]
    names = [f"{short(a)}\nto {short(b)}" for a, b in pairs]
    if not context.quicktest:
        rows.append(Row("the first pair without alignment", distance[-1]))
        names.append("the first,\nnot aligned")
    grid = [
        [
            Panel(image, f"neighbors differ by {d:.3f}" * (n == 0))
            for n, image in enumerate(images)
        ]
        for images, d in zip(shown, distance, strict=True)
    ]
    drawing = draw(
        grid,
        title="Interpolated objectives, shared coarse pictures and an alignment term",
        rows=names,
        side=1.1,
    )
    settings = told("lucid", config) | {
        "alignment": ALIGN,
        "frames": frames,
        "pairs": [[str(a), str(b)] for a, b in pairs],
    }
    notes = (
        "Lucid's notebook shares coarse pictures alone; the alignment term is its"
        " objective of that name, on the layer of the second unit.",
        STAND_IN,
    )
    return Made({"": drawing}, rows, settings, notes)


def negative(context: Context) -> Made:
    """Positive and negative pictures of channels, as in Lucid's notebook."""
    side = 80
    chosen = units(context, side, *context.pick(SIGNED, SIGNED[:2]))
    panels = [[channel_term(*u, sign)] for sign in (1.0, -1.0) for u in chosen]
    run, config = together(context, "run", "lucid", panels, side, 96)
    n, scores = len(chosen), run.scores[config.steps][:, 0]
    values = np.concatenate([scores[:n], -scores[n:]])
    grid = [
        [Panel(run.images[k * n + i, 0], f"{values[k * n + i]:.0f}") for i in range(n)]
        for k in range(2)
    ]
    above = Expected(0.0, "derived", kind="at most")
    rows = []
    for i, u in enumerate(chosen):
        rows.append(
            Row(f"{u}: difference of the pair", float(values[i] - values[n + i]))
        )
        rows.append(
            Row(f"{u}: value of the negative picture", float(values[n + i]), above)
        )
    drawing = draw(
        grid,
        rows=["most", "least"],
        columns=[short(u) for u in chosen],
        title="Channels driven up and down, before the ReLU",
        side=1.3,
    )
    notes = (
        "Lucid's pair is one run of two pictures with the difference as objective; the"
        " pictures do not depend on each other, so here they are two runs.",
        STAND_IN,
    )
    return Made({"": drawing}, rows, told("lucid", config), notes)


def appendix(context: Context) -> Made:
    """Figure 17: channels of every layer."""
    side, count = 64, context.pick(10, 2)
    size = context.size(side)
    shapes = tap_shapes(context.model, size)
    names = context.pick(LAYERS, LAYERS[:2])
    taps = [u.tap for u in units(context, side, *(unit(name) for name in names))]
    taps = list(dict.fromkeys(taps))
    rows, panels = [], []
    # Early layers need not run as deep as late ones: two programs.
    for number, part in enumerate(context.pick((taps[:4], taps[4:]), (taps,))):
        chosen = [
            [Unit(tap, i * shapes[tap][-1] // count) for i in range(count)]
            for tap in part
        ]
        terms = [[channel_term(*u)] for row in chosen for u in row]
        run, config = together(context, f"part{number}", "lucid", terms, side, 48)
        drawn = iter(run.images[:, 0])
        panels += [[Panel(next(drawn), f"{u.channel}") for u in row] for row in chosen]
        rows += [short(row[0]).split(":")[0] for row in chosen]
    drawing = draw(
        panels,
        title=f"Channels of {context.model.record.name}, {config.steps} steps",
        rows=rows,
        side=0.5,
    )
    settings = told("lucid", config) | {"taps": taps, "channels_of_each": count}
    notes = (
        f"{count} channels of each layer, evenly spread; the appendix has all of them.",
        STAND_IN,
    )
    return Made({"": drawing}, (), settings, notes)


def after(u: Unit) -> str:
    """Returns a unit's layer after its ReLU."""
    return u.tap.removesuffix("/pre")


def likeness(activations: np.ndarray) -> float:
    """Returns the mean cosine of two Gram matrices of activations [B, h, w, K]."""
    score = gram_diversity("a")({"a": jnp.asarray(activations)}, {})
    return -float(jnp.mean(score)) / (len(activations) - 1)


def neighbors(images: np.ndarray) -> float:
    """Returns the RMS difference of neighboring images [B, H, W, C]."""
    return float(np.sqrt(np.mean(np.diff(images, axis=0) ** 2)))


FIGURES = tuple(
    Figure(f"olah2017.{name}", PAPER, shows, make, NETWORK)
    for name, shows, make in (
        ("fig01", "edges, textures, patterns, parts, objects: channels by depth", hero),
        ("fig03", "objectives: neuron, channel, layer, logit, probability", objectives),
        (
            "fig06",
            "diversity: one picture of a channel, and four that differ",
            diversity,
        ),
        ("fig07", "random directions in four layers, optimized", directions),
        ("fig08", "neuron arithmetic: six units and six others, together", arithmetic),
        ("fig09", "interpolation between units, with aligned frames", interpolation),
        ("negative", "channels driven up and driven down", negative),
        ("fig17", "appendix: channels of the layers from 3a to 5b", appendix),
    )
)
