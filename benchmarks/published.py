"""The 2015 notebook's own pictures, dreamed again and compared by their numbers.

    DREAMJAX_WEIGHTS=FOLDER python -m benchmarks.published --images=FOLDER

FOLDER of `--images` has the notebook's `sky1024px.jpg` and `flowers.jpg`, and in
`published/` the pictures that are embedded in it, as `dream_notebook_cell12.jpg` and so
on. The dreams are those of configs/dream_2015.py. As jitter is random, pixels cannot
agree; what must is how much of the layer's energy is reached, how far the picture
moved, and at which frequencies. All is measured after the same JPEG compression
(quality 75), which takes a third of the energy off, and against the uncompressed sky.

    python -m benchmarks.published --images=FOLDER --small

does the same photo at 320 × 240 beside the notebook's loop, written once more here with
SciPy and whole images in place of tiles: the energy gained in each octave, by the whole
dream for two layers, and over six frames of the zoom. 35 % is what jitter may do.
"""

import functools
import json
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from PIL import Image
from scipy import ndimage

from configs.dream_2015 import get_config
from dreamjax import models
from dreamjax.cache import use_compile_cache
from dreamjax.cli import launch, path_flag
from dreamjax.deepdream.film import moved
from dreamjax.deepdream.likeness import Likeness, compressed, layer_energy, likeness
from dreamjax.deepdream.octaves import octave_sizes, resizer
from dreamjax.deepdream.run import dream
from dreamjax.deepdream.studio import make_painter, make_scorer, open_studio
from dreamjax.files import write_text
from dreamjax.images import load_image, png_bytes, to_uint8
from dreamjax.models.layers import PLAIN

IMAGES = path_flag("images", None, "Folder, see above.", required=True)
MODEL = flags.DEFINE_string("model", "googlenet.bvlc-noaux", "GoogLeNet of Caffe.")
WORKDIR = path_flag("workdir", "results/runs/published", "Folder.")
SMALL = flags.DEFINE_bool("small", False, "The table at 320 × 240.")
SMALL_SIZE = (240, 320)
LAYERS = ("inception_4c/output", "inception_3b/5x5_reduce")
FRAMES = 6
PANELS = {  # variant of the config -> (cell of the notebook, layer)
    "": (12, "inception_4c/output"),
    "strokes": (14, "inception_3b/5x5_reduce"),
    "guided": (27, "inception_3b/output"),
}
TOLERANCE = {"energy": 0.15, "change": 0.05, "band": 0.05}


def verdict(published: Likeness, ours: Likeness) -> bool:
    """Tells whether two measurements agree within `TOLERANCE`."""
    apart = np.abs(np.subtract(published.bands, ours.bands)).max()
    return (
        abs(ours.energy / published.energy - 1) <= TOLERANCE["energy"]
        and abs(ours.change / published.change - 1) <= TOLERANCE["change"]
        and apart <= TOLERANCE["band"]
    )


def notebook(slope, photo: np.ndarray, seed: int) -> tuple[np.ndarray, list[float]]:
    """The notebook's loop; returns the dream and the energy gained in each octave.

    Args:
      slope: image [H, W, 3] -> (sum(a²) / 2, its gradient).
    """
    random = np.random.RandomState(seed)
    bases, gains = [photo], []
    for _ in range(3):
        bases.append(ndimage.zoom(bases[-1], (1 / 1.4, 1 / 1.4, 1), order=1))
    detail = np.zeros_like(bases[-1])
    for base in reversed(bases):
        zoom = [a / b for a, b in zip(base.shape, detail.shape, strict=True)]
        x, energies = base + ndimage.zoom(detail, zoom, order=1), []
        for _ in range(10):
            shift = random.randint(-32, 33, 2)
            x = np.roll(x, shift, (0, 1))
            energy, g = (np.asarray(v) for v in slope(jnp.asarray(x, jnp.float32)))
            x = np.roll(x + 1.5 / 255 / np.abs(g).mean() * g, -shift, (0, 1))
            x = np.clip(x, 0, 1)
            energies.append(float(energy))
        gains.append(energies[-1] / energies[0])
        detail = x - base
    return x.astype(np.float32), gains


