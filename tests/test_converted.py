"""The conversion cache may be slow, but it is never wrong and never in the way."""

import hashlib
import json
import threading

import numpy as np
import pytest
from filelock import FileLock
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from dreamjax.models import converted
from dreamjax.models.converted import cached, converted_path, survey

SHA256 = hashlib.sha256(b"source").hexdigest()
NAME = "net_1.torchvision-in1k"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMJAX_CACHE", str(tmp_path))
    return tmp_path / "weights" / "converted"


def weights(seed=0):
    random = np.random.default_rng(seed)

    def array(*shape):
        return random.normal(size=shape).astype(np.float32)

    return {
        "params": {
            "conv1/7x7_s2": {"kernel": array(3, 3, 2, 4).transpose(3, 2, 0, 1)},
            "b.0|x": {"kernel": array(5), "bias": np.float32(np.nan) * array(2)},
            "σ": {"scalar": np.array(7, np.float32), "none": array(0, 3)},
        },
        "stats": {"params": array(4, 4)[::2, ::-1]},
    }


class Convert:
    """Counts its calls."""

    def __init__(self, seed=0):
        self.calls, self.seed = 0, seed

    def __call__(self):
        self.calls += 1
        return weights(self.seed)


def same(found, wanted):
    """Whether two nested dicts have the same keys, shapes, dtypes and bits."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict) and set(found) == set(wanted)
        return all(same(found[key], wanted[key]) for key in wanted)
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    return found.tobytes() == wanted.tobytes()


def files(folder):
    return [p.name for p in folder.iterdir() if not p.name.startswith(".")]


def test_a_conversion_is_made_once_and_comes_back_bit_for_bit(folder, capsys):
    convert = Convert()
    assert same(cached(NAME, SHA256, convert), weights())
    again = cached(NAME, SHA256, convert)
    assert same(again, weights())
    assert convert.calls == 1
    kernel = again["params"]["b.0|x"]["kernel"]
    kernel += 1  # a copy, not the file's memory
    assert same(cached(NAME, SHA256, convert), weights())
    path = converted_path(NAME, SHA256)
    assert files(folder) == [path.name]
    assert path.name.startswith(f"{NAME}-") and len(path.stem) == len(NAME) + 13
    assert capsys.readouterr().err == ""


def test_the_file_is_plain_safetensors(folder):
    cached(NAME, SHA256, Convert())
    path = converted_path(NAME, SHA256)
    kernel = load_file(path)[json.dumps(["params", "conv1/7x7_s2", "kernel"])]
    assert same(kernel, weights()["params"]["conv1/7x7_s2"]["kernel"])
    with safe_open(path, framework="numpy") as file:
        said = file.metadata()
    assert said.pop("sha256") != SHA256
    assert said == {"record": NAME, "source": SHA256, "conversion": "1"}


def test_another_source_name_or_version_is_another_file(folder, monkeypatch):
    cached(NAME, SHA256, Convert(0))
    other = hashlib.sha256(b"other").hexdigest()
    assert same(cached(NAME, other, Convert(1)), weights(1))
    assert same(cached("net", SHA256, Convert(2)), weights(2))
    monkeypatch.setattr(converted, "CONVERSION", 2)
    assert same(cached(NAME, SHA256, Convert(3)), weights(3))
    assert len(files(folder)) == 4
    assert sorted(kept.state for kept in survey()) == ["ok", "old", "old", "old"]
    monkeypatch.undo()


def flipped(at):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    return damage


def rewritten(change):
    def damage(path):
        tensors = load_file(path)
        with safe_open(path, framework="numpy") as file:
            said = file.metadata()
        change(tensors, said)
        save_file(tensors, path, said)

    return damage


def swap(tensors, said):
    """Two tensors of another name each: only the names are wrong."""
    names = [json.dumps(["params", "b.0|x", key]) for key in ("kernel", "other")]
    tensors[names[1]] = tensors.pop(names[0])


DAMAGES = {
    "value": flipped(-1),
    "length of the header": flipped(0),
    "header": flipped(8),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "half a header": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "another name": rewritten(swap),
    "another source": rewritten(lambda tensors, said: said.update(source="0" * 64)),
    "another record": rewritten(lambda tensors, said: said.update(record="x")),
    "another version": rewritten(lambda tensors, said: said.update(conversion="0")),
    "no digest": rewritten(lambda tensors, said: said.pop("sha256")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_mended(folder, capsys, damage):
    cached(NAME, SHA256, Convert())
    path = converted_path(NAME, SHA256)
    whole = path.read_bytes()
    DAMAGES[damage](path)
    assert path.read_bytes() != whole
    if not damage.startswith("another") or damage == "another name":
        assert [kept.state for kept in survey()] == ["damaged"]
    convert = Convert()
    assert same(cached(NAME, SHA256, convert), weights())
    assert convert.calls == 1
    said = capsys.readouterr().err
    assert f"{path} is damaged" in said and said.count("\n") == 1
    assert load_file(path).keys() == load_file(path).keys()
    assert same(cached(NAME, SHA256, convert), weights())
    assert convert.calls == 1
    assert [kept.state for kept in survey()] == ["ok"]
    assert files(folder) == [path.name]


def test_survey_names_the_records(folder):
    assert survey() == []
    cached(NAME, SHA256, Convert())
    cached("a-0123456789ab", SHA256, Convert())
    assert [kept.name for kept in survey()] == ["a-0123456789ab", NAME]


def test_a_cache_that_cannot_be_written_only_costs_time(folder, capsys):
    folder.parent.mkdir()
    folder.write_text("a file, not a folder")
    convert = Convert()
    for _ in range(2):
        assert same(cached(NAME, SHA256, convert), weights())
    assert convert.calls == 2
    assert "cannot be written" in capsys.readouterr().err


def test_something_else_of_that_name_only_costs_time(folder, capsys):
    path = converted_path(NAME, SHA256)
    path.mkdir(parents=True)
    assert same(cached(NAME, SHA256, Convert()), weights())
    assert "is damaged" in capsys.readouterr().err
    assert path.is_dir()


def test_a_part_that_a_kill_left_is_no_obstacle(folder):
    path = converted_path(NAME, SHA256)
    path.parent.mkdir(parents=True)
    part = path.with_name(".dreamjax-0123456789abcdef.tmp.safetensors")
    part.write_bytes(b"half")
    cached(NAME, SHA256, Convert())
    assert files(folder) == [path.name]
    assert survey()[0].state == "ok"


def test_many_at_once(folder):
    found, start = [], threading.Barrier(6)

    def one():
        start.wait()
        found.append(cached(NAME, SHA256, Convert()))

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and all(same(tree, weights()) for tree in found)
    assert files(folder) == [converted_path(NAME, SHA256).name]
    assert [kept.state for kept in survey()] == ["ok"]


def test_while_another_process_writes_nothing_is_written(folder, capsys):
    path = converted_path(NAME, SHA256)
    path.parent.mkdir(parents=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        assert same(cached(NAME, SHA256, Convert()), weights())
        assert files(folder) == []
        assert capsys.readouterr().err == ""
        path.write_bytes(b"damaged")
        assert same(cached(NAME, SHA256, Convert()), weights())
        assert files(folder) == []


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"params": {"a": np.zeros(3)}}, "'params/a' are float64"),
        ({"params": {"a": [1.0]}}, "'params/a' are list"),
        ({"params": {"a": {}}}, "'params/a' are empty"),
        ({"params": {1: np.zeros(3, np.float32)}}, "'params/1': a dict of strings"),
        (np.zeros(3, np.float32), "a dict of strings"),
        ({}, "are empty"),
    ],
)
def test_only_float32_in_dicts_is_kept(folder, tree, message):
    with pytest.raises(ValueError, match=message):
        cached(NAME, SHA256, lambda: tree)
    assert not folder.exists()


def test_what_the_converter_raises_is_not_hidden():
    def convert():
        raise ValueError("does not fit")

    with pytest.raises(ValueError, match="does not fit"):
        cached(NAME, SHA256, convert)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "a b"])
def test_b8_hostile_names_are_refused(name):
    with pytest.raises(ValueError, match="name="):
        cached(name, SHA256, Convert())
