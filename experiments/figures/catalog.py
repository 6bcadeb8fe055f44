"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure
from experiments.figures import olah2017

FIGURES: tuple[Figure, ...] = olah2017.FIGURES
