"""Parametrizations against ORACLES C1 to C6 and F1 to F8, and their inverses."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dreamjax.images import load_image
from dreamjax.labels import ASSETS
from dreamjax.params.color import (
    COLOR,
    COLOR_INVERSE,
    COLOR_MEAN,
    COLOR_SQRT,
    from_rgb,
    to_rgb,
)
from dreamjax.params.image import COLORS, RANGES, clip_inward, image_param
from dreamjax.params.spatial import (
    SPATIAL,
    fourier,
    fourier_scale,
    frequencies,
    laplacian,
    lowres_shared,
)

FAST = {"xla_backend_optimization_level": 0}  # compile time is all there is
scale_of = jax.jit(fourier_scale, static_argnums=(0, 1))
HP = {"init_std": 0.01, "decay_power": 1.0}
ODD = (13, 15)
COMBINATIONS = list(itertools.product(SPATIAL, COLORS, RANGES))


# Color.


def test_color_matrix():
    """C1, C2, C3, C4: the published digits, the divisor, the inverse."""
    norms = np.linalg.norm(COLOR_SQRT, axis=0)
    np.testing.assert_allclose(norms, [0.461952, 0.127279, 0.061644], atol=5e-7)
    published = [
        [0.56282858, 0.19482528, 0.04329451],
        [0.58447583, 0, -0.10823626],
        [0.58447583, -0.19482528, 0.06494176],
    ]
    np.testing.assert_allclose(COLOR, published, atol=5e-8)
    assert np.linalg.det(COLOR) == pytest.approx(-0.0365183, abs=5e-8)
    np.testing.assert_allclose(COLOR_INVERSE[0], [0.57744047] * 3, atol=5e-8)
    singular = np.linalg.svd(COLOR, compute_uv=False)
    np.testing.assert_allclose(singular, [1.00001, 0.27604, 0.13229], atol=5e-6)


def test_color_is_applied_from_the_right():
    """C5: the first axis is nearly luminance."""
    rgb = to_rgb(jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    wanted = [[0.5628, 0.5845, 0.5845], [0.0433, -0.1082, 0.0649]]
    np.testing.assert_allclose(rgb, wanted, atol=5e-5)
    values = jnp.array([[[0.3, -0.2, 0.9]]])
    np.testing.assert_allclose(from_rgb(to_rgb(values)), values, atol=1e-6)


def test_mean_color_without_sigmoid_only():
    """C6: (.48, .46, .41) is where a decorrelated clip starts; a sigmoid at .5."""
    zeros = jnp.zeros((1, 8, 8, 3))
    for color, range_, mean in [
        ("decorrelated", "clip", (0.48, 0.46, 0.41)),
        ("decorrelated", "sigmoid", (0.5, 0.5, 0.5)),
        ("rgb", "clip", (0.5, 0.5, 0.5)),
        ("rgb", "sigmoid", (0.5, 0.5, 0.5)),
    ]:
        param = image_param("pixel", size=(8, 8), color=color, range_=range_)
        np.testing.assert_allclose(param.apply(zeros, HP)[0, 0, 0], mean, rtol=1e-6)
    np.testing.assert_allclose(COLOR_MEAN, [0.48, 0.46, 0.41], rtol=1e-6)


# Fourier.


def test_fourier_scale():
    """F2 and F3."""
    wanted = [
        [16, 16, 8],
        [11.3137085, 7.15541753],
        [7.15541753, 5.65685425],
    ]
    found = np.asarray(scale_of(4, 4, 1.0))
    assert found.shape == (4, 3)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6)
    np.testing.assert_allclose(found[1:3, 1:], wanted[1:], rtol=1e-6)
    np.testing.assert_allclose(found[:, 0], [16, 16, 8, 16], rtol=1e-6)
    np.testing.assert_allclose(found[3], found[1], rtol=1e-6)
    for side, constant, corner in [
        (64, 4096, 90.5097),
        (224, 50176, 316.7838),
        (512, 262144, 724.0773),
    ]:
        scale = scale_of(side, side, 1.0)
        assert float(scale[0, 0]) == pytest.approx(constant, rel=1e-6)
        assert float(scale[side // 2, -1]) == pytest.approx(corner, rel=1e-6)
    tall = scale_of(8, 6, 1.0)
    np.testing.assert_allclose(tall[0, :2], [55.4256, 41.5692], rtol=1e-5)


def test_frequencies_of_an_odd_width():
    """F5: (0, .2, .4), where Lucid's has a fourth column and crops the image."""
    np.testing.assert_allclose(frequencies(5, 5)[0], [0, 0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(frequencies(5, 5)[3, 0], 0.4, rtol=1e-6)


@pytest.mark.parametrize("power", [0.85, 1.0, 1.5])
def test_fourier_is_lucids_and_lucents(power):
    """F1 and F4, in NumPy's double precision."""
    height, width = 6, 8
    z = np.random.default_rng(0).normal(size=(1, height, 5, 2, 2)).astype(np.float32)
    complex_ = z[..., 0] + 1j * z[..., 1]
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :5]
    f = np.maximum(np.sqrt(fy**2 + fx**2), 1 / 8)[None, :, :, None]
    lucid = np.sqrt(48) * f**-power * complex_
    lucid = np.fft.irfft2(lucid, axes=(1, 2)) / 4
    lucent = np.fft.irfft2(f**-power * complex_, axes=(1, 2), norm="ortho") / 4
    space = fourier((1, height, width, 2))
    found = jax.jit(space.apply)(jnp.asarray(z), {"decay_power": power})
    np.testing.assert_allclose(found, lucid, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, lucent, rtol=1e-4, atol=1e-5)


def test_fourier_is_exact_at_any_size():
    sizes = [(5, 7), (6, 7), (7, 6), (8, 8), (9, 9)]
    random = np.random.default_rng(1)
    raws = [random.normal(size=(2, *size, 3)).astype(np.float32) for size in sizes]

    def there_and_back(raw, hp):
        space = fourier(raw.shape)
        params = space.invert(raw, hp)
        return params, space.apply(params, hp)

    program = jax.jit(lambda raws, hp: [there_and_back(raw, hp) for raw in raws])
    for raw, (params, again) in zip(
        raws, program(raws, {"decay_power": 1.3}), strict=True
    ):
        _, height, width, _ = raw.shape
        assert params.shape == (2, height, width // 2 + 1, 3, 2)
        np.testing.assert_allclose(again, raw, atol=2e-6)


@pytest.mark.parametrize("power, slope", [(0.0, 0.0), (1.0, -1.0), (1.5, -1.5)])
def test_spectrum_of_noise(power, slope):
    """|F| of the first images: flat for power 0, falling as f^-power."""
    space = fourier((32, 64, 64, 1))
    hp = {"init_std": 0.01, "decay_power": power}
    draw = jax.jit(lambda key, hp: space.apply(space.init(key, hp), hp))
    raw = np.asarray(draw(jax.random.key(0), hp))[..., 0]
    assert np.all(np.isfinite(raw))
    fy, fx = np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None, :]
    f = np.sqrt(fy**2 + fx**2)
    size = np.sqrt(np.mean(np.abs(np.fft.rfft2(raw)) ** 2, axis=0))
    kept = (f > 2 / 64) & (f < 0.4)
    kept[:, [0, -1]] = False  # there a real image holds each coefficient twice
    logs = np.log(f[kept]), np.log(size[kept])
    assert np.polyfit(*logs, 1)[0] == pytest.approx(slope, abs=0.1)
    # Two normal numbers of .01, times √(H W) f^-p / 4.
    level = size * f**power / (np.sqrt(2) * 0.01 * 64 / 4)
    rings = [level[kept & (f >= low) & (f < low + 0.1)].mean() for low in (0, 0.1, 0.2)]
    np.testing.assert_allclose(rings, 1, atol=0.05)


@pytest.mark.parametrize(
    "side, batch, raw, colored, image",
    [
        (64, 64, 0.0170, 0.0101, 0.00253),
        (128, 24, 0.0188, 0.0114, 0.00284),
        (224, 12, 0.0200, 0.0122, 0.00304),
    ],
)
def test_first_images_are_as_wide_as_lucids(side, batch, raw, colored, image):
    """F7, ±3 %: before color, after it, after the sigmoid."""
    shape = (batch, side, side, 3)
    param = image_param("fourier", size=(side, side), batch=batch)

    @jax.jit
    def widths(key):
        params = param.init(key, HP)
        values = fourier(shape).apply(params, HP)
        images = param.apply(params, HP)
        return jnp.std(values), jnp.std(to_rgb(values)), jnp.std(images)

    found = widths(jax.random.key(0))
    np.testing.assert_allclose(found, [raw, colored, image], rtol=0.03)


# Laplacian pyramid.


def test_laplacian():
    space = laplacian((2, *ODD, 3))
    raw = np.random.default_rng(1).normal(size=(2, *ODD, 3)).astype(np.float32)

    def all_(key):
        noise = space.init(key, {"init_std": 2.0})
        sums = tuple(jnp.full(a.shape, 10.0**n) for n, a in enumerate(noise))
        again = space.apply(space.invert(jnp.asarray(raw), {}), {})
        flat = space.invert(jnp.full(raw.shape, 3.0), {})
        return noise, space.apply(sums, {}), again, flat

    noise, sums, again, (*fine, coarse) = jax.jit(all_)(jax.random.key(0))
    sides = [(13, 15), (7, 8), (4, 4), (2, 2)]
    assert [level.shape for level in noise] == [(2, *side, 3) for side in sides]
    assert np.std(noise[0]) == pytest.approx(2, rel=0.1)
    # A constant stays one through bilinear upsampling, and levels add.
    np.testing.assert_allclose(sums, 1111, rtol=1e-6)
    np.testing.assert_allclose(again, raw, atol=2e-6)
    # A constant image lies in the coarsest level alone.
    np.testing.assert_allclose(coarse, 3, rtol=1e-5)
    assert all(np.max(np.abs(level)) < 1e-5 for level in fine)


@pytest.mark.parametrize("levels, size", [(0, (8, 8)), (5, (8, 9)), (4, (7, 20))])
def test_laplacian_levels(levels, size):
    with pytest.raises(ValueError, match=f"levels={levels} is not possible"):
        laplacian((1, *size, 3), levels=levels)


# Coarse pictures that all images of a run share.


def test_lowres_shared():
    shape = (4, 16, 24, 3)
    space = lowres_shared(shape)

    def all_(key):
        fine, coarse = space.init(key, {"init_std": 2.0, "decay_power": 1.0})
        still = jax.tree.map(jnp.zeros_like, fine)
        flat = tuple(jnp.full(a.shape, 10.0**n) for n, a in enumerate(coarse))
        faded = [jnp.zeros(a.shape) for a in coarse]
        faded[3] = faded[3].at[1].set(1.0)
        same = (*coarse[:3], *faded[3:5], jnp.zeros(coarse[5].shape))
        shown = [space.apply((still, c), HP) for c in (flat, tuple(faded), same)]
        return coarse, shown

    coarse, (flat, faded, same) = jax.jit(all_)(jax.random.key(0))
    sizes = [(1, 8, 12), (1, 4, 6), (1, 2, 3), (2, 2, 3), (1, 1, 2), (2, 1, 2)]
    assert [a.shape for a in coarse] == [(*size, 3) for size in sizes]
    assert np.std(coarse[0]) == pytest.approx(2, rel=0.1)
    # A constant stays one through upsampling, and layers add.
    np.testing.assert_allclose(flat, 111111, rtol=1e-6)
    # A layer of two copies fades from one to the other along the images (bilinear,
    # at the centers of the four), those of one copy are in all alike.
    np.testing.assert_allclose(faded[:, 0, 0, 0], [0, 0.25, 0.75, 1], atol=1e-6)
    np.testing.assert_allclose(
        same - faded, np.broadcast_to((same - faded)[:1], shape), atol=1e-5
    )
    assert np.std((same - faded)[0]) > 0.5


# Range.


def test_clip_inward():
    x = jnp.array([-0.5, -0.5, 0.0, 0.5, 1.0, 1.5, 1.5])
    g = jnp.array([1.0, -1.0, 1.0, 2.0, -1.0, 1.0, -1.0])
    value, pull = jax.vjp(clip_inward, x)
    np.testing.assert_array_equal(value, [0, 0, 0, 0.5, 1, 1, 1])
    # The step goes along -g: of those outside only the ways back pass.
    np.testing.assert_array_equal(pull(g)[0], [0, -1, 1, 2, -1, 1, 0])


# Starts.


@pytest.fixture(scope="module")
def photo():
    image = load_image(ASSETS / "chelsea.png", ODD)
    image[0, 0], image[-1, -1], image[3, 4] = 0.0, 1.0, [0.0, 1.0, 0.5]
    return image


@pytest.fixture(scope="module")
def starts(photo):
    """The first images of every combination, and what becomes of them: one program."""

    def one(combination, start):
        spatial, color, range_ = combination
        param = image_param(
            spatial, size=ODD, batch=2, color=color, range_=range_, start=start
        )
        params = param.init(jax.random.key(0), HP)
        images, pull = jax.vjp(lambda p: param.apply(p, HP), params)
        if start is photo:  # and the gradient of its energy
            return images, pull(2 * images)[0]
        # Projections go by way of the inverse.
        return images, param.apply(param.invert(images, HP), HP)

    def all_():
        named = {"photo": photo, "noise": "noise"}
        return {
            (*combination, name): one(combination, start)
            for combination in COMBINATIONS
            for name, start in named.items()
        }

    return jax.jit(all_, compiler_options=FAST)()


@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_starts(starts, photo, combination):
    images, slope = starts[*combination, "photo"]
    np.testing.assert_allclose(images, np.stack([photo, photo]), atol=1e-3)
    for leaf in jax.tree.leaves(slope):  # the photo's exact 0s and 1s can move
        assert np.all(np.isfinite(leaf))
        assert np.max(np.abs(leaf)) > 0
    noise, again = starts[*combination, "noise"]
    assert noise.shape == (2, *ODD, 3)
    for found in (images, noise):
        assert np.all(np.isfinite(found))
        assert 0 <= np.min(found) <= np.max(found) <= 1
    np.testing.assert_allclose(again, noise, atol=1e-5)
    # Two images of a batch differ, and lie about the mean color.
    assert not np.array_equal(noise[0], noise[1])
    assert np.max(np.abs(noise - 0.46)) < 0.25


def test_gray_is_exactly_gray():
    combinations = [c for c in COMBINATIONS if c[0] != "laplacian" or c[1] == "rgb"]

    def first(spatial, color, range_):
        param = image_param(spatial, size=ODD, color=color, range_=range_, start="gray")
        return param.apply(param.init(jax.random.key(0), HP), HP)

    grays = jax.jit(lambda: [first(*c) for c in combinations], compiler_options=FAST)()
    for (_, _, range_), gray in zip(combinations, grays, strict=True):
        exact = 0 if range_ == "sigmoid" else 3e-7
        np.testing.assert_allclose(gray, 0.5, rtol=0, atol=exact)


def test_noise_follows_its_width_and_key():
    param = image_param("pixel", size=(8, 8), color="rgb", range_="clip")
    one = param.init(jax.random.key(0), {"init_std": 0.01})
    ten = param.init(jax.random.key(0), {"init_std": 0.1})
    other = param.init(jax.random.key(1), {"init_std": 0.01})
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-5)
    assert not np.array_equal(one, other)


