"""Dreams a photo: a whole layer's energy, from a photo, held close to it.

    python -m experiments.visualize --config=configs/photo.py \
        --workdir=results/runs/photo --config.start=my_photo.jpg \
        --config.hparams.reference="('my_photo.jpg',)"

Rows are strengths of the penalty that holds on to the photo, columns are seeds: 32 s on
2 CPU cores. Expect eyes and snouts growing in the fur, fewer of them in the lower row.
"""

from ml_collections import ConfigDict

from dreamjax.config import base_config, check_variant, shrink


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = base_config()
    config.objective = "b10"
    config.start = "chelsea"
    config.size = (224, 336)
    config.param = "pixel"
    config.color = "rgb"
    config.range = "clip"
    config.transforms = "roll(16)"
    config.gradient = ("mean_abs",)
    config.optimizer = "sgd"
    config.steps = 64
    config.image_steps = (0, 16, 64)
    config.rows = "distance"
    config.hparams.learning_rate = (0.004,)
    config.hparams.reference = ("chelsea",)
    config.hparams.distance = (0.0, 20000.0)
    config.hparams.seed = (0, 1)
    if variant == "quicktest":
        shrink(config)
    return config.lock()
