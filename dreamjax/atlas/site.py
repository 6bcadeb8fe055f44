"""The site of an atlas on disk: written piece by piece, valid after each.

    index.html                     the page; opens without a server
    atlas.json                     marks the folder as an atlas
    layers.csv channels.csv        all numbers, of all networks
    plots/METRIC.svg               depth against a metric, a line for each network
    NETWORK/network.json           what the network is
    NETWORK/classes.js             class -> channels whose picture shows it
    NETWORK/LAYER.js               the records of a layer's channels
    NETWORK/LAYER.main.DIGEST.webp, .more, .preview        sprite sheets

Browsers refuse to read data files from the file system, but run scripts from there: so
records are scripts that hand a value to the page. A layer's script is written after its
sheets and the index after both; sheets that nothing names any more go last.
"""

import contextlib
import fcntl
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamjax.atlas import overview
from dreamjax.atlas.layer import Layer
from dreamjax.atlas.names import file_stem
from dreamjax.atlas.sprites import Style, write_preview, write_sheets
from dreamjax.files import open_lock, sweep, write_text
from dreamjax.json_file import (
    anything,
    listed,
    loads,
    read_bytes,
    read_json,
    record,
    text,
)
from dreamjax.paths import given_path
from dreamjax.report import embed

MARK = "atlas.json"
FORMAT = 1
NETWORK = "network.json"


def open_site(folder: str | Path) -> "Site":
    """Returns the site in a folder, which is made if missing.

    Raises:
      ValueError: the folder holds something else.
    """
    folder = given_path("site", folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"site={str(folder)!r} is a file, not a folder.")
    mark = folder / MARK
    if not mark.is_file():
        kept = [path.name for path in folder.iterdir()] if folder.exists() else []
        others = [name for name in kept if not name.startswith(".")]
        if others:
            raise ValueError(
                f"site={str(folder)!r} holds {', '.join(sorted(others)[:4])} and is no"
                " atlas. Give an empty or a new folder."
            )
        write_text(mark, json.dumps({"dreamjax_atlas": FORMAT}) + "\n")
    try:
        found = loads(read_bytes(mark))["dreamjax_atlas"]
    except (ValueError, KeyError, TypeError):
        found = None
    if found != FORMAT:
        raise ValueError(
            f"site={str(folder)!r} is an atlas of another version of dreamjax; give a"
            " new folder."
        )
    return Site(folder)


