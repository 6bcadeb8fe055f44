"""What is committed is changed by --publish only, and never by a toy."""

import json
from pathlib import Path

import pytest

from benchmarks.documented import (
    COMMANDS,
    clean_copy,
    documented,
    known,
    try_commands,
)
from dreamjax.published import (
    REPO,
    is_published,
    output_folder,
    publish_figure,
    refuse_published,
)


@pytest.mark.parametrize(
    "path, published",
    [
        ("results", True),
        ("results/figures", True),
        ("results/figures/new/deep", True),
        ("results/runs/../figures", True),
        ("docs", True),
        ("docs/img/models", True),
        ("results/runs", False),
        ("results/runs/figures", False),
        ("elsewhere", False),
        ("../results", False),
    ],
)
def test_a5_what_is_published(path, published, tmp_path):
    assert is_published(REPO / path) == published
    assert not is_published(tmp_path / path)


def test_a5_a_link_to_what_is_published_is_published(tmp_path):
    (tmp_path / "mine").symlink_to(REPO / "results")
    with pytest.raises(ValueError, match=r"folder=.*committed evidence"):
        refuse_published("folder", tmp_path / "mine" / "figures")


def test_a5_a_folder_is_private_unless_published(tmp_path):
    private, published = "results/runs/x", str(REPO / "results/x")
    assert output_folder("out", None, private, published, False) == Path(private)
    assert output_folder("out", tmp_path, private, published, False) == tmp_path
    assert output_folder("out", None, private, published, True) == Path(published)
    with pytest.raises(ValueError, match=r"out=.*--publish writes"):
        output_folder("out", tmp_path, private, published, True)
    with pytest.raises(ValueError, match=r"out=.*committed evidence"):
        output_folder("out", Path(published), private, published, False)


def figure(folder, **changed):
    """Writes what a figure leaves: a record and a picture; returns their folder."""
    about = {
        "figure": "smith2020.fig1",
        "network": "net",
        "own_network": "net",
        "substitute": False,
        "quicktest": False,
        "pictures": ["smith2020.fig1.jpg"],
        "files": ["smith2020.fig1.jpg", "smith2020.fig1.json"],
        "records": [{"name": "size"}, {"name": "depth"}],
    } | changed
    target = folder / "smith2020.fig1"
    target.mkdir(parents=True)
    (target / "smith2020.fig1.json").write_text(json.dumps(about))
    (target / "smith2020.fig1.jpg").write_bytes(folder.name.encode())
    (target / "units").mkdir()  # a sweep, which is not published
    return target


@pytest.mark.parametrize(
    "changed, reason",
    [
        ({"quicktest": True}, "a quicktest is a toy"),
        ({"substitute": True, "network": "other"}, "other stands in for net"),
        ({"substitute": True, "own_network": ""}, "stands in for the default network"),
        ({"records": [{"name": "size"}]}, "it lacks depth, which"),
        ({"pictures": []}, "it lacks smith2020.fig1.jpg, which"),
    ],
)
def test_a5_only_the_real_figure_is_published(changed, reason, tmp_path):
    old = figure(tmp_path / "results")
    with pytest.raises(ValueError, match=reason):
        publish_figure(figure(tmp_path / "runs", **changed), old)
    assert (old / "smith2020.fig1.jpg").read_bytes() == b"results"


def test_a5_a_published_figure_replaces_the_old_one(tmp_path):
    old = figure(tmp_path / "results")
    new = figure(
        tmp_path / "runs", records=[{"name": n} for n in ("size", "depth", "x")]
    )
    paths = publish_figure(new, old)
    assert [path.name for path in paths] == [
        "smith2020.fig1.jpg",
        "smith2020.fig1.json",
    ]
    assert (old / "smith2020.fig1.jpg").read_bytes() == b"runs"
    assert publish_figure(new, tmp_path / "first") and (tmp_path / "first").is_dir()


def test_a5_every_documented_command_is_run_or_has_a_reason():
    found = {command: known(command) for command in documented()}
    assert len(found) > 60
    assert [command for command, entry in found.items() if entry is None] == []
    for entry in COMMANDS:
        assert entry.run in ("quick", "yes", "no")
        assert (entry.run == "no") == bool(entry.why), entry
    assert known("python -m experiments.visualise --config=new.py") is None


@pytest.mark.skipif(not (REPO / ".git").exists(), reason="asks git: needs a checkout")
def test_a5_documented_commands_change_no_committed_file(tmp_path):
    """The quick ones; `python -m benchmarks.documented` runs all below a minute."""
    quick = [c for c in documented() if known(c).run == "quick"]
    assert any("--quicktest" in command for command in quick)
    assert list(try_commands(quick, clean_copy(tmp_path))) == []


@pytest.mark.skipif(not (REPO / ".git").exists(), reason="asks git: needs a checkout")
def test_a5_a_command_that_changes_a_committed_file_is_found(tmp_path):
    copy = clean_copy(tmp_path)
    touches = "echo more >> results/dream/README.md; echo x > results/new.json"
    (wrong,) = try_commands(["true", touches], copy)
    assert "results/new.json" in wrong and "results/dream/README.md" in wrong
