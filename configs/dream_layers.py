"""A contact sheet of one photo: layers × how much detail passes between octaves.

    python -m experiments.dream --config=configs/dream_layers.py \
        --config.image=photo.jpg --workdir=results/runs/dream_layers

Six layers of EfficientNet-Lite0 in one program (`one_of`), three strengths each: 18
dreams of 320 px in 22 s on 2 CPU cores. Expect strokes, then eyes, then whole animals;
without detail from the coarser octaves (0) only the last octave's size of feature.
"""

from ml_collections import ConfigDict

from dreamjax.config import check_variant
from dreamjax.deepdream.config import dream_config, shrink_dream

LAYERS = ("b3", "b5", "b7", "b8", "b10", "b14")


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = dream_config()
    config.objective = f'one_of("{", ".join(LAYERS)}", layer)'
    config.longest = 320
    config.hparams.layer = LAYERS
    config.hparams.octave_strength = (0.0, 0.5, 1.0)
    config.rows = "octave_strength"
    if variant == "quicktest":
        shrink_dream(config)
    return config.lock()
