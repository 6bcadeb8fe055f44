"""What a figure is made from, what it leaves behind, and where that goes."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure as Drawing
from ml_collections import ConfigDict

from dreamjax import models
from dreamjax.build import PHOTOS
from dreamjax.config import base_config, plain, shrink
from dreamjax.environment import environment
from dreamjax.errors import choose
from dreamjax.events import write_events
from dreamjax.figures import record
from dreamjax.figures.layers import layer_like
from dreamjax.files import write_bytes, write_text
from dreamjax.images import load_image
from dreamjax.inputs import pictures_under
from dreamjax.labels import ASSETS
from dreamjax.models.model import Model
from dreamjax.models.source import find
from dreamjax.models.zoo import find_port
from dreamjax.runner import Result, run
from dreamjax.terminal import tell
from dreamjax.workdir import locked

DEFAULT = "efficientnet_lite0"
DPI = 100  # of a drawing, pixels per inch
QUALITY = 70  # of JPEG; with halved color a figure of noisy panels stays below 150 kB
QUICK_SIDE = 32  # pixels


class Context(NamedTuple):
    """How a figure is to be made.

    Attributes:
      name: of the figure.
      model: the network.
      quicktest: at a toy size, in seconds; numbers are then judged by nothing.
      workdir: folder for sweeps and everything else that may be resumed.
      photos: pictures to show a network: those of a folder, or the two that come
        with dreamjax.
      seed: of all that is random.
      report: takes each line of what is said.
    """

    name: str
    model: Model
    quicktest: bool
    workdir: Path
    photos: tuple[Path, ...]
    seed: int
    report: Callable[[str], None]

    def pick(self, full: Any, quick: Any) -> Any:
        """Returns the value for the full figure, or the one for its quicktest."""
        return quick if self.quicktest else full

    def size(self, side: int) -> tuple[int, int]:
        """Returns a square (H, W); in a quicktest the least that the network takes."""
        side = self.pick(side, max(QUICK_SIDE, self.model.record.min_size))
        return side, side

    def layer(self, wanted: str, depth: float, side: int) -> str:
        """Returns the paper's layer, or this network's at that depth (`layers`)."""
        return layer_like(self.model, self.size(side), wanted, depth)

    def photo(self, number: int, size: tuple[int, int]) -> np.ndarray:
        """Returns one of the photos, [H, W, 3] in [0, 1]; they repeat."""
        return load_image(self.photos[number % len(self.photos)], size)

    def find(self, name: str) -> Path | None:
        """Returns the file of this name in the folder of the photos, or None.

        For the paper's own pictures ("published/dream_notebook_cell12.jpg"): where
        they are missing a figure takes a photo and leaves out what needs them.
        """
        found = [p for p in self.photos if p.as_posix().endswith(f"/{name}")]
        beside = self.photos[0].parent / name
        return found[0] if found else beside if beside.is_file() else None

    def config(self, objective: str, side: int, **keys: Any) -> ConfigDict:
        """Returns an unlocked config of this network with Lucid's defaults.

        In a quicktest it is a toy whatever `keys` say of steps.
        """
        config = base_config()
        config.model = self.model.record.name
        config.objective = objective
        config.size = self.size(side)
        config.update(keys)
        if self.quicktest:
            shrink(config)
            config.size = self.size(side)
        config.image_steps = (config.steps,)
        return config

    def sweep(self, name: str, config: ConfigDict) -> Result:
        """Runs a config under the workdir: durable, resumed, with TensorBoard."""
        return run(
            config, self.workdir / name, model=self.model, report=lambda line: None
        )


class Made(NamedTuple):
    """What a figure comes out with.

    Attributes:
      drawings: name -> a drawn figure (`panels.draw`, `report.plots`); "" is the
        figure itself, others are beside it.
      rows: its numbers.
      settings: the recipe, as plain values: layers, steps, rates, seeds.
      notes: sentences under it: what differs from the paper, and why.
      curves: name -> [n], one value per step, for TensorBoard.
      files: name with its ending -> what else is left beside it: a film, a table.
      network: record of what it was made with, where that is not the context's
        network: one that the figure trained or built itself.
    """

    drawings: Mapping[str, Drawing]
    rows: Sequence[record.Row]
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    curves: Mapping[str, Sequence[float]] = MappingProxyType({})
    files: Mapping[str, bytes] = MappingProxyType({})
    network: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure or table of a paper.

    Attributes:
      name: "simonyan2014.fig2".
      paper: authors, year, title.
      shows: one line: what it shows.
      make: Context -> Made.
      network: the record of the paper's own network, taken where its weights are at
        hand; "" where any will do.
    """

    name: str
    paper: str
    shows: str
    make: Callable[[Context], Made]
    network: str = ""


