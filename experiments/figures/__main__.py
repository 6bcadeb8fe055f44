"""Makes figures and tables of papers.

    python -m experiments.figures list
    python -m experiments.figures simonyan2014.fig2 --model=efficientnet_lite0
    python -m experiments.figures yosinski2015 --quicktest
    python -m experiments.figures all
    python -m experiments.figures table        # docs/reproductions.md anew

Each leaves its picture, its numbers beside what was expected, and its recipe in
results/figures/NAME, and its sweeps and curves in results/runs/figures/NAME
(tensorboard --logdir results/runs/figures).
"""

from pathlib import Path

from absl import flags

from dreamjax.cache import use_compile_cache
from dreamjax.cli import launch, path_flag
from dreamjax.figures.figure import by_name, make_figure
from dreamjax.figures.table import markdown, read_records
from dreamjax.files import write_text
from experiments.figures import FIGURES

MODEL = flags.DEFINE_string(
    "model", None, "A network; the paper's own if it is here, else the default."
)
PHOTOS = path_flag(
    "photos", None, "A folder of pictures, for figures that show photos to a network."
)
FOLDER = path_flag("folder", "results/figures", "Where to.")
WORKDIR = path_flag(
    "workdir", "results/runs/figures", "For sweeps, and TensorBoard's curves."
)
QUICKTEST = flags.DEFINE_bool("quicktest", False, "A toy size, seconds each.")
SEED = flags.DEFINE_integer("seed", 0, "Of all that is random.")
PAGE = Path("docs/reproductions.md")


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit status."""
    if not arguments:
        raise ValueError("give list, all, table, a paper or figures: see --help.")
    folder = FOLDER.value
    if arguments == ["list"]:
        for figure in FIGURES:
            print(f"{figure.name:28} {figure.shows}")
        return 0
    if arguments == ["table"]:
        order = [figure.name for figure in FIGURES]
        found = [f for f in read_records(folder) if f["figure"] in order]
        found.sort(key=lambda f: order.index(f["figure"]))
        text = markdown(found, f"../{FOLDER.value}")
        print(write_text(PAGE, text))
        return 0
    chosen = FIGURES if arguments == ["all"] else by_name(FIGURES, arguments)
    use_compile_cache()
    for figure in chosen:
        make_figure(
            figure,
            folder,
            WORKDIR.value,
            model=MODEL.value,
            quicktest=QUICKTEST.value,
            seed=SEED.value,
            photos=PHOTOS.value,
        )
    return 0


if __name__ == "__main__":
    launch(main)
