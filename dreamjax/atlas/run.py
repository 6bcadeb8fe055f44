"""The loop of an atlas: one sweep for each tap, then its place in the site.

    workdir/NETWORK/photos.npz     what the channels do on photos
    workdir/NETWORK/TAP/           the sweep of one tap, see `dreamjax.runner`
    site/                          see `dreamjax.atlas.site`

Each tap is whole in the site or absent. The same command goes on where it stopped, and
passes over finished taps without building them.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamjax import models
from dreamjax.atlas import photos
from dreamjax.atlas.classes import classifier
from dreamjax.atlas.layer import layer_of
from dreamjax.atlas.names import file_stem
from dreamjax.atlas.recipe import check_recipe, tap_config
from dreamjax.atlas.site import Site, open_site
from dreamjax.atlas.sprites import STYLE, Style, check_style
from dreamjax.atlas.taps import PICKS, Tap, choose_taps, choose_units
from dreamjax.build import check_numbers
from dreamjax.config import as_config, plain, take
from dreamjax.errors import choose, require
from dreamjax.identity import model_digest, network_identity
from dreamjax.models.model import Model, count_parameters, tap_shapes
from dreamjax.paths import given_path
from dreamjax.runner import run
from dreamjax.terminal import tell
from dreamjax.workdir import locked

VERSION = 1  # of what is in a layer's record


class Wanted(NamedTuple):
    """What an atlas shows.

    Attributes:
      taps: names or patterns; none means `default_taps`.
      channels: of each layer; 0 is all. A layer that has fewer shows all it has,
        unless `taps` names it.
      pick: "first", "spread" or "active".
      variants: pictures of a channel beyond the first.
      diversity: weight of the diversity term; 0 makes variants from seeds.
      negative: also drive channels down.
      photos: folder of pictures for comparison; None means the shipped ones.
    """

    taps: tuple[str, ...] = ()
    channels: int = 16
    pick: str = "first"
    variants: int = 1
    diversity: float = 0.0
    negative: bool = True
    photos: str | None = None


WANTED = Wanted()


def make_atlas(
    config: Mapping[str, Any],
    workdir: str | Path,
    site: str | Path | None = None,
    *,
    wanted: Wanted = WANTED,
    style: Style = STYLE,
    model: Model | None = None,
    report: Callable[[str], None] = tell,
) -> dict[str, Path]:
    """Makes an atlas of a network, or goes on with it.

    Args:
      config: the recipe; see `recipe.tap_config`.
      workdir: folder of the sweeps.
      site: folder of the pages, made if missing; an atlas there gains this network, or
        these layers of it. None means `workdir/site`.
      wanted: what is shown.
      style: of the sprite sheets.
      model: a network of your own; None loads config["model"].
      report: takes each line of what is said.

    Returns:
      Name -> path of what a reader may open.

    Raises:
      ValueError: bad input, before any compile; a folder that is no atlas.
      Interrupted: Ctrl-C or SIGTERM; what is finished is in the site.
    """
    workdir = given_path("workdir", workdir)
    config, given = take(config)
    require(not given, "config", "with arrays", "an atlas takes pictures as files")
    check_recipe(config)
    check_style(style)
    size = check_numbers(config)
    model = models.load_configured(config) if model is None else model
    config = fitted(config, model)
    taps = choose_taps(model, size, wanted.taps)
    check_wanted(wanted, taps)
    views = photos.views(photos.photo_paths(wanted.photos), size)
    pages = open_site(workdir / "site" if site is None else site)
    folder = workdir / file_stem(model.record.name)
    with locked(folder):
        return _make_atlas(
            config, pages, folder, taps, views, wanted, style, model, report
        )


def _make_atlas(
    config: Mapping[str, Any],
    pages: Site,
    folder: Path,
    taps: Sequence[Tap],
    views: np.ndarray,
    wanted: Wanted,
    style: Style,
    model: Model,
    report: Callable[[str], None],
) -> dict[str, Path]:
    """Makes an atlas; the folder of the network's sweeps is held."""
    start, size = time.perf_counter(), views.shape[1:3]
    pages.add_network(network_record(model, size))
    aims = list(dict.fromkeys(tap.aim for tap in taps))
    respond = photos.responder(model, aims)
    activity = photos.kept(folder / "photos.npz", model, respond, aims, views)
    classify, made = None, 0
    try:
        for number, tap in enumerate(taps):
            count = min(wanted.channels, tap.channels)
            units = choose_units(tap, count, wanted.pick, activity[tap.aim].mean)
            recipe = tap_config(
                config,
                tap,
                units,
                variants=wanted.variants,
                diversity=wanted.diversity,
                negative=wanted.negative,
            )
            digest = digest_of(recipe, model, views, style)
            head = f"{tap.name} ({number + 1} of {len(taps)})"
            if pages.has(model.record.name, tap.name, digest):
                report(f"{head}: in the atlas")
                continue
            report(f"{head}: channels {_few(units)}")
            said: list[str] = []
            result = run(
                recipe, folder / file_stem(tap.name), model=model, report=said.append
            )
            for line in said:
                if line.startswith(("compile ", "frozen", "zero gradient")):
                    report(f"  {line}")
            if classify is None:
                classify = classifier(model, size)
            labels = model.record.labels if tap.name == "logits" else ()
            layer = layer_of(
                result, recipe, tap, activity[tap.aim], respond, classify, labels
            )
            pages.add_layer(model.record.name, layer, digest, style)
            pages.write_index()
            made += 1
    finally:
        files = pages.write_all()
    report(
        f"{made} of {len(taps)} layers made, {time.perf_counter() - start:.0f} s;"
        f" open {files['page']}"
    )
    return files


def check_wanted(wanted: Wanted, taps: Sequence[Tap]) -> None:
    """Raises ValueError for a way to pick that does not exist, or too many channels.

    A layer that a pattern or the default chose may have fewer channels: it shows all.
    """
    choose("pick", wanted.pick, PICKS)
    require(wanted.channels >= 0, "channels", wanted.channels, "at least 0; 0 is all")
    for tap in taps:
        require(
            tap.name not in wanted.taps or wanted.channels <= tap.channels,
            "channels",
            wanted.channels,
            f"{tap.name} has {tap.channels}; 0 shows all of them",
        )


def fitted(config: Mapping[str, Any], model: Model) -> Any:
    """Returns the recipe for this network: redirected ReLUs only where it has them."""
    config = as_config(plain(config))
    if ":" not in model.record.name and ":" not in config.model:
        config.model = model.record.name  # of the zoo: the weight set, by its full name
    config.redirect_relu = config.redirect_relu and model.record.redirectable
    return config.lock()


def network_record(model: Model, size: tuple[int, int]) -> dict[str, Any]:
    """Returns what the site tells of a network."""
    record = model.record
    shapes = tap_shapes(model, size)
    return {
        "name": record.name,
        "source": record.source,
        "sha256": network_identity(model).weights,
        "license": record.license,
        "parameters": count_parameters(model),
        "year": record.year,
        "taps": list(shapes),
        "labels": list(record.labels),
    }


def digest_of(recipe: Mapping[str, Any], model: Model, views: Any, style: Style) -> str:
    """Returns a digest of all that a layer's place in the site depends on."""
    told = [VERSION, plain(recipe), model.record.name, model_digest(model), style]
    text = json.dumps(told, sort_keys=True).encode() + views.tobytes()
    return hashlib.sha256(text).hexdigest()[:16]


def _few(units: list[int]) -> str:
    shown = ", ".join(map(str, units[:8]))
    return shown + (f" … ({len(units)})" if len(units) > 8 else "")
