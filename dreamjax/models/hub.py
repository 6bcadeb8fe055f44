"""Networks by the names of a hub: `hf:timm/resnet50.a1_in1k`, `timm:resnet50.a1_in1k`.

    load_hub("hf:timm/resnet18.a1_in1k@main") -> Model

`huggingface_hub` fetches two kinds of files, and keeps them: config.json, which names
the architecture, what input it wants and its classes, and the weights. Both are data.
The architecture has to be one of the zoo (`dreamjax.models.hub_names`), whose own code
computes it; nothing of a repository is run. A revision is resolved to a commit once,
all files are of that commit, and the record's name ends in it.
"""

import dataclasses
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dreamjax.errors import printable, require
from dreamjax.json_file import (
    anything,
    listed,
    mapped,
    number,
    optional,
    read_json,
    record,
    text,
    whole,
)
from dreamjax.models.checkpoint_file import (
    INDEX,
    KNOWN,
    Contents,
    open_weights,
    shards_of,
)
from dreamjax.models.download import LIMIT, PASSING
from dreamjax.models.hub_names import PLACES, zoo_names
from dreamjax.models.model import Model, Record
from dreamjax.models.own import find_fit, load_fit
from dreamjax.models.port import Port
from dreamjax.models.zoo import PORTS

INSTALL = "pip install -r requirements-hub.txt"
CONFIG = "config.json"
CONFIG_BYTES = 4_000_000  # 22,000 classes by name have 1
SECONDS = 5.0  # to wait for the hub's answer about a file
CLIENTS = ("httpx", "httpx2")  # HTTP clients of the library, by its version
WORD = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"
NAME = re.compile(
    rf"hf:(?P<repo>{WORD}/{WORD})(?:@(?P<revision>\w[\w./-]*))?", re.ASCII
)
COMMIT = re.compile("[0-9a-f]{40}")
SHA256 = re.compile("[0-9a-f]{64}")
ALLOWED = "hf:OWNER/NAME or timm:NAME, perhaps with @REVISION"


class Repository(NamedTuple):
    """Which repository of the hub, and what of it.

    Attributes:
      repo: "owner/name".
      revision: a branch, a tag or a commit; "" is the newest.
    """

    repo: str
    revision: str = ""

    @property
    def name(self) -> str:
        """What a config calls it."""
        return f"hf:{self.repo}" + (f"@{self.revision}" if self.revision else "")


class Described(NamedTuple):
    """What a repository's config.json says.

    Attributes:
      architecture: as it calls it.
      port: of the zoo, with the input that the config says.
      labels: names of the classes; () where it has none.
    """

    architecture: str
    port: Port
    labels: tuple[str, ...]


def is_hub_name(name: str) -> bool:
    """Tells a repository's name from that of a network of the zoo or a function."""
    return name.startswith(("hf:", "timm:"))


def parse_name(name: str) -> Repository:
    """Returns the repository that is meant.

    Raises:
      ValueError: it is no name that a repository can have.
    """
    full = f"hf:timm/{name[5:]}" if name.startswith("timm:") else name
    found = NAME.fullmatch(full)
    require(
        found is not None and ".." not in full and len(full) <= 200,
        "model",
        printable(name[:200]),
        ALLOWED,
    )
    assert found is not None
    return Repository(found["repo"], found["revision"] or "")


def pinned(name: str, network: str) -> str:
    """Returns the name, with its commit, that the network of a recipe had.

    Args:
      name: of the recipe's config.
      network: of the recipe's record.

    Raises:
      ValueError: the two are not of one repository, or there is no commit.
    """
    wanted = parse_name(name)
    found = parse_name(network) if is_hub_name(network) else Repository("")
    if found.repo != wanted.repo or not COMMIT.fullmatch(found.revision):
        raise ValueError(
            f"the recipe says model={name!r}, and that it was {network!r}, which is no"
            " commit of it."
        )
    return found.name


