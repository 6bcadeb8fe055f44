"""DeepDream of a photo: a whole layer's energy, octave by octave.

    python -m experiments.dream --config=configs/dream.py \
        --config.image=photo.jpg --workdir=results/runs/dream

EfficientNet-Lite0 `b10`, 4 octaves × 1.4, 10 steps each, 512 px: 15 s on 2 CPU cores,
compile included. Expect eyes, snouts and fur. A folder or a glob dreams all its photos.
"""

from ml_collections import ConfigDict

from dreamjax.config import check_variant
from dreamjax.deepdream.config import dream_config, shrink_dream


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = dream_config()
    if variant == "quicktest":
        shrink_dream(config)
    return config.lock()
