"""Keras' EfficientNet-B0 as it is published, on PyTorch."""

from unittest import mock

from benchmarks.golden import Reference
from benchmarks.references.keras_nets import answer, keras

efficientnet = keras.src.applications.efficientnet
REPEATS = (1, 2, 2, 3, 3, 4, 1)


def build(shape):
    """B0 with all that Keras puts into it for its own weights, but without them.

    Only for those it has a second Rescaling layer, and only one input shape.
    """
    same_shape = mock.patch.object(
        efficientnet.imagenet_utils, "obtain_input_shape", return_value=shape
    )
    no_file = mock.patch.object(efficientnet.file_utils, "get_file")
    no_weights = mock.patch.object(keras.Model, "load_weights")
    with same_shape, no_file, no_weights:
        model = keras.applications.EfficientNetB0(classifier_activation=None)
    assert [type(layer).__name__ for layer in model.layers[1:4]] == [
        "Rescaling",
        "Normalization",
        "Rescaling",
    ]
    return model


def taps():
    """Blocks are lettered within their stage; the gate is an activated convolution."""
    found = {}

    def act(name, norm, activation):
        found[f"{name}/pre"] = (norm, "output")
        found[name] = (activation, "output")

    act("stem", "stem_bn", "stem_activation")
    act("head", "top_bn", "top_activation")
    n = 0
    for stage, repeats in enumerate(REPEATS, start=1):
        for letter in "abcd"[:repeats]:
            at = f"block{stage}{letter}_"
            if stage > 1:
                act(f"b{n}/expand", f"{at}expand_bn", f"{at}expand_activation")
            act(f"b{n}/depthwise", f"{at}bn", f"{at}activation")
            gate = f"{at}se_expand"
            found[f"b{n}/squeeze/pre"] = (gate, "pre", lambda x: x[:, 0, 0])
            found[f"b{n}/squeeze"] = (gate, "output", lambda x: x[:, 0, 0])
            last = "project_bn" if letter == "a" else "add"
            found[f"b{n}"] = (at + last, "output")
            n += 1
    return found


REFERENCES = {
    "efficientnet_b0.keras": Reference(
        (35, 45), lambda image: answer(build, image, taps(), scale=255.0)
    )
}
