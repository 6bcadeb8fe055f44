"""Which layers and channels stand for a network, and the row that they make."""

import numpy as np
import pytest

from dreamjax.build import build
from dreamjax.models import load
from dreamjax.models.port import outline
from dreamjax.models.zoo import PORTS
from dreamjax.portrait import GAP, SIDE, _units, chosen_taps, row
from experiments.portraits import channel_config, dream_config

CHOSEN = {
    "efficientnet_lite0.pypi": ("b2", "b4", "b10", "head/pre"),
    "googlenet.bvlc": (
        "conv2/norm2",
        "inception_3b/output",
        "inception_4e/output",
        "inception_5b/output",
    ),
    "inception_v3.tf2015-mixed8": ("conv_4", "mixed_2", "mixed_7", "mixed_8"),
    "mobilenet_v1.keras": tuple(f"conv_pw_{n}/pre" for n in (3, 5, 11, 13)),
    "resnet50.torchvision": ("layer1", "layer2", "layer3", "layer4"),
    "resnet50_v2.mxnet-stage3": ("stage1", "stage2", "stage3"),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_outputs_of_blocks_are_chosen(name):
    """One of each size, none that exists at one image size only, none after ReLU6."""
    assert chosen_taps(outline(PORTS[name])) == CHOSEN[name]


def test_each_photo_has_a_channel_of_its_own():
    # Both photos answer most, beyond half of the mean of both, with channel 2.
    assert _units(np.array([[0.0, 1.0, 5.0], [3.0, 0.0, 9.0]])) == (2, 0)


def test_row_is_as_high_as_its_pictures():
    pictures = {"a:1": np.zeros((SIDE, SIDE, 3)), "dream a": np.ones((32, 48, 3))}
    sheet = row(pictures)
    assert sheet.size == (SIDE + GAP + 3 * SIDE // 2, SIDE)
    assert sheet.getpixel((0, 0)) == (0, 0, 0)
    assert sheet.getpixel((SIDE + 1, 0)) == (255, 255, 255)


def test_configs_build():
    model = load("efficientnet_lite0")
    channels = build(channel_config(model.record, "b8", (3, 7)), model)
    assert [run["unit"] for run in channels.runs] == [3, 7]
    dream = build(dream_config(model.record, "b8"), model)
    assert len(dream.runs) == 1 and dream.penalties == ()
