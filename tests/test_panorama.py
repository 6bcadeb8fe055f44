"""Panoramas against functions on the sphere, SciPy's rotations and whole turns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dreamjax import panorama as pano

H, W = 96, 192
SIZES = [(96, 192), (95, 191), (64, 130)]  # even, odd, not quite 2:1


def scene(x, y, z):
    """Returns a smooth picture on the sphere: it knows nothing of pixels."""
    red = 0.5 + 0.4 * x * y + 0.1 * z
    green = 0.5 + 0.3 * np.sin(3 * x + 1) * z
    blue = 0.5 + 0.2 * y + 0.3 * x * z * z
    return np.stack([red, green, blue], axis=-1).astype(np.float32)


def angles(h, w):
    """Returns latitude and longitude of the pixels in degrees, from the documents."""
    latitude = [90 - (i + 0.5) * 180 / h for i in range(h)]
    longitude = [(j + 0.5) * 360 / w - 180 for j in range(w)]
    return np.meshgrid(latitude, longitude, indexing="ij")


def sphere(h=H, w=W):
    latitude, longitude = map(np.radians, angles(h, w))
    x = np.cos(latitude) * np.sin(longitude)
    return scene(x, np.sin(latitude), np.cos(latitude) * np.cos(longitude))


def camera(yaw, pitch, fov, h, w):
    """Returns what a pinhole camera sees of the scene, by SciPy's rotations."""
    step = 2 * np.tan(np.radians(fov / 2)) / h
    right = (np.arange(w) - (w - 1) / 2) * step
    up = ((h - 1) / 2 - np.arange(h)) * step
    rays = np.stack([*np.meshgrid(right, up), np.ones((h, w))], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    tilt = Rotation.from_euler("x", -pitch, degrees=True)  # y turns into z
    turn = Rotation.from_euler("y", yaw, degrees=True)  # z turns into x
    x, y, z = (turn * tilt).apply(rays.reshape(-1, 3)).T.reshape(3, h, w)
    return scene(x, y, z)


def noise(h=H, w=W, seed=0):
    return np.random.default_rng(seed).uniform(size=(h, w, 3)).astype(np.float32)


def error(got, want):
    got = np.asarray(got)
    assert got.shape == want.shape
    assert np.isfinite(got).all()
    return np.abs(got - want).max()


CAMERAS = [
    (0, 0, 75, 40, 60),
    (180, 0, 90, 33, 33),  # across the wrap
    (-179.2, 5, 40, 20, 31),
    (30, 60, 100, 40, 24),
    (200, -90, 90, 30, 30),  # over a pole
    (77, 88, 60, 25, 41),
    (-400, 10, 90, 1, 1),
]


@pytest.mark.parametrize("size", SIZES)
def test_a_camera_sees_the_scene(size):
    image = sphere(*size)
    for yaw, pitch, fov, h, w in CAMERAS:
        got = pano.perspective(image, yaw, pitch, fov, (h, w))
        # Measured 9.4e-4 at 64 rows, 4.4e-4 at 96; half a pixel off would be 1e-2.
        assert error(got, camera(yaw, pitch, fov, h, w)) < 1.2e-3, (yaw, pitch)


@pytest.mark.parametrize("size", SIZES)
def test_pole_views_see_the_scene_and_come_back(size):
    image = sphere(*size)
    latitude, _ = angles(*size)
    for pole, pitch in (("up", 90), ("down", -90)):
        side = pano.pole_size(size[1])
        seen = pano.pole_view(*size, pole)(image)
        assert error(seen, camera(0, pitch, 120, side, side)) < 1e-3
        back = np.asarray(pano.from_pole_view(*size, pole)(seen))
        above = latitude if pole == "up" else -latitude
        inside = above > 31  # all of the circle of 60° about the pole
        assert error(back[inside], image[inside]) < 1e-3
        assert np.all(back[above < 22] == 0)  # beyond the corners: atan(√2 tan 60°)


def test_the_edge_of_a_painted_view_is_the_square():
    painted = pano.from_pole_view(H, W, "up", 64, 90)(jnp.ones((64, 64, 3)))
    latitude, longitude = map(np.radians, angles(H, W))
    right = np.sin(longitude) / np.tan(latitude)
    ahead = np.cos(longitude) / np.tan(latitude)
    inside = (latitude > 0) & (np.maximum(abs(right), abs(ahead)) <= 1)
    np.testing.assert_array_equal(np.asarray(painted)[..., 0], inside)
    below = pano.from_pole_view(H, W, "down", 64, 90)(jnp.ones((64, 64, 3)))
    np.testing.assert_array_equal(below, np.asarray(painted)[::-1])


def test_noise_painted_from_a_fine_pole_view_is_the_noise():
    """Noise has all frequencies: the finer the view, the more of them come back."""
    image, rows = noise(), slice(8, 24)  # 45° to 75°
    errors = []
    for finer in (1, 4, 16):
        side = finer * pano.pole_size(W)
        seen = pano.pole_view(H, W, "up", side)(image)
        back = pano.from_pole_view(H, W, "up", side)(seen)
        errors.append(np.abs(np.asarray(back) - image)[rows].mean())
    assert errors[1] < errors[0] / 2 and errors[2] < errors[1] / 2


def test_up_is_up_and_ahead_is_at_the_edge_that_is_documented():
    image = np.zeros((H, W, 3), np.float32)
    image[:10, :, 0] = 1  # red about the zenith
    image[-10:, :, 1] = 1  # green about the nadir
    image[20:30, W // 2 - 3 : W // 2 + 3, 2] = 1  # blue ahead, at about 43°
    image[-30:-20, W // 2 - 3 : W // 2 + 3, 2] = 1
    up = np.asarray(pano.pole_view(H, W, "up")(image))
    down = np.asarray(pano.pole_view(H, W, "down")(image))
    n = len(up) // 2
    assert up[n, n, 0] == 1 and up[..., 1].max() == 0
    assert down[n, n, 1] == 1 and down[..., 0].max() == 0
    assert up[n:, :, 2].sum() > 10 and up[:n, :, 2].sum() == 0
    assert down[:n, :, 2].sum() > 10 and down[n:, :, 2].sum() == 0


def test_a_turned_panorama_is_the_camera_turned_bit_for_bit():
    image = noise()
    left = np.roll(image, -W // 4, axis=1)  # right comes ahead
    for fov, size in ((75, (21, 32)), (100, (18, 18))):
        for yaw, pitch in ((0, 0), (30, 20), (250, -70)):
            turned = pano.perspective(image, yaw + 90, pitch, fov, size)
            got = pano.perspective(left, yaw, pitch, fov, size)
            np.testing.assert_array_equal(got, turned)
    faces = np.asarray(pano.cube_faces(image, 40))
    got = np.asarray(pano.cube_faces(left, 40))
    np.testing.assert_array_equal(got[:4], faces[[1, 2, 3, 0]])
    # The right comes to the lower edge of "up", whose right edge it was: clockwise.
    np.testing.assert_array_equal(got[4], np.rot90(faces[4], -1))
    np.testing.assert_array_equal(got[5], np.rot90(faces[5], 1))
    for pole, turns in (("up", -1), ("down", 1)):
        view, back = pano.pole_view(H, W, pole), pano.from_pole_view(H, W, pole)
        seen = np.asarray(view(image))
        np.testing.assert_array_equal(view(left), np.rot90(seen, turns))
        painted = np.roll(np.asarray(back(seen)), -W // 4, axis=1)
        got = np.asarray(back(np.rot90(seen, turns)))
        np.testing.assert_allclose(got, painted, rtol=0, atol=3e-7)


def test_cube_faces_see_the_scene_and_come_back():
    for size in SIZES[1:]:
        image = sphere(*size)
        side = round(size[1] / np.pi)
        faces = pano.cube_faces(image, side)
        turns = [(0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90)]
        for face, (yaw, pitch) in zip(faces, turns, strict=True):
            assert error(face, camera(yaw, pitch, 90, side, side)) < 1e-3
        assert error(pano.from_cube_faces(faces, *size), image) < 2.5e-3


def test_cube_faces_show_no_edges():
    """A slope goes on across the edges: clamped faces would have flat ends there."""
    latitude, longitude = angles(H, W)
    rays = np.stack([latitude, np.cos(np.radians(longitude)) * 90, 0 * latitude], -1)
    image = ((rays + 90) / 180).astype(np.float32)
    back = pano.from_cube_faces(pano.cube_faces(image, 61), H, W)
    inside = np.abs(latitude) < 80  # this picture is not smooth at the poles
    assert error(np.asarray(back)[inside], image[inside]) < 3e-3


def crossings(line):
    """Returns where a line of values changes its sign, between samples."""
    line = np.asarray(line)
    (i,) = np.nonzero(line[:-1] * line[1:] < 0)
    return i + line[i] / (line[i] - line[i + 1])


def test_a_checkerboard_keeps_its_size_at_the_pole():
    h, w = 256, 512
    latitude, longitude = angles(h, w)
    field = 7.0  # degrees

    def board(a, b):
        waves = np.sin(np.pi * a / field) * np.sin(np.pi * b / field)
        return np.repeat(waves[..., None], 3, axis=-1).astype(np.float32)

    equator = board(latitude + 1.5, longitude)
    radius, turn = 90 - latitude, np.radians(longitude)  # along great circles
    pole = board(radius * np.cos(turn) + 1.5, radius * np.sin(turn))
    middle = slice(w // 2 - 60, w // 2 + 60)
    in_panorama = np.diff(crossings(equator[h // 2, middle, 0]))
    assert in_panorama == pytest.approx(field * w / 360, rel=0.01)  # 9.96 pixels
    seen = np.asarray(pano.pole_view(h, w, "up")(pole))
    n = len(seen) // 2
    at_pole = np.diff(crossings(seen[n, n - 20 : n + 20, 0]))
    assert len(at_pole) >= 2
    assert at_pole == pytest.approx(np.mean(in_panorama), rel=0.05)
    # A circle at 82° has 1/7.2 of the equator's circumference, and as many pixels.
    assert len(crossings(pole[11, :, 0])) < len(crossings(equator[h // 2, :, 0])) / 4


def test_pole_weight():
    up, down = map(np.asarray, pano.pole_weight(180, start=40, end=55))
    latitude = 89.5 - np.arange(180)
    assert np.all(up[latitude < 40] == 0) and np.all(up[latitude > 55] == 1)
    np.testing.assert_array_equal(down, up[::-1])
    at = {47.5: 0.5, 43.5: 0.1374, 53.5: 0.9716}  # t² (3 - 2 t), t = 3.5/15, 13.5/15
    for degrees, weight in at.items():
        found = up[np.nonzero(latitude == degrees)]
        assert found == pytest.approx(weight, abs=1e-3)
    assert np.all(np.diff(up) <= 0) and up.dtype == np.float32


def test_default_pole_size_is_as_dense_as_the_equator():
    assert pano.pole_size(4096) == 2258  # 4096 / π · √3
    assert pano.pole_size(1000, 90) == 318
    seen = pano.perspective_view(H, W, 0, 90, 120, (pano.pole_size(W),) * 2)
    for a, b in zip(
        jax.tree.leaves(seen), jax.tree.leaves(pano.pole_view(H, W, "up")), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_views_are_linear_keep_constants_and_can_be_jitted_and_mapped():
    views = {
        "up": pano.pole_view(H, W, "up", 33),
        "still": pano.perspective_view(H, W, 170, 30, 60, (20, 30)),
    }

    @jax.jit
    def program(views, images):
        return {name: jax.vmap(view)(images) for name, view in views.items()}

    images = np.stack([noise(), noise(seed=1), np.full((H, W, 3), 0.3, np.float32)])
    got = program(views, np.concatenate([images, 2 * images[:1] - images[1:2]]))
    for name, (a, b, constant, both) in jax.tree.map(np.asarray, got).items():
        np.testing.assert_allclose(both, 2 * a - b, atol=1e-6)
        np.testing.assert_allclose(constant, 0.3, rtol=1e-6)
        np.testing.assert_allclose(views[name](images[0]), a, atol=1e-6)


def test_stills_and_cubes_can_be_jitted():
    image = noise()
    still = functools.partial(pano.perspective, size=(9, 9))
    got = jax.jit(still, static_argnums=(1, 2, 3))(image, 10.0, 20.0, 70.0)
    np.testing.assert_allclose(got, still(image, 10, 20, 70), atol=1e-6)

    def there_and_back(image):
        return pano.from_cube_faces(pano.cube_faces(image, 24), H, W)

    got = jax.jit(there_and_back)(image)
    np.testing.assert_allclose(got, there_and_back(image), atol=1e-6)


def test_a_batch_of_channels_and_gradients_pass():
    view = pano.pole_view(H, W, "down", 20)
    assert view(jnp.ones((H, W, 1))).shape == (20, 20, 1)
    gradient = jax.grad(lambda image: jnp.sum(view(image)))(jnp.zeros((H, W, 3)))
    assert float(jnp.sum(gradient)) == pytest.approx(20 * 20 * 3, rel=1e-5)


def test_seam_by_hand():
    image = np.zeros((4, 8, 1), np.float32)
    image[:, :, 0] = np.array([0, 1, 2, 3, 4, 5, 7, 9])  # steps 1 1 1 1 1 2 2, wrap 9
    found = pano.seam(image)
    assert float(found.wrap) == 9
    assert float(found.interior) == pytest.approx(9 / 7)
    assert float(found.ratio) == pytest.approx(7)
    assert float(found.quantile) == 2 and bool(found.visible)


def test_a_seam_in_a_clear_sky_is_not_hidden_by_rocks():
    image = np.full((64, 128, 3), 0.5, np.float32)
    image[:32] += np.linspace(0, 0.02, 128, dtype=np.float32)[None, :, None]
    image[32:] = noise(32, 128)
    found = pano.seam(image)
    assert not bool(found.visible) and float(found.ratio) < 1.5
    # 0.02 at the wrap, 0.02 / 127 elsewhere
    assert float(found.worst) == pytest.approx(127, rel=1e-3)
    assert float(pano.seam(noise(256, 512)).worst) < 1.5  # mean of 48: 1 ± 0.1


def test_seam_is_seen_where_a_panorama_was_cut():
    image = sphere()
    whole, rolled = pano.seam(image), pano.seam(np.roll(image, 50, axis=1))
    assert not bool(whole.visible) and not bool(rolled.visible)
    assert 0.3 < float(whole.ratio) < 1.5
    cut = pano.seam(np.concatenate([image[:, :150], image[:, :42]], axis=1))
    assert bool(cut.visible) and float(cut.ratio) > 5
    flat = pano.seam(np.ones((8, 16, 3)))
    assert float(flat.ratio) == 0 and not bool(flat.visible)


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"twice as wide.*300 wide.*aspect of 3"):
        pano.perspective(np.zeros((100, 300, 3)), 0, 0, 90, (8, 8))
    with pytest.raises(ValueError, match=r"panorama\.shape"):
        pano.cube_faces(np.zeros((100, 100, 3)), 8)
    with pytest.raises(ValueError, match="twice as wide"):
        pano.pole_view(100, 205, "up")
    with pytest.raises(ValueError, match=r"pole='top'.*up, down"):
        pano.pole_view(H, W, "top")
    for fov in (0, 180, float("nan")):
        with pytest.raises(ValueError, match="fov"):
            pano.from_pole_view(H, W, "up", 8, fov)
    with pytest.raises(ValueError, match="size=1"):
        pano.pole_view(H, W, "up", 1)
    with pytest.raises(ValueError, match="yaw"):
        pano.perspective_view(H, W, float("inf"), 0, 90, (8, 8))
    with pytest.raises(ValueError, match=r"image\.shape.*96, 192, 'C'"):
        pano.pole_view(H, W, "up")(np.zeros((95, 190, 3)))
    with pytest.raises(ValueError, match=r"\[6, S, S, C\]"):
        pano.from_cube_faces(np.zeros((6, 8, 9, 3)), H, W)
    with pytest.raises(ValueError, match="start < end"):
        pano.pole_weight(H, start=55, end=40)
