"""Makes the gallery of dreams that docs/dreams.md shows.

    python -m experiments.gallery

Into results/runs/gallery/pictures; with --publish into results/dream, as committed.
Under 3 minutes on 2 CPU cores; needs nothing beyond requirements.txt.
"""

from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from configs import dream as photo_config
from configs import dream_guided, dream_layers, dream_noise, dream_panorama, dream_zoom
from dreamjax import models
from dreamjax.cache import use_compile_cache
from dreamjax.cli import launch, path_flag
from dreamjax.deepdream.film import film
from dreamjax.deepdream.run import dream
from dreamjax.files import atomic_open
from dreamjax.images import load_image, to_uint8
from dreamjax.panorama import perspective
from dreamjax.published import output_folder
from dreamjax.workdir import locked

WORKDIR = path_flag("workdir", "results/runs/gallery", "Folder of the runs.")
OUT = path_flag("out", None, "Folder of the pictures; WORKDIR/pictures if not given.")
PUBLISH = flags.DEFINE_bool("publish", False, "Write results/dream.")
WIDTH = 1500  # pixels of a picture at most
LOOKS = ((0, 0), (120, 0), (0, 85), (0, -85))  # yaw and pitch, degrees


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a picture [H, W, 3] in [0, 1] as a JPEG."""
    image = Image.fromarray(to_uint8(picture))
    if image.width > WIDTH:
        height = round(image.height * WIDTH / image.width)
        image = image.resize((WIDTH, height), Image.Resampling.LANCZOS)
    with atomic_open(path) as file:
        image.save(file, "JPEG", quality=88)
    print(path)


def main(arguments: list[str]) -> int:
    """Makes all pictures; returns the exit status."""
    del arguments
    runs = WORKDIR.value
    default = f"{runs}/pictures"
    out = output_folder("out", OUT.value, default, "results/dream", PUBLISH.value)
    use_compile_cache()
    with locked(runs), locked(out):
        return make_pictures(runs, out)


def make_pictures(runs: Path, out: Path) -> int:
    """Makes all pictures into folders that are held; returns the exit status."""
    model = models.load("efficientnet_lite0")
    given = {"model": model, "report": lambda line: None}

    result = dream(photo_config.get_config(), runs / "photo", **given)[0]
    write_picture(out / "photo.jpg", load_image(result.files["pair"]))
    result = dream(dream_layers.get_config(), runs / "layers", **given)[0]
    write_picture(out / "layers.jpg", load_image(result.files["sheet"]))
    result = dream(dream_guided.get_config(), runs / "guided", **given)[0]
    guide = load_image(Path("dreamjax/assets/coffee.png"), result.photo.shape[:2])
    write_picture(
        out / "guided.jpg",
        np.concatenate([result.photo, guide, result.images[0]], axis=1),
    )
    result = dream(dream_noise.get_config(), runs / "noise", **given)[0]
    write_picture(out / "noise.jpg", result.images[0])

    config = dream_zoom.get_config()
    with config.unlocked():
        config.frames = 60
    made = film(config, runs / "zoom", **given)
    write_picture(out / "zoom.jpg", load_image(made.files["strip"]))

    config = dream_panorama.get_config()
    with config.unlocked():
        config.image = "noise"
        config.octaves = 5
        config.hparams.init_std = (0.03,)
    result = dream(config, runs / "panorama", **given)[0]
    write_picture(out / "panorama.jpg", result.images[0])
    views = [perspective(result.images[0], *look, 90, (300, 375)) for look in LOOKS]
    write_picture(
        out / "panorama_views.jpg",
        np.concatenate([np.asarray(v) for v in views], axis=1),
    )
    return 0


if __name__ == "__main__":
    launch(main)
