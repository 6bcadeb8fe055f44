"""The weights command, as a person types it."""

import hashlib
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from dreamjax.cli import BAD_INPUT, STOPPED, parse_flags
from dreamjax.models.converted import cached, converted_path
from dreamjax.models.model import Record
from dreamjax.models.source import Source, pins
from experiments import weights
from tests.server import Site, serving, status

REPO = Path(__file__).resolve().parent.parent
CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site():
    site = Site(CONTENT)
    with serving(site) as site.address:
        yield site


@pytest.fixture(autouse=True)
def cache(site, tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DREAMJAX_WEIGHTS", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    sources = {
        "alex.caffe": Source("alex.model", f"{site.address}/a", f"sha256:{SHA256}"),
        "alex.torch": Source("alex.pth", f"{site.address}/b", f"sha256:{SHA256[:8]}"),
        "vgg.tf": Source("vgg.npz", f"{site.address}/c"),
        "five.zip": Source("f.pb", f"{site.address}/5.zip", "md5:" + "0" * 32, "f.pb"),
        "gone.x": Source("gone.bin"),
    }
    ports = {
        name: types.SimpleNamespace(
            record=Record(name=name, source="tests", license="MIT"), source=source
        )
        for name, source in sources.items()
    }
    monkeypatch.setattr(weights, "PORTS", ports)
    monkeypatch.setattr(weights, "ARCHITECTURES", {"alex": "alex.caffe"})
    return tmp_path / "cache" / "weights"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    path.mkdir()
    monkeypatch.setenv("DREAMJAX_WEIGHTS", str(path))
    return path


@pytest.fixture
def run(capsys):
    """Runs a command line in this process; returns status, stdout, stderr."""

    def run(*words):
        code = weights.main(parse_flags(["weights", *words])[1:])
        return code, *capsys.readouterr()

    flags.FLAGS(["tests"])
    with flagsaver.flagsaver():
        yield run


def rows(text):
    """Returns first word -> the cells of its line."""
    lines = [line.split("  ") for line in text.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {line[0]: line[1:] for line in cells}


def test_list_says_what_there_is_and_where(run, cache, folder):
    code, out, _ = run("list")
    assert code == 0
    assert rows(out) == {
        "weights": ["size", "where", "digest", "license"],
        "alex.caffe": ["not here", "sha256", "MIT"],
        "alex.torch": ["not here", "sha256, 8 digits", "MIT"],
        "vgg.tf": ["not here", "none", "MIT"],
        "five.zip": ["not here", "md5 of the archive", "MIT"],
        "gone.x": ["not here", "none", "MIT"],
    }
    (folder / "alex.model").write_bytes(CONTENT)
    run("fetch", "alex.torch")
    (cache / "vgg.npz.dreamjax-part").write_bytes(b"half")
    (cache / "5.zip.dreamjax-part").write_bytes(bytes(2000))
    found = rows(run("list")[1])
    assert found["alex.caffe"][:2] == ["7.00kB", "folder"]
    assert found["alex.torch"][:3] == ["7.00kB", "cache", "sha256, 8 digits; pinned"]
    assert found["vgg.tf"][:2] == ["4.00B so far", "cache"]
    assert found["five.zip"][:2] == ["2.00kB so far", "cache"]
    assert len(rows(run("list", "alex")[1])) == 2


def test_fetch_prints_paths_and_goes_on_after_an_error(run, cache, site):
    code, out, err = run("fetch", "alex", "alex.pth")
    assert (code, out) == (0, f"{cache / 'alex.model'}\n{cache / 'alex.pth'}\n")
    assert err.count("downloading") == 2
    site.script = [status(404)]
    code, out, err = run("fetch", "vgg.tf", "gone.x", "alex.caffe")
    assert (code, out) == (BAD_INPUT, f"{cache / 'alex.model'}\n")
    assert "404" in err and "put 'gone.bin'" in err
    with pytest.raises(ValueError, match="fetch what"):
        run("fetch")


def test_fetch_can_be_stopped(run, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "locate", stop)
    code, _, err = run("fetch", "alex")
    assert code == STOPPED and "goes on from here" in err


def test_fetch_accepts_what_changed_when_told(run, cache, site):
    run("fetch", "vgg.tf")
    (cache / "vgg.npz").unlink()
    site.content = b"other"
    code, _, err = run("fetch", "vgg.tf")
    assert code == BAD_INPUT and "fetch --accept vgg.npz" in err
    assert run("fetch", "--accept", "vgg.npz")[0] == 0
    assert pins() == {"vgg.npz": hashlib.sha256(b"other").hexdigest()}
    assert run("verify", "vgg.tf")[0] == 0


def test_verify_tells_right_from_wrong(run, cache, folder):
    code, out, _ = run("verify")
    assert (code, out.count("not here")) == (0, 5)
    run("fetch", "alex.caffe", "alex.torch", "vgg.tf")
    (folder / "gone.bin").write_bytes(b"?")
    tree = {"params": {"a": np.ones(3, np.float32)}}
    for name in ("alex.caffe", "vgg.tf"):
        cached(name, SHA256, lambda: tree)
    code, out, _ = run("verify")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        *("ok", "ok", "pinned", "not", "unknown"),
        *("ok", "ok"),
    ]

    (cache / "alex.model").write_bytes(CONTENT[:-1])
    code, out, _ = run("verify")
    assert code == 1
    assert f"expected sha256 {SHA256}" in out.splitlines()[0]
    assert run("verify", "alex.torch")[0] == 0
    kept = converted_path("vgg.tf", SHA256)
    kept.write_bytes(kept.read_bytes()[:-1])
    code, out, _ = run("verify", "vgg.tf")
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()] == ["pinned", "damaged"]


def test_path_is_for_scripts(run, cache, folder):
    assert run("path")[:2] == (0, f"{cache}\n")
    (folder / "alex.model").write_bytes(CONTENT)
    assert run("path", "alex")[:2] == (0, f"{folder / 'alex.model'}\n")
    with pytest.raises(ValueError, match=r"experiments\.weights fetch vgg\.tf"):
        run("path", "vgg.tf")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give one of: list, fetch, verify, path"),
        (["ftech", "alex"], 'Did you mean "fetch"'),
        (["fetch", "alex", "vgg.tv"], 'Did you mean "vgg.tf"'),
        (["verify", "alexx"], 'Did you mean "alex"'),
        (["path", "vgg.npy"], 'Did you mean "vgg.npz"'),
    ],
)
def test_misspelt_words_say_what_is_near(run, words, message, site):
    with pytest.raises(ValueError, match=message):
        run(*words)
    assert site.requests == []


def test_the_real_command_with_the_real_zoo(tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "experiments.weights", "list"],
        cwd=REPO,
        env=dict(os.environ, DREAMJAX_CACHE=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("weights ")
    assert len(found.stdout.splitlines()) > 1
