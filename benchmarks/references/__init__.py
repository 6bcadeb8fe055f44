"""Networks of other frameworks, by the name of the weight set that they stand for.

A module is imported only when one of its networks is asked for, so that PyTorch's can
be made without OpenCV, and the other way round.
"""

import importlib
from collections.abc import Iterator, Mapping

from benchmarks.golden import Reference

MODULES = {
    "alexnet.bvlc": "caffe_classic",
    "alexnet_owt.torchvision": "torchvision_classic",
    "caffenet.bvlc": "caffe_classic",
    "convnext_tiny.timm": "timm_modern",
    "convnext_tiny.torchvision": "torchvision_modern",
    "densenet121.timm": "timm_modern",
    "densenet121.torchvision": "torchvision_modern",
    "efficientnet_b0.keras": "keras_efficientnet",
    "efficientnet_b0.timm": "timm_efficientnet",
    "efficientnet_b0.torchvision": "torchvision_efficientnet",
    "efficientnet_lite0.pypi": "timm_efficientnet",
    "efficientnet_lite0.timm": "timm_efficientnet",
    "efficientnet_lite1.pypi": "timm_efficientnet",
    "efficientnet_lite1.timm": "timm_efficientnet",
    "efficientnet_lite2.pypi": "timm_efficientnet",
    "efficientnet_lite2.timm": "timm_efficientnet",
    "efficientnet_lite3.timm": "timm_efficientnet",
    "efficientnet_lite4.timm": "timm_efficientnet",
    "googlenet.bvlc": "caffe_googlenet",
    "googlenet.bvlc-noaux": "caffe_googlenet",
    "googlenet_bn.torchvision": "torchvision_googlenet",
    "inception_v1.5h": "graphdef_inception_v1",
    "inception_v3.keras": "inception_v3",
    "inception_v3.tf2015": "inception_v3",
    "inception_v3.tf2015-mixed8": "inception_v3",
    "inception_v3.torchvision": "inception_v3",
    "mobilenet_v1.keras": "keras_nets",
    "mobilenet_v2.keras": "keras_nets",
    "mobilenet_v2.mxnet-features": "torchvision_small",
    "mobilenet_v2.torchvision": "torchvision_small",
    "resnet101.torchvision": "torchvision_resnet",
    "resnet101_v2.mxnet": "mxnet_resnet",
    "resnet152.torchvision": "torchvision_resnet",
    "resnet18.torchvision": "torchvision_resnet",
    "resnet34.torchvision": "torchvision_resnet",
    "resnet50.torchvision": "torchvision_resnet",
    "resnet50_v2.mxnet": "mxnet_resnet",
    "resnet50_v2.mxnet-stage3": "mxnet_resnet",
    "squeezenet1_0.caffe": "caffe_squeezenet",
    "squeezenet1_0.torchvision": "torchvision_small",
    "squeezenet1_1.caffe": "caffe_squeezenet",
    "squeezenet1_1.mxnet": "torchvision_small",
    "squeezenet1_1.torchvision": "torchvision_small",
    "vgg16.caffe": "caffe_classic",
    "vgg16.keras": "keras_vgg",
    "vgg16.torchvision": "torchvision_classic",
    "vgg19.caffe": "caffe_classic",
    "vgg19.keras": "keras_vgg",
    "vgg19.keras-block3": "keras_vgg",
    "vgg19.torchvision": "torchvision_classic",
    "vit_b_16.timm": "timm_modern",
    "vit_b_16.torchvision": "torchvision_modern",
}


class _References(Mapping):
    """Name -> Reference, found in the module that `MODULES` says when asked for."""

    def __getitem__(self, name: str) -> Reference:
        module = importlib.import_module(f"benchmarks.references.{MODULES[name]}")
        return module.REFERENCES[name]

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


REFERENCES = _References()
