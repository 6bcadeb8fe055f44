"""A file is what it was or what it becomes, whatever happens in between."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dreamjax.files import atomic_open, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_come_back_and_folders_are_made(tmp_path):
    path = write_text(tmp_path / "a" / "b" / "text", "σ × 2\n")
    assert path == tmp_path / "a" / "b" / "text"
    assert path.read_bytes() == "σ × 2\n".encode()
    path = write_bytes(str(tmp_path / "bytes"), b"\x00\xff\r\n")
    assert path == tmp_path / "bytes"
    assert path.read_bytes() == b"\x00\xff\r\n"
    assert names(tmp_path) == ["a", "bytes"]
    assert names(tmp_path / "a" / "b") == ["text"]


def test_the_old_file_stands_until_the_body_ends(tmp_path):
    path = write_text(tmp_path / "file", "old")
    with atomic_open(path, "w") as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_keeps_the_old_file_and_leaves_no_other(tmp_path, error):
    path = write_text(tmp_path / "file", "old")
    with pytest.raises(error), atomic_open(path, "w") as file:
        file.write("half of the n")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_an_exception_makes_no_new_file(tmp_path):
    with pytest.raises(RuntimeError), atomic_open(tmp_path / "file") as file:
        file.write(b"half")
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_failed_rename_leaves_no_temporary_file(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError):
        write_text(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").is_dir()


def test_a_reader_keeps_the_file_that_it_opened(tmp_path):
    path = write_text(tmp_path / "file", "old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_link_is_replaced_and_its_target_untouched(tmp_path):
    target = write_text(tmp_path / "target", "old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_text(link, "new")
    assert not link.is_symlink()
    assert (link.read_text(), target.read_text()) == ("new", "old")


@pytest.mark.parametrize(
    ("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)]
)
def test_the_mode_is_that_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        path = write_text(tmp_path / "file", "text")
        during = os.umask(umask)
    finally:
        os.umask(before)
    assert during == umask
    assert stat.S_IMODE(path.stat().st_mode) == mode


KILLED = """
import os, sys
from dreamjax.files import atomic_open
with atomic_open(sys.argv[1], "w") as file:
    file.write("half of the n")
    file.flush()
    os._exit(9)
"""


def test_a_kill_before_the_rename_keeps_the_old_file(tmp_path):
    path = write_text(tmp_path / "file", "old")
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], cwd=root, timeout=60, check=False
    )
    assert done.returncode == 9
    assert path.read_text() == "old"
    left = [name for name in names(tmp_path) if name != "file"]
    assert len(left) == 1
    assert left[0].startswith(".file.")  # hidden, and matched by no "*.npz"
    write_text(path, "new")
    assert path.read_text() == "new"
