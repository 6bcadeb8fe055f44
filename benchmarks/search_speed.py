"""Times the regularizer search against the same settings one by one in PyTorch (W4).

    pip install -r requirements-bench.txt
    python -m benchmarks.search_speed [--rounds 15 --runs 32 --devices 1]
        [--out results/runs/performance/search.json]

`configs/regularizer_search.py`: 300 settings of decay, blur, two percentiles and the
learning rate × 3 classes, EfficientNet-Lite0 `logits`, 112 px pixels, gradient ascent.
dreamjax makes a step of a block of 32 of the 900 runs with one call, as the sweep does.
PyTorch takes one setting after another, its three classes as one batch: frozen folded
weights, channels last, ReLU6 in place, regularizers that cost nothing where they are
off or not due, the blur's matrices made once for a setting. A turn of PyTorch's is
`STEPS` steps of the next setting.

First both make two steps of the same settings from the same pictures. After the first,
with the blur, every picture must agree; after the second, for most settings without it,
the median one: by then a unit at a kink of ReLU6, or a pixel next to a percentile, may
have fallen to the other side by rounding, and from there pictures part.
"""

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from benchmarks import torch_lite0
from benchmarks.crowd import Crowd
from benchmarks.parity import lite0_file
from benchmarks.timing import circumstances, interleave, markdown, summarize
from configs.regularizer_search import get_config
from dreamjax.build import Experiment, build
from dreamjax.devices import split_cpu
from dreamjax.files import write_text
from dreamjax.memory import keep_memory

LIMIT = 1e-3  # relative L2 between pictures, counted from gray
CHECKED = 2  # steps
STEPS = 8  # of a turn, as many as the longest period of the blur but one
CLASSES = 3  # of a setting, side by side
SETTINGS = (
    *("learning_rate", "decay", "blur_width", "blur_every"),
    *("norm_percentile", "contribution_abs_percentile"),
)


class TorchSetting:
    """One setting in PyTorch: a few classes as one batch, [B, 3, H, W] in [0, 1].

    Args:
      forward: images -> logits.
      images: [B, H, W, 3], where it starts.
      units: [B], the class of each.
      hp: of `SETTINGS`.
    """

    def __init__(
        self, forward, images: np.ndarray, units: np.ndarray, hp: Mapping[str, float]
    ):
        self.forward, self.hp, self.done = forward, hp, 0
        moved = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        self.x = moved.contiguous(memory_format=torch.channels_last)
        self.units = torch.from_numpy(units.astype(np.int64))
        side = torch.arange(images.shape[1], dtype=torch.float32)
        squares = (side[:, None] - side[None, :]).square()
        weights = torch.exp(-squares / (2 * max(hp["blur_width"], 0.05) ** 2))
        self.blur = weights / weights.sum(1, keepdim=True)

    def step(self) -> None:
        """Makes one step: gradient ascent, then Yosinski's regularizers in order."""
        hp, leaf = self.hp, self.x.detach().requires_grad_()
        score = self.forward(leaf).gather(1, self.units[:, None]).sum()
        (g,) = torch.autograd.grad(score, leaf)
        x = (self.x + hp["learning_rate"] * g).clamp_(0, 1)
        if hp["decay"] > 0:
            x = torch.lerp(x, torch.tensor(0.5), hp["decay"])
        every = int(hp["blur_every"])
        if every > 0 and hp["blur_width"] > 0 and self.done % every == 0:
            x = self.blur @ x @ self.blur.T
        x = _grayed(x, (x - 0.5).square().sum(1), hp["norm_percentile"])
        contribution = ((x - 0.5) * g).sum(1).abs()
        self.x = _grayed(x, contribution, hp["contribution_abs_percentile"])
        self.done += 1


