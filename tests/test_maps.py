"""Attribution maps of several photos: the same as one at a time, and how they look."""

import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.attribution import class_gradient, grad_cam, saliency
from dreamjax.figures import maps
from dreamjax.models import from_function
from dreamjax.models.layers import RULES
from tests.tiny import tiny_model

IMAGES = np.random.default_rng(0).uniform(size=(2, 24, 24, 3)).astype(np.float32)
CLASSES = np.array([2, 0])


def test_maps_of_several_photos_are_maps_of_each():
    model = tiny_model()
    found = maps.gradients_by_rule(model, IMAGES, CLASSES)
    assert list(found) == list(RULES) and found["guided"].shape == IMAGES.shape
    alone = class_gradient(model.taps, model.variables, IMAGES[1], 0, RULES["deconv"])
    np.testing.assert_allclose(found["deconv"][1], alone, rtol=1e-4, atol=1e-6)
    seen = maps.saliencies(model, IMAGES, CLASSES, draws=2, seed=0)
    wanted = saliency(found["gradient"])
    np.testing.assert_allclose(seen["one view"], wanted, rtol=1e-4, atol=1e-6)
    assert all(np.isfinite(v).all() and v.shape == (2, 24, 24) for v in seen.values())


def test_views_are_shifts_and_mirror_images():
    image = jnp.arange(20 * 20 * 3.0).reshape(20, 20, 3)
    same = maps._seen(image, jnp.array([8, 8]), jnp.array(False))
    np.testing.assert_array_equal(same, image)
    moved = maps._seen(image, jnp.array([16, 0]), jnp.array(True))
    np.testing.assert_array_equal(moved[0, 11], image[8, 0])
    np.testing.assert_array_equal(moved[0, 0], image[8, 11])


def test_grad_cam_and_class_activation_map_of_the_last_layer():
    model = tiny_model()
    assert maps.last_layer(model, (24, 24), "inception_5b/output") == "b"
    found = maps.grad_cams(model, IMAGES, np.stack([CLASSES, CLASSES]), "b")
    alone = grad_cam(model.taps, model.variables, IMAGES[1], 2, "b")
    np.testing.assert_allclose(found[1, 0], alone, rtol=1e-4, atol=1e-7)
    cam = maps.activation_map(model, IMAGES[1], 2, "b")
    np.testing.assert_allclose(cam / 144, alone, rtol=1e-3, atol=1e-6)
    assert maps.activation_map(model, IMAGES[1], 2, "a") is None
    order, p = maps.top_classes(model, IMAGES, 9)
    assert order.shape == (2, 3) and (np.diff(p, axis=1) <= 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


def test_a_network_without_classes_is_refused():
    model = from_function(lambda v, x: {"a": x}, {}, tiny_model().record)
    with pytest.raises(ValueError, match='a network with "logits"'):
        maps.top_classes(model, IMAGES, 1)


def test_how_maps_are_drawn():
    values = np.zeros((10, 10))
    assert (maps.gray_map(values) == 0).all()
    values[0, 0] = 5
    assert maps.gray_map(values)[0, 0] == 1 and maps.gray_map(values)[1, 1] == 0
    image = np.full((8, 8, 3), 0.5, np.float32)
    shown = maps.overlaid(image, np.array([[0.0, 1.0]]), weight=1.0)
    assert shown.shape == (8, 8, 3) and shown.dtype == np.float32
    assert shown[0, -1, 0] > shown[0, -1, 2] and shown[0, 0, 2] > shown[0, 0, 0]
    model = tiny_model()
    assert maps.class_name(model, 1) == "bee" and maps.class_name(model, 7) == "class 7"


def test_the_pictures_of_the_command():
    found = maps.class_maps(tiny_model(), IMAGES[0], 1, "guided")
    assert list(found) == [
        "saliency_guided",
        "saliency_views",
        "signed_guided",
        "gradcam",
    ]
    for picture in found.values():
        assert picture.shape == (24, 24, 3) and np.isfinite(picture).all()
        assert picture.min() >= 0 and picture.max() <= 1 and picture.std() > 0.01
