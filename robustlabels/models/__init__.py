"""Flax NNX models: an encoder and a head make a `Network`."""

from robustlabels.models.alexnet import AlexNet
from robustlabels.models.conv import Conv, conv
from robustlabels.models.conv_transpose import ConvTranspose, conv_transpose
from robustlabels.models.encoders import CNN, MLP, Encoder, LinearMap
from robustlabels.models.heads import Head, Prototypes, Softmax
from robustlabels.models.label_decoder import LabelDecoder
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
from robustlabels.models.vgg import VGG
from robustlabels.models.wide_resnet import WideResNet

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "MLP",
    "NORMS",
    "VGG",
    "AlexNet",
    "Block",
    "CIFARResNet",
    "Constant",
    "Conv",
    "ConvTranspose",
    "Encoder",
    "Head",
    "LabelDecoder",
    "LinearMap",
    "Network",
    "Normalize",
    "Prototypes",
    "ResNet",
    "Softmax",
    "WideResNet",
    "activation",
    "class_kmeans",
    "class_means",
    "class_samples",
    "conv",
    "conv_transpose",
    "kernel_init",
    "max_pool",
]
