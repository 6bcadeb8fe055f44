"""Erhan, Bengio, Courville & Vincent 2009: higher-layer features of a deep network.

Their networks are trained here, on MNIST where DREAMJAX_DATA names a folder with it,
else on scikit-learn's small digits; the network that a figure is given takes no part.
"""

from typing import NamedTuple

import jax
import numpy as np

from dreamjax.belief import data, training
from dreamjax.belief.agreement import cosines, pairing, pairwise
from dreamjax.belief.layers import Layer, Stack, as_model, before, up
from dreamjax.belief.maximize import Maxima, maximize
from dreamjax.belief.training import Recipe
from dreamjax.belief.units import clamped_samples, combined_filters
from dreamjax.figures.figure import Context, Figure, Made
from dreamjax.figures.kept import kept_in
from dreamjax.figures.panels import Panel, draw
from dreamjax.figures.record import Expected, Row
from dreamjax.figures.tiles import tiled
from dreamjax.images import load_image
from dreamjax.report.plots import histograms

PAPER = (
    "Erhan, Bengio, Courville and Vincent 2009, Visualizing higher-layer features of a"
    " deep network"
)
KINDS = {"DBN": "rbm", "SDAE": "autoencoder"}
UNITS = 36
RESTARTS = 9
STEPS, RATE = 200, 0.1
KEEP = 20  # filters in a linear combination
SMALLER = (
    "examples, six times over; the paper has 2.5 million. Units are the first 36."
    " Every picture is stretched to its own full contrast."
)

PHOTOS = 16  # that patches are taken from, at most
PATCHES = (
    "A DBN of real pixels with variance 1 and a sparse first layer (units on for 5 % of"
    " the patches; without that its filters stay noise). No SDAE: denoising did not"
    " come to filters on whitened patches. Their strokes follow the fur and the wood of"
    " the photos."
)


class Trained(NamedTuple):
    """A figure's networks: what they were trained on, and their layers by name."""

    data: data.Data
    stacks: dict[str, Stack]
    recipes: dict[str, Recipe]

    def said(self, *kinds: str) -> str:
        """Returns networks in words, for titles."""
        layers = self.stacks[kinds[0]]
        sizes = [layer.weights.shape[0] for layer in layers]
        shape = "-".join(map(str, [*sizes, len(layers[-1].hidden)]))
        known = {"mnist": "MNIST", "digits": "scikit-learn's digits"}
        name = known.get(self.data.name, "patches of photos")
        return f"{' and '.join(kinds)} {shape}, {name}"

    @property
    def record(self) -> str:
        """The networks' records, for the JSON."""
        return ", ".join(self.named(kind) for kind in self.stacks)

    def named(self, kind: str) -> str:
        """Returns the name of one network's record."""
        return f"{kind.lower()}.{self.data.name}"


