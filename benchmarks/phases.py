"""How long each phase of a step runs, from a trace of JAX's profiler."""

import collections
import glob
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax

from dreamjax.dream import NETWORK, PHASES

BACK = "transpose("  # in the name of what a gradient needs


class Span(NamedTuple):
    """One call of an operator: nanoseconds, and its phase."""

    start: float
    end: float
    phase: str


def phases_of(program: str) -> dict[str, str]:
    """Returns operator -> phase, from the text of a compiled program."""
    found = {}
    for line in program.splitlines():
        name = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = ", line)
        told = re.search(r'op_name="([^"]*)"', line)
        if name is not None and told is not None:
            found[name[1]] = phase_of(told[1])
    return found


def phase_of(operator: str) -> str:
    """Returns the phase that the name of an operator tells, "other" for none."""
    words = re.findall(r"\w+", operator)
    phase = next((word for word in words if word in PHASES), "other")
    if phase != NETWORK:
        return phase
    return f"{phase}, {'backward' if BACK in operator else 'forward'}"


def spans_of(folder: str, phases: Mapping[str, str]) -> list[Span]:
    """Returns all calls of operators in a trace."""
    (file,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
    found = []
    for plane in jax.profiler.ProfileData.from_file(file).planes:
        for line in plane.lines:
            for event in line.events:
                operator = dict(event.stats).get("hlo_op")
                if operator is not None:
                    phase = phases.get(operator, "other")
                    end = event.start_ns + event.duration_ns
                    found.append(Span(event.start_ns, end, phase))
    return found


def shares(spans: Iterable[Span]) -> dict[str, float]:
    """Returns phase -> nanoseconds; a moment is shared by all that run in it."""
    edges = []
    for span in spans:
        edges += [(span.start, 1, span.phase), (span.end, -1, span.phase)]
    total: collections.Counter[str] = collections.Counter()
    running: collections.Counter[str] = collections.Counter()
    before = 0.0
    for at, change, phase in sorted(edges):
        count = running.total()
        if count > 0:
            for name, active in running.items():
                total[name] += (at - before) * active / count
        running[phase] += change
        before = at
    return dict(total)


def traced(step: Callable[[], Any], program: str, steps: int) -> dict[str, float]:
    """Returns phase -> milliseconds of a step, with "host" and "all"."""
    options = jax.profiler.ProfileOptions()
    options.host_tracer_level, options.python_tracer_level = 2, 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            start = time.perf_counter()
            for _ in range(steps):
                step()
            wall = time.perf_counter() - start
        found = shares(spans_of(folder, phases_of(program)))
    found = {name: ns / 1e6 / steps for name, ns in found.items()}
    everything = 1e3 * wall / steps
    idle = everything - sum(found.values())
    return found | {"host": max(0.0, idle), "all": everything}
