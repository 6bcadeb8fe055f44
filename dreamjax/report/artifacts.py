"""What a finished sweep leaves for people: pictures, contact sheet, table, page."""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreamjax.build import Experiment
from dreamjax.environment import UNKNOWN
from dreamjax.files import write_bytes, write_text
from dreamjax.images import png_bytes
from dreamjax.logbook import run_name, write_sheet_run
from dreamjax.report.page import write_page
from dreamjax.report.recipe import read_recipe, write_picture
from dreamjax.report.sheet import contact_sheet
from dreamjax.report.summary import SUMMARY, TABLE, summary_csv, summary_json
from dreamjax.report.values import varying

Row = dict[str, Any]

SHOWN = 1600  # pixels of the longer side of the sheet in TensorBoard


def pictures_of(images: np.ndarray) -> np.ndarray:
    """Returns images [R, B, H, W, C] as pictures [R, H, B·W, 3].

    The images of one run stand side by side. One channel is shown gray; of more than
    three the first three are shown.
    """
    channels = images.shape[-1]
    if channels == 1:
        images = np.repeat(images, 3, axis=-1)
    elif channels == 2:
        images = np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1)
    return np.concatenate(list(np.moveaxis(images[..., :3], 1, 0)), axis=2)


def recipe_of(experiment: Experiment, row: Row, made: Mapping[str, Any]) -> Row:
    """Returns all that is needed to make a run's picture again.

    The number of a run is its place in the list of its config, and a run that
    stopped at a rung is one of fewer steps.

    Args:
      experiment: the sweep.
      row: the run's summary row.
      made: how the run was computed, `environment.provenance`, as its result tells.
    """
    config = experiment.config
    if row.get("stop") is not None:
        config = {**config, "steps": row["stop"], "rungs": ()}
    return {
        "config": config,
        "run": row.get("place", row["run"]),
        "crowd": row["crowd"],
        "hparams": row["hparams"],
        "seed": experiment.runs[row["run"]]["seed"],
        "metrics": row["metrics"],
        "pictures": experiment.image_hashes,
        "network": experiment.model.record.name,
        "weights": experiment.model.record.sha256,
        **made,
    }


def made_of(experiment: Experiment, row: Row, path: Path) -> dict[str, Any]:
    """Returns how a run was computed: as its result tells, never as things are now.

    A result from before this was kept does not tell; then what the picture that is
    there says of it is repeated.

    Args:
      experiment: the sweep.
      row: the run's summary row.
      path: of its picture.
    """
    made = row.get("provenance")
    if made is not None:
        files = {**experiment.identity.files, **made["identity"]["files"]}
        return {**made, "identity": {**made["identity"], "files": files}}
    with contextlib.suppress(ValueError, KeyError):
        old = read_recipe(path)
        if old["hparams"] == json.loads(json.dumps(row["hparams"])):
            return {"environment": old["environment"]}
    return {"environment": UNKNOWN}


def write_artifacts(
    experiment: Experiment,
    workdir: Path,
    rows: Sequence[Row],
    images: np.ndarray,
    *,
    notes: tuple[str, ...] | None = None,
) -> dict[str, Path]:
    """Writes one PNG per run, the sheet, the table and the page.

    Args:
      experiment: the sweep.
      workdir: its folder.
      rows: one summary row per run; "image" is added.
      images: [R, B, H, W, C].
      notes: sentences under the heading of the page; None tells of a sweep.

    Returns:
      Name -> path of everything in the folder that a reader may open.
    """
    pictures = pictures_of(images)
    for row, picture in zip(rows, pictures, strict=True):
        row["image"] = f"runs/{run_name(row['run'])}.png"
        path = workdir / row["image"]
        recipe = recipe_of(experiment, row, made_of(experiment, row, path))
        write_picture(path, picture, recipe)
    config = experiment.config
    title = f"{config['objective']} · {experiment.model.record.name}"
    sheet = contact_sheet(pictures, rows, rows_by(rows, config["rows"]), title)
    write_bytes(workdir / "sheet.png", png_bytes(np.asarray(sheet)))
    if config["tensorboard"]:
        write_sheet_run(workdir, _reduced(sheet))
    write_text(workdir / TABLE, summary_csv(rows))
    write_text(workdir / SUMMARY, summary_json(rows))
    height, width = pictures.shape[1:3]
    notes = notes_of(experiment) if notes is None else notes
    write_page(workdir / "index.html", rows, title, notes, width / height)
    return {
        "sheet": workdir / "sheet.png",
        "pictures": workdir / "runs",
        "page": workdir / "index.html",
        "summary": workdir / TABLE,
        "rows": workdir / SUMMARY,
        "metrics": workdir / "metrics.jsonl",
        "config": workdir / "config.json",
        "env": workdir / "env.json",
        **({"tb": workdir / "tb"} if config["tensorboard"] else {}),
    }


def _reduced(sheet: Image.Image) -> bytes:
    """Returns a sheet of any size as a JPEG that TensorBoard loads at once."""
    small = sheet.convert("RGB")
    small.thumbnail((SHOWN, SHOWN), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=90)
    return data.getvalue()


def rows_by(rows: Sequence[Row], wanted: str) -> str:
    """Returns the hyperparameter that names the rows of the sheet.

    `wanted`, or where the program does not read it the first one that varies, or the
    seed, which every program reads.
    """
    if wanted in rows[0]["hparams"]:
        return wanted
    return [*varying(rows), "seed"][0]


def notes_of(experiment: Experiment) -> tuple[str, ...]:
    """Returns the sentences under the heading of a page."""
    config = experiment.config
    return (
        f"{len(experiment.runs)} runs of {config['steps']} steps; transforms:"
        f" {config['transforms'] or 'none'}; parametrization: {config['param']},"
        f" {config['color']}, {config['range']}.",
        f"score: mean objective under {config['evaluation_draws']} fresh draws of the"
        " transforms; score_plain: without them.",
    )
