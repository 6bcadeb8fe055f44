"""Contact sheet, recipe and page of a sweep."""

import io
import json
import math
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from PIL import Image, ImageFont
from PIL.PngImagePlugin import PngInfo

from dreamjax.images import png_bytes
from dreamjax.report import values
from dreamjax.report.page import write_page
from dreamjax.report.recipe import MAX_BYTES, read_recipe, write_picture
from dreamjax.report.sheet import MAX_TILES, MAX_WIDTH, contact_sheet, layout, wrap

EVIL = "</script><b>\"'&<!--"


def row(run, score=1.0, status="alive", **hparams):
    metrics = {"score": score, "penalty/tv": 0.25, "steps": 160}
    image = f"runs/run_{run:04d}.png"
    return dict(run=run, hparams=hparams, metrics=metrics, status=status, image=image)


def product(units=(12, 45), tvs=(0.0, 0.1), decays=(0.0, 0.02)):
    settings = [(u, t, d) for u in units for t in tvs for d in decays]
    return [
        row(i, unit=u, tv=t, decay=d, seed=0) for i, (u, t, d) in enumerate(settings)
    ]


# Values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (0.0, "0"),
        (12345, "12345"),
        (5120.0, "5120"),
        (1234.56, "1235"),
        (0.123456, "0.123"),
        (1.234e-5, "1.23e-5"),
        (1e-5, "1e-5"),
        (2.5e9, "2.5e9"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (True, "True"),
        ("espresso", "espresso"),
        ([0.5, 1.0], "[0.5, 1]"),
        (list(range(9)), "[9 values]"),
        (np.float32(0.1), "0.1"),
        (np.int64(7), "7"),
    ],
)
def test_short(value, text):
    assert values.short(value) == text


def test_shorts_take_the_digits_they_need():
    assert values.shorts([0.1, 0.2]) == ["0.1", "0.2"]
    assert values.shorts([0.12341, 0.12342]) == ["0.12341", "0.12342"]


def test_varying_treats_nan_and_numpy_as_values():
    rows = [
        row(0, a=math.nan, b=1, c=[1, 2], d=np.float32(0.5)),
        row(1, a=math.nan, b=1.0, c=[1, 3], d=0.5),
    ]
    assert values.varying(rows) == ["c"]
    assert values.varying([row(0, a=1), row(1)]) == ["a"]


# Layout


def test_product_becomes_a_grid():
    plan = layout(product(), by="unit")
    assert plan.is_grid and plan.hidden == 0
    assert plan.row_labels == ("unit=12", "unit=45")
    assert plan.column_labels == (
        ("tv=0", "decay=0"),
        ("tv=0", "decay=0.02"),
        ("tv=0.1", "decay=0"),
        ("tv=0.1", "decay=0.02"),
    )
    assert plan.cells == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert plan.captions == ((),) * 8


def test_order_of_rows_in_the_summary_does_not_move_cells():
    rows = product()
    shuffled = [rows[i] for i in (0, 5, 1, 4, 7, 2, 3, 6)]
    plan = layout(shuffled, by="unit")
    for line, label in zip(plan.cells, plan.row_labels, strict=True):
        for index, parts in zip(line, plan.column_labels, strict=True):
            assert f"unit={shuffled[index]['hparams']['unit']}" == label
            assert values.parts(shuffled[index], ["tv", "decay"]) == parts


def test_a_missing_run_leaves_an_empty_cell():
    plan = layout(product()[:-1], by="unit")
    assert plan.cells == ((0, 1, 2, 3), (4, 5, 6, None))


def test_one_setting_has_no_column_label_and_repeats_have_their_own():
    assert layout([row(0, unit=1), row(1, unit=2)], "unit").column_labels == ((),)
    twice = [row(i, unit=u) for i, u in enumerate((1, 1, 2, 2))]
    plan = layout(twice, by="unit")
    assert plan.cells == ((0, 1), (2, 3))
    assert plan.column_labels == ((), ("repeat 2",))


def test_close_values_get_different_labels():
    rows = [row(i, unit=0, lr=lr) for i, lr in enumerate((0.12341, 0.12342))]
    assert layout(rows, "unit").column_labels == (("lr=0.12341",), ("lr=0.12342",))


