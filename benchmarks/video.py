"""Flow and carry on clips whose motion is known: the tables of docs/video.md.

    python -m benchmarks.video flow      # end-point errors, seconds
    python -m benchmarks.video carry     # dreams with and without carry, a minute
    python -m benchmarks.video still     # a standing and a moving picture, two minutes

In `carry` the dream of one frame is a bare octave loop on EfficientNet-Lite0: what is
compared is how frames follow each other, not how one is dreamed.
"""

import argparse
import dataclasses
import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from configs.video import get_config
from dreamjax.cache import use_compile_cache
from dreamjax.images import load_image, png_bytes
from dreamjax.models import load
from dreamjax.models.layers import PLAIN
from dreamjax.video.clip import Clip, open_clip
from dreamjax.video.dream_video import (
    HALLUCINATION_MACHINE,
    DreamFrame,
    dream_video,
)
from dreamjax.video.flow import METHODS, consistency, optical_flow
from dreamjax.video.run import run_video
from dreamjax.video.synthetic import moving_photo

ASSETS = Path(__file__).parent.parent / "dreamjax" / "assets"
SIZE = (192, 256)
MOTIONS = [
    {"pan": (0, 3)},
    {"pan": (2.3, -3.7)},
    {"turn": 0.02},
    {"zoom": 1.02},
    {"pan": (0, 12)},
    {"pan": (0, 40)},
]


def flow_table() -> None:
    """Prints the mean end-point error in pixels, everywhere and where consistent."""
    print("| photo | motion per frame | " + " | ".join(METHODS) + " |")
    print("|---|---|" + "---|" * len(METHODS))
    for name in ("chelsea", "coffee"):
        photo = load_image(ASSETS / f"{name}.png")
        for given in MOTIONS:
            clip = moving_photo(photo, 2, SIZE, **given)
            cells = []
            for method in METHODS:
                forward = optical_flow(*clip.frames, method=method)
                backward = optical_flow(*clip.frames[::-1], method=method)
                mask = consistency(forward, backward)
                error = np.linalg.norm(backward - clip.backward[0], axis=-1)
                kept = np.sum(error * mask) / np.sum(mask)
                cells.append(f"{error.mean():.2f}, {kept:.2f} on {mask.mean():.0%}")
            told = ", ".join(f"{key} {value}" for key, value in given.items())
            print(f"| {name} | {told} | " + " | ".join(cells) + " |")


def dreamer(fresh_steps: int, carried_steps: int) -> DreamFrame:
    """Returns a dream of 3 octaves × 1.8 towards the energy of `b5`."""
    model = load("efficientnet_lite0")

    @jax.jit
    def step(image, shift):
        def energy(image):
            view = jnp.roll(image, shift, (0, 1))[None]
            return jnp.mean(jnp.square(model.taps(model.variables, view, PLAIN)["b5"]))

        gradient = jax.grad(energy)(image)
        size = jnp.mean(jnp.abs(gradient)) + 1e-12
        return jnp.clip(image + 1.5 / 255 * gradient / size, 0, 1)

    def resized(image, size):
        return jax.image.resize(image, (*size, 3), "linear", antialias=True)

    def dream(image, number, fresh):
        shifts = np.random.default_rng(number)
        height, width = image.shape[:2]
        sizes = [(round(height / s), round(width / s)) for s in (3.24, 1.8, 1)]
        detail = jnp.zeros((*sizes[0], 3))
        for size in sizes:
            base = resized(jnp.asarray(image), size)
            now = base + resized(detail, size)
            for _ in range(fresh_steps if fresh else carried_steps):
                now = step(now, jnp.asarray(shifts.integers(-32, 33, 2)))
            detail = now - base
        return now

    return dream


