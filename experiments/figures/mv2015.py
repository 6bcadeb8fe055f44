"""Mahendran & Vedaldi 2015: understanding deep image representations by inverting them.

Their network (AlexNet) stands for GoogLeNet here. What is remembered between figures is
in WORKDIR/mv.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dreamjax.deepdream.reach import measure_reach
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.layers import main_layers
from dreamjax.figures.panels import Panel, boxed, draw, stretched
from dreamjax.figures.record import Expected, Row
from dreamjax.images import load_image
from dreamjax.inversion import cvpr2015, masks
from dreamjax.inversion.compare import (
    as_rgb,
    own_units,
    pixel_correlation,
    psnr,
    solved,
    top_classes,
)
from dreamjax.inversion.cvpr2015 import Energy
from dreamjax.measures.spectrum import high_frequency
from dreamjax.metrics.picture import colorfulness
from dreamjax.models.model import tap_shapes
from dreamjax.report.plots import Curve, curves
from experiments.figures.measured import NETWORK, Measured, layer_ticks

PAPER = "Mahendran & Vedaldi 2015, Understanding deep image representations"
SIDE = 224
RATE = 0.004
QUIET = 0.01  # norm of the start over a photo's, where most pixels are not seen


class Layer(NamedTuple):
    """A layer, where it is between first and last, its λ, and η over the paper's."""

    name: str
    depth: float
    tv: float
    slower: float = 1.0


LAYERS = (
    Layer("conv1/7x7_s2", 0.0, 1.0),
    Layer("pool1/norm1", 0.05, 1.0),
    Layer("conv2/norm2", 0.1, 1.0),
    Layer("inception_3a/output", 0.2, 10.0),
    Layer("inception_3b/output", 0.3, 10.0),
    Layer("inception_4a/output", 0.4, 10.0),
    Layer("inception_4c/output", 0.6, 100.0),
    Layer("inception_4e/output", 0.8, 100.0),
    # At the published rate these three diverge (table3).
    Layer("inception_5b/output", 1.0, 100.0, 0.25),
    Layer("pool5/7x7_s1", 1.0, 100.0, 0.25),
    Layer("logits", 1.0, 100.0, 0.25),
)
LOWER = "lower than measured: how that run fell from η = .001 is not known"
EARLY = 3
"""Layers, from the first, where accuracy is lost fast with λ."""


MEASURED = (
    Measured("conv1/7x7_s2", 1, 21.2, 21.9),
    Measured("pool1/norm1", 1, 23.3, 16.9),
    Measured("conv2/norm2", 1, 16.7, 16.4),
    Measured("conv2/norm2", 10, 29.8),
    Measured("conv2/norm2", 100, 51.7),
    Measured("inception_3a/output", 10, 23.6, 14.6),
    Measured("inception_3b/output", 10, 23.9, 14.3),
    Measured("inception_4a/output", 10, 19.2, 13.6),
    Measured("inception_4c/output", 1, 14.8),
    Measured("inception_4c/output", 10, 15.3),
    Measured("inception_4c/output", 100, 22.6, 13.2),
    Measured("inception_4e/output", 100, 23.1, 13.0),
    Measured("inception_5b/output", 100, 29.3, 12.4),
    Measured("pool5/7x7_s1", 100, 20.2),
    Measured("logits", 10, 9.8),
    Measured("logits", 100, 14.6),
)
REPORTED = {  # λ -> % error at layers 1 … 20 of the paper's network
    1: "10.0 11.3 21.9 20.3 12.4 12.9 15.5 15.9 14.5 16.5"
    " 14.9 13.8 12.6 15.6 16.6 12.4 15.8 12.8 10.5 5.3",
    10: "20.2 22.4 30.3 28.2 20.0 17.4 18.2 18.4 14.4 15.1"
    " 13.3 14.0 15.4 13.9 15.5 14.2 13.7 15.4 10.8 5.5",
    100: "40.8 45.2 54.1 48.1 39.7 32.8 32.7 32.4 25.6 26.9"
    " 23.3 23.9 25.7 20.1 19.0 18.6 18.7 17.1 15.5 8.5",
}
ALIKE = {"conv1/7x7_s2": 1, "pool1/norm1": 4, "conv2/norm2": 8, "logits": 20}
"""Our layer -> the paper's that is most like it, of those with a number."""

