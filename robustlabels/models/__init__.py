"""Flax NNX models: an encoder and a head make a `Network`."""

from robustlabels.models.conv import Conv, conv
from robustlabels.models.encoders import CNN, MLP, Encoder, LinearMap
from robustlabels.models.heads import Head, Prototypes, Softmax
from robustlabels.models.layers import (
    ACTIVATIONS,
    NORMS,
    Block,
    Constant,
    Normalize,
    activation,
    kernel_init,
    max_pool,
)
from robustlabels.models.network import Network
from robustlabels.models.prototype_init import class_kmeans, class_means, class_samples
from robustlabels.models.resnet import CIFARResNet, ResNet

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "MLP",
    "NORMS",
    "Block",
    "CIFARResNet",
    "Constant",
    "Conv",
    "Encoder",
    "Head",
    "LinearMap",
    "Network",
    "Normalize",
    "Prototypes",
    "ResNet",
    "Softmax",
    "activation",
    "class_kmeans",
    "class_means",
    "class_samples",
    "conv",
    "kernel_init",
    "max_pool",
]
