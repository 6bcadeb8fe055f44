"""A graph cut against all labelings, boxes by hand, objects on textures."""

import itertools

import numpy as np
import pytest

from dreamjax import localization
from dreamjax.localization import (
    Box,
    box_of,
    color_costs,
    composite,
    graph_cut,
    iou,
    largest_part,
    min_cut,
    seeds,
    texture,
)


def energy(labels, image, costs, gamma):
    """The energy of a labeling, written as sums over pairs of pixels."""
    height, width = labels.shape
    pairs = [
        ((i, j), (i + di, j + dj))
        for i, j in np.ndindex(height, width)
        for di, dj in ((0, 1), (1, 0), (1, 1), (1, -1))
        if i + di < height and 0 <= j + dj < width
    ]
    apart = {p: np.sum((image[p[0]] - image[p[1]]) ** 2) for p in pairs}
    steps = {}
    for p in pairs:
        step = (p[1][0] - p[0][0], p[1][1] - p[0][1])
        steps.setdefault(step, []).append(apart[p])
    mean = np.mean([np.mean(values) for values in steps.values()])
    total = np.where(labels, *costs).sum()
    for one, other in pairs:
        if labels[one] != labels[other]:
            length = np.hypot(one[0] - other[0], one[1] - other[1])
            total += gamma * np.exp(-apart[one, other] / (2 * mean)) / length
    return total


def test_a_cut_is_the_best_of_all_labelings():
    pytest.importorskip("maxflow", reason=localization.INSTALL)
    random = np.random.default_rng(0)
    image = random.uniform(size=(3, 3, 3))
    for gamma in (0.0, 0.3, 3.0):
        costs = random.uniform(size=(2, 3, 3))
        found = min_cut(image, *costs, gamma)
        every = [
            energy(np.reshape(bits, (3, 3)), image, costs, gamma)
            for bits in itertools.product((False, True), repeat=9)
        ]
        assert energy(found, image, costs, gamma) == pytest.approx(min(every))
        if gamma == 0:
            np.testing.assert_array_equal(found, costs[0] < costs[1])


def test_an_object_of_another_color_is_found():
    pytest.importorskip("maxflow", reason=localization.INSTALL)
    pytest.importorskip("sklearn", reason=localization.INSTALL)
    random = np.random.default_rng(1)
    image = np.full((40, 40, 3), (0.2, 0.5, 0.3))
    image[8:24, 10:30] = (0.8, 0.3, 0.2)
    image += random.normal(0, 0.03, image.shape)
    inside = np.zeros((40, 40))
    inside[8:24, 10:30] = 1
    values = inside * 0.5 + random.uniform(size=(40, 40))  # salient, but not cleanly so
    mask = largest_part(graph_cut(image, values))
    assert iou(box_of(mask), Box(8, 10, 24, 30)) > 0.9
    costs = color_costs(image, inside > 0)
    assert np.isfinite(costs).all()
    assert costs[12, 20] < costs[35, 5]
    with pytest.raises(ValueError, match="more than 5 pixels"):
        color_costs(image, np.zeros((40, 40), bool))
    with pytest.raises(ValueError, match=r"values\.shape"):
        graph_cut(image, values[:5])


def test_a_library_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"nowhere: pip install -r requirements-fig"):
        localization._needed("nowhere")


def test_seeds_are_the_quantiles():
    sure, never = seeds(np.arange(100.0).reshape(10, 10))
    assert sure.sum() == 5 and never.sum() == 30
    assert sure[9, 5:].all() and never[:3].all()


def test_boxes_by_hand():
    mask = np.zeros((6, 8), bool)
    mask[1:3, 1:3] = True
    mask[3, 3] = True  # touches at a corner
    mask[5, 6:8] = True
    part = largest_part(mask)
    assert part.sum() == 5 and box_of(part) == Box(1, 1, 4, 4)
    assert not largest_part(np.zeros((3, 3), bool)).any()
    assert box_of(np.zeros((3, 3), bool)) == Box(0, 0, 0, 0)
    assert iou(Box(0, 0, 2, 2), Box(0, 1, 2, 3)) == pytest.approx(1 / 3)
    assert iou(Box(0, 0, 2, 2), Box(0, 0, 2, 2)) == 1
    assert iou(Box(0, 0, 2, 2), Box(2, 2, 4, 4)) == 0
    assert iou(Box(0, 0, 0, 0), Box(0, 0, 0, 0)) == 0


def test_a_composite_has_its_object_in_its_box():
    photo = np.random.default_rng(0).uniform(0.9, 1.0, size=(32, 32, 3))
    dark = np.zeros((32, 32, 3))
    one, other = (
        composite(np.random.default_rng(5), p, 64) for p in (photo, dark + 0.05)
    )
    assert one.box == other.box
    top, left, bottom, right = one.box
    assert (
        0.4 * 64 - 1 <= bottom - top <= 0.65 * 64 + 1 and bottom - top == right - left
    )
    assert top >= 0 and bottom <= 64 and left >= 0 and right <= 64
    middle = one.image[(top + bottom) // 2, (left + right) // 2]
    assert (middle > 0.85).all() and one.image.shape == (64, 64, 3)
    # What is outside has the photo's colors too.
    assert one.image.min() > 0.7 and other.image.max() < 0.1


def test_a_texture_has_a_photos_colors():
    photo = np.random.default_rng(0).normal(0.5, (0.05, 0.1, 0.02), size=(64, 64, 3))
    found = texture(np.random.default_rng(1), 128, photo)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), 0.5, atol=0.01)
    np.testing.assert_allclose(found.std(axis=(0, 1)), (0.05, 0.1, 0.02), rtol=0.1)
