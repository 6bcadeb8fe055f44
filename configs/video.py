"""A dreamed clip: every frame starts from what the last one dreamed, moved along.

    python -m experiments.video --config=configs/video.py --config.image=clip.mp4 \
        --workdir=results/runs/video

After Suzuki et al.'s Hallucination Machine (2017): 3 octaves × 1.8, 16 steps in the
first frame and 4 in each later one, which starts from 0.9 of the detail of the frame
before, moved along the optical flow. Where the picture stands, its dream stands. Needs
requirements-video.txt. 24 frames of 320 px take 22 s on 2 CPU cores; sound and frame
rate stay. With `compare` the clip is dreamed without the carry too, and both figures of
flicker are logged. `:panorama` is for equirectangular clips.
"""

from ml_collections import ConfigDict

from dreamjax.config import check_variant
from dreamjax.deepdream.config import shrink_dream
from dreamjax.video.config import video_config


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; "quicktest" is the same at a toy size."""
    check_variant(variant, "quicktest", "panorama")
    config = video_config()
    config.longest = 320
    config.octaves = 3
    config.octave_scale = 1.8
    config.steps = 16
    config.programs = 3
    if variant == "panorama":
        config.panorama = True
        config.longest = 1024
        config.transforms = "roll(64)"
    if variant == "quicktest":
        shrink_dream(config)
        config.stop = 3
    return config.lock()
