"""torchvision's EfficientNet-B0, with our names for what its modules return."""

from benchmarks.golden import Reference
from benchmarks.references.torch_common import answer, import_torchvision

torchvision = import_torchvision()


def b0(image):
    """B0; a stage follows the stem at features.0, the head is features.8."""
    network = torchvision.models.efficientnet_b0(weights=None)
    taps = {}

    def act(name: str, module: str) -> None:
        taps[f"{name}/pre"] = (f"{module}.1", "output")
        taps[name] = (f"{module}.2", "output")

    act("stem", "features.0")
    n = 0
    for s in range(1, 8):
        for i, whole in enumerate(network.features[s]):
            at, last = f"features.{s}.{i}", len(whole.block) - 1
            if last == 3:
                act(f"b{n}/expand", f"{at}.block.0")
            act(f"b{n}/depthwise", f"{at}.block.{last - 2}")
            gate = f"{at}.block.{last - 1}.scale_activation"
            taps[f"b{n}/squeeze/pre"] = (gate, "input", lambda x: x[:, :, 0, 0])
            taps[f"b{n}/squeeze"] = (gate, "output", lambda x: x[:, :, 0, 0])
            taps[f"b{n}"] = (at, "output")
            n += 1
    act("head", "features.8")
    made_with = f"torchvision {torchvision.__version__}"
    return answer(network, image, taps, made_with=made_with)


REFERENCES = {"efficientnet_b0.torchvision": Reference((35, 45), b0)}
