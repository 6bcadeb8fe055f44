"""Image files of every kind come in as RGB float32 in [0, 1]; broken ones are named."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from dreamjax import images
from dreamjax.images import load_image, picture_size, png_bytes, to_uint8

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


INKS = (0, 200, 150, 30)  # cyan, magenta, yellow, black
PRINTED = [(1 - ink / 255) * (1 - INKS[3] / 255) for ink in INKS[:3]]
ADOBE = b"\xff\xee\x00\x0eAdobe"


def cmyk_jpeg(channels):
    buffer = io.BytesIO()
    picture = Image.new("CMYK", (16, 16), channels)
    picture.save(buffer, format="JPEG", quality=98)
    data = buffer.getvalue()
    at = data.index(ADOBE)
    return data[:at], data[at : at + 16], data[at + 16 :]


@pytest.mark.parametrize("marked", [True, False])
def test_cmyk_jpeg_with_and_without_adobes_marker(tmp_path, marked):
    """Adobe stores inks inverted; files without its marker are read alike."""
    head, marker, rest = cmyk_jpeg(INKS)
    (tmp_path / "a.jpg").write_bytes(head + (marker if marked else b"") + rest)
    image = load_image(tmp_path / "a.jpg")
    np.testing.assert_allclose(image[8, 8], PRINTED, atol=0.02)


def test_ycck_jpeg(tmp_path):
    """Adobe's other form: the three inks as luma and chroma. The marker ends in 2."""
    turned = Image.new("RGB", (1, 1), INKS[:3]).convert("YCbCr").getpixel((0, 0))
    head, marker, rest = cmyk_jpeg((*(255 - value for value in turned), INKS[3]))
    (tmp_path / "a.jpg").write_bytes(head + marker[:-1] + b"\x02" + rest)
    image = load_image(tmp_path / "a.jpg")
    np.testing.assert_allclose(image[8, 8], PRINTED, atol=0.02)


def sixteen_bit_png(rows, kind):
    """A PNG of 16 bits per channel: [H, W, C] big-endian; kind 2 RGB, 4 LA, 6 RGBA."""
    height, width = rows.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


