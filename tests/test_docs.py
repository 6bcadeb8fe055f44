"""The documents name all that there is, and their commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from dreamjax.caps import CAPS
from dreamjax.config import UNREAD, base_config
from dreamjax.deepdream.config import dream_config
from dreamjax.draws import DESIGNS, DISTRIBUTIONS
from dreamjax.gradients import GRADIENT_TRANSFORMS
from dreamjax.objectives import OBJECTIVES
from dreamjax.optimizers import OPTIMIZERS
from dreamjax.params.image import COLORS, RANGES, STARTS
from dreamjax.params.spatial import SPATIAL
from dreamjax.projections import PROJECTIONS
from dreamjax.regularizers import REGULARIZERS
from dreamjax.transforms import TRANSFORMS
from dreamjax.video.config import video_config
from dreamjax.video.stimuli import stimuli_config

REPO = Path(__file__).resolve().parent.parent
TABLES = {
    "objectives": OBJECTIVES,
    "transforms": TRANSFORMS,
    "penalties": REGULARIZERS,
    "projections": PROJECTIONS,
    "gradients": GRADIENT_TRANSFORMS,
    "optimizers": OPTIMIZERS,
    "spatial": SPATIAL,
    "colors": COLORS,
    "ranges": RANGES,
    "starts": STARTS,
    "distributions": DISTRIBUTIONS,
    "designs": DESIGNS,
}


@pytest.mark.parametrize("table", TABLES)
def test_reference_names_every_entry(table):
    text = (REPO / "docs" / "reference.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_0-9-]+)", text))
    assert set(TABLES[table]) <= named


def commands(path):
    """Returns the python -m commands of a document, with continued lines joined."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        shlex.split(line.strip(), comments=True)
        for line in text.splitlines()
        if line.strip().startswith("python -m ")
    ]


def config_of(module):
    """Returns the config whose keys a command may set."""
    return KEYS.get(module, base_config)()


KEYS = {
    "experiments/dream": dream_config,
    "experiments/video": video_config,
    "experiments/stimuli": lambda: stimuli_config(video_config()),
}
DOCUMENTS = [
    *REPO.glob("*.md"),
    *REPO.glob("docs/*.md"),
    *REPO.glob("configs/*.py"),
    *REPO.glob("experiments/*.py"),
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_commands_name_modules_configs_and_keys_that_exist(path):
    for words in commands(path):
        module = words[2].replace(".", "/")
        package = REPO / module / "__main__.py"
        assert package.exists() or (REPO / f"{module}.py").exists(), words
        for word in words[3:]:
            name, _, value = word.partition("=")
            if name == "--config":
                assert (REPO / value.partition(":")[0]).exists(), words
            elif name.startswith("--config.hparams."):
                key = name.removeprefix("--config.hparams.")
                assert key in config_of(module).hparams, words
            elif name.startswith("--config."):
                assert name.removeprefix("--config.") in config_of(module), words


def test_links_of_the_documents_exist():
    for path in [*REPO.glob("*.md"), *REPO.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), (path.name, target)


def test_unread_reasons_are_about_real_hyperparameters():
    assert set(UNREAD) <= set(base_config().hparams)


def test_recipes_names_every_cap():
    text = (REPO / "docs" / "recipes.md").read_text(encoding="utf-8")
    for name, most in CAPS.items():
        assert f"| `{name}` | {most:,} |" in text
