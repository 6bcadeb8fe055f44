"""A first look: 6 channels of a middle layer × 4 regularizer settings.

    make quickstart
    python -m experiments.visualize --config=configs/quickstart.py \
        --workdir=results/runs/quickstart

24 runs of 128 px, one compiled program: 79 s on 2 CPU cores, 28 of them compiling,
and 52 more for the set-up of a fresh clone. Columns: Lucid's 1/f Fourier image; then
with a total-variation penalty (smooth areas, thick lines); with a Gaussian blur every
fourth step (Yosinski 2015: soft and large); with a steeper 1/f^1.3 (strong color).
"""

from ml_collections import ConfigDict

from dreamjax.config import base_config, check_variant, shrink


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = base_config()
    config.objective = "b8:unit"
    config.size = (128, 128)
    config.steps = 128
    config.image_steps = (0, 16, 64, 128)
    config.hparams.unit = (3, 17, 29, 41, 56, 70)
    config.sweep = "zip(tv, blur_every, decay_power)"
    config.hparams.tv = (0.0, 400.0, 0.0, 0.0)
    config.hparams.blur_every = (0, 0, 4, 0)
    config.hparams.blur_width = (1.0,)
    config.hparams.decay_power = (1.0, 1.0, 1.0, 1.3)
    if variant == "quicktest":
        shrink(config)
        config.hparams.unit = (3, 17)
    return config.lock()