GOLDEN = "golden_retriever"
"""In the name of the photo that the measured values are of."""


def phases(updates: int, slower: float = 1.0, first: float = 0.25) -> cvpr2015.Rates:
    """Returns the paper's three rates, with fewer updates.

    Args:
      updates: of all; a tenth at the last rate, where little happens.
      slower: factor of the rates.
      first: part of the updates at the first rate, a quarter in the paper.
    """
    one, last = int(first * updates), updates // 10
    lengths = (one, updates - one - last, last)
    parts = zip((1, 0.1, 0.01), lengths, strict=True)
    return tuple((RATE * slower * part, length) for part, length in parts)


def layers_of(context: Context, wanted: Sequence[Layer]) -> dict[str, Layer]:
    """Returns tap -> layer of the paper, each tap once; in a quicktest two at most."""
    size = context.size(SIDE)
    wanted = context.pick(wanted, [wanted[0], wanted[-1]])
    shapes = tap_shapes(context.model, size)
    names = main_layers(context.model, size)
    found: dict[str, Layer] = {}
    for layer in wanted:
        tap = layer.name
        if tap not in shapes:
            tap = names[round(layer.depth * (len(names) - 1))]
        found.setdefault(tap, layer)
    return found


def photo_of(context: Context) -> tuple[np.ndarray, bool]:
    """Returns the measured photo if it is among those given, else the first.

    Cut as in training: the middle 224 of a shorter side of 256 pixels.
    """
    golden = [path for path in context.photos if GOLDEN in path.stem]
    side = context.size(SIDE)[0]
    whole = side * 256 // 224
    path = golden[0] if golden else context.photos[0]
    edge = (whole - side) // 2
    photo = load_image(path, (whole, whole))[edge : edge + side, edge : edge + side]
    return photo, bool(golden)


def inverted(
    context: Context,
    tap: str,
    goals: np.ndarray,
    x: np.ndarray,
    *,
    tv: Any,
    updates: int,
    slower: float,
    first: float = 0.25,
    **keys: Any,
) -> cvpr2015.Inversion:
    """Returns R runs of one layer, remembered; x are the photos [R, H, W, C]."""
    return solved(
        context.workdir.parent / "mv",
        cvpr2015.invert,
        context.model,
        tap,
        goals,
        size=context.size(SIDE),
        sigma=cvpr2015.norms(x),
        **{"rates": phases(context.pick(updates, 6), slower, first)}
        | {"energy": Energy(tv=np.asarray(tv, np.float32))}
        | keys,
    )


def percent(errors: Any) -> Any:
    """Returns 100 ‖Φ - Φ₀‖ / ‖Φ₀‖ of squared errors."""
    return 100 * np.sqrt(errors)


class Study(NamedTuple):
    """Inversions of one photo, from every layer with several λ.

    Attributes:
      golden: whether it is the photo that the measured values are of.
      x: [1, H, W, C], it in the network's units.
      chosen: tap -> layer.
      goals: tap -> Φ₀, [1, …].
      found: (tap, λ) -> (% error, dB).
      same: (tap, λ) -> whether it has the photo's class; empty without classes.
      updates: tap -> updates.
      curves: "tap λ" -> % error after every update.
    """

    golden: bool
    x: np.ndarray
    chosen: dict[str, Layer]
    goals: dict[str, np.ndarray]
    found: dict[tuple[str, float], tuple[float, float]]
    same: dict[tuple[str, float], bool]
    curves: dict[str, np.ndarray]


def study(context: Context) -> Study:
    """Returns the inversions of `table3`, with the paper's 400 updates."""
    model = context.model
    photo, golden = photo_of(context)
    x = own_units(model, photo[None])
    chosen = layers_of(context, LAYERS)
    goals = cvpr2015.features(model, list(chosen), x)
    found, ends, traces = {}, {}, {}
    for number, (tap, layer) in enumerate(chosen.items()):
        wanted = {m.weight for m in MEASURED if m.name == layer.name} | {layer.tv}
        weights = sorted(wanted | {1, 10, 100} if number < EARLY else wanted)
        runs = len(weights)
        made = inverted(
            *(context, tap, np.repeat(goals[tap], runs, 0), np.repeat(x, runs, 0)),
            tv=weights,
            updates=400,
            slower=layer.slower,
            **context.pick({"rates": paper_rates(layer.slower)}, {}),
        )
        for run, tv in enumerate(weights):
            image = as_rgb(model, made.images[run, 0])
            error = float(percent(made.errors[run, 0]))
            found[tap, tv] = (error, psnr(image, photo))
            ends[tap, tv] = made.images[run, 0]
            traces[f"{tap} {tv:g}"] = percent(made.curve[:, run, 0])
        context.report(f"  {tap}: {[round(found[tap, tv][0], 1) for tv in weights]} %")
    own, same = top_classes(model, x), {}
    if own is not None:
        classes = top_classes(model, np.stack(list(ends.values())))
        same = {key: bool(c == own[0]) for key, c in zip(ends, classes, strict=True)}
    return Study(golden, x, chosen, goals, found, same, traces)


