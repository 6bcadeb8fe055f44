"""Metrics of finished runs: numbers to choose pictures by, beside the eye.

`picture` needs the pixels alone, `network` the network that was dreamed in, `transfer`
a second one, `seeds` several runs of one target. `METRICS` says what each number means.
"""

from typing import NamedTuple


class Metric(NamedTuple):
    """What a number means.

    Attributes:
      range: its values, with their unit.
      better: "higher", "lower", or "neutral" where neither is.
      text: the formula in one line.
    """

    range: str
    better: str
    text: str


METRICS = {
    "score": Metric("any", "higher", "mean objective under held-out transforms"),
    "score_plain": Metric("any", "higher", "objective of the picture as it is"),
    "selectivity": Metric(
        "-1 … 1", "higher", "(a_k - mean a_j) / (|a_k| + mean |a_j|), j ≠ k"
    ),
    "selectivity_rank": Metric(
        "0 … 1", "higher", "share of the layer's other channels with a_j < a_k"
    ),
    "transfer_score": Metric("any", "higher", "the class's logit in a second network"),
    "transfer_rank": Metric(
        "1 … classes", "lower", "1 + classes with a higher logit in a second network"
    ),
    "transfer_probability": Metric(
        "0 … 1", "higher", "the class's softmax in a second network"
    ),
    "spectral_slope": Metric(
        "0 is white noise, -1 photos",
        "neutral",
        "slope of log amplitude against log frequency, .02 … .4 cycles/pixel",
    ),
    "slope_distance": Metric("0 …", "lower", "|spectral_slope + 1|"),
    "high_frequency": Metric(
        "0 … 1", "lower", "share of the power above .25 cycles/pixel"
    ),
    "color_distance": Metric(
        "0 … √2", "lower", "Bures distance of the color covariance to ImageNet's"
    ),
    "colorfulness": Metric(
        "0 … about 150", "neutral", "√(σ²_rg + σ²_yb) + .3 √(μ²_rg + μ²_yb), 8-bit"
    ),
    "saturation": Metric("0 … 1", "lower", "share of values that are 0 or 255"),
    "tv": Metric("0 … 2", "neutral", "mean |dx| + |dy| per value"),
    "diversity": Metric(
        "0 … 1", "neutral", "1 - cosine of Gram matrices, mean over pairs of pictures"
    ),
    "agreement": Metric(
        "-1 … 1", "neutral", "rank correlation of channel means, mean over pairs"
    ),
}
"""Metric name -> what it means, in the order in which a table shows them."""
