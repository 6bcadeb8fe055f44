"""What a reader must know of runs that came to nothing, and what helps."""

from collections.abc import Mapping, Sequence
from typing import Any

from dreamjax.build import Experiment


def warnings(rows: Sequence[Mapping[str, Any]], experiment: Experiment) -> list[str]:
    """Returns what a reader must know of runs that came to nothing."""
    lines = []
    frozen = [row["run"] for row in rows if row["status"] == "frozen"]
    if frozen:
        lines.append(
            f"frozen: runs {_some(frozen)} met a non-finite update and stopped at their"
            " last finite picture; a smaller learning rate or penalty may help."
        )
    dead = [row["run"] for row in rows if row["status"] == "zero gradient"]
    return lines + dead_runs(dead, experiment)


def dead_runs(dead: Sequence[int], experiment: Experiment) -> list[str]:
    """Returns a line about runs whose score had no gradient at all, or none.

    This is the gray picture that users of every such tool ask about: a unit that is
    off on the whole image gives the pixels nothing to climb.
    """
    if not dead:
        return []
    taps = sorted({read.tap for read in experiment.objective.reads})
    remedy = [
        f"aim before the nonlinearity ({tap}/pre)"
        for tap in taps
        if not tap.endswith("/pre")
    ]
    if experiment.model.record.redirectable and not experiment.config["redirect_relu"]:
        remedy.append("set --config.redirect_relu=True")
    remedy.append("start from another seed or a larger init_std")
    return [
        f"zero gradient: in runs {_some(dead)} every gradient of the score is exactly"
        f" zero, so nothing moves: what the objective reads of {', '.join(taps)} is"
        f" off. Remedies: {'; '.join(remedy)}."
    ]


def _some(runs: Sequence[int]) -> str:
    shown = ", ".join(str(r) for r in runs[:12])
    return shown + (f" and {len(runs) - 12} more" if len(runs) > 12 else "")
