"""The best settings of a search, over all neurons."""

import math

import pytest

from dreamjax.report.winners import distinct, settings


def row(run, unit, tv, **metrics):
    return {
        "run": run,
        "hparams": {"unit": unit, "tv": tv, "decay": 0.0},
        "metrics": metrics,
        "status": "alive",
    }


def search():
    """Three settings, two neurons of different scale."""
    scores = {0.0: (1.0, 300.0), 1.0: (3.0, 100.0), 2.0: (2.0, 200.0)}
    noise = {0.0: 0.9, 1.0: 0.5, 2.0: 0.1}
    return [
        row(2 * i + u, u, tv, score=scores[tv][u], high_frequency=noise[tv])
        for i, tv in enumerate(scores)
        for u in (0, 1)
    ]


def test_neurons_of_any_scale_count_as_much():
    found = settings(search(), ["score"])
    assert {s.mark for s in found} == {0.5}  # ranks 0 and 1, 1 and 0, ½ and ½
    assert found[0].hparams.keys() == {"tv"}
    found = settings(search()[::2], ["score"])  # one neuron alone
    assert [s.hparams["tv"] for s in found] == [1.0, 2.0, 0.0]
    assert [s.mark for s in found] == [1.0, 0.5, 0.0]


def test_less_is_better_where_the_metric_says_so():
    found = settings(search(), ["score", "high_frequency"])
    assert [s.hparams["tv"] for s in found] == [2.0, 1.0, 0.0]
    assert [s.mark for s in found] == [0.75, 0.5, 0.25]
    assert found[0].metrics == {"score": 101.0, "high_frequency": 0.1}
    assert [r["run"] for r in found[0].rows] == [4, 5]


def test_runs_that_stopped_and_settings_that_lack_a_neuron_are_left_out():
    rows = search()
    rows[0]["status"] = "stopped"
    assert [s.hparams["tv"] for s in settings(rows, ["score"])] == [1.0, 2.0]
    rows[2]["metrics"]["score"] = "nan"
    assert settings(rows, ["score"])[0].hparams["tv"] == 2.0
    for one in rows:
        one["status"] = "frozen"
    with pytest.raises(ValueError, match=r"by='score' is not known|no setting"):
        settings(rows, ["score"])


def test_an_unknown_metric_is_told():
    with pytest.raises(ValueError, match='Did you mean "score"'):
        settings(search(), ["scor"])
    with pytest.raises(ValueError, match="at least one metric"):
        settings(search(), [])


def test_winners_are_good_and_unlike_each_other():
    rows = [row(i, 0, 10.0 ** (-i / 10), score=100.0 - i) for i in range(40)]
    found = settings(rows, ["score"])
    chosen = distinct(found, 2, among=0.5)
    assert [s.hparams["tv"] for s in chosen] == [1.0, pytest.approx(10**-1.9)]
    # Halfway between the two on the logarithmic scale, not on the linear one.
    third = distinct(found, 3, among=0.5)[2].hparams["tv"]
    assert math.isclose(third, 10**-0.9) or math.isclose(third, 10**-1.0)
    assert distinct(found, 1)[0].hparams["tv"] == 1.0
