"""Where an object is, from a saliency map: colors, a graph cut, a box.

Simonyan et al. 2014, section 3.2: the most salient pixels say what colors the object
has, the least salient ones what the background has; a graph cut labels every pixel by
color, with borders where colors change; the largest connected part is the object.

    mask = graph_cut(image, saliency)
    box_of(largest_part(mask))

PyMaxflow finds the cut and scikit-learn fits the colors: requirements-figures.txt.
"""

from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from dreamjax.errors import require

OBJECT, BACKGROUND = 0.95, 0.30  # quantiles of saliency (from memory of the paper)
COMPONENTS = 5  # of a mixture of Gaussians, as in GrabCut
SMOOTHNESS = 8.0  # nats that a border between two pixels of one color costs
FLOOR = 1e-4  # variance added to each color: below it a mixture collapses on flat areas
ENOUGH = 3000  # pixels that a mixture is fitted to
STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))  # half of the eight neighbors

INSTALL = "pip install -r requirements-figures.txt"


class Box(NamedTuple):
    """A rectangle of pixels, the ends not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Pixels inside."""
        return max(0, self.bottom - self.top) * max(0, self.right - self.left)


def seeds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (surely object, surely background), masks of a saliency map [H, W].

    Object is what is above the 95 % quantile, background what is below the 30 % one.
    """
    low, high = np.quantile(values, (BACKGROUND, OBJECT))
    return values > high, values < low


def color_costs(
    image: np.ndarray, mask: np.ndarray, *, components: int = COMPONENTS, seed: int = 0
) -> np.ndarray:
    """Returns -log p(color) of every pixel under the colors of some, [H, W] in nats.

    p is a mixture of Gaussians fitted to the colors under the mask (of every n-th
    pixel, where there are many).

    Args:
      image: [H, W, 3] in [0, 1].
      mask: [H, W] bool, with more pixels than components.
      components: Gaussians.
      seed: of the fit's start.

    Raises:
      ValueError: too few pixels, or scikit-learn is not there.
    """
    chosen = image[mask]
    require(
        len(chosen) > components, "mask", len(chosen), f"more than {components} pixels"
    )
    chosen = chosen[:: -(-len(chosen) // ENOUGH)]
    mixture = _needed("sklearn.mixture").GaussianMixture(
        components, reg_covar=FLOOR, random_state=seed
    )
    mixture.fit(chosen)
    scores = mixture.score_samples(image.reshape(-1, image.shape[-1]))
    return -scores.reshape(mask.shape)


def graph_cut(
    image: np.ndarray,
    values: np.ndarray,
    *,
    smoothness: float = SMOOTHNESS,
    seed: int = 0,
) -> np.ndarray:
    """Returns which pixels are of the object, [H, W] bool.

    The least of `Σ_p cost(label_p) + γ Σ_pq [label_p ≠ label_q] w_pq`, with
    `w_pq = exp(-|I_p - I_q|² / 2<|I_p - I_q|²>) / |p - q|` over the eight neighbors and
    `color_costs` of both labels (Boykov & Jolly 2001, Rother et al. 2004).

    Args:
      image: [H, W, 3] in [0, 1].
      values: saliency, [H, W].
      smoothness: γ in nats.
      seed: of the fits.

    Raises:
      ValueError: shapes that do not match, or a library that is not there.
    """
    require(
        values.shape == image.shape[:2], "values.shape", values.shape, "the image's"
    )
    sure, never = seeds(values)
    image = np.asarray(image, np.float64)
    costs = [color_costs(image, mask, seed=seed) for mask in (sure, never)]
    least = np.minimum(*costs)
    return min_cut(image, costs[0] - least, costs[1] - least, smoothness)


def min_cut(
    image: np.ndarray, object_cost: np.ndarray, other_cost: np.ndarray, gamma: float
) -> np.ndarray:
    """Returns the labels [H, W] bool of least cost; see `graph_cut`.

    Args:
      image: [H, W, C].
      object_cost: [H, W], 0 or more: of calling a pixel object.
      other_cost: [H, W], 0 or more: of calling it background.
      gamma: of a border between two pixels of one color.
    """
    maxflow = _needed("maxflow")
    height, width = object_cost.shape
    graph = maxflow.Graph[float]()
    nodes = graph.add_grid_nodes((height, width))
    distances = {step: _apart(image, *step) for step in STEPS}
    mean = np.mean([np.mean(d) for d in distances.values()])
    for (down, right), apart in distances.items():
        weights = np.zeros((height, width))
        rows, columns = _first(height, down), _first(width, right)
        weights[rows, columns] = gamma * np.exp(-apart / max(2 * mean, 1e-12))
        weights /= np.hypot(down, right)
        structure = np.zeros((3, 3))
        structure[1 + down, 1 + right] = 1
        graph.add_grid_edges(nodes, weights, structure, symmetric=True)
    # A pixel on the source's side is object: its edge to the sink is what it costs.
    graph.add_grid_tedges(nodes, other_cost, object_cost)
    graph.maxflow()
    return ~graph.get_grid_segments(nodes)


def _first(size: int, step: int) -> slice:
    """Returns the places that have a neighbor `step` further."""
    return slice(max(0, -step), size - max(0, step))


def _apart(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Returns the squared color distance to the neighbor, where there is one."""
    height, width = image.shape[:2]
    rows, columns = _first(height, down), _first(width, right)
    here = image[rows, columns]
    there = image[
        rows.start + down : rows.stop + down,
        columns.start + right : columns.stop + right,
    ]
    return np.sum(np.square(here - there), axis=-1)


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Returns the largest connected part of a mask [H, W]; pixels touch at corners."""
    parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count == 0:
        return np.zeros(mask.shape, bool)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return parts == int(np.argmax(sizes))


def box_of(mask: np.ndarray) -> Box:
    """Returns the smallest box around a mask [H, W]; of an empty one, an empty box."""
    if not mask.any():
        return Box(0, 0, 0, 0)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def iou(one: Box, other: Box) -> float:
    """Returns the area that two boxes share over what they cover; 0 of none."""
    shared = Box(
        max(one.top, other.top),
        max(one.left, other.left),
        min(one.bottom, other.bottom),
        min(one.right, other.right),
    ).area
    covered = one.area + other.area - shared
    return shared / covered if covered else 0.0


class Composite(NamedTuple):
    """An object on a texture.

    Attributes:
      image: [H, W, 3] in [0, 1].
      box: of the object.
    """

    image: np.ndarray
    box: Box


def composite(
    random: np.random.Generator,
    photo: np.ndarray,
    size: int,
    *,
    smallest: float = 0.4,
    largest: float = 0.65,
) -> Composite:
    """Returns a photo's middle as a disk, somewhere on a texture.

    The disk's diameter is a random part of the side. The texture has the photo's own
    mean color and color covariance, so that no color alone tells the object.

    Args:
      random: what is drawn from.
      photo: [S, S, 3] in [0, 1]; its inscribed disk is the object.
      size: side of the picture, pixels.
      smallest, largest: of the disk, as a part of the side.
    """
    side = round(float(random.uniform(smallest, largest)) * size)
    top, left = (int(random.integers(0, size - side + 1)) for _ in range(2))
    picture = texture(random, size, photo)
    zoom = (side / photo.shape[0], side / photo.shape[1], 1)
    disk = np.clip(ndimage.zoom(photo, zoom, order=1), 0, 1)
    middle = (np.arange(side) + 0.5) / side * 2 - 1
    inside = np.hypot(middle[:, None], middle[None, :]) <= 1
    place = picture[top : top + side, left : left + side]
    place[inside] = disk[inside]
    return Composite(picture, Box(top, left, top + side, left + side))


def texture(random: np.random.Generator, size: int, photo: np.ndarray) -> np.ndarray:
    """Returns 1/f noise in a photo's colors, [size, size, 3] in [0, 1].

    Args:
      random: what is drawn from.
      size: side, pixels.
      photo: [H, W, 3], whose mean color and color covariance it gets.
    """
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    scale = 1 / np.maximum(np.hypot(fy, fx), 1 / size)
    noise = np.fft.rfft2(random.normal(size=(size, size, 3)), axes=(0, 1))
    plane = np.fft.irfft2(noise * scale[..., None], (size, size), axes=(0, 1))
    plane = (plane - plane.mean(axis=(0, 1))) / plane.std(axis=(0, 1))
    colors = np.asarray(photo, np.float64).reshape(-1, 3)
    values, vectors = np.linalg.eigh(np.cov(colors.T))
    root = vectors * np.sqrt(np.maximum(values, 0))
    return np.clip(colors.mean(axis=0) + plane @ root.T, 0, 1)


def _needed(name: str) -> ModuleType:

    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(f"localization needs {name}: {INSTALL}") from error
