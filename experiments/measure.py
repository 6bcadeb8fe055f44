"""Prints the metrics of pictures that need no network: spectrum, color, edges.

    python -m experiments.measure photo.jpg results/runs/quickstart/runs/*.png
    python -m experiments.measure --size=128,128 --csv=photos.csv photos/*.jpg noise

`noise` is uniform noise in every value, for comparison; `chelsea` and `coffee` are the
photos that come along. What the numbers mean is in docs/metrics.md.
"""

import csv
import io

import numpy as np
from absl import flags

from dreamjax.build import picture_path
from dreamjax.cli import image_size, launch, path_flag
from dreamjax.files import write_text
from dreamjax.images import load_image
from dreamjax.metrics.picture import picture_metrics
from dreamjax.report.values import short

SIZE = flags.DEFINE_list("size", None, "Height,width in pixels; the file's own.")
CSV = path_flag("csv", None, "File for the table, with all digits.")
NOISE, NOISE_SIDE = "noise", 128


def main(arguments: list[str]) -> int:
    """Prints; returns the exit status."""
    if not arguments:
        raise ValueError("give pictures: python -m experiments.measure PICTURE...")
    size = None if SIZE.value is None else image_size(SIZE.value, NOISE_SIDE)
    rows = [picture_metrics(load(name, size)[None]) for name in arguments]
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(rows) > 1:
        arguments = [*arguments, "mean"]
        rows.append(
            {n: float(np.mean([row.get(n, np.nan) for row in rows])) for n in names}
        )
    lines = [["picture", *names]]
    for label, row in zip(arguments, rows, strict=True):
        lines.append([label[-40:], *(short(row.get(name, "")) for name in names)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (c.ljust(w) for c, w in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    if CSV.value is not None:
        table = [
            [label, *(row.get(name, "") for name in names)]
            for label, row in zip(arguments, rows, strict=True)
        ]
        print(write_text(CSV.value, csv_text([["picture", *names], *table])))
    return 0


def load(name: str, size: tuple[int, int] | None) -> np.ndarray:
    """Returns a picture [H, W, 3] in [0, 1]: of a file, or noise of a fixed seed."""
    if name != NOISE:
        return load_image(picture_path(name), size)
    height, width = (NOISE_SIDE, NOISE_SIDE) if size is None else size
    return np.random.default_rng(0).uniform(size=(height, width, 3))


def csv_text(lines: list[list]) -> str:
    """Returns lines of cells as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


if __name__ == "__main__":
    launch(main)
