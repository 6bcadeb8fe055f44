"""Inceptionism 2015, what holds a dream together: class pictures, spectra, a cat.

Class pictures are drawn by Øygard's recipe of the same year (deepdraw), since the blog
post does not give its own.
"""

import numpy as np

from dreamjax.deepdream.classes import DEEPDRAW, draw_classes
from dreamjax.deepdream.likeness import change
from dreamjax.deepdream.single_scale import climb_pictures
from dreamjax.figures.classes import named_class, said_of
from dreamjax.figures.dreams import dream_size, dream_traces
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.kept import kept
from dreamjax.figures.panels import Panel, draw, stretched
from dreamjax.figures.record import Expected, Row
from dreamjax.figures.spectra import spectra
from dreamjax.hparams import Hparam
from dreamjax.identity import model_digest
from dreamjax.images import load_image
from dreamjax.measures.spectrum import high_frequency
from dreamjax.objectives import constant, log_probability, logit
from dreamjax.report.plots import Curve, curves
from experiments.figures.dream2015 import (
    NETWORK,
    PAPER,
    explained,
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
HIGH = "power above .25 cycles/pixel"
CAT, PASSES, STEPS = "tabby", 5, 10
RAW = (
    "the reference climbs the raw gradient at rate 100 in 200 steps without bounds;"
    " another reference's naive pixels, of a channel, have .54 … .60"
)
LOGIT = (
    "the reference reaches 56 … 79 in a pass of unstated octaves: at one scale it is"
    " this, at four octaves 9"
)
SEEDS = "jitter: six seeds gave .43 … .97, .83 on average"
DOG = (0.0, 0.917, 0.998)  # p(cat) of the golden retriever after 0, 1, 2 passes


def classes(context: Context) -> Made:
    """Eight classes from noise, with and without a prior."""
    wanted = CLASSES[: context.pick(len(CLASSES), 2)]
    found = [named_class(context, name, i) for i, name in enumerate(wanted)]
    indexes, names = (list(part) for part in zip(*found, strict=True))
    side, count = context.size(CLASS_SIDE)[0], len(indexes)
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
        random = np.random.default_rng(context.seed)
        noise = np.clip(random.normal(200, 8, (1, side, side, 3)) / 255, 0, 1)
        options = {"view": side, "seed": context.seed}
        target, held = logit(Hparam("class")), [True] * count
        (both,) = draw_classes(
            context.model,
            target,
            np.repeat(noise, 2 * count, axis=0),
            {"class": np.array(indexes * 2)},
            stages[:1],
            blur=[False] * count + held,
            **options,
        )
        start, hp = both.images[count:, 0], {"class": np.array(indexes)}
        (last,) = draw_classes(
            context.model, target, start, hp, stages[1:], blur=held, **options
        )
        return {"no prior": both.images[:count, 0], "prior": last.images[:, 0]}

    pictures = kept(
        context.workdir / "classes.npz",
        {**settings, "weights": model_digest(context.model)},
        make,
    )
    panels, rows, shares = [], [], {}
    for word, images in pictures.items():
        said = said_of(context.model, images, indexes)
        shares[word] = float(np.mean([high_frequency(image) for image in images]))
        captions = [
            f"logit {score:.0f}, p {chance:.2f}"
            for score, chance in zip(said.logits, said.chances, strict=True)
        ]
        panels.append(list(map(Panel, map(stretched, images), captions)))
        rows += [
            Row(f"{word}: mean logit", float(said.logits.mean())),
            Row(f"{word}: mean probability", float(said.chances.mean())),
            Row(f"{word}: recognized, of {count}", float(said.first.sum())),
            Row(f"{word}: {HIGH}", shares[word]),
        ]
    ratio = shares["prior"] / shares["no prior"]
    below = Expected(1.0, "derived", kind="at most")
    rows.append(Row(f"{HIGH}, prior / no prior", ratio, below))
    drawing = draw(
        panels,
        title=title(context, "class logits from noise"),
        rows=list(pictures),
        columns=names,
        side=1.1,
    )
    note = (
        f"Contrast is stretched. {steps[0]} and {steps[1]} steps on canvases of {side}"
        f" and {round(1.2 * side)} pixels, by the class logit; deepdraw has 190, 150,"
        " 150 and 10 from 224 to 322 pixels and ends with the auxiliary classifiers,"
        " whose weights this file lacks. Without a prior: the first steps, no blur."
    )
    return Made({"": drawing}, rows, settings, (note,))


def spectrum(context: Context) -> Made:
    """One class from noise under five priors and none, and what each does to |f|."""
    index, name = named_class(context, "flamingo", 0)
    side, steps = context.size(128)[0], context.pick(80, 2)
    noise = np.random.default_rng(context.seed).normal(0.5, 10 / 255, (side, side, 3))
    noise = np.clip(noise, 0, 1).astype(np.float32)
    settings = {
        "class": name,
        "side": side,
        "steps": steps,
        "start": "N(127.5, 10) of 255",
        "step": "1.5 of 255 on g / mean|g|",
        "variants": VARIANTS,
        "octaves": f"4 octaves × 1.4, {steps // 4} steps each, jitter 16",
        "network": context.model.record.name,
        "seed": context.seed,
    }

    def make():
        jitter, width, laplacian = np.array(list(VARIANTS.values()), np.float32).T
        ascent = climb_pictures(
            context.model,
            logit(index),
            np.repeat(noise[None], len(VARIANTS), axis=0),
            {"jitter": jitter, "blur_width": width, "laplacian": laplacian},
            steps=steps,
            seed=context.seed,
            levels=context.pick(4, 1),
        )
        return {"images": ascent.images[:, 0]}

    drawn = kept(
        context.workdir / "spectrum.npz",
        {**settings, "weights": model_digest(context.model)},
        make,
    )["images"]
    images = dict(zip(VARIANTS, drawn, strict=True))
    if not context.quicktest:
        config = recipe(f"logit({index})", steps=steps // 4, transforms="roll(16)")
        images[OCTAVES] = dream_traces(context, "octaves", config, noise)[0].image
    stack = np.stack(list(images.values()))
    said = said_of(context.model, stack, [index] * len(stack))
    shares = {word: high_frequency(image) for word, image in images.items()}
    captions = [
        f"{word}\nlogit {score:.0f}, > .25 c/px {share:.2f}"
        for (word, share), score in zip(shares.items(), said.logits, strict=True)
    ]
    panels = list(map(Panel, map(stretched, images.values()), captions))
    white = Expected(1 - np.pi / 16, "derived", absolute=0.02)
    free = Expected(0.803, "measured", absolute=0.1, network=NETWORK)
    held = Expected(0.052, "measured", absolute=0.05, network=NETWORK)
    below = Expected(shares["no prior"], "derived", kind="at most")
    wants = {"no prior": free, "jitter, blur": held, "blur 1 px": below, OCTAVES: below}
    rows = [
        Row(f"noise at the start: {HIGH}", high_frequency(noise, window=False), white)
    ]
    for (word, share), chance in zip(shares.items(), said.chances, strict=True):
        row = Row(f"{word}: {HIGH}", share, wants.get(word))
        rows.append(explained(context, row, RAW))
        rows.append(Row(f"{word}: probability", float(chance)))
    drawings = {
        "": draw(
            [panels[:3], panels[3:]],
            title=title(context, f"{name} from noise"),
            side=2.2,
        ),
        "radial": spectra(images | {"a photo": photo_at(context, (side, side))}),
    }
    note = (
        "Contrast is stretched. The reference numbers are of Yosinski's steps on a raw"
        " gradient without a prior, and of his third set. Jitter and the Laplacian"
        " alone need not lower high frequencies: they are not judged."
    )
    return Made(drawings, rows, settings, (note,))


def catlike(context: Context) -> Made:
    """Ever more like a cat: by the log-probability, and by the logit."""
    index, name = named_class(context, CAT, 0)
    size = dream_size(context, 224, 224)
    city = context.find("city.jpg")
    shown = context.photo(1, size) if city is None else load_image(city, size)
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
        "photos": [float(shown.mean()), len(photos)],
    }

    def make():
        part = constant(Hparam("logit"))
        runs = 2 * len(photos)
        ascent = climb_pictures(
            context.model,
            part * logit(index) + (1.0 - part) * log_probability(index),
            np.repeat(np.stack(photos), 2, axis=0),
            {"logit": np.arange(runs) % 2, "jitter": np.full(runs, 16)},
            steps=passes * steps,
            seed=context.seed,
            snapshots=range(0, passes * steps + 1, steps),
        )
        return {"images": np.stack([v[:, 0] for v in ascent.snapshots.values()])}

    images = kept(
        context.workdir / "catlike.npz",
        {**settings, "weights": model_digest(context.model)},
        make,
    )["images"]
    said = [said_of(context.model, some, [index] * len(some)) for some in images]
    logits = np.stack([one.logits for one in said], axis=1)  # [R, passes + 1]
    chances = np.stack([one.chances for one in said], axis=1)
    words = (f"log p({name})", f"logit of {name}")
    panels = [
        [
            Panel(image, f"logit {score:.0f}, p {chance:.3f}")
            for image, score, chance in zip(
                images[:, run], logits[run], chances[run], strict=True
            )
        ]
        for run in range(2)
    ]
    rows, lines = [], {"p": [], "logit": []}
    for run in range(2 * len(photos)):
        is_dog, by_logit = run >= 2, run % 2 == 1
        who = "golden retriever" if is_dog else "shown photo"
        label = f"{words[by_logit]}, {who}"
        lines["p"].append(Curve(label, np.arange(passes + 1), chances[run]))
        lines["logit"].append(Curve(label, np.arange(passes + 1), logits[run]))
        moved = change(images[0, run], images[-1, run])
        rows.append(Row(f"{label}: change after {passes} passes, of 255", moved))
        most, last = float(chances[run].max()), float(logits[run, -1])
        if by_logit:
            below = Expected(0.32, "measured", 0, 0.1, "at most", NETWORK)
            rows += [
                Row(f"{label}: largest p", most, below if is_dog else None),
                explained(
                    context,
                    Row(f"{label}: last logit", last, measured(79) if is_dog else None),
                    LOGIT,
                ),
            ]
            continue
        for i, chance in enumerate(chances[run]):
            want = None
            if is_dog and i < len(DOG):
                want = Expected(DOG[i], "measured", absolute=0.1, network=NETWORK)
            row = Row(f"{label}: p after pass {i}", float(chance), want)
            rows.append(explained(context, row, SEEDS if i == 1 else ""))
    drawings = {
        "": draw(
            panels,
            title=title(context, f"{name}, {steps} steps a pass"),
            rows=(f"log p\n({name})", f"logit of\n{name}"),
            columns=[f"pass {i}" for i in range(passes + 1)],
            side=1.5,
        ),
        "p": curves(lines["p"], x_label="pass", y_label=f"p({name})", marks=True),
        "logit": curves(
            lines["logit"], x_label="pass", y_label=f"logit of {name}", marks=True
        ),
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
