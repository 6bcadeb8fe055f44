"""What the repository has published: no command changes it unless it is told to.

The pictures, numbers and tables that are committed lie in `docs/` and in `results/`,
except `results/runs/`, which git ignores. A command writes into `results/runs/`; with
--publish it writes the real thing to its place, and never a toy or a substitute.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamjax.errors import require
from dreamjax.files import write_bytes
from dreamjax.json_file import read_json

REPO = Path(__file__).resolve().parent.parent


def is_published(path: Path | str) -> bool:
    """Says whether a path lies where this repository keeps what it has published."""
    path = Path(path).resolve()
    if not path.is_relative_to(REPO):
        return False
    parts = path.relative_to(REPO).parts
    return parts[:1] in (("docs",), ("results",)) and parts[:2] != ("results", "runs")


def output_folder(
    flag: str, given: Path | None, default: str, published: str, publish: bool
) -> Path:
    """Returns the folder that a command writes into.

    Args:
      flag: the name of the flag that gives a folder.
      given: what it gives; None where it is not given.
      default: the folder where it is not given.
      published: the committed folder.
      publish: whether to write there.

    Raises:
      ValueError: a folder beside --publish; a committed folder without it.
    """
    if publish:
        require(given is None, flag, str(given), f"--publish writes {published}")
        return Path(published)
    folder = Path(default) if given is None else given
    refuse_published(flag, folder)
    return folder


def refuse_published(flag: str, path: Path | str) -> None:
    """Raises ValueError where a path is among what is committed."""
    allowed = "committed evidence; give a folder outside docs/ and results/, or one of"
    allowed += " results/runs/. --publish, where a command has it, writes the real one"
    require(not is_published(path), flag, str(path), allowed)


def lost(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """Returns the numbers and pictures that a figure's old record has, and the new not.

    Args:
      new: the record of a figure, as in its JSON.
      old: the one that is published.
    """
    names = [[r["name"] for r in f["records"]] + f["pictures"] for f in (new, old)]
    return [name for name in names[1] if name not in names[0]]


def publish_figure(made: Path, published: Path) -> list[Path]:
    """Copies a figure's files to where it is published; returns their new paths.

    Args:
      made: the folder of the figure, with NAME.json.
      published: the folder of the figure among what is committed.

    Raises:
      ValueError: a toy, a substitute network, or a figure that lacks numbers or
        pictures which the published one has, as where its photos are not given.
    """
    about = read_json(made / f"{made.name}.json", "record", nan=True)
    reason = why_not_published(about)
    require(not reason, "publish", made.name, reason)
    before = published / f"{made.name}.json"
    if before.exists():
        missing = lost(about, read_json(before, "record", nan=True))
        said = f"it lacks {', '.join(missing[:3])}, which {published} has (--photos"
        said += "?); remove that folder first if this is meant"
        require(not missing, "publish", made.name, said)
    for name in about["files"]:
        require(Path(name).name == name, "files", name, "names in the figure's folder")
    return [
        write_bytes(published / name, (made / name).read_bytes())
        for name in about["files"]
    ]


def why_not_published(about: Mapping[str, Any]) -> str:
    """Returns why the record of a figure is no evidence, or ""."""
    if about["quicktest"]:
        return "a quicktest is a toy"
    own, used = about["own_network"], about["network"]
    if about.get("substitute", own not in ("", used)):
        return f"{used} stands in for {own or 'the default network'}"
    return ""
