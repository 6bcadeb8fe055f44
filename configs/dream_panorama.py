"""A panorama to look around in: no seam at the back, no smear at the poles.

    python -m experiments.dream --config=configs/dream_panorama.py \
        --config.image=panorama.jpg --workdir=results/runs/dream_panorama

An equirectangular picture, twice as wide as high, at 1024 px: 27 s on 2 CPU cores.
The poles are looked at by cameras of their own. `look.html` in the folder shows it from
inside: turn with the mouse.
"""

from ml_collections import ConfigDict

from dreamjax.config import check_variant
from dreamjax.deepdream.config import dream_config, shrink_dream


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = dream_config()
    config.panorama = True
    config.longest = 1024
    config.octaves = 3
    config.transforms = "roll(64)"
    if variant == "quicktest":
        shrink_dream(config)
    return config.lock()
