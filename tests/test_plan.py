"""Which runs and blocks a sweep has, and which runs go on from a rung."""

import pytest

from dreamjax.plan import (
    Block,
    Outcome,
    Plan,
    advance,
    last_blocks,
    number_runs,
    read_plan,
    stages,
    survivors,
    write_plan,
)


def empty(runs, size=4):
    return Plan(tuple({"x": i} for i in range(runs)), size, (), False, "d")


def made(plan, stop, scores, alive=lambda run: True):
    """Outcomes of all blocks of a plan, where every run scores scores[run]."""
    return {
        (run, block.stop): Outcome(scores[run], alive(run))
        for block in plan.blocks
        for run in block.runs
    }


def finish(plan, wanted, stages, keep, groups, scores, alive=lambda run: True):
    """Plays a sweep to its end; returns the plan."""
    for _ in range(20):
        outcomes = made(plan, None, scores, alive)
        plan = advance(plan, wanted, stages, keep, groups, outcomes)
        if plan.complete:
            return plan
    raise AssertionError("no end")


def test_one_stage_is_cut_into_blocks():
    plan = finish(empty(10), range(10), (32,), 0.5, dict.fromkeys(range(10)), range(10))
    assert [b.runs for b in plan.blocks] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    assert {(b.start, b.stop) for b in plan.blocks} == {(0, 32)}


def test_halving_keeps_the_best_of_each_group():
    groups = {run: run % 2 for run in range(8)}
    scores = [0, 100, 1, 101, 2, 102, 3, 103]  # odd runs score higher throughout
    plan = finish(empty(8), range(8), (2, 4, 8), 0.5, groups, scores)
    rungs = {}
    for block in plan.blocks:
        rungs.setdefault((block.start, block.stop), []).extend(block.runs)
    assert rungs == {
        (0, 2): [0, 1, 2, 3, 4, 5, 6, 7],
        (2, 4): [4, 5, 6, 7],
        (4, 8): [6, 7],
    }
    assert last_blocks(plan, range(8))[7] == len(plan.blocks) - 1
    assert plan.blocks[last_blocks(plan, range(8))[0]].stop == 2


def test_frozen_runs_and_runs_without_a_score_never_go_on():
    outcomes = {
        0: Outcome(9.0, False),
        1: Outcome(float("nan"), True),
        2: Outcome(1.0, True),
        3: Outcome(0.0, True),
    }
    assert survivors(range(4), outcomes, dict.fromkeys(range(4)), 0.75) == [2, 3]
    assert survivors(range(4), outcomes, dict.fromkeys(range(4)), 0.25) == [2]
    plan = finish(
        empty(4), range(4), (2, 4), 1.0, dict.fromkeys(range(4)), [1] * 4, lambda r: r
    )
    assert [b.runs for b in plan.blocks] == [(0, 1, 2, 3), (1, 2, 3)]


def test_more_steps_go_on_from_what_is_there():
    one = dict.fromkeys(range(4))
    plan = finish(empty(4), range(4), (6,), 1.0, one, range(4))
    plan = finish(plan, range(4), (12,), 1.0, one, range(4), lambda run: run != 2)
    assert plan.blocks == (Block((0, 1, 2, 3), 0, 6), Block((0, 1, 3), 6, 12))


def test_more_runs_are_added_and_the_rest_is_kept():
    plan = finish(empty(3), range(3), (6,), 1.0, dict.fromkeys(range(3)), range(3))
    runs, numbers = number_runs(plan.runs, [{"x": 5}, {"x": 0}, {"x": 1}, {"x": 2}])
    assert numbers == [3, 0, 1, 2] and runs[3] == {"x": 5}
    plan = plan._replace(runs=runs)
    plan = finish(plan, range(4), (6,), 1.0, dict.fromkeys(range(4)), range(4))
    assert [b.runs for b in plan.blocks] == [(0, 1, 2), (3,)]


def test_numbers_of_runs_that_are_alike_and_of_lost_ones():
    alike = [{"x": 1}, {"x": 1}]
    assert number_runs(alike, [*alike, {"x": 1}])[1] == [0, 1, 2]
    nan = float("nan")
    assert number_runs([{"x": nan}, {"x": [1, 2]}], [{"x": (1, 2)}, {"x": nan}])[1] == [
        1,
        0,
    ]
    assert number_runs([{"x": 0}, {}, {"x": 2}], [{"x": i} for i in range(3)])[1] == [
        0,
        1,
        2,
    ]
    with pytest.raises(ValueError, match=r"1 runs .* run 1, \{'x': 7\}"):
        number_runs([{"x": 0, "y": 1}, {"x": 7, "y": 1}], [{"x": 0, "y": 1}])


def test_bad_rungs_are_refused():
    assert stages({"rungs": (2, 4), "steps": 8, "keep": 0.5}) == (2, 4, 8)
    for rungs in ((8,), (0, 2), (4, 2), (2, 2)):
        with pytest.raises(ValueError, match=r"rungs=.*rising steps between 0 and"):
            stages({"rungs": rungs, "steps": 8, "keep": 0.5})
    for keep in (0, 1.5):
        with pytest.raises(ValueError, match="keep="):
            stages({"rungs": (), "steps": 8, "keep": keep})


def test_a_plan_is_written_and_read(tmp_path):
    assert read_plan(tmp_path) is None
    plan = Plan(({"x": (1.5, 2)}, {}), 4, (Block((0, 1), 0, 6),), True, "d")
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan._replace(runs=({"x": [1.5, 2]}, {}))
    (tmp_path / "plan.json").write_text('{"size": 4}')
    with pytest.raises(ValueError, match=r"plan\.json.*damaged"):
        read_plan(tmp_path)
