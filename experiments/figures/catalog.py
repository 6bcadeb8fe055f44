"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure
from experiments.figures import dream2015

FIGURES: tuple[Figure, ...] = (*dream2015.FIGURES,)
