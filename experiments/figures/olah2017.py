"""Olah, Mordvintsev & Schubert 2017: the figures that are made by optimization."""

from experiments.figures import olah2017_regularized, olah2017_units

FIGURES = (*olah2017_units.FIGURES, *olah2017_regularized.FIGURES)
