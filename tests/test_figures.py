"""Figures of papers: verdicts, panels, records, and every figure at a toy size."""

import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.build import build
from dreamjax.figures.figure import (
    Figure,
    Made,
    by_name,
    make_figure,
    network_for,
    photos_of,
)
from dreamjax.figures.layers import layer_like, layers_like, main_layers, spread
from dreamjax.figures.neurons import Neuron, aim_at
from dreamjax.figures.panels import Panel, about_gray, draw, enlarged, stretched
from dreamjax.figures.record import Expected, Row, as_csv, records, verdict
from dreamjax.figures.table import markdown, read_records
from experiments.figures import FIGURES
from tests.tiny import tiny_config, tiny_model


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Row("x", 1.1), ""),
        (Row("x", 1.1, Expected(1.0, "published", relative=0.15)), "agrees"),
        (Row("x", 1.2, Expected(1.0, "published", relative=0.15)), "differs"),
        (Row("x", 0.84, Expected(0.8, "measured", absolute=0.05)), "agrees"),
        (Row("x", 9.0, Expected(1.0, "derived", kind="at least")), "agrees"),
        (Row("x", 0.9, Expected(1.0, "derived", kind="at least")), "differs"),
        (Row("x", 9.0, Expected(1.0, "derived", kind="at most")), "differs"),
        (Row("x", float("nan"), Expected(1.0, "derived")), "differs"),
        (Row("x", 9.0, Expected(1.0, "reported")), "reported, unverified"),
        (Row("x", 9.0, Expected(1.0, "measured", network="b")), "other network"),
    ],
)
def test_verdicts(row, said):
    assert verdict(row, "a") == said


def test_a_source_that_is_none_is_refused():
    with pytest.raises(ValueError, match="source='memory' is not known"):
        verdict(Row("x", 1.0, Expected(1.0, "memory")), "a")
    with pytest.raises(ValueError, match="each name once"):
        records([Row("x", 1.0), Row("x", 2.0)], "a")


def made(context):
    expected = Expected(2.0, "derived", absolute=0.5, network="")
    gray = np.full((8, 8, 3), 0.5)
    return Made(
        {"": draw([[Panel(gray, "gray")]]), "more": draw([[Panel(gray)]])},
        [Row("size", context.pick(2.0, 1.0), expected, why="a toy")],
        {"steps": (1, 2)},
        ("A note.",),
    )


FIGURE = Figure("smith2020.fig1", "Smith 2020", "a gray square", made)


def test_a_figure_leaves_picture_numbers_and_recipe(tmp_path):
    found = make_figure(FIGURE, tmp_path, tmp_path / "runs", report=lambda line: None)
    assert found[0]["verdict"] == "agrees"
    folder = tmp_path / "smith2020.fig1"
    assert sorted(path.name for path in folder.iterdir()) == [
        "smith2020.fig1.csv",
        "smith2020.fig1.jpg",
        "smith2020.fig1.json",
        "smith2020.fig1_more.jpg",
    ]
    about = json.loads((folder / "smith2020.fig1.json").read_text())
    assert about["settings"] == {"steps": [1, 2]} and about["seed"] == 0
    assert "size,2.0,± 0.5,derived,2.0,agrees,a toy" in as_csv(found)
    assert list((tmp_path / "runs" / "smith2020.fig1" / "tb").rglob("events*"))
    records, _ = read_records(tmp_path)
    page = markdown(records, "../results/figures")
    assert "| size | 2 ± 0.5 | derived | 2 | agrees: a toy |" in page
    assert "../results/figures/smith2020.fig1/smith2020.fig1.jpg" in page
    make_figure(
        FIGURE,
        tmp_path,
        tmp_path / "runs",
        quicktest=True,
        report=lambda line: None,
    )
    assert read_records(tmp_path) == ([], {FIGURE.name: "a quicktest is a toy"})


def test_a_figure_may_bring_a_network_of_its_own(tmp_path):
    def own(context):
        expected = Expected(2.0, "derived", absolute=0.5, network="hog.uoctti")
        row = Row("size", 2.0, expected)
        return made(context)._replace(rows=[row], network="hog.uoctti")

    figure = Figure("smith2020.fig2", "Smith 2020", "another", own)
    found = make_figure(figure, tmp_path, tmp_path / "runs", report=lambda line: None)
    assert found[0]["verdict"] == "agrees"
    about = json.loads((tmp_path / figure.name / f"{figure.name}.json").read_text())
    assert about["network"] == "hog.uoctti"


def test_figures_are_found_by_name_and_by_paper():
    other = Figure("smith2020.fig2", "Smith 2020", "another", made)
    assert by_name([FIGURE, other], ["smith2020"]) == [FIGURE, other]
    assert by_name([FIGURE, other], ["smith2020.fig2"]) == [other]
    with pytest.raises(ValueError, match=r'Did you mean "smith2020\.fig1"'):
        by_name([FIGURE], ["smith2020.fig"])


