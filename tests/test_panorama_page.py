"""The panorama page in a real browser: its pixels, its mouse and its keys."""

import base64
import contextlib
import functools
import io
import json
import math
import shutil
import subprocess
import threading
import time
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from dreamjax import panorama
from dreamjax.images import png_bytes
from dreamjax.report.panorama_page import data_url, panorama_page
from tests import browser

FLAGS = (
    *browser.FLAGS,
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--window-size=600,600",
    "--virtual-time-budget=6000",
)
H, W = 256, 512

# Appended to a copy of the page: waits for the first picture, then does USER.
USER = """
<script>
const seen = {};
const wait = (ms) => new Promise((go) => setTimeout(go, ms));
const drawn = () => { draw(); return $("canvas").toDataURL().split(",")[1]; };
const hit = (name) => document.body.dispatchEvent(
  new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
const pointer = (type, x, y, id = 1) => $("canvas").dispatchEvent(new PointerEvent(
  type, { pointerId: id, clientX: x, clientY: y, button: 0, bubbles: true }));
const view = () => [state.yaw, state.pitch, state.fov, state.which];
(async () => {
  const root = document.documentElement;
  for (let i = 0; i < 50 && !root.dataset.ready; i++) await wait(50);
  USER
  root.dataset.seen = JSON.stringify(seen);
})();
</script>
"""


class Dom(HTMLParser):
    """Collects the elements with an id, and the text of each."""

    def __init__(self, text):
        super().__init__()
        self.root, self.by_id, self.text, self.pressed = {}, {}, {}, []
        self.last = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "html":
            self.root = attrs
        self.last = attrs.get("id", self.last)
        self.by_id.setdefault(self.last, attrs)
        if tag == "button" and "aria-pressed" in attrs:
            self.pressed.append(attrs["aria-pressed"])

    def handle_data(self, data):
        self.text[self.last] = self.text.get(self.last, "") + data


