"""A film that feeds on itself: dream, step closer, dream again.

    python -m experiments.dream --config=configs/dream_zoom.py \
        --config.image=photo.jpg --workdir=results/runs/dream_zoom

100 frames of 256 px as a GIF (`--config.film=mp4` with requirements-video.txt), each
5 % closer than the last and turned by half a degree: 50 s on 2 CPU cores. Expect
the photo to be gone after some 30 frames, and animals growing out of animals.
"""

from ml_collections import ConfigDict

from dreamjax.config import check_variant
from dreamjax.deepdream.config import dream_config, shrink_dream


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = dream_config()
    config.longest = 256
    config.octaves = 3
    config.frames = 100
    config.programs = 3
    config.turn = 0.5
    if variant == "quicktest":
        shrink_dream(config)
    return config.lock()
