"""Logs are as durable as pictures: whatever is harmed is mended, and that is said."""

import errno
import json
import os
import shutil
import time

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import SessionLog

from dreamjax import block, checkpoint, events, logbook, runner, seeds, shards
from dreamjax.interrupt import Interrupted
from tests.tiny import tiny_config


class Killed(BaseException):
    """Stands for `kill -9`."""


def config_of(**keys):
    """Two blocks of two runs: two units, two seeds; a picture at 0, 4 and 8."""
    config = tiny_config(unit=(0, 1), seed=(0, 1))
    config.size, config.steps, config.image_steps = (16, 16), 8, (0, 4, 8)
    config.runs_per_call, config.tensorboard = 2, True
    for name, value in keys.items():
        config[name] = value
    return config


def go_on(workdir, **keys):
    """Returns the result and what was said."""
    said = []
    result = runner.run(config_of(**keys), workdir, report=said.append)
    return result, "\n".join(said)


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
    """All sweeps here are of one program."""
    compile_program, made = runner.sweep.compile_program, {}

    def once(*args, steps, **kwargs):
        if steps not in made:
            made[steps] = compile_program(*args, steps=steps, **kwargs)
        return made[steps]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.sweep, "compile_program", once)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("durable") / "sweep"
    go_on(workdir)
    return workdir


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def shown(workdir):
    """Returns run -> tag -> [(step, value)] as TensorBoard shows them after a purge.

    Wall times must rise; pictures are told by their bytes.
    """
    found = {}
    for folder in sorted((workdir / "tb").glob("0*=*")):
        at, tags = 0.0, {}
        for path in events.event_files(folder):
            for event in events.read_events(path):
                assert event.wall_time >= at, (folder.name, path.name)
                at = event.wall_time
                if event.session_log.status == SessionLog.START:
                    tags = {
                        tag: [pair for pair in pairs if pair[0] < event.step]
                        for tag, pairs in tags.items()
                    }
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        what = value.simple_value
                    elif value.HasField("image"):
                        what = value.image.encoded_image_string
                    else:
                        continue
                    tags.setdefault(value.tag, []).append((event.step, what))
        found[folder.name] = {tag: pairs for tag, pairs in tags.items() if pairs}
    return found


def lines_of(workdir):
    return sorted((workdir / "metrics.jsonl").read_text().splitlines())


def same(workdir, other):
    """Tells whether two folders hold the same log, events and seeds."""
    assert lines_of(workdir) == lines_of(other)
    assert shown(workdir) == shown(other)
    for name in ("summary.csv", "summary.json"):
        assert (workdir / name).read_bytes() == (other / name).read_bytes()


HARMS = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "cut at a line": lambda path: path.write_bytes(
        b"".join(path.read_bytes().splitlines(keepends=True)[:2])
    ),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a digit changed": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"step": 4', b'"step": 5', 1)
    ),
    "a line twice": lambda path: path.write_bytes(
        path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0]
    ),
    "gone": lambda path: path.unlink(),
    "folder gone": lambda path: shutil.rmtree(path.parent),
    "another block's": lambda path: shutil.copy(
        path.with_name("block_0001.jsonl"), path
    ),
}


@pytest.mark.parametrize("how", HARMS)
def test_a6_a_harmed_log_is_written_again_and_that_is_said(finished, copy, how):
    HARMS[how](logbook.metrics_path(copy, 0))
    said = logbook.mend_logs(copy, range(2))
    assert any("metrics/block_0000.jsonl" in line for line in said)
    assert all("written again from results/block_000" in line for line in said)
    logbook.merge_metrics(copy)
    assert lines_of(copy) == lines_of(finished)
    assert logbook.mend_logs(copy, range(2)) == []


def test_a6_the_command_says_it_and_loses_nothing(finished, copy):
    logbook.metrics_path(copy, 0).write_bytes(b"")
    (copy / "metrics.jsonl").unlink()
    _, said = go_on(copy)
    assert "metrics/block_0000.jsonl is damaged: written again" in said
    assert "finished" in said
    same(copy, finished)


def test_a6_count_and_digest_stand_in_the_result(finished):
    for number in (0, 1):
        result = shards.read_result(shards.result_path(finished, number))
        meta = checkpoint.read_meta(shards.result_path(finished, number))
        assert meta["log"] == checkpoint.count_and_digest(result.log)
        assert meta["log"]["lines"] == 8  # 2 runs × 4 logged steps


def test_a6_a_folder_of_an_older_version_takes_lines_from_the_merged_log(copy):
    for number in (0, 1):  # as it was: a result without its log
        path = shards.result_path(copy, number)
        old = shards.read_result(path)
        shards.write_result(path, old.images, old.metrics, old.meta)
    before = lines_of(copy)
    logbook.metrics_path(copy, 0).write_bytes(b"")
    (said,) = logbook.mend_logs(copy, range(2))
    assert said.endswith("written again from metrics.jsonl.")
    logbook.merge_metrics(copy)
    assert lines_of(copy) == before
    assert logbook.mend_events(copy, [], runner._shown) == []


