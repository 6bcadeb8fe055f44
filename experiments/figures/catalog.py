"""All figures, paper by paper, in the order of the papers."""

from dreamjax.figures.figure import Figure
from experiments.figures import (
    dream2015,
    dream2015_priors,
    dream2016,
    erhan2009,
    mv2015,
    mv2015_shallow,
    mv2016,
    olah2017,
    olah2017_data,
    olah2017_gradients,
    simonyan2014,
    spratt2017,
    yosinski2015,
)

FIGURES: tuple[Figure, ...] = (
    *erhan2009.FIGURES,
    *simonyan2014.FIGURES,
    *mv2015.FIGURES,
    *mv2015_shallow.FIGURES,
    *mv2016.FIGURES,
    *dream2015.FIGURES,
    *dream2015_priors.FIGURES,
    *dream2016.FIGURES,
    *yosinski2015.FIGURES,
    *olah2017.FIGURES,
    *olah2017_data.FIGURES,
    *olah2017_gradients.FIGURES,
    *spratt2017.FIGURES,
)
