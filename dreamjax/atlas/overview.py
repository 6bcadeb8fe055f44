"""What an atlas says of whole layers: the index, tables, and plots against depth."""

import csv
import html
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from dreamjax.atlas.layer import rounded
from dreamjax.atlas.names import file_stem
from dreamjax.metrics import METRICS
from dreamjax.report import embed
from dreamjax.report.plots import Curve, curves, svg

Network = Mapping[str, Any]

TITLES = {
    "score_z": "score against photos [SD]",
    "score_ratio": "score against best photo [ratio]",
    "selectivity": "selectivity",
    "spectral_slope": "spectral slope",
    "high_frequency": "high-frequency share",
    "color_distance": "color distance",
    "colorfulness": "colorfulness",
    "saturation": "saturation",
    "total_variation": "total variation",
    "selectivity_rank": "selectivity rank",
    "slope_distance": "distance of the slope from -1",
    "top_probability": "top class probability",
    "score": "score",
    "score_plain": "score without transforms",
    "photo_mean": "mean activation on photos",
}
"""Metric -> title, in the order of the page; others follow."""

OWN = {
    "score_z": "score_plain less the channel's mean on photos, in standard deviations"
    " of the channel on photos; comparable between layers",
    "score_ratio": "score_plain by the mean on the photo that the channel likes best;"
    " comparable between layers",
    "top_probability": "of the class that the network gives the picture first",
    "photo_mean": "of the channel, over photos and positions",
}
ABSOLUTE = ("score", "score_plain", "photo_mean")
"""Metrics of which each layer has its own scale."""

HIDDEN = {"steps"}  # the same in all
SHOWN = ("score_z", "selectivity", "spectral_slope", "high_frequency", "color_distance")
"""Columns of the index, where there are any."""


def meaning(name: str) -> str:
    """Returns what a metric is, in a line; "" of one that nobody has described."""
    if name in OWN:
        return OWN[name]
    if name not in METRICS:
        return ""
    text = f"{METRICS[name].text}; {METRICS[name].range}"
    return text + ("; not comparable between layers" if name in ABSOLUTE else "")


