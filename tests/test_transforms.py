"""Random views against numpy formulas; draws, shapes, gradients, errors."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import transforms
from dreamjax.hparams import Hparam
from dreamjax.transforms import TRANSFORMS

H, W, C = 33, 46, 3  # odd, even, not square
rng = np.random.default_rng(0)
IMAGES = rng.random((3, H, W, C)).astype(np.float32)
HP = {
    "pixels": jnp.float32(4.0),
    "low": jnp.float32(0.9),
    "high": jnp.float32(1.2),
    "degrees": jnp.float32(7.0),
    "size": jnp.float32(0.3),
}


class Case(NamedTuple):
    """A transform as the table makes it, and what all of its views must satisfy."""

    make: object  # () -> Transform
    shape: tuple[int, int]
    check: object  # (view [h, w, C], image [H, W, C]), raises
    random: bool = True


def equal(expected, atol=0.0):
    return lambda view, image: np.testing.assert_allclose(
        view, expected(image), atol=atol, rtol=0
    )


def padded(image, n, mode="constant", **kwargs):
    return np.pad(image, ((n, n), (n, n), (0, 0)), mode, **kwargs)


def is_crop(view, image, last=4):
    found = [
        (y, x)
        for y in range(last + 1)
        for x in range(last + 1)
        if np.array_equal(image[y : y + view.shape[0], x : x + view.shape[1]], view)
    ]
    assert len(found) == 1, found


def is_roll(view, image, most):
    found = [
        (y, x)
        for y in range(-most, most + 1)
        for x in range(-most, most + 1)
        if np.array_equal(np.roll(image, (y, x), (0, 1)), view)
    ]
    assert len(found) == 1, found


def is_one_of(*candidates, atol=2e-5):
    def check(view, image):
        gaps = [np.abs(view - candidate(image)).max() for candidate in candidates]
        assert min(gaps) < atol, gaps

    return check


def around(image, factor=1.0, degrees=0.0, fill=0.5):
    """Returns the bilinear view by a dense float64 sum over an image in a fill."""
    t = np.deg2rad(degrees)
    h, w = image.shape[:2]
    y, x = np.mgrid[:h, :w]
    y, x = (y - (h - 1) / 2) / factor, (x - (w - 1) / 2) / factor
    sy = np.cos(t) * y + np.sin(t) * x + (h - 1) / 2
    sx = np.cos(t) * x - np.sin(t) * y + (w - 1) / 2
    rows = np.maximum(1 - np.abs(sy[..., None] - np.arange(h)), 0)
    columns = np.maximum(1 - np.abs(sx[..., None] - np.arange(w)), 0)
    return np.einsum("hwp,hwq,pqc->hwc", rows, columns, image - fill) + fill


def is_noisy(view, image):
    z = (view - image) / 0.3
    n = z.size
    assert abs(z.mean()) < 5 / np.sqrt(n) and abs(z.std() - 1) < 5 / np.sqrt(2 * n)
    assert abs(np.mean(np.abs(z) < 1) - 0.6827) < 0.05  # Gaussian, not uniform


def is_color_jittered(view, image):
    pairs = []
    for c in range(C):
        stretch, shift = np.polyfit(image[..., c].ravel(), view[..., c].ravel(), 1)
        np.testing.assert_allclose(
            view[..., c], stretch * image[..., c] + shift, atol=1e-5
        )
        assert abs(np.log(stretch)) < 0.3 and abs(shift) < 0.2
        pairs.append((stretch, shift))
    assert len(set(np.round(pairs, 4).ravel())) == 2 * C  # one draw for each channel


def is_gray_bordered(view, image):
    assert np.isfinite(view).all()
    assert view.min() >= 0 and view.max() <= 1
    middle = view[view.shape[0] // 2 - 8 :, view.shape[1] // 2 - 8 :][:16, :16]
    assert middle.std() > 0.1  # still the image


def center(image, h, w):
    y, x = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
    return image[y : y + h, x : x + w]


CASES = {
    "pad": [
        Case(
            lambda: transforms.pad(2),
            (H + 4, W + 4),
            equal(lambda i: padded(i, 2, constant_values=0.5)),
            False,
        ),
        Case(
            lambda: transforms.pad(3, "reflect"),
            (H + 6, W + 6),
            equal(lambda i: padded(i, 3, "reflect")),
            False,
        ),
        Case(
            lambda: transforms.pad(3, value="wrap"),
            (H + 6, W + 6),
            equal(lambda i: padded(i, 3, "wrap")),
            False,
        ),
        Case(
            lambda: transforms.pad(1, value="edge"),
            (H + 2, W + 2),
            equal(lambda i: padded(i, 1, "edge")),
            False,
        ),
        Case(
            lambda: transforms.pad(pixels=1, value=Hparam("size")),
            (H + 2, W + 2),
            equal(lambda i: padded(i, 1, constant_values=np.float32(0.3))),
            False,
        ),
    ],
    "jitter": [
        Case(lambda: transforms.jitter(4), (H - 4, W - 4), is_crop),
        Case(
            lambda: transforms.jitter(Hparam("pixels"), limit=9),
            (H - 9, W - 9),
            lambda view, image: is_crop(view, image[2:, 2:]),  # window {2..6}
        ),
        Case(
            lambda: transforms.jitter(0, limit=5),
            (H - 5, W - 5),
            equal(lambda i: center(i, H - 5, W - 5)),
            False,
        ),
    ],
    "roll": [
        Case(lambda: transforms.roll(3), (H, W), lambda v, i: is_roll(v, i, 3)),
        Case(
            lambda: transforms.roll(Hparam("pixels")),
            (H, W),
            lambda v, i: is_roll(v, i, 4),
        ),
    ],
    "crop": [
        Case(
            lambda: transforms.crop(20),
            (20, 20),
            equal(lambda i: i[6:26, 13:33]),
            False,
        ),
    ],
    "crop_or_pad": [
        Case(
            lambda: transforms.crop_or_pad((38, 39), fill=0.25),
            (38, 39),
            equal(
                lambda i: np.pad(
                    i[:, 3:42], ((2, 3), (0, 0), (0, 0)), constant_values=0.25
                )
            ),
            False,
        ),
    ],
    "scale": [
        Case(
            lambda: transforms.scale(low=1.3, high=1.3),
            (H, W),
            equal(lambda i: around(i, 1.3), 2e-5),
            False,
        ),
        Case(
            lambda: transforms.scale(0.8, 1.2, steps=3),
            (H, W),
            is_one_of(*(lambda i, f=f: around(i, f) for f in (0.8, 1.0, 1.2))),
        ),
        Case(
            lambda: transforms.scale(Hparam("high"), Hparam("high"), fill=0.1),
            (H, W),
            equal(lambda i: around(i, 1.2, fill=0.1), 2e-5),
            False,
        ),
    ],
    "rotate": [
        Case(
            lambda: transforms.rotate(low=-20, high=-20),
            (H, W),
            equal(lambda i: around(i, degrees=-20), 2e-5),
            False,
        ),
        Case(
            lambda: transforms.rotate(20, Hparam("degrees"), steps=2, rest=1, fill=1.0),
            (H, W),
            is_one_of(
                *(lambda i, d=d: around(i, degrees=d, fill=1.0) for d in (0, 7, 20))
            ),
        ),
        Case(  # half a turn meets every pixel, and nothing from outside
            lambda: transforms.rotate(180, 180, interpolation="nearest"),
            (H, W),
            equal(lambda i: i[::-1, ::-1], 2e-6),
            False,
        ),
    ],
    "resize": [
        Case(
            # Half the size: the antialiased hat spans 4 pixels, weights 1 3 3 1 of 8.
            lambda: transforms.resize((H, W // 2)),
            (H, W // 2),
            lambda view, i: np.testing.assert_allclose(
                view[:, 1:-1],
                (i[:, 1:-4:2] + 3 * i[:, 2:-3:2] + 3 * i[:, 3:-2:2] + i[:, 4:-1:2]) / 8,
                atol=1e-6,
            ),
            False,
        ),
    ],
    "flip": [
        Case(lambda: transforms.flip(1), (H, W), equal(lambda i: i[:, ::-1]), False),
        Case(lambda: transforms.flip(0.0), (H, W), equal(lambda i: i), False),
        Case(
            transforms.flip,
            (H, W),
            is_one_of(lambda i: i, lambda i: i[:, ::-1]),
        ),
    ],
    "noise": [
        Case(lambda: transforms.noise(0.3), (H, W), is_noisy),
        Case(lambda: transforms.noise(Hparam("size")), (H, W), is_noisy),
    ],
    "color_jitter": [
        Case(
            lambda: transforms.color_jitter(mean=0.2, std=Hparam("size")),
            (H, W),
            is_color_jittered,
        ),
        Case(
            lambda: transforms.color_jitter(mean=0, std=0),
            (H, W),
            equal(lambda i: i),
            False,
        ),
    ],
    "chain": [
        Case(lambda: transforms.chain(), (H, W), equal(lambda i: i), False),
        Case(
            lambda: transforms.chain(transforms.flip(1), transforms.pad(1, 0.0)),
            (H + 2, W + 2),
            equal(lambda i: padded(i[:, ::-1], 1)),
            False,
        ),
    ],
    "lucid_standard": [
        Case(transforms.lucid_standard, (H + 12, W + 12), is_gray_bordered)
    ],
    "distill_2017": [Case(transforms.distill_2017, (H, W), is_gray_bordered)],
    "deepdream_2015": [
        Case(
            lambda: transforms.deepdream_2015(pixels=2),
            (H, W),
            lambda v, i: is_roll(v, i, 2),
        )
    ],
}
LIST = [
    (name, i, case) for name, cases in CASES.items() for i, case in enumerate(cases)
]
IDS = [f"{name}-{i}" for name, i, _ in LIST]


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


# One jitted program serves the module: compiling is nearly all of the time.
WEIGHTS = {
    id_: rng.standard_normal((3, *case.shape, C)).astype(np.float32)
    for id_, (_, _, case) in zip(IDS, LIST, strict=True)
}


@pytest.fixture(scope="module")
def program():
    """(keys [3], images) -> id -> (views T(x), gradients of <T(x), WEIGHTS>)."""
    made = {i: case.make() for i, (_, _, case) in zip(IDS, LIST, strict=True)}

    @jax.jit  # everything is an argument: XLA would fold constants for seconds
    def run(keys, images, weights, hp):
        out = {}
        for i, transform in made.items():
            batched = jax.vmap(transform, (0, 0, None))
            views, vjp = jax.vjp(lambda x, b=batched: b(keys, x, hp), images)
            out[i] = views, vjp(weights[i])[0]
        return out

    def call(keys, images):
        return jax.tree.map(np.asarray, run(keys, images, WEIGHTS, HP))

    return call


@pytest.fixture(scope="module")
def views(program):
    """(keys [3], images) -> id -> views."""
    return lambda keys, images: {i: v for i, (v, _) in program(keys, images).items()}


@pytest.fixture(scope="module")
def batch(views):
    """Views of three images with three keys."""
    return views(keys(3), IMAGES)


def test_every_transform_has_a_case():
    assert set(CASES) == set(TRANSFORMS)
    assert all(getattr(transforms, name) is make for name, make in TRANSFORMS.items())


@pytest.mark.parametrize(("name", "i", "case"), LIST, ids=IDS)
def test_views_follow_the_formula(batch, name, i, case):
    out = batch[f"{name}-{i}"]
    assert out.shape == (3, *case.shape, C) and out.dtype == np.float32
    assert np.isfinite(out).all()
    for view, image in zip(out, IMAGES, strict=True):
        case.check(view, image)
    assert transforms.output_shape(case.make(), (H, W, C), HP) == (*case.shape, C)


def test_keys_decide(views, batch):
    """Same key, same bits; alone as in a batch; other keys, other views."""
    again = views(keys(3), IMAGES)
    shuffled = views(keys(3)[::-1], IMAGES[::-1])
    same_image = np.broadcast_to(IMAGES[:1], IMAGES.shape)
    one = views(keys(3), same_image)
    other = views(keys(3, seed=1), same_image)
    for id_, (_, _, case) in zip(IDS, LIST, strict=True):
        np.testing.assert_array_equal(again[id_], batch[id_])
        # An image's view does not depend on its neighbors nor on its place.
        np.testing.assert_array_equal(shuffled[id_][::-1], batch[id_])
        draws = {v.tobytes() for v in (*one[id_], *other[id_])}
        assert (len(draws) > 1) == case.random, (id_, len(draws))


SOME = ["jitter-1", "roll-0", "scale-1", "scale-2", "rotate-1", "lucid_standard-0"]


def test_vmapped_equals_one_image(batch):
    made = {i: case.make() for i, (_, _, case) in zip(IDS, LIST, strict=True)}
    alone = jax.jit(lambda k, x, hp: {i: made[i](k, x, hp) for i in SOME})
    for n, key in enumerate(keys(3)):
        for id_, view in alone(key, IMAGES[n], HP).items():
            np.testing.assert_allclose(view, batch[id_][n], atol=1e-6)


def test_gradients_are_the_adjoint(program):
    """<T(x) - T(0), w> = <x, grad <T(x), w>>: every transform is affine in x."""
    here, origin = program(keys(3), IMAGES), program(keys(3), 0 * IMAGES)
    for id_, (view, gradient) in here.items():
        assert np.isfinite(gradient).all()
        linear = np.float64(view) - origin[id_][0]
        for n in range(3):
            forth = np.vdot(linear[n], WEIGHTS[id_][n])
            back = np.vdot(np.float64(IMAGES[n]), gradient[n])
            scale = np.linalg.norm(linear[n]) * np.linalg.norm(WEIGHTS[id_][n])
            assert abs(forth - back) < 1e-5 * scale, id_


def test_swept_values_do_not_recompile_and_get_no_gradient():
    view = transforms.chain(
        transforms.jitter(Hparam("pixels"), limit=8),
        transforms.scale(Hparam("low"), Hparam("high"), steps=3),
        transforms.rotate(0, Hparam("degrees")),
        transforms.noise(Hparam("size")),
    )
    traces = []

    @jax.jit
    def step(key, image, hp):
        traces.append(1)
        return jax.value_and_grad(lambda hp: view(key, image, hp).sum())(hp)

    values = []
    for pixels in (0.0, 3.0, 8.0):
        value, gradient = step(
            jax.random.key(0), IMAGES[0], HP | {"pixels": jnp.float32(pixels)}
        )
        values.append(float(value))
        assert all(g == 0 for g in gradient.values())
    assert len(traces) == 1
    assert np.isfinite(values).all() and len(set(values)) > 1


# The distributions of the draws.


def counts(values):
    found, n = np.unique(
        np.round(np.asarray(values, np.float64), 4), return_counts=True
    )
    return dict(zip(found.tolist(), n.tolist(), strict=True))


def test_draws_have_lucid_lists():
    n = 5000

    @jax.jit
    @jax.vmap
    def draws(key):
        return (
            transforms.draw(key, -10, 10, steps=21, rest=5),
            transforms.draw(key, 0.9, 1.1, steps=11),
            transforms.draw(key, -2.0, 3.0),
        )

    degrees, factors, anything = (np.asarray(d) for d in draws(keys(n)))
    found = counts(degrees)
    assert sorted(found) == list(range(-10, 11))
    for angle, count in found.items():
        p = 6 / 26 if angle == 0 else 1 / 26
        assert abs(count / n - p) < 4 * np.sqrt(p * (1 - p) / n), (angle, count)
    found = counts(factors)
    assert sorted(found) == [
        *[0.9, 0.92, 0.94, 0.96, 0.98, 1.0],
        *[1.02, 1.04, 1.06, 1.08, 1.1],
    ]
    assert max(abs(c / n - 1 / 11) for c in found.values()) < 0.017
    assert 1.0 in factors  # exactly: nothing is interpolated
    assert anything.min() >= -2 and anything.max() <= 3
    assert abs(anything.mean() - 0.5) < 0.1 and abs(anything.std() - 1.443) < 0.06


def test_jitter_and_roll_draw_every_offset_of_the_window():
    n = 2000
    places = np.stack(np.mgrid[:9, :11], -1).astype(np.float32)  # value: where from
    crop = transforms.jitter(Hparam("pixels"), limit=5)
    roll = transforms.roll(Hparam("pixels"))

    @jax.jit
    def corners(keys, image, hp):
        def one(key):
            return crop(key, image, hp)[0, 0, :2], roll(key, image, hp)[0, 0, :2]

        return jax.vmap(one)(keys)

    # pixels, traced -> the offsets of the crop; 2.6 rounds, 99 is held within limit.
    for pixels, low, high in [(0, 2, 2), (1, 2, 3), (2.6, 1, 4), (5, 0, 5), (99, 0, 5)]:
        offsets, shifts = corners(keys(n), places, {"pixels": jnp.float32(pixels)})
        for axis, side in ((0, 9), (1, 11)):
            found = counts(offsets[:, axis])
            assert sorted(found) == list(range(low, high + 1))
            p = 1 / (high - low + 1)
            assert all(abs(c / n - p) < 0.05 for c in found.values())
            if pixels <= 4:
                most = round(pixels)
                expected = {-s % side for s in range(-most, most + 1)}
                assert set(counts(shifts[:, axis])) == expected
        if low < high:  # the axes draw apart
            assert abs(np.corrcoef(offsets.T)[0, 1]) < 0.1


def test_members_of_a_chain_draw_apart():
    twice = transforms.chain(transforms.noise(1.0), transforms.noise(1.0))
    view = jax.jit(twice)(jax.random.key(0), jnp.zeros((64, 64, 3)), {})
    assert abs(view.std() - np.sqrt(2)) < 0.05  # one key for both would give 2


def test_presets_keep_gray(views):
    gray = views(keys(3), np.full_like(IMAGES, 0.5))
    for id_ in ("lucid_standard-0", "distill_2017-0"):
        np.testing.assert_allclose(gray[id_], 0.5, atol=1e-6)


def test_lucid_standard_does_not_drift():
    """A blob in the middle stays there on average, and within the moves' reach."""
    y, x = np.mgrid[:40, :51]
    blob = 0.5 + 0.5 * np.exp(-((y - 19.5) ** 2 + (x - 25) ** 2) / 50)
    image = np.repeat(blob[..., None], 3, -1).astype(np.float32)
    many = jax.jit(jax.vmap(transforms.lucid_standard(), (0, None, None)))
    view = np.asarray(many(keys(256), image, {}))[..., 0] - 0.5
    assert np.isfinite(view).all() and view.min() > -1e-6
    for axis in (1, 2):
        n = view.shape[axis]
        profile = view.sum(axis=3 - axis)
        off = profile @ np.arange(n) / profile.sum(axis=1) - (n - 1) / 2
        assert abs(off.mean()) < 4 * off.std() / np.sqrt(256)
        # Jitter 8 is ±4, turned by 10° and enlarged 1.1 times, then jitter 4 is ±2.
        assert np.abs(off).max() < 4 * 1.1 * (0.985 + 0.174) + 2 + 0.1


