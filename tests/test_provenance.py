"""How a thing was computed is written then, and only read afterwards; lanes stay."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from dreamjax import environment, runner, sweep
from dreamjax.deepdream.film import film
from dreamjax.deepdream.run import dream
from dreamjax.plan import read_plan
from dreamjax.report.recipe import read_recipe
from dreamjax.shards import read_result, result_path
from tests.conftest import FAST_COMPILE as FAST
from tests.test_deepdream import config_of as dream_config_of
from tests.test_identity import picture, quiet, short_config
from tests.tiny import tiny_model


@pytest.fixture
def commit(monkeypatch):
    """A function that makes it another commit."""

    def to(name):
        monkeypatch.setattr(environment, "git_commit", lambda: name)

    to("first")
    return to


def contents(folder):
    names = [*folder.glob("runs/*.png"), folder / "env.json"]
    return {path: path.read_bytes() for path in names}


def git_of(folder, run):
    return read_recipe(folder / "runs" / f"run_{run:04d}.png")["environment"]["git"]


def test_a4_a_report_made_anew_says_what_it_said(tmp_path, commit):
    runner.run(short_config(), tmp_path, report=quiet)
    before = contents(tmp_path)
    assert git_of(tmp_path, 0) == "first"
    commit("second")
    runner.run(short_config(), tmp_path, report=quiet)
    assert contents(tmp_path) == before
    runner.run(short_config(unit=(0, 1)), tmp_path, report=quiet)  # a block more
    assert [git_of(tmp_path, run) for run in (0, 1)] == ["first", "second"]
    told = json.loads((tmp_path / "env.json").read_text())
    assert told["git"] == "second" and told["earlier"][0]["git"] == "first"
    made = read_result(result_path(tmp_path, 1)).meta["provenance"]
    assert made["environment"]["git"] == "second" and made["lanes"] == [[0, 2]]


def test_a4_a_result_that_does_not_tell_keeps_what_its_picture_says(
    tmp_path, commit, monkeypatch
):
    monkeypatch.setattr("dreamjax.block.provenance", lambda *_, **__: None)
    real = runner.shards.write_result

    def without(path, images, metrics, meta, log):
        real(path, images, metrics, {k: v for k, v in meta.items() if v}, log)

    monkeypatch.setattr(runner.shards, "write_result", without)
    runner.run(short_config(), tmp_path, report=quiet)
    assert git_of(tmp_path, 0) == "unknown"
    path = tmp_path / "runs" / "run_0000.png"
    told = read_recipe(path) | {"environment": {**environment.UNKNOWN, "git": "old"}}
    from dreamjax.images import load_image
    from dreamjax.report.recipe import write_picture

    write_picture(path, load_image(path), told)
    runner.run(short_config(), tmp_path, report=quiet)
    assert git_of(tmp_path, 0) == "old"


def test_a4_dreams_and_films_too(tmp_path, commit):
    path = picture(tmp_path / "ph.png", 0)
    config = dream_config_of(image=str(path), frames=1)
    dream(config, tmp_path / "dream", report=quiet)
    film(config, tmp_path / "film", report=quiet)
    before = contents(tmp_path / "dream"), contents(tmp_path / "film")
    commit("second")
    dream(config, tmp_path / "dream", report=quiet)
    film(config, tmp_path / "film", report=quiet)
    assert (contents(tmp_path / "dream"), contents(tmp_path / "film")) == before
    assert git_of(tmp_path / "dream", 0) == "first"


def test_a7_results_are_found_by_number_and_come_as_asked(tmp_path):
    first = runner.run(short_config(unit=(3, 1)), tmp_path, report=quiet)
    again = runner.run(short_config(unit=(1, 3)), tmp_path, report=quiet)
    assert [row["hparams"]["unit"] for row in again.rows] == [3, 1]
    assert [(row["run"], row["place"]) for row in again.rows] == [(0, 1), (1, 0)]
    some = runner.run(short_config(unit=(1, 3)), tmp_path, runs=[1, 0], report=quiet)
    assert [row["hparams"]["unit"] for row in some.rows] == [3, 1]
    np.testing.assert_array_equal(some.images, first.images)


@pytest.mark.parametrize("runs", [[], 1, "01", [True], [0.5], [None]])
def test_b7_runs_are_whole_numbers_of_the_sweep(runs, tmp_path):
    with pytest.raises(ValueError, match=r"runs=.*at least one whole number"):
        runner.run(short_config(unit=(3, 1)), tmp_path, runs=runs, report=quiet)


def test_a7_a_folder_whose_order_changed_is_made_again(tmp_path, monkeypatch, capsys):
    from absl import flags

    from experiments import rerun

    runner.run(short_config(unit=(3, 1)), tmp_path / "out", report=quiet)
    runner.run(short_config(unit=(1, 3)), tmp_path / "out", report=quiet)
    for number, unit in enumerate((3, 1)):
        path = tmp_path / "out" / "runs" / f"run_{number:04d}.png"
        told = read_recipe(path)
        assert told["hparams"]["unit"] == unit and told["run"] == 1 - number
        folder = tmp_path / f"again{number}"
        given = [f"--workdir={folder}", "--crowd"]
        given += [f"--model={told['config']['model']}"] * hasattr(rerun, "OWN")
        flags.FLAGS(["rerun", *given])
        assert rerun.main([str(path)]) == 0
        assert "to the last bit" in capsys.readouterr().out


def test_a8_a_program_has_two_runs_at_least():
    for runs, limit, devices in ((1, 1, 1), (6, 1, 1), (1, 32, 8), (5, 2, 2)):
        size = sweep.block_size(runs, limit, devices)
        assert size // devices >= 2 and size % devices == 0


def test_a8_lanes_are_kept(tmp_path):
    config = short_config(unit=(0, 1, 2, 3))
    config.runs_per_call = 1
    made = runner.run(config, tmp_path, report=quiet)
    assert read_plan(tmp_path).lanes == 2
    assert made.rows[0]["crowd"]["lanes"] == 2
    with pytest.raises(ValueError, match=r"lanes=4 .* programs of this folder have 2"):
        runner.run(config, tmp_path, lanes=4, report=quiet)
    (tmp_path / "plan.json").unlink()
    runner.run(config, tmp_path, report=quiet)
    assert read_plan(tmp_path).lanes == 2  # the results tell


def test_a8_memory_that_holds_fewer_is_recorded(tmp_path, monkeypatch):
    real, calls = sweep.compile_program, []

    def small(*arguments, **named):
        runs = len(next(iter(arguments[3].values())))
        calls.append(runs)
        if runs > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return real(*arguments, **named)

    monkeypatch.setattr(sweep, "compile_program", small)
    config = short_config(unit=(0, 1, 2, 3))
    lines = []
    runner.run(config, tmp_path, model=tiny_model(), report=lines.append)
    assert calls == [4, 2] and read_plan(tmp_path).lanes == 2
    assert "out of memory with 4 runs of one call: 2 now" in lines
    made = read_result(result_path(tmp_path, 0)).meta["provenance"]
    assert made["lanes"] == [[0, 2]]


RESUMED = """
import sys
import numpy as np
from dreamjax import block, runner
from tests.test_provenance import quiet, wide_config

workdir, image = sys.argv[1], {}
for devices in (4,):
    folder = f"{workdir}/{devices}"
    save = block._save
    def stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt
    block._save = stop
    try:
        runner.run(wide_config(), folder, devices=1, lanes=2, report=quiet)
    except KeyboardInterrupt:
        pass
    block._save = save
    image[devices] = runner.run(wide_config(), folder, devices=devices, report=quiet)
straight = runner.run(wide_config(), f"{workdir}/0", devices=2, lanes=2, report=quiet)
for found in image.values():
    assert np.array_equal(found.images, straight.images)
print("the same bits")
"""


def wide_config():
    config = short_config(unit=(0, 1, 2, 3), learning_rate=(0.05, 0.1))
    config.size, config.steps, config.log_every = (48, 48), 12, 4
    config.checkpoint_seconds = 0.0
    return config


def test_a8_resumed_on_more_devices_bits_stay(tmp_path):
    env = {
        **os.environ,
        "XLA_FLAGS": f"{' '.join(FAST)} --xla_force_host_platform_device_count=4",
    }
    said = subprocess.run(
        [sys.executable, "-c", RESUMED, str(tmp_path)],
        env=env,
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the same bits" in said.stdout, said.stderr
