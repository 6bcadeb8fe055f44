"""Figures and tables of papers, one function each; `FIGURES` lists them."""

from experiments.figures import catalog

FIGURES = catalog.FIGURES
