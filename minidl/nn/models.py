"""Small networks with named layers. They consist only of modules, so that other code can read their graph.

``model.layer("block1.conv")`` is a layer of ``small_cnn``; ``model[:-1]`` is the network without the head.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidl.engine.checks import check_ints, check_number, positive_int, require
from minidl.engine.random import default_rng_or
from minidl.nn.containers import Concat, Residual, Sequential
from minidl.nn.efficientnet import efficientnet_lite0, imagenet_names, imagenet_network
from minidl.nn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU
from minidl.nn.module import Module
from minidl.nn.pooling import AdaptiveAvgPool2d, MaxPool2d

__all__ = [
    "efficientnet_lite0",
    "imagenet_names",
    "imagenet_network",
    "inception_block",
    "lenet",
    "mlp",
    "small_cnn",
    "tiny_resnet",
]

Rng = np.random.Generator | None


def mlp(
    in_features: int,
    hidden: int | Sequence[int],
    num_classes: int,
    *,
    dropout: float = 0.0,
    rng: Rng = None,
) -> Sequential:
    """flatten, then fc1, relu1, (dropout1,) fc2, ... and head.

    ``hidden``: the number of units of each hidden layer.

    >>> from minidl import nn
    >>> nn.models.mlp(4, 8, 2)
    Sequential(
      (flatten): Flatten()
      (fc1): Linear(4, 8)
      (relu1): ReLU()
      (head): Linear(8, 2)
    )
    """
    rng, dropout = default_rng_or(rng), check_number("dropout", dropout, 0, 1)
    model = Sequential({"flatten": Flatten()})
    for i, units in enumerate(check_ints("hidden", hidden, empty=True), start=1):
        model.add_module(f"fc{i}", Linear(in_features, units, rng=rng))
        model.add_module(f"relu{i}", ReLU())
        if dropout:
            model.add_module(f"dropout{i}", Dropout(dropout, rng=rng))
        in_features = units
    model.add_module("head", Linear(in_features, num_classes, rng=rng))
    return model


def lenet(
    num_classes: int = 10, in_channels: int = 1, *, image_size: int = 28, rng: Rng = None
) -> Sequential:
    """LeNet-5's layers (LeCun et al. 1998) with ReLU and max pooling, for square images from 12 pixels.

    >>> from minidl import nn
    >>> nn.models.lenet()(np.ones((1, 1, 28, 28))).shape
    (1, 10)
    """
    rng = default_rng_or(rng)
    side = (positive_int("image_size", image_size) // 2 - 4) // 2
    require(side >= 1, f"lenet needs images of 12 x 12 pixels or more, got image_size {image_size}")
    return Sequential(
        {
            "conv1": Conv2d(in_channels, 6, 5, padding=2, rng=rng),
            "relu1": ReLU(),
            "pool1": MaxPool2d(2),
            "conv2": Conv2d(6, 16, 5, rng=rng),
            "relu2": ReLU(),
            "pool2": MaxPool2d(2),
            "flatten": Flatten(),
            "fc1": Linear(16 * side * side, 120, rng=rng),
            "relu3": ReLU(),
            "fc2": Linear(120, 84, rng=rng),
            "relu4": ReLU(),
            "head": Linear(84, num_classes, rng=rng),
        }
    )


def small_cnn(
    num_classes: int = 10,
    in_channels: int = 1,
    widths: int | Sequence[int] = (16, 32, 64),
    *,
    pool_after: int | Sequence[int] = (2,),
    rng: Rng = None,
) -> Sequential:
    """block1, block2, ..., then pool (the mean of each channel), flatten and head.

    A block is conv (3x3), bn, relu and, if its number is in ``pool_after``, pool (the maximum of 2x2). Images
    may have any size, if at least one pixel remains after pooling. The defaults are for 8 pixels; for 16 to
    32 pixels use pool_after (1, 2).

    >>> from minidl import nn
    >>> model = nn.models.small_cnn(num_classes=10, in_channels=1)
    >>> [name for name, child in model.named_children()]
    ['block1', 'block2', 'block3', 'pool', 'flatten', 'head']
    """
    rng, widths = default_rng_or(rng), check_ints("widths", widths)
    pool_after = check_ints("pool_after", pool_after, 1, len(widths), empty=True)
    model = Sequential()
    channels = in_channels
    for i, width in enumerate(widths, start=1):
        block = conv_bn_relu(channels, width, 3, padding=1, rng=rng)
        if i in pool_after:
            block.add_module("pool", MaxPool2d(2))
        model.add_module(f"block{i}", block)
        channels = width
    return add_head(model, channels, num_classes, rng)


def tiny_resnet(
    num_classes: int = 10,
    in_channels: int = 1,
    widths: int | Sequence[int] = (16, 32),
    *,
    blocks: int = 1,
    rng: Rng = None,
) -> Sequential:
    """stem, then stage1, stage2, ... of ``blocks`` residual blocks each, then pool, flatten and head.

    Each stage after the first halves height and width. A block is ``residual`` (body: conv1, bn1, relu1,
    conv2, bn2; shortcut: the identity, or conv and bn if the shape changes) and ``relu`` (He et al. 2016).

    >>> from minidl import nn
    >>> model = nn.models.tiny_resnet(num_classes=10, in_channels=3)
    >>> model(np.ones((1, 3, 32, 32))).shape
    (1, 10)
    """
    rng, widths = default_rng_or(rng), check_ints("widths", widths)
    model = Sequential({"stem": conv_bn_relu(in_channels, widths[0], 3, padding=1, rng=rng)})
    channels = widths[0]
    for i, width in enumerate(widths, start=1):
        stage = Sequential()
        for j in range(1, positive_int("blocks", blocks) + 1):
            stride = 2 if i > 1 and j == 1 else 1
            stage.add_module(f"block{j}", residual_block(channels, width, stride, rng))
            channels = width
        model.add_module(f"stage{i}", stage)
    return add_head(model, channels, num_classes, rng)


def residual_block(in_channels: int, out_channels: int, stride: int = 1, rng: Rng = None) -> Sequential:
    rng = default_rng_or(rng)
    body = Sequential(
        {
            "conv1": Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False, rng=rng),
            "bn1": BatchNorm2d(out_channels),
            "relu1": ReLU(),
            "conv2": Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng),
            "bn2": BatchNorm2d(out_channels),
        }
    )
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        conv = Conv2d(in_channels, out_channels, 1, stride, bias=False, rng=rng)
        shortcut = Sequential({"conv": conv, "bn": BatchNorm2d(out_channels)})
    return Sequential({"residual": Residual(body, shortcut), "relu": ReLU()})


def inception_block(
    in_channels: int, widths: int | Sequence[int] = (16, 16, 16, 16), *, reduce: int = 8, rng: Rng = None
) -> Concat:
    """Four branches on one input, joined along the channels: 1x1; 1x1, 3x3; 1x1, 5x5; pooling, 1x1.

    Height and width stay. ``widths``: output channels of each branch, or one number for all four; ``reduce``:
    channels between the two convolutions of a branch. Every convolution is conv, bn, relu (Szegedy et al.
    2015; BatchNorm from 2016).

    >>> from minidl import nn
    >>> nn.models.inception_block(3)(np.ones((1, 3, 8, 8))).shape
    (1, 64, 8, 8)
    """
    rng, widths = default_rng_or(rng), check_ints("widths", widths, count=4)

    def then(size: int, width: int) -> Sequential:
        return Sequential(
            {
                "reduce": conv_bn_relu(in_channels, reduce, 1, rng=rng),
                "expand": conv_bn_relu(reduce, width, size, padding=size // 2, rng=rng),
            }
        )

    pooled = {
        "pool": MaxPool2d(3, stride=1, padding=1),
        "project": conv_bn_relu(in_channels, widths[3], 1, rng=rng),
    }
    return Concat(
        {
            "branch1x1": conv_bn_relu(in_channels, widths[0], 1, rng=rng),
            "branch3x3": then(3, widths[1]),
            "branch5x5": then(5, widths[2]),
            "branch_pool": Sequential(pooled),
        }
    )


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, *, padding: int = 0, rng: Rng = None
) -> Sequential:
    """conv, bn, relu. conv has no bias, because bn would subtract it again."""
    conv = Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=False, rng=rng)
    return Sequential({"conv": conv, "bn": BatchNorm2d(out_channels), "relu": ReLU()})


def add_head(model: Sequential, channels: int, num_classes: int, rng: Rng) -> Sequential:
    head: dict[str, Module] = {
        "pool": AdaptiveAvgPool2d(1),
        "flatten": Flatten(),
        "head": Linear(channels, num_classes, rng=rng),
    }
    for name, module in head.items():
        model.add_module(name, module)
    return model
