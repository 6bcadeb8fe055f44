"""Keras' own networks on PyTorch, which differentiates them.

`answer` takes any Keras model; `REFERENCES` has those of `keras.applications`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

os.environ["KERAS_BACKEND"] = "torch"  # before keras is imported

import keras
import numpy as np
import torch

from benchmarks.golden import Answer, Reference
from benchmarks.references.torch_common import answered
from tests.seeded import seeded

keras.config.set_floatx("float64")
keras.config.set_image_data_format("channels_last")
MADE_WITH = f"Keras {keras.__version__}, torch {torch.__version__}"
Taps = Mapping[str, tuple]


def answer(
    build: Callable[[tuple[int, int, int]], keras.Model],
    image: np.ndarray,
    taps: Taps,
    *,
    rename: Callable[[str], str] = str,
    gradient_of: Sequence[str] = ("logits",),
    scale: float = 1.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    channel_order: str = "RGB",
    gain: float = 1.0,
    made_with: str = MADE_WITH,
) -> Answer:
    """Returns what a Keras model answers to `image` [1, H, W, 3] in [0, 1].

    Args:
      build: (height, width, 3) -> a model that was not trained, whose output is the
        logits; its weights are replaced by seeded ones, called "<layer>/<number>".
      taps: name of our tap -> (name of a layer, "output" or "pre"), where "pre" is
        what the layer's own activation reads; and a third entry where the tap is not
        that but a function of it. "logits" and "probabilities" are added where
        `gradient_of` has the logits.
      rename: "<layer>/<number>" of a weight -> its name in the source's file.
      gradient_of: the taps whose weighted sum is differentiated.
      scale, mean, std, channel_order: of the input, as in `Record`.
      gain: of the kernels, see `seeded`.
    """
    keras.backend.clear_session()  # layers without a name are numbered anew
    model = build(image.shape[1:])
    tensors = _seed(model, gain, rename)
    found: dict[str, torch.Tensor] = {}
    outputs, parts = {}, {}
    for tap, (name, side, *part) in taps.items():
        if part:
            parts[tap] = part[0]
        layer = model.get_layer(name)
        if side == "pre":
            layer.activation = _keeper(found, tap, layer.activation)
        else:
            outputs[tap] = layer.output
    if "logits" in gradient_of:  # else the network ends before its classifier
        outputs["logits"] = model.output
    pixels = torch.from_numpy(image).double().requires_grad_()
    x = pixels.flip(-1) if channel_order == "BGR" else pixels
    x = (x * scale - torch.tensor(mean).double()) / torch.tensor(std).double()
    values = keras.Model(model.inputs, list(outputs.values()))(x, training=False)
    found |= dict(zip(outputs, values, strict=True))
    found |= {tap: part(found[tap]) for tap, part in parts.items()}
    if "logits" in found:
        found["probabilities"] = found["logits"].softmax(-1)
    assert all(tap.dtype == torch.float64 for tap in found.values())
    return answered(
        found,
        pixels,
        gradient_of,
        tensors=tensors,
        order="HWIO",
        made_with=made_with,
        gain=gain,
    )


def _seed(
    model: keras.Model, gain: float, rename: Callable[[str], str]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Gives a model seeded weights; returns name and shape of each."""
    tensors = []
    for layer in model.layers:
        names = [rename(f"{layer.name}/{i}") for i in range(len(layer.weights))]
        named = [(n, w.shape) for n, w in zip(names, layer.weights, strict=True)]
        layer.set_weights([seeded(n, s, "HWIO", gain) for n, s in named])
        if hasattr(layer, "finalize_state"):  # as Keras does when it reads a file
            layer.finalize_state()
        tensors += named
    return tuple((name, tuple(shape)) for name, shape in tensors)


def _keeper(found: dict, tap: str, activation: Callable) -> Callable:
    def keep(x: torch.Tensor) -> torch.Tensor:
        found[tap] = x  # called twice: as the model is put together, and with numbers
        return activation(x)

    return keep


TF_INPUT = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def application(name: str, taps: Taps, image: np.ndarray, **options) -> Answer:
    """One of `keras.applications` as it is published, with its classifier."""
    network = getattr(keras.applications, name)

    def build(shape: tuple[int, int, int]) -> keras.Model:
        return network(weights=None, input_shape=shape, classifier_activation=None)

    return answer(build, image, taps, **options)


def mobilenet_taps() -> Taps:
    """Every convolution is followed by its batch norm and its ReLU."""
    pairs = [f"conv_{part}_{i}" for i in range(1, 14) for part in ("dw", "pw")]
    found = {}
    for layer in ("conv1", *pairs):
        found[f"{layer}/pre"] = (f"{layer}_bn", "output")
        found[layer] = (f"{layer}_relu", "output")
    pool = "global_average_pooling2d"
    return found | {pool: (pool, "output", lambda x: x[:, 0, 0])}


def mobilenet_v2_taps() -> Taps:
    """Blocks are numbered from 0; the first has another name and no expansion."""
    found = {
        "features.0/pre": ("bn_Conv1", "output"),
        "features.0": ("Conv1_relu", "output"),
        "features.18/pre": ("Conv_1_bn", "output"),
        "features.18": ("out_relu", "output"),
        "avgpool": ("global_average_pooling2d", "output"),
    }
    for n in range(1, 18):
        block = f"block_{n - 1}_" if n > 1 else "expanded_conv_"
        for part in ("expand", "depthwise") if n > 1 else ("depthwise",):
            tap = f"features.{n}.{part}"
            found[f"{tap}/pre"] = (f"{block}{part}_BN", "output")
            found[tap] = (f"{block}{part}_relu", "output")
        found[f"features.{n}.project"] = (f"{block}project_BN", "output")
        adds = n in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)
        found[f"features.{n}"] = (block + ("add" if adds else "project_BN"), "output")
    return found


REFERENCES = {
    "mobilenet_v1.keras": Reference(
        (67, 83),
        # A gain with which ReLU6 has something to cut off.
        partial(application, "MobileNet", mobilenet_taps(), gain=1.5, **TF_INPUT),
    ),
    "mobilenet_v2.keras": Reference(
        (67, 83), partial(application, "MobileNetV2", mobilenet_v2_taps(), **TF_INPUT)
    ),
}
