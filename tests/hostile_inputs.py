"""Hostile inputs, tried in a process of their own under an audit hook.

`python -m tests.hostile_inputs FOLDER` prints a JSON line for each: what it is, what
was said, how long it took, and what it did that text from a file must not do: import a
module, open a file outside of the folder, start a process, open a socket. A hook
cannot be taken away again, hence the process.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import flags

from dreamjax import plan as plans
from dreamjax.atlas.site import open_site
from dreamjax.build import build
from dreamjax.config import plain
from dreamjax.deepdream.config import take_dream
from dreamjax.identity import Identity
from dreamjax.images import png_bytes
from dreamjax.judgments import read_log
from dreamjax.params.color import read_color_space
from dreamjax.plan import Block, Plan
from dreamjax.report.comparison import read_sweeps
from dreamjax.report.rank_server import _parsed
from dreamjax.report.summary import read_summary
from dreamjax.workdir import check_claim
from experiments import rerun
from tests import test_hostile
from tests.tiny import tiny_model

REPO = Path(__file__).resolve().parent.parent
NAMED = ("evil", "this", "antigravity", "timeit", "pdb", "smtplib", "ensurepip")
KNOWN = [os.path.realpath(path) for path in (REPO, sys.prefix, sys.base_prefix)]
KNOWN += ["/proc/meminfo", f"/proc/{os.getpid()}/cgroup", "/sys/fs/cgroup"]
NEVER = ("subprocess", "socket", "os.system", "os.exec", "os.fork", "os.posix_spawn")
NEVER += ("os.spawn", "pty", "ftplib", "http", "urllib", "smtplib", "webbrowser")


class Watch:
    """The audit hook: while it is on, it keeps what must not happen."""

    def __init__(self, folder):
        self.folder, self.on, self.seen = os.path.realpath(folder), False, []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if not self.on:
            return
        self.on = False
        try:
            if event == "import":
                root = str(arguments[0]).partition(".")[0]
                known = root in sys.stdlib_module_names or root in sys.modules
                if root in NAMED or not known:
                    self.seen.append(f"import {arguments[0]}")
            elif event == "open" and isinstance(arguments[0], str | bytes):
                path = os.path.realpath(os.fsdecode(arguments[0]))
                if not path.startswith((self.folder, *KNOWN)):
                    self.seen.append(f"open {path}")
            elif event.startswith(NEVER):
                self.seen.append(event)
        finally:
            self.on = True


def recipe(**changes):
    """Returns a recipe of the tiny network, with changes of its config."""
    return test_hostile.recipe_of(**{"model": "tests.tiny:tiny_model", **changes})


def recipes(folder):
    """Yields (name, recipe, what the user says of the model)."""
    own = "tests.tiny:tiny_model"
    for module in NAMED:
        for part in ("model", "transfer"):
            yield f"{part} {module}", recipe(**{part: f"{module}:main"}), None
    for code in ("os:abort", "a b:c", ":", "a:", ":b", "x" * 300, "\x1b[31m", 3, None):
        yield f"model {code!r}", recipe(model=code), None
    fifo, wide = folder / "fifo.png", folder / "wide.png"
    os.mkfifo(fifo)
    os.mkfifo(folder / "fifo.json")
    (folder / "directory.png").mkdir()
    (folder / "text.png").write_text("no picture")
    with wide.open("wb") as file:
        file.truncate(5_000_000_000)
    paths = ["/dev/zero", "/dev/stdin", "/etc/passwd", "~/.ssh/id_rsa", "a\0b.png", "*"]
    paths += [
        str(fifo),
        str(wide),
        str(folder / "directory.png"),
        "gone.png",
        "array:0",
    ]
    paths += [str(folder), "/proc/self/mem", "https://example.com/a.png"]
    for path in paths:
        yield f"start {path!r}", recipe(start=path), own
        reads = {"objective": 'match("b")', "hparams": {"target": (path,)}}
        yield f"target {path!r}", recipe(**reads), own
    for path in ("/dev/zero.json", str(folder / "fifo.json"), "/dev/zero/a.json"):
        yield f"color {path!r}", recipe(color=path), own
    for path in ("/dev/zero", str(fifo), "/etc/passwd", str(folder)):
        zoo = {"model": "efficientnet_lite0", "weights": path}
        yield f"weights {path!r}", recipe(**zoo), None
    for path in ("/dev/zero", str(folder / "fifo.json"), "/etc/passwd"):
        zoo = {"model": "efficientnet_lite0", "labels": path}
        yield f"labels {path!r}", recipe(**zoo), None
    for change in test_hostile.SHAPES:
        yield f"recipe {change!r:.60}", {**recipe(), **change}, own
    yield "unknown key", recipe(steps_=3), own
    yield "unread", recipe(hparams={"evil": (1,)}), own
    for changes in test_hostile.CHANGES:
        kept = plain(json.loads(json.dumps(changes, default=cut)))
        yield f"asks {kept!s:.60}", recipe(**kept), own


def cut(value):
    """Returns what JSON can hold of a range, which no recipe has."""
    return list(value[: min(len(value), 200)])


DEEP = "[" * 999 + "]" * 999
TEXTS = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "number": b"3",
    "text": b'"a"',
    "object": b"{}",
    "deep": DEEP.encode(),
    "deeper": b'{"a":' * 100_000,
    "deep hparams": b'{"hparams": {"tv": ' + DEEP.encode() + b"}}",
    "digits": b'{"size": ' + b"9" * 5000 + b"}",
    "twice": b'{"size": 1, "size": 2}',
    "no text": b'{"a": "\xff"}',
    "half a pair": b'{"a": "\\ud800"}',
    "cut": b'{"size": 4, "complete": tr',
    "nan": b'{"size": NaN, "run": 1e999}',
    "nulls": b"\0" * 100,
    "list of lists": b"[[]]",
    "list of objects": b"[{}]",
    "wrong types": b'[{"run": "0", "hparams": [], "metrics": 3, "status": 1}]',
    "bad metric": b'[{"run": 0, "hparams": {}, "metrics": {"a": {}}, "status": "x"}]',
    "bad hparams": b'{"hparams": {"tv": 3}, "runs": 3, "blocks": 3}',
}


def workdirs(folder):
    """Yields (name, function that reads)."""
    identity = Identity({"steps": 3, "hparams": {"tv": (1.0,)}})
    plan = Plan(({"tv": 1.0},) * 9, 4, (Block((0, 1, 2, 3), 0, 3),), True, "ab")
    for name, content in TEXTS.items():
        where = folder / name.replace(" ", "_")
        where.mkdir()
        for file in ("plan.json", "config.json", "summary.json", "colors.json"):
            (where / file).write_bytes(content)
        (where / "judgments.jsonl").write_bytes(content + b"\n")
        compared = where / "compared"
        compared.mkdir()
        (compared / "config.json").write_bytes(content)
        row = {"run": 0, "hparams": {}, "metrics": {}, "status": "alive"}
        (compared / "summary.json").write_text(json.dumps([row]))
        network = where / "network"
        open_site(network)
        (network / "net").mkdir()
        (network / "net" / "network.json").write_bytes(content)
        yield f"plan {name}", lambda w=where: plans.read_plan(w)
        yield f"claim {name}", lambda w=where: check_claim(w, identity)
        yield f"summary {name}", lambda w=where: read_summary(w)
        yield f"colors {name}", lambda w=where: read_color_space(w / "colors.json")
        yield f"judgments {name}", lambda w=where: read_log(w / "judgments.jsonl")
        yield f"compared {name}", lambda w=compared: read_sweeps([w])
        yield f"site {name}", lambda w=network: open_site(w).networks()
        yield f"rank {name}", lambda c=content: refused(_parsed(c))
    where = folder / "edited"
    where.mkdir()
    for old, new in [
        ('"size": 4', '"size": 5'),
        ("[0, 1, 2, 3]", "[0, 1, 2, 7]"),
        ("[0, 1, 2, 3]", "[0, 1, 2, 99]"),
        ("[0, 1, 2, 3]", "[0, 1, 2, 2]"),
        ('"stop": 3', '"stop": 2'),
        ('"start": 0', '"start": 9'),
        ('"complete": true', '"complete": false'),
        ('"tv": 1.0', '"tv": 2.0'),
    ]:
        yield f"plan with {new}", lambda o=old, n=new: edited(where, plan, o, n)


def refused(answer):
    """Raises ValueError for what the ranking's server answers with 400."""
    if answer is None:
        raise ValueError("not an answer")


