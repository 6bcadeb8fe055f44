"""Names of saliency maps: none replaces another's."""

import json

import numpy as np

from dreamjax.figures.map_files import TEXT, free_stem
from dreamjax.images import png_bytes

ENDS = ("_3_saliency.png", "_3_gradcam.png")


def drawn(folder, picture, about):
    """Writes the maps of a picture as the command does; returns their name."""
    stem = free_stem(folder, picture, ENDS, about)
    for end in ENDS:
        data = png_bytes(np.zeros((2, 2, 3), np.uint8), {TEXT: json.dumps(about)})
        (folder / f"{stem}{end}").write_bytes(data)
    return stem


def test_a16_maps_of_one_name_do_not_replace_each_other(tmp_path):
    def about(digest, network="lite0"):
        return {"picture": digest, "network": network, "size": [8, 8]}

    first, second = tmp_path / "a" / "IMG.jpg", tmp_path / "b" / "IMG.jpg"
    assert drawn(tmp_path, first, about("1")) == "IMG"
    assert drawn(tmp_path, second, about("2")) == "b_IMG"
    assert drawn(tmp_path, first, about("1")) == "IMG"  # the same maps
    assert drawn(tmp_path, first, about("1", "vgg")) == "IMG_vgg_8x8"
    assert drawn(tmp_path, second, about("2", "vgg")) == "b_IMG_vgg_8x8"
    names = {drawn(tmp_path, first, about(str(n))) for n in range(10, 20)}
    assert len(names) == 10  # the file was replaced by others since
    (tmp_path / f"old{ENDS[0]}").write_bytes(b"of an older version")
    assert drawn(tmp_path, tmp_path / "old.jpg", about("1")) != "old"
