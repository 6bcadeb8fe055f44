"""The configuration of a dream: that of a sweep, and what a picture adds to it.

Everything under `config.hparams` is traced and may be swept, as everywhere; photos,
octaves and tiles are static.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import ml_collections

from dreamjax.config import FIELDS, Taken, base_config, take
from dreamjax.deepdream.octaves import RESIZES
from dreamjax.errors import choose, require
from dreamjax.fields import PICTURE, TEXT, TRUTH, Field, pair_of, real, whole

NOISE = "noise"

FILMS = ("gif", "mp4")
BORDERS = ("mirror", "blank")

UNUSED = {
    "size": (128, 128),
    "batch": 1,
    "start": "gray",
    "common_noise": True,
    "steps_per_call": 0,
    "image_steps": (0,),
    "checkpoint_seconds": 20.0,
    "keep_states": False,
    "rungs": (),
    "keep": 1.0,
    "evaluation_draws": 1,
    "transfer": "",
}
"""Keys of a sweep that a dream does not have, with what they then are."""


def dream_config() -> ml_collections.ConfigDict:
    """Returns a complete, unlocked configuration: a layer's energy, from a photo."""
    config = base_config()
    for name in UNUSED:
        del config[name]
    config.objective = "b10"
    config.param = "pixel"
    config.color = "rgb"
    config.range = "clip"
    config.transforms = "roll(32)"
    config.gradient = ("mean_abs",)
    config.optimizer = "sgd"
    config.steps = 10  # per octave
    config.log_every = 1
    config.rows = "octave_strength"

    config.image = "chelsea"  # or coffee, a file, a folder, a glob, or noise
    config.longest = 512  # pixels of the longer side; 0 is the file's own size
    config.octaves = 4
    config.octave_scale = 1.4
    config.resize = "smooth"  # or corner, the interpolation of 2015
    config.inject = True  # detail into the next octave; else its picture, enlarged
    config.border = "mirror"  # or blank: what fills a tile beyond the picture
    config.tile = (0, 0)  # height, width in pixels; 0 is chosen
    config.programs = 1  # tile sizes that may be compiled; more waste fewer pixels
    config.overlap = -1  # pixels on either side; -1 is what the layer's units see
    config.tile_batch = 0  # tiles of one call; 0 is chosen
    config.memory = 0.0  # GB that a dream may take; 0 is half of what is free
    config.guide_longest = 224  # pixels of the picture hparams.target; 0 is its own
    config.mask = "none"  # or a picture: dream where it is white
    config.keep_color = False  # the photo's own color, the dream's brightness
    config.blend = 1.0  # 0 is the photo, 1 the dream
    config.panorama = False  # equirectangular: the width wraps around
    config.poles = True  # of a panorama: looked at straight, not stretched
    config.frames = 1  # more make a film: the output again as the input
    config.zoom = 0.05  # from frame to frame, the part of the width that is lost
    config.turn = 0.0  # degrees, counterclockwise
    config.shift = (0.0, 0.0)  # pixels down and right
    config.fps = 15.0
    config.film = "gif"  # or mp4, which needs requirements-video.txt
    config.hparams.octave_strength = (1.0,)
    config.hparams.learning_rate = (1.5 / 255,)
    return config


def shrink_dream(config: ml_collections.ConfigDict) -> None:
    """Makes a dream a toy, for its :quicktest."""
    config.longest = 96
    config.octaves = 2
    config.steps = 2
    config.frames = min(config.frames, 3)


def sweep_config(config: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Returns the config of a sweep of pictures (H, W), for `dreamjax.build`."""
    kept = {name: config[name] for name in base_config() if name not in UNUSED}
    hparams = {n: v for n, v in config["hparams"].items() if n != "octave_strength"}
    return {**UNUSED, **kept, "size": size, "hparams": hparams, "rows": "unit"}


DREAM_FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        **{name: field for name, field in FIELDS.items() if name not in UNUSED},
        "image": PICTURE,
        "longest": whole(0, "side"),
        "octaves": whole(1, "octaves"),
        "octave_scale": real(1, 1000, above=True),
        "resize": TEXT,
        "inject": TRUTH,
        "border": TEXT,
        "tile": pair_of(whole(0, "side")),
        "programs": whole(1, "octaves"),
        "overlap": whole(-1, "side"),
        "tile_batch": whole(0, "batch"),
        "memory": real(0),
        "guide_longest": whole(0, "side"),
        "mask": PICTURE,
        "keep_color": TRUTH,
        "blend": real(0, 1),
        "panorama": TRUTH,
        "poles": TRUTH,
        "frames": whole(1, "frames"),
        "zoom": real(),
        "turn": real(),
        "shift": pair_of(real()),
        "fps": real(0, above=True),
        "film": TEXT,
    }
)
"""Key of a dream's config -> what it may be."""


def take_dream(
    config: Mapping[str, Any], fields: Mapping[str, Field] = DREAM_FIELDS
) -> Taken:
    """Checks and converts the config of a dream; see `dreamjax.config.take`.

    Raises:
      ValueError: for a key that is missing, misspelt, of another type or out of range.
    """
    taken = take(config, fields)
    config = taken.config
    choose("resize", config["resize"], RESIZES)
    choose("film", config["film"], FILMS)
    choose("border", config["border"], BORDERS)
    tile = config["tile"]
    require((min(tile) > 0) == (max(tile) > 0), "tile", tile, "(height, width)")
    strengths = config["hparams"].get("octave_strength", ())
    require(len(strengths) > 0, "hparams", "without octave_strength", "a number")
    for value in strengths:
        drawn = isinstance(value, str)
        good = drawn or (isinstance(value, int | float) and 0 <= value < float("inf"))
        require(good, "hparams.octave_strength", value, "numbers from 0")
    return taken
