"""Makes a picture again from the recipe inside it, and says whether it is the same.

python -m experiments.rerun results/runs/quickstart/runs/run_0007.png
python -m experiments.rerun picture.png --workdir=results/runs/again --crowd

The run is made alone, which gives the same picture but for rounding (Adam may amplify
it); --crowd makes all runs of its block again and gives the same bits. Of a dream all
runs are always made again.
"""

from typing import Any

import numpy as np
from absl import flags

from dreamjax import models
from dreamjax.build import build
from dreamjax.cache import use_compile_cache
from dreamjax.cli import launch, path_flag
from dreamjax.config import as_config, base_config, plain
from dreamjax.deepdream.run import dream, photo_files
from dreamjax.deepdream.studio import dream_identity
from dreamjax.environment import environment
from dreamjax.identity import KEY, from_json
from dreamjax.identity import changes as identity_changes
from dreamjax.images import load_image, to_uint8
from dreamjax.paths import given_path
from dreamjax.report.artifacts import pictures_of
from dreamjax.report.recipe import read_recipe
from dreamjax.runner import run

WORKDIR = path_flag(
    "workdir", None, "Folder for everything; results/runs/rerun_<picture> if not given."
)
CLOSE = 8  # of 255; what rounding in a block of another size may grow to

CROWD = flags.DEFINE_bool("crowd", False, "Make the run's whole block again.")


def main(arguments: list[str]) -> int:
    """Reruns one picture; returns the exit status: 0 if it is the same."""
    if len(arguments) != 1:
        raise ValueError("give one picture: python -m experiments.rerun PICTURE.png")
    picture = given_path("PICTURE", arguments[0])
    use_compile_cache()
    recipe = read_recipe(picture)
    model = models.load(recipe["config"]["model"])
    check_network(recipe, model.record)
    if "identity" in recipe:
        check_identity(recipe, model)
    else:
        print("note: weights, pictures and code were not all recorded in this picture")
    for line in changes(recipe["environment"], environment()):
        print(line)
    folder = WORKDIR.value or f"results/runs/rerun_{picture.stem}"
    if "octaves" in recipe["config"]:
        result = dream(as_config(recipe["config"]), folder, model=model)[0]
        return verdict(load_image(picture), result.images[recipe["run"]])
    config = completed(recipe["config"])
    runs, lanes = [recipe["run"]], None
    if CROWD.value:
        runs, lanes = recipe["crowd"]["runs"], recipe["crowd"]["lanes"]
    result = run(config, folder, model=model, runs=runs, lanes=lanes)
    again = result.images[[runs.index(recipe["run"])]]  # [1, B, H, W, C]
    return verdict(load_image(picture), pictures_of(again)[0])


def completed(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a sweep's config with keys that came after it, at what does nothing."""
    base = plain(base_config())
    hparams = {**base["hparams"], **plain(config["hparams"])}
    return {**base, "keep_states": False, **plain(config), "hparams": hparams}


def check_network(recipe: dict[str, Any], record: models.Record) -> None:
    """Raises ValueError where the recipe's weights are not the ones at hand."""
    if (recipe["network"], recipe["weights"]) != (record.name, record.sha256):
        raise ValueError(
            f"the picture was made with {recipe['network']!r}, sha256"
            f" {recipe['weights']!r}; at hand is {record.name!r}, {record.sha256!r}."
        )


def check_identity(recipe: dict[str, Any], model: models.Model) -> None:
    """Raises ValueError where the recipe is of other weights, pictures or code."""
    config = plain(recipe["config"])
    if "octaves" in config:
        now = dream_identity(config, model, photo_files(config["image"]))
    else:
        now = build(completed(config), model).identity
    lines = identity_changes(from_json({KEY: recipe[KEY]}), now)
    if lines:
        raise ValueError(
            f"the picture was made with something else: {'; '.join(lines)}."
        )


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