def test_other_channels():
    random = np.random.default_rng(0)
    goals = {n: random.uniform(0, 1, (*ODD, n)).astype(np.float32) for n in (1, 5)}

    def first(spatial, channels):
        param = image_param(
            spatial,
            size=ODD,
            batch=2,
            channels=channels,
            color="rgb",
            start=goals[channels],
        )
        return param.apply(param.init(jax.random.key(0), HP), HP)

    found = jax.jit(
        lambda: {(s, n): first(s, n) for s in SPATIAL for n in goals},
        compiler_options=FAST,
    )()
    for (_, channels), images in found.items():
        wanted = np.stack([goals[channels]] * 2)
        assert images.shape == (2, *ODD, channels)
        np.testing.assert_allclose(images, wanted, atol=1e-3)


def test_a_param_can_fit_a_photo():
    """F8 (Lucid's own test), smaller: Adam .05, mean abs error < .01 in 400 steps."""
    goal = load_image(ASSETS / "chelsea.png")[80:112, 200:232]  # an eye
    optimizer = optax.adam(0.05)

    def fit(spatial):
        param = image_param(spatial, size=(32, 32))
        params = param.init(jax.random.key(0), HP)

        def step(carry, _):
            params, state = carry
            slope = jax.grad(
                lambda p: jnp.mean(jnp.square(param.apply(p, HP)[0] - goal))
            )(params)
            updates, state = optimizer.update(slope, state)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), None, 400)
        return jnp.mean(jnp.abs(param.apply(params, HP)[0] - goal))

    errors = jax.jit(lambda: {spatial: fit(spatial) for spatial in SPATIAL})()
    assert np.all(np.isfinite(list(errors.values())))
    assert {name for name, error in errors.items() if error < 0.01} == set(SPATIAL)


