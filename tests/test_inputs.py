"""Folders, globs and lists of photos; photos of every kind at a wanted size."""

import os

import numpy as np
import pytest
from PIL import Image

from dreamjax import inputs
from dreamjax.images import load_image, png_bytes
from dreamjax.inputs import (
    distinct_names,
    find_images,
    load_images,
    load_photo,
    photo_size,
)

DOT = png_bytes(np.full((2, 3, 3), 200, np.uint8))


@pytest.fixture
def folder(tmp_path):
    for name in ("b10.png", "b2.PNG", "a.jpg", "notes.txt", ".hidden.png", "b1.png"):
        (tmp_path / name).write_bytes(DOT)
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "c.png").write_bytes(DOT)
    (tmp_path / "sub" / "deep" / "d.webp").write_bytes(DOT)
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def names(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_in_natural_order_without_its_subfolders(folder):
    expected = ["a.jpg", "b1.png", "b2.PNG", "b10.png"]
    assert names(find_images(folder), folder) == expected
    assert names(find_images(f"{folder}/"), folder) == expected
    assert names(find_images([str(folder)]), folder) == expected


def test_globs(folder):
    assert names(find_images(f"{folder}/b?.*"), folder) == ["b1.png", "b2.PNG"]
    assert names(find_images(f"{folder}/b[12]*.png"), folder) == ["b1.png", "b10.png"]
    assert names(find_images(f"{folder}/*"), folder) == names(
        find_images(folder), folder
    )
    everything = names(find_images(f"{folder}/**"), folder)
    assert {"sub/c.png", "sub/deep/d.webp", "a.jpg"} < set(everything)
    assert ".hidden.png" not in everything and "notes.txt" not in everything
    assert names(find_images(folder / "sub" / "**" / "*.webp"), folder) == [
        "sub/deep/d.webp"
    ]


def test_a_list_is_sorted_and_has_each_picture_once(folder):
    given = [folder / "b10.png", f"{folder}/b*", folder, folder / "sub/../b1.png"]
    expected = ["a.jpg", "b1.png", "b2.PNG", "b10.png"]
    assert names(find_images(given), folder) == expected
    (folder / "z.png").symlink_to(folder / "a.jpg")
    assert names(find_images(folder), folder) == expected
    assert find_images(p for p in given) == find_images(tuple(given))


def test_a_named_file_is_taken_as_it_is(folder):
    for name in ("notes.txt", ".hidden.png", "photo[1].png", "what?.png"):
        (folder / name).write_bytes(DOT)
        assert names(find_images(folder / name), folder) == [name]


def test_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert names(find_images("~/b1*.png"), folder) == ["b1.png", "b10.png"]
    assert names(find_images("~/a.jpg"), folder) == ["a.jpg"]


def test_natural_order_of_parts():
    given = ["x/10.png", "x/9.png", "X/2/a.png", "a2b10", "a2b9", "a10", "B1", "007"]
    expected = ["007", "a2b9", "a2b10", "a10", "B1", "X/2/a.png", "x/9.png", "x/10.png"]
    assert sorted(given, key=inputs.natural_key) == expected
    # Equal but for zeros or case: always in the same order, whatever came first.
    twins = ["f1.png", "F1.png", "f01.png"]
    assert sorted(twins, key=inputs.natural_key) == sorted(
        twins[::-1], key=inputs.natural_key
    )


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("none.png", "does not exist"),
        ("nowhere/", "does not exist"),
        ("*.gif", "finds no picture"),
        ("empty", "holds no picture"),
        ("*.txt", r"A picture ends in .*\.png"),
        ("nowhere/**", "finds no picture"),
    ],
)
def test_a_pattern_that_finds_nothing_is_named(folder, pattern, said):
    with pytest.raises(ValueError, match=said) as error:
        find_images([f"{folder}/a.jpg", f"{folder}/{pattern}"])
    assert pattern in str(error.value)


