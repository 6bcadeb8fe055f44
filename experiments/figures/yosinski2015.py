"""Yosinski, Clune, Nguyen, Fuchs & Lipson 2015: four regularizers, in their units."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from configs.regularizer_search import get_config
from dreamjax.ascent import ascend
from dreamjax.centered import centered_taps
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.kept import kept
from dreamjax.figures.maps import class_name
from dreamjax.figures.panels import Panel, about_gray, draw, stretched
from dreamjax.figures.record import Expected, Row
from dreamjax.hparams import Hparam
from dreamjax.identity import model_digest
from dreamjax.images import load_image
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import tap_shapes
from dreamjax.objectives import Objective, logit, neuron
from dreamjax.report.summary import read_summary
from dreamjax.report.winners import distinct, settings
from dreamjax.toolbox import (
    PLAIN_ASCENT,
    TABLE_1,
    high_energy,
    toolbox_hparams,
    toolbox_info,
    toolbox_pieces,
    zeroed,
)

PAPER = "Yosinski et al. 2015, Understanding Neural Networks Through Deep Visualization"
NETWORK = "googlenet.bvlc-noaux"  # theirs is CaffeNet
measured = partial(Expected, source="measured", network=NETWORK)

SIDE = 224
FLAMINGO = 130
OTHERS = ("school bus", "volcano")
STEPS, SHORT = 400, 81
WATCHED = 64  # steps in which the first argmax is looked for
RATE = 400.0  # of a network other than the paper's kind
SEARCH = Path("results/runs/regularizer_search")

# Single runs of each setting on this network: steps, best logit, first argmax, final
# probability, ‖x‖, energy above .25 cycles per pixel, part of the pixels that is 0.
RUNS = {
    "none": (200, 69.2, 12, 1.0, 3919, 0.803, 0.0),
    "1": (500, 28.3, 48, 0.901, 145, 0.07, 0.5),
    "2": (300, 17.9, 22, 0.162, 71, 0.58, 0.2),
    "3": (400, 56.8, 15, 1.0, 428, 0.052, 0.0),
    "4": (400, 24.5, 28, 0.958, 93, 0.246, 0.9),
}
PRESETS = {"none": {}, **TABLE_1}


def climb(
    context: Context,
    name: str,
    objective: Objective,
    runs: Sequence[Mapping[str, float]],
    *,
    side: int,
    steps: int,
    snapshots: Sequence[int] = (),
    lanes: int = 16,
) -> dict[str, np.ndarray]:
    """Returns "images" [R, H, W, 3], "scores" [steps, R], "snapshots" [n, R, …].

    Kept in the workdir, so that a figure is drawn again at no cost.
    """
    size = context.size(side)
    recipe = {
        "network": context.model.record.name,
        "sha256": model_digest(context.model),
        "objective": objective.text,
        "runs": [{**PLAIN_ASCENT, **run} for run in runs],
        "size": size,
        "steps": steps,
        "snapshots": list(snapshots),
        "shown": "after a full cycle of the projections",
    }

    def make() -> dict[str, np.ndarray]:
        pieces, variables = toolbox_pieces(context.model, objective, size)
        hp = toolbox_hparams(runs, context.model.record)
        seeds = [context.seed + run.get("seed", 0) for run in runs]
        found = ascend(
            *(pieces, variables, {n: v for n, v in hp.items() if n != "seed"}),
            steps=steps,
            seeds=seeds,
            snapshots=snapshots,
            lanes=lanes,
        )
        shots = [shot[:, 0] for shot in found.snapshots.values()]
        return {
            "images": found.images[:, 0],
            "scores": found.trace.score[:, :, 0],
            "snapshots": np.stack(shots) if shots else np.zeros(0),
        }

    return kept(context.workdir / f"{name}.npz", recipe | {"seed": context.seed}, make)


def logits_of(context: Context, images: np.ndarray) -> np.ndarray:
    """Returns the logits [N, classes] of pictures in levels about the mean."""
    taps = centered_taps(context.model)
    play = jax.jit(lambda variables, x: taps(variables, x, PLAIN)["logits"])
    parts = [images[i : i + 16] for i in range(0, len(images), 16)]
    return np.concatenate(
        [np.asarray(play(context.model.variables, jnp.asarray(p))) for p in parts]
    )


def class_of(context: Context, wanted: str | int) -> int:
    """Returns a class's index, in a network without that class some other."""
    labels = [label.split(",")[0] for label in context.model.record.labels]
    if isinstance(wanted, str):
        return labels.index(wanted) if wanted in labels else len(wanted) % len(labels)
    return wanted % max(1, len(labels))