def test_a6_a_checkpoint_brings_its_log_along(finished, tmp_path, monkeypatch):
    stop_at(monkeypatch, tmp_path / "w", 6)
    path = logbook.metrics_path(tmp_path / "w", 0)
    assert len(path.read_text().splitlines()) == 6
    path.write_text('{"block": 0, "ru')
    go_on(tmp_path / "w")
    same(tmp_path / "w", finished)


def stop_at(monkeypatch, workdir, step):
    """Stops block 0 right after the checkpoint of a step."""
    save = checkpoint.save

    def save_and_stop(path, tree, meta, log=None):
        save(path, tree, meta, log)
        if meta.get("step") == step:
            raise Interrupted("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(block.checkpoint, "save", save_and_stop)
        with pytest.raises(Interrupted):
            go_on(workdir, checkpoint_seconds=0.0)
    assert [p.name for p in workdir.glob("checkpoints/*")] == ["block_0000.npz"]


@pytest.mark.parametrize("harm", ["flip", "cut", "other runs"])
def test_a6_a_damaged_checkpoint_is_set_aside(
    finished, tmp_path, monkeypatch, capsys, harm
):
    workdir = tmp_path / "w"
    stop_at(monkeypatch, workdir, 4)
    path = shards.saved_path(workdir, 0)
    data = path.read_bytes()
    if harm == "flip":
        path.write_bytes(data[:900] + bytes([data[900] ^ 1]) + data[901:])
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        kept = checkpoint.read(path)
        meta = {n: v for n, v in kept.meta.items() if n != "log"} | {"runs": [2, 3]}
        checkpoint.save(path, kept.leaves, meta, kept.log)
    go_on(workdir)
    said = capsys.readouterr().err
    assert "checkpoint block_0000.npz is" in said and "made again" in said
    assert path.with_name("block_0000.npz.damaged").exists()
    same(workdir, finished)


def kill_after(monkeypatch, owner, name):
    """Lets a function do its work, and the process die when it returns."""
    work = getattr(owner, name)

    def work_and_die(*args, **kwargs):
        work(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(owner, name, work_and_die)


POINTS = {
    "after the first event file": (logbook, "EventFile"),
    "after a logged step": (logbook.Logbook, "log"),
    "after a picture": (logbook.Logbook, "pictures"),
    "between the finals and the result": (logbook.Logbook, "finish"),
    "after the states": (shards, "state_path"),
    "after a result": (shards, "write_result"),
    "after TensorBoard's finals of seeds": (seeds, "add_finals"),
    "after seeds.json": (seeds, "write_text"),
    "before the logs are merged": (runner, "compare_seeds"),
    "after the logs are merged": (runner, "merge_metrics"),
}


@pytest.mark.parametrize("point", POINTS)
def test_a9_no_kill_leaves_gaps_or_doubles(finished, tmp_path, monkeypatch, point):
    with monkeypatch.context() as patch:
        kill_after(patch, *POINTS[point])
        with pytest.raises(Killed):
            go_on(tmp_path / "w")
    go_on(tmp_path / "w")
    same(tmp_path / "w", finished)


@pytest.mark.parametrize("step", [4, 8])
def test_a9_a_resume_from_any_step_shows_each_step_once(
    finished, tmp_path, monkeypatch, step
):
    """Also from the very last step, whose events are purged and written again."""
    stop_at(monkeypatch, tmp_path / "w", step)
    with monkeypatch.context() as patch:
        kill_after(patch, logbook.Logbook, "finish")
        with pytest.raises(Killed):
            go_on(tmp_path / "w")
    go_on(tmp_path / "w")
    same(tmp_path / "w", finished)


def test_a9_a_clock_set_back_a_day_hides_nothing(finished, tmp_path, monkeypatch):
    stop_at(monkeypatch, tmp_path / "w", 4)
    with monkeypatch.context() as patch:
        now = time.time
        patch.setattr(events.time, "time", lambda: now() - 86_400)
        go_on(tmp_path / "w")
    same(tmp_path / "w", finished)


def test_a9_an_extended_run_has_one_final_value_and_no_gap(copy):
    """Its first end is purged, and the step that it goes on from is kept."""
    go_on(copy, steps=12)
    for tags in shown(copy).values():
        assert [step for step, _ in tags["dream/score"]] == [2, 4, 6, 8, 10, 12]
        assert [step for step, _ in tags["dream-final-score/score"]] == [12]
        assert [step for step, _ in tags["dream-final/diversity"]] == [12]
        assert [step for step, _ in tags["image"]] == [0, 4, 8]


def test_a9_an_extension_without_its_states_has_no_gap(copy):
    shutil.rmtree(copy / "states")
    go_on(copy, steps=12)
    for tags in shown(copy).values():
        assert [step for step, _ in tags["dream/score"]] == [2, 4, 6, 8, 10, 12]
        assert [step for step, _ in tags["image"]] == [0, 4, 8]


def event_harms():
    def cut(path):
        path.write_bytes(path.read_bytes()[:-40])

    def flip(path):
        data = path.read_bytes()
        path.write_bytes(data[:130] + bytes([data[130] ^ 4]) + data[131:])

    def swap(path):
        other = events.event_files(events.run_folder(path.parents[2], 3))[0]
        mine, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(mine)

    return {
        "cut": cut,
        "flip": flip,
        "gone": os.unlink,
        "folder gone": lambda path: shutil.rmtree(path.parent),
        "swapped": swap,
        "a second copy": lambda path: shutil.copy(
            path, path.with_name(path.name.replace("events.1", "events.2"))
        ),
    }


@pytest.mark.parametrize("how", event_harms())
@pytest.mark.parametrize("kind", ["run", "finals"])
def test_a9_harmed_events_are_made_again_and_that_is_said(finished, copy, how, kind):
    folder = events.run_folder(copy, 0)
    (path,) = [p for p in events.event_files(folder) if p.name.endswith(kind)]
    event_harms()[how](path)
    _, said = go_on(copy)
    assert "made again" in said
    expected, found = shown(finished), shown(copy)
    assert {n: t for run in found.values() for n, t in run.items() if n != "image"} == {
        n: t for run in expected.values() for n, t in run.items() if n != "image"
    }
    for name, tags in found.items():
        pictures = tags.get("image", [])
        assert set(pictures) <= set(expected[name]["image"])
        assert len(set(pictures)) == len(pictures)
        assert (8, expected[name]["image"][-1][1]) in pictures
    if any(len(tags["image"]) < 3 for tags in found.values()):
        assert "pictures are lost" in said
    _, again = go_on(copy)
    assert "made again" not in again and shown(copy) == found


def test_a9_damaged_seeds_are_computed_again(finished, copy):
    path = copy / seeds.SEEDS
    kept = json.loads(path.read_text())
    kept["metrics"][0]["diversity"] += 1
    path.write_text(json.dumps(kept))
    _, said = go_on(copy)
    assert "seeds.json is damaged: made again" in said
    same(copy, finished)


def test_swapped_results_are_made_again(finished, copy):
    first, second = (shards.result_path(copy, n) for n in (0, 1))
    data = first.read_bytes(), second.read_bytes()
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    result, said = go_on(copy)
    assert "block_0000.npz is of runs [2, 3], not [0, 1]" in said
    np.testing.assert_array_equal(
        result.images[:2], shards.read_result(shards.result_path(finished, 0)).images
    )
    same(copy, finished)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda meta: meta["hparams"][0].update(tv=1.0), "with other hyperparameters"),
        (
            lambda meta: meta["provenance"]["identity"]["networks"]["model"].update(
                weights="0" * 64
            ),
            "of other weights than this folder",
        ),
        (
            lambda meta: meta["provenance"]["identity"]["code"].clear(),
            "of other code than this folder",
        ),
    ],
)
def test_results_of_another_folder_are_made_again(change, line, finished, copy):
    path = shards.result_path(copy, 1)
    result = shards.read_result(path)
    change(result.meta)
    given = (result.images[::-1], result.metrics, result.meta, result.log)
    shards.write_result(path, *given)
    _, said = go_on(copy)
    assert f"block_0001.npz is of runs {line}" in said or f"npz is {line}" in said
    same(copy, finished)