def test_random_search_is_wrapped_best_first():
    scores = [math.nan, *(float(i % 7) for i in range(1, 30))]
    rows = [row(i, s, unit=3, tv=i / 64, lr=0.5) for i, s in enumerate(scores)]
    plan = layout(rows, by="unit")
    assert not plan.is_grid and plan.column_labels == ()
    order = [i for line in plan.cells for i in line if i is not None]
    assert sorted(order) == list(range(30))
    ranked = [scores[i] for i in order]
    assert ranked[:-1] == sorted(ranked[:-1], reverse=True) and order[-1] == 0
    assert plan.captions[8] == ("tv=0.125",)


def test_mostly_empty_grid_is_wrapped():
    rows = [row(i, unit=i, tv=i / 10) for i in range(6)]  # a zip, not a product
    plan = layout(rows, by="unit")
    assert not plan.is_grid
    assert plan.captions[2] == ("unit=2", "tv=0.2")


def test_many_runs_are_counted_as_hidden():
    many = [row(i, float(i), unit=0, tv=i / 7) for i in range(MAX_TILES + 50)]
    plan = layout(many, by="unit")
    assert plan.hidden == 50 and plan.cells[0][0] == MAX_TILES + 49
    units = [row(i, unit=i) for i in range(MAX_TILES + 50)]
    assert layout(units, by="unit").hidden == 50


def test_layout_errors():
    with pytest.raises(ValueError, match=r"by='unt'.*Did you mean \"unit\""):
        layout(product(), by="unt")
    with pytest.raises(ValueError, match="at least one run"):
        layout([], by="unit")


# Contact sheet


def red(sheet):
    return np.all(np.asarray(sheet) == (190, 30, 30), axis=2).sum()


def test_sheet_shows_each_picture_where_the_layout_says():
    rows = product()
    tones = np.linspace(0.1, 0.9, 8, dtype=np.float32)
    images = np.broadcast_to(tones[:, None, None, None], (8, 128, 128, 3))
    sheet = np.asarray(contact_sheet(images, rows, "unit", "Title × σ"))
    found = {}
    for index, tone in enumerate(np.rint(tones * 255)):
        ys, xs = np.nonzero(np.all(sheet == tone, axis=2))
        inside = (
            (np.bincount(ys) >= 128).nonzero()[0],
            (np.bincount(xs) >= 128).nonzero()[0],
        )
        found[index] = inside[0][0], inside[1][0]
        assert len(inside[0]) == len(inside[1]) == 128
    tops = [found[i][0] for i in range(8)]
    assert len(set(tops[:4])) == len(set(tops[4:])) == 1 and tops[4] > tops[0]
    lefts = [found[i][1] for i in range(8)]
    assert lefts[:4] == lefts[4:] and lefts[:4] == sorted(lefts[:4])


def test_frozen_runs_are_red():
    images = np.zeros((8, 32, 32, 3), np.float32)
    rows = product()
    assert red(contact_sheet(images, rows, "unit", "t")) == 0
    rows[3]["status"] = "frozen"
    assert red(contact_sheet(images, rows, "unit", "t")) > 4 * 3 * 128


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (8, 8)), (12, (600, 600)), (70, (64, 32)), (300, (9, 16))]
)
def test_sheet_fits_its_width(count, shape):
    rows = [row(i, unit=1, tv=i / 9, a_very_long_name=0.1 * i) for i in range(count)]
    images = np.full((count, *shape, 3), np.nan, np.float32)
    sheet = contact_sheet(images, rows, "unit", "A long title " * 30)
    assert sheet.mode == "RGB" and 128 < sheet.width <= MAX_WIDTH


def test_sheet_errors():
    with pytest.raises(ValueError, match=r"give \[8, H, W, 3\]"):
        contact_sheet(np.zeros((7, 8, 8, 3), np.float32), product(), "unit", "t")