def table1(context: Context) -> Made:
    """Table 1: four settings, and none, by their numbers and pictures."""
    index = class_of(context, FLAMINGO)
    steps, watched = context.pick((STEPS, WATCHED), (3, 2))
    ends = {n: min(RUNS[n][0], steps) for n in PRESETS}
    shots = sorted({*range(watched + 1), *ends.values()})
    found = climb(
        *(context, "flamingo", logit(Hparam("class"))),
        [{"class": index, **setting} for setting in PRESETS.values()],
        side=SIDE,
        steps=steps,
        snapshots=shots,
    )
    apart = _seeds(context, index)
    rows, line, files = [], [], {}
    for i, name in enumerate(PRESETS):
        end = ends[name]
        x = found["snapshots"][shots.index(end), i]
        scores = found["scores"][:end, i]
        watched_logits = logits_of(context, found["snapshots"][: watched + 1, i])
        wins = np.flatnonzero(np.argmax(watched_logits, axis=1) == index)
        first = float(wins[0]) if len(wins) else float("nan")
        p = float(jax.nn.softmax(logits_of(context, x[None])[0])[index])
        rows += _rows(name, end, float(scores.max()), first, p, x, apart.get(name, {}))
        line.append(Panel(about_gray(x), f"S {scores.max():.1f}, p {p:.2f}"))
        files[f"opt_logits_{index:04d}_{context.seed}_{name}_info.txt"] = toolbox_info(
            {**PLAIN_ASCENT, **PRESETS[name]}, scores, x, first
        ).encode()
    names = list(PRESETS)
    others = [class_of(context, name) for name in OTHERS]
    short = context.pick(SHORT, 2)
    more = climb(
        *(context, "others", logit(Hparam("class"))),
        [{"class": c, **s} for c in others for s in TABLE_1.values()],
        side=SIDE,
        steps=short,
        lanes=4,
    )
    panels = [line]
    for c in range(len(others)):
        some = range(c * len(TABLE_1), (c + 1) * len(TABLE_1))
        tops = more["scores"].max(axis=0)
        panels.append(
            [Panel(None)]
            + [Panel(about_gray(more["images"][i]), f"S {tops[i]:.1f}") for i in some]
        )
    labels = [class_name(context.model, c) for c in (index, *others)]
    columns = ["none" if n == "none" else f"setting {n}" for n in names]
    return Made(
        {
            "": draw(
                panels,
                rows=labels,
                columns=columns,
                title=context.model.record.name,
                side=1.5,
            )
        },
        rows,
        {
            "settings": {n: {**PLAIN_ASCENT, **s} for n, s in PRESETS.items()},
            "steps": ends,
            "steps of the other classes": short,
            "side": SIDE,
        },
        (
            "Shown is x with the training mean at mid-gray, its contrast stretched, as"
            " the authors' toolbox saves it.",
            f"Fewer steps than the paper's 500 … 1000: those of the measured runs, at"
            f" most {STEPS}; {SHORT} for the other classes.",
            "Pictures are after a full cycle of the blur, also where the first argmax"
            " is looked for; the measured values are of pictures as they were after the"
            " last update, 3 updates after a blur in settings 1, 3 and 4, when more"
            " high frequencies are back.",
            "The energy is of the channels' mean. The measured values do not say of"
            " what; of the channels apart it would be .79, .04, .42, .03 and .08.",
        ),
        {f"logit/{n}": found["scores"][:, i] for i, n in enumerate(names)},
        files,
    )


