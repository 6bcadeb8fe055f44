"""torchvision's AlexNet and VGG, with our names for what their modules return."""

from functools import partial

from benchmarks.golden import Reference
from benchmarks.references.torch_common import answer, import_torchvision

torchvision = import_torchvision()
MADE_WITH = f"torchvision {torchvision.__version__}"


def named(features, dense):
    """Returns tap -> place of a module, for layers in the order of `features`.

    Args:
      features: names in the order of the convolutions and pools.
      dense: name -> place in `classifier` of the dense layers with a ReLU.
    """
    taps, at = {"avgpool": ("avgpool", "output")}, 0
    for name in features:
        if name.startswith("conv"):
            taps[f"{name}/pre"] = (f"features.{at}", "output")
            at += 1
        taps[name] = (f"features.{at}", "output")
        at += 1
    for name, place in dense.items():
        taps[f"{name}/pre"] = (f"classifier.{place}", "output")
        taps[name] = (f"classifier.{place + 1}", "output")
    return taps


def alexnet(image):
    """AlexNet; the classifier begins with a dropout."""
    features = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"]
    taps = named(features, {"fc6": 1, "fc7": 4})
    network = torchvision.models.alexnet(weights=None)
    return answer(network, image, taps, made_with=MADE_WITH)


def vgg(depth, image):
    """VGG16 or VGG19, which differ in blocks 3 to 5."""
    features = []
    for block in range(1, 6):
        last = 2 if block < 3 else {16: 3, 19: 4}[depth]
        features += [f"conv{block}_{i}" for i in range(1, last + 1)]
        features.append(f"pool{block}")
    network = getattr(torchvision.models, f"vgg{depth}")(weights=None)
    taps = named(features, {"fc6": 0, "fc7": 3})
    return answer(network, image, taps, made_with=MADE_WITH)


# Of a dozen seeds, those whose units keep farthest from their kinks.
REFERENCES = {
    "alexnet_owt.torchvision": Reference((131, 150), alexnet, seed=8),
    "vgg16.torchvision": Reference((37, 67), partial(vgg, 16), seed=4),
    "vgg19.torchvision": Reference((37, 67), partial(vgg, 19), seed=4),
}
