"""Lists, fetches and verifies the files of the zoo's weights.

python -m experiments.weights list
python -m experiments.weights fetch NAME...
python -m experiments.weights verify [NAME...]
python -m experiments.weights path [NAME]

A network that is loaded fetches its own; this is for before, as for a machine that is
offline later. NAME is a network, a weight set or a file. What breaks off goes on when
the command is given again.
"""

from collections.abc import Sequence

from absl import flags

from dreamjax.cli import BAD_INPUT, STOPPED, launch
from dreamjax.errors import choose
from dreamjax.models import converted
from dreamjax.models.download import part_of, say, size_text
from dreamjax.models.port import Port
from dreamjax.models.source import find, locate, pins, weights_cache
from dreamjax.models.zoo import ARCHITECTURES, PORTS

ACCEPT = flags.DEFINE_bool(
    "accept", False, "fetch: take a file that is not what it was, and pin it anew."
)


def main(arguments: list[str]) -> int:
    """Runs one command; returns the exit status."""
    if not arguments:
        raise ValueError(f"give one of: {', '.join(COMMANDS)}.")
    command = COMMANDS[choose("command", arguments[0], COMMANDS)]
    return command([port_of(name) for name in arguments[1:]])


def port_of(name: str) -> Port:
    """Returns the port with this name, of this architecture, or with this file.

    Raises:
      ValueError: there is none, with a near name.
    """
    known = {short: PORTS[name] for short, name in ARCHITECTURES.items()} | PORTS
    known |= {port.source.file: port for port in PORTS.values()}
    return known[choose("name", name, known)]


def list_(ports: Sequence[Port]) -> int:
    """Prints a line for each weight set, or for those that are named."""
    rows = [("weights", "size", "where", "digest", "license")]
    for port in ports or PORTS.values():
        size, where = at_hand(port)
        rows.append(
            (port.record.name, size, where, digest_kind(port), port.record.license)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{text:{n}}" for text, n in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def at_hand(port: Port) -> tuple[str, str]:
    """Returns the size of a port's file and where it is, unchecked."""
    place = find(port.source)
    if place is not None:
        return size_text(place.path.stat().st_size), place.kind
    part = part_of(weights_cache() / (port.source.archive or port.source.file))
    if part.is_file():
        return f"{size_text(part.stat().st_size)} so far", "cache"
    return "", "not here"


def digest_kind(port: Port) -> str:
    """Returns by what a port's file is known: `sha256, 8 digits; pinned`."""
    source = port.source
    algorithm, _, digits = source.digest.partition(":")
    kind = algorithm or "none"
    if algorithm == "sha256" and len(digits) < 64:
        kind = f"sha256, {len(digits)} digits"
    if source.archive and source.digest:
        kind += " of the archive"
    return f"{kind}; pinned" if source.needs_pin and source.file in pins() else kind


def fetch(ports: Sequence[Port]) -> int:
    """Prints the path of each file, downloaded if need be; goes on after an error."""
    if not ports:
        raise ValueError("fetch what? The list command has the names.")
    status = 0
    try:
        for port in ports:
            try:
                print(locate(port.source, port.record.name, accept=ACCEPT.value).path)
            except ValueError as error:
                say(f"error: {error}")
                status = BAD_INPUT
    except KeyboardInterrupt:
        say("stopped; the same command goes on from here")
        return STOPPED
    return status


def verify(ports: Sequence[Port]) -> int:
    """Prints whether each file at hand is right; returns 1 if one is not."""
    wrong = 0
    for port in ports or PORTS.values():
        state, said = judged(port)
        print(f"{state:9} {port.record.name}  {said}".rstrip())
        wrong += state == "altered"
    names = {port.record.name for port in ports or PORTS.values()}
    for kept in converted.survey():
        if kept.name in names or not ports:
            print(
                f"{kept.state:9} {kept.path}  {CONVERTED_STATES[kept.state]}".rstrip()
            )
            wrong += kept.state == "damaged"
    return 1 if wrong else 0


def judged(port: Port) -> tuple[str, str]:
    """Returns "ok", "pinned", "unknown", "altered" or "not here", and a text."""
    source = port.source
    place = find(source)
    if place is None:
        return "not here", ""
    try:
        found = locate(source, port.record.name, fetch=False)
    except ValueError as error:
        return "altered", str(error)
    if source.own_digest:
        return "ok", str(found.path)
    if source.file in pins():
        return "pinned", f"{found.path}"
    return "unknown", f"{found.path}: nothing is published of it, nor is it pinned"


def path(ports: Sequence[Port]) -> int:
    """Prints the cache's folder, or where the file of each name is."""
    if not ports:
        print(weights_cache())
    for port in ports:
        place = find(port.source)
        if place is None:
            raise ValueError(
                f"{port.record.name} is not here: python -m experiments.weights fetch"
                f" {port.record.name}"
            )
        print(place.path)
    return 0


COMMANDS = {"list": list_, "fetch": fetch, "verify": verify, "path": path}
CONVERTED_STATES = {
    "ok": "",
    "old": "made by another version; delete it",
    "damaged": "will be made again; delete it",
}

if __name__ == "__main__":
    launch(main)
