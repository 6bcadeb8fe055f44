"""The configuration of a dreamed clip: that of a dream, and what time adds to it."""

from collections.abc import Mapping
from types import MappingProxyType

import ml_collections

from dreamjax.deepdream.config import DREAM_FIELDS, dream_config
from dreamjax.fields import TEXT, TRUTH, Field, real, whole


def video_config() -> ml_collections.ConfigDict:
    """Returns a complete, unlocked configuration; `image` is the clip."""
    config = dream_config()
    config.image = "clip.mp4"
    config.tensorboard = False
    config.blend_moving = 0.9  # of the last dream's detail, where things move
    config.blend_static = 0.8  # of the last dream, where nothing does
    config.moving = 1.0  # pixels per frame that count as motion
    config.settle = 1.0  # of the last dream stays where the picture stands
    config.carry_steps = 4  # per octave, after the first frame; 0 is `steps`
    config.flow = "dis"  # or farneback
    config.start = 0  # first frame
    config.stop = 0  # end, exclusive; 0 is the clip's
    config.every = 1  # n-th frame only
    config.output = "mp4"  # or gif
    config.quality = 18  # of an mp4: x264's CRF
    config.compare = False  # dream it without the carry too, and log both
    return config


VIDEO = tuple(name for name in video_config() if name not in dream_config())
"""The keys that are the clip's."""

VIDEO_FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        **DREAM_FIELDS,
        "image": TEXT,
        "blend_moving": real(0, 1),
        "blend_static": real(0, 1),
        "moving": real(0),
        "settle": real(0, 1),
        "carry_steps": whole(0, "steps"),
        "flow": TEXT,
        "start": whole(0, "frames"),
        "stop": whole(0, "frames"),
        "every": whole(1, "frames"),
        "output": TEXT,
        "quality": whole(0, 51),
        "compare": TRUTH,
    }
)
"""Key of a dreamed clip's config -> what it may be."""
