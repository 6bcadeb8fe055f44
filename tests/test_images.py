"""Image files of every kind come in as RGB float32 in [0, 1]; broken ones are named."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dreamjax.images import load_image, png_bytes, to_uint8

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


def save(path, picture, **options):
    picture.save(path, **options)
    return path


def test_rgb_file_is_exact(tmp_path):
    image = load_image(save(tmp_path / "a.png", Image.fromarray(RGB)))
    assert image.dtype == np.float32 and image.shape == (4, 6, 3)
    np.testing.assert_array_equal(image, RGB.astype(np.float32) / np.float32(255))


def test_alpha_lies_over_gray(tmp_path):
    rgba = np.dstack([RGB, np.full((4, 6), 255, np.uint8)])
    rgba[0, 0] = (255, 0, 0, 0)
    rgba[0, 1] = (255, 0, 0, 51)
    image = load_image(save(tmp_path / "a.png", Image.fromarray(rgba)))
    np.testing.assert_allclose(image[0, 0], 0.5)
    np.testing.assert_allclose(image[0, 1], [0.6, 0.4, 0.4], atol=1e-6)
    np.testing.assert_allclose(image[1:], RGB[1:] / 255.0, atol=1e-6)


def test_palette_with_a_transparent_color(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [1, 2]], np.uint8))
    picture = picture.convert("P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image = load_image(save(tmp_path / "a.png", picture, transparency=1))
    expected = [[[1, 0, 0], [0.5] * 3], [[0.5] * 3, [0, 0, 1]]]
    np.testing.assert_allclose(image, expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK"])
def test_modes_become_rgb(tmp_path, mode):
    picture = Image.fromarray(RGB).convert(mode)
    suffix = "tiff" if mode == "CMYK" else "png"
    image = load_image(save(tmp_path / f"a.{suffix}", picture))
    expected = np.asarray(picture.convert("RGB"), np.float32) / 255
    np.testing.assert_allclose(image, expected, atol=0.02)


def test_cmyk_jpeg_is_not_inverted(tmp_path):
    picture = Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK")
    image = load_image(save(tmp_path / "a.jpg", picture, quality=95))
    np.testing.assert_allclose(image[8, 8] * 255, [200, 40, 40], atol=6)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_gray_keeps_its_levels(tmp_path, suffix):
    gray = np.array([[0, 1000], [1001, 65535]], np.uint16)
    image = load_image(save(tmp_path / f"a.{suffix}", Image.fromarray(gray)))
    expected = np.repeat(gray[:, :, None] / 65535.0, 3, axis=2)
    np.testing.assert_allclose(image, expected, atol=1e-7)


def test_float_tiff_must_be_in_range(tmp_path):
    good = np.array([[0.0, 0.25], [0.5, 1.0]], np.float32)
    image = load_image(save(tmp_path / "good.tiff", Image.fromarray(good)))
    np.testing.assert_array_equal(image[:, :, 1], good)
    for name, bad in (("big", good * 9), ("nan", good * np.float32(np.nan))):
        path = save(tmp_path / f"{name}.tiff", Image.fromarray(bad))
        with pytest.raises(ValueError, match=r"gray values must lie in 0\.\.1"):
            load_image(path)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by a quarter
    image = load_image(save(tmp_path / "a.png", Image.fromarray(RGB), exif=exif))
    np.testing.assert_allclose(image, np.rot90(RGB, -1) / 255.0, atol=1e-6)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(load_image(path)[0, 0], [1, 0, 0])


def test_resize_crops_about_the_center(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    path = save(tmp_path / "a.png", Image.fromarray(wide))
    assert load_image(path, 5).shape == (5, 5, 3)
    np.testing.assert_allclose(load_image(path, 10), 1.0)
    tall = load_image(path, (20, 10))
    assert tall.shape == (20, 10, 3)
    np.testing.assert_allclose(tall, 1.0)  # 5 of 30 columns are left, all white


def test_resize_is_antialiased(tmp_path):
    board = np.indices((64, 64)).sum(0) % 2
    pixels = np.repeat((board * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    image = load_image(save(tmp_path / "a.png", Image.fromarray(pixels)), 8)
    np.testing.assert_allclose(image, 0.5, atol=0.02)
    assert image.min() >= 0.0 and image.max() <= 1.0


@pytest.mark.parametrize("size", [0, -3, 2.5, True, (3,), (3, 0), "64", 100_000])
def test_bad_size(tmp_path, size):
    path = save(tmp_path / "a.png", Image.fromarray(RGB))
    with pytest.raises(ValueError, match="size="):
        load_image(path, size)


def png_header(width, height):
    def chunk(kind, data):
        tail = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + tail

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


def jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG")
    return buffer.getvalue()


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
BROKEN = {
    "empty.png": b"",
    "text.jpg": b"this is not a picture",
    "page.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "cut.png": png_bytes(NOISE)[:3000],
    "cut.jpg": jpeg(NOISE)[:1500],
    "few_rows.png": png_header(32, 32),
    "large.png": png_header(9_000, 8_000),
    "larger.png": png_header(10_000, 10_000),
    "bomb.png": png_header(60_000, 60_000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match=rf"path='.*{name}' cannot be read .*Accepted"):
        load_image(tmp_path / name)


def test_no_file_and_no_image_folder(tmp_path):
    with pytest.raises(ValueError, match=r"path='.*none\.png' does not exist.*PNG"):
        load_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="is a directory"):
        load_image(tmp_path)


def test_to_uint8_rounds_clips_and_grays():
    given = np.array([0.0, 1.0, 0.4999 / 255, 0.5001 / 255, -2.0, 7.0], np.float32)
    np.testing.assert_array_equal(to_uint8(given), [0, 255, 0, 1, 0, 255])
    odd = np.array([np.nan, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(to_uint8(odd), [128, 128, 128])
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(levels / np.float32(255)), levels)
    with pytest.raises(ValueError, match=r"images\.dtype"):
        to_uint8(levels)


def test_png_bytes_round_trip_and_repeat():
    text = {"Title": "σ and 日本", "note": "plain"}
    data = png_bytes(RGB, text)
    assert data == png_bytes(RGB.copy(), dict(text))
    with Image.open(io.BytesIO(data)) as picture:
        assert dict(picture.text) == text
        np.testing.assert_array_equal(np.asarray(picture), RGB)
    assert png_bytes(RGB / 255.0) == png_bytes(RGB)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3), (1, 4, 4, 3)])
def test_png_bytes_shapes(shape):
    with pytest.raises(ValueError, match=r"image\.shape"):
        png_bytes(np.zeros(shape, np.float32))


@pytest.mark.parametrize("key", ["", " a", "日本", "a\0b", "k" * 80])
def test_png_bytes_keys(key):
    with pytest.raises(ValueError, match="text key"):
        png_bytes(RGB, {key: "value"})
