"""Makes tables.md of what the benchmarks have measured.

    python -m benchmarks.tables [--folder results/runs/performance] [--publish]

With --publish it is docs/performance/tables.md, of the files there. One section for
each JSON file that is there, and a table of what was aimed at, each line of which says
whether it was reached.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.timing import table
from dreamjax.files import write_text
from dreamjax.published import output_folder

Records = Mapping[str, Mapping[str, Any]]
"""Name of a benchmark -> what its JSON file holds."""

FOLDER, PUBLISHED = "results/runs/performance", "docs/performance"
OURS = "dreamjax"
WARM = "dreamjax, warm"
CROWD = 32  # runs


class Aim(NamedTuple):
    """Something to reach.

    Attributes:
      what: in words.
      found: records -> the number; None where it was not measured.
      bound: to reach.
      least: whether at least the bound is wanted, or at most.
    """

    what: str
    found: Callable[[Records], float | None]
    bound: float
    least: bool


def joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns one record of several calls of `benchmarks.workloads`."""
    commands = "`, `".join(dict.fromkeys(part["command"] for part in parts))
    workloads = [found for part in parts for found in part["workloads"]]
    return {**parts[0], "command": commands, "workloads": workloads}


def rows_of(records: Records, network: str, runs: int) -> dict[str, Mapping]:
    """Returns side -> row of a workload."""
    for found in records.get("workloads", {}).get("workloads", ()):
        if found["rows"] and network in found["rows"][0]["what"]:
            return {r["side"]: r for r in found["rows"] if r["images"] == runs}
    return {}


def ratio(network: str, runs: int, side: str) -> Callable[[Records], float | None]:
    """Returns records -> how many times as long a side takes as ours."""

    def found(records: Records) -> float | None:
        row = rows_of(records, network, runs).get(side)
        return None if row is None else row["median_ratio"]

    return found


def crowd(records: Records) -> float | None:
    """Returns an image-step's cost among 32 runs, against one run alone."""
    many, one = rows_of(records, "lite0", CROWD), rows_of(records, "lite0", 1)
    if OURS not in many or OURS not in one:
        return None
    return many[OURS]["median_ms"] / one[OURS]["median_ms"]


def side_ratio(name: str) -> Callable[[Records], float | None]:
    """Returns records -> PyTorch's ratio in "search" or "dream"."""

    def found(records: Records) -> float | None:
        rows = records.get(name, {}).get("rows", ())
        theirs = [row["median_ratio"] for row in rows if row["side"] == "torch"]
        return theirs[0] if theirs else None

    return found


def warm_picture(records: Records) -> float | None:
    """Returns the seconds to the first picture with a warm cache."""
    repeats = records.get("first_picture", {}).get("seconds", {}).get(WARM, ())
    times = [stages["picture"] for stages in repeats]
    return statistics.median(times) if times else None


def profiled(network: str, key: str) -> Callable[[Records], float | None]:
    """Returns records -> a number of a network's profile."""

    def found(records: Records) -> float | None:
        networks = records.get("profile", {}).get("networks", ())
        numbers = [n[key] for n in networks if n["network"] == network]
        return numbers[0] if numbers else None

    return found


NETWORKS = {"lite0": "W1", "googlenet": "W2", "vgg16": "W2", "resnet50": "W3"}
AIMS = [
    *(
        Aim(f"{w} {n}, R = {r}, against {side}", ratio(n, r, side), bound, True)
        for side, bound in (("lucent", 4.0), ("lucent, own size", 4.0), ("torch", 1.2))
        for n, w in NETWORKS.items()
        for r in (8, CROWD)
    ),
    Aim("W4 search, against PyTorch one by one", side_ratio("search"), 1.5, True),
    Aim("W5 first picture, warm, seconds", warm_picture, 6.0, False),
    Aim("W6 a megapixel's dream, against PyTorch", side_ratio("dream"), 1.2, True),
    Aim("image-step at R = 32 against R = 1, lite0", crowd, 0.8, False),
    *(
        Aim(f"share outside the network, {n}", profiled(n, "outside_network"), b, False)
        for n, b in dict.fromkeys(NETWORKS, 0.2).items()
    ),
    Aim("part of the largest matmul, vgg16", profiled("vgg16", "of_matmul"), 0.5, True),
]


