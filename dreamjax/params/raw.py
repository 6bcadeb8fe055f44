"""Values as they are: a picture in a network's own units, with no range.

The papers before 2017 climb there: RGB or BGR values minus the mean, started at 0 or
from noise. With `Model.network` in place of `Model.taps` the core step does the same.
"""

from collections.abc import Callable

from dreamjax.types import Array, HParams, ImageParam, Key


def raw_param(init: Callable[[Key, HParams], Array]) -> ImageParam:
    """Returns the identity as a parametrization.

    Args:
      init: (key, hp) -> [B, H, W, C] of any range.
    """
    return ImageParam(init, lambda params, hp: params, lambda images, hp: images)
