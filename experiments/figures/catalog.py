"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure
from experiments.figures import mv2015

FIGURES: tuple[Figure, ...] = (*mv2015.FIGURES,)
