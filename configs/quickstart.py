"""A first look: 6 channels of a middle layer × 4 regularizer settings.

    make quickstart
    python -m experiments.visualize --config=configs/quickstart.py \
        --workdir=results/runs/quickstart
"""

from dreamjax.config import base_config


def get_config(variant: str = "") -> object:
    """Returns the config; "quicktest" is the same at a toy size."""
    config = base_config()
    config.objective = "b8:unit"
    config.size = (128, 128)
    config.steps = 128
    config.image_steps = (0, 16, 64, 128)
    config.sweep = "product"
    config.hparams.unit = (3, 17, 29, 41, 56, 70)
    config.hparams.tv = (0.0, 10.0)
    config.hparams.decay_power = (0.5, 1.0)
    if variant == "quicktest":
        config.size = (32, 32)
        config.steps = 4
        config.log_every = 2
        config.image_steps = (0, 4)
        config.hparams.unit = (3, 17)
        config.hparams.decay_power = (1.0,)
    return config.lock()
