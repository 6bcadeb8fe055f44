"""Folders as finished sweeps leave them, without a network."""

import json

import numpy as np

from dreamjax.config import base_config, plain
from dreamjax.files import write_text
from dreamjax.images import png_bytes
from dreamjax.report.summary import summary_json


def make_sweep(folder, runs, size=(6, 8), hparams=None, **keys):
    """Writes config.json, summary.json and the pictures of a sweep.

    Args:
      folder: where to; made.
      runs: (hparams, metrics) or (hparams, metrics, status) of each run.
      size: (H, W) of the pictures.
      hparams: of the config, name -> tuple.
      keys: of the config.
    """
    config = plain(base_config())
    config |= keys
    config["hparams"] = config["hparams"] | (hparams or {})
    write_text(folder / "config.json", json.dumps(config))
    rows = []
    (folder / "runs").mkdir()
    for i, (given, metrics, *status) in enumerate(runs):
        image = f"runs/run_{i:04d}.png"
        tone = np.full((*size, 3), i / max(1, len(runs) - 1), np.float32)
        (folder / image).write_bytes(png_bytes(tone))
        state = status[0] if status else "alive"
        row = dict(run=i, hparams=given, metrics=metrics, status=state, image=image)
        rows.append(row)
    write_text(folder / "summary.json", summary_json(rows))
    return folder
