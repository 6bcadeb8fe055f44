"""Mahendran & Vedaldi 2015: shallow representations, inverted.

HOG, HOGb and dense SIFT are networks of their own here (`dreamjax.models.hog`); the one
that a figure is given takes no part. What is remembered is in WORKDIR/mv.
"""

from collections.abc import Sequence

import numpy as np

from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.panels import Panel, draw, stretched
from dreamjax.figures.record import Expected, Row
from dreamjax.inversion import cvpr2015
from dreamjax.inversion.compare import own_units, solved
from dreamjax.inversion.cvpr2015 import Energy, Inversion
from dreamjax.inversion.energy import variation
from dreamjax.inversion.normalized import normalized
from dreamjax.models.hog import LUMA, dsift, hog, hogb
from dreamjax.report.plots import bars

PAPER = "Mahendran & Vedaldi 2015, Understanding deep image representations"
SIDE = 224
PHOTOS = 12  # of table 1, at most
TABLE_SIDE = 160
LAMBDAS = (1.0, 10.0, 100.0)
NETWORKS = {"HOG": (hog, "hog"), "HOGb": (hogb, "hog"), "DSIFT": (dsift, "dsift")}
REPORTED = {"HOG": (28.10, 7.9), "HOGb": (10.67, 5.2), "DSIFT": (10.89, 7.5)}
HOGGLE = "HOGgle, a learned dictionary: 66.20 ± 13.7 % reported; it is not made here."


def grays(context: Context, count: int, side: int) -> np.ndarray:
    """Returns photos as gray pictures [N, H, W, 1] in [0, 1]."""
    size = context.size(side)
    photos = np.stack([context.photo(i, size) for i in range(count)])
    return (photos * np.asarray(LUMA, np.float32)).sum(axis=-1, keepdims=True)


def inverted(
    context: Context, name: str, pictures: np.ndarray, tv: Sequence[float]
) -> tuple[Inversion, np.ndarray, str]:
    """Inverts one representation of pictures [R, H, W, 1], λ_TV of each given.

    Returns:
      (the inversion, features wanted [R, ...], name of the record).
    """
    build, tap = NETWORKS[name]
    model = build(channels=1)
    x = own_units(model, pictures)
    goals = cvpr2015.features(model, [tap], x)[tap]
    rates = context.pick(cvpr2015.SHALLOW_RATES, ((0.004, 2), (0.0004, 2)))
    found = solved(
        context.workdir.parent / "mv",
        cvpr2015.invert,
        model,
        tap,
        goals,
        size=pictures.shape[1:3],
        sigma=cvpr2015.norms(x),
        energy=Energy(tv=np.asarray(tv, np.float32)),
        rates=rates,
        seeds=context.seed,
    )
    return found, goals, model.record.name


def percent(errors: np.ndarray) -> np.ndarray:
    """Returns 100 ‖Φ - Φ₀‖ / ‖Φ₀‖ of squared errors."""
    return 100 * np.sqrt(errors)


def shown(picture: np.ndarray) -> np.ndarray:
    """Returns a picture [H, W, 1] as [H, W], stretched: HOG knows no contrast."""
    return stretched(picture[..., 0])


def settings(context: Context, side: int) -> dict:
    """Returns what the figures have in common."""
    rates = context.pick(cvpr2015.SHALLOW_RATES, ((0.004, 2), (0.0004, 2)))
    return {"size": context.size(side), "rates": rates, **Energy()._asdict()}


def fig4(context: Context) -> Made:
    """HOG inverted under three strengths of the total variation."""
    photo = grays(context, 1, SIDE)
    found, _, record = inverted(context, "HOG", np.repeat(photo, 3, axis=0), LAMBDAS)
    errors = percent(found.errors[:, 0])
    panels = [Panel(photo[0, ..., 0], "photo")] + [
        Panel(shown(image[0]), f"λ = {tv:g}: {error:.1f} %")
        for image, tv, error in zip(found.images, LAMBDAS, errors, strict=True)
    ]
    rough = np.asarray(variation(found.images[:, 0], 2.0))
    rows = [
        Row(f"λ {tv:g}: error [%]", float(error))
        for tv, error in zip(LAMBDAS, errors, strict=True)
    ]
    # Of minimizers of f + λ g, f does not fall with λ and g does not rise.
    rows += [
        Row(
            "least rise of the error with 10 times λ [%]",
            float(np.diff(errors).min()),
            Expected(0, "derived", kind="at least"),
        ),
        Row(
            "largest total variation after 10 times λ, over before",
            float((rough[1:] / rough[:-1]).max()),
            Expected(1, "derived", kind="at most"),
        ),
    ]
    title = f"Strength of the total variation, {record}"
    curve = percent(found.curve[..., 0])  # [updates + 1, R]
    return Made(
        {"": draw([panels], title=title, side=2.4)},
        rows,
        settings(context, SIDE) | {"tv": LAMBDAS},
        ("The paper's own picture is not at hand: a photo stands for it.",),
        {f"λ {tv:g}": curve[:, i] for i, tv in enumerate(LAMBDAS)},
        network=record,
    )


