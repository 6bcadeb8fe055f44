"""A dream of nothing: from noise to what the layer sees in it.

    python -m experiments.dream --config=configs/dream_noise.py \
        --workdir=results/runs/dream_noise

384 px in 6 octaves × 20 steps, 16 s on 2 CPU cores. Expect a carpet of eyes and fur.
"""

from ml_collections import ConfigDict

from dreamjax.config import check_variant
from dreamjax.deepdream.config import dream_config, shrink_dream


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = dream_config()
    config.image = "noise"
    config.longest = 384
    config.octaves = 6
    config.steps = 20
    config.hparams.init_std = (0.03,)
    if variant == "quicktest":
        shrink_dream(config)
    return config.lock()
