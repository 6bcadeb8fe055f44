"""Makes figures and tables of papers.

    python -m experiments.figures list
    python -m experiments.figures simonyan2014.fig2 --model=efficientnet_lite0
    python -m experiments.figures yosinski2015 --quicktest
    python -m experiments.figures all
    python -m experiments.figures table        # of what results/figures has

Each leaves its picture, its numbers beside what was expected, and its recipe in
results/runs/figures/NAME, with its sweeps and curves
(tensorboard --logdir results/runs/figures); a quicktest in
results/runs/figures_quicktest/NAME. --publish also writes a figure to
results/figures/NAME, and the table to docs/reproductions.md: what is committed. That is
refused for a quicktest, and where another network stands in for the paper's own.
"""

import os
from pathlib import Path

from absl import flags

from dreamjax.cache import use_compile_cache
from dreamjax.cli import launch, path_flag
from dreamjax.errors import require
from dreamjax.figures.figure import DEFAULT, Figure, by_name, make_figure
from dreamjax.figures.table import markdown, read_records
from dreamjax.files import write_text
from dreamjax.models.source import find
from dreamjax.models.zoo import find_port
from dreamjax.published import publish_figure, refuse_published
from experiments.figures import FIGURES

MODEL = flags.DEFINE_string(
    "model", None, "A network; the paper's own if it is here, else the default."
)
PHOTOS = path_flag(
    "photos", None, "A folder of pictures, for figures that show photos to a network."
)
FOLDER = path_flag(
    "folder", None, "Where to; results/runs/figures, or _quicktest, if not given."
)
WORKDIR = path_flag(
    "workdir", None, "For sweeps, and TensorBoard's curves; the folder if not given."
)
PUBLISH = flags.DEFINE_bool("publish", False, "Write to results/figures and docs too.")
QUICKTEST = flags.DEFINE_bool("quicktest", False, "A toy size, seconds each.")
SEED = flags.DEFINE_integer("seed", 0, "Of all that is random.")
RUNS, PUBLISHED = Path("results/runs/figures"), Path("results/figures")
TABLE, PAGE = Path("results/runs/reproductions.md"), Path("docs/reproductions.md")


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit status."""
    if not arguments:
        raise ValueError("give list, all, table, a paper or figures: see --help.")
    if arguments == ["list"]:
        for figure in FIGURES:
            print(f"{figure.name:28} {figure.shows}")
        return 0
    if arguments == ["table"]:
        print(write_table(FOLDER.value or PUBLISHED, PAGE if PUBLISH.value else TABLE))
        return 0
    chosen = FIGURES if arguments == ["all"] else by_name(FIGURES, arguments)
    folder = FOLDER.value
    if folder is None:
        folder = RUNS.with_name("figures_quicktest") if QUICKTEST.value else RUNS
    workdir = WORKDIR.value or folder
    refuse_published("folder", folder)
    refuse_published("workdir", workdir)
    if PUBLISH.value:
        for figure in chosen:
            check_publishable(figure)
    use_compile_cache()
    for figure in chosen:
        make_figure(
            figure,
            folder,
            workdir,
            model=MODEL.value,
            quicktest=QUICKTEST.value,
            seed=SEED.value,
            photos=PHOTOS.value,
        )
        if PUBLISH.value:
            for path in publish_figure(folder / figure.name, PUBLISHED / figure.name):
                print(f"{'published':9} {path}")
    return 0


def write_table(folder: Path, page: Path) -> Path:
    """Writes the table of the figures in a folder; says what is no evidence.

    Args:
      folder: with a folder for each figure.
      page: the file of the table.

    Raises:
      ValueError: docs/reproductions.md of another folder than results/figures.
    """
    allowed = f"docs/reproductions.md is the table of {PUBLISHED}"
    require(page != PAGE or folder == PUBLISHED, "folder", str(folder), allowed)
    order = [figure.name for figure in FIGURES]
    found, passed_over = read_records(folder)
    for name, reason in passed_over.items():
        print(f"{name} is not in the table: {reason}")
    found = [f for f in found if f["figure"] in order]
    found.sort(key=lambda f: order.index(f["figure"]))
    pictures = os.path.relpath(folder, page.parent)
    return write_text(page, markdown(found, Path(pictures).as_posix()))


def check_publishable(figure: Figure) -> None:
    """Raises ValueError where a figure made with these flags could not be published."""
    require(not QUICKTEST.value, "publish", True, "a quicktest is a toy")
    about = f"{figure.name}: the real one is made with "
    own = find_port(figure.network or DEFAULT)
    given = MODEL.value if MODEL.value is None else find_port(MODEL.value)
    require(given in (None, own), "model", MODEL.value, about + own.record.name)
    here = find(own.source) is not None
    require(here, "publish", True, f"{about}{own.record.name}, which is not here")


if __name__ == "__main__":
    launch(main)
