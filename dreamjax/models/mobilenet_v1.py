"""MobileNet (Howard et al. 2017): depthwise and 1×1 convolutions in turn, ReLU6.

Taps have the names of Keras' layers. At image side S:

    conv1, conv1/pre                         [S/2, S/2, 32]
    conv_dw_N, conv_dw_N/pre                 N = 1 … 13: one filter for each channel
    conv_pw_N, conv_pw_N/pre                 1×1: [S/2, S/2, 64] for N = 1,
                                             [S/4, S/4, 128] up to 3, [S/8, S/8, 256] up
                                             to 5, [S/16, S/16, 512] up to 11, and last
                                             [S/32, S/32, 1024]
    global_average_pooling2d                 [1024]
    logits, probabilities                    [1000]; Keras' conv_preds and predictions

Batch norms are part of the convolutions before them. Any image size will do; where
Keras halves an odd size, it is rounded down, but for conv1.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import KERAS, Layer, fill
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import INCEPTION_INPUT, Record
from dreamjax.models.modules import Conv, Tape
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

FEATURES = (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)  # of each conv_pw
HALVED = (2, 4, 6, 12)  # blocks whose depthwise convolution has stride 2
BELOW = ((0, 1), (0, 1))  # padding of these: a row below, a column on the right


class MobileNetV1(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        y = tape.conv("conv1", x, 32, 3, stride=2, padding="SAME", act="relu6")
        for n, features in enumerate(FEATURES, start=1):
            stride, padding = (2, BELOW) if n in HALVED else (1, 1)
            y = tape.depthwise(f"conv_dw_{n}", y, 3, stride=stride, padding=padding)
            y = tape.conv(f"conv_pw_{n}", y, features, act="relu6")
        pooled = jnp.mean(y, axis=(1, 2), keepdims=True)  # [N, 1, 1, 1024]
        tape.keep("global_average_pooling2d", pooled[:, 0, 0])
        if self.classes == 0:
            return tape.taps
        return tape.classify(Conv(self.classes, name="conv_preds")(pooled)[:, 0, 0])


def _name(path: str) -> Layer:
    return Layer(path, None if path == "conv_preds" else f"{path}_bn")


PORTS = (
    Port(
        Record(
            name="mobilenet_v1.keras",
            source="Keras Applications",
            year=2017,
            paper="Howard et al. 2017",
            license="Apache-2.0",
            size=224,
            min_size=31,
            labels=imagenet_labels(),
            parameters=4_231_976,
            top1=70.4,
            redirectable=True,
            **INCEPTION_INPUT,
        ),
        Source(
            file="mobilenet_1_0_224_tf.h5",
            address="https://storage.googleapis.com/tensorflow/keras-applications/"
            "mobilenet/mobilenet_1_0_224_tf.h5",
        ),
        "hdf5",
        MobileNetV1,
        partial(fill, layout=KERAS, names=_name, epsilon=1e-3),
    ),
)
