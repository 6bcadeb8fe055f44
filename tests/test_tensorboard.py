"""What TensorBoard itself makes of a sweep of 300 runs, asked through its own readers.

Needs TensorBoard, which only development does (requirements-dev.txt).
"""

import io

import numpy as np
import pytest
from PIL import Image

from dreamjax import logbook
from dreamjax.events import run_folder
from dreamjax.images import png_bytes
from dreamjax.report.values import labels
from dreamjax.types import DreamInfo

RUNS = 300


def info(score: np.ndarray) -> DreamInfo:
    """An info of runs [R], one image each."""
    score = np.asarray(score, np.float32)
    return DreamInfo(
        loss=-score,
        score=score[:, None],
        penalty={"tv": score[:, None] / 4},
        grad_norm=score[:, None],
        update_norm=score,
    )


def hparams():
    random = np.random.default_rng(0)
    return [
        {"adam_b1": 0.9, "unit": int(random.integers(512)), "tv": tv}
        for tv in random.uniform(0, 1, RUNS)
    ]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    workdir, told = tmp_path_factory.mktemp("large"), hparams()
    named = dict(enumerate(labels(told, ["unit"])))
    tv = np.array([one["tv"] for one in told])
    with logbook.Logbook(workdir, 0, range(RUNS), hparams=told, labels=named) as book:
        for step in (8, 16):
            book.log(step, info(step * tv), np.ones(RUNS, bool))
        book.pictures(16, [np.full((4, 4, 3), 255 * x, np.uint8) for x in tv])
        final = {"agreement": 0.5, "alive": 1.0, "change": 2.0, "colorfulness": 1.0}
        final |= {"high_frequency": 0.1, "penalty/tv": 0.1, "score_plain": 1.0}
        book.finish([{**final, "score": float(16 * x)} for x in tv], 16)
    logbook.merge_metrics(workdir)
    logbook.write_sheet_run(workdir, png_bytes(np.full((8, 8, 3), 9, np.uint8)))
    return workdir


@pytest.fixture(scope="module")
def board(workdir):
    """Returns TensorBoard's reader of the folder, and its HParams backend."""
    multiplexers = pytest.importorskip(
        "tensorboard.backend.event_processing.plugin_event_multiplexer",
        reason="TensorBoard is not installed (requirements-dev.txt)",
    )
    from tensorboard.backend.event_processing import data_provider
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import backend_context

    found = multiplexers.EventMultiplexer()
    found.AddRunsFromDirectory(str(workdir / "tb"))
    found.Reload()
    provider = data_provider.MultiplexerDataProvider(found, str(workdir / "tb"))
    context = base_plugin.TBContext(data_provider=provider)
    return found, backend_context.Context(context)


def test_c8_runs_are_named_by_what_varies_and_the_sheet_comes_first(board):
    runs = sorted(board[0].Runs())
    assert runs[0] == "0 sheet"
    told = hparams()[7]
    assert runs[8].startswith(f"0007 unit={told['unit']} tv=0.")
    assert "adam_b1" not in runs[8]
    assert len(runs) == RUNS + 1


def test_c8_the_sheet_has_a_picture_and_quantiles(board):
    sheet = board[0].GetAccumulator("0 sheet")
    tv = [one["tv"] for one in hparams()]
    for name, part in (("q10", 0.1), ("q50", 0.5), ("q90", 0.9), ("max", 1)):
        events = sheet.Tensors(f"all/score_{name}")
        assert [event.step for event in events] == [8, 16]
        value = events[-1].tensor_proto.float_val[0]
        assert value == pytest.approx(16 * np.quantile(tv, part), rel=1e-5)
    (event,) = sheet.Tensors("all/sheet")
    data = event.tensor_proto.string_val[2]
    assert Image.open(io.BytesIO(data)).size == (8, 8)


def test_c8_the_score_is_first_among_the_metrics(board):
    from tensorboard.context import RequestContext
    from tensorboard.plugins.hparams import api_pb2

    _, context = board
    asked = RequestContext()
    shown = context.experiment_from_metadata(
        asked,
        "",
        include_metrics=True,
        hparams_run_to_tag_to_content=context.hparams_metadata(asked, ""),
        data_provider_hparams=[],
    )
    assert isinstance(shown, api_pb2.Experiment)
    names = [metric.name.tag for metric in shown.metric_infos]
    assert names[0] == "dream-final-score/score"
    assert names[1] == "dream-final-score/score_plain"
    assert {column.name for column in shown.hparam_infos} == {"adam_b1", "unit", "tv"}


def test_c8_a_run_keeps_its_folder_when_something_else_varies(tmp_path):
    told = [{"unit": 1, "tv": 0.0}, {"unit": 2, "tv": 0.0}]
    first = [run_folder(tmp_path, i, text) for i, text in enumerate(labels(told))]
    assert [path.name for path in first] == ["0000 unit=1", "0001 unit=2"]
    for path in first:
        path.mkdir(parents=True)
    told += [{"unit": 1, "tv": 0.5}]
    again = [run_folder(tmp_path, i, text) for i, text in enumerate(labels(told))]
    assert again[:2] == first
    assert again[2].name == "0002 unit=1 tv=0.5"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("", "0003"),
        ("unit=a/b:c\\d", "0003 unit=a_b_c_d"),
        ("reference=../../x\0", "0003 reference=.._.._x_"),
        ("direction=[1, 0.5]", "0003 direction=[1, 0.5]"),
        ("unit=espresso maker", "0003 unit=espresso maker"),
        ("x=" + "9" * 400, "0003 x=" + "9" * 93),
    ],
)
def test_c8_a_label_is_a_safe_name_of_a_folder(tmp_path, label, name):
    path = run_folder(tmp_path, 3, label)
    assert path == tmp_path / "tb" / name
    path.mkdir(parents=True)
    assert run_folder(tmp_path, 3, "another") == path


def test_c8_folders_of_older_versions_keep_their_names(tmp_path):
    (tmp_path / "tb" / "run_0003").mkdir(parents=True)
    assert run_folder(tmp_path, 3, "unit=1").name == "run_0003"


def test_c8_beyond_forty_runs_it_is_said_where_to_begin():
    assert logbook.where_to_look(40) == []
    (line,) = logbook.where_to_look(41)
    assert "runFilter=sheet#images&regexInput=sheet" in line
