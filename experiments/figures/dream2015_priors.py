"""Inceptionism 2015, what holds a dream together: class pictures, spectra, a cat.

Class pictures are drawn by Øygard's recipe of the same year (deepdraw), since the blog
post does not give its own.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dreamjax.ascent import ascend
from dreamjax.deepdream.classes import DEEPDRAW, draw_classes
from dreamjax.deepdream.likeness import change
from dreamjax.dream import Pieces
from dreamjax.errors import require
from dreamjax.figures.dreams import dream_size, dream_traces
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.kept import kept
from dreamjax.figures.panels import Panel, draw, stretched
from dreamjax.figures.record import Expected, Row
from dreamjax.figures.spectra import spectra
from dreamjax.gradients import normalize_laplacian, normalize_mean_abs
from dreamjax.hparams import Hparam
from dreamjax.images import load_image
from dreamjax.labels import class_index
from dreamjax.measures.spectrum import high_frequency
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model, tap_shapes
from dreamjax.objectives import constant, log_probability, logit
from dreamjax.params.image import image_param
from dreamjax.params.raw import raw_param
from dreamjax.projections import blur, clip
from dreamjax.report.plots import Curve, curves
from dreamjax.transforms import roll
from dreamjax.types import HParams
from experiments.figures.dream2015 import (
    NETWORK,
    PAPER,
    measured,
    photo_at,
    recipe,
    title,
)

CLASSES = (
    "hartebeest",
    "measuring cup",
    "ant",
    "starfish",
    "anemone fish",
    "banana",
    "parachute",
    "screw",
)
CLASS_SIDE = 128  # pixels of the canvas at first; then 154
CLASS_STEPS = (64, 40)  # of the first two stages
VARIANTS = {  # name -> jitter, blur width in pixels, Laplacian normalization
    "no prior": (0, 0.0, 0.0),
    "jitter 16": (16, 0.0, 0.0),
    "blur 1 px": (0, 1.0, 0.0),
    "jitter, blur": (16, 1.0, 0.0),
    "Laplacian, jitter": (16, 0.0, 1.0),
}
OCTAVES = "octaves, jitter"
CAT = "tabby"
PASSES, STEPS = 5, 10


def class_of(context: Context, name: str, number: int) -> tuple[int, str]:
    """Returns a class and its name; the number-th where the network has no such label.

    Raises:
      ValueError: a network without a classifier.
    """
    shapes = tap_shapes(context.model, context.size(224))
    require("logits" in shapes, "model", context.model.record.name, "a classifier")
    labels, count = context.model.record.labels, shapes["logits"][-1]
    if name in labels:
        return class_index(name, labels), name
    index = number % count
    return index, labels[index] if labels else f"class {index}"


def judged(model: Model, images: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Returns (logit, probability, first or not) of each image's class, [3, N]."""

    def logits_of(variables, images):
        return model.taps(variables, images, PLAIN)["logits"]

    logits = np.asarray(jax.jit(logits_of)(model.variables, jnp.asarray(images)))
    places = np.arange(len(classes)), np.asarray(classes)
    chance = np.asarray(jax.nn.softmax(logits, axis=-1))[places]
    return np.stack([logits[places], chance, logits.argmax(1) == classes])


