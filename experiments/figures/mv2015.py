"""Mahendran & Vedaldi 2015: understanding deep image representations by inverting them.

Their network (AlexNet) stands for GoogLeNet here. What is remembered between figures is
in WORKDIR/mv.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.layers import main_layers
from dreamjax.figures.panels import Panel, draw
from dreamjax.figures.record import Expected, Row
from dreamjax.images import load_image
from dreamjax.inversion import cvpr2015
from dreamjax.inversion.compare import (
    as_rgb,
    own_units,
    psnr,
    solved,
    top_classes,
)
from dreamjax.inversion.cvpr2015 import Energy
from dreamjax.models.model import tap_shapes
from dreamjax.report.plots import Curve, curves

PAPER = "Mahendran & Vedaldi 2015, Understanding deep image representations"
NETWORK = "googlenet.bvlc-noaux"
SIDE = 224
RATE = 0.004


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
EARLY = 3
"""Layers, from the first, where accuracy is lost fast with λ."""


class Measured(NamedTuple):
    """A value of an independent run of the recipe: % error, dB, and its η over .004."""

    name: str
    tv: float
    error: float
    psnr: float | None = None


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


def phases(updates: int, slower: float = 1.0) -> cvpr2015.Rates:
    """Returns the paper's three rates; half of the updates at the first."""
    first, second = updates // 2, (2 * updates) // 5
    lengths = (first, second, updates - first - second)
    return tuple(
        (RATE * slower * part, n)
        for part, n in zip((1, 0.1, 0.01), lengths, strict=True)
    )


def layers_of(context: Context, wanted: Sequence[Layer]) -> dict[str, Layer]:
    """Returns tap -> layer of the paper, each tap once."""
    size = context.size(SIDE)
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
        rates=phases(context.pick(updates, 6), slower),
        **{"energy": Energy(tv=np.asarray(tv, np.float32))} | keys,
    )


def percent(errors: Any) -> Any:
    """Returns 100 ‖Φ - Φ₀‖ / ‖Φ₀‖ of squared errors."""
    return 100 * np.sqrt(errors)


def table3(context: Context) -> Made:
    """Errors by layer and λ."""
    model, size = context.model, context.size(SIDE)
    photo, golden = photo_of(context)
    x = own_units(model, photo[None])
    chosen = layers_of(context, LAYERS)
    taps = list(chosen)
    goals = cvpr2015.features(model, taps, x)
    found: dict[tuple[str, float], tuple[float, float, bool, bool]] = {}
    rows, ends, traces = [], [], {}
    updates = {tap: 400 if i < EARLY else 200 for i, tap in enumerate(taps)}
    for number, tap in enumerate(taps):
        layer = chosen[tap]
        wanted = [m.tv for m in MEASURED if m.name == layer.name]
        weights = sorted({1, 10, 100} if number < EARLY else {*wanted, layer.tv})
        runs = len(weights)
        made = inverted(
            *(context, tap, np.repeat(goals[tap], runs, 0), np.repeat(x, runs, 0)),
            tv=weights,
            updates=updates[tap],
            slower=layer.slower,
        )
        for run, tv in enumerate(weights):
            image = as_rgb(model, made.images[run, 0])
            error = float(percent(made.errors[run, 0]))
            found[tap, tv] = (error, psnr(image, photo), bool(made.alive[run]))
            ends.append((tap, tv, made.images[run, 0]))
            traces[f"{tap} {tv:g}"] = percent(made.curve[:, run, 0])
        context.report(f"  {tap}: {[round(found[tap, tv][0], 1) for tv in weights]} %")
    own = top_classes(model, x)
    agree = {}
    if own is not None:
        classes = top_classes(model, np.stack([end[2] for end in ends]))
        agree = {
            end[:2]: bool(c == own[0]) for end, c in zip(ends, classes, strict=True)
        }
    names = {layer.name: tap for tap, layer in chosen.items()}
    for m in MEASURED:
        tap = names.get(m.name)
        if (tap, m.tv) not in found:
            continue
        error, ratio, _ = found[tap, m.tv]
        near = Expected(m.error, "measured", relative=0.1, network=NETWORK)
        name = f"{tap}, λ {m.tv:g}: error [%]"
        rows.append(Row(name, error, near if golden else None))
        if m.psnr is not None:
            near = Expected(m.psnr, "measured", absolute=1.0, network=NETWORK)
            name = f"{tap}, λ {m.tv:g}: PSNR [dB]"
            rows.append(Row(name, ratio, near if golden else None))
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
    rows += shapes_of(taps, chosen, found, context.quicktest)
    if agree:
        lost = float(sum(not same for same in agree.values()))
        kept = Expected(2, "measured", kind="at most", network=NETWORK)
        rows.append(
            Row(
                "inversions of another class than the photo",
                lost,
                kept if golden else None,
            )
        )
    rows += divergence(context, chosen, goals, x, golden)
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
    ticks = {
        i: tap.split("/")[0].removeprefix("inception_") for i, tap in enumerate(taps)
    }
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
            "photo": "the measured one" if golden else context.photos[0].name,
            "sigma": float(cvpr2015.norms(x)[0]),
            "updates": updates,
            "rates": phases(400),
            "layers": [layer._asdict() for layer in chosen.values()],
            "size": size,
        },
        (
            "One photo, where the paper has 100. The measured values are of a golden"
            " retriever of ImageNet, given by --photos and not shown"
            + ("." if golden else "; it is not here, so they judge nothing."),
            "400 updates up to conv2, 200 beyond. λ 1 … 100 where the shape is tested,"
            " else only the values that were measured.",
            "Errors are not squared; PSNR is of pictures cut to the range.",
        ),
        traces,
        {"mv2015.table3_layers.csv": as_table(taps, found, agree)},
    )


