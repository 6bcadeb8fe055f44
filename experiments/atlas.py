"""Makes a layer atlas: every layer of a network × its channels, as one static site.

    python -m experiments.atlas --model=efficientnet_lite0 --channels=16 \
        --workdir=results/runs/atlas
    python -m experiments.atlas --model=vgg16 --taps='conv3_*,conv5_3,logits' \
        --pick=active --workdir=results/runs/atlas

The same command goes on after an interruption. A second network joins the site of the
first: same workdir, or the same --site. See docs/atlas.md.
"""

from absl import flags

from dreamjax.atlas import Wanted, make_atlas
from dreamjax.atlas.sprites import Style
from dreamjax.cache import use_compile_cache
from dreamjax.cli import config_flag, given_config, launch, path_flag
from experiments.network import network_flags

CONFIG = config_flag("configs/atlas.py")
NETWORK = network_flags(None, "A network; the config's if not given.")
WORKDIR = path_flag("workdir", "results/runs/atlas", "Folder of the sweeps.")
SITE = path_flag("site", None, "Folder of the pages; WORKDIR/site.")
TAPS = flags.DEFINE_list("taps", [], "Layers, or patterns with *; all if not given.")
CHANNELS = flags.DEFINE_integer("channels", 16, "Channels of a layer; 0 is all.")
PICK = flags.DEFINE_string("pick", "first", "first, spread or active.")
VARIANTS = flags.DEFINE_integer("variants", 1, "Further pictures of a channel.")
DIVERSITY = flags.DEFINE_float(
    "diversity", 0.0, "Weight of the diversity term between variants; 0: other seeds."
)
NEGATIVE = flags.DEFINE_bool("negative", True, "Also drive each channel down.")
PHOTOS = path_flag("photos", None, "Folder of photos to compare with.")
FORMAT = flags.DEFINE_string("format", "webp", "Of the sprite sheets: webp or jpeg.")
QUALITY = flags.DEFINE_integer("quality", 80, "Of the sprite sheets, 1 … 100.")
TILE = flags.DEFINE_integer("tile", 0, "Longer side of a sprite; 0: as the picture.")


def main(arguments: list[str]) -> int:
    """Makes the atlas; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    use_compile_cache()
    config = given_config(CONFIG)
    NETWORK.into(config)
    wanted = Wanted(
        taps=tuple(TAPS.value),
        channels=CHANNELS.value,
        pick=PICK.value,
        variants=VARIANTS.value,
        diversity=DIVERSITY.value,
        negative=NEGATIVE.value,
        photos=PHOTOS.value,
    )
    style = Style(FORMAT.value, QUALITY.value, TILE.value)
    make_atlas(config, WORKDIR.value, SITE.value, wanted=wanted, style=style)
    return 0


if __name__ == "__main__":
    launch(main)
