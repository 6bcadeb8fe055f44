"""timm's DenseNet, ConvNeXt and Vision Transformer, with our names."""

import importlib
from functools import partial

from benchmarks.golden import Reference
from benchmarks.references.torch_common import answer
from benchmarks.references.torchvision_modern import (
    CONVNEXT,
    densenet_taps,
    first,
    flat,
    patches,
    token_taps,
)

# After torchvision, which it imports and which needs `import_torchvision`.
timm = importlib.import_module("timm")
MADE_WITH = f"timm {timm.__version__}"


def densenet(image):
    """DenseNet-121; its batch norms have the ReLU inside."""
    taps = densenet_taps()
    before = {
        name: (f"{module}.drop", "input")
        for name, (module, *_) in taps.items()
        if name.endswith("/pre")
    }
    before["norm5"] = ("features.norm5", "output")
    network = timm.create_model("densenet121")
    return answer(network, image, taps | before, made_with=MADE_WITH)


def convnext(image):
    """ConvNeXt-Tiny; within a block channels are last."""
    taps = {
        "stem.0": ("stem.0", "output"),
        "stem.1": ("stem.1", "output"),
        "head.global_pool": ("head.global_pool", "output", flat),
        "head.norm": ("head.norm", "output", flat),
    }
    for stage, blocks in enumerate(CONVNEXT):
        name = f"stages.{stage}"
        taps[name] = (name, "output")
        if stage > 0:
            for path in (f"{name}.downsample.0", f"{name}.downsample.1"):
                taps[path] = (path, "output")
        for block in (f"{name}.blocks.{b}" for b in range(blocks)):
            taps[f"{block}.conv_dw"] = (f"{block}.conv_dw", "output")
            taps[f"{block}.norm"] = (f"{block}.norm", "output", first)
            taps[f"{block}.mlp.fc1/pre"] = (f"{block}.mlp.fc1", "output", first)
            taps[f"{block}.mlp.fc1"] = (f"{block}.mlp.act", "output", first)
            taps[f"{block}.mlp.fc2"] = (f"{block}.mlp.fc2", "output", first)
            taps[block] = (block, "output")
    network = timm.create_model("convnext_tiny")
    return answer(network, image, taps, made_with=MADE_WITH)


def vit(image):
    """ViT-B/16, with the whole patches of the image: timm refuses others."""
    grid = (image.shape[1] // 16, image.shape[2] // 16)
    network = timm.create_model("vit_base_patch16_224", dynamic_img_size=True)
    network.register_forward_pre_hook(
        lambda _, inputs: inputs[0][..., : 16 * grid[0], : 16 * grid[1]]
    )
    modules = {"ln": ("norm", "output")}
    for i in range(12):
        name, path = f"encoder_layer_{i}", f"blocks.{i}"
        modules[f"{name}.ln_1"] = (f"{path}.norm1", "output")
        modules[f"{name}.self_attention"] = (f"{path}.attn", "output")
        modules[f"{name}.ln_2"] = (f"{path}.norm2", "output")
        modules[f"{name}.mlp.linear_1/pre"] = (f"{path}.mlp.fc1", "output")
        modules[f"{name}.mlp.linear_1"] = (f"{path}.mlp.act", "output")
        modules[f"{name}.mlp.linear_2"] = (f"{path}.mlp.fc2", "output")
        modules[name] = (path, "output")
    taps = {
        "conv_proj": ("patch_embed.proj", "output"),
        "embedding": ("pos_drop", "output", partial(patches, grid)),
    }
    taps |= token_taps(modules, grid)
    half = (0.5, 0.5, 0.5)
    return answer(network, image, taps, mean=half, std=half, made_with=MADE_WITH)


REFERENCES = {
    "densenet121.timm": Reference((67, 83), densenet),
    "convnext_tiny.timm": Reference((67, 83), convnext),
    "vit_b_16.timm": Reference((53, 243), vit),
}
