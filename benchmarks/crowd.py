"""Runs of a sweep side by side, without its files: what the timings step."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax import sweep
from dreamjax.build import Experiment
from dreamjax.devices import choose_devices
from dreamjax.footprint import free_memory, tree_bytes


class Crowd:
    """R runs of an experiment: a sweep's compiled programs, called again and again.

    Attributes:
      program: of one call.
      lanes: runs of a call.
      devices: that a call is spread over.

    Args:
      experiment: from `dreamjax.build.build`.
      runs: [R], which of its runs; one may come several times.
      devices: to spread a call of all runs over, at most; the largest number is taken
        that divides R. None makes calls, and takes devices, as a sweep would.
    """

    def __init__(
        self, experiment: Experiment, runs: Sequence[int], devices: int | None
    ):
        lanes = count = len(runs)
        if devices is None:
            lanes = math.gcd(count, sweep.block_size(count, experiment.limit))
            weights = tree_bytes(experiment.model.variables)
            devices = len(choose_devices(None, lanes, weights, free_memory()))
        self.lanes, self.devices = lanes, math.gcd(lanes, devices)
        used = jax.local_devices()[: self.devices]
        hp = sweep.take(experiment.values, runs)
        common = experiment.config["common_noise"]
        keys = sweep.run_keys(hp["seed"], jnp.arange(count), common=common)
        calls = [slice(i, i + lanes) for i in range(0, count, lanes)]
        hps = [{name: values[call] for name, values in hp.items()} for call in calls]
        self._variables = sweep.everywhere(experiment.model.variables, used)
        self.program = program = sweep.compile_program(
            experiment.step,
            experiment.evaluation,
            experiment.images,
            hps[0],
            self._variables,
            steps=1,
            devices=used,
        )
        self._hps = [program.place(hp) for hp in hps]
        self._states = [
            program.init(program.place(keys[call]), hp)
            for call, hp in zip(calls, self._hps, strict=True)
        ]

    def step(self) -> None:
        """Makes one step of all runs."""
        for i, (state, hp) in enumerate(zip(self._states, self._hps, strict=True)):
            self._states[i], _ = self.program.update(state, hp, self._variables)
        jax.block_until_ready([state.params for state in self._states])

    def params(self) -> np.ndarray:
        """Returns the parameters [R, ...] of a parametrization that has one array."""
        return np.concatenate([np.array(state.params) for state in self._states])

    def images(self) -> np.ndarray:
        """Returns the first picture of each run, [R, H, W, C] in [0, 1]."""
        pairs = zip(self._states, self._hps, strict=True)
        shown = [np.asarray(self.program.images(*pair)) for pair in pairs]
        return np.concatenate(shown)[:, 0]

    @property
    def peak(self) -> int | None:
        """Bytes of a step on one device; None where the backend tells nothing."""
        found = self.program.footprint
        return None if found is None else found.peak
