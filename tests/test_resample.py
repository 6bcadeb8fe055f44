"""The linear maps of resample.py against dense numpy formulas, and their adjoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import resample

H, W, C = 21, 28, 3
rng = np.random.default_rng(0)
IMAGE = rng.random((H, W, C)).astype(np.float32)
GRADIENT = rng.standard_normal((H, W, C)).astype(np.float32)


def hat(d):
    return np.maximum(1 - np.abs(d), 0)


def bilinear(image, y, x):
    """Returns image at the float64 positions y, x [h, w], 0 outside, as a dense sum."""
    rows = hat(y[..., None] - np.arange(image.shape[0]))  # [h, w, H]
    columns = hat(x[..., None] - np.arange(image.shape[1]))  # [h, w, W]
    return np.einsum("hwp,hwq,pqc->hwc", rows, columns, image.astype(np.float64))


def turned(image, degrees):
    t = np.deg2rad(degrees)
    cy, cx = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    y, x = y - cy, x - cx
    return bilinear(
        image, np.cos(t) * y + np.sin(t) * x + cy, np.cos(t) * x - np.sin(t) * y + cx
    )


def turned_nearest(image, degrees):
    t = np.deg2rad(degrees)
    cy, cx = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    y, x = y - cy, x - cx
    row = np.rint(np.cos(t) * y + np.sin(t) * x + cy).astype(int)
    column = np.rint(np.cos(t) * x - np.sin(t) * y + cx).astype(int)
    return bilinear(image, row, column)


def zoomed(image, factor):
    cy, cx = (image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return bilinear(image, (y - cy) / factor + cy, (x - cx) / factor + cx)


def turned_by_autodiff(image, radians):
    """`resample.turn`, whose gradient by autodiff is a scatter."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in image.shape[:2])
    moved = resample.turning(radians).moved(y[:, None], x[None, :])
    return resample._interpolate(image, *moved)


def forth_and_back(apply, parameters, gradient=GRADIENT):
    """Returns (A IMAGE, A^T gradient) for all parameters, each [n, ...]."""

    @jax.jit  # images are arguments: XLA would fold constants for seconds
    def program(parameters, image, gradient):
        def one(parameter):
            out, vjp = jax.vjp(lambda image: apply(image, parameter), image)
            return out, vjp(gradient)[0]

        return jax.vmap(one)(parameters)

    return program(jnp.array(parameters), IMAGE, gradient)


MAPS = {
    "turn": (
        lambda image, degrees: resample.turn(image, jnp.deg2rad(degrees)),
        lambda image, degrees: turned_by_autodiff(image, jnp.deg2rad(degrees)),
        turned,
        [0.0, 1.0, -10.0, 10.0, 30.0, 45.0, 90.0, -133.0, 180.0],
    ),
    "turn, nearest": (
        lambda image, degrees: resample.turn_nearest(image, jnp.deg2rad(degrees)),
        lambda image, degrees: resample._turn_nearest_forward(
            image, jnp.deg2rad(degrees)
        ),
        turned_nearest,
        [0.0, 1.0, -10.0, 10.0, 30.0, -133.0, 180.0],  # no source between two pixels
    ),
    "zoom, no bound": (
        resample.zoom,
        resample._zoom_forward,
        zoomed,
        [0.1, 0.5, 0.9, 1.0, 1.1, 1.5, 2.0, 7.3],
    ),
    "zoom up to 1.5": (
        lambda image, factor: resample.zoom(image, factor, 1.5),
        resample._zoom_forward,
        zoomed,
        [0.1, 0.5, 0.9, 0.98, 1.0, 1.1, 1.3, 1.5],
    ),
}


@pytest.mark.parametrize("name", MAPS)
def test_value_adjoint_and_gradient(name):
    apply, plain, reference, parameters = MAPS[name]
    out, back = forth_and_back(apply, parameters)
    _, expected_back = forth_and_back(plain, parameters)  # by autodiff
    for i, parameter in enumerate(parameters):
        np.testing.assert_allclose(out[i], reference(IMAGE, parameter), atol=2e-5)
        forth_sum = np.vdot(np.float64(out[i]), GRADIENT)
        back_sum = np.vdot(IMAGE, np.float64(back[i]))
        scale = np.linalg.norm(out[i]) * np.linalg.norm(GRADIENT)
        assert abs(forth_sum - back_sum) < 1e-5 * scale, (name, parameter)
        np.testing.assert_allclose(back[i], expected_back[i], rtol=1e-5, atol=2e-5)


def test_the_adjoint_is_the_transpose_for_the_size_of_a_dream():
    rng = np.random.default_rng(1)
    image, gradient = rng.standard_normal((2, 140, 140, 3)).astype(np.float32)

    @jax.jit
    def backs(image, gradient, radians):
        def back(apply):
            return jax.vjp(lambda i: apply(i, radians), image)[1](gradient)[0]

        return back(resample.turn), back(turned_by_autodiff)

    ours, autodiff = backs(image, gradient, 0.1745)
    np.testing.assert_allclose(ours, autodiff, rtol=1e-5, atol=1e-5)


def test_quarter_turns_are_counterclockwise():
    square = jnp.asarray(IMAGE[:, :21])
    turn = jax.jit(resample.turn)
    for k in range(4):
        expected = np.rot90(square, k)
        np.testing.assert_allclose(turn(square, k * np.pi / 2), expected, atol=1e-5)
    np.testing.assert_array_equal(turn(square, 0.0), square)


