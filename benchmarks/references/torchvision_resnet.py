"""torchvision's ResNets, with our names for what their modules return."""

from functools import partial

from torch import nn

from benchmarks.golden import Reference
from benchmarks.references.torch_common import answer, import_torchvision

torchvision = import_torchvision()
MADE_WITH = f"torchvision {torchvision.__version__}"


def resnet(depth, image):
    """ResNet; a block calls its one ReLU several times, so each call gets its own."""
    network = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    taps = {
        "conv1/pre": ("bn1", "output"),
        "conv1": ("relu", "output"),
        "maxpool": ("maxpool", "output"),
        "avgpool": ("fc", "input"),
    }
    for stage in range(1, 5):
        blocks = getattr(network, f"layer{stage}")
        for i, block in enumerate(blocks):
            name = f"layer{stage}.{i}"
            last = 3 if hasattr(block, "conv3") else 2
            block.relu = _Calls(last)
            for n in range(1, last):
                taps[f"{name}.conv{n}/pre"] = (f"{name}.bn{n}", "output")
                taps[f"{name}.conv{n}"] = (f"{name}.relu.{n - 1}", "output")
            taps[f"{name}.conv{last}"] = (f"{name}.bn{last}", "output")
            if block.downsample is not None:
                taps[f"{name}.downsample"] = (f"{name}.downsample", "output")
            taps[f"{name}/pre"] = (f"{name}.relu.{last - 1}", "input")
            taps[name] = (name, "output")
        taps[f"layer{stage}"] = (f"layer{stage}", "output")
    return answer(network, image, taps, gain=0.7, made_with=MADE_WITH)


class _Calls(nn.ModuleList):
    """A ReLU that is another module at each call, so that hooks can tell them apart."""

    def __init__(self, count):
        super().__init__(nn.ReLU() for _ in range(count))
        self.called = 0

    def forward(self, x):
        self.called += 1
        return self[self.called - 1](x)


REFERENCES = {
    f"resnet{depth}.torchvision": Reference((67, 83), partial(resnet, depth))
    for depth in (18, 34, 50, 101, 152)
}