def trained(context: Context, given: data.Data, recipes: dict[str, Recipe]) -> Trained:
    """Returns the networks, from the workdir if they were trained before."""
    recipes = {
        # A quicktest's networks are as they start.
        name: context.pick(recipe, recipe._replace(units=(12, 10), epochs=0))
        for name, recipe in recipes.items()
    }
    folder = context.workdir.parent / "erhan2009.networks"
    stacks = {}
    for name, recipe in recipes.items():

        def make(name=name, recipe=recipe):
            key = jax.random.key(context.seed)
            stack, curves = training.train_stack(
                recipe, given.rows, key, lambda line: context.report(f"{name} {line}")
            )
            parts = {
                f"{number}.{field}": array
                for number, layer in enumerate(stack)
                for field, array in layer._asdict().items()
            }
            return parts | {"curves": np.asarray(curves)}

        about = {"recipe": recipe._asdict(), "seed": context.seed, "name": given.name}
        sample = given.images[:: max(1, len(given.images) // 100)]
        about |= {"sample": sample, "count": len(given.images)}
        found = kept_in(folder, about, make)
        stacks[name] = tuple(
            Layer(*(found[f"{number}.{field}"] for field in Layer._fields))
            for number in range(len(recipe.units))
        )
    return Trained(given, stacks, recipes)


def on_digits(context: Context) -> Trained:
    """Returns the networks of figures 1, 3 and 4."""
    given = data.digits(context.pick(60000, 100))
    recipes = {
        name: Recipe(
            kind,
            (500, 500, 1000),
            epochs=6,
            rate=0.05,
            decay=2e-4 if kind == "rbm" else 0.0,
        )
        for name, kind in context.pick(KINDS, {"DBN": "rbm"}).items()
    }
    return trained(context, given, recipes)


def on_patches(context: Context) -> Trained:
    """Returns the network of figure 2."""
    photos = [load_image(path) for path in context.photos[:PHOTOS]]
    side, count = context.pick((12, 30000), (6, 100))
    given, _ = data.patches(photos, side=side, count=count, seed=context.seed)
    recipe = Recipe(
        "rbm",
        (200, 150, 150),
        epochs=15,
        rate=0.02,
        decay=1e-3,
        sparsity=0.05,
        gaussian=True,
    )
    return trained(context, given, {"DBN": recipe})


def maxima(
    context: Context, nets: Trained, kind: str, restarts: int = 1
) -> list[Maxima]:
    """Returns the maxima of the first units of every layer."""
    stack = nets.stacks[kind]
    layers = range(1, len(stack) + 1)
    return maximize(
        as_model(stack, nets.named(kind), nets.data.images.shape[1:]),
        [f"h{layer}/pre" for layer in layers],
        range(min(UNITS, *(len(layer.hidden) for layer in stack))),
        radius=nets.data.radius,
        restarts=restarts,
        steps=context.pick(STEPS, 4),
        rate=RATE,
        seed=context.seed,
    )


def settings(context: Context, nets: Trained) -> dict:
    """Returns what all figures have in common."""
    return {
        "networks": {name: r._asdict() for name, r in nets.recipes.items()},
        "examples": len(nets.data.images),
        "radius": nets.data.radius,
        "units": UNITS,
        "steps": context.pick(STEPS, 4),
        "rate": RATE,
    }


def mosaic(pictures: np.ndarray) -> Panel:
    """Returns 6 × 6 pictures as a panel."""
    zoom = max(1, 84 // pictures.shape[1])
    return Panel(tiled(pictures, columns=6, gap=1, zoom=zoom))


def activation_maxima(context: Context, nets: Trained, notes: tuple[str, ...]) -> Made:
    """Draws rows of networks, columns of layers; checks layer 1 against its filters."""
    panels, rows, curves = [], [], {}
    for kind, stack in nets.stacks.items():
        found = maxima(context, nets, kind)
        panels.append([mosaic(layer.pictures[:, 0]) for layer in found])
        first = found[0].pictures[:, 0]  # [U, H, W]
        own = np.diag(cosines(first, np.asarray(stack[0].weights).T[: len(first)]))
        rows.append(
            Row(
                f"{kind} layer 1: least cosine of maximum and own weights",
                float(own.min()),
                Expected(0.999, "derived", kind="at least"),
            )
        )
        seen = nets.data.rows[:5000]
        for number, (layer, maximum) in enumerate(zip(stack, found, strict=True), 1):
            values = maximum.values[:, 0]
            best = np.asarray(before(layer, seen)).max(axis=0)[: len(values)]
            rows.append(
                Row(
                    f"{kind} layer {number}: units above every one of"
                    f" {len(seen)} examples",
                    float(np.mean(values > best)),
                )
            )
            name = f"{kind} layer {number}"
            curves[name] = maximum.curves[:, :, 0].mean(axis=1)
            seen = up(layer, seen)
    layers = range(1, len(panels[0]) + 1)
    return Made(
        {
            "": draw(
                panels,
                title=f"Activation maximization: {nets.said(*nets.stacks)}",
                rows=list(nets.stacks),
                columns=[f"layer {layer}" for layer in layers],
                side=2.6,
            )
        },
        rows,
        settings(context, nets),
        notes,
        curves,
        network=nets.record,
    )


def figure1(context: Context) -> Made:
    """36 units of each layer, digits."""
    nets = on_digits(context)
    return activation_maxima(context, nets, (f"{len(nets.data.images)} {SMALLER}",))


def figure2(context: Context) -> Made:
    """36 units of each layer, patches of photos."""
    return activation_maxima(context, on_patches(context), (PATCHES,))


def figure3(context: Context) -> Made:
    """Three ways to see the same units of the DBN."""
    nets = on_digits(context)
    stack, shape = nets.stacks["DBN"], nets.data.images.shape[1:]
    chains, steps = context.pick((16, 500), (2, 2))
    panels, rows = [], []
    every = maxima(context, nets, "DBN")
    for layer in range(2, len(stack) + 1):
        part, found = stack[:layer], every[layer - 1].pictures[:, 0]
        filters = np.asarray(combined_filters(part, keep=KEEP)).T[: len(found)]
        samples = np.asarray(
            clamped_samples(
                part,
                np.arange(len(found)),
                jax.random.key(context.seed),
                chains=chains,
                steps=steps,
            )
        )
        means = samples.mean(axis=1)  # [U, pixels]
        panels.append(
            [
                mosaic(x.reshape(-1, *shape))
                for x in (filters, means, samples[:, 0], found)
            ]
        )
        for name, other in (("samples' mean", means), ("combined filters", filters)):
            own, others, p = pairing(found, other, seed=context.seed)
            least = Expected(0.01, "derived", kind="at most")
            rows += [
                Row(f"layer {layer}: cosine of maximum and own {name}", own),
                Row(f"layer {layer}: cosine with another unit's {name}", others),
                Row(
                    f"layer {layer}: p of no relation, maximum and {name}",
                    p,
                    least if name == "samples' mean" else None,
                ),
            ]
    return Made(
        {
            "": draw(
                panels,
                title=f"The same units, three ways: {nets.said('DBN')}",
                rows=[f"layer {n}" for n in range(2, len(stack) + 1)],
                columns=[
                    f"linear combination of {KEEP} filters",
                    f"unit clamped, mean of {chains} samples",
                    "unit clamped, one sample",
                    "activation maximization",
                ],
                side=2.6,
            )
        },
        rows,
        settings(context, nets) | {"chains": chains, "gibbs": steps, "keep": KEEP},
        (
            f"Chains run {steps} rounds from coin flips. Most end at the same few"
            " digits: one clamped unit of hundreds turns the samples a little, as the"
            " cosines say, and machines trained by CD-1 mix slowly.",
        ),
        network=nets.named("DBN"),
    )


def reached(name: str, values: np.ndarray) -> list[Row]:
    """Returns how often the first of some restarts is as good as the best.

    Args:
      name: of the layer.
      values: [U, restarts], before the sigmoid.
    """
    best = values.max(axis=1)
    alone = float(np.mean(values[:, 0] >= best - 0.05 * np.abs(best)))
    active = 1 / (1 + np.exp(-values.astype(np.float64)))
    fired = float(np.mean(active[:, 0] >= 0.95 * active.max(axis=1)))
    why = f"several maxima; after the sigmoid, which saturates, {100 * fired:.0f} %"
    return [
        Row(
            f"{name}: units whose first start reaches 95 % of the best of"
            f" {values.shape[1]}, before the sigmoid",
            alone,
            Expected(0.8, "derived", kind="at least"),
            why if alone < 0.8 else "",
        ),
        Row(f"{name}: the same after the sigmoid", fired),
    ]


def figure4(context: Context) -> Made:
    """Nine restarts of each unit: how much they agree."""
    nets = on_digits(context)
    restarts, said = context.pick(RESTARTS, 2), nets.said(*nets.stacks)
    found, rows = {}, []
    for kind in nets.stacks:
        every = maxima(context, nets, kind, restarts)
        for layer, maximum in enumerate(every, 1):
            agree = np.concatenate([pairwise(unit) for unit in maximum.pictures])
            found[f"{kind} layer {layer}"] = agree
            rows.append(
                Row(
                    f"{kind} layer {layer}: mean cosine of restarts",
                    float(agree.mean()),
                    Expected(0.9, "derived", kind="at least") if layer == 1 else None,
                )
            )
            rows += reached(f"{kind} layer {layer}", maximum.values)
    return Made(
        {
            "": histograms(
                found,
                bins=np.linspace(0, 1, 41),
                per_row=len(nets.stacks["DBN"]),
                x_label="cosine of two restarts",
                title=f"{restarts} restarts of {UNITS} units: {said}",
            )
        },
        rows,
        settings(context, nets) | {"restarts": restarts},
        network=nets.record,
    )


FIGURES = (
    Figure(
        "erhan2009.fig1",
        PAPER,
        "36 units of each layer of a DBN and an SDAE, by activation maximization",
        figure1,
    ),
    Figure(
        "erhan2009.fig2",
        PAPER,
        "36 units of each layer of a DBN on patches of photos",
        figure2,
    ),
    Figure(
        "erhan2009.fig3",
        PAPER,
        "the same units by linear combination, by sampling, by maximization",
        figure3,
    ),
    Figure(
        "erhan2009.fig4",
        PAPER,
        "restarts of activation maximization and how much they agree",
        figure4,
    ),
)
