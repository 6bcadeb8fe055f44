"""DeepDream of a photo.

    python -m experiments.dream --config=configs/dream.py \
        --config.image=photo.jpg --workdir=results/runs/dream
"""

from ml_collections import ConfigDict

from dreamjax.deepdream.config import dream_config, shrink_dream


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    config = dream_config()
    if variant == "quicktest":
        shrink_dream(config)
    return config.lock()
