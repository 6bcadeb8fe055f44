"""The table of a stimulus set: every column by the measure it names."""

import csv

import numpy as np
import pytest

from dreamjax.measures.light import mean_luminance
from dreamjax.measures.motion import frame_difference, pixel_lz
from dreamjax.measures.spectrum import spectral_slope
from dreamjax.stimuli import COLUMNS, FRAME_COLUMNS, statistics_table, write_csv

RNG = np.random.default_rng(0)
NOISE = RNG.uniform(size=(4, 16, 20, 3)).astype(np.float32)
STILL = np.full((3, 16, 20, 3), 0.5, np.float32)
FLOWS = np.zeros((3, 16, 20, 2), np.float32)
FLOWS[1] = (3.0, 4.0)
ENERGY = np.array([1.0, 2.0, 3.0, 6.0])


@pytest.fixture(scope="module")
def rows():
    return statistics_table(
        {"noise": NOISE, "still": STILL},
        flows={"noise": FLOWS},
        objective={"noise": ENERGY},
    )


def test_one_row_per_frame_and_two_summaries(rows):
    named = [(row["condition"], row["frame"]) for row in rows]
    noise = [("noise", frame) for frame in (0, 1, 2, 3, "mean", "sd")]
    still = [("still", frame) for frame in (0, 1, 2, "mean", "sd")]
    assert named == noise + still
    assert all(tuple(row) == COLUMNS for row in rows)
    begin = (
        "condition frame luminance contrast spectral_slope high_frequency entropy lz"
    )
    assert COLUMNS[:10] == (*begin.split(), "flow", "objective")


def test_values_of_the_measures(rows):
    for i in range(4):
        assert rows[i]["luminance"] == mean_luminance(NOISE[i])
        assert rows[i]["spectral_slope"] == spectral_slope(NOISE[i])
        assert rows[i]["objective"] == ENERGY[i]
        assert 0.7 < rows[i]["high_frequency"] < 0.9
        assert rows[i]["lz"] == pytest.approx(1.0, abs=0.1)
    assert [row["flow"] for row in rows[:4]] == [None, 0.0, 5.0, 0.0]
    changes = [row["frame_difference"] for row in rows[:4]]
    assert changes == [None, *frame_difference(NOISE)]


def test_summaries_by_hand(rows):
    mean, sd = rows[4], rows[5]
    assert mean["objective"] == 3.0
    assert sd["objective"] == pytest.approx(np.sqrt((4 + 1 + 0 + 9) / 3))
    assert mean["flow"] == pytest.approx(5 / 3)  # of the three frames that have one
    assert mean["lz_time"] == pixel_lz(NOISE) and sd["lz_time"] is None
    for column in FRAME_COLUMNS:
        values = [row[column] for row in rows[:4] if row[column] is not None]
        assert mean[column] == pytest.approx(np.mean(values))


def test_a_still_gray_clip_is_zero_everywhere(rows):
    for row in rows[6:10]:
        assert row["luminance"] == pytest.approx(0.21404, abs=1e-5)
        measured = [row[c] for c in FRAME_COLUMNS[1:] if row[c] is not None]
        np.testing.assert_allclose(measured, 0.0, atol=1e-12)
        assert row["flow"] is None and row["objective"] is None
    assert rows[9]["lz_time"] == 0.0


def test_csv_round_trip(tmp_path, rows):
    path = write_csv(tmp_path / "sub" / "table.csv", rows)
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == COLUMNS and len(read) == len(rows)
    for got, row in zip(read, rows, strict=True):
        assert (got["condition"], got["frame"]) == (row["condition"], str(row["frame"]))
        for column in (*FRAME_COLUMNS, "lz_time"):
            if row[column] is None:
                assert got[column] == ""
            else:
                assert float(got[column]) == pytest.approx(row[column], rel=1e-8)
    assert not list(path.parent.glob(".*"))  # no temporary file is left


def test_names_with_commas_and_quotes(tmp_path):
    name = 'a "strong", long dream'
    path = write_csv(tmp_path / "t.csv", statistics_table({name: STILL[:1]}))
    with path.open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["condition"] == name


def test_one_frame_of_the_least_size():
    rows = statistics_table({"a": NOISE[:1, :8, :8]})
    assert [row["frame"] for row in rows] == [0, "mean", "sd"]
    assert rows[0]["flow"] is None and rows[1]["frame_difference"] is None
    assert all(rows[2][column] is None for column in FRAME_COLUMNS)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"flows=\['other'\]"):
        statistics_table({"a": STILL}, flows={"other": FLOWS})
    with pytest.raises(ValueError, match=r"flow\['a'\]\.shape.*2 frames"):
        statistics_table({"a": STILL}, flows={"a": FLOWS})
    with pytest.raises(ValueError, match=r"objective\['a'\]\.shape.*3 frames"):
        statistics_table({"a": STILL}, objective={"a": ENERGY})
    for shape in ((16, 20, 3), (2, 4, 20, 3), (0, 16, 20, 3)):
        with pytest.raises(ValueError, match=r"conditions\['a'\]\.shape"):
            statistics_table({"a": np.zeros(shape, np.float32)})