def _seeds(context: Context, index: int) -> dict[str, dict[str, str]]:
    """Returns for two settings how far apart four other seeds are, in words."""
    steps = context.pick(WATCHED, 2)
    shots = sorted({*range(0, steps // 2 + 9, 2)} & {*range(steps + 1)} | {steps})
    names, seeds = ("none", "2"), range(1, context.pick(5, 2))
    found = climb(
        *(context, "seeds", logit(Hparam("class"))),
        [{"class": index, "seed": s, **PRESETS[n]} for n in names for s in seeds],
        side=SIDE,
        steps=steps,
        snapshots=shots,
        lanes=8,
    )
    said = {}
    for i, name in enumerate(names):
        runs = range(i * len(seeds), (i + 1) * len(seeds))
        wins = [
            np.argmax(logits_of(context, found["snapshots"][:, run]), axis=1) == index
            for run in runs
        ]
        firsts = [shots[int(np.argmax(won))] for won in wins if won.any()]
        norms = [float(np.linalg.norm(found["images"][run])) for run in runs]
        late = found["scores"][-20:, runs.start : runs.stop]
        said[name] = {
            "first": f"{len(firsts)} of {len(runs)} other seeds at 0 … {shots[-2]},"
            f" {steps}: {', '.join(map(str, sorted(firsts)))}",
            "norm": f"four other seeds: {', '.join(f'{n:.0f}' for n in sorted(norms))}",
            "p": f"the logit changes by {np.std(np.diff(late, axis=0)):.1f} a step",
        }
    return said


def _rows(
    name: str,
    steps: int,
    best: float,
    first: float,
    p: float,
    x: np.ndarray,
    why: Mapping[str, str],
) -> list[Row]:
    _, logit_, argmax, chance, norm, energy, zeros = RUNS[name]
    title = "no regularizer" if name == "none" else f"setting {name}"
    less = "" if steps >= RUNS[name][0] else f"{steps} steps instead of {RUNS[name][0]}"
    never = [] if np.isfinite(first) else [f"not in the first {WATCHED} steps"]
    return [
        Row(f"{title}: best logit", best, measured(logit_, relative=0.15), less),
        Row(
            f"{title}: first step as argmax",
            first,
            measured(argmax, relative=0.5),
            "; ".join([*never, *filter(None, [why.get("first")])]),
        ),
        Row(
            f"{title}: argmax before step 60",
            first,
            Expected(60, "derived", kind="at most", network=NETWORK),
            *never,
        ),
        Row(
            f"{title}: final probability",
            p,
            measured(chance, absolute=0.15),
            why.get("p", less),
        ),
        Row(
            f"{title}: ‖x‖",
            float(np.linalg.norm(x)),
            measured(norm, relative=0.15),
            why.get("norm", less),
        ),
        Row(
            f"{title}: energy above .25 c/px",
            high_energy(x),
            measured(energy, absolute=0.05),
        ),
        Row(
            f"{title}: part of the pixels at 0",
            zeroed(x),
            Expected(zeros, "derived", absolute=0.001),
        ),
    ]


STRENGTHS: dict[str, Sequence[Mapping[str, float]]] = {
    "decay": [{"decay": v} for v in (0.003, 0.03, 0.1, 0.3)],
    "blur": [{"blur_width": v, "blur_every": 4.0} for v in (0.4, 0.7, 1.0, 2.0)],
    "norm clip": [{"norm_percentile": v} for v in (30.0, 60.0, 80.0, 95.0)],
    "contribution clip": [
        {"contribution_abs_percentile": v} for v in (30.0, 60.0, 80.0, 95.0)
    ],
}


def fig3(context: Context) -> Made:
    """Each regularizer alone, ever stronger."""
    index = class_of(context, FLAMINGO)
    alone = [{}, *(setting for line in STRENGTHS.values() for setting in line)]
    found = climb(
        *(context, "alone", logit(Hparam("class"))),
        [{"class": index, **setting} for setting in alone],
        side=160,
        steps=context.pick(101, 3),
        lanes=context.pick(17, 17),
    )
    images, best = found["images"], found["scores"].max(axis=0)
    energies = [high_energy(x) for x in images]

    def panel(i: int, said: str) -> Panel:
        caption = f"{said}\nS {best[i]:.1f}, HF {energies[i]:.2f}"
        return Panel(about_gray(images[i]), caption)

    panels, rows, place = [], [], 1
    for name, line in STRENGTHS.items():
        some = range(place, place + len(line))
        place += len(line)
        said = [next(iter(setting.values())) for setting in line]
        panels.append(
            [panel(0, "none")]
            + [panel(i, f"{v:g}") for i, v in zip(some, said, strict=True)]
        )
        norms = [float(np.linalg.norm(images[i])) for i in (0, *some)]
        rows += [
            Row(f"{name}: best logit at its strongest", float(best[some[-1]])),
            Row(f"{name}: energy above .25 c/px at its strongest", energies[some[-1]]),
            Row(f"{name}: ‖x‖ at its strongest", norms[-1]),
        ]
        falls = [energies[i] for i in (0, *some)] if name == "blur" else norms
        what = "energy above .25 c/px" if name == "blur" else "‖x‖"
        if name in ("blur", "decay"):
            rows.append(
                Row(
                    f"{name}: {what} falls at every step of strength",
                    float(np.all(np.diff(falls) < 0)),
                    Expected(1, "derived", network=NETWORK),
                )
            )
        else:
            rows += [
                Row(
                    f"{name}, {v:g} %: part of the pixels at 0",
                    zeroed(images[i]),
                    Expected(v / 100, "derived", absolute=0.001),
                )
                for i, v in zip(some, said, strict=True)
            ]
    title = f"{class_name(context.model, index)}: {context.model.record.name}"
    return Made(
        {"": draw(panels, rows=list(STRENGTHS), title=title, side=1.05)},
        rows,
        {"strengths": STRENGTHS, "steps": 101, "rate": 100.0, "side": 160},
        (
            "HF is the share of the energy above .25 cycles per pixel. Blur comes at"
            " every fourth step. The strengths are ours; 160 px.",
        ),
    )


NINE = (
    "goldfish",
    "flamingo",
    "dalmatian",
    "monarch",
    "banana",
    "strawberry",
    "school bus",
    "pirate",
    "volcano",
)


def fig4(context: Context) -> Made:
    """Class images: nine classes, three seeds each, setting 3."""
    classes = [class_of(context, name) for name in NINE]
    seeds = context.pick(3, 1)
    found = climb(
        *(context, "classes", logit(Hparam("class"))),
        [
            {"class": c, "seed": seed, **TABLE_1["3"], "rate": RATE}
            for c in classes
            for seed in range(seeds)
        ],
        side=128,
        steps=context.pick(201, 2),
        lanes=9,
    )
    images = found["images"]
    logits = logits_of(context, images)
    own = np.repeat(classes, seeds)
    right = float(np.mean(np.argmax(logits, axis=1) == own))
    panels = [
        [
            Panel(
                about_gray(images[i]),
                f"{class_name(context.model, c)}\nS {logits[i, c]:.1f}",
            )
            for i in range(first, first + seeds)
        ]
        for first, c in zip(range(0, len(images), seeds), classes, strict=True)
    ]
    three = [[p for line in panels[i : i + 3] for p in line] for i in range(0, 9, 3)]
    return Made(
        {"": draw(three, title=context.model.record.name, side=1.1)},
        [
            Row("images whose first class is their own, part", right),
            Row("mean logit", float(np.mean(logits[np.arange(len(own)), own]))),
            Row(
                "energy above .25 c/px",
                float(np.mean([high_energy(x) for x in images])),
            ),
        ],
        {"classes": classes, "seeds": seeds, "side": 128, "steps": 201, "rate": RATE},
        (
            "Setting 3 of Table 1 in 201 steps at 128 px, the last of which blurs. Rate"
            " 400 instead of 100, as this network's gradients are smaller.",
        ),
    )


LAYERS = {
    "conv2/3x3": 0.1,
    "inception_3b/output": 0.3,
    "inception_4c/output": 0.6,
    "inception_5a/output": 0.9,
}


UNIT_ASCENT = {"init_std": 1.0, "rate": 1e8, "progress": 10.0}


def fig1(context: Context) -> Made:
    """Preferred inputs of single units, layer by layer."""
    side, units = 128, context.pick(6, 2)
    names = [context.layer(name, depth, side) for name, depth in LAYERS.items()]
    names = list(dict.fromkeys(names))[: context.pick(4, 2)]
    shapes = tap_shapes(context.model, context.size(side))
    # Before the nonlinearity: most units are off in noise and would have no gradient.
    names = [f"{name}/pre" if f"{name}/pre" in shapes else name for name in names]
    panels, rows = [], []
    for name in names:
        count = shapes[name][-1]
        chosen = [round(i * (count - 1) / (units - 1)) for i in range(units)]
        found = climb(
            *(context, name.replace("/", "_"), neuron(name, Hparam("unit"))),
            [{**TABLE_1["3"], "unit": u, **UNIT_ASCENT} for u in chosen],
            side=side,
            steps=context.pick(101, 2),
        )
        gains = found["scores"][-1] - found["scores"][0]
        rows += [
            Row(f"{name}: mean gain of activation", float(np.mean(gains))),
            Row(
                f"{name}: units that were raised, part",
                float(np.mean(gains > 0)),
                Expected(1, "derived", network=NETWORK),
            ),
        ]
        panels.append(
            [
                Panel(_cropped(about_gray(x)), f"unit {u}: {a:.0f}")
                for x, u, a in zip(
                    found["images"], chosen, found["scores"][-1], strict=True
                )
            ]
        )
    return Made(
        {"": draw(panels, rows=names, title=context.model.record.name, side=1.4)},
        rows,
        {"layers": names, "units": units, "side": side, "steps": 101, **UNIT_ASCENT},
        (
            "The unit in the middle of the map, before its nonlinearity, as it has no"
            " gradient where it is off; shown is what it reaches."
            " Setting 3 with a constant gain of 10 per step, as activations of"
            " hidden layers have no common scale, from N(0, 1). The paper's photos that"
            " excite each unit need a data set.",
        ),
    )


def _cropped(image: np.ndarray) -> np.ndarray:
    """Returns the square about the middle that is not gray, at least 16 px."""
    height, width = image.shape[:2]
    rows, columns = np.nonzero(np.abs(image - 0.5).max(axis=-1) > 0.06)
    reach = max(
        (
            abs(i - n // 2)
            for n, line in ((height, rows), (width, columns))
            for i in line
        ),
        default=height,
    )
    reach = min(max(8, int(reach) + 1), height // 2, width // 2)
    return image[
        height // 2 - reach : height // 2 + reach,
        width // 2 - reach : width // 2 + reach,
    ]


def search(context: Context) -> Made:
    """A search over settings, sorted, and four chosen."""
    if SEARCH.exists() and not context.quicktest:
        workdir, whole = SEARCH, True
    else:
        workdir, whole = context.workdir / "search", False
        labels = context.model.record.labels
        names = ("flamingo", "school bus") if "flamingo" in labels else (0, 1)
        config = get_config("quicktest") if context.quicktest else get_config()
        config = config.copy_and_resolve_references().unlock()
        config.model = context.model.record.name
        config.size = context.size(112)
        config.rungs = ()
        config.samples = context.pick(64, 3)
        config.steps = context.pick(64, 2)
        config.image_steps = (config.steps,)
        config.hparams.unit = names
        context.sweep("search", config)
    rows = read_summary(workdir)
    judged = "transfer_score" in rows[0]["metrics"]
    by = ("transfer_score" if judged else "score", "slope_distance")
    ranked = settings(rows, by, ("unit", "seed"))
    four = distinct(ranked, min(4, len(ranked)))
    sheet = _contact_sheet([workdir / s.rows[0]["image"] for s in ranked])

    def panel(path: Path, said: str) -> Panel:
        return Panel(stretched(load_image(path)), said)

    chosen = [
        [
            panel(workdir / row["image"], f"S {row['metrics']['score']:.1f}")
            for row in setting.rows
        ]
        for setting in four
    ]
    labels = ["\n".join(f"{n} {v:.2g}" for n, v in s.hparams.items()) for s in four]
    columns = [str(row["hparams"]["unit"]) for row in four[0].rows]
    best, middle = ranked[0].metrics, ranked[len(ranked) // 2].metrics
    title = f"{len(ranked)} settings, the best first, row by row: {columns[0]}"
    return Made(
        {
            "": draw([[Panel(sheet)]], title=title, side=4.7),
            "four": draw(
                chosen,
                rows=labels,
                columns=columns,
                title="four that are good and unlike",
                side=1.4,
            ),
        },
        [
            Row("settings", len(ranked), Expected(300, "reported")),
            Row("classes", len(four[0].rows)),
            *(Row(f"{n}: best setting", float(best[n])) for n in by),
            *(Row(f"{n}: median setting", float(middle[n])) for n in by),
        ],
        {
            "config": "configs/regularizer_search.py",
            "by": by,
            "chosen": [dict(s.hparams) for s in four],
        },
        (
            "All settings of the search."
            if whole
            else "A smaller search than the paper's 300. Where the run folder of"
            " configs/regularizer_search.py is there, this figure shows that.",
            "Ranked within each class by "
            + (
                "another network's score of the class (transfer)"
                if judged
                else "the class's score"
            )
            + " and by how far the spectrum is from a photo's (slope_distance), which"
            " stand in for the authors' eyes.",
        ),
    )


TILE = 36  # pixels of a picture on the contact sheet


def _contact_sheet(paths: Sequence[Path], across: int = 18) -> np.ndarray:
    """Returns pictures side by side, row by row, [H, W, 3]; white after the last."""
    tiles = [stretched(load_image(path, (TILE, TILE))) for path in paths]
    across = min(across, len(tiles))
    while len(tiles) % across:
        tiles.append(np.ones((TILE, TILE, 3), np.float32))
    rows = [tiles[i : i + across] for i in range(0, len(tiles), across)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)


FIGURES = (
    Figure("yosinski2015.table1", PAPER, "four settings", table1, NETWORK),
    Figure("yosinski2015.fig3", PAPER, "each regularizer alone", fig3, NETWORK),
    Figure("yosinski2015.fig1", PAPER, "units of four layers", fig1, NETWORK),
    Figure("yosinski2015.fig4", PAPER, "nine classes, three seeds", fig4),
    Figure("yosinski2015.search", PAPER, "a search over settings", search),
)
