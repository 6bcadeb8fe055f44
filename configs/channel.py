"""One channel with Lucid's defaults: the blank sheet for sweeps of your own.

    python -m experiments.visualize --config=configs/channel.py \
        --workdir=results/runs/channel --config.objective=b5:unit \
        --config.hparams.unit='(0, 1, 2, 3)' --config.hparams.tv='(0., 100., 1000.)'

Fourier image with decorrelated color, pad, jitter, scale, rotate, Adam 0.05; no
penalty, no projection. 128 px and 256 steps: 34 s on 2 CPU cores, 21 of them compiling.
"""

from ml_collections import ConfigDict

from dreamjax.config import base_config, check_variant, shrink


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = base_config()
    config.steps = 256
    config.image_steps = (0, 32, 128, 256)
    if variant == "quicktest":
        shrink(config)
    return config.lock()
