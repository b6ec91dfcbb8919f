"""A small network of the kinds that EfficientNet-Lite0 is made of."""

from __future__ import annotations

import numpy as np

from minidl import nn
from minidl.nn.efficientnet import EfficientNet, Preprocess, SamePad2d, batch_norm, block


def tiny_lite(num_classes: int = 4, rng: np.random.Generator | None = None) -> EfficientNet:
    """The input's range, a stem, a block with another shape, two with a sum around them, and a head."""
    rng = np.random.default_rng(0) if rng is None else rng
    return EfficientNet(
        {
            "preprocess": Preprocess(),
            "_pad": SamePad2d(3, 2),
            "_conv_stem": nn.Conv2d(3, 4, 3, 2, bias=False, rng=rng),
            "_bn0": batch_norm(4),
            "_relu0": nn.ReLU6(),
            "_blocks": nn.Sequential(
                block(4, 5, 3, 2, 2, rng), block(5, 5, 3, 1, 2, rng), block(5, 5, 5, 1, 3, rng)
            ),
            "_conv_head": nn.Conv2d(5, 6, 1, bias=False, rng=rng),
            "_bn1": batch_norm(6),
            "_relu1": nn.ReLU6(),
            "_avg_pooling": nn.AdaptiveAvgPool2d(1),
            "_flatten": nn.Flatten(),
            "_dropout": nn.Dropout(0.2, rng=rng),
            "_fc": nn.Linear(6, num_classes, rng=rng),
        }
    )
