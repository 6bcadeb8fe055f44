"""One page, one table and plots from one or several finished sweeps.

    python -m experiments.compare results/runs/fourier results/runs/pixel
    python -m experiments.compare results/runs/regularizer_search --within=unit
    python -m experiments.compare RUN RUN --rows=unit --columns=sweep --out=BOTH

Opens without a server: index.html. With --rows and --columns also sheet.png, the best
run of each cell.
"""

from pathlib import Path

from absl import flags

from dreamjax.cli import launch, path_flag
from dreamjax.published import refuse_published
from dreamjax.report.compare import write_comparison
from dreamjax.report.comparison import Sweep, read_sweeps

OUT = path_flag("out", None, "Folder; results/runs/compare_<names> if not given.")
ROWS = flags.DEFINE_string("rows", None, "Hyperparameter of the rows of sheet.png.")
COLUMNS = flags.DEFINE_string("columns", None, "Hyperparameter of its columns.")
WITHIN = flags.DEFINE_list(
    "within", [], "Hyperparameters to keep apart when ranking, such as unit."
)


def main(arguments: list[str]) -> int:
    """Compares; returns the exit status."""
    if not arguments:
        raise ValueError("give finished sweeps: python -m experiments.compare RUN...")
    if (ROWS.value is None) != (COLUMNS.value is None):
        raise ValueError("a sheet needs both --rows and --columns.")
    axes = None if ROWS.value is None else (ROWS.value, COLUMNS.value)
    sweeps, notes = read_sweeps(arguments)
    for note in notes:
        print(note)
    out = OUT.value or f"results/runs/compare_{name_of(sweeps)}"
    refuse_published("out", out)
    files = write_comparison(sweeps, out, notes=notes, axes=axes, within=WITHIN.value)
    for name, path in files.items():
        print(f"{name:9} {path}")
    return 0


def name_of(sweeps: list[Sweep]) -> str:
    """Returns a short name for a comparison."""
    names = [Path(sweep.label).name for sweep in sweeps]
    more = [f"and_{len(names) - 3}_more"] if len(names) > 3 else []
    return "_".join(names[:3] + more)


if __name__ == "__main__":
    launch(main)