def paper_rates(slower: float) -> cvpr2015.Rates:
    """Returns the paper's three rates, all of them times `slower`."""
    return tuple((slower * rate, updates) for rate, updates in cvpr2015.CNN_RATES)


def beside(made: Study) -> list[Row]:
    """Returns the errors and PSNRs of a study beside the measured ones."""
    names = {layer.name: tap for tap, layer in made.chosen.items()}
    rows = []
    for m in MEASURED:
        tap = names.get(m.name)
        if (tap, m.weight) not in made.found:
            continue
        why = LOWER if made.chosen[tap].slower < 1 else ""
        label, found = f"{tap}, λ {m.weight:g}", made.found[tap, m.weight]
        rows += m.rows(label, *found, judged=made.golden, why=why)
    return rows


def table3(context: Context) -> Made:
    """Errors by layer and λ."""
    model, made = context.model, study(context)
    chosen, found, taps = made.chosen, made.found, list(made.chosen)
    rows = beside(made)
    names = {layer.name: tap for tap, layer in chosen.items()}
    for name, number in ALIKE.items():
        tap = names.get(name)
        if tap is not None:
            tv = chosen[tap].tv
            said = float(REPORTED[int(tv)].split()[number - 1])
            rows.append(
                Row(
                    f"{tap}, λ {tv:g}: error beside layer {number} of the paper [%]",
                    found[tap, tv][0],
                    Expected(said, "reported"),
                )
            )
    rows += shapes_of(taps, chosen, found)
    if made.same:
        asked = {(names.get(m.name), m.weight) for m in MEASURED}
        lost = float(sum(not same for key, same in made.same.items() if key in asked))
        kept = Expected(2, "measured", kind="at most", network=NETWORK)
        rows.append(
            Row(
                "inversions of another class than the photo",
                lost,
                kept if made.golden else None,
            )
        )
    rows += divergence(context, made)
    lines = [
        Curve(
            f"λ {tv}",
            [i for i, tap in enumerate(taps) if (tap, tv) in found],
            [found[tap, tv][0] for tap in taps if (tap, tv) in found],
        )
        for tv in (1, 10, 100)
    ]
    theirs = [
        Curve(f"λ {tv}", range(1, 21), [float(v) for v in text.split()])
        for tv, text in REPORTED.items()
    ]
    label = "error ‖Φ - Φ₀‖ / ‖Φ₀‖ [%]"
    ticks = layer_ticks(taps)
    return Made(
        {
            "": curves(
                lines,
                x_label="layer",
                y_label=label,
                title=f"Inversion error, {model.record.name}",
                marks=True,
                ticks=ticks,
            ),
            "reported": curves(
                theirs,
                x_label="layer of CNN-A, conv1 … fc8",
                y_label="error [%]",
                title="The paper's Table 3, as reported from memory",
                marks=True,
            ),
        },
        rows,
        {
            "photo": "the measured one" if made.golden else context.photos[0].name,
            "sigma": float(cvpr2015.norms(made.x)[0]),
            "rates": cvpr2015.CNN_RATES,
            "layers": [layer._asdict() for layer in chosen.values()],
        },
        (
            "One photo, where the paper has 100. The measured values are of a golden"
            " retriever of ImageNet, given by --photos and not shown"
            + ("." if made.golden else "; it is not here, so they judge nothing."),
            "λ 1 … 100 where the shape is tested, else only the values that were"
            " measured. The last three layers have a quarter of the paper's rates.",
            "Errors are not squared; PSNR is of pictures cut to the range.",
        ),
        made.curves,
        {"mv2015.table3_layers.csv": as_table(taps, found, made.same)},
    )


