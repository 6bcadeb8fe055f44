"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure
from experiments.figures import olah2017_data, olah2017_gradients

FIGURES: tuple[Figure, ...] = (*olah2017_data.FIGURES, *olah2017_gradients.FIGURES)
