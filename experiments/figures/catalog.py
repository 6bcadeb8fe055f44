"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure
from experiments.figures import mv2015, mv2016

FIGURES: tuple[Figure, ...] = (*mv2015.FIGURES, *mv2016.FIGURES)
