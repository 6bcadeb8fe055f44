"""Runs the documented commands in a clean copy, and asks git what they have changed.

    python -m benchmarks.documented [--only experiments.figures] [--quick]

The commands are read out of README.md and docs/*.md: shell blocks, and code within a
line that begins like a command. Each of them matches a line of `COMMANDS`, which says
whether it is run, and if not why. What a user would bring (photo.jpg, FOLDER …) is made
of the photo that comes along. Half an hour on 2 CPU cores; --quick has the few seconds
that the suite runs.
"""

import argparse
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dreamjax.labels import ASSETS

REPO = Path(__file__).resolve().parent.parent
LIMIT = 600  # seconds a command


class Known(NamedTuple):
    """What is done about the commands that match a pattern.

    Attributes:
      pattern: of the whole command, as in a shell.
      run: "quick" also in the suite, "yes" by this command, or "no".
      why: not, then.
    """

    pattern: str
    run: str
    why: str = ""


LONG, SETUP, WEIGHTS = "minutes or hours", "installs packages", "downloads weights"
SERVES, CLUSTER = "a server, or a program with a window", "needs a cluster"
OWN, TEMPLATE = "needs what a longer command leaves", "stands for many commands"
PUBLISHES = "--publish is there to change what is committed"
MEASURES = "measures speed, with nothing beside it"

COMMANDS = (
    Known("make quickstart", "no", f"{SETUP}; {LONG}"),
    Known("make test", "no", f"{SETUP}; {LONG}"),
    Known("make bench", "no", f"{SETUP}; {LONG}"),
    Known("pip install *", "no", SETUP),
    Known("xdg-open *", "no", SERVES),
    Known("python -m http.server*", "no", SERVES),
    Known("tensorboard *", "no", SERVES),
    Known("python -m experiments.rank *", "no", SERVES),
    Known("sbatch *", "no", CLUSTER),
    Known("gcloud *", "no", CLUSTER),
    Known("* NAME *", "no", TEMPLATE),
    Known("* --publish", "no", PUBLISHES),
    Known("python -m experiments.figures list", "quick"),
    Known("python -m experiments.figures table", "quick"),
    Known("python -m experiments.figures simonyan2014.fig2 --quicktest", "quick"),
    Known("python -m experiments.figures * --quicktest", "yes"),
    Known("python -m experiments.figures *", "no", LONG),
    Known("python -m experiments.weights list", "quick"),
    Known("python -m experiments.weights fetch *", "no", WEIGHTS),
    Known("python -m experiments.weights path", "no", TEMPLATE),
    Known("python -m experiments.layers --reach", "yes"),
    Known("python -m experiments.layers --model=vgg16*", "yes"),
    Known("python -m experiments.layers --model=my_models*", "quick"),
    Known("python -m experiments.layers *", "yes"),
    Known("python -m experiments.rerun *", "no", OWN),
    Known("python -m experiments.compare *", "no", OWN),
    Known("* --config=configs/regularizer_search.py*", "no", LONG),
    Known("* --config.model=googlenet*", "no", WEIGHTS),
    Known("* --config.transfer=googlenet*", "no", WEIGHTS),
    Known("python -m experiments.atlas *", "no", LONG),
    Known("python -m experiments.visualize *", "yes"),
    Known("for i in 0 1; do python -m experiments.visualize *", "no", LONG),
    Known("python -m experiments.dream *", "yes"),
    Known("python -m experiments.video *", "no", LONG),
    Known("python -m experiments.stimuli *", "no", LONG),
    Known("python -m experiments.saliency *", "yes"),
    Known("python -m experiments.mine *", "yes"),
    Known("python -m experiments.measure *", "quick"),
    Known("python -m experiments.colors *", "quick"),
    Known("python -m benchmarks.moving_clip *", "quick"),
    Known("python -m benchmarks.models", "no", LONG),
    Known("python -m benchmarks.parity", "no", LONG),
    Known("python -m benchmarks.faults", "no", LONG),
    Known("python -m benchmarks.documented*", "no", "runs these"),
    Known("python -m benchmarks.published *", "no", WEIGHTS),
    Known("python -m benchmarks.tables", "no", OWN),
    Known("python -m benchmarks.*", "no", MEASURES),
)


def known(command: str) -> Known | None:
    """Returns what is done about a command: the first pattern that it matches."""
    for entry in COMMANDS:
        if fnmatch.fnmatchcase(command, entry.pattern):
            return entry
    return None


