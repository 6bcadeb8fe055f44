"""Paths that a user gives, and file systems that refuse."""

import errno
import os
import sys
from pathlib import Path

import jax
import pytest

from dreamjax import cache, cli, paths
from dreamjax.build import picture_path
from dreamjax.config import base_config
from dreamjax.errors import os_error_text, printable
from dreamjax.inputs import find_images
from dreamjax.paths import cache_home, given_path
from dreamjax.runner import run
from dreamjax.video.clip import open_clip


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_b4_a_path_is_expanded_and_else_kept(home, monkeypatch):
    assert given_path("p", "~") == home
    assert given_path("p", "~/a b/c") == home / "a b" / "c"
    assert given_path("p", Path("~/x")) == home / "x"
    for kept in ("x", "./~/x", "../x", "/x", "a~", " x"):
        assert str(given_path("p", kept)) == str(Path(kept))
    assert given_path("p", "~root/x") == Path("/root/x")
    monkeypatch.setenv("HOME", "")  # is no home
    assert given_path("p", "~/x").is_absolute() and given_path("p", "~/x") != Path("/x")


@pytest.mark.parametrize(
    "bad", ["", "  ", "a\0b", None, 3, b"x", True, "~nobody-here/x"]
)
def test_b4_what_is_no_path_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"^--workdir="):
        given_path("--workdir", bad)


def test_b4_entrances_refuse_an_empty_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="workdir=''"):
        run(base_config(), "")
    for read in (open_clip, picture_path, lambda p: find_images([p])):
        with pytest.raises(ValueError, match="=''"):
            read("")
    assert os.listdir(tmp_path) == []


def test_b4_a_flag_is_a_path(home, capsys):
    parser = cli._PathParser("workdir")
    assert parser.parse("~/x") == home / "x"
    with pytest.raises(ValueError, match="--workdir=''"):
        parser.parse("")


def test_b4_caches_without_a_home(monkeypatch, tmp_path):
    for name in ("HOME", "DREAMJAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "_home", lambda user: None)
    monkeypatch.setattr(paths.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(paths.tempfile, "tempdir", str(tmp_path))
    paths._homeless.cache_clear()
    own = tmp_path / f"dreamjax-{os.getuid()}"
    assert cache.cache_folder() == own / "dreamjax" and own.is_dir()
    paths._homeless.cache_clear()
    own.chmod(0o777)  # anybody could have put programs there
    other = cache_home()
    assert other != own and other.parent == tmp_path
    paths._homeless.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_home() != Path("relative")


def test_b4_a_compile_cache_that_cannot_be_is_said_and_left(
    tmp_path, monkeypatch, capsys
):
    before = jax.config.jax_compilation_cache_dir
    (tmp_path / "file").write_text("")
    for value in (tmp_path / "file", tmp_path / "file" / "x", "/proc/none"):
        monkeypatch.setenv("DREAMJAX_CACHE", str(value))
        assert cache.use_compile_cache() is None
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "no compile cache" in said
    assert jax.config.jax_compilation_cache_dir == before


CODES = "EROFS EIO EXDEV EACCES ESTALE ENAMETOOLONG ENOTDIR ENOSPC EDQUOT ELOOP"


@pytest.mark.parametrize("code", CODES.split())
def test_b4_an_error_of_the_system_is_one_line(code, monkeypatch, capsys):
    number = getattr(errno, code)

    def fail(arguments):
        raise OSError(number, os.strerror(number), "/some/\x1b[31mfile")

    assert launched(fail, monkeypatch) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert said == f"error: '/some/\\x1b[31mfile': {os.strerror(number)}\n"


def launched(main, monkeypatch):
    """Returns the status of a command in this process."""
    found = []
    monkeypatch.setattr(cli.app, "run", lambda f, flags_parser: found.append(f(["x"])))
    monkeypatch.setattr(cli, "keep_memory", lambda: None)
    monkeypatch.setattr(cli, "split_cpu", lambda: None)
    monkeypatch.setattr(sys, "argv", ["x"])
    cli.launch(main)
    return found[0]


def test_b4_an_error_without_a_number_is_a_bug(monkeypatch):
    def fail(arguments):
        raise OSError("what is this")

    with pytest.raises(OSError, match="what is this"):
        launched(fail, monkeypatch)


def test_b4_names_of_both_paths():
    error = OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b")
    assert os_error_text(error) == "'a' -> 'b': Invalid cross-device link"


def test_b6_foreign_text_only_shows():
    text = "a\x1b[2Jb\x9b1mc\x07d\re\nf\x7fg\u202eh\u2028i\ud800j\tkσ×🦊"
    shown = printable(text)
    assert shown == (
        "a\\x1b[2Jb\\x9b1mc\\x07d\\re\\nf\\x7fg\\u202eh\\u2028i\\ud800j\\tkσ×🦊"
    )
    assert printable("a\n\x1b", keep="\n") == "a\n\\x1b"
