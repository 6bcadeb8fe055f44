"""The zoo: every weight set that can be loaded by name.

`PORTS` has them by their full name, "architecture.source". The name of an architecture
alone means its first weight set here.
"""

from dreamjax.errors import choose
from dreamjax.models import (
    alexnet,
    convnext,
    densenet,
    efficientnet,
    efficientnet_lite,
    googlenet,
    googlenet_bn,
    inception_v1,
    inception_v3,
    mobilenet_v1,
    mobilenet_v2,
    resnet,
    resnet_v2,
    squeezenet,
    vgg,
    vit,
)
from dreamjax.models.port import Port

_MODULES = (
    alexnet,
    convnext,
    densenet,
    efficientnet,
    efficientnet_lite,
    googlenet,
    googlenet_bn,
    inception_v1,
    inception_v3,
    mobilenet_v1,
    mobilenet_v2,
    resnet,
    resnet_v2,
    squeezenet,
    vgg,
    vit,
)

PORTS: dict[str, Port] = {
    port.record.name: port for module in _MODULES for port in module.PORTS
}


def architecture(name: str) -> str:
    """Returns the architecture's part of a weight set's name."""
    return name.partition(".")[0]


ARCHITECTURES: dict[str, str] = {architecture(name): name for name in reversed(PORTS)}
"""Architecture -> name of the weight set that stands for it."""


def ports_of(name: str) -> tuple[Port, ...]:
    """Returns the ports of an architecture's whole networks, or the one that is named.

    Raises:
      ValueError: an unknown name, with a near one.
    """
    if name in ARCHITECTURES:
        ports = [port for n, port in PORTS.items() if architecture(n) == name]
        return tuple(port for port in ports if port.record.labels) or tuple(ports)
    return (find_port(name),)


def find_port(name: str) -> Port:
    """Returns the port called `name`: a weight set, or an architecture.

    Raises:
      ValueError: an unknown name, with a near one.
    """
    known = [*ARCHITECTURES, *PORTS]
    choose("model", name, known)
    return PORTS[ARCHITECTURES.get(name, name)]