def numbers_of(channel: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics of a channel, with the probability of its top class."""
    found = {k: v for k, v in channel["metrics"].items() if k not in HIDDEN}
    if channel["classes"]:
        found["top_probability"] = channel["classes"][0][1]
    return found


def metric_names(networks: Sequence[Network]) -> list[str]:
    """Returns every metric that any channel has, known ones first."""
    have = {
        name
        for network in networks
        for layer in network["layers"]
        for channel in layer["channels"]
        for name in numbers_of(channel)
    }
    return [n for n in TITLES if n in have] + sorted(have - set(TITLES))


def quartiles(layer: Mapping[str, Any]) -> dict[str, list[float]]:
    """Returns metric -> its quartiles over the layer's channels."""
    columns: dict[str, list[float]] = {}
    for channel in layer["channels"]:
        for name, value in numbers_of(channel).items():
            columns.setdefault(name, []).append(value)
    return {
        name: [rounded(float(q)) for q in np.percentile(values, (25, 50, 75))]
        for name, values in columns.items()
    }


def units_text(units: Sequence[int]) -> list[list[int]]:
    """Returns channel numbers as runs [first, last], in their order."""
    runs: list[list[int]] = []
    for unit in units:
        if runs and runs[-1][1] == unit - 1:
            runs[-1][1] = unit
        else:
            runs.append([unit, unit])
    return runs


def index(networks: Sequence[Network], plotted: Collection[str]) -> dict[str, Any]:
    """Returns what the page knows from the start: layers, no channels."""
    names = metric_names(networks)
    return {
        "networks": [_of_network(network) for network in networks],
        "metrics": [
            {
                "name": name,
                "title": TITLES.get(name, name),
                "meaning": meaning(name),
                "plot": plot_stem(name) if plot_stem(name) in plotted else None,
                "absolute": name in ABSOLUTE,
            }
            for name in names
        ],
        "shown": [name for name in SHOWN if name in names],
    }


def _of_network(network: Network) -> dict[str, Any]:
    return {
        "name": network["name"],
        "folder": network["folder"],
        "parameters": network["parameters"],
        "license": network["license"],
        "classes": bool(network["labels"]),
        "layers": [_of_layer(layer, network["folder"]) for layer in network["layers"]],
    }


def _of_layer(layer: Mapping[str, Any], folder: str) -> dict[str, Any]:
    return {
        "tap": layer["tap"],
        "stem": file_stem(layer["tap"]),
        "version": layer["digest"],
        "depth": layer["depth"],
        "shape": layer["shape"],
        "count": len(layer["channels"]),
        "units": units_text([channel["unit"] for channel in layer["channels"]]),
        "preview": {
            **layer["preview"],
            "file": f"{embed.url(folder)}/{embed.url(layer['preview']['file'])}",
        },
        "summary": quartiles(layer),
    }


def class_lists(network: Network) -> dict[str, Any]:
    """Returns the labels, and class -> the channels in whose top classes it is.

    A channel is [layer stem, unit, probability]; the most probable come first.
    `own` is class -> the channel that is the class, where the atlas has it.
    """
    found: dict[int, list[list[Any]]] = {}
    own: dict[int, list[Any]] = {}
    for layer in network["layers"]:
        stem = file_stem(layer["tap"])
        for channel in layer["channels"]:
            if "label" in channel:
                own[channel["unit"]] = [stem, channel["unit"]]
            for number, share in channel["classes"]:
                found.setdefault(number, []).append([stem, channel["unit"], share])
    for entries in found.values():
        entries.sort(key=lambda entry: -entry[2])
    return {"labels": list(network["labels"]), "seen": found, "own": own}


def layers_csv(networks: Sequence[Network]) -> str:
    """Returns a line for each layer: where it is, and the quartiles of each metric."""
    names = metric_names(networks)
    head = ["network", "tap", "depth", "height", "width", "channels", "shown"]
    head += [f"{name}_{part}" for name in names for part in ("q25", "median", "q75")]
    lines = []
    for network in networks:
        for layer in network["layers"]:
            *place, total = layer["shape"]
            height, width = place if len(place) == 2 else ("", "")
            found = quartiles(layer)
            line = [network["name"], layer["tap"], layer["depth"], height, width]
            line += [total, len(layer["channels"])]
            for name in names:
                line += found.get(name, ["", "", ""])
            lines.append(line)
    return _csv(head, lines)


def channels_csv(networks: Sequence[Network]) -> str:
    """Returns a line for each channel."""
    names = metric_names(networks)
    lines = []
    for network in networks:
        for layer in network["layers"]:
            for channel in layer["channels"]:
                numbers, top = numbers_of(channel), channel["classes"]
                label = network["labels"][top[0][0]] if top else ""
                line = [network["name"], layer["tap"], layer["depth"], channel["unit"]]
                line += [channel.get("label", ""), channel["pictures"][0]["status"]]
                lines.append([*line, label, *(numbers.get(name, "") for name in names)])
    head = ["network", "tap", "depth", "unit", "label", "status", "top_class", *names]
    return _csv(head, lines)


def _csv(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *lines])
    return text.getvalue()


def plot_stem(metric: str) -> str:
    """Returns the file name of a metric's plot."""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in metric)


def plots(networks: Sequence[Network]) -> dict[str, str]:
    """Returns file name -> SVG: depth against each metric, a line for each network.

    Lines are medians over a layer's channels, bands the quartiles. With one network the
    axis has the names of its layers.
    """
    found = {}
    several = sum(bool(network["layers"]) for network in networks) > 1
    for name in metric_names(networks):
        lines, ticks = [], {}
        for network in networks:
            places = [
                (layer["depth"] if several else i, layer["tap"], quartiles(layer)[name])
                for i, layer in enumerate(network["layers"])
                if name in quartiles(layer)
            ]
            if len(places) > 1:
                x, taps, parts = zip(*places, strict=True)
                low, middle, high = zip(*parts, strict=True)
                label = network["name"] if several else ""
                lines.append(Curve(label, x, middle, low, high))
                ticks |= dict(zip(x, taps, strict=True))
        if lines:
            figure = curves(
                lines,
                x_label="depth in the network [0 first … 1 last]" if several else "",
                y_label=TITLES.get(name, name),
                marks=True,
                ticks=None if several or len(ticks) > 60 else ticks,
            )
            found[plot_stem(name)] = svg(figure)
    return found


def fallback(networks: Sequence[Network]) -> str:
    """Returns the layers as HTML for readers without JavaScript."""
    parts = []
    for network in networks:
        parts.append(f"<h2>{html.escape(network['name'])}</h2>")
        folder = embed.url(network["folder"])
        for layer in network["layers"]:
            sheets = ", ".join(
                f'<a href="{folder}/{embed.url(name)}">sheet {i + 1}</a>'
                for i, name in enumerate(layer["main"]["files"])
            )
            parts.append(
                f"<p>{html.escape(layer['tap'])}: {len(layer['channels'])} channels,"
                f" {sheets}</p>"
            )
    return "\n".join(parts)
