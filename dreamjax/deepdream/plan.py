"""Before anything compiles: how a dream is cut into tiles, and what memory it takes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from dreamjax.build import Experiment
from dreamjax.deepdream.engine import Plan, seen_size
from dreamjax.deepdream.octaves import octave_sizes, resizer
from dreamjax.deepdream.reach import Reach
from dreamjax.deepdream.tiles import Overlap, overlap_of, tile_shape
from dreamjax.deepdream.views import Flat, Panorama
from dreamjax.errors import require
from dreamjax.files import write_text
from dreamjax.footprint import free_memory
from dreamjax.json_file import read_json, record, whole
from dreamjax.models.model import Model, tap_shapes
from dreamjax.sweep import CPU_RUNS

Size = tuple[int, int]

TAPS = 1.5  # bytes that a tile's gradient takes, per byte of all taps up to the deepest
PICTURES = 12  # float32 pictures [H, W, 3] that are alive at once, per run
CPU_TILE = 2048 * 2048  # pixels
CPU_LANES = 512 * 512  # pixels of all tiles of a call, likewise
GPU_TILE = 2048 * 2048
MEMORY = "memory.json"  # of a dream's folder
KEPT = record({"bytes": whole(1, 2**50)})


class Memory(NamedTuple):
    """An estimate, in bytes.

    Attributes:
      tiles: of the network's program.
      pictures: of what is kept of whole pictures.
      allowed: what the dream may take.
    """

    tiles: int
    pictures: int
    allowed: int


def sizes_of(config: Mapping[str, Any], size: Size, align: int) -> list[Size]:
    """Returns the octaves' sizes of a picture (H, W), the smallest first."""
    return octave_sizes(
        size,
        config["octaves"],
        config["octave_scale"],
        circle=math.lcm(align, 2) if config["panorama"] else 0,
    )


def make_plan(
    config: Mapping[str, Any],
    experiment: Experiment,
    reaches: Mapping[str, Reach | None],
    pictures: Sequence[Size],
    runs: int,
) -> tuple[Plan, Memory]:
    """Returns the plan of a dream and what it will take.

    Args:
      config: of the dream.
      experiment: from `dreamjax.build.build`.
      reaches: of the taps that the objective reads.
      pictures: (H, W) of every picture to come.
      runs: of one call.

    Raises:
      ValueError: it does not fit the memory; a tile that cannot be.
    """
    overlap = overlap_of(list(reaches.values()), config["overlap"])
    views = Panorama(config["poles"]) if config["panorama"] else Flat()
    sizes = {s for p in pictures for s in sizes_of(config, p, overlap.align)}
    seen = [
        seen_size(experiment, view) for s in sorted(sizes) for view in views.sizes(s)
    ]
    circles = {w for _, w in sizes} if config["panorama"] else ()
    model = experiment.model
    allowed = allowed_bytes(config)
    whole = max(map(picture_bytes, sizes)) * runs
    per_pixel = bytes_per_pixel(model, list(reaches))
    on_cpu = jax.default_backend() == "cpu"
    most = min(
        CPU_TILE if on_cpu else GPU_TILE,
        int(max(0, allowed - whole) / per_pixel),
    )
    least = model.record.min_size
    if max(config["tile"]) > 0:
        tiles = (tuple(config["tile"]),)
    else:
        options = {"most": most, "circles": circles, "least": least}
        groups = grouped(seen, config["programs"])
        tiles = tuple(tile_shape(group, overlap, **options) for group in groups)
    for tile in tiles:
        require(
            min(tile) >= least
            and tile[0] % overlap.align == tile[1] % overlap.align == 0,
            "tile",
            tile,
            f"multiples of {overlap.align} px, at least {least} for"
            f" {model.record.name}",
        )
    tile = max(tiles, key=math.prod)
    lanes = config["tile_batch"]
    if lanes == 0:
        at_once = (CPU_LANES if on_cpu else most) // math.prod(tile)
        lanes = max(1, min(at_once, _tiles(seen, tile, overlap) * runs))
    memory = Memory(int(per_pixel * math.prod(tile) * lanes), whole, allowed)
    require(
        memory.tiles + memory.pictures <= allowed,
        "memory",
        f"{(memory.tiles + memory.pictures) / 1e9:.1f} GB needed,"
        f" {allowed / 1e9:.1f} allowed",
        "fewer runs at once (runs_per_call), a smaller tile or tile_batch, a smaller"
        " picture (longest), or more memory",
    )
    plan = Plan(
        tiles=tiles,
        overlap=overlap,
        lanes=lanes,
        resize=resizer(config["resize"], wraps=config["panorama"]),
        inject=config["inject"],
        views=views,
        border=config["border"],
    )
    return plan, memory


