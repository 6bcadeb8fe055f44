"""What a folder is of: weights, pictures, code; checked before anything is finished."""

import json
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from dreamjax import runner
from dreamjax.atlas.run import digest_of
from dreamjax.atlas.sprites import STYLE
from dreamjax.code_digest import users_code
from dreamjax.deepdream.film import film
from dreamjax.deepdream.run import dream
from dreamjax.identity import changes, content_digest, from_json, identify, model_digest
from dreamjax.mining.run import Settings, mine
from dreamjax.models import Record, from_function, from_linen, from_nnx, load
from dreamjax.regularizers import REGULARIZERS, Regularizer
from dreamjax.report.recipe import read_recipe
from dreamjax.workdir import claim
from tests.test_deepdream import config_of as dream_config_of
from tests.test_deepdream import noise
from tests.tiny import tiny_config, tiny_model


def retrained(factor=1.01):
    """The tiny network with other weights, as if it had been trained further."""
    model = tiny_model()
    return model._replace(variables=jax.tree.map(lambda x: x * factor, model.variables))


def short_config(**hparams):
    config = tiny_config(**hparams)
    config.steps, config.log_every, config.image_steps = 2, 2, (0,)
    config.evaluation_draws = 1
    return config


def quiet(line):
    del line


def files_of(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    runner.run(short_config(), folder, model=tiny_model(), report=quiet)
    return folder


def test_a1_retrained_weights_are_refused(swept):
    before = files_of(swept)
    said = r"weights of 'tiny' \(model\): [0-9a-f]{12} there, [0-9a-f]{12} now"
    for config in (short_config(), short_config(unit=(0, 1))):  # finished; extended
        lines = []
        with pytest.raises(ValueError, match=said):
            runner.run(config, swept, model=retrained(), report=lines.append)
        assert not lines
    assert files_of(swept) == before
    again = runner.run(short_config(), swept, model=tiny_model(), report=quiet)
    assert again.compile_seconds == 0


def test_a1_a_folder_that_does_not_say_what_it_is_of_opens_and_says_it_then(
    swept, tmp_path
):
    runner.run(short_config(), tmp_path, report=quiet)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["identity"]
    path.write_text(json.dumps(config))
    lines = []
    runner.run(short_config(), tmp_path, report=lines.append)
    assert "not recorded; from now on it is" in lines[0] and "finished" in lines[1]
    with pytest.raises(ValueError, match="weights of 'tiny'"):
        runner.run(short_config(), tmp_path, model=retrained(), report=quiet)


def picture(path, seed, size=(32, 32)):
    Image.fromarray(np.uint8(255 * noise(*size, seed))).save(path)
    return path


def test_a2_a_photo_that_was_replaced_is_refused(tmp_path):
    path = picture(tmp_path / "ph.png", 0)
    config = dream_config_of(image=str(path))
    dream(config, tmp_path / "out", report=quiet)
    before = files_of(tmp_path / "out")
    for size in ((32, 32), (32, 40)):
        picture(path, 1, size)
        with pytest.raises(ValueError, match=r"content of '.*ph\.png': \w{12} there"):
            dream(config, tmp_path / "out", report=quiet)
    assert files_of(tmp_path / "out") == before
    config_path = tmp_path / "out" / "config.json"  # one that names no photo's content
    told = json.loads(config_path.read_text())
    del told["identity"]
    config_path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="32 × 32 px there, 32 × 40 px now"):
        dream(config, tmp_path / "out", report=quiet)


def test_a2_a_mask_a_guide_and_a_start_that_were_replaced_are_refused(tmp_path):
    path = picture(tmp_path / "other.png", 0)
    config = short_config()
    config.start = str(path)
    config.hparams.reference, config.hparams.distance = (str(path),), (0.1,)
    first = identify_sweep(config)
    masked = dream_config_of(image="chelsea", mask=str(path), longest=32)
    dream(masked, tmp_path / "out", report=quiet)
    picture(path, 1)
    assert "content of" in changes(first, identify_sweep(config))[0]
    with pytest.raises(ValueError, match=r"content of '.*other\.png'"):
        dream(masked, tmp_path / "out", report=quiet)