def picture(seed):
    """Returns a colored panorama, smooth on the sphere, with edges, and no seam."""
    rays = panorama.directions(H, W)
    rng = np.random.default_rng(seed)
    waves = [
        0.5 + 0.25 * sum(np.sin(rays @ rng.normal(size=3) * k + k) for k in (2, 9))
        for _ in range(3)
    ]
    image = np.stack(waves, axis=-1)
    image[np.abs(rays @ [0.3, 0.2, -0.9]) < 0.1] = [1, 0.2, 0]  # a ring over the wrap
    return np.clip(image, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("panorama")
    for seed, name in enumerate(("a photo#1.png", "dream.png")):
        (folder / name).write_bytes(png_bytes(picture(seed)))
    files = {"before": "a photo#1.png", "after <b>": "dream.png"}
    inside = {label: data_url(folder / name) for label, name in files.items()}
    pages = {
        "inside.html": panorama_page(inside, "Look </script>", ["A <i>note</i>."]),
        "beside.html": panorama_page(files, "Beside"),
        "missing.html": panorama_page({"gone": "gone.png"}, "Missing"),
    }
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def visit(folder, name, user="", hash_="", before="", base=None, flags=(), quiet=True):
    """Returns the page after `user` ran in it; fails on anything in the console."""
    text = (folder / name).read_text(encoding="utf-8")
    script = USER.replace("USER", user)
    text = text.replace("<body>", f"<body><script>{before}</script>")
    (folder / "user.html").write_text(text.replace("</body>", f"{script}</body>"))
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    url = (base or folder.as_uri()) + "/user.html" + hash_
    done = subprocess.run(
        [browser.BROWSER, *FLAGS, *flags, f"--user-data-dir={profile}", url],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    if quiet:
        assert console == []
    dom = Dom(done.stdout)
    assert "data-error" not in dom.root
    assert dom.root.get("data-ready") == "1"
    return dom, json.loads(dom.root["data-seen"])


@contextlib.contextmanager
def served(folder):
    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/sleep":  # the browser's own clock runs ahead of videos
                time.sleep(0.05)
                self.send_response(204)
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pixels(encoded):
    image = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    return np.asarray(image, np.float32) / 255


def compare(encoded, image, yaw, pitch, fov):
    """Returns (mean, largest) absolute error of a screenshot against our camera."""
    got = pixels(encoded)
    want = np.asarray(panorama.perspective(image, yaw, pitch, fov, got.shape[:2]))
    assert np.ptp(want) > 0.3  # something is to be seen
    wrong = np.abs(got - want)
    return wrong.mean(), wrong.max()


VIEWS = [
    [0, 0, 75],
    [40, -20, 60],
    [-180, 0, 75],  # across the wrap
    [175, 30, 100],
    [0, 90, 75],  # over the poles
    [120, -90, 75],
    [-65, 84, 30],
]


@browser.in_browser
def test_every_pixel_is_what_the_camera_sees(folder):
    user = f"""
      seen.views = {VIEWS}.map(([yaw, pitch, fov]) => {{
        look(yaw, pitch, fov); return drawn(); }});
      choose(1); look(20, 10, 75); await wait(200); seen.other = drawn();
      seen.limit = limit;
    """
    _, seen = visit(folder, "inside.html", user)
    assert seen["limit"] >= W
    for (yaw, pitch, fov), shot in zip(VIEWS, seen["views"], strict=True):
        mean, most = compare(shot, picture(0), yaw, pitch, fov)
        assert mean < 0.004 and most < 0.12, (yaw, pitch, mean, most)
    mean, most = compare(seen["other"], picture(1), 20, 10, 75)
    assert mean < 0.004 and most < 0.12


@browser.in_browser
def test_mouse_keys_wheel_and_fingers(folder):
    user = """
      const h = $("canvas").clientHeight;
      seen.h = h;
      pointer("pointermove", 100, 300); seen.hover = view();
      pointer("pointerdown", 300, 300); pointer("pointermove", 200, 300);
      pointer("pointermove", 200, 330); pointer("pointerup", 200, 330);
      seen.drag = view();
      pointer("pointermove", 400, 400); seen.released = view();
      look(0, 0, 60); hit("ArrowRight"); hit("ArrowRight"); hit("ArrowUp");
      seen.keys = view();
      hit("ArrowLeft"); hit("ArrowDown"); hit("+"); seen.more = view();
      hit("-"); hit("2"); seen.second = view();
      hit("Home"); seen.home = view();
      look(170, 80, 60); for (let i = 0; i < 5; i++) { hit("ArrowRight");
        hit("ArrowUp"); }
      seen.bounds = view();
      $("canvas").dispatchEvent(new WheelEvent("wheel", { deltaY: 100,
        cancelable: true })); seen.wheel = view();
      look(0, 0, 60); pointer("pointerdown", 200, 200, 1);
      pointer("pointerdown", 300, 200, 2); pointer("pointermove", 400, 200, 2);
      seen.pinch = view();
      for (let i = 0; i < 30; i++) zoom(0.5); seen.near = state.fov;
      for (let i = 0; i < 30; i++) zoom(2); seen.far = state.fov;
      look(-12.345, 6, 50); await wait(400); seen.hash = location.hash;
      location.hash = "#yaw=90&pitch=-10&fov=40&which=before"; await wait(400);
      seen.from_hash = view();
      location.hash = "#yaw=x&pitch=400&fov=&which=none"; await wait(400);
      seen.nonsense = view();
      seen.names = [...document.querySelectorAll("button")].filter((b) =>
        b.offsetParent).map((b) => b.getAttribute("aria-label") ?? b.textContent);
    """
    dom, seen = visit(folder, "inside.html", user)
    step = 360 / math.pi * math.tan(math.radians(75 / 2)) / seen["h"]
    assert seen["hover"] == [0, 0, 75, 0]
    assert seen["drag"] == pytest.approx([100 * step, 30 * step, 75, 0])
    assert seen["released"] == seen["drag"]
    assert seen["keys"] == pytest.approx([10, 5, 60, 0])
    assert seen["more"] == pytest.approx([5, 0, 60 / 1.15, 0])
    assert seen["second"] == pytest.approx([5, 0, 60, 1])
    assert seen["home"] == [0, 0, 75, 1]
    assert seen["bounds"] == pytest.approx([-165, 90, 60, 1])
    assert seen["wheel"][2] == pytest.approx(60 * math.exp(0.1))
    assert seen["pinch"] == pytest.approx([0, 0, 30, 1])
    assert (seen["near"], seen["far"]) == (15, 120)
    assert seen["hash"] == "#yaw=-12.35&pitch=6&fov=50&which=after+%3Cb%3E"
    assert seen["from_hash"] == [90, -10, 40, 0]
    assert seen["nonsense"] == [0, 90, 75, 0]
    assert seen["names"][:2] == ["before", "after <b>"]
    assert dom.by_id["canvas"]["aria-label"] == "Panorama: before"
    assert dom.by_id["canvas"]["tabindex"] == "0"
    assert dom.pressed == ["true", "false", "false"]  # the last one is the sound's


@browser.in_browser
def test_dragging_takes_the_scene_along(folder):
    """What was under the pointer stays under it, near the middle."""
    user = """
      const h = $("canvas").clientHeight, w = $("canvas").clientWidth;
      look(-175, 0, 75); seen.before = drawn();
      pointer("pointerdown", 300, 300); pointer("pointermove", 330, 320);
      pointer("pointerup", 330, 320); seen.after = drawn();
    """
    _, seen = visit(folder, "inside.html", user)
    before, after = pixels(seen["before"]), pixels(seen["after"])
    h, w = (n // 2 for n in before.shape[:2])
    left = before[h - 50 : h, w - 50 : w]
    moved = after[h - 30 : h + 20, w - 20 : w + 30]
    assert np.abs(left - moved).mean() < 0.03
    assert np.abs(left - after[h - 50 : h, w - 50 : w]).mean() > 0.1


@browser.in_browser
def test_a_view_coarser_than_the_panorama_has_no_line_at_the_wrap(folder):
    """Where a page is small its texture is seen through mipmaps, also at the wrap."""
    rng = np.random.default_rng(0)
    grain = rng.uniform(size=(1024, 2048, 3)).astype(np.float32)
    (folder / "grain.png").write_bytes(png_bytes(grain))
    page = panorama_page({"grain": data_url(folder / "grain.png")}, "Grain")
    (folder / "grain.html").write_text(page, encoding="utf-8")
    user = """
      state.fov = 75; seen.shots = [0, perPixel()].map((aside) =>
        [180, 90].map((yaw) => { look(yaw + aside, 0, 75); return drawn(); }));
    """
    _, seen = visit(folder, "grain.html", user, flags=("--window-size=600,400",))
    for pair in seen["shots"]:  # the wrap between two columns of pixels, each way
        wrap, inside = map(pixels, pair)
        assert wrap.std() < 0.2  # seen coarser than it is: a single one has 0.289
        assert wrap.std() == pytest.approx(inside.std(), rel=0.05)
        middle = slice(wrap.shape[1] // 2 - 3, wrap.shape[1] // 2 + 3)
        column, usual = (x[:, middle].std(axis=0).mean(axis=-1) for x in (wrap, inside))
        assert column == pytest.approx(usual, rel=0.35)  # a line of one gray has 0


@browser.in_browser
def test_files_beside_a_served_page_and_textures_that_are_too_wide(folder):
    narrow = """
      const real = WebGL2RenderingContext.prototype.getParameter;
      WebGL2RenderingContext.prototype.getParameter = function (name) {
        return name === 0x0D33 ? 200 : real.call(this, name); };
    """
    user = "look(30, -20, 75); seen.shot = drawn(); seen.width = width;"
    with served(folder) as base:
        _, whole = visit(folder, "beside.html", user, base=base)
        _, scaled = visit(folder, "beside.html", user, base=base, before=narrow)
        hashed = "#yaw=-170&pitch=5&fov=50&which=after+%3Cb%3E"
        _, other = visit(
            folder, "beside.html", "seen.shot = drawn()", base=base, hash_=hashed
        )
    assert (whole["width"], scaled["width"]) == (W, 200)
    assert compare(whole["shot"], picture(0), 30, -20, 75)[0] < 0.004
    assert compare(scaled["shot"], picture(0), 30, -20, 75)[0] < 0.03
    assert compare(other["shot"], picture(1), -170, 5, 50)[0] < 0.004


@browser.in_browser
def test_what_cannot_be_shown_is_said(folder):
    shown = """
      seen.message = $("message").hidden ? "" : $("message").textContent;
      seen.flat = document.querySelector("#flat img")?.getAttribute("src");
    """
    dom, seen = visit(folder, "beside.html", shown, quiet=False)  # from disk
    assert "python -m http.server" in seen["message"]
    assert seen["flat"] == "a%20photo%231.png"
    none = "HTMLCanvasElement.prototype.getContext = () => null;"
    dom, seen = visit(folder, "inside.html", shown, before=none)
    assert "no WebGL 2" in seen["message"]
    assert seen["flat"].startswith("data:image/png;base64,")
    assert "hidden" in dom.by_id["canvas"]
    dom, seen = visit(folder, "missing.html", shown, quiet=False)
    assert "“gone” cannot be loaded" in seen["message"]


def movie(path):
    """Writes 20 frames: the panorama `picture(0)`, turned 18° a frame."""
    av = pytest.importorskip("av", reason="the video extra is not installed")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = W, H, "yuv420p"
        stream.bit_rate = 4_000_000
        image = np.rint(picture(0) * 255).astype(np.uint8)
        for i in range(20):
            turned = np.ascontiguousarray(np.roll(image, i * W // 20, axis=1))
            frame = av.VideoFrame.from_ndarray(turned, format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


@browser.in_browser
def test_a_video_is_seen_around_and_plays(folder):
    movie(folder / "turn.webm")
    turn = data_url(folder / "turn.webm")
    sources = {"turn": turn, "again": turn, "still": "dream.png"}
    page = panorama_page(sources, "Video")
    (folder / "video.html").write_text(page, encoding="utf-8")
    user = """
      const v = video(), other = load(1);
      const until = async (test) => {
        for (let i = 0; i < 200 && !test(); i++) await fetch("sleep"); };
      v.pause(); seen.player = !$("player").hidden;
      let seeks = 0; v.addEventListener("seeked", () => { seeks++; });
      const at = async (time) => { seeks = 0; v.currentTime = time;
        await until(() => seeks); look(0, 0, 75); return drawn(); };
      seen.first = await at(0.05); seen.later = await at(1.05);
      seen.duration = Number($("seek").max);
      await until(() => complete(other)); hit("2"); seen.stays = other.currentTime;
      await until(() => !other.seeking); seen.other = drawn(); hit("1");
      hit(" "); seen.plays = [!v.paused, v.currentTime];
      await until(() => v.currentTime > 1.4); seen.plays.push(v.currentTime);
      hit(" "); seen.stopped = v.paused;
      choose(2); seen.hidden = $("player").hidden;
    """
    with served(folder) as base:
        _, seen = visit(folder, "video.html", user, base=base)
    assert seen["player"] and seen["hidden"] and seen["stopped"]
    assert seen["stays"] == pytest.approx(1.05)
    assert seen["plays"][0] and seen["plays"][2] > 1.4
    assert seen["duration"] == pytest.approx(2, abs=0.11)
    # Codecs halve the resolution of colors: the edges of the ring are off.
    assert compare(seen["first"], picture(0), 0, 0, 75)[0] < 0.05
    turned = np.roll(picture(0), W // 2, axis=1)
    for shot in (seen["later"], seen["other"]):
        assert compare(shot, turned, 0, 0, 75)[0] < 0.05
    assert compare(seen["later"], picture(0), 0, 0, 75)[0] > 0.15


def test_page_has_nothing_from_outside_and_text_stays_text(folder):
    text = (folder / "inside.html").read_text(encoding="utf-8")
    assert "Look &lt;/script&gt;" in text and "A &lt;i&gt;note&lt;/i&gt;." in text
    assert "after <b>" not in text and "{{" not in text
    page = text.replace("http://localhost:8000/", "")
    assert "http:" not in page and "https:" not in page and 'src="' not in page
    beside = (folder / "beside.html").read_text(encoding="utf-8")
    assert '<a href="a%20photo%231.png">before</a>' in beside


def test_errors_name_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="at least one panorama"):
        panorama_page({}, "None")
    with pytest.raises(ValueError, match=r"'\.tiff' is not known.*\.png"):
        panorama_page({"a": "a.tiff"}, "Tiff")
    with pytest.raises(ValueError, match="text/html"):
        panorama_page({"a": "data:text/html;base64,AA"}, "Data")
    with pytest.raises(ValueError, match="a file that exists"):
        data_url(tmp_path / "a.png")
    (tmp_path / "A.JPG").write_bytes(b"\xff\xd8")
    assert data_url(tmp_path / "A.JPG") == "data:image/jpeg;base64,/9g="
    assert '"kind":"video"' in panorama_page({"a": "x/B.MP4"}, "Movie")
    assert "javascript%3A" in panorama_page({"a": "javascript:a.png"}, "Scheme")