def test_no_pattern():
    with pytest.raises(ValueError, match="patterns"):
        find_images([])


def test_broken_pictures_are_told_and_skipped(folder):
    (folder / "b2.PNG").write_bytes(DOT[:40])
    (folder / "a.jpg").write_text("no picture")
    lines = []
    loaded = list(load_images(find_images(folder), lines.append))
    assert names([path for path, _ in loaded], folder) == ["b1.png", "b10.png"]
    assert all(image.shape == (2, 3, 3) for _, image in loaded)
    assert len(lines) == 3
    assert "a.jpg" in lines[0] and "no known image format" in lines[0]
    assert "b2.PNG" in lines[1]
    assert lines[2].startswith("2 of 4 pictures skipped: ")
    assert "a.jpg" in lines[2] and "b2.PNG" in lines[2]


def test_reports_come_as_they_happen_and_only_of_broken_ones(folder):
    (folder / "b2.PNG").write_bytes(b"")
    lines = []
    stream = load_images(find_images(folder), lines.append)
    told = [(path.name, len(lines)) for path, _ in stream]
    assert told == [("a.jpg", 0), ("b1.png", 0), ("b10.png", 1)]
    lines.clear()
    assert len(list(load_images([folder / "a.jpg"], lines.append))) == 1
    assert lines == []


def test_all_broken_is_an_error(folder):
    (folder / "a.jpg").write_bytes(b"")
    lines = []
    with pytest.raises(ValueError, match=r"no picture could be read: .*a\.jpg"):
        list(load_images([folder / "a.jpg", folder / "gone.png"], lines.append))
    assert len(lines) == 2 and "does not exist" in lines[1]
    with pytest.raises(ValueError, match="no picture could be read"):
        list(load_images([], lines.append))


def test_an_own_loader_and_its_mistakes(folder):
    small = list(
        load_images([folder / "a.jpg"], print, lambda path: load_photo(path, longest=1))
    )
    assert small[0][1].shape == (1, 1, 3)

    def mistaken(path):
        raise KeyError("a mistake in the program")

    with pytest.raises(KeyError):
        list(load_images([folder / "a.jpg"], print, mistaken))


@pytest.mark.skipif(os.name != "posix", reason="links and rights are POSIX")
def test_dangling_links_are_skipped(folder):
    (folder / "b3.png").symlink_to(folder / "gone.png")
    lines = []
    loaded = list(load_images(find_images(folder), lines.append))
    assert len(loaded) == 4 and "b3.png" in lines[0]


# Sizes.


def saved(path, height, width):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((60, 90), 45, (30, 45)),
        ((90, 60), 45, (45, 30)),
        ((60, 90), 50, (33, 50)),
        ((60, 90), 90, (60, 90)),
        ((60, 90), 500, (60, 90)),
        ((60, 90), None, (60, 90)),
        ((10, 20_000), 512, (1, 512)),
        ((20_000, 10), 512, (512, 1)),
        ((1, 1), 64, (1, 1)),
    ],
)
def test_longest_side(tmp_path, size, longest, expected):
    path = saved(tmp_path / "a.png", *size)
    image = load_photo(path, longest=longest)
    assert image.shape == (*expected, 3) and image.dtype == np.float32
    assert image.min() >= 0.0 and image.max() <= 1.0
    if expected == size:
        np.testing.assert_array_equal(image, load_image(path))


def test_enlarging_is_asked_for(tmp_path):
    path = saved(tmp_path / "a.png", 2, 3)
    assert load_photo(path, longest=9, enlarge=True).shape == (6, 9, 3)
    dot = saved(tmp_path / "dot.png", 1, 1)
    large = load_photo(dot, longest=16, enlarge=True)
    np.testing.assert_allclose(large, np.broadcast_to(load_image(dot), (16, 16, 3)))
    with pytest.raises(ValueError, match=r"longest=20000.*20000 x 20000"):
        load_photo(dot, longest=20_000, enlarge=True)