def shapes_of(taps, chosen, found) -> list[Row]:
    """Returns what must hold for any network, by the shape of the paper's table."""
    early = taps[:EARLY]
    rises = [
        found[tap, more][0] - found[tap, less][0]
        for tap in early
        for less, more in ((1, 10), (10, 100))
    ]
    own = {tap: found[tap, chosen[tap].tv] for tap in taps}
    rows = [
        Row(
            "early layers: least rise of the error with 10 times λ [%]",
            min(rises),
            Expected(0, "derived", kind="at least"),
        ),
        Row(
            "largest error with each layer's own λ [%]",
            max(error for error, *_ in own.values()),
            Expected(35, "derived", kind="at most"),
        ),
        Row(
            "first layers: least PSNR [dB]",
            min(own[tap][1] for tap in early),
            Expected(16, "derived", kind="at least"),
        ),
    ]
    if "logits" in own:
        others = min(own[tap][0] for tap in taps if tap != "logits")
        rows.append(
            Row(
                "error of the logits less the least of the others [%]",
                own["logits"][0] - others,
                Expected(0, "derived", kind="at most"),
            )
        )
    return rows


def divergence(context: Context, made: Study) -> list[Row]:
    """Returns which of the last layers diverge at the published rate, and the bound."""
    rows = []
    tries = context.pick(50, 6)
    for tap, layer in made.chosen.items():
        if layer.slower == 1.0:
            continue
        tried = solved(
            context.workdir.parent / "mv",
            cvpr2015.invert,
            context.model,
            tap,
            made.goals[tap],
            size=context.size(SIDE),
            sigma=cvpr2015.norms(made.x),
            energy=Energy(tv=layer.tv),
            rates=((RATE, tries), (RATE, 0), (RATE, 0)),
        )
        yes = Expected(1, "measured", network=NETWORK) if made.golden else None
        name = f"{tap}, λ {layer.tv:g}: diverges at η = .004 (1 = yes)"
        why = "" if not tried.alive[0] else f"not within {tries} updates"
        rows.append(Row(name, float(not tried.alive[0]), yes, why))
    return rows


def as_table(taps, found, agree) -> bytes:
    """Returns the table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["layer", "lambda", "error %", "PSNR dB", "same class", "photos"])
    for (tap, tv), (error, ratio) in sorted(
        found.items(), key=lambda item: (taps.index(item[0][0]), item[0][1])
    ):
        same = agree.get((tap, tv), "")
        writer.writerow([tap, f"{tv:g}", f"{error:.2f}", f"{ratio:.2f}", same, 1])
    return text.getvalue().encode()


def fig6(context: Context) -> Made:
    """One photo from every layer."""
    model = context.model
    photo = context.photo(0, context.size(SIDE))
    x = own_units(model, photo[None])
    chosen = layers_of(context, LAYERS)
    goals = cvpr2015.features(model, list(chosen), x)
    panels, rows = [Panel(photo, "photo")], []
    traces = {}
    for tap, layer in chosen.items():
        made = inverted(
            *(context, tap, goals[tap], x),
            tv=[layer.tv],
            updates=240,
            slower=layer.slower,
        )
        image = as_rgb(model, made.images[0, 0])
        error = float(percent(made.errors[0, 0]))
        panels.append(
            Panel(
                stretched(image), f"{tap}\n{error:.1f} %, {psnr(image, photo):.1f} dB"
            )
        )
        rows.append(Row(f"{tap}: error [%]", error))
        rows.append(Row(f"{tap}: PSNR [dB]", psnr(image, photo)))
        traces[tap] = percent(made.curve[:, 0, 0])
    rows.append(
        Row(
            "largest error [%]",
            max(row.obtained for row in rows if row.name.endswith("[%]")),
            Expected(35, "derived", kind="at most"),
            why="240 of the 400 updates; mv2015.table3 has more, and it holds there",
        )
    )
    grid = [panels[i : i + 4] for i in range(0, len(panels), 4)]
    return Made(
        {"": draw(grid, title=f"One photo from every layer, {model.record.name}")},
        rows,
        {"updates": 240, "layers": [layer._asdict() for layer in chosen.values()]},
        ("240 updates, where the paper has 400; 11 layers of GoogLeNet for its 20.",),
        traces,
    )


def spikiness(image: np.ndarray) -> float:
    """Returns the kurtosis of an image's second differences; 3 for Gaussian noise."""
    plane = np.asarray(image, np.float64).mean(axis=-1)
    bend = 4 * plane[1:-1, 1:-1] - plane[:-2, 1:-1] - plane[2:, 1:-1]
    bend = bend - plane[1:-1, :-2] - plane[1:-1, 2:]
    return float(np.mean(bend**4) / np.mean(bend**2) ** 2)