def content_of(told: Record) -> Record:
    """Returns a record without the commit, which may change where no weight does."""
    if not told.name.startswith("hf:"):
        return told
    name = Repository(parse_name(told.name).repo).name
    return dataclasses.replace(told, name=name, source="")


def load_hub(name: str, labels: str = "") -> Model:
    """Returns a network of the zoo with the weights of a repository of the hub.

    Args:
      name: "hf:OWNER/NAME" or "timm:NAME", perhaps with "@REVISION".
      labels: a file with the names of its classes, in place of the repository's.

    Raises:
      ValueError: huggingface_hub is not installed; no such name, repository, revision
        or file, none that may be read, no connection; an architecture that the zoo
        does not have, or weights that do not fit it.
    """
    wanted = parse_name(name)
    config = fetch(wanted, CONFIG)
    if config is None:
        raise ValueError(
            f"model={wanted.name!r} has no {CONFIG}, which would say its architecture."
            " Of weights alone give both: --config.model=ARCHITECTURE"
            " --config.weights=FILE."
        )
    commit = config.parent.name  # of the cache: …/snapshots/COMMIT/config.json
    if not COMMIT.fullmatch(commit):
        raise ValueError(f"model={wanted.name!r}: its commit is not told ({commit!r}).")
    exact = Repository(wanted.repo, commit)
    described = describe(exact, read_json(config, CONFIG, most=CONFIG_BYTES))
    contents = weights_of(exact)
    places = PLACES.get(described.port.record.name)
    if places is not None:
        contents = _renamed(contents, places(contents.shapes))
    fit = find_fit(described.architecture, (described.port,), contents)
    return load_fit(exact.name, fit, contents, labels or described.labels)


def describe(repository: Repository, config: Any) -> Described:
    """Returns what a config.json says, as the zoo can use it.

    Args:
      repository: for errors, and the record's name.
      config: its content.

    Raises:
      ValueError: it is damaged, or of a network that the zoo does not have.
    """
    said = f"model={repository.name!r}"
    try:
        SCHEMA(config)
    except ValueError as error:
        raise ValueError(f"{said}: its {CONFIG} is damaged ({error}).") from None
    given = {**config, **(config.get("pretrained_cfg") or {})}
    architecture = config.get("architecture") or given.get("architecture")
    known = zoo_names()
    if not architecture:
        kinds = config.get("architectures") or [config.get("model_type") or "none"]
        raise ValueError(
            f"{said}: its architecture is {', '.join(map(str, kinds))} (transformers),"
            f" whose weights are not read; timm's are, of {', '.join(known)}."
        )
    architecture = str(architecture).partition(".")[0]
    if architecture not in known:
        raise ValueError(
            f"{said}: its architecture {architecture!r} is not here; what is:"
            f" {', '.join(known)}."
        )
    _check_usual(said, architecture, given)
    port = PORTS[known[architecture]]
    names = config.get("label_names") or _ordered(said, config.get("id2label") or {})
    told = _with_input(said, port.record, given)
    return Described(architecture, port._replace(record=told), tuple(names))


def _check_usual(said: str, architecture: str, given: Mapping[str, Any]) -> None:
    """Raises ValueError for a variant whose tensors have the usual names and shapes."""
    changed = given.get("model_args") or {}
    if changed.keys() - {"num_classes", "img_size"}:
        raise ValueError(
            f"{said}: it is {architecture} with model_args="
            f"{printable(changed)[:100]}; only the usual one is here."
        )
    pool, usual = given.get("global_pool"), ("", "avg", "token", "fast")
    if pool is not None and architecture.startswith(("vit", "deit")):
        usual = ("", "token")
    if pool is not None and pool not in usual:
        raise ValueError(
            f"{said}: it is {architecture} with global_pool={printable(pool)!r}; only"
            " the usual one is here."
        )


