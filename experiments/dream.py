"""Dreams photos: any picture, a folder of them, any layer.

    python -m experiments.dream --config=configs/dream.py \
        --config.image=photo.jpg --workdir=results/runs/dream

The same command goes on after an interruption. With several photos each has a folder in
the workdir; with `config.frames` above 1 it is a film that zooms into its own dream.
"""

from dreamjax.cache import use_compile_cache
from dreamjax.cli import config_flag, given_config, launch, path_flag
from dreamjax.deepdream.film import film
from dreamjax.deepdream.run import dream

CONFIG = config_flag("configs/dream.py")
WORKDIR = path_flag("workdir", "results/runs/dream", "Folder for everything.")


def main(arguments: list[str]) -> int:
    """Dreams; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    use_compile_cache()
    config = given_config(CONFIG)
    make = film if config.frames > 1 else dream
    make(config, WORKDIR.value)
    return 0


if __name__ == "__main__":
    launch(main)