def documented(root: Path = REPO) -> dict[str, list[str]]:
    """Returns the documented commands -> the documents that name them."""
    found: dict[str, list[str]] = {}
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        for command in commands_of(path.read_text(encoding="utf-8")):
            names = found.setdefault(command, [])
            if path.name not in names:
                names.append(path.name)
    return found


STARTS = "python -m |make |pip |tensorboard |for |sbatch |gcloud |xdg-open "


def commands_of(text: str) -> Iterator[str]:
    """Yields the commands of a Markdown text, each in one line, without comments."""
    fences = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for block in fences.findall(text):
        joined = block.replace("\\\n", " ")
        loop = re.compile(r"^for .*?^done[^\n]*", re.DOTALL | re.MULTILINE)
        for piece in [*loop.findall(joined), *loop.sub("", joined).splitlines()]:
            if re.match(STARTS, piece):
                yield plain(piece)
    for piece in re.findall(r"`((?:python -m|make) [^`]+)`", fences.sub("", text)):
        yield plain(piece)


def plain(command: str) -> str:
    """Returns a command with single spaces and without its comment."""
    return " ".join(re.sub(r"\s#\s.*", "", command).split())


def clean_copy(folder: Path) -> Path:
    """Copies what git knows or would add into a repository of its own, committed."""
    listed = git(REPO, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
    git(folder, *who, "commit", "--quiet", "--no-verify", "--message=as it is")
    return folder


def git(folder: Path, *arguments: str) -> str:
    """Returns what git prints in a folder."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return done.stdout.decode()


def changes(folder: Path) -> list[str]:
    """Returns what git finds changed: tracked files, and new ones beside evidence."""
    lines = git(folder, "status", "--porcelain", "--untracked-files=all").splitlines()
    kept = ("docs/", "results/")
    return [s for s in lines if not s.startswith("??") or s[3:].startswith(kept)]


def bring(folder: Path) -> None:
    """Makes what the documents' user has: photos, a folder of them, a model."""
    photo = Image.open(ASSETS / "chelsea.png").convert("RGB")
    for name in ("photo.jpg", "my_photo.jpg", "panorama.jpg"):
        photo.resize((256, 128)).save(folder / name)
    for name in ("FOLDER", "photos", "my_photos"):
        (folder / name).mkdir()
        for i in range(3):
            photo.resize((96 + i, 96)).save(folder / name / f"{i}.jpg")
    page = (REPO / "docs" / "own_model.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (folder / "my_models.py").write_text("\n".join(code), encoding="utf-8")


def try_commands(commands: Sequence[str], folder: Path) -> Iterator[str]:
    """Runs commands in a clean copy; yields a line for each that is not as it should.

    Args:
      commands: in the language of the shell.
      folder: the copy, of `clean_copy`; what a user brings is made in it.
    """
    bring(folder)
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    env = {**os.environ, "PATH": os.pathsep.join(paths)}
    for command in commands:
        start = time.perf_counter()
        options = {"cwd": folder, "env": env, "capture_output": True, "text": True}
        try:
            done = subprocess.run(["bash", "-c", command], timeout=LIMIT, **options)
            said = f"status {done.returncode}: {done.stderr[-400:]}"
            failed = done.returncode != 0
        except subprocess.TimeoutExpired:
            failed, said = True, f"more than {LIMIT} s"
        print(f"{time.perf_counter() - start:6.1f} s  {command}", flush=True)
        if failed:
            yield f"{command}\n  {said}"
        if changed := changes(folder):
            yield f"{command}\n  changed {', '.join(changed)}"
            git(folder, "checkout", "--quiet", "--", ".")


def main() -> int:
    """Tries them; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a part of the command")
    parser.add_argument("--quick", action="store_true", help="those of the suite")
    given = parser.parse_args()
    wanted = ("quick",) if given.quick else ("quick", "yes")
    found = {
        command: known(command) for command in documented() if given.only in command
    }
    for command, entry in found.items():
        if entry is None or entry.run == "no":
            print(f"not run: {command}: {entry.why if entry else 'in no list'}")
    commands = [c for c, entry in found.items() if entry and entry.run in wanted]
    with tempfile.TemporaryDirectory() as folder:
        wrong = list(try_commands(commands, clean_copy(Path(folder))))
    unknown = [f"{c}\n  is in no list" for c, entry in found.items() if entry is None]
    print("\n".join([*wrong, *unknown]) or "no command has changed what is committed")
    return 1 if wrong or unknown else 0


if __name__ == "__main__":
    raise SystemExit(main())