def test_it_is_the_whole_picture_antialiased(tmp_path):
    # Halves stay halves: nothing is cropped, and a fine board becomes gray.
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, :60] = 255
    pixels[:, 60:] = ((np.indices((40, 60)).sum(0) % 2) * 255)[..., None]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load_photo(tmp_path / "a.png", longest=12)
    assert image.shape == (4, 12, 3)
    np.testing.assert_allclose(image[:, :5], 1.0, atol=0.02)
    np.testing.assert_allclose(image[:, 7:], 0.5, atol=0.03)


@pytest.mark.parametrize("longest", [0, -1, 2.5, True, "64"])
def test_bad_longest(tmp_path, longest):
    with pytest.raises(ValueError, match="longest="):
        load_photo(saved(tmp_path / "a.png", 4, 4), longest=longest)


def test_the_longest_side_is_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert load_photo(tmp_path / "a.jpg", longest=20).shape == (20, 10, 3)
    assert load_photo(tmp_path / "a.jpg").shape == (80, 40, 3)


def test_deep_gray_and_transparency_are_resized_too(tmp_path):
    gray = np.full((8, 8), 1000, np.uint16)
    Image.fromarray(gray).save(tmp_path / "deep.png")
    image = load_photo(tmp_path / "deep.png", longest=4)
    np.testing.assert_allclose(image, 1000 / 65535, atol=1e-6)
    # Transparent pixels do not bleed their hidden color: red under alpha 0.
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., 0] = 255
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    np.testing.assert_allclose(load_photo(tmp_path / "clear.png", longest=4), 0.5)


def test_a16_names_come_from_the_shortest_distinguishing_path():
    def named(*paths):
        return distinct_names([f"/photos/{path}" for path in paths])

    assert named("a/1.jpg", "b/2.jpg") == ["1", "2"]
    assert named("a/1.jpg", "b/1.jpg", "b/2.jpg") == ["a_1", "b_1", "2"]
    assert named("a/x/1.jpg", "b/x/1.jpg") == ["a_x_1", "b_x_1"]
    assert named("1.jpg", "a/1.jpg") == ["photos_1", "a_1"]
    assert named("a/1.jpg", "a/1.png") == ["1.jpg", "1.png"]
    assert named("a/1.jpg", "a/1.png", "b/1.png") == ["1.jpg", "1.png", "1"]
    assert named("a/IMG.jpg", "b/img.jpg") == ["a_IMG", "b_img"]
    assert named("IMG.jpg", "img.jpg") == ["IMG.jpg", "img.jpg_2"]
    assert named("a/caf\u00e9.jpg", "b/cafe\u0301.jpg") == [
        "a_caf\u00e9",
        "b_cafe\u0301",
    ]
    assert named("a/b_1.jpg", "a_b/1.jpg", "c/1.jpg") == ["b_1", "a_b_1", "c_1"]


def test_a16_names_are_different_whatever_the_paths():
    paths = [
        f"/{a}/{b}/{c}.{d}"
        for a in ("x", "X", "x_y")
        for b in ("y", "y_1", "Y")
        for c in ("1", "y_1", "1_2")
        for d in ("jpg", "JPG", "png")
    ]
    found = distinct_names(paths)
    assert len({name.casefold() for name in found}) == len(paths)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_c3_sizes_are_read_off_the_head(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (40, 20)).save(path, exif=exif)
    for options in ({}, {"longest": 10}, {"longest": 100, "enlarge": True}):
        assert photo_size(path, **options) == load_photo(path, **options).shape[:2]
    with pytest.raises(ValueError, match="does not exist"):
        photo_size(tmp_path / "none.png")


def test_c6_a_folder_of_clips_says_so(tmp_path):
    for name in ("a.TS", "b.wmv", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match="no picture, but 2 video files"):
        find_images(tmp_path)
