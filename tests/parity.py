"""How far our networks are from the answers that other frameworks gave.

`tests/golden/` holds what a framework answers to weights that are drawn from the names
of its tensors (`benchmarks/golden.py` made it). Here the same weights go through our
converter.
"""

from functools import cache, lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.layers import PLAIN
from dreamjax.models.model import preprocess
from dreamjax.models.port import convert
from dreamjax.models.zoo import PORTS
from tests.seeded import (
    GRADIENT,
    error,
    load_golden,
    seeded_image,
    seeded_tensors,
    weighting,
)


def _proofs():
    """Weight set -> the one whose golden file proves it.

    That is the first with the very same network, converter and input, as where one
    network was trained twice.
    """
    first = {}
    for name, port in PORTS.items():
        record = port.record
        range_ = (record.scale, record.mean, record.std, record.channel_order)
        yield name, first.setdefault((port.network, port.convert, *range_), name)


PROOFS = dict(_proofs())
TOLERANCE = 1e-4
# A program runs once, so half the compile time is better spent otherwise.
FAST = {"xla_backend_optimization_level": 0}
# Of float64 the convolutions are XLA's own, which are slow without any.
SOME = {"xla_backend_optimization_level": 1}


@lru_cache(maxsize=1)
def drawn(name: str):
    """Returns the variables that the tensors of a golden file make."""
    return convert(PORTS[name], seeded_tensors(load_golden(name).meta))


@cache
def program(module, gradient_of: tuple[str, ...]):
    """Returns (variables, x, weights) -> (gradient in x, taps), compiled once.

    x is what the network sees, so that weight sets that want another range share the
    program of their network.
    """

    def score(x, variables, weights):
        taps = dict(module.apply(variables, x))
        return sum(jnp.sum(taps[n] * weights[n]) for n in gradient_of), taps

    run = jax.jit(jax.grad(score, has_aux=True), compiler_options=FAST)
    return lambda variables, x, weights: run(x, variables, weights)


def exact_gradient(name: str) -> np.ndarray:
    """Returns the gradient in the image in float64, as the golden file has it."""
    golden, port = load_golden(name), PORTS[name]
    variables = drawn(name)
    at = golden.meta.get("gradient_at", golden.meta)
    names = tuple(golden.meta["gradient_of"])
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda v: jnp.asarray(v, jnp.float64), variables)
        image = jnp.asarray(seeded_image(at["seed"], at["size"]), jnp.float64)
        weights = {n: weighting(n, at["shapes"][n]) for n in names}
        module = port.network(PLAIN)

        def score(image, variables):  # as an argument: XLA would fold constants
            taps = module.apply(variables, preprocess(image, port.record))
            return sum(jnp.sum(taps[n] * weights[n]) for n in names)

        gradient = jax.jit(jax.grad(score), compiler_options=SOME)(image, variables)
        assert gradient.dtype == jnp.float64
        return np.asarray(gradient)


def answers(name: str):
    """Returns the golden file, all taps, and the gradient in the image."""
    golden, port = load_golden(name), PORTS[name]
    variables = drawn(name)
    module, see = port.network(PLAIN), partial(preprocess, record=port.record)
    at = golden.meta.get("gradient_at", golden.meta)
    x, back = jax.vjp(see, jnp.asarray(seeded_image(at["seed"], at["size"])))
    names = tuple(golden.meta["gradient_of"])
    weights = {n: weighting(n, at["shapes"][n]) for n in names}
    gradient, taps = program(module, names)(variables, x, weights)
    if at is not golden.meta:
        image = jnp.asarray(seeded_image(golden.meta["seed"], golden.meta["size"]))
        taps = jax.jit(module.apply, compiler_options=FAST)(variables, see(image))
    return golden, {n: np.asarray(t) for n, t in taps.items()}, back(gradient)[0]


@cache
def parity_errors(name: str) -> dict[str, float]:
    """Returns tap -> largest error relative to the tap's largest magnitude.

    "gradient" is that of the image. Of the millions of units of a deep network a few
    lie so near the kink of their nonlinearity that float32 puts them on the other side,
    and which ones depends on the processor: a gradient that is off is computed again in
    float64, where that cannot be the reason.
    """
    golden, taps, gradient = answers(name)
    assert set(golden.taps) == set(taps)
    errors = {}
    for tap, expected in golden.taps.items():
        assert list(taps[tap].shape) == golden.meta["shapes"][tap], tap
        errors[tap] = error(taps[tap], expected, golden.meta["count"])
    off = error(gradient, golden.gradient, GRADIENT)
    if not off <= TOLERANCE:
        off = error(exact_gradient(name), golden.gradient, GRADIENT)
    return errors | {"gradient": off}