# Bad input.


@pytest.mark.parametrize(
    "spatial, options, says",
    [
        ("fuorier", {}, "param='fuorier' is not known. Did you mean \"fourier\""),
        ("pixel", {"color": "decorelated"}, 'Did you mean "decorrelated"'),
        ("pixel", {"range_": "sigmod"}, 'Did you mean "sigmoid"'),
        (
            "pixel",
            {"start": "grey"},
            "start='grey' is not known. Did you mean \"gray\"",
        ),
        ("pixel", {"channels": 1}, "color='decorrelated' needs 3 channels"),
        ("pixel", {"batch": 0}, "shape=(0, 8, 8, 3)"),
        ("pixel", {"size": (0, 8)}, "shape=(1, 0, 8, 3)"),
        ("laplacian", {"size": (4, 9)}, "levels=4 is not possible: 1 … 3 for 4×9"),
        ("pixel", {"start": np.zeros((8, 9, 3))}, "start=(8, 9, 3)"),
        ("pixel", {"start": np.zeros((8, 8, 1))}, "an image of shape (8, 8, 3)"),
        ("pixel", {"start": np.zeros((1, 8, 8, 3))}, "start=(1, 8, 8, 3)"),
        ("pixel", {"start": np.full((8, 8, 3), 255)}, "values 255 … 255"),
        ("pixel", {"start": np.full((8, 8, 3), -0.1)}, "values lie in [0, 1]"),
        ("pixel", {"start": np.full((8, 8, 3), np.nan)}, "values lie in [0, 1]"),
    ],
)
def test_refused(spatial, options, says):
    with pytest.raises(ValueError) as error:
        image_param(spatial, **{"size": (8, 8), **options})
    assert says in str(error.value)