def planned_memory(folder: Path, config: Mapping[str, Any]) -> float:
    """Returns the memory, in GB, by which a folder's dream is cut into tiles, blocks.

    It is the config's, else half of what was free when the folder was begun: what is
    free at a later start changes neither blocks nor the order of sums.

    Args:
      folder: of one dream, film or clip.
      config: of the dream.

    Raises:
      ValueError: the file that keeps it is damaged.
    """
    path = folder / MEMORY
    if config["memory"] > 0 or not path.exists():
        return allowed_bytes(config) / 1e9
    remedy = (
        "Delete it: what was begun goes on in other tiles, and may round otherwise."
    )
    kept = read_json(path, "plan of memory", schema=KEPT, remedy=remedy)
    return kept["bytes"] / 1e9


def keep_memory_plan(folder: Path, memory: float) -> None:
    """Keeps what `planned_memory` gave when the folder was begun."""
    if not (folder / MEMORY).exists():
        write_text(folder / MEMORY, f'{{"bytes": {round(memory * 1e9)}}}\n')


def allowed_bytes(config: Mapping[str, Any]) -> int:
    """Returns what a dream may take: config["memory"], or half of what is free."""
    if config["memory"] > 0:
        return int(config["memory"] * 1e9)
    return free_memory() // 2


def runs_at_once(config: Mapping[str, Any], size: Size) -> int:
    """Returns how many runs of a picture (H, W) are dreamed side by side.

    Their whole pictures take a third of the memory at most.
    """
    if config["runs_per_call"]:
        return config["runs_per_call"]
    most = allowed_bytes(config) // 3 // picture_bytes(size)
    return max(1, min(CPU_RUNS, most))


def picture_bytes(size: Size) -> int:
    """Returns what the whole pictures (H, W) of one run take."""
    return PICTURES * 4 * 3 * math.prod(size)


def grouped(sizes: Sequence[Size], count: int) -> list[list[Size]]:
    """Returns sizes in at most `count` groups: the largest each alone, the rest one."""
    ordered = sorted(set(sizes), key=math.prod, reverse=True)
    alone, rest = ordered[: count - 1], ordered[count - 1 :]
    return [[size] for size in alone] + ([rest] if rest else [])


def bytes_per_pixel(model: Model, taps: Sequence[str]) -> float:
    """Returns what the gradient of a tile takes, per pixel of the tile.

    All activations up to the deepest tap that is read, once forward, and about half of
    them again backward.
    """
    side = -(-max(model.record.size, model.record.min_size) // 32) * 32
    shapes = tap_shapes(model, (side, side))
    total = 0
    left = set(taps)
    for name, shape in shapes.items():
        total += 4 * math.prod(shape)
        left.discard(name)
        if not left:
            break
    return TAPS * total / side**2


def _tiles(sizes: Sequence[Size], tile: Size, overlap: Overlap) -> int:
    """Returns about how many tiles the largest picture has."""

    def along(length: int, side: int) -> int:
        core = max(side - overlap.before - overlap.after, overlap.align)
        return 1 + max(0, -(-(length - side) // core))

    return max(along(h, tile[0]) * along(w, tile[1]) for h, w in sizes)


def told(plan: Plan, memory: Memory) -> str:
    """Returns one line about a plan."""
    overlap = plan.overlap.before + plan.overlap.after
    sizes = ", ".join(f"{h} × {w}" for h, w in plan.tiles)
    return (
        f"tiles of {sizes} px, overlap {overlap},"
        f" {plan.lanes} at a time; about"
        f" {(memory.tiles + memory.pictures) / 1e9:.1f} GB"
        f" ({memory.tiles / 1e9:.1f} for the network)"
    )
