"""The parts of the benchmarks that decide what is printed; none needs PyTorch."""

import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import fault_commands, faults, phases, tables, timing
from dreamjax.dream import NETWORK, OPTIMIZER


def test_a_moment_is_shared_by_all_that_run_in_it():
    spans = [
        phases.Span(0.0, 10.0, "network"),
        phases.Span(4.0, 8.0, "param"),
        phases.Span(20.0, 21.0, "param"),
        phases.Span(4.0, 8.0, "network"),
    ]
    found = phases.shares(spans)
    assert found["network"] == pytest.approx(4 + 4 * 2 / 3 + 2)
    assert found["param"] == pytest.approx(4 / 3 + 1)


@pytest.mark.parametrize(
    "operator, phase",
    [
        ("jit(many)/vmap(param)/jit(fft)/fft", "param"),
        ("jit(many)/vmap(jvp(network))/EfficientNet/b1/add", "network, forward"),
        ("jit(many)/vmap(transpose(jvp(network)))/b1/mul", "network, backward"),
        ("jit(many)/vmap(transpose(jvp(transforms)))/gather", "transforms"),
        ("jit(many)/parameters/add", "other"),
    ],
)
def test_the_phase_of_an_operator(operator, phase):
    assert phases.phase_of(operator) == phase


def test_a_traced_program_is_told_apart():
    side = 256

    def step(x):
        with jax.named_scope(NETWORK):
            y = jnp.tanh(x @ x)
        with jax.named_scope(OPTIMIZER):
            return x - 0.1 * jnp.sort(y, axis=0)

    compiled = jax.jit(step).lower(jnp.ones((side, side))).compile()
    x = jnp.ones((side, side))
    found = phases.traced(
        lambda: compiled(x).block_until_ready(), compiled.as_text(), 3
    )
    assert found[f"{NETWORK}, forward"] > 0 and found[OPTIMIZER] > 0
    parts = sum(ms for name, ms in found.items() if name != "all")
    assert parts == pytest.approx(found["all"], rel=0.05)


def test_ratios_are_of_the_same_round():
    rows = timing.summarize(
        "x", 2, {"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 2.0, 8.0]}
    )
    assert [row["median_ms"] for row in rows] == [1.0, 1.5]
    assert rows[1]["median_ratio"] == 2.0
    assert (rows[1]["min_ratio"], rows[1]["max_ratio"]) == (1.0, 3.0)


def row(side, runs, ms, ratio):
    return {
        **{"what": "W1 lite0 b8", "images": runs, "side": side},
        **{"lanes": runs, "devices": 1},
        **{"median_ms": ms, "min_ms": ms, "max_ms": ms},
        **{"median_ratio": ratio, "min_ratio": ratio, "max_ratio": ratio},
    }


def test_the_tables_say_what_was_reached_and_what_was_not(tmp_path):
    made = {
        "command": "python -m benchmarks.workloads",
        "machine": {"processor": "a processor", "cores": 2},
        "env": {"device": "cpu", "versions": {"jax": "0.10"}},
    }
    rows = [row("dreamjax", 1, 8.0, 1.0), row("dreamjax", 32, 4.0, 1.0)]
    rows += [row("torch", 32, 4.4, 1.1), row("lucent", 32, 20.0, 5.0)]
    errors = {side: {"median": 0.0, "worst": 1e-7} for side in ("float64", "torch")}
    workload = {"rows": rows, "gradient_errors": errors}
    record = made | {"workloads": [workload], "versions": {"torch": "2"}}
    (tmp_path / "workloads.json").write_text(json.dumps(record))
    text = tables.write_tables(tmp_path).read_text(encoding="utf-8")
    aims = [line for line in text.splitlines() if "reached" in line or "missed" in line]
    assert aims == [
        "| W1 lite0, R = 32, against lucent | ≥ 4 | 5.00 | reached |",
        "| W1 lite0, R = 32, against torch | ≥ 1.2 | 1.10 | **missed** |",
        "| image-step at R = 32 against R = 1, lite0 | ≤ 0.8 | 0.50 | reached |",
    ]
    assert "4.00 (4.00 … 4.00) | 1.10 (1.10 … 1.10) | 5.00 (5.00 … 5.00)" in text
    assert "W4" not in text  # not measured


def test_the_verdict_on_a_fault_can_be_lost_and_silent(tmp_path, capsys):
    """A benchmark of faults that cannot fail would show nothing."""
    table_ = tmp_path / "summary.csv"
    table_.write_text("run,score\n0,1\n")
    expected = fault_commands.outcome(tmp_path)

    def refuse(name):
        raise ValueError(f"{name} is damaged")

    cases = {
        "same": lambda: table_.write_text("run,score\n0,1\n"),
        "silent": lambda: None,
        "lost": lambda: print("summary.csv is damaged: made again"),
        "refused": lambda: refuse("summary.csv"),
        "lost by another name": lambda: refuse("env.json"),
    }
    found = {}
    for case, again in cases.items():
        table_.write_text("run,score\n0,2\n")
        found[case] = faults.verdict(expected, tmp_path, again, "summary.csv")
    assert {case: text.split(":")[0] for case, text in found.items()} == {
        **{name: name for name in ("same", "silent", "lost", "refused")},
        "lost by another name": "lost",
    }
    fault = faults.counted("a table harmed", found)
    assert fault[:4] == ("a table harmed", 5, 2, 1)
    assert "silent: summary.csv" in capsys.readouterr().err
    text, status = faults.table([fault])
    assert status == 1 and text.endswith("5 faults tried, 2 lost, 1 silent")
    assert faults.table([faults.Fault("none", 3, 0, 0, "")])[1] == 0


def test_a_gap_a_double_and_a_clock_set_back_show(tmp_path):
    run = tmp_path / "tb" / "0000"
    fault_commands.events.write_events(run, {"dream/score": [1.0, 2.0]}, {}, {})
    peace = fault_commands.outcome(tmp_path)
    assert peace["tb/0000/"] == {"dream/score": [(0, "1.0"), (1, "2.0")]}
    (path,) = fault_commands.events.event_files(run)
    copy = path.with_name(path.name.replace("events.1", "events.2"))
    for harmed in (path.read_bytes(), path.read_bytes()[:-8]):
        copy.write_bytes(harmed)
        assert fault_commands.shown(run) != peace["tb/0000/"]
    copy.unlink()
    path.write_bytes(path.read_bytes()[:-8])
    assert fault_commands.shown(run) == {"dream/score": [(0, "1.0")]}
