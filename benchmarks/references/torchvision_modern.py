"""torchvision's DenseNet, ConvNeXt and Vision Transformer, with our names."""

import re
from functools import partial

import torch
from torch.nn import functional

from benchmarks.golden import Reference
from benchmarks.references.torch_common import answer, import_torchvision

torchvision = import_torchvision()
MADE_WITH = f"torchvision {torchvision.__version__}"
CONVNEXT = (3, 3, 9, 3)  # blocks of each stage


def densenet_taps():
    """Our name -> torchvision's module, but for its ReLUs that are functions."""
    taps = {
        "conv0/pre": ("features.norm0", "output"),
        "conv0": ("features.pool0", "input"),
        "pool0": ("features.pool0", "output"),
        "norm5/pre": ("features.norm5", "output"),
        "norm5": ("features.norm5", "output", functional.relu),
        "avgpool": ("classifier", "input"),
    }
    for block, layers in enumerate((6, 12, 24, 16), start=1):
        name = f"denseblock{block}"
        taps[name] = (f"features.{name}", "output")
        for layer in (f"{name}.denselayer{i + 1}" for i in range(layers)):
            path = f"features.{layer}"
            taps[f"{layer}.norm1/pre"] = (f"{path}.norm1", "output")
            taps[f"{layer}.norm1"] = (f"{path}.conv1", "input")
            taps[f"{layer}.conv1/pre"] = (f"{path}.norm2", "output")
            taps[f"{layer}.conv1"] = (f"{path}.conv2", "input")
            taps[f"{layer}.conv2"] = (f"{path}.conv2", "output")
    for name in ("transition1", "transition2", "transition3"):
        path = f"features.{name}"
        taps[f"{name}.norm/pre"] = (f"{path}.norm", "output")
        taps[f"{name}.norm"] = (f"{path}.conv", "input")
        taps[f"{name}.conv"] = (f"{path}.conv", "output")
        taps[name] = (path, "output")
    return taps


def densenet(image):
    """DenseNet-121. The file has older names and no counters.

    The names are those that the pattern in torchvision's densenet.py looks for, which
    fits no counter either.
    """

    def old(name):
        return re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", name)

    network = torchvision.models.densenet121(weights=None)
    taps = densenet_taps()
    found = answer(network, image, taps, rename=old, made_with=MADE_WITH)
    tensors = [t for t in found.tensors if not t[0].endswith("num_batches_tracked")]
    return found._replace(tensors=tuple(tensors))


def first(x):
    """[N, H, W, C] -> [N, C, H, W]."""
    return x.permute(0, 3, 1, 2)


def flat(x):
    """[N, C, 1, 1] -> [N, C]."""
    return x.flatten(1)


def convnext(image):
    """ConvNeXt-Tiny; within a block channels are last."""
    taps = {
        "stem.0": ("features.0.0", "output"),
        "stem.1": ("features.0.1", "output"),
        "head.global_pool": ("avgpool", "output", flat),
        "head.norm": ("classifier.0", "output", flat),
    }
    for stage, blocks in enumerate(CONVNEXT):
        name, path = f"stages.{stage}", f"features.{2 * stage + 1}"
        taps[name] = (path, "output")
        if stage > 0:
            for i in (0, 1):
                between = f"features.{2 * stage}.{i}"
                taps[f"{name}.downsample.{i}"] = (between, "output")
        for b in range(blocks):
            block, inner = f"{name}.blocks.{b}", f"{path}.{b}.block"
            taps[f"{block}.conv_dw"] = (f"{inner}.0", "output")
            taps[f"{block}.norm"] = (f"{inner}.2", "output", first)
            taps[f"{block}.mlp.fc1/pre"] = (f"{inner}.3", "output", first)
            taps[f"{block}.mlp.fc1"] = (f"{inner}.4", "output", first)
            taps[f"{block}.mlp.fc2"] = (f"{inner}.5", "output", first)
            taps[block] = (f"{path}.{b}", "output")
    network = torchvision.models.convnext_tiny(weights=None)
    return answer(network, image, taps, made_with=MADE_WITH)


