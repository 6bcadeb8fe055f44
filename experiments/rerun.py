"""Makes a picture again from the recipe inside it, and says whether it is the same.

python -m experiments.rerun results/runs/quickstart/runs/run_0007.png
python -m experiments.rerun picture.png --workdir=results/runs/again --crowd
python -m experiments.rerun picture.png --model=my_package.networks:small

The run is made alone, which gives the same picture but for rounding (Adam may amplify
it); --crowd makes all runs of its block again and gives the same bits. Of a dream all
runs are always made again.

A recipe is text from whoever made the picture, so it is checked before anything is
loaded, and it runs no code: a picture of a network of one's own is made again only
where --model (or --transfer) names the same function, and one of a hub is fetched only
where it names the same. docs/recipes.md has what a recipe may ask for, and which files
it may name. A file of one's own weights is looked for where it was, or where --weights
says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from dreamjax import models
from dreamjax.build import build, check_runs
from dreamjax.cache import use_compile_cache
from dreamjax.cli import launch, path_flag
from dreamjax.config import as_config, base_config, plain, take
from dreamjax.deepdream.config import dream_config, take_dream
from dreamjax.deepdream.run import dream, photo_files
from dreamjax.deepdream.studio import dream_identity
from dreamjax.environment import environment
from dreamjax.identity import KEY, from_json
from dreamjax.identity import changes as identity_changes
from dreamjax.images import load_image, to_uint8
from dreamjax.models.checkpoint_file import digest
from dreamjax.models.hub import is_hub_name, pinned
from dreamjax.models.own import load_own, split_key
from dreamjax.paths import given_path
from dreamjax.report.artifacts import pictures_of
from dreamjax.report.named_files import check_digests, check_files
from dreamjax.report.recipe import check_recipe, read_recipe
from dreamjax.runner import run

WORKDIR = path_flag(
    "workdir", None, "Folder for everything; results/runs/rerun_<picture> if not given."
)
CLOSE = 8  # of 255; what rounding in a block of another size may grow to

WEIGHTS = path_flag(
    "weights", None, "The file of the network's own weights, if it is elsewhere now."
)
CROWD = flags.DEFINE_bool("crowd", False, "Make the run's whole block again.")
OWN = {
    "model": flags.DEFINE_string(
        "model",
        None,
        "module:function or hf:OWNER/NAME, as the recipe says.",
    ),
    "transfer": flags.DEFINE_string(
        "transfer",
        None,
        "module:function or hf:OWNER/NAME, as the recipe says.",
    ),
}


def main(arguments: list[str]) -> int:
    """Reruns one picture; returns the exit status: 0 if it is the same."""
    if len(arguments) != 1:
        raise ValueError("give one picture: python -m experiments.rerun PICTURE.png")
    picture = given_path("PICTURE", arguments[0])
    recipe = read_recipe(picture)
    check_recipe(recipe, picture)
    config = checked(recipe["config"])
    check_code(config, {name: flag.value for name, flag in OWN.items()})
    check_members(recipe)
    told = {**recipe.get("pictures", {}), **recipe.get(KEY, {}).get("files", {})}
    named = {**config, "weights": ""} if WEIGHTS.value else config  # the user's own
    for line in check_files(named, told):
        print(line)
    use_compile_cache()
    model = network_of(recipe, WEIGHTS.value)
    check_network(recipe, model.record)
    for line in check_sources(recipe, config, model):
        print(line)
    for line in changes(recipe["environment"], environment()):
        print(line)
    folder = WORKDIR.value or f"results/runs/rerun_{picture.stem}"
    if is_dream(config):
        return dream_again(recipe, config, model, picture, folder)
    runs, lanes = [recipe["run"]], None
    if CROWD.value:
        runs, lanes = recipe["crowd"]["runs"], recipe["crowd"]["lanes"]
    result = run(as_config(config), folder, model=model, runs=runs, lanes=lanes)
    again = result.images[[runs.index(recipe["run"])]]  # [1, B, H, W, C]
    return verdict(load_image(picture), pictures_of(again)[0])


def dream_again(
    recipe: Mapping[str, Any],
    config: dict[str, Any],
    model: models.Model,
    picture: Path,
    folder: str,
) -> int:
    """Dreams a recipe's photo again; returns the exit status."""
    images = dream(as_config(config), folder, model=model)[0].images
    number = recipe["run"]
    if number >= len(images):
        raise ValueError(f"run={number}: the recipe's config has {len(images)} runs.")
    return verdict(load_image(picture), images[number])


def is_dream(config: Mapping[str, Any]) -> bool:
    """Tells whether a config is a dream's, not a sweep's."""
    return "octaves" in config


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recipe's config, completed and checked as any other is.

    Raises:
      ValueError: a key that dreamjax does not have, or a value that it cannot have.
    """
    if is_dream(config):
        found = take_dream(completed(config, plain(dream_config()))).config
    else:
        base = {**plain(base_config()), "keep_states": False}
        found = take(completed(config, base)).config
    check_runs(found)
    return found


def completed(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config with keys that came after it, at what does nothing."""
    hparams = {**base["hparams"], **plain(config["hparams"])}
    return {**base, **plain(config), "hparams": hparams}