# Errors.

BAD = {
    "pixels=-1": lambda: transforms.pad(-1),
    "pixels=1.5": lambda: transforms.pad(1.5),
    "Did you mean": lambda: transforms.pad(1, "reflekt"),
    "value=nan": lambda: transforms.pad(1, float("nan")),
    "pixels=-2": lambda: transforms.jitter(-2),
    "needs limit=": lambda: transforms.jitter(Hparam("pixels")),
    "limit=4": lambda: transforms.jitter(5, limit=4),
    "limit=-4": lambda: transforms.jitter(Hparam("p"), limit=-4),
    "pixels=True": lambda: transforms.roll(True),
    "pixels=-3": lambda: transforms.deepdream_2015(-3),
    "low=1.2": lambda: transforms.scale(1.2, 1.1),
    "low=0": lambda: transforms.scale(0, 1),
    "high=-1": lambda: transforms.scale(Hparam("low"), -1),
    "steps=1": lambda: transforms.scale(0.9, 1.1, steps=1),
    "steps=-1": lambda: transforms.rotate(-1, 1, steps=-1),
    "low=3": lambda: transforms.rotate(3, 1),
    "interpolation='cubic'": lambda: transforms.rotate(0, 1, interpolation="cubic"),
    "rest=5": lambda: transforms.rotate(-1, 1, rest=5),
    "rest=-5": lambda: transforms.rotate(-1, 1, steps=3, rest=-5),
    "size=0": lambda: transforms.crop(0),
    r"size=\(3, 4, 5\)": lambda: transforms.resize((3, 4, 5)),
    "size=2.5": lambda: transforms.resize((2, 2.5)),
    "fill='gray'": lambda: transforms.crop_or_pad(3, fill="gray"),
    "probability=1.5": lambda: transforms.flip(1.5),
    "sigma=-0.1": lambda: transforms.noise(-0.1),
    "mean=-1": lambda: transforms.color_jitter(mean=-1),
    "std=inf": lambda: transforms.color_jitter(std=float("inf")),
    "transforms=3": lambda: transforms.chain(transforms.flip(), 3),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()


def test_a_transform_that_does_not_fit_says_so_at_trace_time():
    def trace(transform, shape, hp=HP):
        return transforms.output_shape(transform, shape, hp)

    for side in (8, 7):
        with pytest.raises(ValueError, match=rf"limit=8.*20 × {side} px"):
            trace(transforms.jitter(8), (20, side, 3))
    assert trace(transforms.jitter(8), (20, 9, 3)) == (12, 1, 3)
    with pytest.raises(ValueError, match=r"crop\(size=21\).*20 × 24 px.*crop_or_pad"):
        trace(transforms.crop(21), (20, 24, 3))
    for cases in CASES.values():
        with pytest.raises(ValueError, match=r"one image \[H, W, C\].*jax.vmap"):
            trace(cases[0].make(), (2, 20, 20, 3))
    with pytest.raises(ValueError, match="'pixels' is read but not given"):
        trace(transforms.roll(Hparam("pixels")), (20, 20, 3), {})
