"""Makes `results/dream/`: the gallery of dreams, each with the command that made it.

    python -m experiments.gallery

Under 3 minutes on 2 CPU cores; needs nothing beyond requirements.txt.
"""

from pathlib import Path

import numpy as np
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

WORKDIR = path_flag("workdir", "results/runs/gallery", "Folder of the runs.")
OUT = path_flag("out", "results/dream", "Folder of the pictures.")
WIDTH = 1500  # pixels of a picture at most
LOOKS = ((0, 0), (120, 0), (0, 85), (0, -85))  # yaw and pitch, degrees


def keep(name: str, picture: np.ndarray) -> None:
    """Writes a picture [H, W, 3] in [0, 1] as a JPEG."""
    image = Image.fromarray(to_uint8(picture))
    if image.width > WIDTH:
        height = round(image.height * WIDTH / image.width)
        image = image.resize((WIDTH, height), Image.Resampling.LANCZOS)
    with atomic_open(OUT.value / name) as file:
        image.save(file, "JPEG", quality=88)
    print(f"{OUT.value}/{name}")


def main(arguments: list[str]) -> int:
    """Makes all pictures; returns the exit status."""
    del arguments
    use_compile_cache()
    runs = WORKDIR.value
    model = models.load("efficientnet_lite0")
    given = {"model": model, "report": lambda line: None}

    result = dream(photo_config.get_config(), runs / "photo", **given)[0]
    keep("photo.jpg", load_image(result.files["pair"]))
    result = dream(dream_layers.get_config(), runs / "layers", **given)[0]
    keep("layers.jpg", load_image(result.files["sheet"]))
    result = dream(dream_guided.get_config(), runs / "guided", **given)[0]
    guide = load_image(Path("dreamjax/assets/coffee.png"), result.photo.shape[:2])
    keep("guided.jpg", np.concatenate([result.photo, guide, result.images[0]], axis=1))
    result = dream(dream_noise.get_config(), runs / "noise", **given)[0]
    keep("noise.jpg", result.images[0])

    config = dream_zoom.get_config()
    with config.unlocked():
        config.frames = 60
    made = film(config, runs / "zoom", **given)
    keep("zoom.jpg", load_image(made.files["strip"]))

    config = dream_panorama.get_config()
    with config.unlocked():
        config.image = "noise"
        config.octaves = 5
        config.hparams.init_std = (0.03,)
    result = dream(config, runs / "panorama", **given)[0]
    keep("panorama.jpg", result.images[0])
    views = [perspective(result.images[0], *look, 90, (300, 375)) for look in LOOKS]
    keep("panorama_views.jpg", np.concatenate([np.asarray(v) for v in views], axis=1))
    return 0


if __name__ == "__main__":
    launch(main)
