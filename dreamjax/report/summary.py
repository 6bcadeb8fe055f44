"""The summary of a sweep, `summary.csv` and `summary.json`: written, and read again.

`summary.json` is a list with one object per run: "run", "hparams", "metrics",
"status" and "image", the picture's path from the folder of the sweep or null. It is
strict JSON: NaN and infinities are the texts "nan", "inf" and "-inf".
"""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dreamjax.json_file import read_json
from dreamjax.paths import given_path
from dreamjax.report import values

Row = dict[str, Any]

SUMMARY, TABLE = "summary.json", "summary.csv"
ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Unfinished(ValueError):
    """A sweep that has no summary yet."""


def summary_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the summary as strict JSON, one run on a line."""
    lines = [
        json.dumps(
            {
                "run": row["run"],
                "hparams": _map_numbers(row["hparams"], _as_text),
                "metrics": _map_numbers(row["metrics"], _as_text),
                "status": row["status"],
                "image": row.get("image"),
            },
            allow_nan=False,
        )
        for row in rows
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def summary_csv(
    rows: Sequence[Mapping[str, Any]], extra: Sequence[str] = ("image",)
) -> str:
    """Returns the table: a line per run, its hyperparameters, its metrics.

    Args:
      rows: summary rows.
      extra: keys of the rows that become the last columns.
    """
    hparams = list(dict.fromkeys(name for row in rows for name in row["hparams"]))
    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "status", *hparams, *metrics, *extra])
    for row in rows:
        writer.writerow(
            [
                row["run"],
                row["status"],
                *(row["hparams"].get(name, "") for name in hparams),
                *(row["metrics"].get(name, "") for name in metrics),
                *(row.get(name) for name in extra),
            ]
        )
    return text.getvalue()


def read_summary(workdir: str | Path) -> list[Row]:
    """Returns the summary rows of a finished sweep, numbers as numbers again.

    Raises:
      Unfinished: a ValueError: the folder holds a sweep without a summary.
      ValueError: no such folder, no sweep in it, or a damaged summary.
    """
    workdir = given_path("workdir", workdir)
    name = f"workdir={str(workdir)!r}"
    if not workdir.is_dir():
        why = "is a file" if workdir.exists() else "does not exist"
        raise ValueError(f"{name} {why}: give the folder of a finished sweep.")
    path = workdir / SUMMARY
    if not path.is_file():
        raise _missing(workdir, name)
    rows = read_json(path, "summary", remedy=REMEDY)
    if not isinstance(rows, list) or not rows:
        raise _damaged(path, "it is no list of runs")
    for number, row in enumerate(rows):
        wrong = _wrong(row)
        if wrong:
            raise _damaged(path, f"entry {number}: {wrong}")
    if len({row["run"] for row in rows}) < len(rows):
        raise _damaged(path, "a run is there twice")
    return [
        row | {part: _map_numbers(row[part], _as_number) for part in PARTS}
        for row in rows
    ]


PARTS = ("hparams", "metrics")


def _missing(workdir: Path, name: str) -> ValueError:
    if (workdir / TABLE).is_file():
        return ValueError(
            f"{name} has a {TABLE} but no {SUMMARY}, which older versions did not"
            " write. Start the sweep's command again: a finished sweep only writes its"
            " report anew."
        )
    if not (workdir / "config.json").is_file():
        return ValueError(f"{name} holds no sweep: it has neither config nor summary.")
    done = len(list(workdir.glob("results/*.npz")))
    return Unfinished(
        f"{name} is not finished ({done} of its blocks are). Start the sweep's command"
        " again: it goes on from there."
    )


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(f"summary {str(path)!r} is damaged ({why}). {REMEDY}")


REMEDY = (
    "Start the sweep's command again: a finished sweep only writes its report anew."
)


def _wrong(row: Any) -> str:
    """Returns what is wrong with an entry of the summary, or ""."""
    if not isinstance(row, dict):
        return "it is no object"
    run, image = row.get("run"), row.get("image")
    if not isinstance(run, int) or isinstance(run, bool) or run < 0:
        return f"run={run!r}"
    if not isinstance(row.get("status"), str):
        return f"status={row.get('status')!r}"
    for part in PARTS:
        if not isinstance(row.get(part), dict):
            return f"{part}={row.get(part)!r}"
    for name, value in row["metrics"].items():
        odd = isinstance(value, str) and value in ODD
        if value is not None and type(value) not in (int, float) and not odd:
            return f"metrics.{name}={value!r}"
    if image is not None and not _is_inside(image):
        return f"image={image!r} is no path in the folder of the sweep"
    return ""


def _is_inside(image: Any) -> bool:
    if not isinstance(image, str) or not image or "\0" in image:
        return False
    path = PurePosixPath(image)
    return not path.is_absolute() and ".." not in path.parts


def _map_numbers(value: Any, change: Callable[[Any], Any]) -> Any:
    """Returns JSON's values with `change` applied to what is no container."""
    value = values.plain(value)
    if isinstance(value, Mapping):
        return {str(name): _map_numbers(v, change) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_map_numbers(v, change) for v in value]
    return change(value)


def _as_text(value: Any) -> Any:
    odd = isinstance(value, float) and not math.isfinite(value)
    return str(value) if odd else value


def _as_number(value: Any) -> Any:
    return ODD.get(value, value) if isinstance(value, str) else value
