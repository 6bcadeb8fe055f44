"""Pieces of figures: runs kept in a file, mixed objectives, units, a table of marks."""

import numpy as np
import pytest

from dreamjax.figures import climb as climbs
from dreamjax.figures.climb import climb, even_lanes
from dreamjax.figures.figure import Context
from dreamjax.figures.marks import marks
from dreamjax.figures.mixture import Term, channel_term, mixture
from dreamjax.figures.units import Unit, Wanted, units_like
from dreamjax.models.activations import activations
from dreamjax.objectives import channel, energy, interpolation
from dreamjax.text import parse_objective
from tests.tiny import tiny_model

PANELS = [
    [channel_term("b", 3)],
    [Term('energy("a")', (), 2.0), channel_term("b", 1, -1.0)],
    [channel_term("b", 0), channel_term("b", 2), channel_term("a", 5)],
]


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("climb")
    return Context("smith2020.fig1", tiny_model(), False, folder, (), 0, print)


@pytest.fixture(scope="module")
def config(context):
    text, hparams = mixture(PANELS)
    config = context.config(text, 24, steps=3, transforms="jitter(4)", sweep="zip")
    config.hparams.update(hparams)
    return config


@pytest.fixture(scope="module")
def run(context, config):
    options = {"snapshots": (0, 1), "robust": (3,), "judge": "jitter(2)"}
    return climb(context, "run", config, **options)


def test_a_mixture_has_a_slot_for_each_call():
    text, hparams = mixture(PANELS)
    assert text == (
        'weight0*channel("b", unit0_0) + weight1*energy("a")'
        ' + weight2*channel("b", unit2_0) + weight3*channel("a", unit3_0)'
    )
    assert hparams["weight0"] == (1.0, -1.0, 1.0) and hparams["unit0_0"] == (3, 1, 0)
    assert hparams["weight1"] == (0.0, 2.0, 0.0) and "unit1_0" not in hparams
    assert hparams["weight2"] == (0.0, 0.0, 1.0) and hparams["unit2_0"] == (0, 0, 2)
    two = Term('interpolation("a", {}, "b", {})', (4, 1))
    text, hparams = mixture([[two]])
    assert text == 'weight0*interpolation("a", unit0_0, "b", unit0_1)'
    taps = {
        name: np.random.default_rng(0).normal(size=(3, 2, 2, 6)).astype(np.float32)
        for name in "ab"
    }
    found = parse_objective(text, hparams=hparams).objective
    values = {name: column[0] for name, column in hparams.items()}
    wanted = interpolation("a", 4, "b", 1)(taps, {})
    np.testing.assert_allclose(found(taps, values), wanted, rtol=1e-6)
    for panels, said in (
        ([], "at least one"),
        ([[]], "term"),
        ([[Term("f({})")]], "1"),
    ):
        with pytest.raises(ValueError, match=said):
            mixture(panels)


def test_a_climb_scores_its_pictures_as_they_are(context, run):
    assert run.images.shape == (3, 1, 24, 24, 3) and run.curve.shape == (3, 3, 1)
    assert sorted(run.snapshots) == sorted(run.scores) == [0, 1, 3]
    taps = activations(*context.model[:2], run.images[:, 0], ("a", "b"), at_once=2)
    assert taps["a"].shape == (3, 12, 12, 6)
    wanted = (
        channel("b", 3)(taps, {})[0],
        2 * energy("a")(taps, {})[1] - channel("b", 1)(taps, {})[1],
        (channel("b", 0) + channel("b", 2) + channel("a", 5))(taps, {})[2],
    )
    np.testing.assert_allclose(run.scores[3][:, 0], wanted, rtol=1e-4)
    assert run.robust[3].shape == (3, 1) and np.isfinite(run.robust[3]).all()
    assert not np.allclose(run.robust[3], run.scores[3], rtol=1e-6)
    assert [r["weight0"] for r in run.runs] == [1.0, -1.0, 1.0]


def test_a_climb_is_read_again_and_only_the_same(context, config, run, monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("climbed")

    monkeypatch.setattr(climbs, "ascend", refuse)
    options = {"robust": (3,), "judge": "jitter(2)"}
    again = climb(context, "run", config, snapshots=(0, 1), **options)
    for step in (0, 1, 3):
        np.testing.assert_array_equal(again.snapshots[step], run.snapshots[step])
        np.testing.assert_array_equal(again.scores[step], run.scores[step])
    with pytest.raises(RuntimeError, match="climbed"):
        climb(context, "run", config, snapshots=(0, 2), **options)


def test_parts_of_a_climb_are_even():
    assert [even_lanes(n) for n in (1, 16, 17, 20, 108)] == [1, 16, 9, 10, 16]


def test_units_of_another_network_stand_for_the_papers_own():
    wanted = [
        Wanted(("mixed4a/pre:11", "a/pre:8"), 0.5),
        Wanted(("a:3", "b:1"), 0.5),
        Wanted(("mixed4a:11", "inception_4a/output:5"), 0.5),
    ]
    found = units_like(tiny_model(), (24, 24), wanted)
    assert found == [Unit("a/pre", 2), Unit("a", 3), Unit("b", 1)]
    assert str(found[0]) == "a/pre:2"
    for bad, said in (
        (Wanted((), 0.5), "at least one unit"),
        (Wanted(("b8",), 0.5), "tap:channel"),
        (Wanted(("b:1",), 2.0), "depth=2"),
    ):
        with pytest.raises(ValueError, match=said):
            units_like(tiny_model(), (24, 24), [bad])


def test_a_table_of_marks():
    drawing = marks({"one": {"a": "", "b": "blur"}, "two": {}}, columns="ab", title="t")
    texts = [text.get_text() for text in drawing.axes[0].texts]
    assert texts == ["t", "a", "b", "one", "", "blur", "two"]
    dots = [line for line in drawing.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == 2
    with pytest.raises(ValueError, match="of ab"):
        marks({"one": {"c": ""}}, columns="ab")
