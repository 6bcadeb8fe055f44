"""Every weight set of the zoo: its record, its taps at any size, what it refuses."""

from functools import cache

import jax
import numpy as np
import pytest

from dreamjax.labels import imagenet_labels, imagenet_labels_2015
from dreamjax.models import load
from dreamjax.models.formats import FORMATS
from dreamjax.models.layers import PLAIN, Rules
from dreamjax.models.model import Model, check_size, check_taps, tap_shapes
from dreamjax.models.port import convert, outline, parameter_shapes
from dreamjax.models.zoo import ARCHITECTURES, PORTS, architecture, find_port
from tests.parity import PROOFS

ONE_EACH = list(ARCHITECTURES.values())


@cache
def drawn(name):
    """The network without weights."""
    return outline(PORTS[name])


@cache
def played(name):
    """The taps' shapes at the size of the training, and how often rules were used."""
    used = []

    def rule(x):
        used.append(x.shape)
        return x

    model, side = drawn(name), PORTS[name].record.size
    rules = Rules(relu=rule, relu6=rule)
    counting = Model(
        lambda variables, images, _: model.taps(variables, images, rules),
        model.variables,
        model.record,
    )
    return tap_shapes(counting, (side, side)), len(used)


@cache
def tap_names(module, side):
    """The names of a module's taps in their order, in one trace."""
    image = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    names = []

    def trace(key, x):
        taps, _ = module.init_with_output(key, x)
        names.extend(taps)

    jax.eval_shape(trace, jax.random.key(0), image)
    return names


def refused(says, function, *arguments):
    with pytest.raises(ValueError) as error:
        function(*arguments)
    for part in says:
        assert part in str(error.value)


@pytest.mark.parametrize("name", PORTS)
def test_record(name):
    port, record = PORTS[name], PORTS[name].record
    assert record.name == name and architecture(name) in ARCHITECTURES
    assert port.format in FORMATS
    assert record.license and record.paper and 2012 <= record.year <= 2026
    assert record.parameters > 0 and record.source
    assert record.min_size <= record.size
    assert record.labels in ((), imagenet_labels(), imagenet_labels_2015())
    assert record.channel_order in ("RGB", "BGR")
    assert len(record.mean) == len(record.std) == record.channels == 3
    # A black and a white image are not far outside of what a network has seen.
    for value in (0.0, 1.0):
        seen = (value * record.scale - np.array(record.mean)) / np.array(record.std)
        assert np.all(np.abs(seen) < (3 if record.scale == 1 else 160))


@pytest.mark.parametrize("name", ONE_EACH)
def test_taps_at_any_size(name):
    """From the smallest side on, square or not: the same taps in the same order."""
    model, record = drawn(name), PORTS[name].record
    size = record.min_size, record.min_size + 21
    shapes = tap_shapes(model, size)
    at_size, _ = played(name)
    assert all(min(shape) > 0 for shape in shapes.values())
    assert [n for n in at_size if n not in record.head_taps] == list(shapes)
    assert set(record.head_taps) <= set(at_size)
    assert all(len(shape) in (2, 4) for shape in at_size.values())
    if record.labels:
        classes = (1, len(record.labels))
        assert at_size["logits"] == at_size["probabilities"] == classes
    for tap in at_size:
        if tap.endswith("/pre"):
            assert at_size[tap] == at_size[tap.removesuffix("/pre")]
    if record.head_taps:
        says = [repr(record.head_taps[0]), f"{record.size} × {record.size}"]
        found = record, record.head_taps[:1], shapes, size
        refused(says, check_taps, *found)


@pytest.mark.parametrize("name", ONE_EACH)
def test_smaller_than_the_smallest(name):
    record = PORTS[name].record
    size = record.min_size - 1, record.min_size
    refused([f"at least {record.min_size} px"], check_size, record, size)


@pytest.mark.parametrize("name", ONE_EACH)
def test_redirectable_networks_follow_the_rules(name):
    """All their nonlinearities are the rules', and each leaves a tap before it."""
    taps, used = played(name)
    pre = [tap for tap in taps if tap.endswith("/pre")]
    assert PORTS[name].record.redirectable == (used > 0)
    assert used <= len(pre)


def test_sources_of_one_architecture_have_the_same_taps():
    """Where one file stops early, the taps of the others go on from there."""
    for name in dict.fromkeys(PROOFS.values()):
        first = ARCHITECTURES[architecture(name)]
        module = PORTS[name].network(PLAIN)
        if module != PORTS[first].network(PLAIN):
            ours = tap_names(module, PORTS[name].record.size)
            theirs = list(played(first)[0])
            common = [tap for tap in theirs if tap in ours]
            assert [tap for tap in ours if tap in theirs] == common
            assert len(common) >= 0.6 * min(len(ours), len(theirs)), (name, first)


def test_another_networks_file_is_refused():
    """Both sides are printed: what is missing and what is left over."""
    tensors = {
        "features.0.weight": np.zeros((64, 3, 3, 3), np.float32),
        "no_such_layer": np.zeros(3, np.float32),
    }
    for name in ONE_EACH:
        says = [f"weights of {name} do not fit", "missing", "unused    "]
        shapes = drawn(name).variables["params"]
        refused(says, PORTS[name].convert, tensors, shapes, name)


def test_errors_name_the_weight_set():
    """Also where two weight sets have one converter."""
    for name in ("squeezenet1_1.mxnet", "mobilenet_v2.torchvision-v2"):
        says = [f"weights of {name} do not fit"]
        refused(says, convert, PORTS[name], {"no_such_layer": np.zeros(3)})


def test_names():
    assert find_port("squeezenet1_1").record.name.startswith("squeezenet1_1.")
    assert find_port("resnet50.torchvision") is PORTS["resnet50.torchvision"]
    refused(["model='resnet500'", "Did you mean"], find_port, "resnet500")
    refused(
        ["model='vgg16.torchvison'", '"vgg16.torchvision"'], load, "vgg16.torchvison"
    )


def test_shapes_of_parameters_are_those_of_a_first_call():
    shapes = parameter_shapes(PORTS["squeezenet1_1.torchvision"])
    assert shapes["conv1"]["kernel"].shape == (3, 3, 3, 64)
    assert shapes["conv10"]["bias"].shape == (1000,)
