"""The runner: what it writes, what it refuses, and that no kill costs anything."""

import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from dreamjax import runner, shards
from dreamjax.config import plain
from dreamjax.report.recipe import read_recipe
from tests.tiny import tiny_config, tiny_model

REPO = Path(__file__).resolve().parent.parent


def sweep_config():
    config = tiny_config(unit=(0, 1, 2), tv=(0.0, 0.5), learning_rate=(0.1,))
    config.runs_per_call = 4  # two blocks of three
    config.tensorboard = True
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("sweep")
    lines = []
    result = runner.run(sweep_config(), workdir, report=lines.append)
    return workdir, result, lines


def test_one_line_per_artifact_and_every_file_is_there(finished):
    workdir, result, lines = finished
    for name, path in result.files.items():
        assert path.exists(), name
        assert any(str(path) in line for line in lines)
    assert "6 runs × 1 image × 6 steps in 2 blocks of 3" in lines[0]
    assert any("ms per image-step" in line for line in lines)
    assert not list(workdir.glob("checkpoints/*"))
    assert not list(workdir.rglob(".*.npz*"))


def test_summary_has_a_row_per_run(finished):
    workdir, result, _ = finished
    with (workdir / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [str(i) for i in range(6)]
    for row, told in zip(rows, result.rows, strict=True):
        assert row["status"] == "alive"
        assert row["steps"] == "6"
        assert float(row["score"]) == told["metrics"]["score"]
        assert float(row["score_plain"]) == told["metrics"]["score_plain"]
        assert (float(row["penalty/tv"]) > 0) == (row["tv"] == "0.5")
        assert (workdir / row["image"]).exists()
    assert [row["unit"] for row in rows] == ["0", "1", "2"] * 2


def test_plain_score_is_the_objective_of_the_picture(finished):
    _, result, _ = finished
    model = tiny_model()
    from dreamjax.models.layers import PLAIN

    for row, images in zip(result.rows, result.images, strict=True):
        tap = np.asarray(model.taps(model.variables, images, PLAIN)["b"])
        unit = row["hparams"]["unit"]
        by_hand = tap[..., unit].mean()
        np.testing.assert_allclose(row["metrics"]["score_plain"], by_hand, rtol=1e-4)


def test_metrics_have_a_line_per_run_and_logged_step(finished):
    workdir, _, _ = finished
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {(r["run"], r["step"]) for r in rows} == {
        (run, step) for run in range(6) for step in (2, 4, 6)
    }
    assert len(rows) == 18
    keys = {"score", "loss", "grad_norm", "update_norm", "penalty/tv", "alive"}
    assert keys <= set(rows[0])


def test_environment_is_written(finished):
    workdir, _, _ = finished
    found = json.loads((workdir / "env.json").read_text())
    assert {"versions", "device", "backend", "git"} <= set(found)
    assert {"jax", "flax", "optax", "numpy", "dreamjax"} <= set(found["versions"])


def test_every_run_has_its_tensorboard_folder(finished):
    workdir, _, _ = finished
    folders = sorted(path.name for path in (workdir / "tb").iterdir())
    units, weights = (0, 1, 2) * 2, ("0",) * 3 + ("0.5",) * 3
    assert folders.pop(0) == "0 sheet"
    assert folders == [f"{i:04d} unit={units[i]} tv={weights[i]}" for i in range(6)]


def test_picture_holds_its_recipe(finished):
    workdir, result, _ = finished
    recipe = read_recipe(workdir / "runs" / "run_0004.png")
    assert recipe["run"] == 4
    assert recipe["hparams"]["unit"] == 1 and recipe["hparams"]["tv"] == 0.5
    assert recipe["seed"] == 0
    assert recipe["network"] == "tiny"
    assert recipe["config"]["steps"] == 6
    pixels = np.asarray(Image.open(workdir / "runs" / "run_0004.png"))
    assert np.abs(pixels / 255 - result.images[4, 0]).max() < 0.5 / 255 + 1e-6


def test_the_recipe_alone_makes_the_same_picture(finished, tmp_path):
    workdir, result, _ = finished
    recipe = read_recipe(workdir / "runs" / "run_0004.png")
    config, crowd = plain(recipe["config"]), recipe["crowd"]
    assert crowd == {"runs": [3, 4, 5], "lanes": 3}
    again = runner.run(config, tmp_path / "crowd", **crowd)
    np.testing.assert_array_equal(again.images, result.images[3:])
    alone = runner.run(config, tmp_path / "alone", runs=[4])
    assert alone.images.shape == (1, 1, 24, 20, 3)
    np.testing.assert_allclose(alone.images[0], result.images[4], atol=1e-3)


def test_finished_sweep_started_again_computes_nothing(finished):
    workdir, result, _ = finished
    before = (workdir / "metrics.jsonl").read_bytes()
    lines = []
    again = runner.run(sweep_config(), workdir, report=lines.append)
    assert "finished" in lines[0]
    assert again.compile_seconds == 0
    np.testing.assert_array_equal(again.images, result.images)
    assert (workdir / "metrics.jsonl").read_bytes() == before


def test_a_sweep_of_any_number_of_blocks_is_one_compile(tmp_path):
    compiled = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    counts = []
    try:
        for draws in (3, 12):  # 1 block, 4 blocks
            config = tiny_config(learning_rate=("log_uniform(0.01, 0.1)",))
            config.samples = draws
            config.runs_per_call = 3
            before = len(compiled)
            runner.run(config, tmp_path / str(draws), report=lambda line: None)
            counts.append(len(compiled) - before)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert 0 < counts[1] <= counts[0]


def test_workdir_with_another_config_is_refused(finished):
    workdir, _, _ = finished
    before = (workdir / "config.json").read_bytes()
    config = sweep_config()
    config.param, config.batch = "pixel", 2
    with pytest.raises(ValueError, match=r"another config: batch: 1 there, 2 .*param"):
        runner.run(config, workdir)
    config = sweep_config()
    config.hparams.tv = (0.0, 0.25)
    with pytest.raises(ValueError, match=r"3 runs .* such as run 3, \{'tv': 0\.5"):
        runner.run(config, workdir)
    config = sweep_config()
    config.hparams.tv = (0.0, 0.0)
    with pytest.raises(ValueError, match=r"program\.penalties: \['tv'\] there"):
        runner.run(config, workdir)
    config = sweep_config()
    config.steps = 4
    with pytest.raises(ValueError, match=r"steps=4 .* the folder has 6 steps"):
        runner.run(config, workdir)
    assert (workdir / "config.json").read_bytes() == before


def test_workdir_in_use_is_refused(tmp_path):
    with (
        (tmp_path / ".lock").open("w") as other,
        pytest.raises(ValueError, match="in use by another process"),
    ):
        fcntl.flock(other, fcntl.LOCK_EX)
        runner.run(sweep_config(), tmp_path)


def test_workdir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        runner.run(sweep_config(), tmp_path / "file")


def test_single_run_out_of_range_is_refused(tmp_path):
    with pytest.raises(ValueError, match="runs=6 is out of range"):
        runner.run(sweep_config(), tmp_path, runs=[6])


def test_damaged_result_is_named(tmp_path):
    path = tmp_path / "block_0000.npz"
    path.write_bytes(b"PK not really")
    with pytest.raises(ValueError, match=r"block_0000\.npz.*damaged"):
        shards.read_result(path)


@pytest.mark.parametrize(
    ("config", "backend", "calls"),
    [
        ({"steps": 128, "log_every": 8, "image_steps": (0, 64)}, "cpu", 1),
        ({"steps": 128, "log_every": 8, "image_steps": (0, 64)}, "gpu", 8),
        ({"steps": 96, "log_every": 12, "image_steps": (36,)}, "gpu", 12),
        ({"steps": 100, "log_every": 7, "image_steps": ()}, "gpu", 1),
    ],
)
def test_steps_per_call(monkeypatch, config, backend, calls):
    monkeypatch.setattr(runner.jax, "default_backend", lambda: backend)
    assert runner.steps_per_call({"steps_per_call": 0, **config}) == calls


def test_dead_runs_are_reported_with_a_remedy(tmp_path):
    config = tiny_config()
    config.objective = "dead:unit"
    config.hparams.unit = (0, 1)
    lines = []
    result = runner.run(config, tmp_path, report=lines.append)
    assert [row["status"] for row in result.rows] == ["zero gradient"] * 2
    said = next(line for line in lines if line.startswith("zero gradient"))
    assert "what the objective reads of dead is off" in said
    assert "dead/pre" in said and "redirect_relu=True" in said


def test_frozen_runs_are_reported_and_the_rest_is_done(tmp_path):
    config = tiny_config(learning_rate=(0.05, 1e38))
    config.optimizer = "sgd"
    lines = []
    result = runner.run(config, tmp_path, report=lines.append)
    assert [row["status"] for row in result.rows] == ["alive", "frozen"]
    assert [row["metrics"]["steps"] for row in result.rows] == [6, 0]
    assert np.isfinite(result.images).all()
    assert any(line.startswith("frozen: runs 1 ") for line in lines)
    assert (tmp_path / "index.html").exists()


def test_sheet_of_an_objective_without_a_swept_unit(tmp_path):
    config = tiny_config(learning_rate=(0.05, 0.1))
    config.objective = "b:2"  # nothing reads hparams.unit, which config.rows names
    result = runner.run(config, tmp_path)
    assert result.files["sheet"].exists()
    assert "unit" not in result.rows[0]["hparams"]


SCRIPT = """
import sys
from dreamjax import interrupt, runner, shards
from dreamjax.cache import use_compile_cache
from tests.test_runner import long_config
use_compile_cache()
try:
    runner.run(long_config(), sys.argv[1])
except interrupt.Interrupted as stopped:
    print(stopped)
    sys.exit(130)
"""


def long_config():
    config = sweep_config()
    config.steps = 600
    config.log_every = 20
    config.image_steps = (0, 300, 600)
    config.checkpoint_seconds = 0.05
    return config


def start(workdir, cache):
    environment = dict(os.environ, DREAMJAX_CACHE=str(cache), XLA_FLAGS="")
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(workdir)],
        cwd=REPO,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def outcome(workdir):
    images = [
        np.load(path)["leaf0000"] for path in sorted(workdir.glob("results/*.npz"))
    ]
    metrics = (workdir / "metrics.jsonl").read_text().splitlines()
    return np.concatenate(images), sorted(metrics)


def test_kill_and_ctrl_c_cost_nothing(tmp_path):
    cache, straight, killed = tmp_path / "xla", tmp_path / "one", tmp_path / "two"
    process = start(straight, cache)
    said = process.communicate(timeout=180)[0]
    assert process.returncode == 0, said

    process = start(killed, cache)
    wait_for(lambda: list(killed.glob("checkpoints/block_0000.npz")), process)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL

    process = start(killed, cache)
    wait_for(lambda: list(killed.glob("checkpoints/block_0001.npz")), process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert "The same command goes on from there" in said

    process = start(killed, cache)
    said = process.communicate(timeout=180)[0]
    assert process.returncode == 0, said
    assert "1 block done before" in said

    expected, lines = outcome(straight)
    found, again = outcome(killed)
    assert expected.shape == (6, 1, 24, 20, 3)
    np.testing.assert_array_equal(found, expected)
    assert again == lines
    for name in ("summary.csv", "runs/run_0003.png"):
        assert (killed / name).read_bytes() == (straight / name).read_bytes()
