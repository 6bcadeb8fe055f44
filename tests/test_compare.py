"""Several sweeps as one: summaries, alignment, effects, grids, and the page."""

import csv
import itertools
import json
import math
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import rankdata

from dreamjax.images import load_image
from dreamjax.report import grid, values
from dreamjax.report.compare import figure_of, write_comparison
from dreamjax.report.comparison import align, labels, read_sweeps
from dreamjax.report.effects import effects, effects_csv, is_logarithmic
from dreamjax.report.page import write_page
from dreamjax.report.summary import Unfinished, read_summary, summary_json
from tests import browser
from tests.sweeps import make_sweep

REPO = Path(__file__).resolve().parent.parent


def row(run, score, status="alive", sweep="a", **hparams):
    return {
        "run": run,
        "sweep": sweep,
        "sweep_run": run,
        "hparams": hparams,
        "metrics": {"score": score, "steps": 16},
        "status": status,
        "image": None,
    }


def grid_runs(units, tvs, **more):
    return [
        ({"unit": u, "tv": t, **more}, {"score": 10.0 * u + t, "steps": 16})
        for u in units
        for t in tvs
    ]


# summary.json


def test_summary_round_trip(tmp_path):
    rows = [
        {
            "run": 3,
            "hparams": {"tv": np.float32(0.5), "direction": [1.0, math.inf], "s": "é"},
            "metrics": {"score": math.nan, "low": -math.inf, "steps": np.int64(7)},
            "status": "frozen",
            "image": "runs/run_0003.png",
            "crowd": "not written",
        },
        {"run": 4, "hparams": {}, "metrics": {}, "status": "alive", "image": None},
    ]
    text = summary_json(rows)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert '"score": "nan"' in text and len(text.splitlines()) == 4
    (tmp_path / "summary.json").write_text(text, encoding="utf-8")
    first, second = read_summary(tmp_path)
    assert math.isnan(first["metrics"].pop("score"))
    assert first == {
        "run": 3,
        "hparams": {"tv": 0.5, "direction": [1.0, math.inf], "s": "é"},
        "metrics": {"low": -math.inf, "steps": 7},
        "status": "frozen",
        "image": "runs/run_0003.png",
    }
    assert second == rows[1]


GOOD = {"run": 0, "hparams": {}, "metrics": {}, "status": "alive", "image": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "damaged"),
        ("{}", "no list of runs"),
        ("[]", "no list of runs"),
        ("[3]", "entry 0: it is no object"),
        (json.dumps([GOOD, GOOD]), "a run is there twice"),
        (json.dumps([GOOD | {"run": True}]), "entry 0: run=True"),
        (json.dumps([GOOD | {"metrics": []}]), r"entry 0: metrics=\[\]"),
        (json.dumps([GOOD | {"status": None}]), "entry 0: status=None"),
        (json.dumps([GOOD | {"image": "../a.png"}]), "no path in the folder"),
        (json.dumps([GOOD | {"image": "/etc/passwd"}]), "no path in the folder"),
    ],
)
def test_a_damaged_summary_is_refused(tmp_path, text, message):
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_summary(tmp_path)