class Site:
    """A folder with an atlas; `open_site` makes one."""

    def __init__(self, folder: Path):
        """Takes a folder that is marked as an atlas."""
        self.folder = folder

    def add_network(self, record: Mapping[str, Any]) -> None:
        """Writes what is told of a network."""
        path = self._of(record["name"]) / NETWORK
        write_text(path, json.dumps(record, ensure_ascii=False) + "\n")

    def has(self, network: str, tap: str, digest: str) -> bool:
        """Whether the layer is in the site as `digest` describes it, files and all."""
        record = read_layer(self._of(network) / f"{file_stem(tap)}.js")
        return (
            record is not None
            and record["digest"] == digest
            and all((self._of(network) / name).is_file() for name in files_of(record))
        )

    def add_layer(self, network: str, layer: Layer, digest: str, style: Style) -> None:
        """Writes a layer: its sheets, then its records, then drops old sheets."""
        folder, stem = self._of(network), file_stem(layer.record["tap"])
        pictures = layer.pictures
        more = pictures[:, 1:].reshape(-1, *pictures.shape[2:])
        record = {
            **layer.record,
            "network": network,
            "digest": digest,
            "main": write_sheets(folder, f"{stem}.main", pictures[:, 0], style),
            "more": write_sheets(folder, f"{stem}.more", more, style),
            "preview": write_preview(folder, stem, pictures[:, 0], style),
        }
        with self._locked():
            write_script(folder / f"{stem}.js", f"{file_stem(network)}/{stem}", record)
            kept = set(files_of(record))
            ours = re.compile(
                rf"{re.escape(stem)}\.(main|more|preview)\.[0-9a-f]{{8}}"
                rf"\.{style.format}"
            )
            for old in folder.iterdir():
                if ours.fullmatch(old.name) and old.name not in kept:
                    old.unlink(missing_ok=True)

    def networks(self) -> list[dict[str, Any]]:
        """Returns all networks, each with its `layers`, records in order of depth."""
        found = []
        for path in sorted(self.folder.glob(f"*/{NETWORK}")):
            network = read_json(
                path,
                "network",
                schema=TOLD,
                remedy="Delete it: the atlas' command writes it again.",
            )
            scripts = [p for p in path.parent.glob("*.js") if p.name != "classes.js"]
            records = [read_layer(script) for script in scripts]
            order = {name: i for i, name in enumerate(network["taps"])}
            layers = [record for record in records if record is not None]
            layers.sort(key=lambda r: (order.get(r["tap"], len(order)), r["tap"]))
            found.append({**network, "folder": path.parent.name, "layers": layers})
        return found

    def write_index(self) -> Path:
        """Writes class lists and the page from what is in the folder."""
        with self._locked():
            networks = self.networks()
            self._write_classes(networks)
            return self._write_page(networks)

    def write_all(self) -> dict[str, Path]:
        """Writes class lists, tables, plots and the page; returns them by name."""
        with self._locked():
            networks = self.networks()
            self._write_classes(networks)
            layers, channels = self.folder / "layers.csv", self.folder / "channels.csv"
            write_text(layers, overview.layers_csv(networks))
            write_text(channels, overview.channels_csv(networks))
            plots = overview.plots(networks)
            for name, text in plots.items():
                write_text(self.folder / "plots" / f"{name}.svg", text)
            page = self._write_page(networks)
            for name in overview.TITLES:
                if name not in plots:
                    (self.folder / "plots" / f"{name}.svg").unlink(missing_ok=True)
        return {"page": page, "layers": layers, "channels": channels}

    def _write_classes(self, networks: Sequence[Mapping[str, Any]]) -> None:
        for network in networks:
            key = f"{network['folder']}/classes"
            path = self.folder / f"{key}.js"
            write_script(path, key, overview.class_lists(network))

    def _write_page(self, networks: Sequence[Mapping[str, Any]]) -> Path:
        have = {path.stem for path in (self.folder / "plots").glob("*.svg")}
        index = overview.index(networks, have)
        names = ", ".join(network["name"] for network in networks)
        parts = {
            "title": html.escape(f"Layer atlas · {names}" if names else "Layer atlas"),
            "style": embed.fill("atlas.css", {}),
            "script": embed.fill("atlas.js", {}),
            "data": embed.json_text(index),
            "fallback": overview.fallback(networks),
        }
        return write_text(self.folder / "index.html", embed.fill("atlas.html", parts))

    def _of(self, network: str) -> Path:
        return self.folder / file_stem(network)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Waits for another process that writes this site, as for another network."""
        with open_lock(self.folder / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            networks = (path.parent for path in self.folder.glob(f"*/{NETWORK}"))
            sweep(self.folder, self.folder / "plots", *networks)
            yield


def write_script(path: Path, key: str, value: Any) -> Path:
    """Writes a value as a script that hands it to the page."""
    return write_text(path, f"atlasData({json.dumps(key)},{embed.json_text(value)});\n")


def read_script(path: Path) -> dict[str, Any] | None:
    """Returns the value of a script of `write_script`; None if there is none."""
    try:
        said = read_bytes(path).decode()
        value = loads(said[said.index(",") + 1 : said.rindex(")")])
        return value if isinstance(value, dict) else None
    except (OSError, ValueError):
        return None


def read_layer(path: Path) -> dict[str, Any] | None:
    """Returns the record of a layer; None if there is none, or it is no layer's."""
    try:
        value = read_script(path)
        LAYER(value)
    except ValueError:
        return None
    return value


FILE = text(200, pattern=r"[^/\0]+")
SHEETS = record({"files": listed(FILE)})
LAYER = record(
    {
        "tap": text(300),
        "digest": text(64),
        "main": SHEETS,
        "more": SHEETS,
        "preview": record({"file": FILE}),
    }
)
TOLD = record(
    {"name": text(200), "taps": listed(text(300)), "labels": listed(anything)}
)


def files_of(record: Mapping[str, Any]) -> list[str]:
    """Returns the names of a layer's image files."""
    sheets = [*record["main"]["files"], *record["more"]["files"]]
    return [*sheets, record["preview"]["file"]]
