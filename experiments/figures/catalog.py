"""All figures, paper by paper, in the order of the papers."""

from dreamjax.figures.figure import Figure
from experiments.figures import (
    erhan2009,
    mv2015,
    mv2015_shallow,
    mv2016,
)

FIGURES: tuple[Figure, ...] = (
    *erhan2009.FIGURES,
    *mv2015.FIGURES,
    *mv2015_shallow.FIGURES,
    *mv2016.FIGURES,
)