def token_taps(modules, grid):
    """Our names -> parts of modules that return tokens [N, 1 + h w, K].

    Args:
      modules: our name -> (name of a module, "input" or "output").
    """
    taps = {}
    for name, (module, side) in modules.items():
        name, pre = name.removesuffix("/pre"), "/pre" * name.endswith("/pre")
        taps[name + pre] = (module, side, partial(patches, grid))
        taps[f"{name}/cls{pre}"] = (module, side, class_token)
    return taps


def patches(grid, tokens):
    """[N, 1 + h w, K], first of a tuple or alone -> [N, K, h, w]."""
    tokens = tokens[0] if isinstance(tokens, tuple) else tokens
    return tokens[:, 1:].transpose(1, 2).unflatten(2, grid)


def class_token(tokens):
    """[N, 1 + h w, K], first of a tuple or alone -> [N, K]."""
    tokens = tokens[0] if isinstance(tokens, tuple) else tokens
    return tokens[:, 0]


class AnySize(torchvision.models.VisionTransformer):
    """torchvision's network without its check of the image's size.

    Its position embeddings are resized by the call that `interpolate_embeddings` makes,
    which itself knows square images only.
    """

    def _process_input(self, x):
        x = self.conv_proj(x)
        places = self.encoder.pos_embedding.detach()
        resized = resized_places(places, x.shape[2:])
        self.encoder.pos_embedding = torch.nn.Parameter(resized, requires_grad=False)
        return x.flatten(2).transpose(1, 2)


def resized_places(places, grid):
    """[1, 1 + 14², K] -> [1, 1 + h w, K]."""
    square = places[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    wide = functional.interpolate(
        square, size=tuple(grid), mode="bicubic", align_corners=True
    )
    return torch.cat((places[:, :1], wide.flatten(2).transpose(1, 2)), dim=1)


def check_resized_places():
    """`resized_places` is torchvision's own answer where that has one."""
    places = torch.randn(1, 197, 8)
    for side in (3, 14, 24):
        state = torchvision.models.vision_transformer.interpolate_embeddings(
            16 * side, 16, {"encoder.pos_embedding": places.clone()}
        )
        ours = resized_places(places, (side, side))
        assert torch.equal(state["encoder.pos_embedding"], ours)


def vit(image):
    """ViT-B/16. The file is older than the names mlp.0 and mlp.3."""

    def old(name):
        name = name.replace("mlp.0.", "mlp.linear_1.")
        return name.replace("mlp.3.", "mlp.linear_2.")

    check_resized_places()
    network = AnySize(
        image_size=224,
        patch_size=16,
        num_layers=12,
        num_heads=12,
        hidden_dim=768,
        mlp_dim=3072,
    )
    modules = {"ln": ("encoder.ln", "output")}
    for name in (f"encoder_layer_{i}" for i in range(12)):
        path = f"encoder.layers.{name}"
        modules[f"{name}.ln_1"] = (f"{path}.ln_1", "output")
        modules[f"{name}.self_attention"] = (f"{path}.self_attention", "output")
        modules[f"{name}.ln_2"] = (f"{path}.ln_2", "output")
        modules[f"{name}.mlp.linear_1/pre"] = (f"{path}.mlp.0", "output")
        modules[f"{name}.mlp.linear_1"] = (f"{path}.mlp.1", "output")
        modules[f"{name}.mlp.linear_2"] = (f"{path}.mlp.3", "output")
        modules[name] = (path, "output")
    grid = (image.shape[1] // 16, image.shape[2] // 16)
    taps = {
        "conv_proj": ("conv_proj", "output"),
        "embedding": ("encoder.dropout", "output", partial(patches, grid)),
    }
    taps |= token_taps(modules, grid)
    return answer(network, image, taps, rename=old, made_with=MADE_WITH)


REFERENCES = {
    "densenet121.torchvision": Reference((67, 83), densenet),
    "convnext_tiny.torchvision": Reference((67, 83), convnext),
    # 3 by 15 patches: position embeddings are resized down one way and up the other.
    "vit_b_16.torchvision": Reference((53, 243), vit),
}