def network_for(figure: Figure, given: str | None) -> str:
    """Returns the network to make a figure with.

    The one given; else the paper's own where its weights are at hand; else the one
    that comes with dreamjax.
    """
    if given is not None:
        return given
    if figure.network and find(find_port(figure.network).source) is not None:
        return figure.network
    return DEFAULT


def make_figure(
    figure: Figure,
    folder: Path,
    workdir: Path,
    *,
    model: str | None = None,
    quicktest: bool = False,
    seed: int = 0,
    photos: Path | None = None,
    report: Callable[[str], None] = tell,
) -> list[dict[str, Any]]:
    """Makes a figure and files it under `folder`/NAME; returns its records.

    Written are NAME.jpg (and NAME_more.jpg), NAME.csv and NAME.json: numbers expected
    and obtained, recipe, environment, and whether another network than the paper's own
    (or than the default, where any will do) stands in. `workdir`/NAME takes its sweeps
    and its curves for TensorBoard.

    Raises:
      ValueError: a folder of photos without any, or a `workdir`/NAME in use.
    """
    network = network_for(figure, model)
    loaded = models.load(network)
    report(f"{figure.name}: {figure.shows} ({loaded.record.name})")
    if model is None and figure.network not in ("", network):
        report(f"  the weights of {figure.network}, the paper's own, are not here")
    raw, target = workdir / figure.name, folder / figure.name
    context = Context(
        figure.name, loaded, quicktest, raw, photos_of(photos), seed, report
    )
    with locked(raw):
        return _make_figure(figure, context, target)


def _make_figure(
    figure: Figure, context: Context, target: Path
) -> list[dict[str, Any]]:
    """Makes a figure into folders that are held."""
    report, loaded, raw = context.report, context.model, context.workdir
    made = figure.make(context)
    used = made.network or loaded.record.name
    own = find_port(figure.network or DEFAULT).record.name
    found = record.records(made.rows, used)
    drawn = {f"{figure.name}{'_' if n else ''}{n}": d for n, d in made.drawings.items()}
    encoded = {name: jpeg(drawing) for name, drawing in drawn.items()}
    for name, data in encoded.items():
        report(f"{'picture':9} {write_bytes(target / f'{name}.jpg', data)}")
    for name, data in made.files.items():
        report(f"{'file':9} {write_bytes(target / name, data)}")
    write_text(target / f"{figure.name}.csv", record.as_csv(found))
    names = [f"{name}.jpg" for name in drawn] + list(made.files)
    about = {
        "figure": figure.name,
        "paper": figure.paper,
        "shows": figure.shows,
        "network": used,
        "own_network": figure.network,
        "substitute": loaded.record.name != own,
        "quicktest": context.quicktest,
        "seed": context.seed,
        "pictures": [f"{name}.jpg" for name in drawn],
        "files": [*names, f"{figure.name}.csv", f"{figure.name}.json"],
        "records": found,
        "settings": plain(made.settings),
        "notes": made.notes,
        "environment": environment(),
    }
    write_text(target / f"{figure.name}.json", json.dumps(about, indent=1))
    numbers = {row.name: float(row.obtained) for row in made.rows}
    write_events(raw / "tb" / figure.name, made.curves, numbers, encoded)
    for row in found:
        report(line(row))
    return found


def photos_of(folder: Path | None) -> tuple[Path, ...]:
    """Returns the pictures under a folder, by name; of none, those of dreamjax.

    Raises:
      ValueError: a folder without pictures.
    """
    if folder is None:
        return tuple(Path(str(ASSETS / f"{name}.png")) for name in PHOTOS)
    return tuple(pictures_under(folder))


def jpeg(drawing: Drawing) -> bytes:
    """Returns a drawing as a JPEG file; the same drawing gives the same bytes."""
    data = io.BytesIO()
    options = {"quality": QUALITY, "subsampling": 2, "optimize": True}
    drawing.savefig(data, format="jpg", dpi=DPI, pil_kwargs=options)
    return data.getvalue()


def line(found: Mapping[str, Any]) -> str:
    """Returns a record in one line."""
    expected = found["expected"]
    said = f"  {found['name']}: {short(found['obtained'])}"
    if expected:
        said += f", expected {short(expected['value'])} {record.tolerance(expected)}"
        said += f" ({expected['source']}): {found['verdict']}"
    return said


def short(value: float | str) -> str:
    """Returns a number in four digits."""
    return value if isinstance(value, str) else f"{value:.4g}"


def by_name(figures: Sequence[Figure], names: Sequence[str]) -> list[Figure]:
    """Returns the figures with these names; a paper's name means all of its figures."""
    known = {figure.name: figure for figure in figures}
    papers = {name.split(".")[0] for name in known}
    found = []
    for name in names:
        if name in papers:
            found += [f for n, f in known.items() if n.split(".")[0] == name]
        else:
            found.append(known[choose("figure", name, [*known, *sorted(papers)])])
    return found
