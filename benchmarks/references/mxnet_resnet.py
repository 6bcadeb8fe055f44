"""ResNet v2 as MXNet's Gluon builds it, in PyTorch, with MXNet's names.

MXNet itself is no longer published for the Python versions in use. What stands here
follows the definition of its `BottleneckV2` and `ResNetV2`: every batch norm on its
own, every sum and every nonlinearity a module.
"""

from functools import partial

import torch
from torch import nn

from benchmarks.golden import Reference
from benchmarks.references.torch_common import answer


class BatchNorm(nn.Module):
    """(x - mean) / sqrt(var + 1e-5) * gamma + beta, with MXNet's names."""

    def __init__(self, channels):
        super().__init__()
        for name in ("gamma", "beta"):
            setattr(self, name, nn.Parameter(torch.zeros(channels)))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.zeros(channels))

    def forward(self, x):
        mean, variance, gamma, beta = (
            t[:, None, None]
            for t in (self.running_mean, self.running_var, self.gamma, self.beta)
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * gamma + beta


class Plus(nn.Module):
    """The sum of two maps."""

    def forward(self, x, y):
        return x + y


class ResNetV2(nn.Module):
    """Gluon's network; `whole` is False where it ends with stage4_batchnorm0."""

    def __init__(self, blocks, whole=True):
        super().__init__()
        self.blocks, self.whole = blocks, whole
        self.add("batchnorm0", BatchNorm(3))
        self.conv("conv0", 3, 64, 7, 2)
        self.norm("batchnorm1", 64)
        self.add("pool0", nn.MaxPool2d(3, 2, 1))
        inputs = 64
        for stage, count in enumerate(blocks, start=1):
            if stage == 4 and not whole:
                self.norm("stage4_batchnorm0", inputs)
                return
            for block in range(count):
                stride = 2 if stage > 1 and block == 0 else 1
                self.block(f"stage{stage}_", block, inputs, 128 << stage, stride)
                inputs = 128 << stage
        self.norm("batchnorm2", inputs)
        self.add("dense0", nn.Linear(inputs, 1000))

    def add(self, name, module):
        self.add_module(name, module)

    def conv(self, name, inputs, outputs, size=1, stride=1):
        options = {"padding": size // 2, "bias": False}
        self.add(name, nn.Conv2d(inputs, outputs, size, stride, **options))

    def norm(self, name, channels):
        self.add(name, BatchNorm(channels))
        self.add(name.replace("batchnorm", "relu"), nn.ReLU())

    def block(self, stage, block, inputs, outputs, stride):
        n = 3 * block
        c = n + 1 if block else 0
        inner = outputs // 4
        self.norm(f"{stage}batchnorm{n}", inputs)
        self.conv(f"{stage}conv{c}", inputs, inner)
        self.norm(f"{stage}batchnorm{n + 1}", inner)
        self.conv(f"{stage}conv{c + 1}", inner, inner, 3, stride)
        self.norm(f"{stage}batchnorm{n + 2}", inner)
        self.conv(f"{stage}conv{c + 2}", inner, outputs)
        if block == 0:
            self.conv(f"{stage}conv3", inputs, outputs, 1, stride)
        self.add(f"{stage}_plus{block}", Plus())

    def run(self, x, *names):
        for name in names:
            x = self.get_submodule(name)(x)
        return x

    def forward(self, x):
        x = self.run(x, "batchnorm0", "conv0", "batchnorm1", "relu1", "pool0")
        for stage, count in enumerate(self.blocks, start=1):
            s = f"stage{stage}_"
            if stage == 4 and not self.whole:
                return self.run(x, f"{s}batchnorm0", f"{s}relu0")
            for block in range(count):
                n, c = 3 * block, 3 * block + 1 if block else 0
                y = self.run(x, f"{s}batchnorm{n}", f"{s}relu{n}")
                if block == 0:
                    x = self.run(y, f"{s}conv3")
                y = self.run(
                    y, f"{s}conv{c}", f"{s}batchnorm{n + 1}", f"{s}relu{n + 1}"
                )
                y = self.run(y, f"{s}conv{c + 1}", f"{s}batchnorm{n + 2}")
                y = self.run(y, f"{s}relu{n + 2}", f"{s}conv{c + 2}")
                x = self.get_submodule(f"{s}_plus{block}")(y, x)
        return self.dense0(self.run(x, "batchnorm2", "relu2").mean((2, 3)))


def resnet(blocks, whole, image):
    """All taps; where a batch norm follows a convolution, it is the convolution's."""
    network = ResNetV2(blocks, whole)
    taps = {
        "batchnorm0": ("batchnorm0", "output"),
        "conv0/pre": ("batchnorm1", "output"),
        "conv0": ("relu1", "output"),
        "pool0": ("pool0", "output"),
    }
    for stage, count in enumerate(blocks, start=1):
        s = f"stage{stage}_"
        if stage == 4 and not whole:
            count = 0
            taps[f"{s}batchnorm0/pre"] = (f"{s}batchnorm0", "output")
            taps[f"{s}batchnorm0"] = (f"{s}relu0", "output")
        for block in range(count):
            n, c = 3 * block, 3 * block + 1 if block else 0
            taps[f"{s}batchnorm{n}/pre"] = (f"{s}batchnorm{n}", "output")
            taps[f"{s}batchnorm{n}"] = (f"{s}relu{n}", "output")
            for i in (0, 1):
                taps[f"{s}conv{c + i}/pre"] = (f"{s}batchnorm{n + i + 1}", "output")
                taps[f"{s}conv{c + i}"] = (f"{s}relu{n + i + 1}", "output")
            taps[f"{s}conv{c + 2}"] = (f"{s}conv{c + 2}", "output")
            taps[f"{s}_plus{block}"] = (f"{s}_plus{block}", "output")
        if count:
            taps[f"{s}conv3"] = (f"{s}conv3", "output")
            taps[f"stage{stage}"] = (f"{s}_plus{count - 1}", "output")
    if whole:
        taps["batchnorm2/pre"] = ("batchnorm2", "output")
        taps["batchnorm2"] = ("relu2", "output")
        taps["pool1"] = ("dense0", "input")
    return answer(
        network,
        image,
        taps,
        rename=lambda name: "resnetv24_" + name.replace(".", "_"),
        gradient_of=("logits",) if whole else ("stage4_batchnorm0",),
        gain=0.7,
        made_with=f"PyTorch {torch.__version__}, after MXNet 1.9's definition",
    )


DEEP50, DEEP101 = (3, 4, 6, 3), (3, 4, 23, 3)
REFERENCES = {
    "resnet50_v2.mxnet": Reference((67, 83), partial(resnet, DEEP50, True)),
    "resnet50_v2.mxnet-stage3": Reference((67, 83), partial(resnet, DEEP50, False)),
    "resnet101_v2.mxnet": Reference((67, 83), partial(resnet, DEEP101, True), seed=1),
}
