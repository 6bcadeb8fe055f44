"""All figures, paper by paper."""

from dreamjax.figures.figure import Figure

FIGURES: tuple[Figure, ...] = ()