def test_wrap():
    font = ImageFont.load_default(13)
    for text in ("tv=0.1, decay=0.02, x", "learning_rate=0.00123", "w" * 60, ""):
        lines = wrap(text, font, 90)
        assert all(font.getlength(line) <= 90 for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_text_beyond_the_font_is_spelled_out():
    font = ImageFont.load_default(13)
    assert wrap("b8 · 6×4 – σ≤1 é 日", font, 900) == ["b8 · 6x4 - sigma<=1 e ?"]


# Recipe

RECIPE = {
    "config": {"model": "efficientnet_lite0", "size": 128, "deep": [[1, [2.5]]]},
    "hparams": {"tv": 0.1 + 0.2, "tiny": 5e-324, "big": 1.7976931348623157e308},
    "seed": 2**63 + 1,
    "text": "σ × 日本 \0 \u2028 </script>",
    "none": None,
    "flag": True,
}


def test_recipe_round_trip_is_exact(tmp_path):
    image = np.random.default_rng(0).random((5, 7, 3), np.float32)
    path = write_picture(tmp_path / "new" / "a.png", image, RECIPE)
    got = read_recipe(path)
    assert got == {"recipe_version": 1, **RECIPE}
    assert repr(got["hparams"]) == repr(RECIPE["hparams"])
    first = path.read_bytes()
    assert write_picture(path, image, got).read_bytes() == first
    with Image.open(path) as picture:
        stored = np.asarray(picture)
    np.testing.assert_array_equal(stored, np.rint(image * 255))


def test_recipe_keeps_nan(tmp_path):
    path = write_picture(tmp_path / "a.png", np.zeros((2, 2, 3)), {"lr": math.nan})
    assert math.isnan(read_recipe(path)["lr"])


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"a": object()}, "cannot be written as JSON"),
        ({"a": "\ud800"}, "cannot be written as JSON"),
        ({"a": [{1: 2}]}, "keys must be text"),
        ({"recipe_version": 2}, "recipe_version=2"),
        ({"a": "x" * MAX_BYTES}, "at most 1,000,000"),
    ],
)
def test_recipe_refused(tmp_path, recipe, message):
    with pytest.raises(ValueError, match=message):
        write_picture(tmp_path / "a.png", np.zeros((2, 2, 3)), recipe)
    assert list(tmp_path.iterdir()) == []


def test_large_recipe_survives_a_compressing_editor(tmp_path):
    recipe = {"a": "x" * (MAX_BYTES - 100)}
    path = write_picture(tmp_path / "a.png", np.zeros((2, 2, 3)), recipe)
    with Image.open(path) as picture:
        info = PngInfo()
        info.add_itxt("dreamjax", picture.text["dreamjax"], zip=True)
        picture.save(tmp_path / "b.png", pnginfo=info)
    assert read_recipe(tmp_path / "b.png") == read_recipe(path)


def other_files():
    pixels = np.zeros((8, 8, 3), np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, format="JPEG")
    bomb = PngInfo()
    bomb.add_itxt("dreamjax", "x" * 3_000_000, zip=True)
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, format="PNG", pnginfo=bomb)
    good = png_bytes(pixels, {"dreamjax": '{"recipe_version": 1}'})
    return {
        "jpeg": (jpeg.getvalue(), "is not a PNG"),
        "text": (b"hello", "is not a PNG"),
        "empty": (b"", "is not a PNG"),
        "bare": (png_bytes(pixels), "holds no recipe.*original file"),
        "json": (png_bytes(pixels, {"dreamjax": "{"}), "is damaged"),
        "list": (png_bytes(pixels, {"dreamjax": "[1]"}), "version None"),
        "new": (
            png_bytes(pixels, {"dreamjax": '{"recipe_version": 9}'}),
            "version 9; this dreamjax reads 1",
        ),
        "none": (png_bytes(pixels, {"dreamjax": "{}"}), "version None"),
        "cut": (good[: len(good) - 30], "broken PNG"),
        "bomb": (packed.getvalue(), "broken PNG"),
    }


@pytest.mark.parametrize("case", other_files())
def test_read_recipe_errors(tmp_path, case):
    data, message = other_files()[case]
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"picture '.*picture\.png' .*{message}"):
        read_recipe(path)


