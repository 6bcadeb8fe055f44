"""Which pixels of a photo speak for a class.

    python -m experiments.saliency --image=photo.jpg
    python -m experiments.saliency --image=chelsea --model=googlenet.bvlc-noaux \
        --rule=guided --target='tiger cat' --out=results/runs/saliency

Prints the five most likely classes. Writes, as PNG beside each other in --out: the
saliency map max |∂S/∂x|, its mean over ten views, the signed gradient, and Grad-CAM
over the photo; --rule=deconv or guided passes the gradient as a DeconvNet or guided
backpropagation does. About 10 seconds on 2 CPU cores.
"""

from absl import flags

from dreamjax import models
from dreamjax.build import picture_path
from dreamjax.cache import use_compile_cache
from dreamjax.cli import image_size, launch, path_flag
from dreamjax.figures.maps import (
    class_maps,
    class_name,
    top_classes,
)
from dreamjax.files import write_bytes
from dreamjax.images import load_image, png_bytes
from dreamjax.labels import class_index
from dreamjax.models.layers import RULES

MODEL = flags.DEFINE_string("model", "efficientnet_lite0", "A network with classes.")
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
    model = models.load(MODEL.value)
    size = image_size(SIZE.value, model.record.size)
    image = load_image(picture_path(IMAGE.value), size)
    order, p = top_classes(model, image[None], SHOWN)
    for index, chance in zip(order[0], p[0], strict=True):
        print(f"{chance:6.1%}  {class_name(model, index)}")
    target = int(order[0, 0])
    if TARGET.value is not None:
        target = class_index(TARGET.value, model.record.labels)
    for name, picture in class_maps(model, image, target, RULE.value).items():
        path = OUT.value / f"{picture_path(IMAGE.value).stem}_{target}_{name}.png"
        print(write_bytes(path, png_bytes(picture)))
    return 0


if __name__ == "__main__":
    launch(main)
