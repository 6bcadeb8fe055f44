"""Prints every tap of a network with its shape at an image size.

    python -m experiments.layers --model=efficientnet_lite0 --size=128,128
    python -m experiments.layers --model=vgg16.torchvision --reach

With --reach also what one unit sees: its receptive field and the pixels from one unit
to the next, measured (`dreamjax/deepdream/reach.py`); "all" after a global pool or an
attention layer. The networks of the zoo need not be downloaded for either.
"""

from absl import flags

from dreamjax import models
from dreamjax.cli import image_size, launch
from dreamjax.deepdream.reach import told_fields
from dreamjax.models.model import count_parameters
from dreamjax.models.port import outline
from dreamjax.models.zoo import find_port
from experiments.network import network_flags

NETWORK = network_flags(
    "efficientnet_lite0",
    "A network, hf:OWNER/NAME, or package.module:function of yours.",
)
SIZE = flags.DEFINE_list("size", None, "Height,width in pixels; the record's default.")
REACH = flags.DEFINE_bool("reach", False, "Also the receptive field of a unit.")


def main(arguments: list[str]) -> int:
    """Prints; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    name = NETWORK.model.value
    of_zoo = ":" not in name and not NETWORK.weights.value
    model = outline(find_port(name)) if of_zoo else NETWORK.load()
    size = image_size(SIZE.value, model.record.size)
    shapes = models.tap_shapes(model, size)
    width = max(map(len, [*shapes, *model.record.head_taps]))
    record = model.record
    told = [record.name, f"{count_parameters(model):,} parameters", record.license]
    print(", ".join(text for text in told if text))
    print(f"taps at {size[0]}×{size[1]} px:")
    seen = told_fields(model, list(shapes)) if REACH.value else {}
    for name, (_, *shape) in shapes.items():
        line = f"  {name:{width}}  {' × '.join(map(str, shape)):16}"
        print(f"{line}  {seen.get(name, '')}".rstrip())
    for name in (n for n in record.head_taps if n not in shapes):
        print(f"  {name:{width}}  only at {record.size}×{record.size} px")
    return 0


if __name__ == "__main__":
    launch(main)
