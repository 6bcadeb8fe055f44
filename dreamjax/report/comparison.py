"""Several sweeps as one: their runs side by side, with what sets the sweeps apart.

A run of a comparison is a summary row with a new number, "sweep" and "sweep_run" (where
it comes from), and among its hyperparameters also the sweep and the keys of the
configs that are not the same in all sweeps.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dreamjax.config import base_config, base_hparams, plain
from dreamjax.json_file import anything, listed, mapped, read_json, record
from dreamjax.paths import given_path
from dreamjax.projections import PROJECTIONS
from dreamjax.regularizers import REGULARIZERS
from dreamjax.report import values
from dreamjax.report.summary import Row, Unfinished, read_summary

BOOKKEEPING = {
    "checkpoint_seconds",
    "identity",
    "image_steps",
    "lanes",
    "log_every",
    "rows",
    "runs",
    "runs_per_call",
    "steps_per_call",
    "tensorboard",
}
"""Keys of a config that change no picture."""

ABSENT = "absent"
"""Stands for a key that the config of an older or another experiment does not have."""

SWITCHES = frozenset(REGULARIZERS) | frozenset(
    name for entry in PROJECTIONS.values() for name in entry.hparams
)
"""Hyperparameters that at their neutral value are off, and then not read."""


class Sweep(NamedTuple):
    """A finished sweep.

    Attributes:
      label: the folder's name, with as many of its parents as tell it from others.
      folder: its folder, absolute.
      config: as config.json has it.
      rows: its summary.
    """

    label: str
    folder: Path
    config: dict[str, Any]
    rows: list[Row]


def read_sweeps(workdirs: Sequence[str | Path]) -> tuple[list[Sweep], list[str]]:
    """Returns the finished sweeps, and a sentence on each unfinished one.

    Raises:
      ValueError: a folder that holds no sweep or a damaged one, one that is given
        twice, or none that is finished.
    """
    folders = [given_path("workdir", w).absolute() for w in workdirs]
    for folder in folders:
        if sum(folder.resolve() == other.resolve() for other in folders) > 1:
            raise ValueError(f"workdir={str(folder)!r} is given twice.")
    sweeps, notes = [], []
    for label, folder, given in zip(labels(folders), folders, workdirs, strict=True):
        try:
            rows = read_summary(given)
        except Unfinished as unfinished:
            notes.append(f"Left out: {unfinished}")
            continue
        sweeps.append(Sweep(label, folder, _config(folder), rows))
    if not sweeps:
        raise ValueError("nothing to compare. " + " ".join(notes))
    return sweeps, notes


def labels(folders: Sequence[Path]) -> list[str]:
    """Returns the last parts of each path, as few as tell them all apart."""
    depth = 1
    while True:
        found = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(found)) == len(found) or all(depth > len(f.parts) for f in folders):
            return found
        depth += 1


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    schema = record({"hparams": mapped(listed(anything))})
    try:
        return read_json(path, "config", schema=schema, nan=True)
    except FileNotFoundError:
        raise ValueError(f"config {str(path)!r} is missing or is damaged.") from None


def align(sweeps: Sequence[Sweep]) -> list[Row]:
    """Returns the runs of all sweeps, in order, with the same keys where they can be.

    A single sweep keeps its runs' numbers. Of several, runs are numbered anew, and
    their hyperparameters get "sweep" and the differing keys of the configs
    (`config.NAME` where a hyperparameter has that name). A penalty or projection that
    a sweep leaves out has its neutral value there, as in its config; anything else
    that a run does not read stays missing.
    """
    several = len(sweeps) > 1
    names = list(dict.fromkeys(n for sweep in sweeps for n in values.names(sweep.rows)))
    columns = _differing(sweeps, names) if several else [{} for _ in sweeps]
    rows: list[Row] = []
    for sweep, static in zip(sweeps, columns, strict=True):
        off = _switched_off(sweep, names)
        for row in sweep.rows:
            head = {"sweep": sweep.label, **static} if several else {}
            found = {**off, **row["hparams"]}
            hparams = {name: found[name] for name in names if name in found}
            rows.append(
                {
                    "run": len(rows) if several else row["run"],
                    "sweep": sweep.label,
                    "sweep_run": row["run"],
                    "hparams": head | hparams,
                    "metrics": row["metrics"],
                    "status": row["status"],
                    "image": _picture(sweep.folder, row),
                }
            )
    return rows


def _differing(sweeps: Sequence[Sweep], taken: Sequence[str]) -> list[dict[str, Any]]:
    """Returns for each sweep the keys of its config that are not the same in all."""
    flat = [_flat(_completed(sweep.config)) for sweep in sweeps]
    names = [
        name
        for name in dict.fromkeys(name for config in flat for name in config)
        if len({values.key_of(config.get(name, ABSENT)) for config in flat}) > 1
    ]
    return [
        {
            f"config.{name}" if name in (*taken, "sweep") else name: config.get(
                name, ABSENT
            )
            for name in names
        }
        for config in flat
    ]


def _completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config of an older sweep with the keys that there are by now."""
    base = plain(base_config())
    extended = set(config) - set(base) - BOOKKEEPING  # of a dream, say
    return dict(config) if extended else {**base, **config}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if prefix + name == "hparams" or name in BOOKKEEPING:
            continue
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _switched_off(sweep: Sweep, names: Sequence[str]) -> dict[str, Any]:
    neutral, given = base_hparams(), sweep.config["hparams"]
    return {
        name: neutral[name][0]
        for name in names
        if name in SWITCHES and list(given.get(name, ())) == list(neutral[name])
    }


def _picture(folder: Path, row: Row) -> str | None:
    """Returns the absolute path of a run's picture, None where there is no file."""
    path = None if row["image"] is None else folder / row["image"]
    return str(path) if path is not None and path.is_file() else None
