"""Mines a folder for the pictures that excite each channel most, least and a little.

    python -m experiments.mine --photos=FOLDER --model=efficientnet_lite0 --taps=b4,b8 \
        --workdir=results/runs/mine
    python -m experiments.mine --photos=FOLDER --taps=b8 --crops=2 --by=unit \
        --channels=3,17,29

Leaves `TAP.json` (all channels: statistics, examples, where in them) and `TAP.jpg` (a
sheet of some channels) for each tap. The same command goes on after an interruption.
A unit's examples are cropped to what it sees. See docs/mining.md.
"""

from absl import flags

from dreamjax.cache import use_compile_cache
from dreamjax.cli import image_size, launch, path_flag
from dreamjax.deepdream.reach import measure_reach
from dreamjax.mining.files import Shown, write_layer
from dreamjax.mining.run import RANKINGS, Settings, mine
from dreamjax.mining.sheet import CROPS
from dreamjax.models import tap_shapes
from dreamjax.workdir import locked
from experiments.network import network_flags

PHOTOS = path_flag("photos", None, "Folder of pictures, at any depth.")
NETWORK = network_flags("efficientnet_lite0", "A network.")
TAPS = flags.DEFINE_list("taps", None, "Layers; see python -m experiments.layers.")
WORKDIR = path_flag("workdir", "results/runs/mine", "Where to.")
SIZE = flags.DEFINE_list("size", None, "Height,width in pixels; the record's default.")
LEVELS = flags.DEFINE_integer(
    "crops", 1, "1: whole pictures; 2: their quarters too; 3: their ninths too."
)
KEEP = flags.DEFINE_integer("keep", 9, "Examples of each kind.")
SAMPLE = flags.DEFINE_integer("sample", 1024, "Random examples, for percentiles.")
BY = flags.DEFINE_enum("by", "mean", RANKINGS, "What examples are ranked by.")
BATCH = flags.DEFINE_integer("batch", 16, "Pictures of one call.")
SEED = flags.DEFINE_integer("seed", 0, "Of the sample.")
CHANNELS = flags.DEFINE_list("channels", None, "Rows of a sheet; the first 12.")
SHOWN = flags.DEFINE_integer("shown", 2, "Examples of each kind in a sheet.")
CROP = flags.DEFINE_enum("show", "unit", CROPS, "Crops, or all that was looked at.")
ROWS = 12  # of a sheet


def main(arguments: list[str]) -> int:
    """Mines; returns the exit status."""
    if arguments or PHOTOS.value is None or TAPS.value is None:
        raise ValueError("give --photos=FOLDER and --taps=LAYER,…; see --help.")
    use_compile_cache()
    with locked(WORKDIR.value):
        return look_and_write()


def look_and_write() -> int:
    """Mines into a folder that is held; returns the exit status."""
    model = NETWORK.load()
    size = image_size(SIZE.value, model.record.size)
    settings = Settings(
        size=size,
        levels=LEVELS.value,
        keep=KEEP.value,
        sample=SAMPLE.value,
        by=BY.value,
        seed=SEED.value,
    )
    mined = mine(
        model,
        TAPS.value,
        PHOTOS.value,
        settings,
        workdir=WORKDIR.value,
        batch=BATCH.value,
    )
    reaches = measure_reach(model, list(mined.ledgers))
    chosen = None if CHANNELS.value is None else [int(n) for n in CHANNELS.value]
    for tap in mined.ledgers:
        layer = Shown(tap, tap_shapes(model, size)[tap], reaches[tap])
        rows = range(min(ROWS, layer.shape[-1])) if chosen is None else chosen
        for path in write_layer(
            mined,
            model.record,
            layer,
            rows,
            each=SHOWN.value,
            crop=CROP.value,
            folder=WORKDIR.value,
        ):
            print(path)
    return 0


if __name__ == "__main__":
    launch(main)
