"""A table of statistics of a stimulus set: one row per frame and condition.

A stimulus set is a control clip and its dreams, name -> frames. The table shows what
the conditions differ in besides what is seen in them.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from dreamjax.errors import require
from dreamjax.files import write_text
from dreamjax.measures.histogram import color_entropy, gray_entropy
from dreamjax.measures.lempel_ziv import relative_phrases
from dreamjax.measures.light import luminance, mean_luminance, rms_contrast
from dreamjax.measures.motion import flow_magnitude, frame_difference, pixel_lz
from dreamjax.measures.spectrum import high_frequency, spectral_slope

FRAME_COLUMNS = (
    "luminance",
    "contrast",
    "spectral_slope",
    "high_frequency",
    "entropy",
    "lz",
    "flow",
    "objective",
    "color_entropy",
    "frame_difference",
)
"""What is measured of every frame; the docstring of `statistics_table` has each."""

COLUMNS = ("condition", "frame", *FRAME_COLUMNS, "lz_time")
"""The columns of the table, in the order of the file."""

SUMMARIES = ("mean", "sd")
"""What stands in `frame` of the two rows that sum up a condition."""

Row = dict[str, str | int | float | None]
"""Column -> value; None where there is none (the flow of a first frame)."""


def statistics_table(
    conditions: Mapping[str, np.ndarray],
    flows: Mapping[str, np.ndarray] | None = None,
    objective: Mapping[str, np.ndarray] | None = None,
) -> list[Row]:
    """Measures every frame of every condition.

    Of a frame: `luminance` and `contrast` (mean and standard deviation of linear
    luminance), `spectral_slope`, `high_frequency` (share of power above .25
    cycles/pixel), `entropy` and `color_entropy` (bits), `lz` (LZW phrases of the pixels
    row by row, brighter than the frame's mean or not, over those in random order),
    `flow` (mean pixels per frame, from the frame before), `frame_difference` (power of
    the change of luminance from the frame before), `objective` (as given).
    Of a condition, two rows: the `mean` over its frames, and their `sd` (of the
    sample, divided by n - 1; None for fewer than two values). The `mean` row also has
    `lz_time`, the complexity of its pixels over time, which is of the whole clip.

    Args:
      conditions: name -> frames [T, H, W, 3], RGB in [0, 1]; H and W at least 8.
      flows: name -> [T - 1, H, W, 2] pixels per frame, for some or all conditions.
      objective: name -> [T], for some or all conditions.

    Returns:
      Rows with all of `COLUMNS`: the frames of the first condition, numbered from 0,
      its two summaries, then the next condition.

    Raises:
      ValueError: for other shapes, and for flows or objectives of no condition.
    """
    flows = {} if flows is None else flows
    objective = {} if objective is None else objective
    for argument, given in (("flows", flows), ("objective", objective)):
        unknown = sorted(set(given) - set(conditions))
        require(not unknown, argument, unknown, f"conditions are {list(conditions)}")
    rows: list[Row] = []
    for name, frames in conditions.items():
        frames = np.asarray(frames)
        shaped = frames.ndim == 4 and frames.shape[3] == 3 and len(frames) > 0
        argument = f"conditions[{name!r}].shape"
        require(shaped, argument, frames.shape, "give [T, H, W, 3]")
        large = min(frames.shape[1:3]) >= 8
        require(large, argument, frames.shape, "frames of at least 8 x 8 pixels")
        measured = list(_frame_rows(frames))
        _add(measured[1:], "frame_difference", frame_difference(frames), name)
        if name in flows:
            _add(measured[1:], "flow", flow_magnitude(flows[name]), name)
        if name in objective:
            _add(measured, "objective", np.asarray(objective[name], float), name)
        summary = [_summary(measured, kind) for kind in SUMMARIES]
        summary[0]["lz_time"] = pixel_lz(frames)
        named = [*enumerate(measured), *zip(SUMMARIES, summary, strict=True)]
        empty = dict.fromkeys(COLUMNS)
        rows += [empty | {"condition": name, "frame": i} | row for i, row in named]
    return rows


def write_csv(path: str | Path, rows: list[Row]) -> Path:
    """Writes the rows of `statistics_table` as a CSV file with a header; atomically.

    Numbers have 9 significant digits, which keeps float32, and a point; None is an
    empty cell.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return write_text(path, text.getvalue())


def _frame_rows(frames: np.ndarray) -> Iterator[Row]:
    """Yields what each frame has by itself."""
    for frame in frames:
        plane = luminance(frame)
        yield {
            "luminance": mean_luminance(frame),
            "contrast": rms_contrast(frame),
            "spectral_slope": spectral_slope(plane),
            "high_frequency": high_frequency(plane),
            "entropy": gray_entropy(frame),
            "lz": relative_phrases(plane > plane.mean()),
            "color_entropy": color_entropy(frame),
        }


def _add(rows: list[Row], column: str, values: np.ndarray, name: str) -> None:
    """Puts one value into each row."""
    argument = f"{column}[{name!r}].shape"
    fits = values.shape == (len(rows),)
    require(fits, argument, values.shape, f"one value for each of {len(rows)} frames")
    for row, value in zip(rows, values, strict=True):
        row[column] = float(value)


def _summary(rows: list[Row], kind: str) -> Row:
    """Returns the mean or the sample standard deviation of every column."""
    summary: Row = {}
    for column in FRAME_COLUMNS:
        values = [row[column] for row in rows if row.get(column) is not None]
        if kind == "mean":
            summary[column] = float(np.mean(values)) if values else None
        else:
            summary[column] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return summary


def _cell(value: str | int | float | None) -> str | int:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else value