def test_swapped_states_are_not_gone_on_with(copy, finished, tmp_path):
    first, second = (shards.state_path(copy, n) for n in (0, 1))
    data = first.read_bytes(), second.read_bytes()
    straight = shutil.copytree(finished, tmp_path / "straight")
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    expected, _ = go_on(straight, steps=12)
    found, _ = go_on(copy, steps=12)
    np.testing.assert_array_equal(found.images, expected.images)


def test_a_flip_that_the_archive_does_not_see_is_seen(tmp_path):
    """The checksums of a zip say nothing of an array that another one replaced."""
    path = tmp_path / "a.npz"
    checkpoint.save(path, {"a": np.arange(3.0), "b": np.ones(3)}, {"step": 1}, "x\n")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["leaf0000"], arrays["leaf0001"] = arrays["leaf0001"], arrays["leaf0000"]
    with path.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(ValueError, match=r"damaged \(its SHA-256 is another"):
        checkpoint.load(path, {"a": np.zeros(3), "b": np.zeros(3)})


def test_a_full_disk_while_logging_loses_nothing(finished, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(logbook, "_write_expected", full)
        with pytest.raises(Interrupted, match="disk is full"):
            go_on(tmp_path / "w")
    go_on(tmp_path / "w")
    same(tmp_path / "w", finished)


@pytest.mark.parametrize("harm", ["", "{", "[]", "\0\0", '{"steps": 8'])
def test_a_damaged_config_is_refused_by_name(copy, harm):
    path = copy / "config.json"
    path.write_text(harm)
    with pytest.raises(ValueError, match=r"config.*config\.json.*damaged"):
        go_on(copy)


def test_a_folder_that_lost_its_config_is_refused_by_name(copy):
    (copy / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json"):
        go_on(copy, optimizer="sgd")