def _ordered(said: str, names: Mapping[str, str]) -> list[str]:
    """Returns the names of id2label in the order of their numbers."""
    numbers = [str(i) for i in range(len(names))]
    if set(names) != set(numbers):
        raise ValueError(f"{said}: the keys of its id2label are not 0, 1, 2, …")
    return [names[number] for number in numbers]


def _with_input(said: str, told: Record, given: Mapping[str, Any]) -> Record:
    """Returns the record with the mean, the deviation and the size of a config."""
    shape = given.get("input_size") or [told.channels, told.size, told.size]
    if shape[0] != told.channels or shape[1] != shape[2] or shape[1] < told.min_size:
        raise ValueError(
            f"{said}: its input is {shape}; {told.channels} channels of a square, at"
            f" least {told.min_size} px a side, are needed."
        )
    changed: dict[str, Any] = {"size": shape[1]}
    if given.get("mean") or given.get("std"):
        if not (given.get("mean") and given.get("std")):
            raise ValueError(f"{said}: its {CONFIG} has one of mean and std.")
        changed |= {"scale": 1.0, "mean": tuple(map(float, given["mean"]))}
        changed |= {"std": tuple(map(float, given["std"]))}
        if min(changed["std"]) <= 0:
            raise ValueError(f"{said}: its std={given['std']} is not above 0.")
    return dataclasses.replace(told, **changed)


def weights_of(repository: Repository) -> Contents:
    """Returns the weights of a commit, fetched if need be.

    Raises:
      ValueError: it has none, or they cannot be had or read.
    """
    for name in KNOWN:
        path = fetch(repository, name)
        if path is None:
            continue
        if name.endswith(INDEX):
            for shard in shards_of(path):
                if fetch(repository, shard) is None:
                    raise ValueError(
                        f"model={repository.name!r} has no {shard!r}, which its {name}"
                        " names."
                    )
        contents = open_weights(path)
        if not name.endswith(INDEX):
            _check_blob(repository, path, contents.sha256)
        return contents._replace(
            name=f"{repository.repo}/{name}",
            source=f"hub, {repository.repo} at {repository.revision}: {name}",
        )
    raise ValueError(f"model={repository.name!r} has none of {', '.join(KNOWN)}.")


def _check_blob(repository: Repository, path: Path, sha256: str) -> None:
    """Raises ValueError for a file that is not what the hub called it by its digest."""
    blob = path.resolve()
    if SHA256.fullmatch(blob.name) and blob.name != sha256:
        raise ValueError(
            f"model={repository.name!r}: {str(blob)!r} is cut short or altered: sha256"
            f" {sha256}. Delete it, to have it downloaded again."
        )


def _renamed(contents: Contents, places: Mapping[str, str]) -> Contents:
    """Returns tensors by other names; a 1×1 or a fixed convolution as a matrix."""
    back = {places.get(name, name): name for name in contents.shapes}

    def flat(name: str) -> bool:
        return name.startswith("classifier.") and len(contents.shapes[back[name]]) == 4

    shapes = {}
    for name, old in back.items():
        first, *rest = contents.shapes[old] or (1,)
        size = 1
        for side in rest:
            size *= side
        shapes[name] = (first, size) if flat(name) else contents.shapes[old]

    def read(names: Any) -> dict[str, Any]:
        names = list(names)
        found = contents.read(back[name] for name in names)
        return {name: found[back[name]].reshape(shapes[name]) for name in names}

    return contents._replace(shapes=shapes, read=read)


def fetch(repository: Repository, file: str) -> Path | None:
    """Returns a file of a repository, from the hub's cache or the hub.

    Args:
      repository: of a commit nothing is asked where the cache has the file.
      file: a plain name.

    Returns:
      Its path, or None where the repository has no such file.

    Raises:
      ValueError: it cannot be had, with the reason.
    """
    library, errors = _library()
    known = {"filename": file, "revision": repository.revision or None}
    if COMMIT.fullmatch(repository.revision):
        cached = library.try_to_load_from_cache(repository.repo, **known)
        if cached is not None:
            return Path(cached) if isinstance(cached, str) else None
    unreached = _ask(repository, file, library, errors)
    try:
        local = unreached is not None
        path = library.hf_hub_download(
            repository.repo, **known, local_files_only=local, etag_timeout=SECONDS
        )
    except errors.LocalEntryNotFoundError as error:
        raise ValueError(_unreached(repository, file, unreached, library)) from error
    except errors.EntryNotFoundError:
        return None
    except Exception as error:  # see `_ask`
        raise ValueError(_why(repository, file, error, errors)) from error
    return Path(path)


