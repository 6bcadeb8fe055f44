"""Commands of dreamjax at toy size, for `benchmarks.faults`: made, killed, compared.

A command is a function (inputs, out) that makes `out` or goes on with it. What it has
made is compared by `outcome`: all that a user keeps, told apart file by file.
"""

import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboardX.proto.event_pb2 import SessionLog

from dreamjax import events

Command = Callable[[Path, Path], None]
INTERNAL = ("results", "states", "checkpoints", "metrics")
"""Folders whose content shows in the pictures, the summary and the merged log."""


def write_inputs(folder: Path) -> None:
    """Writes the photos and the clip that the commands read."""
    random = np.random.default_rng(0)
    for kind, count in (("photos", 5), ("clip", 3)):
        (folder / kind).mkdir(parents=True)
        for i in range(count):
            coarse = random.integers(0, 256, (5, 6, 3), np.uint8)
            pixels = np.repeat(np.repeat(coarse, 8, 0), 8, 1)
            Image.fromarray(pixels).save(folder / kind / f"{i:03d}.png")


def sweep_config() -> Any:
    """Returns a sweep of 2 units × 2 seeds in two blocks, a checkpoint a step."""
    from tests.tiny import tiny_config

    config = tiny_config(unit=(0, 1), seed=(0, 1))
    config.size, config.steps, config.image_steps = (16, 16), 8, (0, 4, 8)
    config.runs_per_call, config.tensorboard = 2, True
    config.checkpoint_seconds = 0.0
    return config


def sweep(inputs: Path, out: Path) -> None:
    """A sweep."""
    from dreamjax.runner import run

    run(sweep_config(), out)


def extension(inputs: Path, out: Path) -> None:
    """A sweep with more steps."""
    from dreamjax.runner import run

    config = sweep_config()
    config.steps = 12
    run(config, out)


def _dream_config(**values: Any) -> Any:
    from dreamjax.deepdream.config import dream_config

    config = dream_config()
    config.model, config.objective = "tests.tiny:tiny_model", "b"
    config.transforms, config.memory = "roll(5)", 1.0
    config.longest, config.octaves, config.steps = 0, 2, 2
    config.tensorboard = True
    for name, value in values.items():
        config[name] = value
    return config


def dream(inputs: Path, out: Path) -> None:
    """Dreams of two photos."""
    from dreamjax.deepdream.run import dream as make

    make(_dream_config(image=str(inputs / "photos" / "00[01].png")), out)


def film(inputs: Path, out: Path) -> None:
    """A film of three frames."""
    from dreamjax.deepdream.film import film as make

    photo = str(inputs / "photos" / "000.png")
    make(_dream_config(image=photo, frames=3, film="gif"), out)


def video(inputs: Path, out: Path) -> None:
    """A clip of three frames."""
    from dreamjax.video.config import VIDEO, video_config
    from dreamjax.video.run import run_video

    own = video_config()
    config = video_config()
    dreams = _dream_config(image=str(inputs / "clip"), tensorboard=False)
    for name in dreams:
        if name not in VIDEO and name in own:
            config[name] = dreams[name]
    config.output, config.carry_steps = "gif", 1
    run_video(config, out)


def mine(inputs: Path, out: Path) -> None:
    """A look at five photos."""
    from dreamjax.mining import Settings
    from dreamjax.mining import mine as look
    from tests.tiny import tiny_model

    asked = Settings((24, 20), keep=2, sample=4)
    found = look(
        tiny_model(),
        ["a", "logits"],
        inputs / "photos",
        asked,
        workdir=out,
        batch=1,
        save_seconds=0.0,
    )
    lines = {
        tap: [ledger.top.example.tolist(), ledger.total.tolist()]
        for tap, ledger in found.ledgers.items()
    }
    (out / "found.json").write_text(json.dumps(lines))


def atlas(inputs: Path, out: Path) -> None:
    """An atlas of two layers."""
    from dreamjax.atlas import Wanted, make_atlas
    from tests.tiny import tiny_config, tiny_model

    config = tiny_config()
    config.steps, config.image_steps = 2, ()
    wanted = Wanted(("a", "logits"), channels=2, variants=1)
    make_atlas(config, out / "work", out / "site", wanted=wanted, model=tiny_model())


def compare(inputs: Path, out: Path) -> None:
    """A comparison of a sweep."""
    from dreamjax.report.compare import write_comparison
    from dreamjax.report.comparison import read_sweeps

    folder = inputs / "sweep"
    if not (folder / "summary.json").exists():
        sweep(inputs, folder)
    sweeps, notes = read_sweeps([str(folder)])
    write_comparison(sweeps, out, notes=notes)


COMMANDS: dict[str, Command] = {
    c.__name__: c for c in (sweep, extension, dream, film, video, mine, atlas, compare)
}


# What came out.


