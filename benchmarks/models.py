"""Fills in docs/models.md: every weight set of the zoo, its proof and its pictures.

    python -m benchmarks.models [--publish]

It is written to results/runs/models.md, and with --publish to its place.

Reads the records, measures every port against `tests/golden/` (about 5 minutes on 2 CPU
cores; no download, no PyTorch), and shows the rows that `experiments.portraits` made.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from dreamjax.files import write_text
from dreamjax.models.model import Record, tap_shapes
from dreamjax.models.port import Port, outline
from dreamjax.models.zoo import ARCHITECTURES, PORTS, architecture
from tests.parity import PROOFS, parity_errors

REPO = Path(__file__).resolve().parent.parent
PAGE = REPO / "docs" / "models.md"
PRIVATE = REPO / "results" / "runs" / "models.md"
PICTURES = REPO / "docs" / "img" / "models"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def input_text(record: Record) -> str:
    """Says what the network wants to see."""
    channels = zip(record.mean, record.std, strict=True)
    low = [(0 - m) / s for m, s in channels]
    channels = zip(record.mean, record.std, strict=True)
    high = [(record.scale - m) / s for m, s in channels]
    return (
        f"{record.channel_order} {min(low):.3g} … {max(high):.3g}, {record.size} px"
        f" (≥ {record.min_size})"
    )


def network_row(name: str) -> list[str]:
    """One line of the table of architectures: `name` is its first weight set."""
    port, record = PORTS[name], PORTS[name].record
    taps = tap_shapes(outline(port), (record.size, record.size))
    return [
        f"`{architecture(name)}`",
        record.paper,
        f"{record.parameters / 1e6:.2f} M",
        str(len(taps)),
        input_text(record),
        ", ".join(f"`{n}`" for n in PORTS if architecture(n) == architecture(name)),
    ]


def weights_row(name: str, port: Port) -> list[str]:
    """One line of the table of weight sets."""
    record, source = port.record, port.source
    errors = dict(parity_errors(PROOFS[name]))
    gradient = errors.pop("gradient")
    where = f"[{source.file}]({source.address})" if source.address else source.file
    return [
        f"`{name}`",
        f"{record.top1:.1f}" if record.top1 else "",
        f"{max(errors.values()):.0e}",
        f"{gradient:.0e}",
        f"{record.source}: {where}",
        source.digest.partition(":")[0] + " " * bool(source.digest) + _short(source),
        record.license,
    ]


def _short(source) -> str:
    digest = source.digest.partition(":")[2]
    return digest if len(digest) <= 12 else f"{digest[:8]}…"


def picture_rows() -> str:
    """Every row of pictures that is there, with what it shows."""
    parts = []
    for path in sorted(PICTURES.glob("*.jpg")):
        shown = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        parts += [
            f"**`{path.stem}`**: {', '.join(f'`{text}`' for text in shown)}",
            f"![{path.stem}](img/models/{path.name})",
        ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Fills in the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--publish", action="store_true")
    target = PAGE if parser.parse_args().publish else PRIVATE
    networks = table(
        ("architecture", "paper", "parameters", "taps", "input", "weight sets"),
        (network_row(name) for name in sorted(ARCHITECTURES.values(), key=_order)),
    )
    weights = table(
        (
            "weight set",
            "top-1 %, as published",
            "parity: taps",
            "gradient",
            "source",
            "published digest",
            "license",
        ),
        (weights_row(name, port) for name, port in PORTS.items()),
    )
    pictures = picture_rows()
    text = PAGE.read_text(encoding="utf-8")
    for name, part in (
        ("networks", networks),
        ("weights", weights),
        ("pictures", pictures),
    ):
        text = filled(text, name, part)
    write_text(target, text)
    print(f"{target.relative_to(REPO)}: {len(PORTS)} weight sets")


def filled(text: str, name: str, part: str) -> str:
    """Returns `text` with `part` between the marks `name` and `end`."""
    before, mark, rest = text.partition(f"<!-- {name} -->")
    assert mark, name
    return f"{before}{mark}\n{part}<!-- end -->{rest.partition('<!-- end -->')[2]}"


def _order(name: str) -> tuple[int, str]:
    return PORTS[name].record.year, name


if __name__ == "__main__":
    main()
