"""Plots: what the SVG holds, parsed; the numbers that are drawn are the ones given."""

import html
import io
import math
import re
import warnings
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from dreamjax.report.plots import (
    Curve,
    bars,
    curves,
    histograms,
    png,
    scatter,
    scatter_grid,
    svg,
)

SVG = "{http://www.w3.org/2000/svg}"
LABELS = dict(x_label="step", y_label="score [nats]")


def texts(figure, **options):
    """Returns the texts of a figure."""
    root = ElementTree.fromstring(svg(figure, **options))
    return ["".join(found.itertext()).strip() for found in root.iter(f"{SVG}text")]


def marks(figure):
    """Returns where the markers of a scatter stand, (x, y) in SVG units."""
    root = ElementTree.fromstring(svg(figure))
    groups = [g for g in root.iter(f"{SVG}g") if g.get("clip-path")]
    uses = [use for group in groups for use in group.iter(f"{SVG}use")]
    return np.asarray([(float(u.get("x")), float(u.get("y"))) for u in uses])


def test_points_lie_where_they_should():
    places = marks(scatter([0, 1, 4], [2, 4, 3], **LABELS))
    x, y = places.T
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(1 / 4, abs=1e-3)
    assert (y[2] - y[0]) / (y[1] - y[0]) == pytest.approx(1 / 2, abs=1e-3)
    assert y[1] < y[0]  # SVG counts from the top


def test_logarithmic_axes_have_equal_steps_for_equal_factors():
    figure = scatter(
        [1, 10, 1000], [1e-4, 1e-2, 1e-3], log_x=True, log_y=True, **LABELS
    )
    x, y = marks(figure).T
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(1 / 3, abs=1e-3)
    assert (y[2] - y[0]) / (y[1] - y[0]) == pytest.approx(1 / 2, abs=1e-3)


@pytest.mark.parametrize("log,left", [(False, 4), (True, 2)])
def test_what_cannot_be_drawn_is_left_out(log, left):
    y = [1.0, math.nan, 0.0, -3.0, math.inf, 2.0]
    assert len(marks(scatter(range(6), y, log_y=log, **LABELS))) == left


def test_labels_groups_and_title_are_text():
    found = texts(
        scatter([1, 2], [3, 4], title="a < b", groups=["vgg", "vit"], **LABELS)
    )
    assert {"step", "score [nats]", "a < b", "vgg", "vit"} <= set(found)


@pytest.mark.parametrize(
    "figure",
    [
        scatter([], [], **LABELS),
        scatter([1.0], [math.nan], **LABELS),
        curves([], **LABELS),
        curves([Curve("a", [0, 1], [-1, 0])], log_y=True, **LABELS),
        scatter_grid({}, [], y_label="score"),
        scatter_grid({"tv": []}, [], y_label="score"),
    ],
)
def test_nothing_says_so(figure):
    assert texts(figure).count("no data") == 1


def path_numbers(figure, color):
    """Returns the points of the one line of a color."""
    root = ElementTree.fromstring(svg(figure))
    found = [
        p.get("d")
        for p in root.iter(f"{SVG}path")
        if f"stroke: {color}" in p.get("style", "") and p.get("clip-path")
    ]
    assert len(found) == 1
    return found[0]


def test_a_line_has_a_gap_where_a_value_is_missing():
    figure = curves([Curve("a", range(5), [1, 2, math.nan, 4, 5])], **LABELS)
    assert re.sub(r"[^ML]", "", path_numbers(figure, "#0072b2")) == "MLML"


def test_a_band_goes_from_low_to_high():
    line = Curve("run", [0, 1, 2], [1, 2, 3], [0, 1, 2], [2, 3, 4])
    text = svg(curves([line], **LABELS))
    assert text.count("fill-opacity: 0.18") >= 1
    assert "fill-opacity: 0.18" not in svg(curves([line._replace(low=None)], **LABELS))


def test_ticks_with_names():
    figure = curves(
        [Curve("net", [0, 1], [1, 2])], ticks={0: "stem", 1: "block1"}, **LABELS
    )
    assert {"stem", "block1", "net"} <= set(texts(figure))


def test_a_grid_has_a_plot_for_each_hyperparameter():
    columns = {"tv": [1.0, 10.0, 100.0], "blur": [0, 1, 2], "param": ["a", "b", "a"]}
    columns["seed"] = [0, 1, 2]
    figure = scatter_grid(columns, [1, 2, 3], y_label="score", log_x=["tv"])
    found = texts(figure)
    assert {"tv", "blur", "param", "seed", "score", "a", "b"} <= set(found)
    assert found.count("score") == 2  # at the left of each row only
    assert len(marks(figure)) == 12


def test_the_same_numbers_give_the_same_bytes_and_no_date():
    def make():
        return scatter([1, 2, 3], [1, 4, 9], groups=["a", "b", "a"], **LABELS)

    assert svg(make()) == svg(make())
    assert png(make()) == png(make())
    assert "<dc:date>" not in svg(make())


