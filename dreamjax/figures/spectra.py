"""Radial power spectra of pictures, side by side."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from dreamjax.measures.spectrum import radial_power
from dreamjax.report.plots import Curve, curves

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # cycles per pixel


def spectra(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Draws the mean power of the luminance against frequency, both logarithmic.

    Args:
      pictures: label -> [H, W, 3] in [0, 1]; sizes may differ. The power is per pixel,
        so that they can be compared.
    """
    lines = []
    for label, picture in pictures.items():
        frequency, power = radial_power(picture)
        pixels = picture.shape[0] * picture.shape[1]
        lines.append(Curve(label, frequency, power / pixels))
    figure = curves(
        lines,
        x_label="cycles per pixel",
        y_label="mean power of the luminance, per pixel",
        log_x=True,
        log_y=True,
    )
    axis = figure.axes[0].xaxis
    axis.set_major_locator(FixedLocator(TICKS))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    return figure
