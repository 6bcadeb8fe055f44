"""The table of metrics, its document, and what the functions give, are one."""

import csv
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.config import base_config
from dreamjax.deepdream.config import dream_config
from dreamjax.hparams import Hparam
from dreamjax.images import png_bytes
from dreamjax.metrics import METRICS
from dreamjax.metrics.network import make_judge
from dreamjax.metrics.picture import picture_metrics
from dreamjax.metrics.seeds import make_describe, seed_metrics, tap_of
from dreamjax.metrics.transfer import load_transfer, make_transfer
from dreamjax.models.model import tap_shapes
from dreamjax.objectives import logit
from tests.tiny import tiny_model

REPO = Path(__file__).resolve().parent.parent
RUNNER = ["score", "score_plain"]


def of_tiny_runs():
    """All metrics of 2 runs of the tiny network, as a sweep would make them."""
    model, objective = tiny_model(), logit(Hparam("unit"))
    images = np.random.default_rng(0).uniform(size=(2, 1, 16, 20, 3))
    images = images.astype(np.float32)
    shapes = tap_shapes(model, (16, 20))
    transfer = load_transfer(
        "tests.tiny:tiny_model",
        objective=objective,
        record=model.record,
        shapes=shapes,
        size=(16, 20),
        channels=3,
        values={"unit": [1]},
    )
    judge = make_judge(objective, model.taps)
    second = make_transfer(transfer, objective, model.taps)

    def both(v, v2, x, hp):
        return judge(v, x, hp) | second(v, v2, x, hp)

    mapped = jax.jit(jax.vmap(both, (None, None, 0, 0)))
    hp = {"unit": jnp.array([1, 1])}
    found = mapped(model.variables, transfer.model.variables, images, hp)
    describe = jax.jit(make_describe(tap_of(objective, shapes), model.taps))
    rows = [{"hparams": {"unit": 1, "seed": s}, "status": "alive"} for s in (0, 1)]
    seeds = seed_metrics(rows, images, lambda x: describe(model.variables, x))
    return [
        {**{n: float(v[i]) for n, v in found.items()}, **picture_metrics(images[i])}
        | seeds[i]
        for i in range(2)
    ]


def test_the_table_has_exactly_what_runs_have():
    for row in of_tiny_runs():
        assert {*RUNNER, *row} == set(METRICS)
        assert np.isfinite(list(row.values())).all()
        assert -1 <= row["selectivity"] <= 1 and 1 <= row["transfer_rank"] <= 3


@pytest.mark.parametrize("name", METRICS)
def test_the_document_says_what_the_table_says(name):
    text = (REPO / "docs" / "metrics.md").read_text(encoding="utf-8")
    metric = METRICS[name]
    assert metric.better in ("higher", "lower", "neutral") and metric.text
    assert f"| `{name}` | {metric.range} | {metric.better} | " in text


def test_the_second_network_is_a_key_of_sweeps_and_not_of_dreams():
    assert base_config().transfer == ""
    assert "transfer" not in dream_config()


def test_measure_prints_a_table_and_writes_it(tmp_path):
    """In a process of its own: two commands may not define one flag."""
    picture = np.random.default_rng(0).uniform(size=(24, 20, 3))
    path, table = tmp_path / "a.png", tmp_path / "t.csv"
    path.write_bytes(png_bytes(picture))
    words = [sys.executable, "-m", "experiments.measure", path, "noise"]
    found = subprocess.run(
        [*map(str, words), f"--csv={table}"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    printed = found.stdout.splitlines()
    assert printed[0].split()[:2] == ["picture", "spectral_slope"]
    assert [line.split()[0][-5:] for line in printed[1:4]] == ["a.png", "noise", "mean"]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    eight_bit = (np.round(picture * 255) / 255)[None].astype(np.float32)
    for name, value in picture_metrics(eight_bit).items():
        assert float(rows[0][name]) == pytest.approx(value, rel=1e-6)
        both = [float(row[name]) for row in rows[:2]]
        assert float(rows[2][name]) == pytest.approx(np.mean(both))
