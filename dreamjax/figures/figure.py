"""What a figure is made from, what it leaves behind, and where that goes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure as Drawing

from dreamjax import models
from dreamjax.config import plain
from dreamjax.environment import environment
from dreamjax.errors import choose
from dreamjax.figures import record
from dreamjax.files import write_bytes, write_text
from dreamjax.models.model import Model
from dreamjax.models.source import find
from dreamjax.models.zoo import find_port
from dreamjax.report.plots import png

DEFAULT = "efficientnet_lite0"


class Context(NamedTuple):
    """How a figure is to be made.

    Attributes:
      model: the network.
      quicktest: at a toy size, in seconds; numbers are then judged by nothing.
      workdir: folder for sweeps and everything else that may be resumed.
      seed: of all that is random.
      report: takes each line of what is said.
    """

    model: Model
    quicktest: bool
    workdir: Path
    seed: int
    report: Callable[[str], None]

    def pick(self, full: Any, quick: Any) -> Any:
        """Returns the value for the full figure, or the one for its quicktest."""
        return quick if self.quicktest else full


class Made(NamedTuple):
    """What a figure comes out with.

    Attributes:
      drawings: name -> a drawn figure (`panels.draw`, `report.plots`); "" is the
        figure itself, others are beside it.
      rows: its numbers.
      settings: the recipe, as plain values: layers, steps, rates, seeds.
      notes: sentences under it: what differs from the paper, and why.
    """

    drawings: Mapping[str, Drawing]
    rows: Sequence[record.Row]
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()


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
    *,
    model: str | None = None,
    quicktest: bool = False,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Makes a figure and files it under `folder`/NAME; returns its records.

    Written are NAME.png (and NAME_more.png), NAME.csv and NAME.json: numbers expected
    and obtained, recipe, environment.
    """
    network = network_for(figure, model)
    loaded = models.load(network)
    workdir = folder / figure.name
    report(f"{figure.name}: {figure.shows} ({loaded.record.name})")
    made = figure.make(Context(loaded, quicktest, workdir, seed, report))
    found = record.records(made.rows, loaded.record.name)
    for extra, drawing in made.drawings.items():
        name = f"{figure.name}_{extra}" if extra else figure.name
        path = write_bytes(workdir / f"{name}.png", png(drawing))
        report(f"{'picture':9} {path}")
    write_text(workdir / f"{figure.name}.csv", record.as_csv(found))
    about = {
        "figure": figure.name,
        "paper": figure.paper,
        "shows": figure.shows,
        "network": loaded.record.name,
        "own_network": figure.network,
        "quicktest": quicktest,
        "seed": seed,
        "records": found,
        "settings": plain(made.settings),
        "notes": made.notes,
        "environment": environment(),
    }
    write_text(workdir / f"{figure.name}.json", json.dumps(about, indent=1))
    for row in found:
        report(line(row))
    return found


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
