"""The page in a real browser: what its script makes of the hash, of clicks and keys."""

import json
import math
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from dreamjax.images import png_bytes
from dreamjax.report.page import write_page
from tests import browser

pytestmark = browser.in_browser
FLAGS = (
    *browser.FLAGS,
    "--disable-gpu",
    "--window-size=1400,1000",
    "--virtual-time-budget=2000",
)

# Appended to a copy of the page: a user who filters, groups, opens a run and walks on.
USER = """
<script>
const seen = [];
const note = () => seen.push(
  [...document.querySelectorAll("#out figure")].map((f) => f.id).join(" "));
const chip = (name, value) => [...document.querySelectorAll("fieldset")]
  .find((f) => f.querySelector("legend").textContent === name)
  .querySelector(`[data-value="${value}"]`);
const key = (name) => $("dialog").dispatchEvent(
  new KeyboardEvent("keydown", { key: name, bubbles: true }));
const choose = (id, value) => {
  $(id).value = value;
  $(id).dispatchEvent(new Event("change"));
};
chip("unit", "45").click(); note();
chip("tv", "0.1").click(); note();
chip("unit", "45").click(); note();
choose("sort", "metric:score"); note();
$("dir").click(); note();
choose("group", "unit");
seen.push(document.querySelectorAll("#out tbody tr").length);
document.querySelector("#r1 a").click();
seen.push($("dialog").open, state.run);
key("ArrowRight"); seen.push(state.run);
key("ArrowLeft"); seen.push(state.run);
seen.push(location.hash);
$("close").click();
$("reset").click(); note();
document.documentElement.dataset.seen = JSON.stringify(seen);
</script>
"""


class Dom(HTMLParser):
    """Collects the tags of a page and the text of its elements with an id."""

    def __init__(self, text):
        super().__init__()
        self.root, self.figures, self.text, self.pressed = {}, [], {}, []
        self.tags, self.last = [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.last = attrs.get("id")
        if tag == "html":
            self.root = attrs
        if tag == "figure":
            self.figures.append(attrs["id"])
        if attrs.get("aria-pressed") == "true":
            self.pressed.append(attrs["data-value"])

    def handle_data(self, data):
        self.text[self.last] = self.text.get(self.last, "") + data


def row(run, score, status, **hparams):
    metrics = {"score": score, "steps": 160, "only_in_some": run} if run else {}
    metrics["score"] = score
    image = f"runs/run {run}#.png"
    return dict(run=run, hparams=hparams, metrics=metrics, status=status, image=image)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "runs").mkdir()
    scores = [3.0, 1.0, 2.0, math.nan, -1.0, 5.0]
    rows = []
    for i, score in enumerate(scores):
        status = "frozen" if i == 3 else "alive"
        hparams = dict(unit=(12, 45, 99)[i // 2], tv=(0.0, 0.1)[i % 2], seed=0)
        rows.append(row(i, score, status, **hparams, constructor="x'\"<" + "ab"[i % 2]))
        image = np.full((8, 8, 3), i / 8, np.float32)
        (folder / rows[-1]["image"]).write_bytes(png_bytes(image))
    page = write_page(folder / "index.html", rows, "Six </script>", ["A note."])
    with_user = page.read_text(encoding="utf-8").replace("</body>", f"{USER}</body>")
    (folder / "user.html").write_text(with_user, encoding="utf-8")
    rng = np.random.default_rng(0)
    many = [
        row(i, float(rng.normal()), "alive", unit=i % 40, lr=float(rng.random()))
        for i in range(2000)
    ]
    for item in many:
        item["image"] = rows[item["run"] % 6]["image"]
    write_page(folder / "many.html", many, "2000 runs")
    return folder


def visit(folder, name, hash_=""):
    """Returns the page after its script ran; fails on anything in the console."""
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    url = (folder / name).as_uri() + hash_
    done = subprocess.run(
        [browser.BROWSER, *FLAGS, f"--user-data-dir={profile}", url],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    dom = Dom(done.stdout)
    assert "data-error" not in dom.root
    assert dom.root.get("data-ready") == "1"
    return dom


def test_default_view(folder):
    dom = visit(folder, "index.html")
    assert dom.figures == ["r0", "r1", "r2", "r3", "r4", "r5"]
    assert dom.text["count"].strip() == "6 runs"
    assert dom.pressed == []
    assert not any("lost" in a.get("class", "") for t, a in dom.tags)
    labeled = {a.get("data-name") for t, a in dom.tags if t == "fieldset"}
    assert labeled == {"", "h.unit", "h.tv", "h.constructor"}


def test_hash_filters_sorts_and_opens(folder):
    dom = visit(
        folder, "index.html", "#sort=score&dir=desc&is.unit=12&is.unit=45&run=2&size=96"
    )
    assert dom.figures == ["r0", "r2", "r1", "r3"]  # NaN last
    assert dom.text["count"].strip() == "4 of 6 runs"
    assert dom.pressed == ["12", "45"]
    assert "run 2 · 2 of 4" in dom.text["place"]
    assert any(t == "dialog" and "open" in a for t, a in dom.tags)
    assert "--size: 96px" in dom.root["style"]


def test_a_user_clicks_through(folder):
    dom = visit(folder, "user.html", "#nonsense=1&sort=none&size=x&is.gone=")
    seen = json.loads(dom.root["data-seen"])
    assert seen[:5] == ["r2 r3", "r3", "r1 r3 r5", "r5 r1 r3", "r1 r5 r3"]
    assert seen[5:7] == [3, True]  # three units, the large view is open
    assert seen[7:10] == ["1", "5", "1"]
    assert seen[10] == "#sort=metric%3Ascore&group=unit&is.tv=0.1&run=1"
    assert sorted(seen[11].split()) == [f"r{i}" for i in range(6)]


def test_two_thousand_runs(folder):
    dom = visit(folder, "many.html", "#group=unit&sort=lr&min.unit=38&max.lr=0.5")
    assert 30 <= len(dom.figures) <= 70
    assert dom.text["count"].strip() == f"{len(dom.figures)} of 2000 runs"
    assert {int(name[1:]) % 40 for name in dom.figures} == {38, 39}
