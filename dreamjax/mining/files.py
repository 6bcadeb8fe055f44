"""What is left of a layer's examples: all of it as JSON, some of it as a picture."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dreamjax.deepdream.reach import Reach
from dreamjax.files import write_bytes, write_text
from dreamjax.mining.choose import KINDS, as_record
from dreamjax.mining.run import Mined
from dreamjax.mining.sheet import layer_sheet
from dreamjax.models.model import Record

QUALITY = 88  # of JPEG


class Shown(NamedTuple):
    """A layer that was looked at.

    Attributes:
      tap: its name.
      shape: [1, h, w, K] or [1, K] at the size that was looked at.
      reach: what a unit sees; None for all.
    """

    tap: str
    shape: tuple[int, ...]
    reach: Reach | None

    @property
    def columns(self) -> int:
        """Positions in a row."""
        return self.shape[2] if len(self.shape) == 4 else 1


def write_layer(
    mined: Mined,
    record: Record,
    layer: Shown,
    channels: Sequence[int],
    *,
    each: int,
    crop: str,
    folder: Path,
) -> tuple[Path, Path]:
    """Writes `TAP.json` of all channels and `TAP.jpg` of some; returns the paths.

    Args:
      mined: what was found.
      record: of the network.
      layer: which.
      channels: rows of the sheet.
      each, crop: as in `layer_sheet`.
      folder: where to.
    """
    tap, reach, columns = layer.tap, layer.reach, layer.columns
    keep = mined.settings.keep
    about = {
        "network": record.name,
        "weights": record.sha256,
        "tap": tap,
        "shape": list(layer.shape[1:]),
        "reach": None if reach is None else reach._asdict(),
        "pictures": mined.used,
        "broken": list(mined.broken),
        "kinds": list(KINDS),
        "environments": list(mined.made_on),
        "settings": mined.settings._asdict(),
        "channels": [
            as_record(mined, tap, channel, keep, reach, columns)
            for channel in range(layer.shape[-1])
        ],
    }
    sheet = layer_sheet(
        mined,
        tap,
        channels,
        each=each,
        reach=reach,
        columns=columns,
        crop=crop,
        title=f"{record.name} {tap}: {mined.used} pictures",
    )
    data = io.BytesIO()
    sheet.save(data, "JPEG", quality=QUALITY)
    stem = folder / tap.replace("/", "_")
    return (
        write_text(f"{stem}.json", json.dumps(about, indent=1)),
        write_bytes(f"{stem}.jpg", data.getvalue()),
    )
