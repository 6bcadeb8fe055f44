"""The recipe of an atlas: one channel, Lucid's defaults at 112 px.

    python -m experiments.atlas --model=efficientnet_lite0 --channels=16 \
        --config=configs/atlas.py --workdir=results/runs/atlas

112 px, 128 steps, 16 channels with a variant and a negative each: 75 s a layer on 2 CPU
cores, 10–20 of them compiling. Expect colors and textures early, eyes and heads late.
Objective, channels, seeds and sign are set by the atlas, for each layer in turn; all
else here is free, as `--config.size='(128, 128)'` or `--config.steps=256`.
"""

from ml_collections import ConfigDict

from dreamjax.config import base_config, check_variant, shrink


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = base_config()
    config.size = (112, 112)
    config.steps = 128
    config.log_every = 8
    config.image_steps = (0, 128)
    config.redirect_relu = True
    config.tensorboard = False
    if variant == "quicktest":
        shrink(config)
    return config.lock()
