"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure
from experiments.figures import simonyan2014

FIGURES: tuple[Figure, ...] = (*simonyan2014.FIGURES,)
