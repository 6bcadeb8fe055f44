"""What a sweep costs, counted without a clock, against what it cost before.

    python -m benchmarks.guard            # compare with benchmarks/guard.json
    python -m benchmarks.guard --write    # after a change that is meant

Counts do not wander with the load of a machine: programs compiled by a sweep of
several blocks, calls of them, arrays fetched from the device, floating-point operations
and bytes by XLA's own cost analysis, and the memory that the step asks for. The suite
runs this in a process of its own (`tests/test_guard.py`), so that a change which makes
a program larger fails there. XLA's numbers depend on its version and on the processor's
cores, which its programs are cut for: they are compared only where both are those that
they were written with.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jaxlib

from dreamjax import block, runner, sweep
from dreamjax.build import build
from dreamjax.config import base_config
from dreamjax.footprint import footprint

FILE = Path(__file__).with_name("guard.json")
COMPILED = "/jax/core/compile/backend_compile_duration"
SLACK = {"flops": 0.1, "bytes": 0.1, "peak": 0.1}
"""Relative growth that is let pass; counts that are not named may not grow at all."""


def program_costs() -> dict[str, dict[str, float]]:
    """Returns flops, bytes and peak memory of one step of 8 runs, by kind of sweep."""
    return {
        "channel": costs(channel_config()),
        "regularized pixels": costs(regularized_config()),
    }


def channel_config():
    """Returns the config of eight channels of a middle layer, Lucid's defaults."""
    config = base_config()
    config.hparams.unit = tuple(range(8))
    return config


def regularized_config():
    """Returns the config of eight channels on pixels, with Yosinski's projections."""
    config = base_config()
    config.objective = "b2:unit"
    config.size = (64, 64)
    config.param, config.color, config.range = "pixel", "rgb", "clip"
    config.transforms, config.optimizer = "", "sgd"
    config.hparams.unit = tuple(range(8))
    config.hparams.tv = (0.1,)
    config.hparams.decay = (0.01,)
    config.hparams.blur_width, config.hparams.blur_every = (1.0,), (4,)
    config.hparams.norm_percentile = (20.0,)
    config.hparams.contribution_abs_percentile = (20.0,)
    return config


def costs(config: Any) -> dict[str, float]:
    """Returns what XLA says of the compiled step of all runs of a config."""
    experiment = build(config)
    hp = sweep.take(experiment.values, range(len(experiment.runs)))
    keys = sweep.run_keys(hp["seed"], hp["seed"], common=True)
    state = jax.eval_shape(jax.vmap(experiment.step.init), keys, hp)
    update = jax.jit(
        jax.vmap(experiment.step.update, in_axes=(0, 0, None)), donate_argnums=0
    )
    compiled = update.lower(state, hp, experiment.model.variables).compile()
    found = compiled.cost_analysis()
    memory = footprint(compiled)
    return {
        "flops": float(found["flops"]),
        "bytes": float(found["bytes accessed"]),
        "peak": 0.0 if memory is None else float(memory.peak),
    }


def sweep_counts() -> dict[str, int]:
    """Returns the counts of a sweep of 3 blocks of 2 runs, 8 steps each."""
    from tests.tiny import tiny_config, tiny_model

    config = tiny_config(unit=(0, 1, 2), learning_rate=(0.03, 0.1))
    config.steps, config.runs_per_call, config.log_every = 8, 2, 4
    config.image_steps, config.evaluation_draws = (), 2
    counts: Counter[str] = Counter()

    def compiled(event: str, *_: Any, **__: Any) -> None:
        counts["compiles"] += event == COMPILED

    real_compile, real_join = sweep.compile_program, block._joined

    def counted(*given: Any, **options: Any) -> sweep.Program:
        program = real_compile(*given, **options)

        def count(name: str):
            function = getattr(program, name)

            def call(*inputs: Any):
                counts[f"calls of {name}"] += 1
                return function(*inputs)

            return call

        names = ("init", "update", "plain", "robust", "images")
        return program._replace(**{name: count(name) for name in names})

    def joined(*given: Any, **options: Any):
        counts["fetches"] += 1
        return real_join(*given, **options)

    jax.monitoring.register_event_duration_secs_listener(compiled)
    sweep.compile_program, block._joined = counted, joined
    try:
        with tempfile.TemporaryDirectory() as name:
            runner.run(config, name, model=tiny_model(), report=lambda line: None)
    finally:
        sweep.compile_program, block._joined = real_compile, real_join
        jax.monitoring.clear_event_listeners()
    return dict(sorted(counts.items()))


def measured() -> dict[str, Any]:
    """Returns all counts, with the version that they are of."""
    return {
        "jaxlib": jaxlib.__version__,
        "backend": jax.default_backend(),
        "cores": os.cpu_count(),
        "sweep": sweep_counts(),
        "programs": program_costs(),
    }


def grown(found: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Returns a line for each count that is larger than before.

    Args:
      found: of `measured`.
      before: of the file.
    """
    alike = all(found[name] == before[name] for name in ("jaxlib", "backend", "cores"))
    pairs = [
        (f"sweep, {name}", name, found["sweep"].get(name, 0), old)
        for name, old in before["sweep"].items()
        if alike or name != "compiles"  # other versions have other small programs
    ]
    if alike:
        pairs += [
            (f"{program}, {name}", name, found["programs"][program][name], old)
            for program, numbers in before["programs"].items()
            for name, old in numbers.items()
        ]
    return [
        f"{said}: {new:.6g}, before {old:.6g}"
        for said, name, new, old in pairs
        if new > old * (1 + SLACK.get(name, 0.0))
    ]


def main() -> int:
    """Compares or writes; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the file anew")
    given = parser.parse_args()
    found = measured()
    if given.write:
        FILE.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found, indent=1))
        return 0
    worse = grown(found, json.loads(FILE.read_text()))
    print("\n".join(worse) if worse else "nothing has grown")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
