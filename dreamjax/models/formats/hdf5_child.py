"""Copies the weights of a Keras file out of HDF5; `hdf5_file` runs it as a process.

    python hdf5_child.py FILE OUTPUT BYTES SECONDS

writes the datasets one behind the other to OUTPUT, and to stdout one line of JSON:
{"arrays": [[name, dtype, shape], ...]} or {"error": message}. It ends itself beyond the
given bytes of memory or seconds of computing.

It imports nothing of this package, so that it starts in a fifth of a second.
"""

import json
import math
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

MAX_DATASETS = 100_000
MAX_GROUPS = 100_000
MAX_DEPTH = 32
# Names in the attributes of Keras are bounded by HDF5's 64 KB per attribute.
MAX_NAMES_BYTES = 1 << 16
# What the process may take beyond the arrays: HDF5's caches, and one chunk.
SPARE_MEMORY = 1 << 28

_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_LZF)
_LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED)
# Where a model of Keras 3 and of Keras 2.12 has its layers.
_ROOTS = ("layers", "_layer_checkpoint_dependencies")


def copy(path: str, output: str, limit: int) -> list[tuple[str, str, list[int]]]:
    """Copies every weight, little-endian and C-ordered, from `path` to `output`.

    Args:
      path: an HDF5 file.
      output: a file to write.
      limit: how many bytes the arrays may take together.

    Returns:
      (name, dtype, shape) of each, in the order of the output.

    Raises:
      ValueError: it is no file of Keras weights, or has a dataset that is not read.
      KeyError, OSError, RuntimeError, TypeError: the library's, on a damaged file.
    """
    arrays = []
    with h5py.File(path, "r", locking=False) as file, open(output, "wb") as sink:
        for name, dataset in _weights(file):
            _check_dataset(name, dataset)
            # A chunk at the edge may be larger than the dataset.
            chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
            left = limit - math.prod(dataset.shape) * dataset.dtype.itemsize
            if left < 0 or chunk > limit:
                raise ValueError(
                    f"its datasets up to {_short(name)} claim more bytes than a file"
                    " of its size may."
                )
            limit = left
            if len(arrays) == MAX_DATASETS:
                raise ValueError(f"it has more than {MAX_DATASETS} datasets.")
            array = np.asarray(dataset[()], dataset.dtype.newbyteorder("<"), order="C")
            sink.write(array.tobytes())
            arrays.append((name, array.dtype.str, list(array.shape)))
    return arrays


