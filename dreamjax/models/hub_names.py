"""What timm and torchvision call the networks that the zoo has, and their tensors."""

import re
from collections.abc import Callable, Iterable

RESNETS = tuple(f"resnet{depth}" for depth in (18, 34, 50, 101, 152))
LITES = tuple(f"efficientnet_lite{i}" for i in range(5))

Places = Callable[[Iterable[str]], dict[str, str]]
"""names of a file's tensors -> name there -> name that the port reads."""


def zoo_names() -> dict[str, str]:
    """Returns architecture -> weight set of the zoo that computes the same.

    Names that stand for something else there are left out: timm's `efficientnet_lite0`
    pads otherwise than `tf_efficientnet_lite0`, `tf_efficientnet_b0` otherwise than
    `efficientnet_b0`.
    """
    return {
        **{name: f"{name}.torchvision" for name in RESNETS},
        "vgg16": "vgg16.torchvision",
        "vgg19": "vgg19.torchvision",
        "densenet121": "densenet121.timm",
        "inception_v3": "inception_v3.torchvision",
        "mobilenetv2_100": "mobilenet_v2.torchvision",
        "efficientnet_b0": "efficientnet_b0.timm",
        **{f"tf_{name}": f"{name}.timm" for name in LITES},
        "convnext_tiny": "convnext_tiny.timm",
        "vit_base_patch16_224": "vit_b_16.timm",
        "deit_base_patch16_224": "vit_b_16.timm",
        "squeezenet1_0": "squeezenet1_0.torchvision",
        "squeezenet1_1": "squeezenet1_1.torchvision",
    }


def _vgg(names: Iterable[str]) -> dict[str, str]:
    """timm's dense layers are convolutions, of 7×7 and 1×1."""
    dense = {"pre_logits.fc1": "0", "pre_logits.fc2": "3", "head.fc": "6"}
    pattern = re.compile(r"(pre_logits\.fc[12]|head\.fc)\.(weight|bias)$")
    found = {name: pattern.search(name) for name in names}
    return {
        name: f"{name[: m.start()]}classifier.{dense[m[1]]}.{m[2]}"
        for name, m in found.items()
        if m
    }


def _mobilenet(names: Iterable[str]) -> dict[str, str]:
    """timm numbers blocks within stages, torchvision all of them."""
    names = list(names)
    pattern = re.compile(r"(.*?)blocks\.(\d+)\.(\d+)\.(\w+)\.(\w+)")
    found = {name: m for name in names if (m := pattern.fullmatch(name))}
    order = sorted({(int(m[2]), int(m[3])) for m in found.values()})
    places = {}
    first = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
    usual = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1"}
    usual |= {"conv_pwl": "2", "bn3": "3"}
    for name, m in found.items():
        at = order.index((int(m[2]), int(m[3])))
        layer = (usual if at else first).get(m[4])
        if layer:
            places[name] = f"{m[1]}features.{at + 1}.conv.{layer}.{m[5]}"
    last = len(order) + 1
    outside = {"conv_stem": "features.0.0", "bn1": "features.0.1"}
    outside |= {"conv_head": f"features.{last}.0", "bn2": f"features.{last}.1"}
    outside |= {"classifier": "classifier.1"}
    pattern = re.compile(r"(.*?)(conv_stem|bn1|conv_head|bn2|classifier)\.([a-z_]+)")
    for name in names:
        m = pattern.fullmatch(name)
        if m and name not in found:
            places[name] = f"{m[1]}{outside[m[2]]}.{m[3]}"
    return places


PLACES: dict[str, Places] = {
    "vgg16.torchvision": _vgg,
    "vgg19.torchvision": _vgg,
    "mobilenet_v2.torchvision": _mobilenet,
}
"""Weight set -> where timm's tensors go in it, if not by the same names."""
