"""ViT-B/16 (Dosovitskiy et al. 2021): patches of an image as the words of a sentence.

The tokens of the patches are taps [N, h, w, K], maps like those of any other network:
channel, position and energy mean what they mean elsewhere. h and w are the sides of the
image over 16, rounded down: up to 15 pixels at the right and bottom are not seen. The
class token, which has no place in the image, is a tap of its own, `name/cls` [N, K].

Taps have the names of the layers in torchvision's file, less a leading "encoder." and
"layers.":

    conv_proj                              [h, w, 768], the patches
    embedding                              the same, with their positions added
    encoder_layer_N.ln_1                   N = 0 … 11: [h, w, 768], and …/cls [768]
    encoder_layer_N.self_attention         what it adds to the tokens; and …/cls
    encoder_layer_N.ln_2                   and …/cls
    encoder_layer_N.mlp.linear_1, …/pre    [h, w, 3072], after and before the GELU; and
                                           …/cls, …/cls/pre [3072]
    encoder_layer_N.mlp.linear_2           what it adds to the tokens; and …/cls
    encoder_layer_N                        the tokens after both; and …/cls
    ln                                     [h, w, 768], and ln/cls, which is classified
    logits, probabilities                  [1000]; torchvision calls the layer
                                           heads.head, timm head

What patches are after the attention of layer 11 reaches no class, so training has not
shaped it: aim at earlier layers, or at `…/cls`. Position embeddings were learned for
14×14 patches (224 px); for other grids they are resized as the source of the weights
does.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dreamjax.labels import imagenet_labels
from dreamjax.models.convert import TORCH, Layer, fill
from dreamjax.models.layers import PLAIN, Rules, widened
from dreamjax.models.model import INCEPTION_INPUT, TORCHVISION_INPUT, Record
from dreamjax.models.modules import SMOOTH, Tape
from dreamjax.models.port import Port
from dreamjax.models.source import Source
from dreamjax.types import Array, Taps

PATCH = 16  # pixels a side
GRID = 14  # patches a side in training
LAYERS, HEADS, FEATURES = 12, 12, 768

Resize = Callable[[Array, tuple[int, int]], Array]
"""(position embeddings [GRID, GRID, K], (h, w)) -> [h, w, K]."""
Keep = Callable[..., Array]


class VisionTransformer(nn.Module):
    """The network: preprocessed images [N, H, W, 3] -> taps."""

    resize: Resize
    rules: Rules = PLAIN
    classes: int = 1000

    @nn.compact
    def __call__(self, x: Array) -> Taps:
        tape = Tape(self.rules)
        init = nn.initializers.normal(0.02)
        token = self.param("class_token", init, (FEATURES,))
        places = self.param("pos_embedding", init, (1 + GRID**2, FEATURES))
        y = tape.keep("conv_proj", Patches(name="conv_proj")(x))  # [N, h, w, K]
        n, *grid, _ = y.shape
        keep = partial(_keep, tape, tuple(grid))
        y = y + self.resize(places[1:].reshape(GRID, GRID, -1), tuple(grid))[None]
        y = tape.keep("embedding", y).reshape(n, -1, FEATURES)  # [N, h w, K]
        token = jnp.broadcast_to(token + places[0], (n, 1, FEATURES))
        y = jnp.concatenate((token, y), axis=1)  # [N, 1 + h w, K]
        for layer in range(LAYERS):
            y = _layer(keep, f"encoder_layer_{layer}", y)
        y = _norm(keep, "ln", y)
        return tape.classifier(y[:, 0], self.classes, "heads.head")


class Patches(nn.Module):
    """Cuts an image into patches, each of which becomes K numbers: [N, h, w, K]."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        n, height, width, channels = x.shape
        shape = (PATCH, PATCH, channels, FEATURES)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (FEATURES,))
        h, w = height // PATCH, width // PATCH
        x = x[:, : h * PATCH, : w * PATCH].reshape(n, h, PATCH, w, PATCH, channels)
        # The gradient of XLA's convolution is 15 times as slow on CPU.
        y = jnp.einsum("nhiwjc,ijck->nhwk", x, kernel)
        return y + bias[None, None, None, :]