def aims_table(records: Records) -> str:
    """Returns the table of what was aimed at; what was not measured is left out."""
    lines = []
    for aim in AIMS:
        found = aim.found(records)
        if found is None:
            continue
        reached = found >= aim.bound if aim.least else found <= aim.bound
        sign = "≥" if aim.least else "≤"
        said = "reached" if reached else "**missed**"
        lines.append([aim.what, f"{sign} {aim.bound:g}", f"{found:.2f}", said])
    return table(["", "aim", "found", ""], lines)


def workloads_table(record: Mapping[str, Any]) -> str:
    """Returns the table of W1 to W3: ours in ms, the others as ratios by round."""
    sides = [OURS, "torch", "torch.compile", "lucent", "lucent, own size"]
    present = {r["side"] for found in record["workloads"] for r in found["rows"]}
    sides = [side for side in sides if side in present]
    head = ["", "R", "runs of a call, devices", "ms per image-step"]
    head += [*(f"{s}, ×" for s in sides[1:]), "gradient, float64; float32"]
    lines = []
    for found in record["workloads"]:
        errors = {name: e["worst"] for name, e in found["gradient_errors"].items()}
        error = f"{errors['float64']:.0e}; {errors['torch']:.0e}"
        for runs in dict.fromkeys(row["images"] for row in found["rows"]):
            here = {r["side"]: r for r in found["rows"] if r["images"] == runs}
            own = here[OURS]
            call = f"{own.get('lanes', runs)}, {own['devices']}"
            line = [own["what"], str(runs), call]
            line.append(_spread(own, "median_ms", "min_ms", "max_ms"))
            line += [
                _spread(here[s], "median_ratio", "min_ratio", "max_ratio")
                if s in here
                else ""
                for s in sides[1:]
            ]
            lines.append([*line, error])
    return table(head, lines)


def _spread(row: Mapping[str, float], middle: str, low: str, high: str) -> str:
    return f"{row[middle]:.2f} ({row[low]:.2f} … {row[high]:.2f})"


def sides_table(record: Mapping[str, Any], unit: str, scale: float = 1.0) -> str:
    """Returns the table of the rows of "search" or "dream"."""
    lines = []
    for row in record["rows"]:
        scaled = {key: row[f"{key}_ms"] * scale for key in ("median", "min", "max")}
        lines.append(
            [
                row["side"],
                _spread(scaled, "median", "min", "max"),
                _spread(row, "median_ratio", "min_ratio", "max_ratio"),
            ]
        )
    return table(["", unit, "× dreamjax, by round"], lines)


def dream_section(record: Mapping[str, Any]) -> str:
    """Returns the dream's table and what its pictures reached."""
    work = record["megapixel_steps"]
    shown = sides_table(record, "s per megapixel and step", 1e-3 / work)
    gains = ", ".join(f"{name} {gain:.2f}" for name, gain in record["energy"].items())
    size = " × ".join(map(str, record["size"]))
    return (
        f"{record['network']}, {size} px; gradients differ by"
        f" {record['gradient_error']:.0e} (L2); energy of the dream / of the photo:"
        f" {gains}.\n\n{shown}"
    )


def first_picture_table(record: Mapping[str, Any]) -> str:
    """Returns the table of seconds to the first picture, and their stages."""
    lines = []
    for side, repeats in record["seconds"].items():
        times = [stages["picture"] for stages in repeats]
        middle = {s: statistics.median(r[s] for r in repeats) for s in repeats[0]}
        parts = [
            f"{s} {v:.2f}" for s, v in middle.items() if s not in ("picture", "exit")
        ]
        spread = f"{statistics.median(times):.2f} ({min(times):.2f} … {max(times):.2f})"
        lines.append([side, spread, f"{middle['exit']:.2f}", ", ".join(parts)])
    return table(["", "first picture, s", "exit, s", "stages"], lines)


