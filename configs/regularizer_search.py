"""Yosinski's search: 300 settings of four regularizers, for three classes, one program.

    python -m experiments.visualize --config=configs/regularizer_search.py \
        --workdir=results/runs/regularizer_search
    python -m experiments.winners results/runs/regularizer_search
    python -m experiments.compare results/runs/regularizer_search --within=unit

Yosinski et al. 2015 drew 300 settings of decay, blur width, blur period and the two
percentiles below which pixels are grayed, and chose four by eye (their Table 1). Plain
gradient ascent on pixels, no transforms, as theirs; the ranges, which they do not
state, are ours, and so is the drawn learning rate. The points are a Sobol sequence.
`--config.transfer=googlenet.bvlc-noaux` lets a second network judge, if its weights are
here. Times: results/regularizer_search/README.md.

Variants: ":halving" stops the weaker two thirds after 24 and after 48 steps; ":table1"
is the four settings of the paper's Table 1 at the same size and steps.
"""

from ml_collections import ConfigDict

from dreamjax.config import base_config, check_variant, shrink

TABLE_1 = {
    "decay": (0.0, 0.3, 1e-4, 0.0),
    "blur_width": (0.5, 0.0, 1.0, 0.5),
    "blur_every": (4, 0, 4, 4),
    "norm_percentile": (50.0, 20.0, 0.0, 0.0),
    "contribution_abs_percentile": (0.0, 0.0, 0.0, 90.0),
}


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest", "halving", "table1")
    config = base_config()
    config.objective = "logits:unit"
    config.size = (112, 112)
    config.param, config.color, config.range = "pixel", "rgb", "clip"
    config.transforms = ""
    config.optimizer = "sgd"
    config.steps = 96
    config.log_every = 24
    config.image_steps = (96,)
    config.evaluation_draws = 1  # nothing is drawn where there are no transforms
    config.hparams.init_std = (10 / 255,)
    config.hparams.unit = ("flamingo", "volcano", "school bus")
    if variant == "table1":
        config.sweep = f"zip({', '.join(TABLE_1)})"
        config.hparams.learning_rate = (0.02,)
        for name, values in TABLE_1.items():
            config.hparams[name] = values
        return config.lock()
    config.draws = "sobol"
    config.samples = 300
    config.hparams.learning_rate = ("log_uniform(0.005, 0.05)",)
    config.hparams.decay = ("log_uniform(1e-4, 0.5)",)
    config.hparams.blur_width = ("uniform(0., 2.)",)
    config.hparams.blur_every = ("choice(1, 2, 4, 8, 10)",)
    config.hparams.norm_percentile = ("uniform(0., 95.)",)
    config.hparams.contribution_abs_percentile = ("uniform(0., 95.)",)
    if variant == "halving":
        config.rungs, config.keep = (24, 48), 1 / 3
    if variant == "quicktest":
        shrink(config)
        config.samples = 6
        config.runs_per_call = 3
        config.rungs, config.keep = (2,), 0.5
    return config.lock()
