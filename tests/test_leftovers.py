"""What converters leave alone by name, and the names that they take as the same."""

import re
from functools import cache

import numpy as np
import pytest

from dreamjax.models.port import parameter_shapes
from dreamjax.models.zoo import PORTS
from tests.seeded import load_golden


def tensors(name):
    """What the file of a weight set holds; of each tensor, its number everywhere."""
    listed = load_golden(name).meta["tensors"]
    return {n: np.full(s, i + 1, np.float32) for i, (n, s) in enumerate(listed)}


@cache
def shapes(name):
    return parameter_shapes(PORTS[name])


def convert(name, found):
    """Returns layer -> mean of its kernel, or of its scale."""
    params = PORTS[name].convert(found, shapes(name), name)["params"]
    return {
        layer: next(
            float(np.mean(leaves[k])) for k in ("kernel", "scale") if k in leaves
        )
        for layer, leaves in params.items()
    }


def refused(name, found, says):
    with pytest.raises(ValueError, match=f"weights of {name} do not fit") as error:
        convert(name, found)
    assert says in str(error.value)


def test_resnet_v2_ends_within_stage_4():
    name = "resnet50_v2.mxnet-stage3"
    found = tensors("resnet50_v2.mxnet")
    kept = {n: found[n] for n in tensors(name)}
    assert set(found) - set(kept) > {"resnetv24_stage4_conv0_weight"}
    assert convert(name, found) == convert(name, kept)
    extra = {"resnetv24_stage5_conv0_weight": np.zeros((8, 8, 1, 1))}
    refused(name, kept | extra, "unused    stage5_conv0_weight")


def test_mxnet_counts_its_networks():
    name = "resnet50_v2.mxnet-stage3"
    found = tensors(name)
    renamed = {n.replace("resnetv24_", "resnetv217_"): t for n, t in found.items()}
    graph = {"reshape_attr_tensor421": np.array([0, -1])}
    assert convert(name, renamed | graph) == convert(name, found)


def test_inception_v3_ends_with_mixed_8():
    name = "inception_v3.tf2015-mixed8"
    found = tensors(name)
    later = ("weights_mixed_9_conv", "bias_mixed_10_tower_2_conv", "bias_softmax")
    flat = {n: t.reshape(-1) for n, t in found.items()}
    assert convert(name, flat | dict.fromkeys(later, np.ones(4))) == convert(
        name, found
    )
    extra = {"weights_mixed_11_conv": np.ones(4)}
    refused(name, found | extra, "unused    weights_mixed_11_conv")


@pytest.mark.parametrize("first", [0, 95])
def test_keras_counts_its_layers(first):
    name = "inception_v3.keras"
    found = tensors(name)

    def count(match):
        number = int(match[2]) - 1 + first
        return f"{match[1]}_{number}" if number else match[1]

    numbered = r"(conv2d|batch_normalization)_(\d+)"
    renamed = {re.sub(numbered, count, n): t for n, t in found.items()}
    assert convert(name, renamed) == convert(name, found)


def test_torchvision_keeps_a_classifier_for_training():
    name = "inception_v3.torchvision"
    found = tensors(name)
    assert "AuxLogits.fc.weight" in found
    kept = {n: t for n, t in found.items() if not n.startswith("AuxLogits.")}
    assert convert(name, found) == convert(name, kept)
