"""A file is what it was or what it becomes, whatever happens in between."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dreamjax.files import TEMPORARY, atomic_open, sweep, write_bytes, write_text
from dreamjax.identity import Identity
from dreamjax.workdir import claim, locked


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
    assert TEMPORARY.fullmatch(left[0])  # hidden, and matched by no "*.npz"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert sweep(tmp_path) == [tmp_path / left[0]]
    assert names(tmp_path) == ["file"]


USERS = (
    ".env.local.example",
    ".thesis.v2.tex",
    ".block_0001.npz.a1b2c3d4",  # as temporary files were once called
    ".dreamjax-notes.tmp",
    ".dreamjax-0123456789ABCDEF.tmp",
    ".dreamjax-0123456789abcdef.tmp.npz.keep",
    "x.dreamjax-0123456789abcdef.tmp",
    "events.out.tfevents.1700000000.host.12345.0",
)
OURS = ".dreamjax-0123456789abcdef.tmp"


def test_a20_b5_only_own_temporaries_are_swept_from_a_workdir(tmp_path):
    workdir, outside = tmp_path / "work", write_text(tmp_path / "outside", "mine")
    for folder in (workdir, workdir / "frames", workdir / "notes"):
        for name in USERS:
            write_text(folder / name, "mine")
        write_text(folder / OURS, "half")
        write_text(folder / f"{OURS}.mp4", "half")
    (workdir / ".a.b.c").mkdir()
    (workdir / ".dreamjax-00000000000000ff.tmp").mkdir()
    os.mkfifo(workdir / ".dreamjax-00000000000000fe.tmp")
    (workdir / ".dreamjax-00000000000000fd.tmp").symlink_to(outside)
    (tmp_path / "elsewhere").mkdir()
    write_text(tmp_path / "elsewhere" / OURS, "half")
    (workdir / "results").symlink_to(tmp_path / "elsewhere")
    with locked(workdir):
        pass
    for folder in (workdir, workdir / "frames"):
        assert set(names(folder)) >= set(USERS)
        assert OURS not in names(folder) and f"{OURS}.mp4" not in names(folder)
    assert names(workdir / "notes") == sorted([*USERS, OURS, f"{OURS}.mp4"])
    kinds = {name for name in names(workdir) if name.startswith(".dreamjax-0000")}
    assert kinds == {f".dreamjax-00000000000000{n}.tmp" for n in ("ff", "fe")}
    assert outside.read_text() == "mine"
    assert names(tmp_path / "elsewhere") == [OURS]


@pytest.mark.parametrize("name", ["metrics.csv", "frames/000000.png", "index.html"])
def test_a20_a_folder_with_files_of_a_user_is_not_claimed(tmp_path, name):
    claim(tmp_path / "new", Identity({"steps": 1}))
    write_text(tmp_path / "notes.txt", "mine")
    (tmp_path / "frames").mkdir()
    write_text(tmp_path / "frames" / ".keep", "mine")
    write_text(tmp_path / name, "mine")
    with pytest.raises(ValueError, match=f"no config.json, but a '{name}'"):
        claim(tmp_path, Identity({"steps": 1}))
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "config.json").exists()
    (tmp_path / name).unlink()
    claim(tmp_path, Identity({"steps": 1}))


def test_b5_a_temporary_that_is_being_written_is_not_swept(tmp_path):
    with atomic_open(tmp_path / "file") as file:
        assert sweep(tmp_path) == []
        file.write(b"whole")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_b5_what_cannot_be_removed_stays_and_stops_nobody(tmp_path, monkeypatch):
    write_text(tmp_path / OURS, "half")

    def refuse(path, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert sweep(tmp_path) == []
    assert sweep(tmp_path / "missing", tmp_path / OURS) == []
    assert names(tmp_path) == [OURS]


def test_b5_a_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    name = "x" * 255
    write_text(tmp_path / name, "text")
    assert names(tmp_path) == [name]


def test_a20_a_lock_keeps_what_is_in_its_file_and_follows_no_link(tmp_path):
    write_text(tmp_path / ".lock", "mine")
    with locked(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "mine"
    (tmp_path / ".lock").unlink()
    (tmp_path / ".lock").symlink_to(write_text(tmp_path / "file", "mine"))
    with pytest.raises((OSError, ValueError)), locked(tmp_path):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_b4_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def refuse(file, kind):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    write_text(tmp_path / OURS, "half")
    with locked(tmp_path):
        assert write_text(tmp_path / "file", "new").read_text() == "new"
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "cannot be locked" in said
    assert OURS in names(tmp_path)  # whether it is written just now is not known


def test_b4_an_error_names_the_file_that_was_meant(tmp_path, monkeypatch):
    write_text(tmp_path / "file", "old")
    with pytest.raises(NotADirectoryError, match=f"'{tmp_path / 'file' / 'x'}'"):
        write_text(tmp_path / "file" / "x", "new")
    for code in (errno.ENOSPC, errno.EIO, errno.EROFS):
        with (
            pytest.raises(OSError, match=f"'{tmp_path / 'file'}'$") as found,
            atomic_open(tmp_path / "file"),
        ):
            raise OSError(code, os.strerror(code))
        assert found.value.errno == code
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_b4_where_nothing_can_be_renamed_it_is_copied(tmp_path, monkeypatch):
    def refuse(old, new):
        raise OSError(errno.EXDEV, "Invalid cross-device link", str(old), 0, str(new))

    monkeypatch.setattr(os, "replace", refuse)
    assert write_text(tmp_path / "file", "new").read_text() == "new"
    assert names(tmp_path) == ["file"]


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A folder that may not be written, for root too."""
    opened, access, folder = os.open, os.access, tmp_path / "folder"
    write_text(folder / "file", "text")
    folder.joinpath(".lock").touch()

    def refuse(path, flags, *rest, **options):
        inside = str(path).startswith(f"{folder}{os.sep}")
        if inside and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *rest, **options)

    def may(path, mode):
        return access(path, mode) and not (Path(path) == folder and mode == os.W_OK)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", may)
    return folder


def test_b4_a_folder_that_may_only_be_read_takes_what_it_has(read_only):
    with locked(read_only):
        write_text(read_only / "file", "text")
        write_bytes(read_only / "file", b"text")
        for path, text in (("file", "other"), ("file", ""), ("new", "text")):
            with pytest.raises(OSError, match=rf"Read-only.*'{read_only / path}'"):
                write_text(read_only / path, text)
    assert names(read_only) == [".lock", "file"]
    assert (read_only / "file").read_text() == "text"