def _grayed(x: torch.Tensor, values: torch.Tensor, percentile: float) -> torch.Tensor:
    """Returns x, gray where values [B, H, W] are below a percentile of their image."""
    if percentile <= 0:
        return x
    flat = values.flatten(1)
    rank = math.ceil(percentile * (flat.shape[1] - 1) / 100)
    threshold = flat.kthvalue(rank + 1, dim=1).values
    return x.masked_fill((values < threshold[:, None, None])[:, None], 0.5)


def settings_of(experiment: Experiment) -> list[list[int]]:
    """Returns the runs of each setting, one for each class."""
    found: dict[tuple, list[int]] = {}
    for run, values in enumerate(experiment.runs):
        found.setdefault(tuple(values[name] for name in SETTINGS), []).append(run)
    return list(found.values())


def torch_setting(
    forward, experiment: Experiment, runs: list[int], start: np.ndarray
) -> TorchSetting:
    """Returns PyTorch's side of the runs of a setting; start is [B, H, W, 3]."""
    hp = {name: float(experiment.values[name][runs[0]]) for name in SETTINGS}
    return TorchSetting(forward, start, experiment.values["unit"][runs], hp)


def disagreement(
    forward, experiment: Experiment, settings: list[list[int]]
) -> list[list[float]]:
    """Returns the relative L2 between both sides' pictures, [step][setting]."""
    runs = [run for own in settings for run in own]
    ours = Crowd(experiment, runs, 1)
    start = ours.images().reshape(len(settings), CLASSES, *ours.images().shape[1:])
    theirs = [
        torch_setting(forward, experiment, *each)
        for each in zip(settings, start, strict=True)
    ]
    apart = []
    for _ in range(CHECKED):
        ours.step()
        apart.append([])
        # The images that both go on from; what is shown is after a full cycle.
        images = np.clip(ours.params()[:, 0] + 0.5, 0, 1)
        for found, setting in zip(images.reshape(start.shape), theirs, strict=True):
            setting.step()
            expected = setting.x.numpy().transpose(0, 2, 3, 1)
            moved = np.linalg.norm(expected - 0.5)
            apart[-1].append(float(np.linalg.norm(found - expected) / moved))
    return apart


def turns(forward, experiment: Experiment, start: np.ndarray) -> Iterator[None]:
    """Makes `STEPS` steps of one setting after another, at each `next`."""
    for own in itertools.cycle(settings_of(experiment)):
        setting = torch_setting(forward, experiment, own, start[: len(own)])
        for _ in range(STEPS):
            setting.step()
        yield


def main() -> int:
    """Prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runs", type=int, default=32, help="of a block of ours")
    parser.add_argument("--devices", type=int, help="CPU devices of ours")
    parser.add_argument("--out", help="a JSON file to write")
    options = parser.parse_args()
    keep_memory()
    split_cpu()
    experiment = build(get_config())
    network = torch_lite0.load(lite0_file(), tuned=True)
    forward = network.cut_at("logits", torch_lite0.relu6_in_place)
    apart = disagreement(forward, experiment, settings_of(experiment)[:5])
    first, second = max(apart[0]), statistics.median(apart[1])
    said = f"after one step {first:.1e} at worst, after two {second:.1e} in the median"
    print(f"pictures of {len(apart[0])} settings differ by {said}")
    if not max(first, second) <= LIMIT:
        print(f"more than {LIMIT:.0e}: nothing is timed")
        return 1
    ours = Crowd(experiment, range(options.runs), options.devices)
    theirs = turns(forward, experiment, ours.images())
    counts = {"dreamjax": options.runs, "torch": STEPS * CLASSES}
    sides = {"dreamjax": ours.step, "torch": lambda: next(theirs)}
    times = interleave(sides, options.rounds)
    each = {name: [t / counts[name] for t in times[name]] for name in times}
    rows = summarize("search", 1, each)
    print(f"{ours.devices} devices\n\n{markdown(rows)}")
    if options.out is not None:
        record = {"rows": rows, "apart": apart, "devices": ours.devices}
        record |= circumstances()
        write_text(options.out, json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