def edited(where, plan, old, new):
    """Reads a plan after one edit."""
    plans.write_plan(where, plan)
    path = where / plans.PLAN
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    plans.read_plan(where)


def configs():
    """Yields (name, function that builds)."""
    for changes in [*test_hostile.WRONG, *test_hostile.CHANGES]:
        config = test_hostile.config_of(**dict(changes))
        yield f"config {changes!r:.80}", lambda c=config: build(c, tiny_model())
    for changes in test_hostile.WRONG_DREAMS:
        config = test_hostile.dream_of(**changes)
        yield f"dream {changes!r:.80}", lambda c=config: take_dream(c)


def pictures(folder):
    """Yields (name, function that reruns)."""
    for number, (name, told, model) in enumerate(recipes(folder)):
        path = folder / f"recipe_{number}.png"
        text = json.dumps({"recipe_version": 1, **told})
        path.write_bytes(png_bytes(np.zeros((4, 4, 3)), {"dreamjax": text}))
        yield name, lambda p=path, m=model: again(p, m)
    for name, content in TEXTS.items():
        path = folder / f"text_{name}.png".replace(" ", "_")
        said = content.decode("latin-1").replace("\0", " ")
        path.write_bytes(png_bytes(np.zeros((4, 4, 3)), {"dreamjax": said}))
        yield f"recipe {name}", lambda p=path: again(p, None)


def again(path, model):
    flags.FLAGS.model = model
    rerun.main([str(path)])


def main(folder):
    """Tries all inputs; prints a line for each."""
    flags.FLAGS(["hostile", f"--workdir={folder / 'made'}"])
    build(test_hostile.config_of(hparams={"tv": ("normal(0, 1)",)}), tiny_model())
    inputs = [*pictures(folder), *workdirs(folder), *configs()]
    watch = Watch(folder)
    check(watch)
    for name, tried in inputs:
        watch.seen, before = [], peak()
        start, kind, said = time.perf_counter(), "nothing", ""
        watch.on = True
        try:
            tried()
        except BaseException as error:
            watch.on = False
            kind, said = type(error).__name__, str(error)
        watch.on = False
        print(
            json.dumps(
                {
                    "name": name,
                    "kind": kind,
                    "said": said,
                    "seconds": time.perf_counter() - start,
                    "bytes": peak() - before,
                    "seen": watch.seen,
                }
            )
        )


def check(watch):
    """Makes sure that the hook sees what it is there to see."""
    for doing in (
        lambda: __import__("ensurepip"),
        lambda: open("/etc/passwd").close(),
        lambda: subprocess.run(["true"], check=True),
        lambda: socket.socket().close(),
    ):
        watch.seen, watch.on = [], True
        doing()
        watch.on = False
        assert watch.seen, "the hook is blind"


def peak():
    """Returns the most memory that this process has had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(Path(sys.argv[1]))
