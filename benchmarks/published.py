"""The 2015 notebook's own pictures, dreamed again and compared by their numbers.

    DREAMJAX_WEIGHTS=FOLDER python -m benchmarks.published --images=FOLDER

FOLDER of `--images` has the notebook's `sky1024px.jpg` and `flowers.jpg`, and in
`published/` the pictures that are embedded in it, as `dream_notebook_cell12.jpg` and so
on. The dreams are those of configs/dream_2015.py. As jitter is random, pixels cannot
agree; what must is how much of the layer's energy is reached, how far the picture
moved, and at which frequencies. All is measured after the same JPEG compression
(quality 75), which takes a third of the energy off, and against the uncompressed sky.
"""

import io
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from PIL import Image

from configs.dream_2015 import get_config
from dreamjax import models
from dreamjax.cache import use_compile_cache
from dreamjax.cli import launch
from dreamjax.deepdream.run import dream
from dreamjax.files import write_text
from dreamjax.images import load_image, to_uint8
from dreamjax.models.layers import PLAIN

IMAGES = flags.DEFINE_string("images", None, "Folder, see above.", required=True)
MODEL = flags.DEFINE_string("model", "googlenet.bvlc-noaux", "GoogLeNet of Caffe.")
WORKDIR = flags.DEFINE_string("workdir", "results/runs/published", "Folder.")
PANELS = {  # variant of the config -> (cell of the notebook, layer)
    "": (12, "inception_4c/output"),
    "strokes": (14, "inception_3b/5x5_reduce"),
    "guided": (27, "inception_3b/output"),
}
EDGES = (0, 0.01, 0.03, 0.06, 0.12, 0.25, 1)  # cycles per pixel
TOLERANCE = {"energy": 0.15, "change": 0.05, "band": 0.05}


def bands(detail: np.ndarray) -> list[float]:
    """Returns the shares of a gray picture's energy between the `EDGES`."""
    power = np.abs(np.fft.fft2(detail)) ** 2
    rows = np.fft.fftfreq(detail.shape[0])[:, None]
    radius = np.hypot(rows, np.fft.fftfreq(detail.shape[1])[None, :])
    within = [
        power[(radius >= low) & (radius < high)].sum()
        for low, high in itertools.pairwise(EDGES)
    ]
    return [float(part / power.sum()) for part in within]


def compressed(image: np.ndarray) -> np.ndarray:
    """Returns [H, W, 3] as it comes out of a JPEG file of quality 75."""
    file = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file), np.float32) / 255


def measured(model, tap: str, photo: np.ndarray, picture: np.ndarray) -> dict:
    """Returns what a dream [H, W, 3] of a photo is compared by."""

    def energy(variables, image):
        return jnp.sum(jnp.square(model.taps(variables, image[None], PLAIN)[tap]))

    of = jax.jit(energy)
    detail = picture - photo
    return {
        "energy": float(of(model.variables, picture) / of(model.variables, photo)),
        "change": float(255 * np.sqrt(np.mean(np.square(detail)))),
        "bands": bands(detail.mean(axis=2)),
    }


def verdict(published: dict, ours: dict) -> bool:
    """Tells whether two measurements agree within `TOLERANCE`."""
    apart = np.abs(np.subtract(published["bands"], ours["bands"])).max()
    return (
        abs(ours["energy"] / published["energy"] - 1) <= TOLERANCE["energy"]
        and abs(ours["change"] / published["change"] - 1) <= TOLERANCE["change"]
        and apart <= TOLERANCE["band"]
    )


def main(arguments: list[str]) -> int:
    """Prints the table; writes it and the pictures side by side."""
    del arguments
    use_compile_cache()
    folder, workdir = Path(IMAGES.value), Path(WORKDIR.value)
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
        two = [measured(model, tap, photo, picture) for picture in (theirs, ours)]
        agrees = verdict(*two)
        fine &= agrees
        for who, row in zip(("published", "dreamjax"), two, strict=True):
            shares = " ".join(f"{share:.3f}" for share in row["bands"])
            said_so = ("yes" if agrees else "no") if who == "dreamjax" else ""
            print(
                f"| {name}, `{tap}` | {who} | ×{row['energy']:.2f} |"
                f" {row['change']:.1f} | {shares} | {said_so} |"
            )
            rows.append({"figure": name, "tap": tap, "who": who, **row})
        pair = np.concatenate([theirs, ours], axis=0)
        Image.fromarray(to_uint8(pair)).save(workdir / f"{name}.png")
    write_text(workdir / "published.json", json.dumps(rows, indent=1))
    return 0 if fine else 1


if __name__ == "__main__":
    launch(main)
