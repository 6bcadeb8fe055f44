"""What a result is of: its config, its networks, its pictures, the user's own code.

A config names a network, a photo, a function. An `Identity` says which ones these were,
by digests: of the weights, of the files' content, of the functions' source. It is kept
in the folder of every command (`dreamjax.workdir.claim`) and checked before anything
in it is called finished or used again.
"""

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamjax import models
from dreamjax.code_digest import array_parts, digest_of, users_code
from dreamjax.gradients import GRADIENT_TRANSFORMS
from dreamjax.json_file import open_regular
from dreamjax.models.hub import content_of
from dreamjax.models.model import Model
from dreamjax.models.published import weights_digest
from dreamjax.models.source import locate
from dreamjax.models.zoo import PORTS, find_port
from dreamjax.objectives import OBJECTIVES
from dreamjax.optimizers import OPTIMIZERS
from dreamjax.params.spatial import SPATIAL
from dreamjax.projections import PROJECTIONS
from dreamjax.regularizers import REGULARIZERS
from dreamjax.transforms import TRANSFORMS

BY_NAME = (OBJECTIVES, TRANSFORMS, GRADIENT_TRANSFORMS, OPTIMIZERS, SPATIAL)
"""Registries whose entries a config calls by their names."""

KEY = "identity"  # of config.json, that no config has
SHORT = 12  # digits of a digest that are shown
UNRECORDED = "not recorded"


class Network(NamedTuple):
    """Which network it was.

    Attributes:
      name: of its record.
      weights: digest of the weights: of the published file, or of the arrays.
      record: digest of the record of a network of one's own: what input it wants, its
        labels; "" for one of the zoo.
    """

    name: str
    weights: str
    record: str = ""


class Identity(NamedTuple):
    """What a result is of.

    Attributes:
      config: what JSON can hold.
      networks: their part ("model", "transfer") -> which one it was.
      files: pictures, clips and files of colors, by the names that the config calls
        them by -> SHA-256 of the content.
      code: "module.function" of the user's own code -> its digest.
    """

    config: Mapping[str, Any]
    networks: Mapping[str, Network] = {}
    files: Mapping[str, str] = {}
    code: Mapping[str, str] = {}

    def digests(self) -> dict[str, Any]:
        """Returns all but the config, as JSON can hold it."""
        networks = {part: n._asdict() for part, n in self.networks.items()}
        files, code = dict(self.files), dict(self.code)
        return {"networks": networks, "files": files, "code": code}

    def as_json(self) -> dict[str, Any]:
        """Returns the config, with the digests under one more key, for JSON."""
        return {**self.config, KEY: self.digests()}


def from_json(read: Mapping[str, Any]) -> Identity | None:
    """Returns what `Identity.as_json` gave; None of a config without digests.

    Raises:
      ValueError: it is something else.
    """
    config = {name: value for name, value in read.items() if name != KEY}
    if KEY not in read:
        return None
    read = read[KEY]
    try:
        networks = {
            str(part): Network(*(str(told.get(name, "")) for name in Network._fields))
            for part, told in read["networks"].items()
        }
        texts = [
            {str(name): str(digest) for name, digest in read[part].items()}
            for part in ("files", "code")
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"identity={read!r:.80} is damaged ({error!r}).") from error
    return Identity(config, networks, *texts)


def identify(
    config: Mapping[str, Any],
    model: Model | None = None,
    *,
    second: Model | None = None,
    files: Mapping[str, Path | np.ndarray] | None = None,
    code: Iterable[Any] = (),
) -> Identity:
    """Returns what a config's result will be of.

    Args:
      config: plain values, with the keys "model" and perhaps "transfer".
      model: the network; None takes the config's: one of the zoo is not loaded for it,
        only its file is read.
      second: that which config["transfer"] names; None likewise.
      files: name -> file, or picture as an array.
      code: more functions that the result depends on.

    Raises:
      ValueError: a file that cannot be read, or a network that cannot be found.
    """
    keys = {key: str(config.get(key, "")) for key in ("weights", "labels")}
    model, networks = _network(str(config["model"]), model, **keys)
    found = {"model": networks}
    taking = [model]
    if config.get("transfer"):
        second, found["transfer"] = _network(str(config["transfer"]), second)
        taking.append(second)
    functions = [(m.taps, m.network) for m in taking if m is not None]
    used = users_code(*functions, *_registered(config), *code)
    digests = {name: content_digest(file) for name, file in (files or {}).items()}
    return Identity(config, found, digests, used)


