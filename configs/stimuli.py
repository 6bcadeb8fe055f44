"""A stimulus set from one clip: a control, and dreams at graded strengths.

    python -m experiments.stimuli --config=configs/stimuli.py \
        --config.image=clip.mp4 --workdir=results/runs/stimuli

Every condition is matched to the control in mean luminance and contrast, frame by
frame; `--config.spectrum=True` matches the radial power spectrum too, and
`--config.scrambled=True` adds a phase-scrambled control. `statistics.csv` has a row per
frame and condition. Needs requirements-video.txt. 24 frames of 320 px: 31 s on 2 CPU
cores.
"""

from ml_collections import ConfigDict

from configs.video import get_config as video
from dreamjax.video.stimuli import stimuli_config


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    return stimuli_config(video(variant)).lock()