def outcome(folder: Path) -> dict[str, Any]:
    """Returns name -> what a user keeps: pixels, numbers, texts, TensorBoard's view."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        parts = path.relative_to(folder).parts
        if not path.is_file() or path.name.startswith(".") or "tb" in parts:
            continue
        if set(parts) & set(INTERNAL) or path.suffix in (".npz", ".damaged"):
            continue
        if path.name in ("plan.json", "seeds.json"):
            continue
        found[name] = _content(path, folder)
    for tb in sorted(folder.rglob("tb")):
        for run in sorted(p for p in tb.iterdir() if p.is_dir()):
            found[f"{run.relative_to(folder).as_posix()}/"] = shown(run)
    return found


def _content(path: Path, folder: Path) -> Any:
    data = path.read_bytes()
    if path.name == "metrics.jsonl":
        lines = data.decode("utf-8", "replace").splitlines()
        return sorted(re.sub(r'"block": \d+, ', "", line) for line in lines)
    if path.suffix == ".png":
        try:
            with Image.open(io.BytesIO(data)) as picture:
                data = np.asarray(picture.convert("RGB")).tobytes()
        except (OSError, SyntaxError):
            return "no picture"
    return hashlib.sha256(data.replace(str(folder).encode(), b"")).hexdigest()


def shown(run: Path) -> dict[str, list[tuple[int, Any]]]:
    """Returns tag -> [(step, value)] as TensorBoard shows them, doubles included.

    A time that goes back, which hides later points, is a tag "time goes back".
    """
    tags: dict[str, list[tuple[int, Any]]] = {}
    at = 0.0
    for path in sorted(run.glob(f"{events.PREFIX}.*")):
        for event in events.read_events(path):
            if event.wall_time < at:
                tags.setdefault("time goes back", []).append((event.step, path.name))
            at = max(at, event.wall_time)
            if event.session_log.status == SessionLog.START:
                tags = {
                    tag: [pair for pair in pairs if pair[0] < event.step]
                    for tag, pairs in tags.items()
                }
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    tags.setdefault(value.tag, []).append(
                        (event.step, str(np.float32(value.simple_value)))
                    )
                elif value.HasField("image"):
                    digest = hashlib.sha256(value.image.encoded_image_string)
                    pair = (event.step, digest.hexdigest())
                    tags.setdefault(value.tag, []).append(pair)
    return {tag: pairs for tag, pairs in tags.items() if pairs}


def difference(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Returns the names of what is missing or another."""
    return [n for n, value in expected.items() if found.get(n) != value]


def only_pictures_of_the_course(
    expected: dict[str, Any], found: dict[str, Any], names: list[str]
) -> bool:
    """Tells whether all that differs is that TensorBoard has fewer pictures."""
    for name in names:
        if not name.endswith("/") or name not in found:
            return False
        for tag in {*expected[name], *found[name]}:
            have, want = found[name].get(tag, []), expected[name].get(tag, [])
            fewer = tag == "image" and set(have) < set(want)
            if have != want and not fewer:
                return False
    return True


# Where a process dies.


def die_at(point: str) -> None:
    """Lets this process die as by `kill -9` at a point.

    Args:
      point: "compile"; "before N" or "after N", the N-th file that takes its place;
        "MODULE:NAME" or "MODULE:CLASS.NAME", when that function returns; "clock back",
        which only sets the clock back by a day.
    """
    if point == "clock back":
        now = events.time.time
        events.time.time = lambda: now() - 86_400
    elif point == "compile":
        _die_before_compile()
    elif point.startswith(("before ", "after ")):
        _die_at_file(*point.split())
    elif point:
        module, _, name = point.partition(":")
        owner = __import__(module, fromlist=["_"])
        *outer, name = name.split(".")
        for part in outer:
            owner = getattr(owner, part)
        work = getattr(owner, name)

        def work_and_die(*args: Any, **kwargs: Any) -> None:
            work(*args, **kwargs)
            os._exit(137)

        setattr(owner, name, work_and_die)


def _die_before_compile(number: int = 3) -> None:
    """Dies between the tracing of the third program and its compile by XLA."""
    import jax

    count = [0]

    def listen(event: str, seconds: float, **_: Any) -> None:
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            count[0] += 1
            if count[0] == number:
                os._exit(137)

    jax.monitoring.register_event_duration_secs_listener(listen)


def _die_at_file(when: str, number: str) -> None:
    replace, count = os.replace, [0]

    def counted(*args: Any, **kwargs: Any) -> None:
        count[0] += 1
        if when == "before" and count[0] == int(number):
            os._exit(137)
        replace(*args, **kwargs)
        if when == "after" and count[0] == int(number):
            os._exit(137)

    os.replace = counted


def main() -> int:
    """Runs one command, to its end or to where it dies."""
    name, inputs, out, point = sys.argv[1:]
    from dreamjax.cache import use_compile_cache

    use_compile_cache()
    die_at(point)
    COMMANDS[name](Path(inputs), Path(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
