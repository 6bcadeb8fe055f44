"""Sweeps that are extended, halved, cut up by memory, or damaged: nothing is lost."""

import errno
import json
import shutil

import jax
import numpy as np
import pytest

from dreamjax import block, runner, shards
from dreamjax.interrupt import Interrupted
from dreamjax.plan import read_plan
from tests.tiny import tiny_config

SAME = 1e-3  # Adam amplifies what blocks of other sizes round


def config_of(units=(0, 1, 2), steps=6, **keys):
    config = tiny_config(unit=units, learning_rate=(0.05, 0.1))
    config.steps = steps
    config.image_steps = (0,)
    config.runs_per_call = 4
    for name, value in keys.items():
        config[name] = value
    return config


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """Four neurons and ten steps, made at once."""
    workdir = tmp_path_factory.mktemp("longer")
    return runner.run(config_of((0, 1, 2, 3), 10), workdir, report=lambda line: None)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Three neurons and six steps."""
    workdir = tmp_path_factory.mktemp("short")
    return workdir, runner.run(config_of(), workdir, report=lambda line: None)


def told(row):
    return row["hparams"]["unit"], row["hparams"]["learning_rate"]


def by_setting(result):
    return {told(r): x for r, x in zip(result.rows, result.images, strict=True)}


def periodic(steps):
    config = config_of((0,), steps)
    config.param, config.color, config.range = "pixel", "rgb", "clip"
    config.optimizer, config.transforms = "sgd", ""
    config.hparams.learning_rate = (0.5,)
    config.hparams.blur_width, config.hparams.blur_every = (2.0,), (1, 5)
    return config


def test_a12_what_is_shown_does_not_change_how_a_run_goes_on(tmp_path):
    # 2 and 8 steps end 1 and 2 steps after the turn of the blur.
    early = runner.run(periodic(2), tmp_path / "a", report=lambda line: None)
    np.testing.assert_allclose(early.images[1], early.images[0], atol=1e-6)
    metrics = [row["metrics"] for row in early.rows]
    assert np.isclose(*(m["high_frequency"] for m in metrics), rtol=1e-3)
    assert np.isclose(*(m["score_plain"] for m in metrics), rtol=1e-3)
    extended = runner.run(periodic(8), tmp_path / "a", report=lambda line: None)
    straight = runner.run(periodic(8), tmp_path / "b", report=lambda line: None)
    np.testing.assert_array_equal(extended.images, straight.images)
    assert np.abs(straight.images[1] - straight.images[0]).max() > 1e-3


def test_more_runs_and_more_steps_reuse_what_is_there(short, longer, tmp_path):
    workdir = tmp_path / "extended"
    shutil.copytree(short[0], workdir)
    before = {p.name: p.read_bytes() for p in (workdir / "results").iterdir()}
    lines = []
    extended = config_of((0, 3, 1, 2), 10)
    result = runner.run(extended, workdir, report=lines.append)
    assert "8 runs × 1 image × 10 steps" in lines[0]
    plan = read_plan(workdir)
    spans = sorted({(b.start, b.stop) for b in plan.blocks})
    assert spans == [(0, 6), (0, 10), (6, 10)]
    for name, data in before.items():
        assert (workdir / "results" / name).read_bytes() == data
    assert [row["run"] for row in result.rows] == list(range(8))
    assert told(result.rows[6]) == (3, 0.05)  # new runs come after the old ones
    expected = by_setting(longer)
    for setting, image in by_setting(result).items():
        np.testing.assert_allclose(image, expected[setting], atol=SAME)
    lines_ = (workdir / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines_]
    steps = sorted(row["step"] for row in logged if row["run"] == 0)
    assert steps == [2, 4, 6, 8, 10]
    lines.clear()
    again = runner.run(extended, workdir, report=lines.append)
    assert "finished: nothing to run" in lines[0] and again.compile_seconds == 0
    recipe = result.rows[6]
    assert extended.hparams.unit[recipe["place"] % 4] == 3


def test_more_steps_without_the_states_start_anew(short, longer, tmp_path, capsys):
    workdir = tmp_path / "stateless"
    shutil.copytree(short[0], workdir)
    shutil.rmtree(workdir / "states")
    result = runner.run(config_of(steps=10), workdir, report=lambda line: None)
    assert "the states of block" in capsys.readouterr().err
    expected = by_setting(longer)
    for setting, image in by_setting(result).items():
        np.testing.assert_allclose(image, expected[setting], atol=SAME)


def test_successive_halving_stops_the_weak_and_goes_on_with_the_rest(longer, tmp_path):
    config = config_of((0, 1, 2, 3), 10, rungs=(2, 6), keep=0.5)
    result = runner.run(config, tmp_path, report=lambda line: None)
    rows = {told(row): row for row in result.rows}
    assert (
        sorted(row["metrics"]["steps"] for row in rows.values()) == [2] * 4 + [10] * 4
    )
    for unit in range(4):
        one, two = rows[unit, 0.05], rows[unit, 0.1]
        weak, strong = sorted((one, two), key=lambda row: row["metrics"]["steps"])
        assert (weak["status"], strong["status"]) == ("stopped", "alive")
        outcomes = shards.outcomes(tmp_path, read_plan(tmp_path))
        assert outcomes[strong["run"], 2].score > outcomes[weak["run"], 2].score
        np.testing.assert_allclose(
            by_setting(result)[told(strong)],
            by_setting(longer)[told(strong)],
            atol=SAME,
        )


def test_halving_compiles_nothing_more(tmp_path):
    compiled = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(seconds)

    counts = []
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for name, rungs in (("straight", ()), ("halved", (2, 4))):
            before = len(compiled)
            config = config_of(rungs=rungs)
            runner.run(config, tmp_path / name, report=lambda line: None)
            counts.append(len(compiled) - before)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert 0 < counts[1] <= counts[0]


def test_a_damaged_result_is_made_again(short, tmp_path):
    workdir, straight = tmp_path / "damaged", short[1]
    shutil.copytree(short[0], workdir)
    path = shards.result_path(workdir, 1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    lines = []
    result = runner.run(config_of(), workdir, report=lines.append)
    assert "block_0001.npz is damaged: kept as" in lines[0]
    assert path.with_name("block_0001.npz.damaged").read_bytes() == bytes(data)
    np.testing.assert_array_equal(result.images, straight.images)
    assert result.rows == straight.rows


def test_a_lost_plan_is_made_again_from_the_results(short, tmp_path):
    workdir = tmp_path / "planless"
    shutil.copytree(short[0], workdir)
    plan = read_plan(workdir)
    (workdir / "plan.json").unlink()
    lines = []
    result = runner.run(config_of(), workdir, report=lines.append)
    assert "plan.json is missing" in lines[0]
    assert "finished" in lines[1]
    assert result.compile_seconds == 0
    np.testing.assert_array_equal(result.images, short[1].images)
    assert read_plan(workdir).blocks == plan.blocks


def starved(monkeypatch, most):
    """Makes every call of more than `most` runs run out of memory."""
    compile_program = runner.sweep.compile_program

    def refuse(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    def compile_(*arguments, **keys):
        program = compile_program(*arguments, **keys)
        return program._replace(update=refuse) if program.runs > most else program

    monkeypatch.setattr(runner.sweep, "compile_program", compile_)


def test_out_of_memory_halves_the_calls_and_goes_on(short, tmp_path, monkeypatch):
    starved(monkeypatch, 2)
    lines = []
    result = runner.run(config_of(), tmp_path, report=lines.append)
    assert "out of memory with 3 runs of one call: 2 now" in lines
    np.testing.assert_allclose(result.images, short[1].images, atol=SAME)
    assert [row["run"] for row in result.rows] == list(range(6))


def test_out_of_memory_with_one_run_says_what_helps(tmp_path, monkeypatch):
    starved(monkeypatch, 0)
    with pytest.raises(ValueError, match=r"one run does not fit .*remat=True"):
        runner.run(config_of(), tmp_path, report=lambda line: None)


def test_another_error_of_the_program_is_no_lack_of_memory(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(runner, "make_block", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        runner.run(config_of(), tmp_path, report=lambda line: None)


def test_what_does_not_fit_is_made_in_smaller_calls(short, tmp_path, monkeypatch):
    asked = []

    def fit(peak, runs, free, fixed):
        asked.append((peak, runs, free, fixed))
        return 2

    monkeypatch.setattr(runner, "runs_that_fit", fit)
    lines = []
    result = runner.run(config_of(), tmp_path, report=lines.append)
    assert "3 runs of one call do not fit the memory, 2 do" in lines
    peak, runs, free, fixed = asked[0]
    assert runs == 3 and peak > fixed > 0 and free > peak
    np.testing.assert_allclose(result.images, short[1].images, atol=SAME)


def test_b8_a_full_disk_loses_at_most_the_block_in_flight(short, tmp_path, monkeypatch):
    write = shards.write_result

    def full(path, *rest):
        if path.name == "block_0001.npz":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, *rest)

    monkeypatch.setattr(block.shards, "write_result", full)
    with pytest.raises(Interrupted, match="the disk is full"):
        runner.run(config_of(), tmp_path, report=lambda line: None)
    assert shards.result_path(tmp_path, 0).exists()
    monkeypatch.undo()
    lines = []
    result = runner.run(config_of(), tmp_path, report=lines.append)
    assert "1 block done before" in lines[0]
    np.testing.assert_array_equal(result.images, short[1].images)


def test_b8_a_full_disk_costs_a_checkpoint_only(short, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(block.checkpoint, "save", full)
    bench = block.Bench(None, tmp_path, None, None, None, None, {}, "")
    with runner.tqdm(total=1, disable=True) as bar:
        block._save(bench, 0, {}, {"step": 4}, "", bar)
    assert "no checkpoint at step 4" in capsys.readouterr().err
