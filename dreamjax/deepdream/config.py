"""The configuration of a dream: that of a sweep, and what a picture adds to it.

Everything under `config.hparams` is traced and may be swept, as everywhere; photos,
octaves and tiles are static.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from dreamjax.config import base_config
from dreamjax.deepdream.octaves import RESIZES
from dreamjax.errors import choose, require

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


def check_dream(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a key that is missing, misspelt or out of range."""
    base = dream_config()
    for name in config:
        choose("config key", name, base)
    missing = [name for name in base if name not in config]
    require(not missing, "config", f"without {', '.join(missing)}", "all keys")
    least = {"longest": 0, "octaves": 1, "overlap": -1, "tile_batch": 0, "memory": 0}
    least |= {"programs": 1, "steps": 1, "log_every": 1, "guide_longest": 0}
    for name, low in least.items():
        require(config[name] >= low, name, config[name], f"at least {low}")
    require(config["octave_scale"] > 1, "octave_scale", config["octave_scale"], "> 1")
    require(0 <= config["blend"] <= 1, "blend", config["blend"], "0 … 1")
    choose("resize", config["resize"], RESIZES)
    choose("film", config["film"], FILMS)
    choose("border", config["border"], BORDERS)
    tile = tuple(config["tile"])
    fine = len(tile) == 2 and all(isinstance(n, int) and n >= 0 for n in tile)
    fine = fine and (min(tile) > 0) == (max(tile) > 0)
    require(fine, "tile", tile, "(height, width)")
    for value in config["hparams"]["octave_strength"]:
        good = isinstance(value, int | float) and 0 <= value < float("inf")
        require(good, "hparams.octave_strength", value, "numbers from 0")
