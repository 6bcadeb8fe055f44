"""A guided dream: the photo takes on what another picture is made of.

    python -m experiments.dream --config=configs/dream_guided.py \
        --config.image=photo.jpg --config.hparams.target="('guide.jpg',)" \
        --workdir=results/runs/dream_guided

Every position of EfficientNet-Lite0 `b7` climbs toward the position of the guide that
it resembles most. The shipped pair, the cat guided by a cup of coffee: 12 s on 2 CPU
cores. Expect the round rims and the grain of the table in the fur; with another guide,
another weave.
"""

from ml_collections import ConfigDict

from dreamjax.config import check_variant
from dreamjax.deepdream.config import dream_config, shrink_dream


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest")
    config = dream_config()
    config.objective = 'guided("b7")'
    config.hparams.target = ("coffee",)
    if variant == "quicktest":
        shrink_dream(config)
    return config.lock()
