"""The loop over a folder: pictures in, ledgers out, killed and gone on with at will.

    workdir/mined.npz     the ledgers and how far they are, written every so often

The list of pictures is fixed by their names and sizes at the start; a folder that has
changed is another folder. Pictures are decoded a few ahead, in threads.
"""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from dreamjax.checkpoint import DAMAGE, digest
from dreamjax.environment import UNKNOWN, environments
from dreamjax.errors import choose, require
from dreamjax.fields import TEXT, Field, convert, pair_of, whole
from dreamjax.files import atomic_open
from dreamjax.identity import folder_digest, model_digest
from dreamjax.inputs import pictures_under
from dreamjax.interrupt import Interrupted, stop_requests
from dreamjax.json_file import loads
from dreamjax.mining.ledger import Ledger, Ranked, Sample, add, empty
from dreamjax.mining.watch import Watch, watcher, widths
from dreamjax.mining.windows import look, windows
from dreamjax.models.model import Model
from dreamjax.paths import given_path
from dreamjax.terminal import tell
from dreamjax.workdir import locked

FILE = "mined.npz"
NAMED = 5  # skipped files that a line of progress names
AHEAD = 4  # pictures that are decoded before they are needed
RANKINGS = ("mean", "unit")


class Settings(NamedTuple):
    """What is kept of a folder; another value is another look.

    Attributes:
      size: (H, W) that the network sees.
      levels: windows of a picture: 1 the whole, 2 its quarters too, 3 its ninths.
      keep: examples at either end of each channel.
      sample: random examples, that percentiles and slight activations are read off.
      by: "mean" ranks examples by the mean over positions, "unit" by their strongest
        unit.
      seed: of the sample.
    """

    size: tuple[int, int]
    levels: int = 1
    keep: int = 9
    sample: int = 1024
    by: str = "mean"
    seed: int = 0


class Mined(NamedTuple):
    """What was found in a folder.

    Attributes:
      folder: of the pictures.
      pictures: their names in the folder, in the order that examples are numbered in.
      settings: what was asked.
      ledgers: tap -> what its channels answered.
      broken: names of the files that could not be used; they are among `pictures`.
      made_on: environments that they were looked at in, the last one last.
    """

    folder: Path
    pictures: tuple[str, ...]
    settings: Settings
    ledgers: dict[str, Ledger]
    broken: tuple[str, ...]
    made_on: tuple[dict[str, Any], ...] = ()

    @property
    def used(self) -> int:
        """How many pictures were looked at."""
        return len(self.pictures) - len(self.broken)


class _Progress(NamedTuple):
    done: int  # pictures
    ledgers: dict[str, Ledger]
    broken: tuple[str, ...]
    made_on: tuple[dict[str, Any], ...] = ()


def mine(
    model: Model,
    taps: Sequence[str],
    folder: str | Path | Sequence[Path],
    settings: Settings,
    *,
    workdir: str | Path | None = None,
    directions: Mapping[str, np.ndarray] | None = None,
    batch: int = 16,
    save_seconds: float = 30.0,
    report: Callable[[str], None] = tell,
) -> Mined:
    """Looks at every picture of a folder, at any depth, and keeps what matters.

    What comes out does not depend on `batch`, on interruptions, or on the machine's
    speed, except that scores may differ in their last bits between batch sizes.

    Args:
      model: the network.
      taps: names.
      folder: of pictures; hidden files and folders are left out. Or a list of files.
      settings: what to keep.
      workdir: where to keep the state; None keeps none.
      directions: tap -> [K, D], directions beside its channels (`watcher`).
      batch: pictures of one call.
      save_seconds: between two states.
      report: takes each line of what is said.

    Raises:
      ValueError: bad input; a workdir in use, or with a state of another look; no
        picture could be used.
      Interrupted: Ctrl-C or SIGTERM, after a save.
    """
    settings = checked(settings)
    batch = convert("batch", batch, whole(1, "batch"))
    if workdir is None:
        return _mine(
            model, taps, folder, settings, None, directions, batch, save_seconds, report
        )
    path = given_path("workdir", workdir) / FILE
    with locked(path.parent):
        return _mine(
            model, taps, folder, settings, path, directions, batch, save_seconds, report
        )