def identify_sweep(config):
    from dreamjax.build import build

    return build(config).identity


def test_a3_another_model_in_python_is_refused(tmp_path):
    record = Record(name="mine", source="here", size=24)

    def network(variables, x):
        return {"b": x * variables["w"]}

    def other(variables, x):
        return {"b": 2 * x * variables["w"]}

    weights = {"w": jnp.ones((3,))[None, None, None]}
    first = from_function(network, weights, record)
    config = short_config()
    runner.run(config, tmp_path, model=first, report=quiet)
    said = r"code of .*\.network: \w{12} there, none now"
    with pytest.raises(ValueError, match=said):
        second = from_function(other, weights, record)
        runner.run(config, tmp_path, model=second, report=quiet)
    with pytest.raises(ValueError, match="record of 'mine'"):
        shifted = Record(name="mine", source="here", size=24, mean=(0.5,))
        third = from_function(network, weights, shifted)
        runner.run(config, tmp_path, model=third, report=quiet)


def penalty_of(body):
    """A penalty as a file of one's own would define it."""
    module = types.ModuleType("penalties_of_mine")
    text = f"import jax.numpy as jnp\nSCALE = {body}\n"
    text += "def helper(x):\n    return SCALE * x\n"
    text += "def mine(images, hp):\n    return helper(jnp.mean(images**2, (1, 2, 3)))\n"
    exec(text, module.__dict__)
    return Regularizer(module.mine, (), {}, "mine")


def test_a3_a_registered_function_that_changed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(REGULARIZERS, "mine", penalty_of("1.0"))
    config = short_config()
    config.hparams.mine = (0.5,)
    runner.run(config, tmp_path, report=quiet)
    monkeypatch.setitem(REGULARIZERS, "mine", penalty_of("1.0"))  # read again, the same
    runner.run(config, tmp_path, report=quiet)
    monkeypatch.setitem(REGULARIZERS, "mine", penalty_of("2.0"))  # what it calls reads
    with pytest.raises(ValueError, match=r"code of penalties_of_mine\.mine"):
        runner.run(config, tmp_path, report=quiet)
    config = short_config()
    assert not identify_sweep(config).code.keys() & {"penalties_of_mine.mine"}