def shapes_of(taps, chosen, found, quick) -> list[Row]:
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


def divergence(context, chosen, goals, x, golden) -> list[Row]:
    """Returns which of the last layers diverge at the published rate, and the bound."""
    rows = []
    tries = context.pick(60, 6)
    for tap, layer in chosen.items():
        if layer.slower == 1.0:
            continue
        made = solved(
            context.workdir.parent / "mv",
            cvpr2015.invert,
            context.model,
            tap,
            goals[tap],
            size=context.size(SIDE),
            sigma=cvpr2015.norms(x),
            energy=Energy(tv=layer.tv),
            rates=((RATE, tries), (RATE, 0), (RATE, 0)),
        )
        yes = Expected(1, "measured", network=NETWORK) if golden else None
        name = f"{tap}, λ {layer.tv:g}: diverges at η = .004 (1 = yes)"
        rows.append(Row(name, float(not made.alive[0]), yes))
    return rows


def as_table(taps, found, agree) -> bytes:
    """Returns the table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["layer", "lambda", "error %", "PSNR dB", "same class", "photos"])
    for (tap, tv), (error, ratio, _) in sorted(
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
            updates=120,
            slower=layer.slower,
        )
        image = as_rgb(model, made.images[0, 0])
        error = float(percent(made.errors[0, 0]))
        panels.append(
            Panel(image, f"{tap}\n{error:.1f} %, {psnr(image, photo):.1f} dB")
        )
        rows.append(Row(f"{tap}: error [%]", error))
        rows.append(Row(f"{tap}: PSNR [dB]", psnr(image, photo)))
        traces[tap] = percent(made.curve[:, 0, 0])
    rows.append(
        Row(
            "largest error [%]",
            max(row.obtained for row in rows if row.name.endswith("[%]")),
            Expected(35, "derived", kind="at most"),
        )
    )
    grid = [panels[i : i + 4] for i in range(0, len(panels), 4)]
    return Made(
        {"": draw(grid, title=f"One photo from every layer, {model.record.name}")},
        rows,
        {"updates": 120, "layers": [layer._asdict() for layer in chosen.values()]},
        ("120 updates, where the paper has 400; 11 layers of GoogLeNet for its 20.",),
        traces,
    )


FIGURES = (
    Figure("mv2015.fig6", PAPER, "a photo inverted from every layer", fig6, NETWORK),
    Figure("mv2015.table3", PAPER, "errors by layer and λ", table3, NETWORK),
)
