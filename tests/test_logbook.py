"""Event files are read back record by record, checksums included."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from dreamjax.events import run_folder, tag
from dreamjax.logbook import (
    Logbook,
    jsonable,
    merge_metrics,
    metrics_path,
    rewind,
    scalars,
)
from dreamjax.types import DreamInfo


def masked(data: bytes) -> bytes:
    """The checksum of the TFRecord format: CRC-32C, rotated by 15 bits, plus a bit."""
    crc = crc32c(data)
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return ((rotated + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def read_events(path: Path) -> list[Event]:
    data, at, events = path.read_bytes(), 0, []
    while at < len(data):
        head = data[at : at + 8]
        size = int.from_bytes(head, "little")
        payload = data[at + 12 : at + 12 + size]
        assert data[at + 8 : at + 12] == masked(head)
        assert data[at + 12 + size : at + 16 + size] == masked(payload)
        events.append(Event.FromString(payload))
        at += 16 + size
    return events


def files_of(workdir: Path, run: int) -> list[Path]:
    return sorted(run_folder(workdir, run).iterdir())


def events_of(workdir: Path, run: int) -> list[Event]:
    return [e for path in files_of(workdir, run) for e in read_events(path)]


def scalars_of(workdir: Path, run: int) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for event in events_of(workdir, run):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def sessions_of(workdir: Path, run: int) -> dict[str, HParamsPluginData]:
    found = {}
    for event in events_of(workdir, run):
        for value in event.summary.value:
            plugin = value.metadata.plugin_data
            if plugin.plugin_name == "hparams":
                found[value.tag] = HParamsPluginData.FromString(plugin.content)
    return found


def lines_of(workdir: Path) -> list[dict]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not strict JSON")

    text = merge_metrics(workdir).read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def info(score: list[list[float]]) -> DreamInfo:
    """An info of runs [R, B] whose other numbers follow from the score."""
    array = np.asarray(score, np.float32)
    return DreamInfo(
        loss=-array.sum(axis=1),
        score=array,
        penalty={"tv": array / 4},
        grad_norm=2 * array,
        update_norm=array[:, 0] / 2,
    )


ALIVE = np.ones(2, bool)


def test_scalars_are_means_over_the_images_of_one_run():
    row = scalars(info([[9.0, 9.0], [1.0, 3.0]]), 1)
    assert row == {
        "score": 2.0,
        "loss": -4.0,
        "grad_norm": 4.0,
        "update_norm": 0.5,
        "penalty/tv": 0.5,
    }


def test_tags_put_curves_first_in_time_series_and_finals_first_in_hparams():
    assert tag("score") == "dream/score"
    assert tag("score", final=True) == "dream-final-score/score"
    assert tag("penalty/tv") == "penalty/tv"
    assert tag("penalty/tv", final=True) == "penalty-final/tv"
    # Time Series sorts groups, the HParams table whole tags, by character code.
    tags = [tag(name, final=final) for name in ("loss", "x/tv") for final in (0, 1)]
    assert sorted({t.split("/")[0] for t in tags}) == [
        *("dream", "dream-final", "x", "x-final")
    ]
    assert sorted(tags) == ["dream-final/loss", "dream/loss", "x-final/tv", "x/tv"]


def test_curves_have_steps_and_values_of_their_run(tmp_path):
    with Logbook(tmp_path, 0, [3, 4]) as book:
        book.log(8, info([[1.0], [2.0]]), ALIVE)
        book.log(16, info([[3.0], [4.0]]), ALIVE)
    assert scalars_of(tmp_path, 3) == {
        "dream/score": [(8, 1.0), (16, 3.0)],
        "dream/loss": [(8, -1.0), (16, -3.0)],
        "dream/grad_norm": [(8, 2.0), (16, 6.0)],
        "dream/update_norm": [(8, 0.5), (16, 1.5)],
        "penalty/tv": [(8, 0.25), (16, 0.75)],
    }
    assert scalars_of(tmp_path, 4)["dream/score"] == [(8, 2.0), (16, 4.0)]


def test_an_event_file_starts_with_version_and_time(tmp_path):
    with Logbook(tmp_path, 0, [0]) as book:
        book.log(1, info([[1.0]]), ALIVE)
    first, *rest = events_of(tmp_path, 0)
    assert first.file_version == "brain.Event:2"
    assert all(event.wall_time >= first.wall_time > 1.6e9 for event in rest)
    assert "tfevents" in files_of(tmp_path, 0)[0].name


def test_what_is_logged_is_on_disk_before_any_flush(tmp_path):
    with Logbook(tmp_path, 0, [0, 1]) as book:
        book.log(1, info([[1.0], [2.0]]), ALIVE)
        assert scalars_of(tmp_path, 1)["dream/score"] == [(1, 2.0)]
        assert [row["score"] for row in lines_of(tmp_path)] == [1.0, 2.0]
        book.flush()


def test_pictures_come_back_pixel_by_pixel(tmp_path):
    rng = np.random.default_rng(0)
    shown = {
        step: [rng.integers(0, 256, (5, 14, 3), np.uint8) for _ in range(2)]
        for step in (0, 4)
    }
    with Logbook(tmp_path, 0, [0, 1]) as book:
        for step, pictures in shown.items():
            book.pictures(step, pictures)
    for run in (0, 1):
        found = {
            event.step: value
            for event in events_of(tmp_path, run)
            for value in event.summary.value
        }
        assert list(found) == [0, 4]
        for step, value in found.items():
            assert value.tag == "image"
            assert (value.image.height, value.image.width) == (5, 14)
            with Image.open(io.BytesIO(value.image.encoded_image_string)) as image:
                assert image.mode == "RGB"
                np.testing.assert_array_equal(np.asarray(image), shown[step][run])


def test_hparams_session_holds_values_types_and_final_metrics(tmp_path):
    hparams = [
        {"tv": 0.5, "unit": 3, "flag": True, "reference": "none", "lr": float("nan")},
        {"tv": 1.5, "unit": 4, "flag": False, "reference": (1, 2), "lr": 0.1},
    ]
    metrics = [
        {"score": 7.0, "penalty/tv": 0.25, "alive": 1.0},
        {"score": 9.0, "penalty/tv": 0.5, "alive": 0.0},
    ]
    with Logbook(tmp_path, 0, [0, 1], hparams=hparams) as book:
        book.finish(metrics, 128)
    assert scalars_of(tmp_path, 0) == {
        "dream-final-score/score": [(128, 7.0)],
        "penalty-final/tv": [(128, 0.25)],
        "dream-final/alive": [(128, 1.0)],
    }
    first, second = sessions_of(tmp_path, 0), sessions_of(tmp_path, 1)
    # An experiment would hide the columns of another sweep in the same folder.
    assert set(first) == {"_hparams_/session_start_info", "_hparams_/session_end_info"}
    values = first["_hparams_/session_start_info"].session_start_info.hparams
    assert set(values) == {"tv", "unit", "flag", "reference", "lr"}
    assert values["tv"].number_value == 0.5
    assert values["unit"].number_value == 3
    assert values["flag"].WhichOneof("kind") == "bool_value"
    assert values["flag"].bool_value is True
    assert values["reference"].string_value == "none"
    assert values["lr"].string_value == "nan"
    values = second["_hparams_/session_start_info"].session_start_info.hparams
    assert values["reference"].string_value == "(1, 2)"
    assert values["lr"].number_value == 0.1
    ends = [s["_hparams_/session_end_info"].session_end_info for s in (first, second)]
    assert [end.status for end in ends] == [STATUS_SUCCESS, STATUS_FAILURE]


@pytest.mark.parametrize("resumed_at", [0, 4])
def test_a_resume_purges_later_events_and_overwrites_no_file(tmp_path, resumed_at):
    with Logbook(tmp_path, 0, [0]) as book:
        for step in range(1, 7):
            book.log(step, info([[float(step)]]), ALIVE)
    old = files_of(tmp_path, 0)[0].read_bytes()
    with Logbook(tmp_path, 0, [0], resumed_at=resumed_at) as book:
        book.log(resumed_at + 1, info([[50.0]]), ALIVE)
    files = files_of(tmp_path, 0)
    last = read_events(files[-1])
    assert last[0].file_version == "brain.Event:2"
    assert last[1].session_log.status == SessionLog.START
    assert last[1].step == resumed_at
    again = [resumed_at] if resumed_at else []  # what was purged and not made again
    assert [event.step for event in last[2:]] == [*again, resumed_at + 1]
    assert files[0].read_bytes() == old


def test_no_tensorboard_leaves_the_lines_only(tmp_path):
    with Logbook(tmp_path, 0, [0], tensorboard=False) as book:
        book.log(1, info([[1.0]]), ALIVE)
        book.pictures(1, [np.zeros((2, 2, 3), np.uint8)])
        book.finish([{"score": 1.0, "alive": 1.0}], 1)
        book.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics"]
    assert len(lines_of(tmp_path)) == 1


def test_metrics_lines_name_block_run_and_step(tmp_path):
    with Logbook(tmp_path, 2, [5, 6]) as book:
        book.log(8, info([[1.0, 3.0], [2.0, 2.0]]), np.array([True, False]))
    assert lines_of(tmp_path) == [
        {
            **{"block": 2, "run": 5, "step": 8, "score": 2.0, "loss": -4.0},
            **{"grad_norm": 4.0, "update_norm": 0.5, "penalty/tv": 0.5, "alive": True},
        },
        {
            **{"block": 2, "run": 6, "step": 8, "score": 2.0, "loss": -4.0},
            **{"grad_norm": 4.0, "update_norm": 1.0, "penalty/tv": 0.5, "alive": False},
        },
    ]


def test_lanes_beyond_the_runs_are_not_logged(tmp_path):
    with Logbook(tmp_path, 0, [7]) as book:
        book.log(1, info([[1.0], [2.0], [2.0]]), np.ones(3, bool))
    assert [row["run"] for row in lines_of(tmp_path)] == [7]
    assert [path.name for path in (tmp_path / "tb").iterdir()] == ["0007"]


def test_non_finite_numbers_are_text_in_json_and_themselves_in_events(tmp_path):
    with Logbook(tmp_path, 0, [0, 1]) as book:
        book.log(1, info([[float("nan")], [float("-inf")]]), ALIVE)
    nan, inf = lines_of(tmp_path)
    assert (nan["score"], inf["score"], inf["loss"]) == ("nan", "-inf", "inf")
    assert np.isnan(scalars_of(tmp_path, 0)["dream/score"][0][1])
    assert scalars_of(tmp_path, 1)["dream/loss"] == [(1, float("inf"))]
    assert jsonable({"a": 1.5, "b": 2, "c": True, "d": "x"}) == {
        **{"a": 1.5, "b": 2, "c": True, "d": "x"}
    }


def logged(workdir: Path) -> list[tuple[int, int, int]]:
    return [(row["block"], row["run"], row["step"]) for row in lines_of(workdir)]


def test_rewind_drops_later_lines_of_its_block_and_a_torn_one(tmp_path):
    for block in (0, 1, 2):
        with Logbook(tmp_path, block, [block], tensorboard=False) as book:
            for step in (2, 4, 6):
                book.log(step, info([[1.0]]), ALIVE)
    with metrics_path(tmp_path, 1).open("a", encoding="utf-8") as file:
        file.write('{"block": 1, "run": 1, "st')
    rewind(tmp_path, 1, 4)
    kept = [(b, b, s) for b in (0, 1, 2) for s in (2, 4, 6) if (b, s) != (1, 6)]
    assert logged(tmp_path) == kept
    rewind(tmp_path, 1, 4)
    assert logged(tmp_path) == kept


def test_rewind_to_the_start_drops_the_block(tmp_path):
    for block in (0, 1):
        with Logbook(tmp_path, block, [block], tensorboard=False) as book:
            book.log(2, info([[1.0]]), ALIVE)
    rewind(tmp_path, 0, 0)
    assert logged(tmp_path) == [(1, 1, 2)]


def test_rewind_of_nothing_makes_nothing(tmp_path):
    rewind(tmp_path, 0, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_log_has_each_step_once(tmp_path):
    with Logbook(tmp_path, 0, [0]) as book:
        for step in (2, 4, 6):
            book.log(step, info([[1.0]]), ALIVE)
    rewind(tmp_path, 0, 4)
    with Logbook(tmp_path, 0, [0], resumed_at=4) as book:
        for step in (6, 8):
            book.log(step, info([[1.0]]), ALIVE)
    assert [step for _, _, step in logged(tmp_path)] == [2, 4, 6, 8]


def test_three_hundred_runs_hold_no_file_open(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    try:
        with Logbook(tmp_path, 0, range(300)) as book:
            book.log(1, info([[1.0]] * 300), np.ones(300, bool))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert scalars_of(tmp_path, 299)["dream/score"] == [(1, 1.0)]


def test_a_step_that_two_blocks_logged_is_there_once(tmp_path):
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "block_0000.jsonl").write_text(
        '{"block": 0, "run": 0, "step": 2, "score": 1.0}\n'
        '{"block": 0, "run": 1, "step": 2, "score": 2.0}\n{"block": 0, "ru'
    )
    (folder / "block_0001.jsonl").write_text(
        '{"block": 1, "run": 1, "step": 2, "score": 2.0}\n'
        '{"block": 1, "run": 1, "step": 4, "score": 3.0}\n'
    )
    rows = [(row["block"], row["run"], row["step"]) for row in lines_of(tmp_path)]
    assert rows == [(0, 0, 2), (1, 1, 2), (1, 1, 4)]