def test_a3_mining_and_the_atlas_know_a_retrained_network(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    picture(photos / "a.png", 0)
    picture(photos / "b.png", 1)
    settings = Settings((24, 24), keep=1, sample=2)

    def look(model):
        mine(model, ["b"], photos, settings, workdir=tmp_path / "out", report=quiet)

    look(tiny_model())
    look(tiny_model())
    with pytest.raises(ValueError, match="holds another look: weights"):
        look(retrained())
    size = (photos / "b.png").stat().st_size
    data = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert (photos / "b.png").stat().st_size == size
    with pytest.raises(ValueError, match="holds another look: pictures"):
        look(tiny_model())
    views = np.zeros((1, 8, 8, 3), np.float32)
    first = digest_of(short_config(), tiny_model(), views, STYLE)
    assert first == digest_of(short_config(), tiny_model(), views, STYLE)
    assert first != digest_of(short_config(), retrained(), views, STYLE)


def test_a3_a_film_of_a_retrained_network_or_another_photo_is_refused(tmp_path):
    path = picture(tmp_path / "ph.png", 0)
    config = dream_config_of(image=str(path), frames=1)
    film(config, tmp_path / "film", model=tiny_model(), report=quiet)
    with pytest.raises(ValueError, match="weights of 'tiny'"):
        film(config, tmp_path / "film", model=retrained(), report=quiet)
    picture(path, 1)
    with pytest.raises(ValueError, match="content of"):
        film(config, tmp_path / "film", model=tiny_model(), report=quiet)


def test_an_identity_goes_to_json_and_back():
    config = {"model": "tests.tiny:tiny_model", "transfer": "tests.tiny:tiny_model"}
    found = identify(config, files={"x": np.zeros((2, 3))})
    assert set(found.networks) == {"model", "transfer"}
    again = from_json(json.loads(json.dumps(found.as_json())))
    assert again == found and not changes(found, again)
    assert from_json({"model": "x"}) is None
    with pytest.raises(ValueError, match="damaged"):
        from_json({"identity": []})


def test_a_zoo_network_need_not_be_loaded_to_be_known():
    config = {"model": "efficientnet_lite0", "objective": "b8"}
    model = load("efficientnet_lite0")
    assert identify(config) == identify(config, model)
    assert model_digest(model) == model.record.sha256
    halved = model._replace(variables=jax.tree.map(lambda x: x / 2, model.variables))
    assert model_digest(halved) != model.record.sha256
    assert "weights" in changes(identify(config), identify(config, halved))[0]


class Net(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Conv(self.width, (3, 3))(x)


class Eager(nnx.Module):
    def __init__(self, width, rngs):
        self.conv = nnx.Conv(3, width, (3, 3), rngs=rngs)

    def __call__(self, x):
        return self.conv(x)


def test_code_of_modules_is_found_and_is_the_same_each_time():
    record = Record(name="mine", source="here", size=24)
    nets = [from_linen(Net(width), {"params": {}}, record) for width in (4, 4, 5)]
    eager = [from_nnx(Eager(4, nnx.Rngs(0)), record) for _ in range(2)]
    linen = [users_code(model.taps) for model in nets]
    assert linen[0] == linen[1] != linen[2] and list(linen[0]) == [f"{__name__}.Net"]
    found = [users_code(model.taps, model.network) for model in eager]
    assert found[0] == found[1] and next(iter(found[0])) == f"{__name__}.Eager"
    assert model_digest(eager[0]) == model_digest(eager[1])


def test_lambdas_partials_defaults_and_closures_count():
    import functools

    def of(scale):
        return lambda x, more=scale: x * scale + more

    a, b = lambda x: x, lambda x: x + 1
    found = [users_code(f) for f in (of(1), of(1), of(2), a, b)]
    assert found[0] == found[1]
    assert len({tuple(f.values()) for f in found}) == 4
    bound = [users_code(functools.partial(jnp.add, f)) for f in (a, b)]
    assert bound[0] != bound[1]
    assert users_code(jnp.add, tiny_model().taps).keys() == {
        "tests.tiny.tiny_model.<locals>.network"
    }


def test_folders_and_arrays_have_digests(tmp_path):
    (tmp_path / "a").write_text("1")
    first = content_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert content_digest(tmp_path) != first
    assert content_digest(np.zeros(2)) != content_digest(np.zeros((2, 1)))
    with pytest.raises(ValueError, match="cannot be read"):
        content_digest(tmp_path / "nowhere")


def test_a_claim_names_what_differs_and_keeps_what_is_free(tmp_path):
    first = identify({"model": "tests.tiny:tiny_model", "steps": 2}, tiny_model())
    claim(tmp_path, first._replace(files={"a": "1" * 64}), report=quiet)
    longer = first._replace(config={**first.config, "steps": 4}, files={"b": "2" * 64})
    with pytest.raises(ValueError, match="steps: 2 there, 4 now"):
        claim(tmp_path, longer, report=quiet)
    claim(tmp_path, longer, ("steps",), quiet)
    kept = from_json(json.loads((tmp_path / "config.json").read_text()))
    assert kept.files == {"a": "1" * 64, "b": "2" * 64} and kept.config["steps"] == 4
    with pytest.raises(ValueError, match="content of 'a': 111111111111 there"):
        claim(tmp_path, longer._replace(files={"a": "3" * 64}), ("steps",), quiet)


def test_a2_a_picture_is_not_made_again_from_another_photo(tmp_path, capsys):
    from experiments import rerun

    path = picture(tmp_path / "ph.png", 0)
    dream(dream_config_of(image=str(path)), tmp_path / "out", report=quiet)
    picture(path, 1)
    made = read_recipe(tmp_path / "out" / "runs" / "run_0000.png")
    with pytest.raises(ValueError, match=r"made with something else: the content of"):
        rerun.check_sources(made, rerun.checked(made["config"]), tiny_model())
    with pytest.raises(ValueError, match=r"the weights of 'tiny'"):
        rerun.check_sources(made, rerun.checked(made["config"]), retrained())
