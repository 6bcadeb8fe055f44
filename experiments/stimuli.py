"""Makes a stimulus set from one clip: a control and dreams at graded strengths.

    python -m experiments.stimuli --config=configs/stimuli.py \
        --config.image=clip.mp4 --workdir=results/runs/stimuli

The same command goes on after an interruption.
"""

from dreamjax.cache import use_compile_cache
from dreamjax.cli import config_flag, given_config, launch, path_flag
from dreamjax.video.stimuli import make_stimuli

CONFIG = config_flag("configs/stimuli.py")
WORKDIR = path_flag("workdir", "results/runs/stimuli", "Folder for everything.")


def main(arguments: list[str]) -> int:
    """Makes the set; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    use_compile_cache()
    make_stimuli(given_config(CONFIG), WORKDIR.value)
    return 0


if __name__ == "__main__":
    launch(main)