def test_folders_without_a_summary(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        read_summary(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no sweep"):
        read_summary(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="is a file"):
        read_summary(tmp_path / "config.json")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "block_0000.npz").write_bytes(b"")
    with pytest.raises(Unfinished, match=r"not finished \(1 of its blocks are\)"):
        read_summary(tmp_path)
    (tmp_path / "summary.csv").write_text("")
    with pytest.raises(ValueError, match="older versions did not write"):
        read_summary(tmp_path)


# Alignment


@pytest.fixture
def two(tmp_path):
    """Fourier with total variation, and pixels of another size without."""
    first = make_sweep(
        tmp_path / "fourier",
        grid_runs((1, 2), (0.0, 5.0), decay_power=1.0),
        hparams={"unit": (1, 2), "tv": (0.0, 5.0)},
    )
    second = make_sweep(
        tmp_path / "pixel",
        [({"unit": u}, {"score": 1.0 * u, "extra": 0.5}, s) for u, s in
         ((1, "alive"), (2, "frozen"))],
        size=(10, 4),
        hparams={"unit": (1, 2)},
        param="pixel",
        log_every=1,
    )  # fmt: skip
    return first, second


def test_runs_of_two_sweeps_get_one_numbering_and_the_differing_keys(two):
    sweeps, notes = read_sweeps(two)
    rows = align(sweeps)
    assert notes == []
    assert [r["run"] for r in rows] == list(range(6))
    assert [(r["sweep"], r["sweep_run"]) for r in rows] == [
        *(("fourier", i) for i in range(4)),
        *(("pixel", i) for i in range(2)),
    ]
    assert rows[1]["hparams"] == {
        "sweep": "fourier",
        "param": "fourier",
        "unit": 1,
        "tv": 5.0,
        "decay_power": 1.0,
    }
    # tv is off there: 0, as in its config. decay_power is not read: missing.
    expected = {"sweep": "pixel", "param": "pixel", "unit": 2, "tv": 0.0}
    assert rows[5]["hparams"] == expected
    assert rows[5]["status"] == "frozen"
    assert rows[5]["image"] == str(two[1] / "runs/run_0001.png")


def test_one_sweep_stays_as_it_is(two):
    rows = align(read_sweeps(two[:1])[0])
    assert rows[2]["run"] == 2
    assert rows[2]["hparams"] == {"unit": 2, "tv": 0.0, "decay_power": 1.0}


def test_a_key_that_is_also_a_hyperparameter_and_one_that_is_new(two, tmp_path):
    third = make_sweep(tmp_path / "c", [({"unit": 1, "seed": 4}, {})], seed=9)
    config = json.loads((two[0] / "config.json").read_text())
    del config["draws"]  # a sweep from before there were designs
    (two[0] / "config.json").write_text(json.dumps(config))
    rows = align(read_sweeps([two[0], third])[0])
    assert rows[0]["hparams"]["config.seed"] == 0
    assert rows[4]["hparams"]["config.seed"] == 9 and rows[4]["hparams"]["seed"] == 4
    assert "draws" not in rows[0]["hparams"]


def test_labels_take_the_parents_that_tell_them_apart():
    paths = [Path("/x/a/run"), Path("/x/b/run"), Path("/x/c")]
    assert labels(paths) == ["a/run", "b/run", "x/c"]
    assert labels([Path("/x/a"), Path("/y/b")]) == ["a", "b"]


def test_an_unfinished_sweep_is_left_out_and_said(two, tmp_path):
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_text("{}")
    sweeps, notes = read_sweeps([*two, half])
    assert len(sweeps) == 2 and "Left out" in notes[0] and "half" in notes[0]
    with pytest.raises(ValueError, match=r"nothing to compare\. Left out"):
        read_sweeps([half])
    with pytest.raises(ValueError, match="given twice"):
        read_sweeps([two[0], two[0]])
    (two[1] / "config.json").write_text("[")
    with pytest.raises(ValueError, match=r"config .*pixel.*is damaged"):
        read_sweeps(two)


# Effects


def test_rank_correlations_by_hand():
    x, y = [1.0, 2.0, 4.0, 8.0, 8.0], [5.0, 1.0, 7.0, 3.0, 9.0]
    rows = [row(i, v, lr=u, tv=0.1) for i, (u, v) in enumerate(zip(x, y, strict=True))]
    expected = np.corrcoef(rankdata(x), rankdata(y))[0, 1]
    (found,) = effects(rows)
    assert found[:2] == ("lr", "score") and found.runs == 5
    assert found.correlation == pytest.approx(expected)


def test_what_is_not_counted_in_an_effect():
    rows = [row(i, float(i), lr=float(i)) for i in range(5)]
    rows += [row(5, -9.0, "frozen", lr=9.0), row(6, math.nan, lr=0.5)]
    rows += [row(7, 3.0, "zero gradient", lr=3.0), row(8, 1.0)]
    (found,) = effects(rows)
    assert found.correlation == pytest.approx(1) and found.runs == 6
    assert effects([row(0, 1.0, kind="a"), row(1, 2.0, kind="b")]) == []


def test_within_keeps_groups_of_another_scale_apart():
    """Within each unit the score falls with lr; units differ by more."""
    rows = [
        row(i, 100.0 * unit - lr, unit=unit, lr=lr + unit)
        for i, (unit, lr) in enumerate(
            itertools.product(range(3), (0.0, 1.0, 2.0, 3.0))
        )
    ]
    pooled = {e.hyperparameter: e for e in effects(rows)}
    assert pooled["lr"].correlation > 0
    (inside,) = effects(rows, within=["unit"])
    assert inside == ("lr", "score", pytest.approx(-1), 12)
    with pytest.raises(ValueError, match=r'within=.unt.*Did you mean "unit"'):
        effects(rows, within=["unt"])


def test_effects_table_has_the_strongest_first():
    rows = [row(i, float(i), a=(i * 7) % 5, b=-i, c=float(i == 0)) for i in range(5)]
    lines = effects_csv({"all": effects(rows)}).splitlines()
    assert lines[0] == "hyperparameter,metric,rank_correlation,n"
    assert lines[1] == "b,score,-1.0000,5" and len(lines) == 4
    both = effects_csv({"all": effects(rows), "x": effects(rows[:2])}).splitlines()
    assert both[0].startswith("sweep,") and both[-1].startswith("x,")
    assert both[-1].endswith("score,,2")  # two runs have no rank correlation


def test_logarithmic_axes():
    assert is_logarithmic(np.array([1e-3, 1.0, np.nan]))
    assert not is_logarithmic(np.array([0.0, 1.0]))
    assert not is_logarithmic(np.array([1.0, 20.0]))


def test_each_panel_tells_its_correlation():
    rows = [row(i, float(i), lr=2.0**i, kind="ab"[i % 2]) for i in range(8)]
    figure = figure_of(rows, "score", effects(rows))
    assert [axes.get_xlabel() for axes in figure.axes] == ["lr", "kind"]
    assert figure.axes[0].get_title(loc="left") == "ρ = +1.00, n = 8"
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[1].get_title(loc="left") == ""


# Grids


def test_few_values_are_lines_and_many_numbers_ranges():
    rows = [row(i, 0.0, unit=(3, 1, 2)[i % 3], lr=i / 100) for i in range(96)]
    rows.append(row(96, 0.0, unit=1))
    assert [(n, len(w)) for n, w in grid.lines(rows, "unit")] == [
        ("1", 33), ("2", 32), ("3", 32)
    ]  # fmt: skip
    found = grid.lines(rows, "lr")
    assert [len(where) for _, where in found] == [12] * 8 + [1]
    assert found[0][0] == "0 … 0.11" and found[-1][0] == "–"
    assert sorted(i for _, where in found for i in where) == list(range(97))


def test_ranges_of_often_repeated_numbers():
    lrs = [0.0] * 60 + [i / 10 for i in range(1, 21)]
    rows = [row(i, 0.0, lr=lr) for i, lr in enumerate(lrs)]
    found = grid.lines(rows, "lr")
    assert sum(len(where) for _, where in found) == 80
    assert set(found[0][1]) >= set(range(60))


def test_the_best_of_each_cell_in_the_order_of_the_axes():
    rows = [
        row(0, 1.0, unit=2, tv=5.0),
        row(1, 3.0, unit=2, tv=5.0),
        row(2, 9.0, "frozen", unit=2, tv=5.0),
        row(3, 2.0, "frozen", unit=1, tv=0.5),
        row(4, math.nan, unit=2, tv=0.5),
    ]
    best, plan = grid.best_of_cells(rows, "unit", "tv")
    assert plan.row_labels == ("unit=1", "unit=2")
    assert plan.column_labels == (("tv=0.5",), ("tv=5",))
    cells = [[None if i is None else best[i] for i in line] for line in plan.cells]
    assert cells == [[3, None], [4, 1]]
    for axes, message in [
        (("unit", "unit"), "another one"),
        (("unti", "tv"), r"rows='unti'.*Did you mean \"unit\""),
        (("unit", "vt"), "columns='vt'"),
    ]:
        with pytest.raises(ValueError, match=message):
            grid.best_of_cells(rows, *axes)
    many = [row(i, 0.0, a=f"text {i}", b=i % 2) for i in range(30)]
    with pytest.raises(ValueError, match="at most 24 columns, not 30"):
        grid.best_of_cells(many, "b", "a")


def test_pictures_of_different_sizes_and_missing_ones(tmp_path):
    for name, size in (("a", (4, 8)), ("b", (8, 8))):
        Image.new("RGB", size[::-1], "red").save(tmp_path / f"{name}.png")
    found = grid.pictures([tmp_path / "a.png", None, tmp_path / "b.png"])
    assert found.shape == (3, 8, 8, 3)
    assert (found[0, [0, 1, 6, 7]] == 255).all() and (found[0, 2:6, :, 1] == 0).all()
    assert (found[1] == 224).all() and (found[2] == (255, 0, 0)).all()


# The files


def test_everything_is_written(two, tmp_path):
    (two[0] / "runs/run_0003.png").unlink()
    out = tmp_path / "out" / "both"
    sweeps, _ = read_sweeps(two)
    files = write_comparison(sweeps, out, notes=["A <note>."], axes=("unit", "sweep"))
    assert all(path.exists() for path in files.values())
    with files["table"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["sweep_run"] for r in rows] == list("012301")
    assert rows[4]["image"] == "../../pixel/runs/run_0000.png"
    assert rows[3]["image"] == "" and rows[4]["tv"] == "0.0"
    assert (out / rows[4]["image"]).is_file()
    page = files["page"].read_text("utf-8")
    assert "A &lt;note&gt;." in page and "1 run without a picture." in page
    assert "1 run stopped early" in page
    sources = re.findall(r'<img src="([^"]+)"', page)
    assert len(sources) == 5 + 1  # only the score varies among the counted runs
    assert all((out / source).is_file() for source in sources)
    height, width, _ = load_image(files["sheet"]).shape
    assert width > 250 and height > 250
    table = files["effects"].read_text().splitlines()
    assert table[0] == "sweep,hyperparameter,metric,rank_correlation,n"
    again = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
    write_comparison(sweeps, out, notes=["A <note>."], axes=("unit", "sweep"))
    assert again == {name: files[name].read_bytes() for name in again}


def test_where_a_comparison_may_not_go(two):
    sweeps, _ = read_sweeps(two)
    with pytest.raises(ValueError, match="a sweep is in this folder"):
        write_comparison(sweeps, two[0])
    with pytest.raises(ValueError, match="give a folder"):
        write_comparison(sweeps, two[0] / "config.json")


def test_three_thousand_runs_are_quick(tmp_path):
    random = np.random.default_rng(0)
    rows = [
        {
            "run": i,
            "hparams": {"unit": i % 40} | {f"h{k}": random.random() for k in range(6)},
            "metrics": {"score": float(random.normal()), "tv": float(i)},
            "status": "alive",
            "image": None,
        }
        for i in range(3000)
    ]
    folder = make_sweep(tmp_path / "many", [])
    (folder / "summary.json").write_text(summary_json(rows))
    start = time.process_time()
    sweeps, _ = read_sweeps([folder])
    files = write_comparison(sweeps, tmp_path / "out", axes=("h0", "h1"))
    assert time.process_time() - start < 15
    assert {p.suffix for p in files["plots"].iterdir()} == {".png"}
    assert files["page"].stat().st_size < 5_000_000


def test_the_command(two, tmp_path):
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_text("{}")
    out = tmp_path / "out"
    arguments = [*map(str, two), str(half), f"--out={out}", "--rows=unit"]
    start = [sys.executable, "-m", "experiments.compare"]
    options = dict(cwd=REPO, capture_output=True, text=True, timeout=120)
    made = subprocess.run([*start, *arguments, "--columns=param"], **options)
    assert made.returncode == 0, made.stderr
    assert "Left out: workdir=" in made.stdout and (out / "sheet.png").exists()


# The page in a browser

USER = """
<script>
const seen = [];
const table = () => [...document.querySelectorAll("#out tbody tr")].map((line) =>
  [line.querySelector("th").textContent, ...[...line.querySelectorAll("td")].map(
    (cell) => [...cell.querySelectorAll("figure")].map((f) => f.id).join(" ")
      + (cell.querySelector(".more")?.textContent ?? ""))]);
const heads = () => [...document.querySelectorAll("#out thead th")]
  .map((h) => h.textContent);
seen.push(heads(), table());
for (const [id, value] of [["group", ""], ["columns", "lr"]]) {
  $(id).value = value;
  $(id).dispatchEvent(new Event("change"));
}
seen.push(heads(), table(), location.hash);
document.documentElement.dataset.seen = JSON.stringify(seen);
</script>
"""


@browser.in_browser
def test_any_two_hyperparameters_make_a_grid(tmp_path):
    rows = [row(i, float(i), unit=i % 2, tv=(i // 2) % 2, lr=i / 10) for i in range(20)]
    sections = [("Tables", "<p id=told>inside</p>")]
    page = write_page(tmp_path / "a.html", rows, "Grid", sections=sections)
    text = page.read_text("utf-8").replace("</body>", f"{USER}</body>")
    page.write_text(text, "utf-8")
    flags = [*browser.FLAGS, "--disable-gpu", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [
            browser.BROWSER,
            *flags,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"{page.as_uri()}#group=unit&columns=tv&sort=score&dir=desc",
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert [x for x in done.stderr.splitlines() if "CONSOLE" in x] == []
    assert "data-error" not in done.stdout and '<p id="told">' in done.stdout
    found = re.search(r'data-seen="([^"]*)"', done.stdout)[1].replace("&quot;", '"')
    heads, lines, ranges, one, place = json.loads(found.replace("&amp;", "&"))
    assert heads == ["tv=0", "tv=1"]
    assert lines == [
        ["unit=0", "r16 r12 r8and 2 more", "r18 r14 r10and 2 more"],
        ["unit=1", "r17 r13 r9and 2 more", "r19 r15 r11and 2 more"],
    ]
    assert len(ranges) == 8 and ranges[0] == "lr=0 … 0.1"
    assert one[0][1] == "r1 r0" and len(one) == 1
    # The same ranges as in the sheet.
    assert [f"lr={label}" for label, _ in grid.lines(rows, "lr")] == ranges
    assert place == "#sort=metric%3Ascore&dir=desc&columns=lr"


def test_b6_hostile_numbers_and_texts_are_compared(tmp_path):
    most = 10**38  # of a file; longer ones are refused by name
    given = [
        ({"tv": 1e308, "rows": "$a$ b"}, {"score": 1e308, "$m$": math.nan}),
        ({"tv": -1e308, "rows": r"$\frac{"}, {"score": -1e308, "$m$": 1.0}),
        ({"tv": most, "rows": "\x1b[2J"}, {"score": -most, "$m$": most}),
        ({"tv": 1, "rows": "$"}, {"score": math.inf, "$m$": -math.inf}),
        ({"tv": 2, "rows": "x"}, {"score": 0.5, "$m$": 2.0}),
    ]
    folder = make_sweep(tmp_path / "sweep", given)
    sweeps, _ = read_sweeps([folder])
    files = write_comparison(sweeps, tmp_path / "out", axes=("rows", "tv"))
    for path in (files["plots"]).iterdir():
        if path.suffix == ".svg":
            ElementTree.fromstring(path.read_text())
    big = 10**400
    assert math.inf == values.number(big) == -values.number(-big)
    assert values.short(big) == "1e400" and values.short(-(10**16)) == "-1e16"
    assert values.short(10**15) == "1000000000000000"


def test_a20_a_page_of_a_user_is_not_replaced(tmp_path):
    folder = make_sweep(tmp_path / "sweep", [({"tv": i}, {"score": i}) for i in (1, 2)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("mine")
    sweeps, _ = read_sweeps([folder])
    with pytest.raises(ValueError, match=r"index\.html and no comparison\.csv"):
        write_comparison(sweeps, tmp_path / "out")
    assert [p.read_text() for p in (tmp_path / "out").iterdir()] == ["mine"]
    (tmp_path / "out" / "index.html").unlink()
    for _ in range(2):
        write_comparison(sweeps, tmp_path / "out")
