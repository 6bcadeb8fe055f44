"""Random search over regularizers: 300 settings of one neuron, in one program.

    python -m experiments.visualize --config=configs/random_search.py \
        --workdir=results/runs/random_search

The operators of Yosinski et al. 2015 (decay, blur, percentile clips) and the penalties
and the learning rate, drawn at random; everything is traced, so 300 settings are one
compile: 2 minutes on 2 CPU cores. Scores range from 5 to 18; none of the 30 best has a
percentile clip, and their total variation weighs 32 on average against 128 in the 30
worst (results/random_search/summary.csv). Look at index.html, sorted by score, or at
TensorBoard's HParams tab.
"""

from ml_collections import ConfigDict

from dreamjax.config import base_config, shrink


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    config = base_config()
    config.objective = "b8:unit"
    config.size = (96, 96)
    config.steps = 32
    config.samples = 300
    config.runs_per_call = 30
    config.log_every = 8
    config.image_steps = (32,)
    config.hparams.unit = (29,)
    config.hparams.learning_rate = ("log_uniform(0.02, 0.2)",)
    config.hparams.decay_power = ("uniform(0.8, 1.4)",)
    config.hparams.tv = ("log_uniform(1., 500.)",)
    config.hparams.decay = ("log_uniform(1e-4, 0.02)",)
    config.hparams.blur_width = ("uniform(0.3, 1.5)",)
    config.hparams.blur_every = ("choice(0, 2, 4, 8)",)
    config.hparams.norm_percentile = ("choice(0, 0, 0, 30)",)
    config.hparams.contribution_abs_percentile = ("choice(0, 0, 0, 50)",)
    if variant == "quicktest":
        shrink(config)
        config.samples = 6
        config.runs_per_call = 3
    return config.lock()
