"""Which pixels of a photo speak for a class.

    python -m experiments.saliency --image=photo.jpg
    python -m experiments.saliency --image=chelsea --model=googlenet.bvlc-noaux \
        --rule=guided --target='tiger cat' --out=results/runs/saliency

Prints the five most likely classes. Writes, as PNG beside each other in --out: the
saliency map max |∂S/∂x|, its mean over ten views, the signed gradient, and Grad-CAM
over the photo; --rule=deconv or guided passes the gradient as a DeconvNet or guided
backpropagation does. About 10 seconds on 2 CPU cores.

The maps are called after the photo; where the folder holds maps of another photo of
that name, or of other settings, they get a name of their own. What a map was made of
stands in it, as its text `saliency`.
"""

import hashlib
import json

from absl import flags

from dreamjax.build import picture_path
from dreamjax.cache import use_compile_cache
from dreamjax.cli import image_size, launch, path_flag
from dreamjax.figures.map_files import TEXT, free_stem
from dreamjax.figures.maps import (
    class_maps,
    class_name,
    top_classes,
)
from dreamjax.files import write_bytes
from dreamjax.identity import model_digest
from dreamjax.images import load_image, png_bytes
from dreamjax.labels import class_index
from dreamjax.models.layers import RULES
from dreamjax.workdir import locked
from experiments.network import network_flags

NETWORK = network_flags("efficientnet_lite0", "A network with classes.")
IMAGE = flags.DEFINE_string("image", "chelsea", "A picture file, or chelsea or coffee.")
RULE = flags.DEFINE_enum("rule", "gradient", list(RULES), "How gradients pass ReLUs.")
TARGET = flags.DEFINE_string("target", None, "A class; the most likely if not given.")
SIZE = flags.DEFINE_list("size", None, "Height,width in pixels; the network's own.")
OUT = path_flag("out", "results/runs/saliency", "Folder.")
SHOWN = 5  # classes


def main(arguments: list[str]) -> int:
    """Prints and writes; returns the exit status."""
    if arguments:
        raise ValueError(f"not understood: {' '.join(arguments)}. Flags start with --.")
    use_compile_cache()
    model = NETWORK.load()
    size = image_size(SIZE.value, model.record.size)
    picture = picture_path(IMAGE.value)
    image = load_image(picture, size)
    order, p = top_classes(model, image[None], SHOWN)
    for index, chance in zip(order[0], p[0], strict=True):
        print(f"{chance:6.1%}  {class_name(model, index)}")
    target = int(order[0, 0])
    if TARGET.value is not None:
        target = class_index(TARGET.value, model.record.labels)
    about = {
        "picture": hashlib.sha256(picture.read_bytes()).hexdigest(),
        "network": model.record.name,
        "weights": model_digest(model),
        "size": list(size),
    }
    maps = class_maps(model, image, target, RULE.value)
    ends = [f"_{target}_{name}.png" for name in maps]
    with locked(OUT.value):
        stem = free_stem(OUT.value, picture, ends, about)
        for end, drawn in zip(ends, maps.values(), strict=True):
            data = png_bytes(drawn, {TEXT: json.dumps(about)})
            print(write_bytes(OUT.value / f"{stem}{end}", data))
    return 0


if __name__ == "__main__":
    launch(main)