def _ask(
    repository: Repository, file: str, library: Any, errors: Any
) -> Exception | None:
    """Asks the hub once whether a file can be had: the library would try for long.

    Returns:
      None where the hub knows, else the error that kept it from answering.

    Raises:
      ValueError: the hub refuses, or the file is too large.
    """
    revision = repository.revision or None
    address = library.hf_hub_url(repository.repo, file, revision=revision)
    try:
        told = library.get_hf_file_metadata(address, timeout=SECONDS)
    except errors.LocalEntryNotFoundError as error:
        return error
    except errors.EntryNotFoundError:
        return None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ValueError(_why(repository, file, error, errors)) from error
    # The library's HTTP client, whose errors come through, is another one by version.
    except Exception as error:
        status = _status(error)
        if status is not None and status < 500 and status not in PASSING:
            raise ValueError(_why(repository, file, error, errors)) from error
        return error
    most = CONFIG_BYTES if file == CONFIG else LIMIT
    if told.size is not None and told.size > most:
        raise ValueError(
            f"model={repository.name!r}: {file} has {told.size:,} bytes; at most"
            f" {most:,} are fetched."
        )
    return None


def _library() -> tuple[Any, Any]:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ValueError(
            f"names with hf: and timm: need huggingface_hub: {INSTALL}"
        ) from error
    for client in CLIENTS:  # which tell each request
        logging.getLogger(client).setLevel(logging.WARNING)
    return huggingface_hub, errors


def _status(error: Exception | None) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _unreached(
    repository: Repository, file: str, error: Exception | None, library: Any
) -> str:
    constants = library.constants
    why = f"{constants.ENDPOINT} cannot be reached"
    if constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE is set"
    elif _status(error) is not None:
        why = f"{constants.ENDPOINT} answers {_status(error)}"
    return (
        f"model={repository.name!r}: {why}, and the cache,"
        f" {str(constants.HF_HUB_CACHE)!r}, has no {file} of it."
    )


def _why(repository: Repository, file: str, error: Exception, errors: Any) -> str:
    """Returns one line for an error of the library."""
    said = f"model={repository.name!r}"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{said} is gated: accept its terms on the hub, then log in (`hf auth"
            " login`, or the variable HF_TOKEN)."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{said}: there is no revision {repository.revision!r}."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{said}: there is no such repository; or it is private, then log in (`hf"
            " auth login`, or the variable HF_TOKEN)."
        )
    status = _status(error)
    if status is not None:
        return f"{said}: the hub answers {status} for {file}."
    text = printable(" ".join(str(error).split()))[:200] or type(error).__name__
    return f"{said}: {file} cannot be had: {text}."


_NAMES = listed(text(300), most=100_000)
_INPUT = {
    "architecture": optional(text(100)),
    "mean": optional(listed(number, least=3, most=3)),
    "std": optional(listed(number, least=3, most=3)),
    "input_size": optional(listed(whole(1, 4096), least=3, most=3)),
    "global_pool": optional(text(20)),
    "model_args": optional(mapped(anything, most=100)),
}
SCHEMA = record(
    {},
    {
        **_INPUT,
        "architectures": optional(listed(text(100), most=10)),
        "model_type": optional(text(100)),
        "label_names": optional(_NAMES),
        "id2label": optional(mapped(text(300))),
        "pretrained_cfg": optional(record({}, _INPUT)),
    },
)
"""What config.json may say of what is read of it."""