def small(folder: Path) -> int:
    """Prints the table at 320 × 240; returns the exit status."""
    model = models.load(MODEL.value)
    photo = resizer("corner")(load_image(folder / "sky1024px.jpg"), SMALL_SIZE)
    closer = functools.partial(moved, zoom=0.05, turn=0.0, shift=(0, 0))
    rows = []
    for tap in LAYERS:
        config = get_config()
        with config.unlocked():
            config.model = MODEL.value
            config.objective = tap
        studio = open_studio(config, [SMALL_SIZE], model)
        paint, score = make_painter(studio, SMALL_SIZE), make_scorer(studio, SMALL_SIZE)

        def half_energy(image, tap=tap):
            taps = model.taps(model.variables, image[None], PLAIN)
            return jnp.sum(jnp.square(taps[tap])) / 2

        slope = jax.jit(jax.value_and_grad(half_energy))
        theirs, gains = notebook(slope, photo, 0)
        ours, before = paint(photo), score(photo)
        rows.append((f"`{tap}`", score(theirs) / before, score(ours) / before))
        if tap != LAYERS[0]:
            continue
        sizes, own_gains = octave_sizes(SMALL_SIZE, 4, 1.4), octave_gains(studio, photo)
        for size, gain, own in zip(sizes, gains, own_gains, strict=True):
            rows.append((f"octave {size[0]} × {size[1]}", gain, own))
        for i in range(1, FRAMES):
            theirs, ours = closer(theirs), closer(ours)
            theirs, ours = notebook(slope, theirs, i)[0], paint(ours, frame=i)
            name = f"zoom, frame {i + 1}, against the photo"
            rows.append((name, score(theirs) / before, score(ours) / before))
    print("| energy after / before | the notebook's loop | dreamjax |\n|---|---|---|")
    for text, expected, found in rows:
        print(f"| {text} | {expected:.2f} | {found:.2f} |")
    fine = all(abs(found / expected - 1) <= 0.35 for _, expected, found in rows)
    return 0 if fine else 1


def octave_gains(studio, photo: np.ndarray) -> list[float]:
    """Returns how much the last step of each octave has over the first."""
    config, steps = studio.config, studio.config["steps"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sky.png"
        path.write_bytes(png_bytes(to_uint8(photo)))
        config = {**config, "image": str(path), "tensorboard": False}
        dream(config, folder, model=studio.model, report=lambda line: None)
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    scores = [json.loads(line)["score"] for line in lines]
    return [scores[i + steps - 1] / scores[i] for i in range(0, len(scores), steps)]


def main(arguments: list[str]) -> int:
    """Prints the table; writes it and the pictures side by side."""
    del arguments
    use_compile_cache()
    if SMALL.value:
        return small(IMAGES.value)
    folder, workdir = IMAGES.value, WORKDIR.value
    model = models.load(MODEL.value)
    photo = load_image(folder / "sky1024px.jpg")
    print("| figure | | energy | change | share of detail by frequency | agrees |")
    print("|---|---|---|---|---|---|")
    rows, fine = [], True
    for variant, (cell, tap) in PANELS.items():
        config = get_config(variant)
        with config.unlocked():
            config.model = MODEL.value
            config.image = str(folder / "sky1024px.jpg")
            if variant == "guided":
                config.hparams.target = (str(folder / "flowers.jpg"),)
        said: list[str] = []
        name = variant or "default"
        result = dream(config, workdir / name, model=model, report=said.append)[0]
        ours = compressed(result.images[0])
        theirs = load_image(folder / "published" / f"dream_notebook_cell{cell}.jpg")
        energy = layer_energy(model, tap)
        two = [likeness(energy, photo, picture) for picture in (theirs, ours)]
        agrees = verdict(*two)
        fine &= agrees
        for who, row in zip(("published", "dreamjax"), two, strict=True):
            shares = " ".join(f"{share:.3f}" for share in row.bands)
            said_so = ("yes" if agrees else "no") if who == "dreamjax" else ""
            print(
                f"| {name}, `{tap}` | {who} | ×{row.energy:.2f} |"
                f" {row.change:.1f} | {shares} | {said_so} |"
            )
            rows.append({"figure": name, "tap": tap, "who": who, **row._asdict()})
        pair = np.concatenate([theirs, ours], axis=0)
        Image.fromarray(to_uint8(pair)).save(workdir / f"{name}.png")
    write_text(workdir / "published.json", json.dumps(rows, indent=1))
    return 0 if fine else 1


if __name__ == "__main__":
    launch(main)
