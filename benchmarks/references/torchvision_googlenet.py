"""torchvision's GoogLeNet, which changes its input, with our names for its modules."""

import numpy as np

from benchmarks.golden import Answer, Reference
from benchmarks.references.torch_common import answer, import_torchvision

torchvision = import_torchvision()
MADE_WITH = f"torchvision {torchvision.__version__}"

MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
ENDS = ("branch1", "branch2.1", "branch3.1", "branch4.1")
CONVOLUTIONS = (
    *("conv1", "conv2", "conv3"),
    *(
        f"inception{module}.{branch}"
        for module in MODULES
        for branch in (
            "branch1",
            "branch2.0",
            "branch2.1",
            "branch3.0",
            "branch3.1",
            "branch4.1",
        )
    ),
)
OTHERS = (
    *("maxpool1", "maxpool2", "maxpool3", "maxpool4"),
    *(f"inception{module}" for module in MODULES),
    *(f"inception{module}.branch4.0" for module in MODULES),
)


def googlenet(image) -> Answer:
    """As it is built where the pretrained weights are asked for."""
    network = torchvision.models.googlenet(
        weights=None, aux_logits=False, transform_input=True, init_weights=False
    )
    taps = {"avgpool": ("dropout", "output")}
    for name in CONVOLUTIONS:
        taps[name] = (name, "output")
        taps[f"{name}/pre"] = (f"{name}.bn", "output")
    for name in OTHERS:
        taps[name] = (name, "output")
    found = answer(network, image, taps, made_with=MADE_WITH)
    before = {
        f"inception{module}/pre": np.concatenate(
            [found.taps[f"inception{module}.{end}/pre"] for end in ENDS], axis=-1
        )
        for module in MODULES
    }
    return found._replace(taps={**found.taps, **before})


REFERENCES = {"googlenet_bn.torchvision": Reference((67, 83), googlenet, seed=2)}