def _keep(
    tape: Tape, grid: tuple[int, int], name: str, tokens: Array, ending: str = ""
) -> Array:
    """Keeps tokens [N, 1 + h w, K] as a map, and the class token; returns them."""
    patches = tokens[:, 1:]
    tape.keep(name + ending, patches.reshape(patches.shape[0], *grid, -1))
    tape.keep(f"{name}/cls{ending}", tokens[:, 0])
    return tokens


def _layer(keep: Keep, name: str, x: Array) -> Array:
    y = _norm(keep, f"{name}.ln_1", x)
    x = x + keep(f"{name}.self_attention", _attention(f"{name}.self_attention", y))
    y = _norm(keep, f"{name}.ln_2", x)
    y = nn.Dense(4 * FEATURES, name=f"{name}.mlp.linear_1")(y)
    keep(f"{name}.mlp.linear_1", y, "/pre")
    y = keep(f"{name}.mlp.linear_1", SMOOTH["gelu"](y))
    y = nn.Dense(FEATURES, name=f"{name}.mlp.linear_2")(y)
    return keep(name, x + keep(f"{name}.mlp.linear_2", y))


def _norm(keep: Keep, name: str, x: Array) -> Array:
    norm = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name=name)
    return keep(name, norm(x))


def _attention(name: str, x: Array) -> Array:
    """Every token asks all tokens: [N, T, K] -> [N, T, K]."""
    n, tokens, features = x.shape
    y = nn.Dense(3 * features, name=f"{name}.in_proj")(x)
    y = y.reshape(n, tokens, 3, HEADS, features // HEADS)
    query, key, value = y[:, :, 0], y[:, :, 1], y[:, :, 2]  # [N, T, HEADS, K / HEADS]
    likeness = jnp.einsum("nqhd,nkhd->nhqk", query, key) * query.shape[-1] ** -0.5
    weights = jax.nn.softmax(widened(likeness), axis=-1).astype(x.dtype)
    y = jnp.einsum("nhqk,nkhd->nqhd", weights, value).reshape(x.shape)
    return nn.Dense(features, name=f"{name}.out_proj")(y)


def resize_torchvision(places: Array, grid: tuple[int, int]) -> Array:
    """As torchvision's `interpolate_embeddings`: the corners stay where they are."""
    rows, columns = (_bicubic(GRID, size) for size in grid)
    return jnp.einsum("ih,hwk,jw->ijk", rows, places, columns).astype(places.dtype)


def _bicubic(size: int, out: int) -> np.ndarray:
    """Weights [out, size] of PyTorch's bicubic interpolation with `align_corners`.

    Keys' (1981) kernel with a = -3/4, where jax.image has -1/2; what lies outside is
    like the border.
    """
    a = -0.75
    at = np.linspace(0, size - 1, out)[:, None]
    near = np.floor(at) + np.arange(-1, 3)  # [out, 4]
    d = np.abs(at - near)
    inner = (a + 2) * d**3 - (a + 3) * d**2 + 1
    outer = a * (d**3 - 5 * d**2 + 8 * d - 4)
    weights = np.zeros((out, size), np.float32)
    places = np.arange(out)[:, None], np.clip(near, 0, size - 1).astype(int)
    np.add.at(weights, places, np.where(d <= 1, inner, outer))
    return weights


def resize_timm(places: Array, grid: tuple[int, int]) -> Array:
    """As timm's `resample_abs_pos_embed`: bicubic with a = -1/2, antialiased."""
    return jax.image.resize(places, (*grid, places.shape[-1]), "cubic")


def _torchvision_name(path: str) -> Layer:
    if path == "class_token":
        return Layer(path, shape=(1, 1, FEATURES))
    if path == "pos_embedding":
        return Layer(f"encoder.{path}", shape=(1, 1 + GRID**2, FEATURES))
    if path == "ln":
        return Layer("encoder.ln")
    layers = "encoder.layers." if path.startswith("encoder_layer") else ""
    return Layer(layers + path)


def _timm_name(path: str) -> Layer:
    if path == "class_token":
        return Layer("cls_token", shape=(1, 1, FEATURES))
    if path == "pos_embedding":
        return Layer("pos_embed", shape=(1, 1 + GRID**2, FEATURES))
    if not path.startswith("encoder_layer"):
        return Layer({"conv_proj": "patch_embed.proj", "ln": "norm"}.get(path, "head"))
    layer, _, part = path.removeprefix("encoder_layer_").partition(".")
    parts = {
        "ln_1": "norm1",
        "self_attention.in_proj": "attn.qkv",
        "self_attention.out_proj": "attn.proj",
        "ln_2": "norm2",
        "mlp.linear_1": "mlp.fc1",
        "mlp.linear_2": "mlp.fc2",
    }
    return Layer(f"blocks.{layer}.{parts[part]}")


def _convert(
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping,
    name: str,
    *,
    names: Callable[[str], Layer],
) -> dict[str, Any]:
    # torchvision has an in_proj_weight beside an out_proj.weight.
    found = {re.sub(r"in_proj_(\w+)$", r"in_proj.\1", n): t for n, t in tensors.items()}
    return fill(found, shapes, name, layout=TORCH, names=names)


def _port(
    record: Record,
    source: Source,
    format: str,
    resize: Resize,
    names: Callable[[str], Layer],
) -> Port:
    convert = partial(_convert, names=names)
    return Port(record, source, format, partial(VisionTransformer, resize), convert)


_COMMON = {
    "year": 2021,
    "paper": "Dosovitskiy et al. 2021",
    "size": PATCH * GRID,
    "min_size": PATCH,
    "labels": imagenet_labels(),
    "parameters": 86_567_656,
}
_TORCHVISION = _port(
    Record(
        name="vit_b_16.torchvision",
        source="torchvision, IMAGENET1K_V1",
        license="BSD-3-Clause",
        top1=81.072,
        **_COMMON,
        **TORCHVISION_INPUT,
    ),
    Source(
        file="vit_b_16-c867db91.pth",
        address="https://download.pytorch.org/models/vit_b_16-c867db91.pth",
        digest="sha256:c867db91",
    ),
    "torch",
    resize_torchvision,
    _torchvision_name,
)
# The same network, trained on hashtags of 3.6e9 photos; only its head on ImageNet.
_SWAG = _TORCHVISION._replace(
    record=dataclasses.replace(
        _TORCHVISION.record,
        name="vit_b_16.torchvision-swag-linear",
        source="torchvision, IMAGENET1K_SWAG_LINEAR_V1",
        license="CC-BY-NC-4.0",
        top1=81.886,
    ),
    source=Source(
        file="vit_b_16_lc_swag-4e70ced5.pth",
        address="https://download.pytorch.org/models/vit_b_16_lc_swag-4e70ced5.pth",
        digest="sha256:4e70ced5",
    ),
)
PORTS = (
    _TORCHVISION,
    _SWAG,
    _port(
        Record(
            name="vit_b_16.timm",
            source="timm, vit_base_patch16_224.augreg_in21k_ft_in1k",
            license="Apache-2.0",
            top1=84.534,
            **_COMMON,
            **INCEPTION_INPUT,
        ),
        Source(
            file="vit_base_patch16_224.augreg_in21k_ft_in1k.safetensors",
            address="https://huggingface.co/timm/"
            "vit_base_patch16_224.augreg_in21k_ft_in1k/resolve/main/model.safetensors",
        ),
        "safetensors",
        resize_timm,
        _timm_name,
    ),
)