def _mine(
    model: Model,
    taps: Sequence[str],
    folder: str | Path | Sequence[Path],
    settings: Settings,
    path: Path | None,
    directions: Mapping[str, np.ndarray] | None,
    batch: int,
    save_seconds: float,
    report: Callable[[str], None],
) -> Mined:
    """Looks at every picture; the folder of `path`, where the state is, is held."""
    taps = list(dict.fromkeys(taps))
    channels = widths(model, taps, settings.size, directions)
    folder, paths = _listed(folder)
    asked = _identity(model, taps, folder, paths, settings, directions)
    progress = None if path is None else _load(path, asked)
    if progress is None:
        ledgers = {
            tap: empty(channels[tap], settings.keep, settings.sample) for tap in taps
        }
        progress = _Progress(0, ledgers, ())
    elif progress.done < len(paths):
        report(f"goes on after {progress.done} of {len(paths)} pictures")
    if progress.done < len(paths):
        made_on = tuple(environments(progress.made_on))
        progress = progress._replace(made_on=made_on)
        watch = watcher(model, taps, batch, directions)
        progress = _go_on(
            progress,
            folder,
            paths,
            watch,
            settings,
            batch,
            save=lambda now: None if path is None else _save(path, asked, now),
            every=save_seconds,
            report=report,
        )
    usable = len(paths) - len(progress.broken)
    require(usable > 0, "folder", str(folder), "none of its pictures can be used")
    return Mined(
        folder=folder,
        pictures=tuple(p.relative_to(folder).as_posix() for p in paths),
        settings=settings,
        ledgers=progress.ledgers,
        broken=progress.broken,
        made_on=progress.made_on,
    )


def _listed(folder: str | Path | Sequence[Path]) -> tuple[Path, list[Path]]:
    """Returns the pictures in order of name, and the folder that their names are in."""
    if isinstance(folder, str | Path):
        return given_path("folder", folder), pictures_under(folder)
    paths = sorted(map(Path, folder), key=lambda path: path.parts)
    require(bool(paths), "folder", folder, "at least one picture")
    return Path(os.path.commonpath([path.parent for path in paths])), paths


FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "size": pair_of(whole(1, "side"), one=True),
        "levels": whole(1),
        "keep": whole(1, "list"),
        "sample": whole(1, "list"),
        "by": TEXT,
        "seed": whole(0, 2**63 - 1),
    }
)
"""Setting -> what it may be."""


def checked(settings: Settings) -> Settings:
    """Returns settings as plain values.

    Raises:
      ValueError: for one that cannot be.
    """
    given = settings._asdict()
    settings = Settings(**{n: convert(n, v, FIELDS[n]) for n, v in given.items()})
    windows(settings.levels)
    choose("by", settings.by, RANKINGS)
    return settings