def test_read_recipe_without_file(tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        read_recipe(tmp_path / "none.png")


# Page


class Page(HTMLParser):
    """Collects the tags, the resource links and the inline data of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.data, self.heading = [], [], "", ""
        self.inside = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in ("meta", "link", "img", "input"):
            self.inside.append((tag, attrs.get("id")))
        self.links += [attrs[k] for k in ("src", "href", "srcset") if k in attrs]

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if ("script", "data") in self.inside:
            self.data += data
        if ("h1", None) in self.inside:
            self.heading += data


@pytest.fixture
def evil_page(tmp_path):
    rows = [
        row(0, unit=1, name=EVIL, **{f"key {EVIL}": 1}),
        row(1, math.nan, "frozen", unit=2, name="plain", **{f"key {EVIL}": 2}),
        row(2, math.inf, EVIL, unit=2, name="plain", **{f"key {EVIL}": 2}),
    ]
    rows[0]["image"] = "runs/a b#c?d%20'\"<é.png"
    rows[1]["image"] = str(tmp_path / "runs" / "javascript:1.png")
    for item in rows:
        target = tmp_path / item["image"]
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(png_bytes(np.zeros((4, 4, 3))))
    path = write_page(tmp_path / "index.html", rows, f"T {EVIL}", [f"N {EVIL}", "two"])
    return path, rows


def test_page_data_comes_back(evil_page):
    path, rows = evil_page
    page = Page(path.read_text(encoding="utf-8"))
    data = json.loads(page.data)
    assert page.heading == f"T {EVIL}"
    assert [r["hparams"] for r in data["rows"]] == [r["hparams"] for r in rows]
    assert data["varying"] == ["unit", "name", f"key {EVIL}"]
    assert [r["metrics"]["score"] for r in data["rows"]] == [1.0, "NaN", "Infinity"]
    assert data["rows"][2]["status"] == EVIL


def test_page_has_no_foreign_markup_or_resource(evil_page):
    path, rows = evil_page
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "b" in {tag for tag, _ in page.tags}  # the page's own, for the score
    assert sum(tag == "b" for tag, _ in page.tags) == 1  # one run is alive
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert text.count("<!--") == 0
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text)
    for link in page.links:
        parsed = urlparse(link)
        if link == "data:,":
            continue
        assert not parsed.scheme and not parsed.netloc and not parsed.query, link
        assert (path.parent / unquote(parsed.path)).is_file(), link
    images = [attrs for tag, attrs in page.tags if tag == "img" and "src" in attrs]
    assert len(images) == len(rows)
    assert all(attrs["loading"] == "lazy" and attrs["alt"] for attrs in images)


def test_page_is_readable_without_script(evil_page):
    path, rows = evil_page
    tags = Page(path.read_text(encoding="utf-8")).tags
    assert sum(tag == "figure" for tag, _ in tags) == len(rows)
    assert sum(tag == "tr" for tag, _ in tags) == len(rows) + 1
    assert any(tag == "noscript" for tag, _ in tags)


def test_page_of_runs_without_pictures_and_of_no_runs(tmp_path):
    bare = row(0, unit=1)
    bare["image"] = None
    text = write_page(tmp_path / "a.html", [bare], "t").read_text(encoding="utf-8")
    assert "no picture" in text and json.loads(Page(text).data)["rows"][0]
    write_page(tmp_path / "b.html", [], "t")


def test_page_placeholder_in_a_value_is_left_alone(tmp_path):
    path = write_page(tmp_path / "a.html", [row(0, unit="{{data}}")], "{{tiles}}")
    assert Page(path.read_text(encoding="utf-8")).heading == "{{tiles}}"


def test_page_refuses_equal_runs(tmp_path):
    with pytest.raises(ValueError, match="different runs"):
        write_page(tmp_path / "a.html", [row(1, unit=1), row(1, unit=2)], "t")


def test_long_single_column_is_wrapped_in_its_order():
    rows = [
        {"run": i, "hparams": {"unit": i}, "metrics": {"score": -i}, "status": "alive"}
        for i in range(8)
    ]
    plan = layout(rows, "unit")
    placed = [i for line in plan.cells for i in line if i is not None]
    assert placed == list(range(8)) and len(plan.cells) > 1
    assert plan.captions[3] == ("unit=3",)
    assert layout(rows[:4], "unit").row_labels == tuple(f"unit={i}" for i in range(4))
