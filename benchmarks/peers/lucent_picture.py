"""One picture by Lucent, as a program: what `first_picture` starts and times.

    python -m benchmarks.peers.lucent_picture --weights FILE --out lucent.png

EfficientNet-Lite0 `b8`, Lucent's defaults. A line on stdout ends each stage.
"""

import argparse
from pathlib import Path


def main() -> None:
    """Imports, loads, runs, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help="the package's .pth")
    parser.add_argument("--out", type=Path, required=True, help="a PNG to write")
    parser.add_argument("--unit", type=int, default=11)
    parser.add_argument("--size", type=int, default=128, help="side, pixels")
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--own-size", action="store_true", help="enlarged to 224 px")
    options = parser.parse_args()

    from PIL import Image

    from benchmarks import torch_lite0
    from benchmarks.peers import VIEW
    from benchmarks.peers.lucent import LucentDream

    print("import", flush=True)
    network = torch_lite0.load(options.weights)
    print("load", flush=True)
    view = None if options.own_size else options.size + VIEW
    dream = LucentDream(network, "_blocks_8", [options.unit], options.size, view)
    (picture,) = dream.run(options.steps)
    print("run", flush=True)
    Image.fromarray((picture * 255).astype("uint8")).save(options.out)
    print("write", flush=True)


if __name__ == "__main__":
    main()
