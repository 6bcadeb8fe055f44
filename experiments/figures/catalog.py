"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure
from experiments.figures import dream2015, dream2015_priors, dream2016

FIGURES: tuple[Figure, ...] = (
    *dream2015.FIGURES,
    *dream2015_priors.FIGURES,
    *dream2016.FIGURES,
)
