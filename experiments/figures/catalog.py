"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure
from experiments.figures import simonyan2014, spratt2017, yosinski2015

FIGURES: tuple[Figure, ...] = (
    *simonyan2014.FIGURES,
    *spratt2017.FIGURES,
    *yosinski2015.FIGURES,
)
