"""timm's EfficientNets, with our names for what their modules return.

The Lite networks of the PyPI packages are the same, under other names.
"""

from functools import partial

from torch import nn

from benchmarks.golden import Reference
from benchmarks.references.torch_common import answer, import_torchvision

import_torchvision()  # before timm does
import timm  # noqa: E402

MADE_WITH = f"timm {timm.__version__}"
TIMM_INPUT = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
PYPI_INPUT = {"scale": 255.0, "mean": (127.0,) * 3, "std": (128.0,) * 3}


def taps_of(network):
    """A batch norm and the nonlinearity after it are one module of timm's."""
    taps = {
        "logits": ("classifier", "output"),
        "probabilities": ("classifier", "output", lambda x: x.softmax(-1)),
    }

    def act(name, module):
        taps[f"{name}/pre"] = (f"{module}.act", "input")
        taps[name] = (f"{module}.act", "output")

    act("stem", "bn1")
    act("head", "bn2")
    n = 0
    for s, stage in enumerate(network.blocks):
        for i, block in enumerate(stage):
            at, expands = f"blocks.{s}.{i}", hasattr(block, "conv_pwl")
            if expands:
                act(f"b{n}/expand", f"{at}.bn1")
            act(f"b{n}/depthwise", f"{at}.bn2" if expands else f"{at}.bn1")
            if not isinstance(block.se, nn.Identity):
                gate = f"{at}.se.gate"
                taps[f"b{n}/squeeze/pre"] = (gate, "input", lambda x: x[:, :, 0, 0])
                taps[f"b{n}/squeeze"] = (gate, "output", lambda x: x[:, :, 0, 0])
            taps[f"b{n}"] = (at, "output")
            n += 1
    return taps


def pypi_names(network):
    """Module of timm's -> its name in the PyPI packages."""
    names = {
        "conv_stem": "_conv_stem",
        "bn1": "_bn0",
        "conv_head": "_conv_head",
        "bn2": "_bn1",
        "classifier": "_fc",
    }
    n = 0
    for s, stage in enumerate(network.blocks):
        for i, block in enumerate(stage):
            parts = {"conv_dw": "depthwise", "conv_pw": "project"}
            if hasattr(block, "conv_pwl"):
                parts = {"conv_pw": "expand", "conv_dw": "depthwise"}
                parts["conv_pwl"] = "project"
            numbers = {"expand": 0, "depthwise": 1, "project": 2}
            for k, (theirs, part) in enumerate(parts.items(), start=1):
                at = f"blocks.{s}.{i}"
                names[f"{at}.{theirs}"] = f"_blocks.{n}._{part}_conv"
                names[f"{at}.bn{k}"] = f"_blocks.{n}._bn{numbers[part]}"
            n += 1
    return names


def of_timm(variant, image, **options):
    """A network under timm's names."""
    network = timm.create_model(variant)
    return answer(network, image, taps_of(network), made_with=MADE_WITH, **options)


def of_pypi(variant, image, **options):
    """A Lite network under the names of the PyPI packages."""
    network = timm.create_model(variant)
    names = pypi_names(network)

    def rename(tensor):
        module, _, part = tensor.rpartition(".")
        return f"{names[module]}.{part}"

    options |= PYPI_INPUT | {"rename": rename, "made_with": MADE_WITH}
    return answer(network, image, taps_of(network), **options)


# The seeds keep every unit, as far as the gradient reaches, several times as far from
# the kinks of its ReLU6 as float32 rounds. No seed does in all of Lite1 … Lite4.
SIZE = (35, 45)
TO_B8 = {"gradient_of": ("b8",)}


def lite(answer_of, number, seed, **options):
    """One of the Lite networks."""
    variant = f"tf_efficientnet_lite{number}"
    return Reference(SIZE, partial(answer_of, variant, **options), seed)


REFERENCES = {
    "efficientnet_b0.timm": Reference(SIZE, partial(of_timm, "efficientnet_b0")),
    "efficientnet_lite0.pypi": lite(of_pypi, 0, 53),
    "efficientnet_lite1.pypi": lite(of_pypi, 1, 25, **TO_B8),
    "efficientnet_lite2.pypi": lite(of_pypi, 2, 45, **TO_B8),
    "efficientnet_lite0.timm": lite(of_timm, 0, 7, **TIMM_INPUT),
    "efficientnet_lite1.timm": lite(of_timm, 1, 21, **TIMM_INPUT, **TO_B8),
    "efficientnet_lite2.timm": lite(of_timm, 2, 41, **TIMM_INPUT, **TO_B8),
    "efficientnet_lite3.timm": lite(of_timm, 3, 50, **TIMM_INPUT, **TO_B8),
    "efficientnet_lite4.timm": lite(of_timm, 4, 49, **TIMM_INPUT, **TO_B8),
}