def check_code(config: Mapping[str, Any], named: Mapping[str, str | None]) -> None:
    """Raises ValueError for code that a recipe names and the user does not.

    Args:
      config: of the recipe.
      named: "model" and "transfer" -> what the command line says, or None.
    """
    for part, given in named.items():
        wanted = config.get(part, "")
        if given is not None and given != wanted:
            raise ValueError(f"--{part}={given}: the recipe says {part}={wanted!r}.")
        if is_hub_name(wanted) and given is None:
            raise ValueError(
                f"the recipe says {part}={wanted!r}, a download. A picture fetches"
                f" nothing by itself: if you want it, give --{part} the same name."
            )
        if ":" in wanted and given is None:
            raise ValueError(
                f"the recipe says {part}={wanted!r}, a function to import. A picture"
                f" runs no code by itself: if it is yours, give --{part} the same name."
            )


def check_members(recipe: Mapping[str, Any]) -> None:
    """Raises ValueError for a crowd that is asked for and cannot be."""
    if not CROWD.value or is_dream(recipe["config"]):
        return
    crowd = recipe.get("crowd")
    if crowd is None or recipe["run"] not in crowd["runs"]:
        raise ValueError(f"--crowd: the recipe tells no crowd of run {recipe['run']}.")


def network_of(recipe: dict[str, Any], given: str | Path | None) -> models.Model:
    """Returns the network of a recipe.

    A file of one's own weights is read only if its digest is the recipe's: the text of
    a picture cannot have any other file opened as weights.

    Args:
      given: the file that the user names for it, or None for the recipe's path.

    Raises:
      ValueError: there is no such file, or it is another one; else as `models.load`.
    """
    config = recipe["config"]
    named = str(config.get("weights", ""))
    weights = str(given) if given is not None else named
    if given is not None and not named:
        raise ValueError(f"weights={weights!r}: the picture is of published weights.")
    if is_hub_name(config["model"]):
        name = pinned(config["model"], recipe["network"])
        return models.load(name, labels=str(config.get("labels", "")))
    if not weights:
        return models.load(config["model"])
    found = digest(split_key(weights)[0])
    if found != recipe["weights"]:
        raise ValueError(
            f"weights={weights!r} are not the picture's: sha256 {found}, and it was"
            f" made with {recipe['weights']}. --weights=FILE names another file."
        )
    key = split_key(named)[1]
    if given is not None and key and not split_key(weights)[1]:
        weights = f"{weights}#{key}"
    _, _, called = recipe["network"].partition(":")
    labels = str(config.get("labels", ""))
    return load_own(config["model"], weights, labels, called=called)


def check_network(recipe: dict[str, Any], record: models.Record) -> None:
    """Raises ValueError where the recipe's weights are not the ones at hand."""
    if (recipe["network"], recipe["weights"]) != (record.name, record.sha256):
        raise ValueError(
            f"the picture was made with {recipe['network']!r}, sha256"
            f" {recipe['weights']!r}; at hand is {record.name!r}, {record.sha256!r}."
        )


def check_sources(
    recipe: Mapping[str, Any], config: dict[str, Any], model: models.Model
) -> list[str]:
    """Returns a line where the recipe does not tell all that it was made with.

    Raises:
      ValueError: other weights, pictures or code than the recipe tells of.
    """
    if is_dream(config):
        now = dream_identity(config, model, photo_files(config["image"]))
    else:
        experiment = build(config, model)
        now = experiment.identity
        check_digests(experiment.image_hashes, recipe.get("pictures", {}))
    then = from_json({KEY: recipe[KEY]}) if KEY in recipe else None
    if then is None:
        return ["note: not all weights, pictures and code were recorded in the picture"]
    lines = identity_changes(then, now)
    if lines:
        raise ValueError(
            f"the picture was made with something else: {'; '.join(lines)}."
        )
    return []


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns a line for each version or device that is not what it was."""
    pairs = {**then["versions"], "device": then["device"]}
    present = {**now["versions"], "device": now["device"]}
    return [
        f"note: {name} was {value}, is {present.get(name, 'missing')}"
        for name, value in pairs.items()
        if present.get(name) != value
    ]


def verdict(then: np.ndarray, now: np.ndarray) -> int:
    """Prints how far two pictures [H, W, 3] in [0, 1] are apart; 0 if hardly."""
    apart = np.abs(to_uint8(then).astype(int) - to_uint8(now).astype(int))
    if not apart.any():
        print("the same picture, to the last bit")
        return 0
    print(
        f"{'the same picture but for rounding' if apart.max() <= CLOSE else 'differs'}:"
        f" {np.mean(apart > 0):.2%} of the values, by {apart.max()} of 255 at most"
    )
    return 0 if apart.max() <= CLOSE else 1


if __name__ == "__main__":
    launch(main)