def shallow(context: Context) -> Made:
    """Two photos from each representation."""
    photos = grays(context, 2, SIDE)
    panels = [[Panel(photo[..., 0])] for photo in photos]
    rows, curves, records = [], {}, []
    names = context.pick(tuple(NETWORKS), ("HOGb",))
    for name in names:
        found, _, record = inverted(context, name, photos, (1.0, 1.0))
        records.append(record)
        errors = percent(found.errors[:, 0])
        for number, (line, error) in enumerate(zip(panels, errors, strict=True)):
            line.append(Panel(shown(found.images[number, 0]), f"{error:.1f} %"))
            rows.append(Row(f"{name}, photo {number + 1}: error [%]", float(error)))
            curves[f"{name} {number + 1}"] = percent(found.curve[:, number, 0])
    title = "Shallow representations inverted: ‖Φ - Φ₀‖ / ‖Φ₀‖"
    return Made(
        {"": draw(panels, title=title, columns=("photo", *names), side=2.4)},
        rows,
        settings(context, SIDE),
        (HOGGLE,),
        curves,
        network=", ".join(records),
    )


def table1(context: Context) -> Made:
    """Errors of each representation over photos, by both readings of the measure."""
    count = min(len(context.photos), context.pick(PHOTOS, 2))
    photos = grays(context, count, TABLE_SIDE)
    rows, records, means = [], [], {}
    for name in context.pick(tuple(NETWORKS), ("DSIFT",)):
        found, goals, record = inverted(context, name, photos, (1.0,) * count)
        records.append(record)
        build, tap = NETWORKS[name]
        seen = cvpr2015.features(build(channels=1), [tap], found.images[:, 0])[tap]
        errors = normalized(seen, goals)
        said, spread = REPORTED[name]
        for label, values in (
            ("‖Φ-Φ₀‖² over the mean squared distance of photos", errors.squared),
            ("‖Φ-Φ₀‖ over the mean distance of photos", errors.plain),
        ):
            mean, deviation = 100 * values.mean(), 100 * values.std()
            rows += [
                Row(f"{name}: {label} [%]", mean, Expected(said, "reported")),
                Row(f"{name}: its deviation, {label} [%]", deviation),
            ]
        own = percent(found.errors[:, 0])
        rows.append(Row(f"{name}: ‖Φ-Φ₀‖ / ‖Φ₀‖ [%]", float(own.mean())))
        means[name] = {
            "squared": (100 * errors.squared.mean(), 100 * errors.squared.std()),
            "not squared": (100 * errors.plain.mean(), 100 * errors.plain.std()),
            "reported": (said, spread),
        }
    apart = {
        reading: max(
            abs(found[reading][0] - found["reported"][0]) / found["reported"][1]
            for found in means.values()
        )
        for reading in ("squared", "not squared")
    }
    nearer = min(apart, key=apart.get)
    return Made(
        {
            "": bars(
                means,
                y_label="error in units of photos' distances [%]",
                title=f"Errors of {count} photos, mean and deviation",
            )
        },
        rows,
        settings(context, TABLE_SIDE)
        | {"photos": [p.name for p in context.photos[:count]]},
        (
            f"{count} photos of {photos.shape[1]} px, where the paper has 100, larger.",
            f"The reading that is {nearer} is nearer to the reported values: at most"
            f" {apart[nearer]:.1f} of their deviations away.",
            HOGGLE,
        ),
        network=", ".join(records),
    )


FIGURES = (
    Figure("mv2015.fig4", PAPER, "HOG inverted, strength of the variation", fig4),
    Figure("mv2015.shallow", PAPER, "HOG, HOGb and DSIFT inverted", shallow),
    Figure("mv2015.table1", PAPER, "errors of HOG, HOGb and DSIFT", table1),
)