def carry_table(frames: int) -> None:
    """Prints the temporal error and the strength of dreams under several settings."""
    photo = load_image(ASSETS / "coffee.png")
    clip = moving_photo(photo, frames, SIZE, pan=(1, 3), turn=0.004)
    alone = {"blend_moving": 0.0, "blend_static": 0.0}
    cases = [
        ("each frame for itself", alone, 8),
        ("carried .9, as many iterations", {}, 8),
        ("carried .9, Farneback", {"flow": "farneback"}, 8),
        ("carried .5", {"blend_moving": 0.5}, 8),
        ("carried 1", {"blend_moving": 1.0}, 8),
        ("carried .9, 4 iterations", {}, 4),
        ("carried .9, 2 iterations", {}, 2),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for number, frame in enumerate(clip.frames):
            Path(folder, f"{number:03d}.png").write_bytes(png_bytes(frame))
        opened = open_clip(folder)
        print("| | temporal error | change, first frame | last frame |")
        print("|---|---|---|---|")
        for told, changed, steps in cases:
            rows = _dreamed(opened, changed, steps)
            error = np.nanmean([row["temporal_error"] for row in rows])
            first, last = rows[0]["change"], rows[-1]["change"]
            print(f"| {told} | {error:.2f} | {first:.1f} | {last:.1f} |", flush=True)
    own = np.nanmean([row["temporal_error_input"] for row in rows])
    print(f"\nThe frames themselves: {own:.2f}.")


def still_table(frames: int, longest: int) -> None:
    """Prints how dreams of configs/video.py do where the picture stands, and moves.

    Of identical frames the mean step from one to the next is printed, of moving ones
    the temporal error.
    """
    photos = [load_image(ASSETS / f"{name}.png") for name in ("chelsea", "coffee")]
    pan = moving_photo(photos[0], frames, SIZE, pan=(0.5, 3.0), turn=0.005).frames
    stood = [moving_photo(photo, 1, SIZE).frames[0] for photo in photos]
    half = frames // 2
    clips = {
        "standing": [stood[0]] * frames,
        "standing, with a cut": [stood[0]] * half + [stood[1]] * (frames - half),
        "moving": list(pan),
    }
    cases = {
        "each frame for itself": {"blend_moving": 0.0, "blend_static": 0.0},
        "blends of 2017": {"blend_static": 0.1, "settle": 0.0},
        "as it is": {},
    }
    print("| clip | | change | step of a standing picture | temporal error |")
    print("|---|---|---|---|---|")
    for told, pictures in clips.items():
        with tempfile.TemporaryDirectory() as folder:
            for number, frame in enumerate(pictures):
                Path(folder, f"{number:03d}.png").write_bytes(png_bytes(frame))
            for case, changed in cases.items():
                config = get_config()
                config.update({**changed, "image": folder, "longest": longest})
                print(f"| {told} | {case} | {_row(config, half)} |", flush=True)


def _row(config: Mapping[str, Any], half: int) -> str:
    """Returns the cells of a dreamed clip whose second half begins at a frame."""
    with tempfile.TemporaryDirectory() as workdir:
        made = run_video(config, workdir, report=lambda _: None)
        dreams = [load_image(path) for path in sorted(made.files["frames"].iterdir())]
    steps = [255 * np.mean(np.abs(b - a)) for a, b in itertools.pairwise(dreams)]
    standing = [
        step
        for step, row in zip(steps, made.rows[1:], strict=True)
        if row["temporal_error_input"] == 0
    ]
    changes = [row["change"] for row in made.rows]
    error = np.nanmean([row["temporal_error"] for row in made.rows])
    shown = ", ".join(f"{changes[i]:.1f}" for i in (0, 1, half - 1, half, half + 1, -1))
    step = f"{max(standing):.2f} at most" if standing else ""
    return f"{shown} | {step} | {error:.2f}"


def _dreamed(clip: Clip, changed: dict, steps: int) -> list[dict[str, float]]:
    settings = dataclasses.replace(HALLUCINATION_MACHINE, **changed)
    with tempfile.TemporaryDirectory() as workdir:
        made = dream_video(clip, dreamer(8, steps), workdir, settings, lambda _: None)
    return made.rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=("flow", "carry", "still"))
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--longest", type=int, default=256)
    args = parser.parse_args()
    use_compile_cache()
    if args.table == "flow":
        flow_table()
    elif args.table == "still":
        still_table(args.frames, args.longest)
    else:
        carry_table(args.frames)