def classes(context: Context) -> Made:
    """Eight classes from noise, with and without a prior."""
    found = [class_of(context, name, i) for i, name in enumerate(CLASSES)]
    found = found[: context.pick(len(found), 2)]
    indexes, names = (list(part) for part in zip(*found, strict=True))
    side = context.size(CLASS_SIDE)[0]
    steps = context.pick(CLASS_STEPS, (1, 1))
    stages = [s._replace(steps=n) for s, n in zip(DEEPDRAW[:2], steps, strict=True)]
    settings = {
        "classes": names,
        "stages": [stage._asdict() for stage in stages],
        "side": side,
        "start": "N(200, 8) of 255",
        "network": context.model.record.name,
        "seed": context.seed,
    }

    def make():
        count = len(indexes)
        random = np.random.default_rng(context.seed)
        noise = np.clip(random.normal(200, 8, (1, side, side, 3)) / 255, 0, 1)
        options = {"view": side, "seed": context.seed}
        target = logit(Hparam("class"))
        (both,) = draw_classes(
            context.model,
            target,
            np.repeat(noise, 2 * count, axis=0),
            {"class": np.array(indexes * 2)},
            stages[:1],
            blur=[False] * count + [True] * count,
            **options,
        )
        (last,) = draw_classes(
            context.model,
            target,
            both.images[count:, 0],
            {"class": np.array(indexes)},
            stages[1:],
            blur=[True] * count,
            **options,
        )
        return {"no prior": both.images[:count, 0], "prior": last.images[:, 0]}

    pictures = kept(context.workdir / "classes.npz", settings, make)
    panels, rows, shares = [], [], {}
    for word, images in pictures.items():
        scores = judged(context.model, images, indexes)
        shares[word] = np.mean([high_frequency(image) for image in images])
        captions = [f"logit {a:.0f}, p {p:.2f}" for a, p in scores[:2].T]
        panels.append(list(map(Panel, images, captions)))
        rows += [
            Row(f"{word}: mean logit", float(scores[0].mean())),
            Row(f"{word}: mean probability", float(scores[1].mean())),
            Row(f"{word}: recognized, of {len(names)}", float(scores[2].sum())),
            Row(f"{word}: power above .25 cycles/pixel", float(shares[word])),
        ]
    ratio = float(shares["prior"] / shares["no prior"])
    below = Expected(1.0, "derived", kind="at most")
    rows.append(Row("power above .25 cycles/pixel, prior / no prior", ratio, below))
    drawing = draw(
        panels,
        title=title(context, "class logits from noise"),
        rows=list(pictures),
        columns=names,
        side=1.4,
    )
    note = (
        f"{steps[0]} and {steps[1]} steps on canvases of {side} and"
        f" {round(1.2 * side)} pixels, by the class logit; deepdraw has 190, 150, 150"
        " and 10 from 224 to 322 pixels and ends with the auxiliary classifiers, whose"
        " weights this file lacks. Without a prior: the first stage's steps, no blur."
    )
    return Made({"": drawing}, rows, settings, (note,))


def mixed_optimizer(rate: float, levels: int):
    """Returns hp -> g / mean|g|, or with hp["laplacian"] every octave alike."""

    def make(hp: HParams) -> optax.GradientTransformation:
        plain, even = normalize_mean_abs(), normalize_laplacian(levels)

        def update(updates, state, params=None):
            one, _ = plain.update(updates, plain.init(updates))
            other, _ = even.update(updates, even.init(updates))
            part = hp["laplacian"]
            mixed = jax.tree.map(lambda a, b: (1 - part) * a + part * b, one, other)
            return jax.tree.map(lambda leaf: -rate * leaf, mixed), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    return make


def from_noise(context: Context, index: int, side: int, steps: int) -> np.ndarray:
    """Returns a class from noise under each of `VARIANTS`, [N, S, S, 3]."""
    jitters, widths, laplacian = np.array(list(VARIANTS.values()), np.float32).T
    pieces = Pieces(
        taps=context.model.taps,
        param=image_param("pixel", size=(side, side), color="rgb", range_="clip"),
        transform=roll(Hparam("jitter")),
        objective=logit(Hparam("class")),
        penalties={},
        projections=(clip, blur),
        optimizer=mixed_optimizer(1.5 / 255, context.pick(4, 1)),
        redirect=False,
    )
    ones = np.ones(len(VARIANTS), np.float32)
    hp = {"jitter": jitters, "blur_width": widths, "laplacian": laplacian}
    hp |= {"class": np.full(len(VARIANTS), index), "blur_every": ones}
    hp |= {"clip_low": 0 * ones, "clip_high": ones, "init_std": ones * 10 / 255}
    ascent = ascend(
        pieces, context.model.variables, hp, steps=steps, seeds=context.seed
    )
    return ascent.images[:, 0]