def _weights(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """The weights of any layout that Keras wrote, as "<layer>/<i>"."""
    legacy = file
    if _has(file, "model_weights"):
        legacy = _group(file, "model_weights")
    if _attribute(legacy, "layer_names") or _attribute(legacy, "layer_names0"):
        return _legacy_weights(legacy)
    return _keras3_weights(file, (), [0])


def _legacy_weights(root: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    layers = _names(root, "layer_names")
    if _has(root, "top_level_model_weights"):
        layers.append("top_level_model_weights")
    for layer in layers:
        group = _group(root, *layer.split("/"))
        for i, name in enumerate(_names(group, "weight_names")):
            *folders, last = name.split("/")
            yield f"{layer}/{i}", _dataset(_group(group, *folders), last)


def _keras3_weights(
    group: h5py.Group, path: tuple[str, ...], groups: list[int]
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Walks the groups; each `vars` holds datasets "0", "1", … of the layer above it.

    Args:
      group: where to look.
      path: the names of the groups that lead there.
      groups: [how many groups were looked at], counted up.
    """
    groups[0] += 1
    if groups[0] > MAX_GROUPS or len(path) > MAX_DEPTH:
        raise ValueError(
            f"its groups are more than {MAX_GROUPS}, nested deeper than {MAX_DEPTH},"
            " or hold themselves."
        )
    for name in group:
        if not path and name == "optimizer":
            continue
        if not isinstance(name, str):  # h5py's answer to a name that is no UTF-8
            raise ValueError(f"it has a name that is no text: {name[:20]!r}.")
        _check_link(group, name)
        item = group[name]
        if not isinstance(item, h5py.Group):
            continue
        if name == "vars":
            layer = "/".join(path[1:] if path and path[0] in _ROOTS else path)
            for i in range(len(item)):
                yield f"{layer}/{i}" if layer else str(i), _dataset(item, str(i))
        else:
            yield from _keras3_weights(item, (*path, name), groups)


# One step at a time, over hard links only: the library would follow an external link
# to another file without a word, even where h5py only asks whether a name is there.


def _has(group: h5py.Group, name: str) -> bool:
    return bool(group.id.links.exists(name.encode()))


def _check_link(group: h5py.Group, name: str) -> None:
    if name in ("", ".") or not _has(group, name):
        raise ValueError(f"it has no group or dataset {_short(name)}.")
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"{_short(name)} is a soft or external link: not followed.")


def _group(group: h5py.Group, *names: str) -> h5py.Group:
    for name in names:
        _check_link(group, name)
        group = group[name]
        if not isinstance(group, h5py.Group):
            raise ValueError(f"{_short(name)} is no group.")
    return group


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    _check_link(group, name)
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{_short(name)} is no dataset.")
    return dataset


def _check_dataset(name: str, dataset: h5py.Dataset) -> None:
    """Refuses data outside the file, foreign filters, and types that are no number."""
    plan = dataset.id.get_create_plist()
    if plan.get_layout() not in _LAYOUTS or plan.get_external_count():
        raise ValueError(f"dataset {_short(name)} has its data in other files.")
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if not set(filters) <= set(_FILTERS):
        raise ValueError(
            f"dataset {_short(name)} has the filters {filters}. Allowed: gzip, shuffle"
            " and lzf."
        )
    if dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8:
        raise ValueError(
            f"dataset {_short(name)} has the type {_short(str(dataset.dtype))}, no"
            " number of at most 8 bytes."
        )
    if dataset.shape is None:
        raise ValueError(f"dataset {_short(name)} is empty.")


def _names(group: h5py.Group, name: str) -> list[str]:
    """A list of names in an attribute; Keras cuts a long one: `name0`, `name1`, …"""
    found = _attribute(group, name)
    if found is not None:
        return found
    names: list[str] = []
    for i in range(MAX_DATASETS):
        found = _attribute(group, f"{name}{i}")
        if found is None:
            break
        names += found
    else:
        raise ValueError(f"it has more than {MAX_DATASETS} attributes {name}….")
    return names


def _attribute(group: h5py.Group, name: str) -> list[str] | None:
    if not h5py.h5a.exists(group.id, name.encode()):
        return None
    attribute = h5py.h5a.open(group.id, name.encode())
    count = math.prod(attribute.shape)
    if count == 0:  # of no layer or weight; numpy writes that as float64
        return []
    is_text = attribute.dtype.kind == "S" or h5py.check_string_dtype(attribute.dtype)
    if not is_text or attribute.get_storage_size() > MAX_NAMES_BYTES:
        raise ValueError(f"its attribute {name} is no list of names.")
    values = np.asarray(group.attrs[name]).reshape(-1)
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:100] + "…")


def _limit_process(memory: int, seconds: int) -> None:
    """Ends this process beyond `memory` more bytes, or `seconds` of computing."""
    _lower_limit(resource.RLIMIT_CORE, 0)
    _lower_limit(resource.RLIMIT_CPU, seconds)
    statm = Path("/proc/self/statm")  # Linux: elsewhere this limit does not work anyway
    if statm.exists():
        used = int(statm.read_text().split()[0]) * resource.getpagesize()
        _lower_limit(resource.RLIMIT_AS, used + memory)


def _lower_limit(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(kind, (limit, limit))


def main(path: str, output: str, limit: str, seconds: str) -> None:
    """Copies, reports, and leaves without closing HDF5: that can crash as well."""
    _limit_process(int(limit) + SPARE_MEMORY, int(seconds))
    try:
        report = {"arrays": copy(path, output, int(limit))}
    except (
        KeyError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        report = {"error": str(error)[:500] or type(error).__name__}
    print(json.dumps(report), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