def profile_section(record: Mapping[str, Any]) -> str:
    """Returns the table of phases, and the limits of the machine."""
    most, networks = record["limits"], record["networks"]
    names = dict.fromkeys(n for r in networks for n in r["phases_ms"] if n != "all")
    lines = [["ms per image-step", *(f"{r['ms'] / r['runs']:.2f}" for r in networks)]]
    for name in names:
        parts = [
            r["phases_ms"].get(name, 0.0) / r["phases_ms"]["all"] for r in networks
        ]
        lines.append([name, *(f"{part:.1%}" for part in parts)])
    for name, key, form in (
        ("outside the network", "outside_network", "{:.1%}"),
        ("GFLOP of a step's network, by plain sums", "gflop", "{:.1f}"),
        ("GFLOP/s of the network", "gflops", "{:.0f}"),
        ("of the largest matmul", "of_matmul", "{:.0%}"),
        ("GB/s of the step", "gbytes", "{:.1f}"),
        ("of the largest copy", "of_copy", "{:.0%}"),
    ):
        lines.append([name, *(form.format(r[key]) for r in networks)])
    shown = table(["", *(f"{r['network']}, R = {r['runs']}" for r in networks)], lines)
    return (
        f"Largest matmul {most['gflops']:.0f} GFLOP/s, largest copy"
        f" {most['gbytes']:.1f} GB/s.\n\n{shown}"
    )


def memory_table(record: Mapping[str, Any]) -> str:
    """Returns the table of memory against runs."""
    counts = list(record["networks"][0]["peaks"])
    head = ["", *(f"R = {n}, MB" for n in counts), "a run, MB"]
    head.append(f"R that {record['free'] / 1e9:.0f} GB hold")
    lines = [
        [
            found["network"],
            *(f"{found['peaks'][n] / 1e6:.0f}" for n in counts),
            f"{found['each'] / 1e6:.1f}",
            str(found["most"]),
        ]
        for found in record["networks"]
    ]
    return table(head, lines)


SECTIONS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "workloads": ("W1 to W3: whole dream steps", workloads_table),
    "search": (
        "W4: the regularizer search",
        lambda record: sides_table(record, "ms per image-step"),
    ),
    "first_picture": ("W5: the first picture", first_picture_table),
    "dream": ("W6: the dream of a photo", dream_section),
    "memory": ("W7: memory", memory_table),
    "profile": ("Where a step goes", profile_section),
}


def setting(record: Mapping[str, Any]) -> str:
    """Returns where a record was made, and how."""
    machine, env = record["machine"], record["env"]
    parts = [
        f"`{record['command']}`",
        f"{machine['processor']}, {machine['cores']} cores, {env['device']}",
        f"jax {env['versions']['jax']}",
        *(f"{n} {v}" for n, v in record.get("versions", {}).items()),
    ]
    return "; ".join(parts)


def write_tables(folder: Path) -> Path:
    """Writes tables.md beside the JSON files of a folder; returns its path."""
    records = {}
    for name in SECTIONS:
        paths = sorted(folder.glob(f"{name}*.json"))
        read = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if len(read) > 1:
            records[name] = joined(read)
        elif read:
            records[name] = read[0]
    parts = [
        "# Measured",
        "Made by `python -m benchmarks.tables` of the JSON files beside it, these by"
        " `python -m benchmarks.all`. Ratios are theirs / ours, above 1 dreamjax is"
        " faster: medians (least … largest) over rounds that took turns.",
        "## What was aimed at",
        aims_table(records),
    ]
    for name, record in records.items():
        title, section = SECTIONS[name]
        parts += [f"## {title}", setting(record), section(record)]
    path = folder / "tables.md"
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def main(arguments: Sequence[str]) -> int:
    """Writes the tables of a folder; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--publish", action="store_true")
    given = parser.parse_args(arguments)
    folder = output_folder("folder", given.folder, FOLDER, PUBLISHED, given.publish)
    if not folder.is_dir():
        parser.error(f"there is no {folder}; python -m benchmarks.all makes it")
    print(write_tables(folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
