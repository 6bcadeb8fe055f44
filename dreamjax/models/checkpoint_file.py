"""Files of one's own weights: what is in them, by their content and not by their name.

    open_weights("my.pth") -> Contents(shapes, read, sha256, …)

Any format of `dreamjax.models.formats`, and the index of a checkpoint in several files
(`*.safetensors.index.json`, `pytorch_model.bin.index.json`), whose files lie beside it.
"""

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamjax.json_file import read_json
from dreamjax.models.formats import FORMATS
from dreamjax.models.formats.refuse import first_bytes
from dreamjax.models.formats.torch_file import open_torch_file
from dreamjax.models.source import digest_of
from dreamjax.paths import given_path

INDEX = ".index.json"
KNOWN = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What a folder of a checkpoint may hold, in this order."""
SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
SHARDS = 1000


class Contents(NamedTuple):
    """A file's tensors, read when they are asked for.

    Attributes:
      name: of the file, as it was given.
      shapes: of all its tensors, by name.
      read: names -> arrays.
      sha256: of the file; of a sharded one, of the digests of its files.
      foreign: names in a pickle that were not loaded.
      source: where it comes from, for the record; "" is a file of one's own.
    """

    name: str
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[Iterable[str]], dict[str, np.ndarray]]
    sha256: str
    foreign: tuple[str, ...] = ()
    source: str = ""


def open_weights(given: str | Path) -> Contents:
    """Returns what a file holds; a folder stands for the checkpoint in it.

    Raises:
      ValueError: there is no such file, it is no regular file, or no weights.
    """
    path = find_file(given)
    if path.name.endswith(INDEX):
        return _sharded(path, str(given))
    return _single(path, str(given))


def find_file(given: str | Path) -> Path:
    """Returns the regular file that is meant.

    Raises:
      ValueError: there is none.
    """
    path = given_path("weights", given)
    try:
        if path.is_dir():
            found = [path / name for name in KNOWN if (path / name).is_file()]
            if not found:
                raise ValueError(
                    f"weights={str(given)!r} is a folder without {', '.join(KNOWN)}."
                )
            return found[0]
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "does not exist"
            raise ValueError(f"weights={str(given)!r} {what}.")
    except OSError as error:
        raise ValueError(
            f"weights={str(given)!r} cannot be read: {error.strerror or error}."
        ) from error
    return path


def digest(given: str | Path) -> str:
    """Returns the sha256 that `open_weights` gives, reading no tensor."""
    path = find_file(given)
    if not path.name.endswith(INDEX):
        return digest_of(path)
    shards = dict.fromkeys(_weight_map(path).values())
    return _combined([path, *(path.parent / name for name in shards)])


def kind_of(path: Path) -> str:
    """Returns the format of a file, a key of `FORMATS`, by its first bytes.

    Raises:
      ValueError: it is of none.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"\x89HDF"):
        return "hdf5"
    if head.startswith(b"PK"):
        return _kind_of_zip(path)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length < path.stat().st_size:
        return "safetensors"
    if head.startswith(b"\x80"):
        return "torch"
    if path.suffix == ".pb":
        return "graphdef"
    if path.suffix == ".caffemodel" or (head[:1] in (b"\x0a", b"\x12", b"\xa2")):
        return "caffe"
    kinds = "PyTorch, safetensors, Keras HDF5, .npz, Caffe, GraphDef"
    raise ValueError(
        f"weights={str(path)!r} are of no known format ({kinds}): {first_bytes(head)}"
    )


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        raise ValueError(
            f"weights={str(path)!r} is a damaged zip archive ({error})."
        ) from error
    if "model.weights.h5" in names:
        raise ValueError(
            f"weights={str(path)!r} is a whole Keras 3 model (.keras), whose layers"
            " have no names of their own: save its weights in the older format, as"
            " tf_keras' model.save_weights('mine.h5') does."
        )
    return "npz" if names and all(n.endswith(".npy") for n in names) else "torch"


def _single(path: Path, name: str) -> Contents:
    kind = kind_of(path)
    sha256 = digest_of(path)
    if kind == "torch":
        file = open_torch_file(path)
        return Contents(name, file.shapes, file.read, sha256, file.foreign)
    arrays = FORMATS[kind](path)
    shapes = {tensor: array.shape for tensor, array in arrays.items()}
    return Contents(name, shapes, lambda names: {n: arrays[n] for n in names}, sha256)


def _sharded(path: Path, name: str) -> Contents:
    """Opens the files that an index names, all in its own folder."""
    where = _weight_map(path)
    files = {}
    for shard in dict.fromkeys(where.values()):
        files[shard] = _single(find_file(path.parent / shard), shard)
    shapes: dict[str, tuple[int, ...]] = {}
    for tensor, shard in where.items():
        if tensor not in files[shard].shapes:
            raise ValueError(
                f"weights={name!r}: {shard!r} has no tensor {tensor!r}, which the index"
                " says is in it."
            )
        shapes[tensor] = files[shard].shapes[tensor]

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted: dict[str, list[str]] = {}
        for tensor in names:
            wanted.setdefault(where[tensor], []).append(tensor)
        found: dict[str, np.ndarray] = {}
        for shard, tensors in wanted.items():
            found |= files[shard].read(tensors)
        return found

    paths = [path, *(path.parent / shard for shard in files)]
    foreign = tuple(dict.fromkeys(n for file in files.values() for n in file.foreign))
    return Contents(name, shapes, read, _combined(paths), foreign)


def shards_of(path: Path) -> list[str]:
    """Returns the plain names of the files that an index names.

    Raises:
      ValueError: it is no index, or names something outside its folder.
    """
    return list(dict.fromkeys(_weight_map(path).values()))


def _weight_map(path: Path) -> Mapping[str, str]:
    """Returns tensor -> file name of an index.

    Raises:
      ValueError: it is no index, or names something outside its folder.
    """
    said = f"weights={str(path)!r}"
    content: Any = read_json(path, "index of weights")
    where = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(where, dict) or not where:
        raise ValueError(f"{said} has no 'weight_map' of tensors to files.")
    shards = list(where.values())
    for shard in shards:
        if not isinstance(shard, str) or not SHARD.fullmatch(shard):
            raise ValueError(
                f"{said} names {str(shard)[:100]!r}: its files lie beside it, under"
                " plain names."
            )
    if len(set(shards)) > SHARDS:
        raise ValueError(f"{said} names more than {SHARDS} files.")
    return where


def _combined(paths: Iterable[Path]) -> str:
    """Returns one digest of several files: of their names and digests."""
    lines = sorted(f"{digest_of(find_file(path))}  {path.name}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