def _go_on(
    progress: _Progress,
    folder: Path,
    paths: Sequence[Path],
    watch: Watch,
    settings: Settings,
    batch: int,
    *,
    save: Callable[[_Progress], None],
    every: float,
    report: Callable[[str], None],
) -> _Progress:
    """Looks at the pictures that are left; at least `batch` windows at a time."""
    count = len(windows(settings.levels))
    at_once = max(1, batch // count)  # pictures
    saved = started = time.monotonic()
    first, broken = progress.done, list(progress.broken)
    names = [path.relative_to(folder).as_posix() for path in paths]
    seen: list[tuple[int, np.ndarray]] = []
    with stop_requests() as asked:
        for number, image in _decoded(paths, progress.done, settings):
            if isinstance(image, ValueError):
                broken.append(names[number])
                report(f"skipped: {image}")
            else:
                seen.append((number, image))
            if len(seen) < at_once and number + 1 < len(paths):
                continue
            ledgers, bad = _judged(progress.ledgers, seen, watch, settings)
            for n in bad:
                broken.append(names[n])
                report(f"skipped: {names[n]!r} has answers that are not finite")
            told = tuple(broken), progress.made_on
            progress, seen = _Progress(number + 1, ledgers, *told), []
            now = time.monotonic()
            last = progress.done == len(paths)
            if asked or last or now - saved >= every:
                save(progress)
                saved = time.monotonic()
                rate = (progress.done - first) / max(now - started, 1e-9)
                report(f"{_counted(progress, len(paths))}, {rate:.1f} per second")
            if asked and not last:
                raise Interrupted("stopped; the same command goes on from here.")
    return progress


def _counted(progress: _Progress, total: int) -> str:
    """Returns how many pictures were looked at, and which were not."""
    skipped = len(progress.broken)
    text = f"{progress.done - skipped} of {total} pictures"
    if skipped == 0:
        return text
    more = ", …" * (skipped > NAMED)
    return f"{text}, {skipped} skipped: {', '.join(progress.broken[:NAMED])}{more}"


def _judged(
    ledgers: Mapping[str, Ledger],
    seen: Sequence[tuple[int, np.ndarray]],
    watch: Watch,
    settings: Settings,
) -> tuple[dict[str, Ledger], list[int]]:
    """Returns the ledgers after some pictures, and which of these answered NaN."""
    if not seen:
        return dict(ledgers), []
    count = len(windows(settings.levels))
    found = watch(np.concatenate([image for _, image in seen]))
    numbers = np.concatenate([n * count + np.arange(count) for n, _ in seen])
    good = np.ones(len(numbers), bool)
    for response in found.values():
        good &= np.isfinite(response.square).all(axis=1)
    pictures = good.reshape(-1, count).all(axis=1)
    good = np.repeat(pictures, count)
    bad = [n for (n, _), fine in zip(seen, pictures, strict=True) if not fine]
    if not good.any():
        return dict(ledgers), bad
    new = {}
    for tap, ledger in ledgers.items():
        response = type(found[tap])(*(part[good] for part in found[tap]))
        new[tap] = add(
            ledger,
            numbers[good],
            response,
            by=settings.by,
            windows=count,
            seed=settings.seed,
        )
    return new, bad


def _decoded(
    paths: Sequence[Path], first: int, settings: Settings
) -> Iterator[tuple[int, np.ndarray | ValueError]]:
    """Yields (number, windows) of each picture in order, or why there are none."""

    def read(path: Path) -> np.ndarray | ValueError:
        try:
            return look(path, settings.size, settings.levels)
        except ValueError as error:
            return error

    waiting: deque[tuple[int, Future]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for number in range(first, len(paths)):
            waiting.append((number, pool.submit(read, paths[number])))
            if len(waiting) > AHEAD:
                done, image = waiting.popleft()
                yield done, image.result()
        while waiting:
            done, image = waiting.popleft()
            yield done, image.result()


def _identity(
    model: Model,
    taps: Sequence[str],
    folder: Path,
    paths: Sequence[Path],
    settings: Settings,
    directions: Mapping[str, np.ndarray] | None,
) -> dict[str, Any]:
    """Returns what a state must agree with to be gone on with."""
    axes = {
        tap: hashlib.sha256(np.ascontiguousarray(v, np.float32)).hexdigest()
        for tap, v in (directions or {}).items()
    }
    return {
        "network": model.record.name,
        "weights": model_digest(model),
        "taps": list(taps),
        "pictures": f"{len(paths)} with digest {folder_digest(paths, folder)}",
        "directions": axes,
        **{k: list(v) if k == "size" else v for k, v in settings._asdict().items()},
    }


def _save(path: Path, asked: Mapping[str, Any], progress: _Progress) -> None:
    about = {"asked": asked, "done": progress.done, "broken": progress.broken}
    about["environments"] = progress.made_on
    arrays = {
        f"{i}.{name}": array
        for i, ledger in enumerate(progress.ledgers.values())
        for name, array in _flat(ledger).items()
    }
    text = json.dumps(about)
    seal = np.asarray(digest(text, arrays))
    with atomic_open(path) as file:
        np.savez(file, about=np.asarray(text), sha256=seal, **arrays)


def _load(path: Path, asked: Mapping[str, Any]) -> _Progress | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        text, seal = str(arrays.pop("about")), arrays.pop("sha256", None)
        if seal is not None and str(seal) != digest(text, arrays):
            raise ValueError("its SHA-256 is another")
        about = loads(text)
        there = about["asked"]
    except DAMAGE as error:
        raise ValueError(
            f"state {str(path)!r} is damaged ({error}). Delete it to look at the"
            " pictures again."
        ) from error
    other = [name for name in asked if there.get(name) != asked[name]]
    if other:
        raise ValueError(
            f"workdir={str(path.parent)!r} holds another look: {other[0]} was"
            f" {there.get(other[0])!r}, now {asked[other[0]]!r}."
            " Choose another workdir."
        )
    ledgers = {
        tap: _unflat({n: arrays[f"{i}.{n}"] for n in NAMES})
        for i, tap in enumerate(asked["taps"])
    }
    made_on = tuple(about.get("environments", [UNKNOWN]))
    return _Progress(about["done"], ledgers, tuple(about["broken"]), made_on)


NESTED = {"top": Ranked, "bottom": Ranked, "sample": Sample}
NAMES = [name for name in Ledger._fields if name not in NESTED]
NAMES += [f"{name}.{part}" for name, kind in NESTED.items() for part in kind._fields]


def _flat(ledger: Ledger) -> dict[str, np.ndarray]:
    found = {n: getattr(ledger, n) for n in Ledger._fields if n not in NESTED}
    for name in NESTED:
        parts = getattr(ledger, name)._asdict()
        found |= {f"{name}.{part}": array for part, array in parts.items()}
    return found


def _unflat(arrays: Mapping[str, np.ndarray]) -> Ledger:
    nested = {
        name: kind(*(arrays[f"{name}.{part}"] for part in kind._fields))
        for name, kind in NESTED.items()
    }
    plain = {n: arrays[n] for n in Ledger._fields if n not in NESTED}
    return Ledger(**plain, **nested)
