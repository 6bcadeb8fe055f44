"""The commands, as a person types them."""

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from configs import dream_2015
from dreamjax import cli, usage
from dreamjax.cli import image_size
from dreamjax.devices import spread_text
from experiments import rerun

REPO = Path(__file__).resolve().parent.parent
TINY = ["--config.model=tests.tiny:tiny_model", "--config.objective=b:unit"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def command(cache, module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=REPO,
        env=dict(os.environ, DREAMJAX_CACHE=str(cache)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_quickstart_quicktest_and_a_rerun_of_one_picture(cache, tmp_path):
    workdir = tmp_path / "run"
    config = "--config=configs/quickstart.py:quicktest"
    made = command(cache, "experiments.visualize", config, f"--workdir={workdir}")
    assert made.returncode == 0, made.stderr
    assert "8 runs × 1 image × 4 steps in 1 block of 8" in made.stdout
    for name in ("sheet.png", "index.html", "summary.csv", "metrics.jsonl", "env.json"):
        assert str(workdir / name) in made.stdout
        assert (workdir / name).stat().st_size > 0
    assert "4/4" in made.stderr and "score=" in made.stderr, "the progress bar"

    picture = workdir / "runs" / "run_0005.png"
    there = f"--workdir={tmp_path / 'again'}"
    again = command(cache, "experiments.rerun", picture, there, "--crowd")
    assert again.returncode == 0, again.stderr
    assert "the same picture, to the last bit" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.hparams.tvv=(1.,)"], 'Did you mean "tv"'),
        (["--confg=1"], "Did you mean: config"),
        (["--config.steps=many"], "invalid literal"),
        (["--config=configs/none.py"], "configs/none.py"),
        (
            ["--config=configs/channel.py:nonsense"],
            "error: --config=configs/channel.py:nonsense: variant='nonsense' is not",
        ),
        (["--config.hparams.unit=(4,)"], "hparams.unit=4"),
        (["stray"], "not understood: stray"),
    ],
)
def test_bad_command_lines_say_one_line_and_exit_with_2(
    cache, tmp_path, arguments, message
):
    workdir = tmp_path / "never"
    words = [f"--workdir={workdir}", *arguments]
    words = words if "--config=" in arguments[0] else [*words, *TINY]
    found = command(cache, "experiments.visualize", *words)
    assert found.returncode == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert not workdir.exists()


def test_layers_lists_every_tap_with_its_shape(cache):
    found = command(cache, "experiments.layers", "--size=96,128")
    assert found.returncode == 0
    lines = {line.split()[0]: line for line in found.stdout.splitlines()[2:]}
    assert len(lines) == 84
    assert lines["b8"].split(maxsplit=1)[1] == "6 × 8 × 112"
    assert lines["logits"].split(maxsplit=1)[1] == "1000"


def test_sizes_of_the_layers_command():
    assert image_size(None, 224) == (224, 224)
    assert image_size(["64"], 224) == (64, 64)
    assert image_size(["64", "96"], 224) == (64, 96)
    for bad in (["x"], ["1", "2", "3"], ["-4"]):
        with pytest.raises(ValueError, match="size="):
            image_size(bad, 224)


def test_rerun_refuses_other_weights_and_names_other_versions():
    from tests.tiny import RECORD

    recipe = {"network": "tiny", "weights": "0000"}
    with pytest.raises(ValueError, match="0000"):
        rerun.check_network(recipe, RECORD)
    rerun.check_network({"network": "tiny", "weights": ""}, RECORD)
    then = {"versions": {"jax": "0.1"}, "device": "cpu"}
    now = {"versions": {"jax": "0.2"}, "device": "cpu"}
    assert rerun.changes(then, now) == ["note: jax was 0.1, is 0.2"]
    assert rerun.changes(now, now) == []


def test_verdict_tells_rounding_from_another_picture(capsys):
    picture = np.full((4, 4, 3), 100 / 255)
    assert rerun.verdict(picture, picture) == 0
    assert "to the last bit" in capsys.readouterr().out
    assert rerun.verdict(picture, picture + 1 / 255) == 0
    assert "but for rounding: 100.00%" in capsys.readouterr().out
    assert rerun.verdict(picture, picture + 0.2) == 1
    assert "differs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            KeyError('\'objectve\'\nDid you mean "objective" instead of "objectve"?'),
            'config.objectve is no key. Did you mean "objective"?',
        ),
        (
            AttributeError('\'tvv\' Did you mean "tv" instead of "tvv"?'),
            'config.hparams.tvv is no key. Did you mean "tv"?',
        ),
        (KeyError("zz"), "config.zz is no key; hyperparameters are"),
        (OSError("Attempted: x [Errno 2] No such file: 'a.py'"), "--config='a.py': No"),
        (ValueError("a\n  b\x1b[2J"), "a b\\x1b[2J"),
    ],
)
def test_c7_a_wrong_command_line_is_one_readable_line(monkeypatch, capsys, said, shown):
    words = ["x", "--config.objectve=3", "--config.hparams.tvv=(1,)", "--config.zz"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended, cli._one_line():
        raise said
    assert ended.value.code == cli.BAD_INPUT
    found = capsys.readouterr().err
    assert found.startswith(f"error: {shown}") and found.count("\n") == 1


def test_c7_help_tells_every_key_of_the_config_and_the_variants():
    words = ["x", "--config=configs/dream_2015.py:quicktest", "--help"]
    assert usage.asks_for_help(words) and not usage.asks_for_help(["x", "--", "-h"])
    text = usage.usage(words, "configs/quickstart.py")
    config = dream_2015.get_config("quicktest")
    for name, value in config.items():
        if name != "hparams":
            assert f"\n  {name}={value!r}" in text
    for name, value in config.hparams.items():
        assert f"\n  hparams.{name}={value!r}" in text
    assert re.search(r"\n  steps=\d+ +per octave\n", text)
    assert "configs/quickstart.py, " in text and "quicktest" in text
    text = usage.usage(["x", "--help"], "configs/quickstart.py")
    assert re.search(r"\n  size=\(128, 128\) +pixels: height, width\n", text)
    assert "octaves" not in text and "per octave" not in text
    with pytest.raises(ValueError, match=r"--config='none.py'"):
        usage.usage(["x", "--config", "none.py"], "configs/quickstart.py")


def test_c7_one_cpu_is_not_called_several_devices():
    one = types.SimpleNamespace(platform="cpu")
    said = spread_text([one] * 6)
    assert re.fullmatch(r"in 6 copies side by side on \d+ CPU cores?", said)
    assert spread_text([types.SimpleNamespace(platform="gpu")] * 2) == "on 2 devices"
