"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure
from experiments.figures import erhan2009, mv2015, mv2015_shallow

FIGURES: tuple[Figure, ...] = (
    *erhan2009.FIGURES,
    *mv2015.FIGURES,
    *mv2015_shallow.FIGURES,
)