@pytest.mark.parametrize(("kind", "count"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_color_keeps_eight(tmp_path, kind, count):
    levels = np.linspace(0, 65535, 5 * 7 * count).reshape(5, 7, count).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(sixteen_bit_png(levels, kind))
    image = load_image(tmp_path / "a.png")
    value = levels / 65535
    color = value[..., :3] if count >= 3 else value[..., :1]
    alpha = value[..., -1:] if count in (2, 4) else 1.0
    expected = np.broadcast_to(color * alpha + 0.5 * (1 - alpha), (5, 7, 3))
    np.testing.assert_allclose(image, expected, atol=1 / 255)
    if kind == 2:
        np.testing.assert_array_equal(image, (levels >> 8).astype(np.float32) / 255)


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


@pytest.mark.parametrize("suffix", ["jpg", "tiff", "webp", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_in_every_format(tmp_path, orientation, suffix):
    """The corner colors of the stored picture, turned by hand to EXIF 2.3."""
    a, b, c, d = 30, 100, 170, 240  # top left, top right, bottom left, bottom right
    stored = np.kron([[a, b], [c, d]], np.ones((16, 24))).astype(np.uint8)
    upright = {
        1: [[a, b], [c, d]],
        2: [[b, a], [d, c]],
        3: [[d, c], [b, a]],
        4: [[c, d], [a, b]],
        5: [[a, c], [b, d]],
        6: [[c, a], [d, b]],
        7: [[d, b], [c, a]],
        8: [[b, d], [a, c]],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    image = load_image(save(path, Image.fromarray(stored).convert("RGB"), exif=exif))
    assert image.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    h, w = (n // 4 for n in image.shape[:2])
    corners = image[[[h], [3 * h]], [[w, 3 * w]], 0] * 255
    np.testing.assert_allclose(corners, upright, atol=4)


def test_broken_exif_data_do_not_refuse_the_picture(tmp_path):
    picture = Image.fromarray(NOISE)
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"):
        image = load_image(save(tmp_path / "a.jpg", picture, exif=exif))
        assert image.shape == (64, 64, 3)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(load_image(path)[0, 0], [1, 0, 0])


def test_first_picture_of_a_phones_file(tmp_path):
    colors = ((250, 10, 10), (10, 10, 250))
    first, second = (Image.new("RGB", (32, 16), color) for color in colors)
    path = tmp_path / "a.jpg"
    first.save(path, format="MPO", save_all=True, append_images=[second])
    with Image.open(path) as picture:
        assert picture.format == "MPO" and picture.n_frames == 2
    image = load_image(path)
    assert image.shape == (16, 32, 3)
    np.testing.assert_allclose(image[8, 8] * 255, colors[0], atol=4)


def test_transparent_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("P", (4, 4), index) for index in (0, 1)]
    for frame in frames:
        frame.putpalette([255, 0, 0, 0, 0, 255])
    frames[0].putpixel((1, 0), 1)
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], transparency=1)
    image = load_image(path)
    np.testing.assert_allclose(image[0, :2], [[1, 0, 0], [0.5] * 3])


def test_apng_and_animated_webp(tmp_path):
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    for suffix in ("png", "webp"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
        np.testing.assert_allclose(load_image(path)[8, 8], [1, 0, 0], atol=0.02)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000)])
def test_tiny_and_long_pictures(tmp_path, size):
    for suffix in ("png", "jpg", "gif"):
        path = save(tmp_path / f"a.{suffix}", Image.new("RGB", size, (255, 255, 255)))
        assert load_image(path).shape == (size[1], size[0], 3)
        np.testing.assert_allclose(load_image(path, (5, 7)), np.ones((5, 7, 3)))


def test_a_panorama_of_96_megapixels_is_read(tmp_path):
    """12000 x 8000 in one bit per pixel, left half white: small in memory and quick."""
    picture = Image.new("1", (12_000, 8_000))
    picture.paste(1, (0, 0, 6_000, 8_000))
    path = save(tmp_path / "a.png", picture)
    image = load_image(path, (4, 6))
    assert image.shape == (4, 6, 3)
    np.testing.assert_allclose(image[:, :2], 1.0, atol=0.02)
    np.testing.assert_allclose(image[:, 4:], 0.0, atol=0.02)


def test_resize_crops_about_the_center(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    path = save(tmp_path / "a.png", Image.fromarray(wide))
    assert load_image(path, 5).shape == (5, 5, 3)
    np.testing.assert_allclose(load_image(path, 10), 1.0)
    tall = load_image(path, (20, 10))
    assert tall.shape == (20, 10, 3)
    np.testing.assert_allclose(tall, 1.0)  # 5 of 30 columns are left, all white


def test_rounding_never_moves_the_cut_outside(tmp_path):
    """112 × (225 / 112) is 225.00000000000003; Pillow refuses a negative offset."""
    path = save(tmp_path / "a.png", Image.new("RGB", (225, 329), "white"))
    assert load_image(path, 112).shape == (112, 112, 3)
    path = save(tmp_path / "b.png", Image.new("RGB", (329, 225), "white"))
    assert load_image(path, 112).shape == (112, 112, 3)


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


def png_chunk(kind, data):
    tail = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + tail


def png_header(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


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
    "large.png": png_header(16_385, 8_192),
    "larger.png": png_header(13_000, 13_000),
    "bomb.png": png_header(60_000, 60_000),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    with pytest.raises(ValueError, match=rf"path='.*{name}' cannot be read .*Accepted"):
        load_image(tmp_path / name)


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_a_phones_heic_says_what_to_do(tmp_path, brand):
    head = b"\0\0\0\x18ftyp" + brand + b"\0" * 64
    (tmp_path / "a.heic").write_bytes(head)
    with pytest.raises(ValueError, match=r"a\.heic.*HEIC or AVIF.*save it as JPEG"):
        load_image(tmp_path / "a.heic")


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


def gray_tiff(path, values, kind, photometric=1):
    """Writes gray values [H, W] as they are into an uncompressed TIFF."""
    height, width = values.shape
    data, bits = values.tobytes(), 8 * values.dtype.itemsize
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, 8 + 2 + 12 * 9 + 4), (277, 1), (279, len(data)), (339, kind)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    path.write_bytes(head + entries + bytes(4) + data)
    return path


RAMP = np.tile(np.linspace(0, 1, 16), (8, 1))
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize(
    ("dtype", "kind", "top"),
    [("<u1", UNSIGNED, 255), ("<u2", UNSIGNED, 65535), ("<f4", FLOAT, 1)],
)
def test_a15_gray_tiffs_have_their_full_range(
    tmp_path, dtype, kind, top, white_is_zero
):
    stored = (1 - RAMP if white_is_zero else RAMP) * top
    path = tmp_path / "a.tif"
    gray_tiff(path, np.round(stored, 6).astype(dtype), kind, 0 if white_is_zero else 1)
    expected = np.repeat(RAMP[..., None], 3, axis=-1)
    np.testing.assert_allclose(load_image(path), expected, atol=1 / 255)


@pytest.mark.parametrize("top", [1, 255, 2**15 - 1])
@pytest.mark.parametrize(
    ("dtype", "kind", "told"),
    [
        ("<i4", SIGNED, "signed integers of 32 bits"),
        ("<u4", UNSIGNED, "unsigned integers of 32 bits"),
        ("<i2", SIGNED, "signed integers of 16 bits"),
    ],
)
def test_a15_integers_without_an_agreed_white_are_refused(
    tmp_path, dtype, kind, told, top
):
    path = gray_tiff(tmp_path / "a.tif", (RAMP * top).astype(dtype), kind)
    for read in (load_image, picture_size):
        with pytest.raises(ValueError, match=rf"a\.tif.*its values are {told}"):
            read(path)


def test_a15_transparent_levels_of_16_bit_gray_lie_over_gray(tmp_path):
    path = tmp_path / "a.png"
    values = np.array([[0, 1, 40_000, 65_535]], np.uint16)
    Image.fromarray(values).save(path, transparency=40_000)
    expected = [0, 1 / 65535, 0.5, 1]
    np.testing.assert_allclose(load_image(path)[0, :, 0], expected, atol=1e-6)


def test_b6_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch):
    for suffix in ("webp", "png"):
        Image.new("RGB", (40, 30)).save(tmp_path / f"a.{suffix}", lossless=True)
    monkeypatch.setattr(images, "MAX_WEBP_PIXELS", 1199)
    monkeypatch.setattr(WebPImageFile, "load", None)  # nothing is decoded
    told = "40 x 30 pixels; a WEBP may have 1,199.*DREAMJAX_MAX_PIXELS raises"
    for read in (load_image, picture_size):
        with pytest.raises(ValueError, match=told):
            read(tmp_path / "a.webp")
    assert picture_size(tmp_path / "a.png") == (30, 40)
    monkeypatch.setenv("DREAMJAX_MAX_PIXELS", "1200")
    assert picture_size(tmp_path / "a.webp") == (30, 40)
    monkeypatch.setenv("DREAMJAX_MAX_PIXELS", "1199")
    with pytest.raises(ValueError, match="a PNG may have 1,199"):
        picture_size(tmp_path / "a.png")
    monkeypatch.setenv("DREAMJAX_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="DREAMJAX_MAX_PIXELS='many'"):
        picture_size(tmp_path / "a.png")


def test_b6_more_than_pillow_allows_can_be_allowed(tmp_path, monkeypatch):
    Image.new("1", (40, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # it refuses twice as many
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(ValueError, match="cannot be read as an image"):
        load_image(tmp_path / "a.png")
    monkeypatch.setenv("DREAMJAX_MAX_PIXELS", "1200")
    assert load_image(tmp_path / "a.png").shape == (30, 40, 3)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_b6_large_files_are_reduced_as_they_are_decoded(
    tmp_path, monkeypatch, suffix, orientation
):
    rows, columns = np.mgrid[0:301, 0:403]
    waves = 127 + 60 * np.sin(rows / 20) + 50 * np.cos(columns / 31)
    pixels = np.uint8(waves[..., None] + np.array([0, 10, -10]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    sizes = [(16, 16), (20, 9), (31, 40)]
    plain = [load_image(path, size) for size in sizes]
    whole = load_image(path)
    monkeypatch.setattr(images, "LARGE", 1000)
    decoded = []
    planes = images._planes
    monkeypatch.setattr(
        images, "_planes", lambda file: decoded.append(file.size) or planes(file)
    )
    for size, expected in zip(sizes, plain, strict=True):
        found = load_image(path, size)
        assert np.abs(found - expected).max() < 0.02
    assert max(width for width, _ in decoded) <= 203
    np.testing.assert_array_equal(load_image(path), whole)
