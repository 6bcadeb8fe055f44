"""The DeepDream notebook of 2015, to its numbers (Mordvintsev, Olah and Tyka).

    python -m experiments.dream --config=configs/dream_2015.py \
        --config.image=sky1024px.jpg --workdir=results/runs/dream_2015

GoogLeNet of the Caffe model zoo, `inception_4c/output`, 4 octaves × 1.4 with detail
re-injected, 10 iterations, jitter 32, step 1.5 of 255 on the gradient over its mean
absolute value, clipped to what a picture can be. `:strokes` is the notebook's other
picture, `inception_3b/5x5_reduce`; `:guided` the third, led by the picture that
`--config.hparams.target` names. A 1024 × 575 photo takes 30 s on 2 CPU cores. Expect
towers, pagodas and dogs' heads in the clouds, and 20 times the layer's energy.
"""

from ml_collections import ConfigDict

from dreamjax.config import check_variant
from dreamjax.deepdream.config import dream_config, shrink_dream

LAYERS = {
    "": "inception_4c/output",
    "strokes": "inception_3b/5x5_reduce",
    "guided": 'guided("inception_3b/output")',
}


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest", "strokes", "guided")
    config = dream_config()
    config.model = "googlenet.bvlc"
    config.objective = LAYERS.get(variant, LAYERS[""])
    config.longest = 0
    config.resize = "corner"
    config.border = "blank"
    config.guide_longest = 0
    if variant == "guided":
        config.hparams.target = ("chelsea",)
    if variant == "quicktest":
        shrink_dream(config)
        config.longest = 128
    return config.lock()
