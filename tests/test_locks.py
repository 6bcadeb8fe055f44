"""Every command that writes into a folder holds it, and says so to a second one."""

import fcntl
import importlib.util

import numpy as np
import pytest
from absl import flags

from dreamjax import runner
from dreamjax.atlas import Wanted, make_atlas
from dreamjax.config import plain
from dreamjax.deepdream.film import film
from dreamjax.deepdream.run import dream
from dreamjax.figures.figure import Figure, make_figure
from dreamjax.images import png_bytes
from dreamjax.mining.run import Settings, mine
from dreamjax.report.compare import write_comparison
from dreamjax.report.comparison import read_sweeps
from dreamjax.video.config import VIDEO, video_config
from dreamjax.video.run import run_video
from dreamjax.video.stimuli import make_stimuli, stimuli_config
from dreamjax.workdir import locked
from tests.sweeps import make_sweep
from tests.test_deepdream import config_of as dream_config_of
from tests.test_identity import picture, quiet, short_config
from tests.tiny import tiny_model


def photo(folder):
    return str(picture(folder / "ph.png", 0))


def clip(folder):
    (folder / "clip").mkdir()
    for i in range(2):
        path = folder / "clip" / f"{i}.png"
        path.write_bytes(png_bytes(np.full((32, 32, 3), i / 2, np.float32)))
    return str(folder / "clip")


def clip_config(folder):
    config = dream_config_of(image=clip(folder))
    config.update({n: v for n, v in video_config().items() if n in VIDEO})
    config.output = "gif"
    return config


def sweep(folder):
    runner.run(short_config(), folder / "out", report=quiet)


def dreams(folder):
    dream(dream_config_of(image=photo(folder)), folder / "out", report=quiet)


def films(folder):
    film(dream_config_of(image=photo(folder), frames=1), folder / "out", report=quiet)


def video(folder):
    run_video(clip_config(folder), folder / "out", report=quiet)


def stimuli(folder):
    config = stimuli_config(clip_config(folder))
    make_stimuli(config, folder / "out", model=tiny_model(), report=quiet)


def mining(folder):
    photo(folder)
    settings = Settings((24, 24), keep=1, sample=2)
    mine(tiny_model(), ["b"], folder, settings, workdir=folder / "out", report=quiet)


def atlas(folder):
    wanted, config = Wanted(taps=("b",), channels=1), short_config()
    (folder / "tiny").symlink_to(folder / "out")
    make_atlas(config, folder, wanted=wanted, model=tiny_model(), report=quiet)


def figure(folder):
    made = Figure("out", "a paper", "nothing", lambda context: None)
    model = "tests.tiny:tiny_model"
    make_figure(made, folder / "pictures", folder, model=model, report=quiet)


def comparison(folder):
    (folder / "one").mkdir()
    make_sweep(folder / "one", [({"unit": 0}, {"score": 1.0})])
    write_comparison(read_sweeps([folder / "one"]), folder / "out")


def command(name, *arguments, **given):
    """Starts a command as its command line would; its flags are its own."""

    def start(folder):
        modules = flags.FLAGS.flags_by_module_dict()
        absl = [
            f.name for m in modules if str(m).startswith("absl") for f in modules[m]
        ]
        names = [n for n in flags.FLAGS if flags.FLAGS[n].name == n and n not in absl]
        known = {name: flags.FLAGS[name] for name in names}
        flags.FLAGS.remove_flag_values(known)
        others = set(flags.FLAGS)
        spec = importlib.util.find_spec(f"experiments.{name}")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            said = [f"--{flag}={value}" for flag, value in given.items()]
            flags.FLAGS([name, *(t.replace("FOLDER", str(folder)) for t in said)])
            module.main([text.replace("FOLDER", str(folder)) for text in arguments])
        finally:
            flags.FLAGS.remove_flag_values(set(flags.FLAGS) - others)
            for flag, value in known.items():
                flags.FLAGS[flag] = value

    return start


def best(folder):
    (folder / "one").mkdir()
    make_sweep(folder / "one", [({"unit": 0}, {"score": 1.0})])
    command("winners", "FOLDER/one", out="FOLDER/out")(folder)


COMMANDS = {
    "sweep": sweep,
    "dream": dreams,
    "film": films,
    "video": video,
    "stimuli": stimuli,
    "mining": mining,
    "atlas": atlas,
    "figure": figure,
    "comparison": comparison,
    "winners": best,
    "mine": command("mine", workdir="FOLDER/out", photos="FOLDER", taps="b"),
    "portraits": command("portraits", folder="FOLDER/out"),
    "gallery": command("gallery", workdir="FOLDER/out", out="FOLDER/pictures"),
    "saliency": command(
        "saliency", out="FOLDER/out", model="tests.tiny:tiny_model", image="chelsea"
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_d8_a_folder_in_use_is_refused(name, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="in use by another process"):
            COMMANDS[name](tmp_path)
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_d8_what_holds_a_folder_may_lock_it_again(tmp_path):
    with locked(tmp_path), locked(tmp_path):
        pass
    with (tmp_path / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is free again
    assert plain(short_config())
