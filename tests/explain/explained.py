"""Small networks that the tests of explanations draw."""

import numpy as np
from hypothesis import strategies as st

import minidl.nn as nn
import minidl.nn.functional as F
from minidl.nn import Module, Sequential

seeds = st.integers(0, 2**32 - 1)
classes = st.integers(0, 2)


def images_of(seed, n=2, channels=2, size=6):
    """Images in [0, 1], float64, so that models compute in float64."""
    return np.random.default_rng([seed, 1]).random((n, channels, size, size))


def network(seed, activation=nn.ReLU, *, pool=True, bias=True):
    """conv, act, (pool,) conv2, act2, flatten, head: three logits of images (N, 2, 6, 6)."""
    rng = np.random.default_rng(seed)
    layers = {"conv": nn.Conv2d(2, 4, 3, padding=1, bias=bias, rng=rng), "act": activation()}
    if pool:
        layers["pool"] = nn.MaxPool2d(2)
    side = 3 if pool else 6
    layers |= {
        "conv2": nn.Conv2d(4, 4, 3, padding=1, bias=bias, rng=rng),
        "act2": activation(),
        "flatten": nn.Flatten(),
        "head": nn.Linear(4 * side * side, 3, bias=bias, rng=rng),
    }
    return Sequential(layers)


class FunctionalReLU(Module):
    """``network`` without pooling, its ReLUs as functions."""

    def __init__(self, modules):
        self.conv, self.conv2, self.head = modules.conv, modules.conv2, modules.head

    def forward(self, x):
        return self.head(F.relu(self.conv2(F.relu(self.conv(x)))).flatten(1))


def linear_model(weight, bias=None):
    """f(x) = weight (K, features) @ the flattened image + bias."""
    head = nn.Linear(weight.shape[1], len(weight))
    head.weight.data = weight
    head.bias.data = np.zeros(len(weight)) if bias is None else bias
    return Sequential({"flatten": nn.Flatten(), "head": head})
