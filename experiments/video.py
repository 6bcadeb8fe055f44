"""Dreams a clip: mp4, mov, webm, mkv, avi, GIF, or a folder of frames.

    python -m experiments.video --config=configs/video.py --config.image=clip.mp4 \
        --workdir=results/runs/video

The same command goes on after an interruption.
"""

from dreamjax.cache import use_compile_cache
from dreamjax.cli import config_flag, given_config, launch, path_flag
from dreamjax.video.run import run_video

CONFIG = config_flag("configs/video.py")
WORKDIR = path_flag("workdir", "results/runs/video", "Folder for everything.")


def main(arguments: list[str]) -> int:
    """Dreams the clip; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    use_compile_cache()
    run_video(given_config(CONFIG), WORKDIR.value)
    return 0


if __name__ == "__main__":
    launch(main)