def test_zoom_by_hand():
    ramp = jnp.array([0.0, 1.0, 2.0, 3.0]).reshape(1, 4, 1)
    zoom = jax.jit(lambda factor: resample.zoom(ramp, factor).ravel())
    # From the center 1.5: ±1.5/2 and ±0.5/2.
    np.testing.assert_allclose(zoom(2.0), [0.75, 1.25, 1.75, 2.25])
    # Positions -1.5, 0.5, 2.5, 4.5: the outer two see nothing.
    np.testing.assert_allclose(zoom(0.5), [0.0, 0.5, 2.5, 0.0])
    np.testing.assert_array_equal(zoom(1.0), [0.0, 1.0, 2.0, 3.0])


def test_zoom_has_the_half_pixel_convention_of_jax_image():
    def theirs(image, factor):
        scale = jnp.stack([factor, factor])
        shift = jnp.stack([(1 - factor) * H / 2, (1 - factor) * W / 2])
        return jax.image.scale_and_translate(
            image, IMAGE.shape, (0, 1), scale, shift, "linear", antialias=False
        )

    factors = [0.9, 1.02, 1.4]
    ours, _ = forth_and_back(resample.zoom, factors)
    expected, _ = forth_and_back(theirs, factors)
    inside = np.s_[:, 3:-3, 3:-3]  # at the border, theirs repeats the last pixel
    np.testing.assert_allclose(ours[inside], expected[inside], atol=1e-5)


def test_crop_at_and_its_gradient():
    h, w = H - 4, W - 4
    gradient = GRADIENT[:h, :w]
    offsets = [(0, 0), (4, 0), (1, 3), (4, 4)]
    outs, backs = forth_and_back(
        lambda image, offset: resample.crop_at(image, offset, 4), offsets, gradient
    )
    for (y, x), out, back in zip(offsets, outs, backs, strict=True):
        np.testing.assert_array_equal(out, IMAGE[y : y + h, x : x + w])
        expected = np.zeros_like(IMAGE)
        expected[y : y + h, x : x + w] = gradient
        np.testing.assert_array_equal(back, expected)


def test_roll_by_and_its_gradient():
    shifts = [(0, 0), (3, -5), (-H - 2, 3 * W + 1)]
    outs, backs = forth_and_back(resample.roll_by, shifts)
    for (y, x), out, back in zip(shifts, outs, backs, strict=True):
        np.testing.assert_array_equal(out, np.roll(IMAGE, (y, x), (0, 1)))
        np.testing.assert_array_equal(back, np.roll(GRADIENT, (-y, -x), (0, 1)))


def test_draws_get_a_zero_gradient_and_nan_stays_inside_the_image():
    @jax.jit
    def value_and_slope(parameter, image):
        def total(parameter):
            turned = resample.turn(image, parameter)
            return turned.sum() + resample.zoom(image, parameter).sum()

        return jax.value_and_grad(total)(parameter)

    value, slope = value_and_slope(1.1, IMAGE)
    assert np.isfinite(value) and slope == 0
    # A run with a broken hyperparameter must read no memory outside the image.
    assert np.isnan(value_and_slope(jnp.nan, IMAGE)[0])


MOVES = {
    "one pixel": [("shift", 1.0, 0.0)],
    "between pixels": [("shift", -2.25, 0.5)],
    "zoom, turn, shift": [("zoom", 1.2), ("turn", 0.17), ("shift", 3.0, -1.0)],
    "shift, turn, zoom out": [("shift", 2.0, 4.0), ("turn", -0.4), ("zoom", 0.7)],
    "far": [("turn", 2.5), ("shift", 40.0, 0.0)],
}
MAKERS = {
    "shift": resample.shifting,
    "zoom": resample.zooming,
    "turn": resample.turning,
}


@pytest.mark.parametrize("size", [(21, 28), (24, 25), (10, 31)])
@pytest.mark.parametrize("name", MOVES)
def test_an_affine_map_of_several_moves(name, size):
    """Against the moves' matrices multiplied in float64, and autodiff's transpose."""
    matrix, shift = np.eye(2), np.zeros(2)
    map_ = resample.shifting(jnp.zeros(()), jnp.zeros(()))
    for kind, *numbers in MOVES[name]:
        map_ = MAKERS[kind](*map(jnp.float32, numbers)).after(map_)
        own, own_shift = np.eye(2), np.zeros(2)
        if kind == "shift":
            own_shift = np.array(numbers)
        elif kind == "zoom":
            own = own / numbers[0]
        else:
            c, s = np.cos(numbers[0]), np.sin(numbers[0])
            own = np.array([[c, s], [-s, c]])
        matrix, shift = matrix @ own, shift + matrix @ own_shift
    q = np.stack(np.mgrid[: size[0], : size[1]], -1) - (np.array(size) - 1) / 2
    s = q @ matrix.T + shift + (np.array([H, W]) - 1) / 2
    g = rng.standard_normal((*size, C)).astype(np.float32)

    @jax.jit
    def program(image, g):
        out, pull = jax.vjp(lambda image: resample.affine(image, map_, size), image)
        return out, pull(g)[0]

    found, back = program(IMAGE, g)
    np.testing.assert_allclose(found, bilinear(IMAGE, s[..., 0], s[..., 1]), atol=2e-5)
    rows = hat(s[..., 0][..., None] - np.arange(H))
    columns = hat(s[..., 1][..., None] - np.arange(W))
    wanted = np.einsum("hwp,hwq,hwc->pqc", rows, columns, np.float64(g))
    np.testing.assert_allclose(back, wanted, atol=5e-5)


def test_the_inverse_of_a_map():
    map_ = resample.shifting(jnp.float32(3), jnp.float32(-2))
    map_ = resample.zooming(jnp.float32(1.3)).after(map_)
    map_ = resample.turning(jnp.float32(0.3)).after(map_)
    whole = map_.inverse().after(map_)
    np.testing.assert_allclose(jax.tree.leaves(whole), 0, atol=1e-6)
