"""Spratt 2017: dreams at three depths, and Grad-CAM, beside a picture."""

import numpy as np

from dreamjax.attribution import correlation
from dreamjax.deepdream.config import dream_config, shrink_dream
from dreamjax.deepdream.run import dream
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.maps import (
    activation_map,
    class_name,
    grad_cams,
    last_layer,
    overlaid,
    top_classes,
)
from dreamjax.figures.panels import Panel, draw
from dreamjax.figures.record import Expected, Row
from dreamjax.files import write_bytes
from dreamjax.images import png_bytes

PAPER = "Spratt 2017, Dream Formulations and Deep Neural Networks"
NETWORK = "googlenet.bvlc-noaux"
SIDE = 224
MOST = 4  # photos
DEPTHS = {  # of form, motif, object
    "conv2/3x3": 0.1,
    "inception_3b/output": 0.35,
    "inception_4c/output": 0.65,
}
NAMES = ("form", "motif", "object")
LAST = "inception_5b/output"


def gradcam(context: Context) -> Made:
    """A photo, its dreams at three depths, and where the network sees its classes."""
    count = min(context.pick(len(context.photos), 1), MOST)
    images = np.stack([context.photo(i, context.size(SIDE)) for i in range(count)])
    classes, p = top_classes(context.model, images, 3)
    last = last_layer(context.model, context.size(SIDE), LAST)
    maps = grad_cams(context.model, images, classes, last)
    layers = [context.layer(name, depth, SIDE) for name, depth in DEPTHS.items()]
    dreams = [_dreams(context, i, layers) for i in range(count)]
    panels, rows = [], []
    for i in range(count):
        line = [Panel(images[i], "photo")]
        line += [
            Panel(picture, f"{name}: {layer}")
            for picture, name, layer in zip(dreams[i], NAMES, layers, strict=True)
        ]
        for j, index in enumerate(classes[i]):
            said = f"{class_name(context.model, index)}, p {p[i, j]:.2f}"
            line.append(Panel(overlaid(images[i], maps[i, j]), said))
        panels.append(line)
        cam = activation_map(context.model, images[i], int(classes[i, 0]), last)
        if cam is not None:
            rows.append(
                Row(
                    f"photo {i}: correlation of Grad-CAM with the class activation map",
                    correlation(maps[i, 0], cam),
                    Expected(0.999, "derived", kind="at least"),
                )
            )
        after, chance = top_classes(context.model, dreams[i][-1][None], 1)
        rows += [
            Row(f"photo {i}: probability of its first class", float(p[i, 0])),
            Row(
                f"photo {i}: probability of the dream's first class",
                float(chance[0, 0]),
            ),
            Row(
                f"photo {i}: the dream's first class is the photo's",
                float(after[0, 0] == classes[i, 0]),
            ),
        ]
    return Made(
        {"": draw(panels, title=context.model.record.name, side=1.45)},
        rows,
        {"layers": layers, "grad-cam": last, "octaves": 4, "steps": 10},
        (
            "Photos in place of the paper's works of art. Columns: photo, dreams from"
            " early to late layers (Panofsky), Grad-CAM of the three first classes.",
        ),
    )


def _dreams(context: Context, photo: int, layers: list[str]) -> list[np.ndarray]:
    size = context.size(SIDE)
    picture = context.workdir / f"photo_{photo}.png"
    write_bytes(picture, png_bytes(context.photo(photo, size)))
    config = dream_config()
    config.model = context.model.record.name
    config.image = str(picture)
    config.longest = size[0]
    config.objective = f'one_of("{", ".join(layers)}", layer)'
    config.hparams.layer = tuple(range(len(layers)))
    if context.quicktest:
        shrink_dream(config)
        config.longest, config.octaves = size[0], 1
    folder = context.workdir / f"dream_{photo}"
    found = dream(config, folder, model=context.model, report=lambda line: None)
    return list(found[0].images)


FIGURES = (
    Figure(
        "spratt2017.gradcam",
        PAPER,
        "dreams at three depths, Grad-CAM",
        gradcam,
        NETWORK,
    ),
)
