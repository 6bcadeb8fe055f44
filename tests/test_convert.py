"""Source tensors into a network's variables, where it is more than a copy."""

import jax
import numpy as np
import pytest

from dreamjax.models.convert import CAFFE, TORCH, Layer, fill

OUTPUTS = 130  # more than two of the blocks that are copied at once
H, W, C = VOLUME = 2, 3, 4


def drawn(*shape):
    return np.random.RandomState(len(shape)).normal(size=shape).astype(np.float32)


def shapes(**layers):
    return {
        name: {
            "kernel": jax.ShapeDtypeStruct(kernel, np.float32),
            "bias": jax.ShapeDtypeStruct(kernel[-1:], np.float32),
        }
        for name, kernel in layers.items()
    }


def filled(tensors, layout, volume=None, **layers):
    def name(path):
        return Layer(path, volume=volume)

    found = fill(tensors, shapes(**layers), "test", layout=layout, names=name)
    for layer in found["params"].values():
        assert all(leaf.flags.c_contiguous for leaf in layer.values())
    return found["params"]


def test_dense_layer_that_reads_a_map_flattened_channels_first():
    weight, bias = drawn(OUTPUTS, H * W * C), drawn(OUTPUTS)
    tensors = {"fc.weight": weight, "fc.bias": bias}
    fc = filled(tensors, TORCH, VOLUME, fc=(H * W * C, OUTPUTS))["fc"]
    x = drawn(H, W, C)
    expected = weight @ x.transpose(2, 0, 1).reshape(-1)
    np.testing.assert_allclose(x.reshape(-1) @ fc["kernel"], expected, rtol=1e-4)
    np.testing.assert_array_equal(fc["bias"], bias)


def test_convolution():
    weight = drawn(OUTPUTS, C, H, W)
    tensors = {"conv.weight": weight, "conv.bias": drawn(OUTPUTS)}
    conv = filled(tensors, TORCH, conv=(H, W, C, OUTPUTS))["conv"]
    np.testing.assert_array_equal(conv["kernel"], weight.transpose(2, 3, 1, 0))


def test_caffe_arrays_of_four_axes():
    """Files from before 2015 have no others."""
    modern = {
        "conv/0": drawn(OUTPUTS, C, H, W),
        "conv/1": drawn(OUTPUTS),
        "fc/0": drawn(5, OUTPUTS),
        "fc/1": drawn(5),
    }
    old = {n: t.reshape((1,) * (4 - t.ndim) + t.shape) for n, t in modern.items()}
    layers = {"conv": (H, W, C, OUTPUTS), "fc": (OUTPUTS, 5)}
    found, expected = filled(old, CAFFE, **layers), filled(modern, CAFFE, **layers)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    turned = old | {"fc/1": old["fc/1"].reshape(5, 1, 1, 1)}
    with pytest.raises(ValueError, match=r"misshapen fc/1: expected \(5,\), found"):
        filled(turned, CAFFE, **layers)


def test_no_other_framework_has_axes_too_many():
    tensors = {"fc.weight": drawn(1, 1, 5, C), "fc.bias": drawn(5)}
    with pytest.raises(ValueError, match=r"misshapen fc.weight: expected \(5, 4\)"):
        filled(tensors, TORCH, fc=(C, 5))