def spectrum(context: Context) -> Made:
    """One class from noise under five priors and none, and what each does to |f|."""
    index, name = class_of(context, "flamingo", 0)
    side, steps = context.size(128)[0], context.pick(80, 2)
    noise = np.random.default_rng(context.seed).normal(0.5, 10 / 255, (side, side, 3))
    noise = np.clip(noise, 0, 1).astype(np.float32)
    config = recipe(f"logit({index})", steps=steps // 4, transforms="roll(16)")
    settings = {
        "class": name,
        "side": side,
        "steps": steps,
        "step": "1.5 of 255 on g / mean|g|",
        "variants": VARIANTS,
        "octaves": f"4 octaves × 1.4, {steps // 4} steps each, jitter 16",
        "network": context.model.record.name,
        "seed": context.seed,
    }
    drawn = kept(
        context.workdir / "spectrum.npz",
        settings,
        lambda: {"images": from_noise(context, index, side, steps)},
    )
    images = dict(zip(VARIANTS, drawn["images"], strict=True))
    if not context.quicktest:
        images[OCTAVES] = dream_traces(context, "octaves", config, noise)[0].image
    stack = np.stack(list(images.values()))
    scores = judged(context.model, stack, [index] * len(stack))
    shares = {word: high_frequency(image) for word, image in images.items()}
    captions = [
        f"{word}\nlogit {score:.0f}, > .25 c/px {share:.2f}"
        for (word, share), score in zip(shares.items(), scores[0], strict=True)
    ]
    panels = list(map(Panel, map(stretched, images.values()), captions))
    white = 1 - np.pi / 16
    rows = [
        Row(
            "noise at the start: power above .25 cycles/pixel",
            high_frequency(noise),
            Expected(white, "derived", absolute=0.02),
        ),
        Row(
            "no prior: power above .25 cycles/pixel",
            shares["no prior"],
            Expected(0.803, "measured", absolute=0.1, network=NETWORK),
        ),
        Row(
            "jitter, blur: power above .25 cycles/pixel",
            shares["jitter, blur"],
            Expected(0.052, "measured", absolute=0.05, network=NETWORK),
        ),
    ]
    bound = Expected(shares["no prior"], "derived", kind="at most")
    for word, share in list(shares.items())[1:]:
        if word != "jitter, blur":
            falls = word in ("blur 1 px", OCTAVES)  # jitter alone need not
            name = f"{word}: power above .25 cycles/pixel"
            rows.append(Row(name, share, bound if falls else None))
    rows += [
        Row(f"{word}: probability", float(chance))
        for word, chance in zip(images, scores[1], strict=True)
    ]
    drawings = {
        "": draw(
            [panels[:3], panels[3:]],
            title=title(context, f"{name} from noise"),
            side=2.2,
        ),
        "radial": spectra(images | {"a photo": photo_at(context, (side, side))}),
    }
    note = (
        "Pictures are shown with their contrast stretched. The reference numbers are of"
        " Yosinski's steps on a raw gradient without a prior, and of his third set."
    )
    return Made(drawings, rows, settings, (note,))


def catlike(context: Context) -> Made:
    """Ever more like a cat: by the log-probability, and by the logit."""
    index, name = class_of(context, CAT, 0)
    size = dream_size(context, 224, 224)
    shown = context.find("city.jpg")
    shown = context.photo(1, size) if shown is None else load_image(shown, size)
    dog = context.find("imagenet/207_golden_retriever.jpg")
    photos = [shown] if dog is None else [shown, load_image(dog, size)]
    passes, steps = context.pick((PASSES, STEPS), (2, 1))
    settings = {
        "class": name,
        "passes": passes,
        "steps": steps,
        "step": "1.5 of 255 on g / mean|g|",
        "jitter": 16,
        "size": size,
        "network": context.model.record.name,
        "seed": context.seed,
        "photos": len(photos),
    }

    def make():
        part = constant(Hparam("logit"))
        pieces = Pieces(
            taps=context.model.taps,
            param=raw_param(lambda key, hp: hp["start"]),
            transform=roll(16),
            objective=part * logit(index) + (1.0 - part) * log_probability(index),
            penalties={},
            projections=(clip,),
            optimizer=lambda hp: optax.chain(
                normalize_mean_abs(), optax.scale(-1.5 / 255)
            ),
            redirect=False,
        )
        runs = 2 * len(photos)
        hp = {
            "start": np.stack([photo[None] for photo in photos for _ in range(2)]),
            "logit": np.array([0.0, 1.0] * len(photos), np.float32),
            "clip_low": np.zeros(runs, np.float32),
            "clip_high": np.ones(runs, np.float32),
        }
        ascent = ascend(
            pieces,
            context.model.variables,
            hp,
            steps=passes * steps,
            seeds=context.seed,
            snapshots=range(0, passes * steps + 1, steps),
        )
        return {"images": np.stack([v[:, 0] for v in ascent.snapshots.values()])}

    images = kept(context.workdir / "catlike.npz", settings, make)["images"]
    scores = np.stack([judged(context.model, i, [index] * len(i)) for i in images])
    return cat_figure(context, name, images, scores, settings)


def cat_figure(
    context: Context,
    name: str,
    images: np.ndarray,
    scores: np.ndarray,
    settings: dict,
) -> Made:
    """Returns the figure of `catlike`.

    Args:
      images: [passes + 1, R, H, W, 3]; runs are photos × (log-probability, logit), and
        the first photo is shown.
      scores: [passes + 1, 3, R], from `judged`.
    """
    words = (f"log p({name})", f"logit of {name}")
    panels = [
        [
            Panel(
                images[i, run],
                f"logit {scores[i, 0, run]:.0f}, p {scores[i, 1, run]:.3f}",
            )
            for i in range(len(images))
        ]
        for run in range(2)
    ]
    passes = np.arange(len(images))
    who = ("shown photo", "golden retriever")[: images.shape[1] // 2]
    rows, chances, logits = [], [], []
    for run in range(images.shape[1]):
        label = f"{words[run % 2]}, {who[run // 2]}"
        chances.append(Curve(label, passes, scores[:, 1, run]))
        logits.append(Curve(label, passes, scores[:, 0, run]))
        moved = change(images[0, run], images[-1, run])
        rows.append(Row(f"{label}: change after {passes[-1]} passes, of 255", moved))
    for run in range(images.shape[1]):
        label, dog = f"{words[run % 2]}, {who[run // 2]}", run >= 2
        chance = scores[:, 1, run]
        if run % 2 == 0:
            wants = {0: 0.0, 1: 0.917, 2: 0.998} if dog else {}
            for i in passes:
                want = wants.get(int(i))
                rows.append(
                    Row(
                        f"{label}: p after pass {i}",
                        float(chance[i]),
                        None
                        if want is None
                        else Expected(want, "measured", absolute=0.1, network=NETWORK),
                    )
                )
        else:
            below = Expected(
                0.32, "measured", absolute=0.1, kind="at most", network=NETWORK
            )
            rows += [
                Row(f"{label}: largest p", float(chance.max()), below if dog else None),
                Row(
                    f"{label}: last logit",
                    float(scores[-1, 0, run]),
                    measured(79, 0.35) if dog else None,
                ),
            ]
    drawings = {
        "": draw(
            panels,
            title=title(
                context, f"more like a {name}, {settings['steps']} steps a pass"
            ),
            rows=[word.replace(" of ", "\nof ") for word in words],
            columns=[f"pass {i}" for i in passes],
            side=1.7,
        ),
        "p": curves(chances, x_label="pass", y_label=f"p({name})", marks=True),
        "logit": curves(logits, x_label="pass", y_label=f"logit of {name}", marks=True),
    }
    note = (
        "The golden retriever of the reference run counts in the numbers where the"
        " folder of photos has it, and is not shown."
    )
    return Made(drawings, rows, settings, (note,))


FIGURES = (
    Figure(
        "dream2015.classes",
        PAPER,
        "eight classes, with and without a prior",
        classes,
        NETWORK,
    ),
    Figure("dream2015.spectrum", PAPER, "priors and their spectra", spectrum, NETWORK),
    Figure(
        "dream2015.catlike",
        PAPER,
        "more like a cat: log-probability and logit",
        catlike,
        NETWORK,
    ),
)
