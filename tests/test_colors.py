"""Colors of photos: the streaming estimate, its roots, and images made with them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.build import build
from dreamjax.images import png_bytes
from dreamjax.metrics.picture import covariance_distance
from dreamjax.params.color import (
    COLOR,
    COLOR_MEAN,
    COLOR_SQRT,
    color_space,
    from_rgb,
    read_color_space,
    to_rgb,
)
from dreamjax.params.estimate import (
    NO_COLORS,
    ROOTS,
    colors_of,
    covariance,
    square_root,
    with_photo,
)
from dreamjax.params.image import image_param
from tests.tiny import tiny_config

NATURAL = COLOR_SQRT @ COLOR_SQRT.T


def estimated(images):
    colors = NO_COLORS
    for image in images:
        colors = with_photo(colors, image)
    return colors


def test_the_estimate_is_that_of_all_pixels_at_once():
    images = np.random.default_rng(0).random((7, 4, 5, 3)) * [1, 0.5, 0.1]
    found = estimated(images)
    pixels = images.reshape(-1, 3)
    np.testing.assert_allclose(found.mean, pixels.mean(0), atol=1e-12)
    wanted = np.cov(pixels.T, bias=True)
    np.testing.assert_allclose(covariance(found), wanted, atol=1e-12)


def test_files_are_read_one_by_one(tmp_path):
    images = np.random.default_rng(3).random((3, 8, 6, 3)).astype(np.float32)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(png_bytes(image))
    (tmp_path / "broken.png").write_bytes(b"")
    said = []
    found = colors_of([*paths, tmp_path / "broken.png"], 64, said.append)
    assert found.photos == 3 and "broken.png" in said[0]
    stored = np.rint(images * 255) / 255
    np.testing.assert_allclose(covariance(found), covariance(estimated(stored)), 1e-5)


def test_photos_weigh_the_same_whatever_their_size():
    images = [np.random.default_rng(i).random((4, 4, 3)) for i in range(2)]
    large = [np.repeat(images[0], 8, axis=0), images[1]]
    np.testing.assert_allclose(
        covariance(estimated(large)), covariance(estimated(images)), atol=1e-12
    )
    with pytest.raises(ValueError, match="at least one"):
        covariance(NO_COLORS)


@pytest.mark.parametrize("form", ROOTS)
def test_roots_are_roots(form):
    root = square_root(NATURAL, form)
    np.testing.assert_allclose(root @ root.T, NATURAL, atol=1e-12)
    with pytest.raises(ValueError, match="rank 3"):
        square_root(np.ones((3, 3)), form)


def test_the_form_of_each_root():
    axes = square_root(NATURAL, "svd")
    np.testing.assert_allclose(
        axes.T @ axes, np.diag(np.diag(axes.T @ axes)), atol=1e-9
    )
    # Lucid's is printed with two digits: its columns are not quite orthogonal.
    np.testing.assert_allclose(axes, COLOR_SQRT, atol=0.007)
    symmetric = square_root(NATURAL, "symmetric")
    np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-12)
    assert np.triu(square_root(NATURAL, "cholesky"), 1).max() == 0


def test_noise_of_imagenets_colors_gives_lucids_matrix():
    values = np.random.default_rng(1).normal(size=(20, 40, 40, 3))
    images = values @ COLOR_SQRT.T + COLOR_MEAN
    found = estimated(images)
    root = square_root(covariance(found))
    np.testing.assert_allclose(root, square_root(NATURAL), atol=0.004)
    space = color_space(root, found.mean)
    np.testing.assert_allclose(
        space.matrix @ space.matrix.T, COLOR @ COLOR.T, atol=0.02
    )
    np.testing.assert_allclose(space.mean, COLOR_MEAN, atol=0.01)
    assert covariance_distance(covariance(found)) < 0.01


def test_images_have_the_colors_of_their_space(tmp_path):
    root = np.array([[0.1, 0.02, 0], [0.2, -0.02, 0.01], [0.05, 0, 0.03]])
    mean = np.array([0.3, 0.5, 0.6])
    path = tmp_path / "colors.json"
    path.write_text(json.dumps({"root": root.tolist(), "mean": mean.tolist()}))
    space = read_color_space(path)
    assert np.linalg.norm(space.matrix, axis=0).max() == pytest.approx(1)
    values = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    back = from_rgb(to_rgb(values, space), space)
    np.testing.assert_allclose(back, values, atol=1e-4)
    param = image_param("pixel", size=(8, 8), color=space, range_="clip")
    hp = {"init_std": jnp.asarray(0.05)}
    images = param.apply(param.init(jax.random.key(0), hp), hp)
    np.testing.assert_allclose(np.mean(images, (0, 1, 2)), mean, atol=0.02)
    again = param.apply(param.invert(images, hp), hp)
    np.testing.assert_allclose(again, images, atol=1e-5)


def test_a_config_takes_a_file_of_colors(tmp_path):
    config = tiny_config()
    path = tmp_path / "colors.json"
    path.write_text(json.dumps({"root": COLOR_SQRT.tolist(), "mean": [0.4] * 3}))
    config.color = str(path)
    assert list(build(config).image_hashes) == [str(path)]
    config.color = str(tmp_path / "gone.json")
    with pytest.raises(ValueError, match=r"gone\.json.*does not exist"):
        build(config)
    path.write_text(json.dumps({"root": np.ones((3, 3)).tolist(), "mean": [0.4] * 3}))
    config.color = str(path)
    with pytest.raises(ValueError, match="three axes"):
        build(config)
    config.color = "gray"
    with pytest.raises(ValueError, match="color='gray'"):
        build(config)