def test_inline_takes_the_color_of_the_page():
    text = svg(scatter([1, 2], [3, 4], **LABELS), inline=True)
    assert text.startswith('<svg role="img"')
    assert "currentColor" in text and "#222222" not in text
    assert "#ffffff" not in text
    title = ElementTree.fromstring(text).find(f"{SVG}title").text
    assert title == "score [nats] against step"


def test_png_is_twice_640():
    picture = Image.open(io.BytesIO(png(scatter([1], [2], **LABELS))))
    assert picture.size == (1280, 800)


def test_nothing_global_changes():
    before = dict(matplotlib.rcParams)
    svg(scatter([1, 2], [3, 4], **LABELS))
    assert dict(matplotlib.rcParams) == before


def test_wrong_lengths_and_names_are_told():
    with pytest.raises(ValueError, match=r"len\(x\).*2 numbers"):
        scatter([1], [2, 3], **LABELS)
    with pytest.raises(ValueError, match=r"len\(groups\)"):
        scatter([1, 2], [2, 3], groups=["a"], **LABELS)
    with pytest.raises(ValueError, match="log_x"):
        scatter_grid({"tv": [1]}, [1], y_label="score", log_x=["vt"])


def test_histograms_count_shares_on_equal_axes():
    values = {"a": [0.1, 0.1, 0.9, -5, math.nan], "b": [0.6], "none": []}
    figure = histograms(values, bins=[0, 0.5, 1], x_label="cosine", title="all")
    first, second, empty = figure.axes
    heights = [[patch.get_height() for patch in a.patches] for a in (first, second)]
    assert heights == [[0.75, 0.25], [0, 1]]
    assert first.get_ylim() == second.get_ylim() and not empty.patches
    assert {"a", "b", "all", "cosine", "share", "no data"} <= set(texts(figure))
    with pytest.raises(ValueError, match="bins="):
        histograms(values, bins=[1, 0], x_label="cosine")


def test_bars_stand_in_groups_with_whiskers():
    groups = {
        "HOG": {"ours": (3.0, 1.0), "theirs": (2.0, 0.0)},
        "SIFT": {"ours": (1, 0)},
    }
    figure = bars(groups, y_label="error [%]", title="errors")
    (axes,) = figure.axes
    assert [patch.get_height() for patch in axes.patches] == [3, 1, 2]
    left, right = axes.patches[0], axes.patches[2]
    assert right.get_x() == pytest.approx(left.get_x() + left.get_width())
    assert len(axes.collections) == 1  # the whiskers of "ours"
    assert {"HOG", "SIFT", "ours", "theirs", "errors"} <= set(texts(figure))
    assert "no data" in texts(bars({}, y_label="error [%]"))


HOSTILE = (
    "$x",
    "a $b$ c",
    r"$\frac{$",
    r"\$",
    "$$",
    "a\x1b[2Jb",
    "<b>&",
    "x_{1}^2",
    "",
)


def test_b6_texts_are_shown_as_they_are():
    drawn = (
        scatter_grid(
            {name or "-": [1.0, 2.0] for name in HOSTILE} | {"$t$": ["$a$", r"\$b"]},
            [1.0, 2.0],
            y_label="$score$",
            groups=["$g$", r"$\g$"],
            title="$title$",
        ),
        curves(
            [Curve(name, [1, 2], [1, 2]) for name in HOSTILE],
            x_label="$x$",
            y_label=r"$\y$",
            ticks={1.0: "$\\one$", 2.0: "$two$"},
        ),
        bars({"$a$": {r"$\b$": (1.0, 0.1)}}, y_label="$"),
        histograms({"$a$": [1.0]}, bins=[0, 2], x_label="$x$"),
    )
    found = [svg(figure) for figure in drawn]
    assert all(png(figure, dpi=30) for figure in drawn)
    for text in found:
        ElementTree.fromstring(text)  # no control character is left
    for name in ("$title$", "$score$", "$g$", r"$\g$", "$a$", r"\$b", r"a\x1b[2Jb"):
        assert f">{html.escape(name, quote=False)}<" in found[0], name
    for name in (r"$\one$", "$two$", r"$\frac{$", "$$", "x_{1}^2", "&lt;b&gt;&amp;"):
        assert f">{name}<" in found[1], name
    assert ">$a$<" in found[2] and ">$<" in found[2]


@pytest.mark.parametrize("log", [False, True])
def test_b6_numbers_beyond_a_float_are_left_out(log):
    x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    y = [1e308, -1e308, math.nan, math.inf, 5e-324, 1.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = scatter(x, y, x_label="x", y_label="y", log_y=log)
        assert svg(figure) and png(figure, dpi=30)
        figure = curves([Curve("", y, x)], x_label="x", y_label="y")
        assert svg(figure)


def test_b6_numbers_along_a_logarithmic_axis_are_mathematics():
    figure = scatter([1e-3, 1e3], [1.0, 2.0], x_label="x", y_label="y", log_x=True)
    assert ">$" not in svg(figure)
