"""Mines a folder for the pictures that excite each channel most, least and a little.

    python -m experiments.mine --photos=FOLDER --model=efficientnet_lite0 --taps=b4,b8 \
        --workdir=results/runs/mine
    python -m experiments.mine --photos=FOLDER --taps=b8 --crops=2 --by=unit \
        --channels=3,17,29

Leaves `TAP.json` (all channels: statistics, examples, where in them) and `TAP.jpg` (a
sheet of some channels) for each tap. The same command goes on after an interruption.
A unit's examples are cropped to what it sees. See docs/mining.md.
"""

import io
import json
from pathlib import Path

from absl import flags

from dreamjax import models
from dreamjax.cache import use_compile_cache
from dreamjax.cli import image_size, launch
from dreamjax.deepdream.reach import measure_reach
from dreamjax.files import write_bytes, write_text
from dreamjax.mining.choose import KINDS, as_record
from dreamjax.mining.run import RANKINGS, Settings, mine
from dreamjax.mining.sheet import CROPS, layer_sheet
from dreamjax.models import tap_shapes

PHOTOS = flags.DEFINE_string("photos", None, "Folder of pictures, at any depth.")
MODEL = flags.DEFINE_string("model", "efficientnet_lite0", "A network.")
TAPS = flags.DEFINE_list("taps", None, "Layers; see python -m experiments.layers.")
WORKDIR = flags.DEFINE_string("workdir", "results/runs/mine", "Where to.")
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
    model = models.load(MODEL.value)
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
    shapes = tap_shapes(model, size)
    for tap in mined.ledgers:
        shape, reach = shapes[tap], reaches[tap]
        columns = shape[2] if len(shape) == 4 else 1
        found = [
            as_record(mined, tap, channel, settings.keep, reach, columns)
            for channel in range(shape[-1])
        ]
        about = {
            "network": model.record.name,
            "tap": tap,
            "shape": list(shape[1:]),
            "reach": None if reach is None else reach._asdict(),
            "pictures": len(mined.pictures),
            "broken": list(mined.broken),
            "kinds": list(KINDS),
            "settings": settings._asdict(),
            "channels": found,
        }
        stem = Path(WORKDIR.value) / tap.replace("/", "_")
        print(write_text(f"{stem}.json", json.dumps(about, indent=1)))
        rows = range(min(ROWS, shape[-1]))
        if CHANNELS.value is not None:
            rows = [int(channel) for channel in CHANNELS.value]
        sheet = layer_sheet(
            mined,
            tap,
            rows,
            each=SHOWN.value,
            reach=reach,
            columns=columns,
            crop=CROP.value,
            title=f"{model.record.name} {tap}: {len(mined.pictures)} pictures",
        )
        data = io.BytesIO()
        sheet.save(data, "JPEG", quality=88)
        print(write_bytes(f"{stem}.jpg", data.getvalue()))
    return 0


if __name__ == "__main__":
    launch(main)
