"""What to maximize: a score [B] computed from named activations.

An `Objective` reads taps and hyperparameters and gives one score per image; scores
are summed once, so that the gradient of one image does not depend on its neighbors
(except where that is the point: diversity, alignment). Objectives combine with
`+ - * /`, among themselves and with numbers:

    0.2 * channel("b8", 3) + 0.8 * channel("b8", Hparam("unit"))

Larger is always better: what should be small enters with a minus sign here, not at the
caller's. `dreamjax.text` reads the same expressions from one line of text.
"""

import dataclasses
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.errors import choose, require
from dreamjax.hparams import Hparam, Value, names_in, resolve
from dreamjax.types import Array, HParams, Taps

TARGET = "target/"
"""Prefix of the taps of the target image, which sees the same transforms."""

COSINE_FLOOR = 0.1  # below it, dot × cos^p would lose its gradient (Lucid)
COSINE_EPSILON = 1e-4  # added to each norm, as in Lucid


class Read(NamedTuple):
    """One tap that an objective reads, for checking before any compile.

    Attributes:
      tap: its name.
      kind: "layer" (all of it), "channel", "class", "y", "x" (an index along that
        axis), "direction" (a vector over the channels), "seed" (of a random one) or
        "choice" (one of `choices`).
      index: the number, vector or Hparam that selects; None for "layer".
      choices: what an index of kind "choice" counts, by name.
      factors: hp -> number; the term that reads this is multiplied by all of them.
    """

    tap: str
    kind: str
    index: Any = None
    choices: tuple[str, ...] = ()
    factors: tuple[Callable[[HParams], Any], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """A score [B] to maximize, with what it reads.

    Attributes:
      score: (taps, hp) -> [B].
      text: the one-line form, for labels and logs.
      reads: taps and indices, checked by `check_objective`.
      hparams: names of the hyperparameters that it reads.
      needs_target: it compares with the activations of hp["target"], an image.
      additive: it is a mean over positions, 0 where activations are 0, so that the
        parts of a picture can be scored apart and added up.
    """

    score: Callable[[Taps, HParams], Array]
    text: str
    reads: tuple[Read, ...] = ()
    hparams: frozenset[str] = frozenset()
    needs_target: bool = False
    additive: bool = True

    __array_ufunc__ = None  # NumPy would make an array of objectives of `array * this`

    def __call__(self, taps: Taps, hp: HParams) -> Array:
        return self.score(taps, hp)

    def __add__(self, other):
        return _combine(operator.add, "+", self, other)

    def __radd__(self, other):
        return _combine(operator.add, "+", other, self)

    def __sub__(self, other):
        return _combine(operator.sub, "-", self, other)

    def __rsub__(self, other):
        return _combine(operator.sub, "-", other, self)

    def __mul__(self, other):
        return _combine(operator.mul, "*", self, other)

    def __rmul__(self, other):
        return _combine(operator.mul, "*", other, self)

    def __truediv__(self, other):
        return _combine(operator.truediv, "/", self, other)

    def __rtruediv__(self, other):
        return _combine(operator.truediv, "/", other, self)

    def __neg__(self):
        return -1.0 * self


def constant(value: Value) -> Objective:
    """A number as an objective, for algebra; it reads no tap."""
    if not isinstance(value, int | float | Hparam):
        raise ValueError(
            f"objective cannot be combined with {value!r}: allowed are objectives,"
            " numbers and Hparam."
        )
    text = value.name if isinstance(value, Hparam) else f"{value:g}"
    return Objective(lambda taps, hp: resolve(value, hp), text, (), names_in(value))


def _combine(op: Callable, symbol: str, left: Any, right: Any) -> Objective:
    a = left if isinstance(left, Objective) else constant(left)
    b = right if isinstance(right, Objective) else constant(right)
    return Objective(
        lambda taps, hp: op(a(taps, hp), b(taps, hp)),
        f"({a.text} {symbol} {b.text})",
        _weighed(op, a, b),
        a.hparams | b.hparams,
        a.needs_target or b.needs_target,
        a.additive and b.additive and _keeps_sums(op, a, b),
    )


def _weighed(op: Callable, a: Objective, b: Objective) -> tuple[Read, ...]:
    """Returns the reads of both sides, with what the other side multiplies them by.

    A product or quotient of two terms that both read taps has no constant weights; of
    those only the sign is kept: the divisor is to be small.
    """
    left, right = a.reads, b.reads
    if op is operator.sub or (op is operator.truediv and right):
        right = _times(right, lambda hp: -1.0)
    if op is operator.mul and not right:
        left = _times(left, lambda hp: b({}, hp))
    if op is operator.mul and not left:
        right = _times(right, lambda hp: a({}, hp))
    if op is operator.truediv and not right:
        left = _times(left, lambda hp: 1.0 / b({}, hp))
    return left + right


def _times(reads: tuple[Read, ...], factor: Callable) -> tuple[Read, ...]:
    return tuple(read._replace(factors=(*read.factors, factor)) for read in reads)


def _keeps_sums(op: Callable, a: Objective, b: Objective) -> bool:
    """Tells whether a combination of sums is again a sum of the same kind."""
    if op is operator.mul:
        return not (a.reads and b.reads)
    if op is operator.truediv:
        return not b.reads
    return bool(a.reads) == bool(b.reads)  # a number added counts once per part


def _show(*values: Any) -> str:
    def one(value: Any) -> str:
        if isinstance(value, Hparam):
            return value.name
        if isinstance(value, str):
            return f'"{value}"'
        return f"{value:g}" if np.ndim(value) == 0 else f"<{np.shape(value)[0]}>"

    return ", ".join(one(v) for v in values)


def _pick(a: Array, index: Any) -> Array:
    """Returns `a[..., index]` for a traced or constant index."""
    return jnp.take(a, jnp.asarray(index, jnp.int32), axis=-1, mode="clip")


def at_position(a: Array, y: Value | None, x: Value | None, hp: HParams) -> Array:
    """Returns activations [B, h, w, K] at one position, [B, K]; None is the middle."""
    row = a.shape[1] // 2 if y is None else resolve(y, hp)
    column = a.shape[2] // 2 if x is None else resolve(x, hp)
    a = jnp.take(a, jnp.asarray(row, jnp.int32), axis=1, mode="clip")
    return jnp.take(a, jnp.asarray(column, jnp.int32), axis=1, mode="clip")


def _positions(a: Array) -> Array:
    """Returns activations as [B, positions, K]."""
    return a.reshape(a.shape[0], -1, a.shape[-1])


def neuron(
    tap: str, channel: Value, y: Value | None = None, x: Value | None = None
) -> Objective:
    """One unit: `a[y, x, channel]`; the middle `(h // 2, w // 2)` by default.

    For even sizes that is the lower right of the central four, as in Lucid. `y` is the
    row, `x` the column, from the top left.
    """

    def score(taps: Taps, hp: HParams) -> Array:
        a = at_position(taps[tap], y, x, hp)  # [B, K]
        return _pick(a, resolve(channel, hp))

    reads = [Read(tap, "channel", channel), Read(tap, "y", y), Read(tap, "x", x)]
    at = [v for v in (y, x) if v is not None]
    return Objective(
        score,
        f"neuron({_show(tap, channel, *at)})",
        tuple(reads),
        names_in(channel, y, x),
        additive=False,
    )


def channel(tap: str, channel: Value) -> Objective:
    """A channel's mean over all positions; of a [B, K] tap, the unit itself."""

    def score(taps: Taps, hp: HParams) -> Array:
        return jnp.mean(
            _positions(_pick(taps[tap], resolve(channel, hp))[..., None]), axis=(1, 2)
        )

    return Objective(
        score,
        f"channel({_show(tap, channel)})",
        (Read(tap, "channel", channel),),
        names_in(channel),
    )


def dot_cosine(a: Array, vector: Array, power: Array | float) -> Array:
    """Returns `(a·v) · max(0.1, cos(a, v)) ** power` over the last axis.

    Carter et al. 2019: the dot product alone follows large activations in any
    direction; the cosine holds it to this one. Negative dots keep a gradient by the
    floor.
    """
    dot = jnp.sum(a * vector, axis=-1)
    norms = (_norm(a) + COSINE_EPSILON) * (_norm(vector) + COSINE_EPSILON)
    return dot * jnp.maximum(COSINE_FLOOR, dot / norms) ** power


def _norm(a: Array) -> Array:
    """L2 norm over the last axis, with gradient 0 (not NaN) at 0."""
    square = jnp.sum(jnp.square(a), axis=-1)
    safe = jnp.where(square > 0, square, 1)
    return jnp.where(square > 0, jnp.sqrt(safe), 0)


def _vector(vector: Any, hp: HParams, ndim: int) -> Array:
    v = jnp.asarray(resolve(vector, hp), jnp.float32)
    return v.reshape((1,) * (ndim - 1) + (-1,))


def direction(tap: str, vector: Any, *, cos_power: Value = 0.0) -> Objective:
    """A direction in activation space: mean over positions of dot × cos^p.

    Args:
      tap: name.
      vector: [K], or an Hparam of that shape.
      cos_power: p; 0 is the plain dot product.
    """

    def score(taps: Taps, hp: HParams) -> Array:
        a = _positions(taps[tap])  # [B, n, K]
        v = _vector(vector, hp, 3)
        return jnp.mean(dot_cosine(a, v, resolve(cos_power, hp)), axis=1)

    return Objective(
        score,
        f"direction({_show(tap, vector, cos_power)})",
        (Read(tap, "direction", vector),),
        names_in(vector, cos_power),
    )


def direction_at(
    tap: str,
    vector: Any,
    y: Value | None = None,
    x: Value | None = None,
    *,
    cos_power: Value = 0.0,
) -> Objective:
    """A direction at one position, dot × cos^p; the middle by default."""

    def score(taps: Taps, hp: HParams) -> Array:
        a = at_position(taps[tap], y, x, hp)  # [B, K]
        return dot_cosine(a, _vector(vector, hp, 2), resolve(cos_power, hp))

    at = [v for v in (y, x) if v is not None]
    return Objective(
        score,
        f"direction_at({_show(tap, vector, *at)})",
        (Read(tap, "direction", vector), Read(tap, "y", y), Read(tap, "x", x)),
        names_in(vector, y, x, cos_power),
        additive=False,
    )


def unit_vector(seed: Array | int, channels: int) -> Array:
    """Returns a direction drawn at random, [K] of unit length."""
    key = jax.random.key(jnp.asarray(seed, jnp.uint32))
    v = jax.random.normal(key, (channels,))
    return v / jnp.linalg.norm(v)


def random_direction(tap: str, seed: Value, *, cos_power: Value = 0.0) -> Objective:
    """A direction drawn at random: `unit_vector` of `seed` (Olah 2017, figure 7)."""

    def score(taps: Taps, hp: HParams) -> Array:
        a = _positions(taps[tap])
        v = unit_vector(resolve(seed, hp), a.shape[-1]).reshape(1, 1, -1)
        return jnp.mean(dot_cosine(a, v, resolve(cos_power, hp)), axis=1)

    return Objective(
        score,
        f"random_direction({_show(tap, seed, cos_power)})",
        (Read(tap, "layer"), Read(tap, "seed", seed)),
        names_in(seed, cos_power),
    )


def energy(tap: str) -> Objective:
    """A whole layer, `mean(a²)`: DeepDream (Mordvintsev 2015 used half the sum)."""
    return Objective(
        lambda taps, hp: jnp.mean(jnp.square(_positions(taps[tap])), axis=(1, 2)),
        f"energy({_show(tap)})",
        (Read(tap, "layer"),),
    )


def one_of(taps: str, which: Value) -> Objective:
    """The energy of one of several layers: so that layers can be swept in one program.

    Args:
      taps: their names, with commas between.
      which: number of the layer in `taps`, from 0. Swept, it may also be a name.
    """
    names = tuple(name.strip() for name in taps.split(","))
    energies = [energy(name) for name in names]

    def score(taps: Taps, hp: HParams) -> Array:
        index = jnp.asarray(resolve(which, hp), jnp.int32)
        parts = [e(taps, hp) * (index == i) for i, e in enumerate(energies)]
        return sum(parts[1:], parts[0])

    reads = [read for e in energies for read in e.reads]
    return Objective(
        score,
        f"one_of({_show(taps, which)})",
        (*reads, Read(names[0], "choice", which, names)),
        names_in(which),
    )


def guided(tap: str, target: Array | None = None) -> Objective:
    """A guided dream: each position follows what it most resembles in another picture.

    `mean_p x_p · y_q(p)`, q(p) = argmax_q x_p · y_q over all positions of the guide
    hp["target"]; no gradient passes the choice (Mordvintsev 2015, where it is a sum).

    Args:
      tap: name.
      target: activations of the guide, [1 or B, h, w, K] of any h and w; None takes
        those of hp["target"].
    """

    def score(taps: Taps, hp: HParams) -> Array:
        a, guide = _positions(taps[tap]), _positions(_target(taps, tap, target))
        guide = jnp.broadcast_to(guide, (a.shape[0], *guide.shape[1:]))
        still = jax.lax.stop_gradient(a)
        best = jnp.argmax(jnp.einsum("bnk,bmk->bnm", still, guide), axis=-1)  # [B, n]
        chosen = jnp.take_along_axis(guide, best[..., None], axis=1)  # [B, n, K]
        return jnp.mean(jnp.sum(a * chosen, axis=-1), axis=1)

    compared = _compared(f"guided({_show(tap)})", tap, target, score, frozenset())
    return dataclasses.replace(compared, additive=True)


def logit(index: Value) -> Objective:
    """A class before the softmax (Simonyan 2014's unnormalized score)."""
    return _class("logit", "logits", index, lambda a, i: _pick(a, i))


def probability(index: Value) -> Objective:
    """A class after the softmax: it also rises where the other classes fall."""
    return _class("probability", "probabilities", index, lambda a, i: _pick(a, i))


def log_probability(index: Value) -> Objective:
    """The logarithm of a class probability, which keeps a gradient where it is 0."""
    return _class(
        "log_probability",
        "logits",
        index,
        lambda a, i: _pick(jax.nn.log_softmax(a, axis=-1), i),
    )


def _class(name: str, tap: str, index: Value, pick: Callable) -> Objective:
    return Objective(
        lambda taps, hp: pick(taps[tap], resolve(index, hp)),
        f"{name}({_show(index)})",
        (Read(tap, "class", index),),
        names_in(index),
    )


def diversity(tap: str) -> Objective:
    """Images of one run should differ in texture: minus the Gram similarity.

    `-Σ_{j≠i} <G_i, G_j>`, with each Gram matrix (channel by channel, over positions) of
    Frobenius norm 1. It is 1 - B for B images alike and 0 for orthogonal features.
    Lucid's has the opposite sign and weight -100: here the weight is positive.
    """

    def score(taps: Taps, hp: HParams) -> Array:
        a = _positions(taps[tap])  # [B, n, K]
        gram = jnp.einsum("bnk,bnl->bkl", a, a)
        flat = gram.reshape(gram.shape[0], -1)  # [B, K²]
        unit = flat / jnp.maximum(_norm(flat), 1e-12)[:, None]
        likeness = unit @ unit.T  # [B, B]
        return -(jnp.sum(likeness, axis=1) - jnp.diagonal(likeness))

    return Objective(
        score, f"diversity({_show(tap)})", (Read(tap, "layer"),), additive=False
    )


def alignment(tap: str, *, decay: Value = 2.0) -> Objective:
    """Neighboring images of one run should put the same feature at the same place.

    `-Σ_{d=1…4} mean((a_i - a_{i+d})²) / decay^d`, 0 for images alike (Lucid). Each
    pair is counted half for either image.
    """

    def score(taps: Taps, hp: HParams) -> Array:
        a = _positions(taps[tap])
        batch, total = a.shape[0], jnp.zeros((a.shape[0],))
        for lag in range(1, min(5, batch)):
            apart = jnp.mean(jnp.square(a[lag:] - a[:-lag]), axis=(1, 2))  # [B - lag]
            half = apart / (2 * resolve(decay, hp) ** lag)
            total = total + jnp.pad(half, (0, lag)) + jnp.pad(half, (lag, 0))
        return -total

    return Objective(
        score,
        f"alignment({_show(tap)})",
        (Read(tap, "layer"),),
        names_in(decay),
        additive=False,
    )


def interpolation(tap: str, first: Value, tap2: str, second: Value) -> Objective:
    """Image i of B blends two channels: `(1 - w) a + w b`, w = i / (B - 1)."""
    a, b = channel(tap, first), channel(tap2, second)

    def score(taps: Taps, hp: HParams) -> Array:
        one, other = a(taps, hp), b(taps, hp)
        w = jnp.linspace(0.0, 1.0, one.shape[0])
        return (1 - w) * one + w * other

    return Objective(
        score,
        f"interpolation({_show(tap, first, tap2, second)})",
        a.reads + b.reads,
        a.hparams | b.hparams,
        additive=False,
    )


def difference(tap: str, more: Value, less: Value) -> Objective:
    """One channel rather than another: `mean(a_more) - mean(a_less)`."""
    both = channel(tap, more) - channel(tap, less)
    return dataclasses.replace(both, text=f"difference({_show(tap, more, less)})")


def _target(taps: Taps, tap: str, given: Array | None) -> Array:
    found = taps[TARGET + tap] if given is None else given
    return jax.lax.stop_gradient(found)


def match(tap: str, target: Array | None = None) -> Objective:
    """Inversion: minus the relative error of the activations (Mahendran 2015).

    `-Σ(Φ - Φ₀)² / ΣΦ₀²`: 0 at best, -1 for an image without features.

    Args:
      tap: name.
      target: Φ₀, [1 or B, h, w, K]; None takes the activations of the image
        hp["target"] [H, W, C] under the same transforms.
    """

    def score(taps: Taps, hp: HParams) -> Array:
        a, goal = _positions(taps[tap]), _positions(_target(taps, tap, target))
        apart = jnp.sum(jnp.square(a - goal), axis=(1, 2))
        return -apart / jnp.maximum(jnp.sum(jnp.square(goal), axis=(1, 2)), 1e-12)

    return _compared(f"match({_show(tap)})", tap, target, score, frozenset())


def caricature(
    tap: str, target: Array | None = None, *, cos_power: Value = 1.0
) -> Objective:
    """Exaggerates what a layer sees in an image (Olah 2018, Lucid).

    Mean over positions of `dot · max(0.1, cos)^p` between the activations and the
    target's, where cos = dot / (1e-6 + |Φ₀|) is not divided by the image's own norm.
    Args as in `match`.
    """

    def score(taps: Taps, hp: HParams) -> Array:
        a, goal = _positions(taps[tap]), _positions(_target(taps, tap, target))
        dot = jnp.sum(a * goal, axis=-1)  # [B, n]
        cosine = dot / (1e-6 + _norm(goal))
        power = resolve(cos_power, hp)
        return jnp.mean(dot * jnp.maximum(COSINE_FLOOR, cosine) ** power, axis=1)

    return _compared(
        f"caricature({_show(tap, cos_power)})", tap, target, score, names_in(cos_power)
    )


def _compared(text, tap, target, score, hparams) -> Objective:
    return Objective(
        score,
        text,
        (Read(tap, "layer"),),
        hparams | ({"target"} if target is None else frozenset()),
        needs_target=target is None,
        additive=False,
    )


def check_objective(
    objective: Objective,
    shapes: Mapping[str, tuple[int, ...]],
    values: Mapping[str, Any],
    constants: Collection[str] = (),
) -> None:
    """Checks every tap and index before anything is compiled.

    Out of range, a gather on an accelerator silently reads another unit.

    Args:
      objective: what will run.
      shapes: tap name -> [1, h, w, K] or [1, K] (`tap_shapes`).
      values: hyperparameter name -> all values that runs will use.
      constants: names among them that are numbers of the objective's text.

    Raises:
      ValueError: an unknown tap, an index out of range, a vector of another length.
    """
    for name in objective.hparams:
        choose("objective's hyperparameter", name, values)
    axes = {"channel": -1, "class": -1, "direction": -1, "y": 1, "x": 2}
    for read in objective.reads:
        shape = shapes[choose("tap", read.tap, shapes)]
        if read.kind in ("y", "x") and len(shape) != 4:
            raise ValueError(
                f"tap={read.tap!r} has shape {shape} and no positions: use channel or"
                " direction."
            )
        if read.kind == "class" and len(shape) != 2:
            raise ValueError(
                f"tap={read.tap!r} has shape {shape}, a map, and classes are one number"
                " each: use channel, or a tap [B, K]."
            )
        if read.kind == "layer" or read.index is None:
            continue
        sizes = {"seed": 2**31, "choice": len(read.choices)}
        size = sizes[read.kind] if read.kind in sizes else shape[axes[read.kind]]
        swept = isinstance(read.index, Hparam)
        argument = f"hparams.{read.index.name}" if swept else read.kind
        if swept and read.index.name in constants:
            argument = f"objective={objective.text!r}: {read.kind}"
        for value in values[read.index.name] if swept else [read.index]:
            if read.kind == "direction":
                require(
                    np.shape(value) == (size,),
                    argument,
                    f"vector of shape {np.shape(value)}",
                    f"tap {read.tap!r} has {size} channels",
                )
            elif not _is_index(value, size):
                raise ValueError(
                    f"{argument}={value!r} is out of range: {read.kind} of tap"
                    f" {read.tap!r} is a whole number in 0 … {size - 1}."
                )


def _is_index(value: Any, size: int) -> bool:
    if np.ndim(value) != 0 or np.asarray(value).dtype.kind not in "iuf":
        return False
    return bool(0 <= value < size and value == int(value))


OBJECTIVES = {
    "neuron": neuron,
    "channel": channel,
    "direction": direction,
    "direction_at": direction_at,
    "random_direction": random_direction,
    "energy": energy,
    "one_of": one_of,
    "guided": guided,
    "logit": logit,
    "probability": probability,
    "log_probability": log_probability,
    "diversity": diversity,
    "alignment": alignment,
    "interpolation": interpolation,
    "difference": difference,
    "match": match,
    "caricature": caricature,
}