def fig2(context: Context) -> Made:
    """β = 1 beside β = 2 at a normalized layer."""
    model = context.model
    photo = context.photo(0, context.size(SIDE))
    x = own_units(model, photo[None])
    (tap, layer), *_ = layers_of(context, [LAYERS[1]]).items()
    goal = cvpr2015.features(model, [tap], x)[tap]
    betas, weights = np.asarray([1.0, 2.0], np.float32), [100.0, layer.tv]
    made = inverted(
        *(context, tap, np.repeat(goal, 2, 0), np.repeat(x, 2, 0)),
        tv=weights,
        updates=120,
        slower=1.0,
        energy=Energy(tv=np.asarray(weights, np.float32), beta=betas),
    )
    panels, rows, spikes = [Panel(photo, "photo")], [], []
    for i, beta in enumerate(betas):
        image = as_rgb(model, made.images[i, 0])
        spikes.append(spikiness(made.images[i, 0]))
        error = float(percent(made.errors[i, 0]))
        said = (
            f"β = {beta:g}, λ = {weights[i]:g}\n{error:.1f} %, kurtosis {spikes[i]:.1f}"
        )
        panels.append(Panel(stretched(image), said))
        rows.append(Row(f"β {beta:g}: error [%]", error))
        rows.append(Row(f"β {beta:g}: kurtosis of second differences", spikes[i]))
    rows.append(
        Row(
            "spikes: kurtosis at β = 1 over that at β = 2",
            spikes[0] / spikes[1],
            Expected(1, "reported", kind="at least"),
        )
    )
    near = [
        Panel(zoomed(panel.image), panel.caption.split("\n")[0]) for panel in panels
    ]
    title = f"Exponent of the total variation at {tap}, {model.record.name}"
    return Made(
        {"": draw([panels, near], title=title)},
        rows,
        {"layer": tap, "betas": betas.tolist(), "tv": weights, "updates": 120},
        ("Below, the middle quarter. 120 updates, where the paper has 400.",),
        {
            f"error at β {b:g}": percent(made.curve[:, i, 0])
            for i, b in enumerate(betas)
        },
    )


