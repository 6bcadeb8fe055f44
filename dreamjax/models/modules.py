"""Flax layers with explicit padding, and the tape on which a network plays them.

A layer's Flax name is its tap's name, which is the source network's own
("inception_4c/3x3", "layer1.0.conv2"), so that a network's parameters, its taps and
the tensors of its weight file are found under one name.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from dreamjax.models.convolution import conv
from dreamjax.models.layers import (
    Padding,
    Rules,
    depthwise,
    same_padding,
    widened,
)
from dreamjax.types import Array, Taps

Pad = int | str | Padding | tuple[int, int]
"""Pixels on every side, (rows, columns), ((top, bottom), (left, right)), or "SAME"."""


def explicit(
    padding: Pad, size: tuple[int, int], kernel: tuple[int, int], stride: int
) -> Padding:
    """Returns `padding` as ((top, bottom), (left, right)); "SAME" is TensorFlow's."""
    if padding == "SAME":
        return (
            same_padding(*size, kernel[0], stride)[0],
            same_padding(*size, kernel[1], stride)[1],
        )
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    if isinstance(padding[0], int):
        rows, columns = padding
        return (rows, rows), (columns, columns)
    return padding


def sides(kernel: int | tuple[int, int]) -> tuple[int, int]:
    """Returns a kernel's (height, width)."""
    return (kernel, kernel) if isinstance(kernel, int) else kernel


class Conv(nn.Module):
    """Dense or grouped convolution: [N, H, W, C] -> [N, h, w, K].

    Parameters: kernel [kh, kw, C / groups, K], and bias [K] unless `bias` is False.
    """

    features: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1
    padding: Pad = 0
    groups: int = 1
    bias: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = sides(self.kernel)
        shape = (*kernel, x.shape[-1] // self.groups, self.features)
        weights = self.param("kernel", nn.initializers.lecun_normal(), shape)
        padding = explicit(self.padding, x.shape[1:3], kernel, self.stride)
        # XLA is slow at grouped convolutions on CPU; a few groups are as many of one.
        if self.groups == 1:
            y = conv(x, weights, stride=self.stride, padding=padding)
        else:
            parts = [
                conv(part, kernel_part, stride=self.stride, padding=padding)
                for part, kernel_part in zip(
                    jnp.split(x, self.groups, axis=-1),
                    jnp.split(weights, self.groups, axis=-1),
                    strict=True,
                )
            ]
            y = jnp.concatenate(parts, axis=-1)
        if not self.bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + bias.reshape(1, 1, 1, -1)


class Depthwise(nn.Module):
    """Convolution of each channel with its own filter: kernel [k, k, C], bias [C]."""

    kernel: int
    stride: int = 1
    padding: Pad = "SAME"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel, self.kernel, x.shape[-1])
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        padding = explicit(self.padding, x.shape[1:3], shape[:2], self.stride)
        y = depthwise(x, kernel, self.stride, padding)
        return y + bias.reshape(1, 1, 1, -1)


class Affine(nn.Module):
    """A batch norm that no convolution absorbs: scale [C] and bias [C]."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        return x * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)


class Tape:
    """Plays layers and keeps every activation under the name of its layer.

    Made inside a `nn.compact` method, whose parameters its layers become. A layer with
    a nonlinearity leaves two taps, `name/pre` before it and `name` after it.

    Attributes:
      taps: name -> activation, in the order in which they were made.
      rules: which function stands for each nonlinearity.
    """

    def __init__(self, rules: Rules):
        self.taps: dict[str, Array] = {}
        self.rules = rules

    def keep(self, name: str, x: Array) -> Array:
        """Keeps an activation; returns it."""
        assert name not in self.taps, name
        self.taps[name] = x
        return x

    def act(self, name: str, x: Array, nonlinearity: str | None = "relu") -> Array:
        """Keeps x as `name/pre` and f(x) as `name`; only `name` for None.

        Args:
          nonlinearity: "relu" or "relu6" of the rules, "silu", "gelu", "hard_swish",
            "sigmoid", or None.
        """
        if nonlinearity is None:
            return self.keep(name, x)
        self.keep(f"{name}/pre", x)
        function = getattr(self.rules, nonlinearity, None) or SMOOTH[nonlinearity]
        return self.keep(name, function(x))

    def conv(
        self,
        name: str,
        x: Array,
        features: int,
        kernel: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        padding: Pad = 0,
        groups: int = 1,
        bias: bool = True,
        act: str | None = "relu",
    ) -> Array:
        """A convolution and its nonlinearity."""
        layer = Conv(features, kernel, stride, padding, groups, bias, name=name)
        return self.act(name, layer(x), act)

    def depthwise(
        self,
        name: str,
        x: Array,
        kernel: int,
        *,
        stride: int = 1,
        padding: Pad = "SAME",
        act: str | None = "relu6",
    ) -> Array:
        """A depthwise convolution and its nonlinearity."""
        return self.act(name, Depthwise(kernel, stride, padding, name=name)(x), act)

    def affine(self, name: str, x: Array, *, act: str | None = "relu") -> Array:
        """A batch norm on its own and its nonlinearity."""
        return self.act(name, Affine(name=name)(x), act)

    def dense(
        self, name: str, x: Array, features: int, *, act: str | None = None
    ) -> Array:
        """A dense layer over [N, C]."""
        return self.act(name, nn.Dense(features, name=name)(x), act)

    def classifier(self, x: Array, classes: int, name: str) -> Taps:
        """Classifies x [N, C] by a dense layer, or not, for 0 classes; all taps."""
        if classes == 0:
            return self.taps
        return self.classify(nn.Dense(classes, name=name)(x))

    def classify(self, logits: Array) -> Taps:
        """Keeps "logits" and "probabilities" [N, classes]; returns all taps."""
        self.keep("logits", logits)
        self.keep("probabilities", jax.nn.softmax(widened(logits), axis=-1))
        return self.taps


SMOOTH: dict[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "hard_swish": jax.nn.hard_swish,
    "sigmoid": jax.nn.sigmoid,
}
