"""What a unit sees, against the arithmetic of kernels and strides."""

import jax.numpy as jnp
import pytest

from dreamjax.deepdream.reach import (
    Field,
    Reach,
    measure_fields,
    measure_reach,
    told_fields,
)
from dreamjax.models import load
from dreamjax.models.port import outline
from dreamjax.models.zoo import find_port
from tests.tiny import tiny_model


def test_the_tiny_network_by_hand():
    """3×3 with stride 2 and padding 1, then 3×3: unit j sees 2j - 1 … 2j + 1, and then
    the units j - 1 … j + 1 see 2j - 3 … 2j + 3."""
    found = measure_reach(tiny_model(), ["a", "b", "logits"])
    assert found["a"] == Reach(stride=2, before=2, after=2)
    assert found["b"] == Reach(stride=2, before=4, after=4)
    assert found["logits"] is None


def test_fields_are_exact():
    """Unit j of "a" sees 2j - 1 … 2j + 1, of "b" 2j - 3 … 2j + 3."""
    found = measure_fields(tiny_model(), ["a", "b", "logits"])
    assert found["a"] == Field(size=3, stride=2, start=-1)
    assert found["b"] == Field(size=7, stride=2, start=-3)
    assert found["logits"] is None


def by_arithmetic(layers):
    """Returns the receptive field and stride after (kernel, stride) layers."""
    field, stride = 1, 1
    for kernel, step in layers:
        field, stride = field + (kernel - 1) * stride, stride * step
    return field, stride


LITE0 = {  # kernel and stride of each block's depthwise convolution
    "b2": [(3, 2), (3, 1), (3, 2), (3, 1)],
    "b4": [(3, 2), (3, 1), (3, 2), (3, 1), (5, 2), (5, 1)],
    "b7": [(3, 2), (3, 1), (3, 2), (3, 1), (5, 2), (5, 1), (3, 2), (3, 1), (3, 1)],
}


@pytest.mark.parametrize("tap", LITE0)
def test_lite0_by_its_kernels(tap):
    """The stem is stride 2; each reach is rounded up to whole units."""
    field, stride = by_arithmetic(LITE0[tap])
    reach = measure_reach(load("efficientnet_lite0"), [tap])[tap]
    assert reach.stride == stride
    assert field <= reach.before + reach.after <= field + 2 * stride


def test_the_layers_command_needs_no_weights():
    """GoogLeNet's first layers: 7×7/2, pool 3/2, 1×1, 3×3."""
    model = outline(find_port("googlenet.bvlc-noaux"))
    taps = ["conv1/7x7_s2", "pool1/3x3_s2", "conv2/3x3"]
    assert told_fields(model, taps) == {
        "conv1/7x7_s2": "sees 7 px, one unit every 2",
        "pool1/3x3_s2": "sees 11 px, one unit every 4",
        "conv2/3x3": "sees 19 px, one unit every 4",
    }


def test_nan_is_not_swallowed_by_a_relu():
    """The probe needs every nonlinearity to pass NaN on."""
    from dreamjax.models.layers import PLAIN

    for f in (PLAIN.relu, PLAIN.relu6):
        assert bool(jnp.isnan(f(jnp.array(jnp.nan))))