def zoomed(image: np.ndarray) -> np.ndarray:
    """Returns the middle quarter of an image, its pixels twice as large."""
    high, wide = (n // 2 for n in image.shape[:2])
    top, left = high // 2, wide // 2
    part = image[top : top + high, left : left + wide]
    return part.repeat(2, axis=0).repeat(2, axis=1)


def fig7(context: Context) -> Made:
    """Several reconstructions from the deepest layers."""
    model, repeats = context.model, context.pick(6, 2)
    photo = context.photo(0, context.size(SIDE))
    x = own_units(model, photo[None])
    grid, rows, labels = [], [], []
    chosen = layers_of(context, [LAYERS[8], LAYERS[10]])
    goals = cvpr2015.features(model, list(chosen), x)
    for tap, layer in chosen.items():
        made = inverted(
            *(context, tap, goals[tap], x),
            tv=[layer.tv],
            updates=80,
            slower=layer.slower,
            repeats=repeats,
            lanes=1,
        )
        images, errors = as_rgb(model, made.images[0]), percent(made.errors[0])
        grid.append(
            [
                Panel(stretched(i), f"{e:.1f} %")
                for i, e in zip(images, errors, strict=True)
            ]
        )
        labels.append(tap.replace("/", "\n"))
        same = pixel_correlation(images)
        rows.append(Row(f"{tap}: mean error [%]", float(errors.mean())))
        rows.append(
            Row(
                f"{tap}: spread of the errors over their mean",
                float(errors.std() / max(errors.mean(), 1e-9)),
                Expected(0.15, "derived", kind="at most"),
            )
        )
        rows.append(
            Row(
                f"{tap}: pixel correlation of pairs",
                same,
                Expected(0.5, "derived", kind="at most"),
            )
        )
    title = f"Reconstructions from different noise, {model.record.name}"
    return Made(
        {"": draw(grid, title=title, rows=labels)},
        rows,
        {"repeats": repeats, "updates": 80, "start": "all repeats on one sphere"},
        (
            "80 updates, where the paper has 400; two layers for its four.",
            "All repeats together start with the norm of a photo, as in the code.",
        ),
    )


def fig8(context: Context) -> Made:
    """λ at the classifier."""
    model = context.model
    photo = context.photo(0, context.size(SIDE))
    x = own_units(model, photo[None])
    (tap, layer), *_ = layers_of(context, [LAYERS[10]]).items()
    goal = cvpr2015.features(model, [tap], x)[tap]
    weights = [1.0, 10.0, 100.0]
    made = inverted(
        *(context, tap, np.repeat(goal, 3, 0), np.repeat(x, 3, 0)),
        tv=weights,
        updates=80,
        slower=layer.slower,
    )
    panels, rows, fine = [Panel(photo, "photo")], [], []
    for i, tv in enumerate(weights):
        image = as_rgb(model, made.images[i, 0])
        error = float(percent(made.errors[i, 0]))
        fine.append(high_frequency(image))
        said = f"λ = {tv:g}\n{error:.1f} %, fine detail {fine[-1]:.2f}"
        panels.append(Panel(stretched(image), said))
        rows.append(Row(f"λ {tv:g}: error [%]", error))
        rows.append(
            Row(f"λ {tv:g}: share of power above .25 cycles per pixel", fine[-1])
        )
    falls = min(fine[0] - fine[1], fine[1] - fine[2])
    rows.append(
        Row(
            "least fall of fine detail with 10 times λ",
            falls,
            Expected(0, "derived", kind="at least"),
        )
    )
    title = f"Total variation at {tap}, {model.record.name}"
    return Made(
        {"": draw([panels], title=title)},
        rows,
        {"layer": tap, "tv": weights, "updates": 80, "rate": RATE * layer.slower},
        ("80 updates, where the paper has 400.",),
        {
            f"error at λ {tv:g}": percent(made.curve[:, i, 0])
            for i, tv in enumerate(weights)
        },
    )


def fig9(context: Context) -> Made:
    """What 5 × 5 positions in the middle of a layer see."""
    model, size = context.model, context.size(SIDE)
    photo = context.photo(0, size)
    x = own_units(model, photo[None])
    chosen = layers_of(context, [LAYERS[i] for i in (1, 2, 4, 5, 6)])
    goals = cvpr2015.features(model, list(chosen), x)
    reaches = measure_reach(model, list(chosen))
    updates = context.pick(90, 6)
    rates = tuple(
        (rate * layer_rate, updates // 3)
        for rate, layer_rate in zip((0.1, 0.01, 0.001), (RATE,) * 3, strict=True)
    )
    panels, rows, fields = [Panel(photo, "photo")], [], {}
    for tap, layer in chosen.items():
        shape = goals[tap].shape[1:]
        made = inverted(
            *(context, tap, goals[tap], x),
            tv=[layer.tv],
            updates=updates,
            slower=1.0,
            rates=rates,
            masks=masks.neighborhood(shape, 5)[None],
            start=QUIET,
        )
        reach = reaches[tap]
        box = (0, 0, *size)
        if reach is not None:
            sides = [
                masks.field(reach, masks.centered(n, 5), m)
                for n, m in zip(shape[:2], size, strict=True)
            ]
            box = (sides[0][0], sides[1][0], sides[0][1], sides[1][1])
        fields[tap] = box
        error = float(percent(made.errors[0, 0]))
        inside = share_inside(made.images[0, 0], box)
        image = boxed(as_rgb(model, made.images[0, 0]), [box])
        panels.append(Panel(image, f"{tap}\n{error:.1f} %, {box[2] - box[0]} px"))
        rows.append(Row(f"{tap}: error of the 5 × 5 positions [%]", error))
        rows.append(
            Row(
                f"{tap}: share of the picture's energy in the field",
                inside,
                Expected(0.9, "derived", kind="at least"),
            )
        )
    grid = [panels[i : i + 3] for i in range(0, len(panels), 3)]
    title = f"What 5 × 5 positions see, {model.record.name}"
    return Made(
        {"": draw(grid, title=title)},
        rows,
        {"updates": updates, "rates": rates, "start": QUIET, "fields": fields},
        (
            "The box is the receptive field, measured on the network.",
            f"The start has {QUIET:g} of a photo's norm: outside the field nothing but"
            " the penalties acts, and at these rates noise would stay there.",
            f"{updates} updates, where the paper has 600: the features of conv2 and 3b"
            " are still far from theirs, and their pictures rough.",
        ),
    )


def share_inside(x: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """Returns the part of Σ x² that is inside a box (top, left, bottom, right)."""
    squares = np.square(np.asarray(x, np.float64))
    top, left, bottom, right = box
    return float(squares[top:bottom, left:right].sum() / max(squares.sum(), 1e-30))


def fig10(context: Context) -> Made:
    """Either half of the channels of three layers."""
    model = context.model
    photo = context.photo(0, context.size(SIDE))
    x = own_units(model, photo[None])
    chosen = layers_of(context, [LAYERS[0], LAYERS[2], LAYERS[5]])
    goals = cvpr2015.features(model, list(chosen), x)
    grid, rows, labels = [[], []], [], []
    for tap, layer in chosen.items():
        shape = goals[tap].shape[1:]
        halves = np.stack([masks.filter_group(shape, group) for group in (0, 1)])
        made = inverted(
            *(context, tap, np.repeat(goals[tap], 2, 0), np.repeat(x, 2, 0)),
            tv=[layer.tv] * 2,
            updates=80,
            slower=1.0,
            masks=halves,
        )
        labels.append(tap)
        for group in (0, 1):
            image = as_rgb(model, made.images[group, 0])
            error, color = float(percent(made.errors[group, 0])), colorfulness(image)
            grid[group].append(
                Panel(stretched(image), f"{error:.1f} %, color {color:.0f}")
            )
            rows.append(Row(f"{tap}, half {group + 1}: error [%]", error))
            rows.append(Row(f"{tap}, half {group + 1}: colorfulness", color))
    title = f"Halves of the channels, {model.record.name}"
    halves = ("first half", "second half")
    return Made(
        {"": draw(grid, title=title, rows=halves, columns=labels)},
        rows,
        {"layers": labels, "updates": 80},
        (
            "The paper's network has two streams, of which one sees color and the other"
            " edges; GoogLeNet has none, so the halves of its channels differ less.",
            "80 updates, where the paper has 400.",
        ),
    )


def fig11(context: Context) -> Made:
    """Several photos from one deep layer."""
    model, size = context.model, context.size(SIDE)
    count = context.pick(min(5, len(context.photos)), 2)
    photos = np.stack([context.photo(i, size) for i in range(count)])
    x = own_units(model, photos)
    (tap, layer), *_ = layers_of(context, [LAYERS[7]]).items()
    made = inverted(
        *(context, tap, cvpr2015.features(model, [tap], x)[tap], x),
        tv=[layer.tv] * count,
        updates=80,
        slower=layer.slower,
    )
    images, errors = as_rgb(model, made.images[:, 0]), percent(made.errors[:, 0])
    panels = []
    for image, found, error in zip(photos, images, errors, strict=True):
        panels += [Panel(image, "photo"), Panel(stretched(found), f"{error:.1f} %")]
    rows = [
        Row(f"{path.stem}: error [%]", float(error))
        for path, error in zip(context.photos, errors, strict=False)
    ]
    title = f"Photos from {tap}, {model.record.name}"
    return Made(
        {"": draw([panels], title=title)},
        rows,
        {"layer": tap, "updates": 80, "tv": layer.tv},
        ("Two photos where the paper has five; more with --photos. 80 updates.",),
    )


FIGURES = (
    Figure("mv2015.fig2", PAPER, "total variation with β = 1 and 2", fig2, NETWORK),
    Figure("mv2015.fig6", PAPER, "a photo inverted from every layer", fig6, NETWORK),
    Figure("mv2015.fig7", PAPER, "inversions from different noise", fig7, NETWORK),
    Figure("mv2015.fig8", PAPER, "the weight λ at the classifier", fig8, NETWORK),
    Figure("mv2015.fig9", PAPER, "what 5 × 5 positions see", fig9, NETWORK),
    Figure("mv2015.fig10", PAPER, "halves of the channels", fig10, NETWORK),
    Figure("mv2015.fig11", PAPER, "several photos from one layer", fig11, NETWORK),
    Figure("mv2015.table3", PAPER, "errors by layer and λ", table3, NETWORK),
)