def test_the_papers_own_network_is_taken_where_it_is_here(monkeypatch):
    own = Figure("x.y", "", "", made, network="googlenet.bvlc-noaux")
    monkeypatch.delenv("DREAMJAX_WEIGHTS", raising=False)
    monkeypatch.setattr("dreamjax.figures.figure.find", lambda source: None)
    assert network_for(own, None) == "efficientnet_lite0"
    monkeypatch.setattr("dreamjax.figures.figure.find", lambda source: "here")
    assert network_for(own, None) == "googlenet.bvlc-noaux"
    assert network_for(own, "vgg16") == "vgg16"


def test_panels_and_labels_must_fit():
    with pytest.raises(ValueError, match="at least one"):
        draw([])
    with pytest.raises(ValueError, match=r"rows=.*1 labels"):
        draw([[Panel(None)]], rows=("a", "b"))


def test_stretching_uses_the_whole_range():
    image = np.linspace(0.4, 0.6, 300).reshape(10, 10, 3)
    assert stretched(image, 0).min() == 0 and stretched(image, 0).max() == 1
    assert (stretched(np.zeros((2, 2, 3))) == 0.5).all()


NEEDS = {  # paper or figure -> modules of requirements-figures.txt
    "erhan2009": ("sklearn",),
    "simonyan2014.fig3": ("maxflow", "sklearn"),
    "simonyan2014.localization": ("maxflow", "sklearn"),
}


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_every_figure_at_a_toy_size(figure, tmp_path):
    paper = figure.name.split(".")[0]
    for name in (*NEEDS.get(paper, ()), *NEEDS.get(figure.name, ())):
        pytest.importorskip(name, reason="pip install -r requirements-figures.txt")
    found = make_figure(
        figure,
        tmp_path,
        tmp_path / "runs",
        model="tests.tiny:tiny_model",
        quicktest=True,
        report=lambda line: None,
    )
    assert (tmp_path / figure.name / f"{figure.name}.jpg").stat().st_size > 1000
    assert all(isinstance(row["name"], str) for row in found)


def test_layers_of_another_network_stand_for_the_papers_own():
    model = tiny_model()
    assert main_layers(model, (24, 24)) == ["a", "b", "dead"]
    assert layer_like(model, (24, 24), "a/pre", 1.0) == "a/pre"
    assert layer_like(model, (24, 24), "inception_4c/output", 1.0) == "dead"
    assert layers_like(model, (24, 24), {"x": 0.0, "y": 0.1, "z": 0.5}) == ["a", "b"]
    assert spread("abcdefg", 3) == ["a", "d", "g"]
    with pytest.raises(ValueError, match=r"depth=2"):
        layer_like(model, (24, 24), "x", 2)


def test_photos_come_from_a_folder_or_along(tmp_path):
    assert [path.name for path in photos_of(None)] == ["chelsea.png", "coffee.png"]
    with pytest.raises(ValueError, match="folder="):
        photos_of(tmp_path)


def test_the_documents_example_is_a_figure(tmp_path):
    page = Path(__file__).parent.parent / "docs" / "figures.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    found = make_figure(
        names["FIGURE"],
        tmp_path,
        tmp_path / "runs",
        model="tests.tiny:tiny_model",
        quicktest=True,
        report=lambda line: None,
    )
    assert found[0]["name"] == "least score"
    assert np.isfinite(found[0]["obtained"])


def test_values_about_zero_and_small_maps():
    values = np.array([-2.0, 0.0, 1.0]).reshape(1, 3, 1)
    np.testing.assert_allclose(about_gray(values, 100).ravel(), [0, 0.5, 0.75])
    assert (about_gray(np.zeros((2, 2, 3))) == 0.5).all()
    squares = enlarged(np.arange(4.0).reshape(2, 2, 1), 7)
    assert squares.shape == (8, 8, 1) and (squares[:4, 4:] == 1).all()


def test_neurons_of_several_layers_are_runs_of_one_program():
    config = tiny_config()
    aim_at(config, [Neuron("b", 2), Neuron("a/pre", 5, -1.0), Neuron("b", 1)])
    experiment = build(config)
    told = [experiment.told(run) for run in range(3)]
    assert [run["weight0"] for run in told] == [1, 0, 1]
    assert [run["unit0_0"] for run in told] == [2, 0, 1]
    assert [(run["weight1"], run["unit1_0"]) for run in told] == [
        (0, 0),
        (-1, 5),
        (0, 0),
    ]
    taps = {
        "b": jnp.arange(4.0).reshape(1, 1, 1, 4),
        "a/pre": 10 + jnp.arange(6.0).reshape(1, 1, 1, 6),
    }
    scores = [
        experiment.objective(taps, {n: v[run] for n, v in experiment.values.items()})
        for run in range(3)
    ]
    np.testing.assert_allclose(np.concatenate(scores), [2, -15, 1])
    with pytest.raises(ValueError, match="call='energy'"):
        aim_at(config, [Neuron("b", 2)], "energy")