def network_identity(model: Model) -> Network:
    """Returns which network a loaded model is."""
    record = content_of(dataclasses.replace(model.record, sha256=""))
    port = PORTS.get(record.name)
    of_zoo = port is not None and port.record == record
    told = "" if of_zoo else digest_of(dataclasses.asdict(record))
    return Network(record.name, weights_digest(model.variables), told)


def model_digest(model: Model) -> str:
    """Returns one digest of a network: its weights, its record and its own code.

    Of one of the zoo it is that of its weights file.
    """
    network, code = network_identity(model), users_code(model.taps, model.network)
    if not network.record and not code:
        return network.weights
    return digest_of((tuple(network), code))


def _network(
    name: str, model: Model | None, *, weights: str = "", labels: str = ""
) -> tuple[Model | None, Network]:
    if model is None and ":" not in name and not weights:
        port = find_port(name)
        file = locate(port.source, port.record.name)
        return None, Network(port.record.name, file.sha256)
    if model is None:
        model = models.load(name, weights=weights, labels=labels)
    return model, network_identity(model)


def content_digest(file: Path | np.ndarray) -> str:
    """Returns the SHA-256, in hex, of a file, a folder's files, or an array.

    Raises:
      ValueError: it cannot be read.
    """
    if isinstance(file, np.ndarray):
        parts = [p if isinstance(p, bytes) else p.encode() for p in array_parts(file)]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()
    try:
        if file.is_dir():
            return folder_digest(p for p in file.iterdir() if p.is_file())
        with open_regular(file) as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{str(file)!r} cannot be read: {why}.") from error


def folder_digest(files: Iterable[Path], folder: Path | None = None) -> str:
    """Returns one SHA-256 of files and their names in a folder, whatever their order.

    Args:
      files: all of them are read.
      folder: that the names begin at; None takes the last part of each path.
    """
    total = hashlib.sha256()
    for file in sorted(files):
        name = file.name if folder is None else file.relative_to(folder).as_posix()
        total.update(f"{name}\0{content_digest(file)}\n".encode())
    return total.hexdigest()


def _registered(config: Mapping[str, Any]) -> list[Any]:
    """Returns the entries of the registries that a config uses."""
    texts = [str(config.get(key, "")) for key in ("objective", "transforms")]
    texts += [str(config.get(key, "")) for key in ("gradient", "optimizer", "param")]
    words = {word for text in texts for word in re.findall(r"[A-Za-z_][\w-]*", text)}
    found = [r[word] for r in BY_NAME for word in sorted(words) if word in r]
    hparams = config.get("hparams", {})
    for name, penalty in REGULARIZERS.items():
        if any(value != 0 for value in hparams.get(name, (0,))):
            found.append(penalty)
    for projection in PROJECTIONS.values():
        for name, neutral in projection.neutral.items():
            if any(value != neutral for value in hparams.get(name, (neutral,))):
                found.append(projection)
                break
    return found


def changes(old: Identity, new: Identity) -> list[str]:
    """Returns a line for each digest that is another one: what, then and now.

    Files that only one of them has are left to the config.
    """
    lines = []
    for part in sorted(old.networks.keys() | new.networks.keys()):
        then, now = old.networks.get(part), new.networks.get(part)
        lines += _network_changes(part, then, now)
    for name in sorted(old.files.keys() & new.files.keys()):
        lines += _change(f"the content of {name!r}", old.files[name], new.files[name])
    for name in sorted(old.code.keys() | new.code.keys()):
        then, now = (one.code.get(name, "") for one in (old, new))
        lines += _change(f"the code of {name}", then, now)
    return lines


def _network_changes(part: str, then: Network | None, now: Network | None) -> list[str]:
    then, now = then or Network("", ""), now or Network("", "")
    if then.name != now.name:
        return [f"the network ({part}): {then.name!r} there, {now.name!r} now"]
    return [
        *_change(f"the weights of {now.name!r} ({part})", then.weights, now.weights),
        *_change(f"the record of {now.name!r} ({part})", then.record, now.record),
    ]


def _change(what: str, then: str, now: str) -> list[str]:
    if then == now:
        return []
    then, now = (digest[:SHORT] or "none" for digest in (then, now))
    return [f"{what}: {then} there, {now} now"]
