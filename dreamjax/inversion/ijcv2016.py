"""Mahendran & Vedaldi 2016: visualizing deep networks using natural pre-images.

    C ℓ(Φ(τ x)) + λ_α/(HW) Σ_ij (Σ_c x²)^(α/2) + λ_β/(HW) Σ v^(β/2),  ‖x_ij‖ <= B₊

with λ_α = B^-α and λ_β = (6.5/B)^β, so that both terms are about 1 for a photo. ℓ is
the relative error of features (inversion) or minus an inner product (activation
maximization, caricature). τ cuts the picture out of a slightly larger canvas at a
random place.

The first phase jitters. The second, of an inversion, does not: with a tenth of the
rate it goes on from where the first ended, here on the same canvas, of which the middle
is then seen.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.ascent import ascend
from dreamjax.dream import Pieces
from dreamjax.errors import require
from dreamjax.inversion import energy as terms
from dreamjax.inversion.cvpr2015 import Inversion, gray_level, own_network
from dreamjax.inversion.descent import leaky_adagrad
from dreamjax.models.model import Model
from dreamjax.objectives import Objective
from dreamjax.params.raw import raw_param
from dreamjax.sweep import run_keys
from dreamjax.types import Array, HParams, Key, Transform

STEPS = (300, 50)
SLOWER = 0.1  # rate of the second phase


class Energy(NamedTuple):
    """Weights of the energy; each a number or one for each run [R].

    Attributes:
      fidelity: C: 1, 20, 100, 300.
      level: B, a photo's color in gray levels.
      limit: B₊, the longest color.
      steps: a photo's step to the next pixel is B / `steps`.
      alpha: α.
      beta: β.
      rate: η̂ is HW `rate` B² / α.
      penalty: of both penalties together; 0 for none.
    """

    fidelity: Any = 100.0
    level: Any = 80.0
    limit: Any = 160.0
    steps: Any = 6.5
    alpha: Any = 6.0
    beta: Any = 2.0
    rate: Any = 0.05
    penalty: Any = 1.0


def invert(model: Model, tap: str, goals: Any, **keys: Any) -> Inversion:
    """Inverts features, R runs in one program; `errors` are without jitter.

    Args:
      model: any with `Model.network`.
      tap: the layer.
      goals: Φ₀ of each run, [R, h, w, K] or [R, K] (`cvpr2015.features`).
      **keys: as of `descend`.
    """
    keys = {"steps": STEPS} | keys
    return descend(model, terms.matched(tap), goals, **keys)


def maximize(model: Model, tap: str, goals: Any, **keys: Any) -> Inversion:
    """Maximizes `⟨Φ(x), Φ₀⟩`, R runs in one program; `errors` are minus that.

    Args:
      model: any with `Model.network`.
      tap: the layer.
      goals: Φ₀ of each run (`mosaic`, `caricature`).
      **keys: as of `descend`.
    """
    keys = {"steps": (STEPS[0], 0)} | keys
    return descend(model, terms.aligned(tap), goals, **keys)


def descend(
    model: Model,
    objective: Objective,
    goals: Any,
    *,
    size: tuple[int, int],
    energy: Energy = Energy(),  # noqa: B008, a tuple
    jitter: Any = 1,
    steps: tuple[int, int] = STEPS,
    masks: Any = None,
    repeats: int = 1,
    start: Any = None,
    seeds: Any = 0,
    snapshots: Collection[int] = (),
    lanes: int = 16,
) -> Inversion:
    """Minimizes the energy, R runs in one program.

    Args:
      model: any with `Model.network`.
      objective: `matched` or `aligned`.
      goals: Φ₀ of each run, [R, h, w, K] or [R, K].
      size: (H, W) of the picture that the network sees.
      energy: weights, numbers or [R].
      jitter: places along each axis that a cut may have, a number or [R]; the canvas
        is the largest of them less 1 larger than the picture.
      steps: updates with jitter and without.
      masks: m, of the shape of `goals`; None takes all.
      repeats: B, pictures of a run, from different noise.
      start: [R, H, W, C] to start from; None for noise (`noise`).
      seeds: of noise and jitter, a number or [R].
      snapshots: updates after which pictures are kept, of the first phase only.
      lanes: runs at once.

    Returns:
      The middles of the canvases. `curve` is of the cuts that were seen; its last row,
      `errors`, of the middles.

    Raises:
      ValueError: a model whose preprocessing cannot be told apart.
    """
    goals = np.asarray(goals, np.float32)
    runs, margin = len(goals), int(np.max(jitter)) - 1
    shape = (size[0] + margin, size[1] + margin, model.record.channels)
    hp = weights(energy, runs, size, gray_level(model.record))
    hp["goal"] = goals
    hp["mask"] = np.ones_like(goals) if masks is None else np.asarray(masks, np.float32)
    keys = run_keys(
        jnp.broadcast_to(jnp.asarray(seeds, jnp.uint32), (runs,)),
        jnp.zeros((runs,), jnp.uint32),
        common=True,
    )
    if start is None:
        levels = jnp.asarray(hp["level"])
        begin = jax.vmap(lambda k, level: noise(k, (repeats, *shape), level))
        canvas = np.asarray(jax.jit(begin)(keys, levels))
    else:
        canvas = np.repeat(spread(np.asarray(start), margin)[:, None], repeats, axis=1)
    pieces = Pieces(
        taps=own_network(model),
        param=raw_param(lambda key, hp: hp["canvas"]),
        transform=cut(size),
        objective=objective,
        penalties={"range": terms.mean_color_power, "tv": terms.mean_variation},
        projections=(terms.within_color_ball,),
        optimizer=lambda hp: leaky_adagrad(hp["rate"], hp["unit"]),
        redirect=False,
    )
    scale = hp["fidelity"][None, :, None]
    curve, kept, alive = [], {}, np.ones(runs, bool)
    phases = ((steps[0], jitter, 1.0), (steps[1], 1, SLOWER))
    for phase, (length, reach, slower) in enumerate(phases):
        last = phase == 1
        if length == 0 and not last:
            continue
        own = {
            "canvas": canvas,
            "rate": hp["rate"] * np.float32(slower),
            "jitter": np.broadcast_to(np.asarray(reach, np.int32), (runs,)),
        }
        # One update too many: its score is that of the pictures after the last.
        found = ascend(
            *(pieces, model.variables, hp | own),
            steps=length + last,
            seeds=seeds,
            snapshots={length, *(() if last else snapshots)},
            lanes=lanes,
        )
        canvas = found.snapshots[length]
        curve.append(-found.trace.score / scale)
        alive &= found.alive
        if not last:
            kept = {n: middle(found.snapshots[n], size) for n in snapshots}
    curve = np.concatenate(curve)
    return Inversion(middle(canvas, size), curve[-1], curve, kept, alive)


def weights(
    energy: Energy, runs: int, size: tuple[int, int], unit: float
) -> dict[str, np.ndarray]:
    """Returns the hyperparameters [R] of an energy.

    Args:
      energy: in gray levels.
      runs: R.
      size: (H, W).
      unit: a gray level in the network's own units.
    """

    def each(value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, np.float32), (runs,))

    level, alpha, beta = (each(v) for v in (energy.level, energy.alpha, energy.beta))
    own = unit * level  # B in the network's own units
    return {
        "fidelity": each(energy.fidelity),
        "level": own,
        "alpha": alpha,
        "beta": beta,
        "range": each(energy.penalty) * own**-alpha,
        "tv": each(energy.penalty) * (each(energy.steps) / own) ** beta,
        "color_limit": unit * each(energy.limit),
        "unit": each(unit),
        # For slopes, which are 1/unit times those in gray levels.
        "rate": unit * size[0] * size[1] * each(energy.rate) * level**2 / alpha,
    }


def noise(key: Key, shape: tuple[int, ...], level: Array) -> Array:
    """Returns `2U - 1`, scaled so that its 95 % quantile is B/√3: colors of about B."""
    drawn = 2 * jax.random.uniform(key, shape) - 1
    return drawn * (level / np.sqrt(3.0) / jnp.quantile(drawn, 0.95))


def cut(size: tuple[int, int]) -> Transform:
    """Returns the transform that cuts (H, W) out of a canvas [H + j, W + j, C].

    Along each axis there are hp["jitter"] places, about the middle one; 1 always takes
    the middle.
    """

    def transform(key: Key, canvas: Array, hp: HParams) -> Array:
        places = jnp.asarray(hp["jitter"], jnp.int32)
        drawn = jax.random.uniform(key, (2,)) * places
        first = [(canvas.shape[i] - size[i]) // 2 - (places - 1) // 2 for i in (0, 1)]
        corner = [first[i] + jnp.floor(drawn[i]).astype(jnp.int32) for i in (0, 1)]
        out = (*size, canvas.shape[2])
        return jax.lax.dynamic_slice(canvas, (*corner, jnp.zeros((), jnp.int32)), out)

    return transform


def spread(images: np.ndarray, margin: int) -> np.ndarray:
    """Returns [R, H, W, C] on canvases `margin` larger: the border is repeated."""
    before = margin // 2
    pad = (before, margin - before)
    return np.pad(images, ((0, 0), pad, pad, (0, 0)), mode="edge")


def middle(canvas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the middle (H, W) of canvases [..., H + j, W + j, C]."""
    top, left = ((canvas.shape[i - 3] - size[i]) // 2 for i in (0, 1))
    return canvas[..., top : top + size[0], left : left + size[1], :]


def jitter_of(stride: int) -> int:
    """Returns the jitter of a layer of this stride, `max(round(stride/4), 1)`."""
    return max(round(stride / 4), 1)


def caricature(features: Any) -> np.ndarray:
    """Returns the goals `max(Φ(x₀), 0) / ‖·‖²` of features [R, …] of pictures.

    With them the inner product is 1 at the pictures themselves after a ReLU.
    """
    positive = np.maximum(np.asarray(features, np.float32), 0)
    axes = tuple(range(1, positive.ndim))
    squares = np.sum(np.square(positive), axis=axes, keepdims=True)
    return positive / np.maximum(squares, 1e-12)


class Mosaic(NamedTuple):
    """How several filters share a picture.

    Attributes:
      side: positions along the side of a filter's own square.
      columns: squares along the side of the picture.
      pixels: side of the picture.
    """

    side: int
    columns: int
    pixels: int


def mosaic_of(filters: int, field: int, stride: int, *, grid: int) -> Mosaic:
    """Returns a square grid of squares of `round(1.1 field / stride)` positions a side.

    An odd number, so that there is one in the middle, and at least 4 (hence 5) where
    there are several filters: their receptive fields do not overlap.

    Args:
      filters: how many.
      field: receptive field, pixels.
      stride: pixels.
      grid: the picture's side is rounded up to a multiple of it.
    """
    require(filters >= 1, "filters", filters, "at least 1")
    side = max(round(1.1 * field / stride), 4 if filters > 1 else 1)
    side += 1 - side % 2
    columns = int(np.ceil(np.sqrt(filters)))
    return Mosaic(side, columns, -(-columns * side * stride // grid) * grid)


def mosaic(
    shape: tuple[int, int, int],
    layout: Mosaic,
    channels: Collection[int],
    maxima: np.ndarray,
    field: int,
) -> np.ndarray:
    """Returns the goal [h, w, K]: each filter at the middle of its own square.

    `(10000/field²) / (#filters max_k)`: a filter that comes to its largest response
    adds as much as a patch of its receptive field may pay in penalties. (Their code
    takes one filter's max_k for all.)

    Args:
      shape: (h, w, K) of the layer at the picture's size.
      layout: `mosaic_of`.
      channels: the filters, row by row.
      maxima: max_k of each filter, positive.
      field: receptive field, pixels.
    """
    goal = np.zeros(shape, np.float32)
    for place, (channel, most) in enumerate(zip(channels, maxima, strict=True)):
        row, column = divmod(place, layout.columns)
        y, x = (i * layout.side + layout.side // 2 for i in (row, column))
        goal[y, x, channel] = 10000 / field**2 / (len(channels) * most)
    return goal


def largest(activations: np.ndarray) -> np.ndarray:
    """Returns the largest response of each filter in [N, …, K], [K].

    A filter that nothing excites takes the median of the others.
    """
    flat = np.asarray(activations).reshape(-1, np.shape(activations)[-1])
    most = flat.max(axis=0)
    excited = most > 0
    typical = np.median(most[excited]) if excited.any() else 1.0
    return np.where(excited, most, typical).astype(np.float32)


Solve = Callable[..., Inversion]
"""`invert` or `maximize`."""
